"""Sets that ship in one file: images in a zip archive, or the list of images whose licence keeps them from shipping.

<set>.zip    images.csv (image,label and what else is known of each: author, page, licence) and the image files
<set>.csv    image,label: what the activations that ship are of; `image` says how to get the pictures
"""

import csv
import hashlib
import io
import zipfile
import zlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ash import shipped
from ash.datasets.array_images import OneFile
from ash.files import read_bytes
from ash.images import UNKNOWN, DataError, ImageError, decode

LIST = "images.csv"
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, csv.Error, ValueError)


class ListedImages(OneFile):
    """Names and labels of images that are not here. `instructions` says how to get them.

    `shipped`: the file's bytes must be those that assets/demo/manifest.json states.
    """

    def __init__(self, path: Path, name: str, label: str, *, shipped: bool = False, instructions: str = "") -> None:
        super().__init__(path, name, label)
        self.shipped, self.instructions = shipped, instructions

    @property
    def has_images(self) -> bool:
        return False

    @cached_property
    def rows(self) -> list[dict[str, str]]:
        """Of every image `image`, `label`, and what else is listed; DataError where the file is not what shipped."""
        return _rows(self._content(), self.path)

    def _content(self) -> bytes:
        """The file's bytes, verified."""
        try:
            content = read_bytes(self.path)
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror}.") from error
        if self.shipped and (wrong := shipped.complaint(self.path, hashlib.sha256(content).hexdigest())):
            raise DataError(wrong)
        return content

    @cached_property
    def names(self) -> Sequence[str]:
        return [row["image"] for row in self.rows]

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        return np.array([int(row["label"]) for row in self.rows], np.int64)

    @cached_property
    def fingerprint(self) -> str:
        return hashlib.sha256(self._content()).hexdigest()

    def image(self, index: int) -> Image.Image:
        raise ImageError(f"{self.names[index]} does not ship, its activations do. {self.instructions}".strip())

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("names", "rows", "_packed")}


class PackedImages(ListedImages):
    """Images in a zip archive, in the order of its list."""

    @property
    def has_images(self) -> bool:
        return True

    @cached_property
    def _packed(self) -> dict[str, bytes]:
        """Name -> bytes of every file in the archive; a damaged one is refused as a whole."""
        content = self._content()
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as pack:
                return {one.filename: pack.read(one) for one in pack.infolist()}
        except _DAMAGE as error:
            raise DataError(f"{self.path} is damaged ({error}); run `python -m ash demo build`.") from error

    @cached_property
    def rows(self) -> list[dict[str, str]]:
        rows = _rows(self._packed.get(LIST, b""), self.path)
        if missing := [row["image"] for row in rows if row["image"] not in self._packed]:
            raise DataError(f"{self.path} is damaged: {missing[0]} is not in it; run `python -m ash demo build`.")
        return rows

    def image(self, index: int) -> Image.Image:
        name = self.names[index]
        try:
            with Image.open(io.BytesIO(self._packed[name]), formats=("WEBP",)) as image:
                return decode(image)
        except (OSError, ValueError) as error:
            raise ImageError(f"{name} is not a readable image: {error}.") from error


def pack(images: Sequence[tuple[dict[str, str], bytes]]) -> bytes:
    """The archive of `PackedImages`: of every image its row of the list and its encoded bytes, in order.

    The same images give the same bytes, whenever it is made.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, LIST, listing([row for row, _ in images]), zipfile.ZIP_DEFLATED)
        for row, content in images:
            _add(archive, row["image"], content, zipfile.ZIP_STORED)
    return buffer.getvalue()


def listing(rows: Sequence[dict[str, str]]) -> bytes:
    """The list of images as CSV."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _add(archive: zipfile.ZipFile, name: str, content: bytes, how: int) -> None:
    archive.writestr(zipfile.ZipInfo(name), content, how)


def _rows(content: bytes, path: Path) -> list[dict[str, str]]:
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
        if not rows or not all(row["image"] and int(row["label"]) >= UNKNOWN for row in rows):
            raise ValueError("it lists no images")
    except (*_DAMAGE, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}); run `python -m ash demo build`.") from error
    return rows
