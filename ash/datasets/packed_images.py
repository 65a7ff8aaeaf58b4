"""Sets that ship in one file: images in a zip archive, or the list of images whose licence keeps them from shipping.

<set>.zip    images.csv (image,label and what else is known of each: author, page, licence) and the image files
<set>.csv    image,label: what the activations that ship are of; `image` says how to get the pictures
"""

import csv
import hashlib
import io
import struct
import zipfile
import zlib
from abc import abstractmethod
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
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, KeyError, csv.Error, RuntimeError, ValueError)


class _Listed(OneFile):
    """A file that says of every image `image`, `label`, and what else is known of it.

    `shipped`: the file's bytes must be those that assets/demo/manifest.json states.
    """

    def __init__(self, path: Path, name: str, label: str, *, shipped: bool = False) -> None:
        super().__init__(path, name, label)
        self.shipped = shipped

    @property
    @abstractmethod
    def rows(self) -> list[dict[str, str]]:
        """What is listed of every image; DataError where the file is damaged, or not what shipped."""

    def _content(self) -> bytes:
        """The file's bytes, verified."""
        try:
            content = read_bytes(self.path)
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror}.") from error
        if self.shipped and (wrong := shipped.complaint(self.path, hashlib.sha256(content).hexdigest())):
            raise DataError(wrong)
        return content

    def _damaged(self, why: object) -> DataError:
        return DataError(f"{self.path} is damaged ({why}); run `python -m ash demo build`.")

    def _parsed(self, content: bytes) -> list[dict[str, str]]:
        try:
            rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
            if not rows or not all(row["image"] and int(row["label"]) >= UNKNOWN for row in rows):
                raise ValueError("it lists no images")
        except (*_DAMAGE, TypeError) as error:
            raise self._damaged(error) from error
        return rows

    @cached_property
    def names(self) -> Sequence[str]:
        return [row["image"] for row in self.rows]

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        return np.array([int(row["label"]) for row in self.rows], np.int64)

    @cached_property
    def fingerprint(self) -> str:
        return hashlib.sha256(self._content()).hexdigest()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("names", "rows", "_archive")}


class ListedImages(_Listed):
    """Images that do not ship: their names and labels. `instructions` says how to get them."""

    def __init__(self, path: Path, name: str, label: str, *, shipped: bool = False, instructions: str = "") -> None:
        super().__init__(path, name, label, shipped=shipped)
        self.instructions = instructions

    @property
    def has_images(self) -> bool:
        return False

    @cached_property
    def rows(self) -> list[dict[str, str]]:
        return self._parsed(self._content())

    def image(self, index: int) -> Image.Image:
        raise ImageError(f"{self.names[index]} does not ship, its activations do. {self.instructions}".strip())


class PackedImages(_Listed):
    """Images in a zip archive, in the order of its list."""

    @cached_property
    def _archive(self) -> zipfile.ZipFile:
        """The archive in memory, of the very bytes that were verified."""
        content = self._content()
        try:
            return zipfile.ZipFile(io.BytesIO(content))
        except _DAMAGE as error:
            raise self._damaged(error) from error

    def _member(self, name: str) -> bytes:
        """A file of the archive, whose own checksum zipfile compares."""
        archive = self._archive
        try:
            return archive.read(name)
        except _DAMAGE as error:
            raise self._damaged(error) from error

    @cached_property
    def rows(self) -> list[dict[str, str]]:
        rows = self._parsed(self._member(LIST))
        there = {*self._archive.namelist()}
        if missing := [row["image"] for row in rows if row["image"] not in there]:
            raise self._damaged(f"{missing[0]} is not in it")
        return rows

    def image(self, index: int) -> Image.Image:
        name = self.names[index]
        content = self._member(name)
        try:
            with Image.open(io.BytesIO(content), formats=("WEBP",)) as image:
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
