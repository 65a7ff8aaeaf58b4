"""What the demo's larger networks are built from: a folder of sources.

photographs/   images.csv and the photographs it names (image, label, author, page, licence)
cifar10/test/  the test images of CIFAR-10 in class folders           } activations ship, images do not:
isun/          the images of iSUN                                     } their licence is missing
dtd/images/    class folders of the Describable Textures Dataset      } or for research only
checkpoints/   densenet_cifar10.pth, as published with DICE; mobilenet_v2_dequantized.pth
"""

import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ash.data import FolderImages
from ash.datasets.packed_images import ListedImages
from ash.demo import pictures
from ash.demo.sets import SourceError
from ash.images import read_image

UNSHIPPED = {"cifar10": "cifar10/test", "isun": "isun", "dtd": "dtd/images"}
TEXTURES = (  # classes of the Describable Textures Dataset whose activations ship, 120 images each
    "banded", "blotchy", "braided", "bubbly", "bumpy", "chequered", "cobwebbed", "cracked", "crosshatched",
    "crystalline",
)  # fmt: skip
CHECKPOINTS = {
    "mobilenet_v2_photos": "mobilenet_v2_dequantized.pth",
    "densenet101_cifar10": "densenet_cifar10.pth",
}


class _Sourced(ListedImages):
    """A set that does not ship, with its images at hand."""

    def __init__(self, path: Path, name: str, root: Path) -> None:
        super().__init__(path, name, name)
        self.root = root

    @property
    def has_images(self) -> bool:
        return True

    def image(self, index: int) -> Image.Image:
        name = self.names[index]
        return read_image(f"{self.root}/{name}", name, upright=False)


@dataclass(frozen=True)
class Unshipped:
    """The images of a set that does not ship: the rows of its list, and where they are."""

    name: str
    root: Path
    rows: list[dict[str, str]]

    def at(self, path: Path) -> ListedImages:
        """The set, by the list that was written to `path`."""
        return _Sourced(path, self.name, self.root)


def unshipped(name: str, data: Path) -> Unshipped:
    """The images of one of the UNSHIPPED sets."""
    root = data / UNSHIPPED[name]
    if not root.is_dir():
        raise SourceError(f"There is no {root}: put the images of {name} there.")
    images = FolderImages(root, name, upright=False)
    known = name == "cifar10"
    rows = [
        {"image": image, "label": str(label) if known else "-1"}
        for image, label in zip(images.names, images.labels.tolist(), strict=True)
        if name != "dtd" or image.split("/")[0] in TEXTURES
    ]
    return Unshipped(name, root, rows)


def packed(name: str, data: Path, seed: int) -> Iterator[tuple[dict[str, str], bytes]]:
    """The rows and files of one of the sets that ship."""
    quality = pictures.QUALITY
    if name == "photos":
        made, quality = pictures.photographs(data / "photographs"), pictures.FINE
    else:
        count, make = pictures.OOD_MAKERS[name]
        made = make(count, np.random.default_rng((seed, list(pictures.OOD_MAKERS).index(name))))
    for row, picture in made:
        yield row, pictures.encoded(picture, quality)


def weights(model: str, data: Path) -> bytes:
    """The weights file of a network as it ships: as published, or in float16."""
    path = data / "checkpoints" / CHECKPOINTS[model]
    if not path.is_file():
        raise SourceError(f"There is no {path}.")
    if model == "densenet101_cifar10":
        return path.read_bytes()
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state_bytes(state)


def state_bytes(state: Mapping[str, Any]) -> bytes:
    """A state_dict as it ships: in float16, and what torch.save writes deflated, which torch.load reads as well."""
    buffer, deflated = io.BytesIO(), io.BytesIO()
    torch.save({key: value.half() if value.is_floating_point() else value for key, value in state.items()}, buffer)
    with zipfile.ZipFile(buffer) as saved, zipfile.ZipFile(deflated, "w") as archive:
        for member in saved.infolist():
            archive.writestr(zipfile.ZipInfo(member.filename), saved.read(member), zipfile.ZIP_DEFLATED, 9)
    return deflated.getvalue()
