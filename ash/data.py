"""Image sets: the bundled ones by name, and any folder of images.

An image set knows its names, labels and a fingerprint of its files, and decodes one image at a time; a broken image
raises `ImageError` with a sentence, so that whoever reads ten thousand can skip and name it.
"""

import difflib
import hashlib
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

ASSETS = Path(__file__).resolve().parents[1] / "assets"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
MAX_PIXELS = 50_000_000
UNKNOWN = -1  # the label of an image whose class nobody stated


class DataError(ValueError):
    """A data set is missing or unreadable; the message says which, where and what to do."""


class ImageError(DataError):
    """One image of a set does not decode; the message says which and why."""


class ImageSet(ABC):
    """Images in a fixed order. `names` are stable ids, `labels` (n,) int64 with -1 for unknown."""

    name: str
    label: str

    @property
    @abstractmethod
    def names(self) -> Sequence[str]:
        """A stable id for every image."""

    @property
    @abstractmethod
    def labels(self) -> NDArray[np.int64]:
        """The class of every image, UNKNOWN where nobody stated it."""

    def __len__(self) -> int:
        return len(self.names)

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Hash of the list of files; another list is another set, so another bank."""

    @abstractmethod
    def image(self, index: int) -> Image.Image:
        """Decode image `index`, mode L or RGB; ImageError when it is broken."""


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class ArrayImages(ImageSet):
    """A bundled set: an .npz with `images` (n, H, W) uint8 and, where the classes are known, `labels` (n,)."""

    def __init__(self, path: Path, name: str, label: str) -> None:
        self.path, self.name, self.label = path, name, label
        if not path.is_file():
            raise DataError(f"{label}: {path.name} is missing from {path.parent}; run `python -m ash demo build`.")

    @cached_property
    def _arrays(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        try:
            with np.load(self.path, allow_pickle=False) as file:
                images = file["images"]
                labels = file["labels"].astype(np.int64) if "labels" in file else np.full(len(images), UNKNOWN)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"{self.path} is damaged ({error}); run `python -m ash demo build`.") from error
        return images, labels

    @cached_property
    def names(self) -> Sequence[str]:
        return [f"{self.name}/{index:05d}" for index in range(len(self._arrays[0]))]

    @property
    def labels(self) -> NDArray[np.int64]:
        return self._arrays[1]

    @cached_property
    def fingerprint(self) -> str:
        return file_hash(self.path)

    def image(self, index: int) -> Image.Image:
        return Image.fromarray(self._arrays[0][index])


class FolderImages(ImageSet):
    """A folder of images: flat, or class folders (sub-folders included) whose sorted order is the label order."""

    def __init__(self, path: Path, name: str, label: str = "") -> None:
        self.path, self.name, self.label = path, name, label or name
        if not path.is_dir():
            raise DataError(f"There is no folder {path}; give a folder of images.")
        self._files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        if not self._files:
            raise DataError(f"The folder {path} holds no images ({', '.join(SUFFIXES)}).")

    @cached_property
    def names(self) -> Sequence[str]:
        return [file.relative_to(self.path).as_posix() for file in self._files]

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        folders = [name.split("/")[0] for name in self.names]
        if any(file.parent == self.path for file in self._files):
            return np.full(len(folders), UNKNOWN)
        return np.unique(folders, return_inverse=True)[1].astype(np.int64)

    @cached_property
    def fingerprint(self) -> str:
        sizes = (file.stat().st_size for file in self._files)
        listing = "\n".join(f"{name}\t{size}" for name, size in zip(self.names, sizes, strict=True))
        return hashlib.sha256(listing.encode()).hexdigest()

    def image(self, index: int) -> Image.Image:
        try:
            with Image.open(self._files[index]) as image:
                return decode(image)
        except UnidentifiedImageError as error:
            raise ImageError(f"{self.names[index]} is not an image in a known format.") from error
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise ImageError(f"{self.names[index]} is not a readable image: {error}.") from error


def decode(image: Image.Image) -> Image.Image:
    """The pixels as mode L or RGB: palettes and CMYK converted, 16 bit scaled to 8, transparency on white.

    ValueError above MAX_PIXELS.
    """
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels are more than {MAX_PIXELS / 1e6:g} million")
    image.load()
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        scale = 255 / 65535 if values.max(initial=0) > 255 else 1.0
        return Image.fromarray((values * scale).clip(0, 255).round().astype(np.uint8))
    if "transparency" in image.info or image.mode in ("LA", "PA", "RGBA"):
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.copy() if image.mode in ("L", "RGB") else image.convert("L" if image.mode == "1" else "RGB")


class Subset(ImageSet):
    """Every n-th image of a set, `count` in all, evenly spaced: for placements whose full bank would be large."""

    def __init__(self, whole: ImageSet, count: int) -> None:
        if not 0 < count <= len(whole):
            raise DataError(f"A subset of {whole.label} has 1 to {len(whole)} images, not {count}.")
        self.whole, self.label = whole, whole.label
        self.name = f"{whole.name}={count}"
        self.rows = np.linspace(0, len(whole), count, endpoint=False).astype(np.int64)

    @cached_property
    def names(self) -> Sequence[str]:
        return [self.whole.names[row] for row in self.rows]

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        return self.whole.labels[self.rows]

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"{self.whole.fingerprint} {len(self.rows)}".encode()).hexdigest()

    def image(self, index: int) -> Image.Image:
        return self.whole.image(int(self.rows[index]))


@dataclass(frozen=True)
class DatasetEntry:
    """A set that the explorer knows by name. `note` says in a sentence what is in it."""

    name: str
    label: str
    role: Literal["id", "ood"]
    path: Path
    note: str

    def open(self) -> ImageSet:
        """The images; DataError when the file is not there."""
        return ArrayImages(self.path, self.name, self.label)


DATASETS: dict[str, DatasetEntry] = {}


def register_dataset(entry: DatasetEntry) -> DatasetEntry:
    """Make a data set known by its name."""
    DATASETS[entry.name] = entry
    return entry


def get_dataset(text: str) -> ImageSet:
    """An image set by its registered name, as a folder `DIR`, or as a folder with a name, `NAME=DIR`."""
    if text in DATASETS:
        return DATASETS[text].open()
    name, equals, folder = text.partition("=")
    path = Path(folder if equals else text).expanduser()
    if equals or path.is_dir():
        return FolderImages(path, name if equals else path.resolve().name)
    near = difflib.get_close_matches(text, DATASETS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known sets: {', '.join(DATASETS)}; or give a folder as NAME=DIR."
    raise DataError(f"There is no data set '{text}': {hint}")


_DEMO_SETS: tuple[tuple[str, str, Literal["id", "ood"], str], ...] = (
    ("fashion_mnist", "Fashion-MNIST", "id", "The 10,000 test images: ten kinds of clothing, 28 x 28, grey."),
    ("fashion_mnist_train", "Fashion-MNIST, training", "id", "3,000 training images, 300 a class, for fitting."),
    ("noise", "Noise", "ood", "Generated: independent pixels, smooth blobs, gratings."),
    ("textures", "Textures", "ood", "Crops of brick, grass and gravel."),
    ("letters", "Letters", "ood", "Latin letters in faces of the DejaVu fonts."),
    ("digits", "Digits", "ood", "Handwritten digits of scikit-learn."),
    ("photographs", "Photographs", "ood", "Grey crops of photographs."),
    ("chimeras", "Chimeras", "ood", "The upper half of one garment on the lower half of another."),
)
for _name, _label, _role, _note in _DEMO_SETS:
    register_dataset(DatasetEntry(_name, _label, _role, ASSETS / "demo" / "images" / f"{_name}.npz", _note))
