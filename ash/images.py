"""Image sets: a folder of images, a CSV list, or a subset of another set; one image is decoded at a time.

An image set knows its names, labels and a fingerprint of its files. A broken image raises `ImageError` with a sentence,
so that whoever reads ten thousand can skip and name it. Files are in sorted path order. Sets are sent to worker
processes: they pickle as names and sizes (about 40 bytes an image), never with pixels.
"""

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ash.errors import AshError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
MAX_PIXELS = 50_000_000
READING = 1  # raise it whenever the same bytes come to give other pixels: banks are known by it (ash.identity)
UNKNOWN = -1  # the label of an image whose class nobody stated


class DataError(AshError):
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
        """Decode image `index`, mode L or RGB; ImageError when it is broken, DataError when its file is gone."""


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def decode(image: Image.Image) -> Image.Image:
    """The pixels as mode L or RGB: palettes and CMYK converted, 16 bit scaled to 8, transparency on white.

    Pixels are as stored: an EXIF orientation does not turn them. ValueError above MAX_PIXELS, before decoding.
    """
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels are more than {MAX_PIXELS / 1e6:g} million")
    image.load()
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        sixteen = image.mode.startswith("I;16") or values.max(initial=0) > 255
        return Image.fromarray((values / (257 if sixteen else 1)).clip(0, 255).round().astype(np.uint8))
    if "transparency" in image.info or image.mode in ("LA", "PA", "RGBA"):
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.copy() if image.mode in ("L", "RGB") else image.convert("L" if image.mode == "1" else "RGB")


def read_image(path: str, name: str) -> Image.Image:
    """Decode a file, mode L or RGB. ImageError when it is broken; DataError when the file cannot be read at all."""
    try:
        with Image.open(path) as image:
            return decode(image)
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is not an image in a known format.") from error
    except OSError as error:
        if error.errno is not None:  # the disk's word, not the decoder's: the next image would fail as well
            raise DataError(f"{path} cannot be read: {error.strerror}.") from error
        raise ImageError(f"{name} is not a readable image: {error}.") from error
    except Exception as error:  # decoders meet hostile bytes with errors of every kind
        raise ImageError(f"{name} is not a readable image: {error or type(error).__name__}.") from error


def image_names(folder: Path) -> Iterator[str]:
    """Paths of all visible images below a folder, relative to it, in the disk's order; DataError when it is not listed.

    Links to folders are followed, but no folder is entered twice.
    """
    pending, seen = [(str(folder), "")], set()
    try:
        while pending:
            path, prefix = pending.pop()
            status = os.stat(path)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(path) as entries:
                for entry in entries:
                    name = entry.name
                    if name.startswith((".", "__MACOSX")):
                        continue
                    if name.lower().endswith(SUFFIXES) and entry.is_file():
                        yield prefix + name
                    elif entry.is_dir():
                        pending.append((entry.path, f"{prefix}{name}/"))
    except OSError as error:
        raise DataError(f"The folder {error.filename or folder} cannot be listed: {error.strerror}.") from error


class FileImages(ImageSet):
    """Image files below one folder, `files` relative to it."""

    def __init__(self, root: Path, files: Sequence[str], name: str, label: str = "") -> None:
        self.root, self.name, self.label = str(root), name, label or name
        self._names = list(files)

    @property
    def names(self) -> Sequence[str]:
        return self._names

    @cached_property
    def _sizes(self) -> list[int]:
        try:
            return [os.stat(f"{self.root}/{name}").st_size for name in self._names]
        except OSError as error:
            raise DataError(f"{self.label}: {error.filename} cannot be read: {error.strerror}.") from error

    @property
    def disk_bytes(self) -> int:
        """Size of the files on disk."""
        return sum(self._sizes)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of names and sizes: 0.2 s for 50,000 files, no file is read."""
        listing = "\n".join(f"{name}\t{size}" for name, size in zip(self._names, self._sizes, strict=True))
        return hashlib.sha256(listing.encode(errors="surrogateescape")).hexdigest()

    def image(self, index: int) -> Image.Image:
        return read_image(f"{self.root}/{self._names[index]}", self._names[index])


def class_folders(names: Sequence[str]) -> list[str]:
    """Per file the folder that is its class: the first level on which the paths part; empty where files lie flat."""
    if not names:
        return []
    parts = [name.split("/")[:-1] for name in names]
    first, last = min(parts), max(parts)
    level = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    if len(first) == level:
        return []
    return [folders[level] for folders in parts]


def _in_label_order(folders: set[str]) -> list[str]:
    """Sorted; folders that are all numbers by their number, so that 10 comes after 9."""
    numbers = all(folder.isascii() and folder.isdigit() for folder in folders)
    return sorted(folders, key=lambda folder: (int(folder), folder)) if numbers else sorted(folders)


class FolderImages(FileImages):
    """A folder of images: flat, or class folders (sub-folders included) in label order, perhaps within one folder.

    Label order is the sorted order of the folders' names. Hidden files and folders are no images.
    """

    def __init__(self, path: Path, name: str, label: str = "") -> None:
        self.path = path
        if not path.is_dir():
            raise DataError(f"There is no folder {path}; give a folder of images.")
        files = sorted(image_names(path), key=lambda file: file.split("/"))
        if not files:
            raise DataError(f"The folder {path} holds no images ({', '.join(SUFFIXES)}).")
        super().__init__(path, files, name, label)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        folders = class_folders(self._names)
        if not folders:
            return np.full(len(self._names), UNKNOWN, np.int64)
        order = {folder: label for label, folder in enumerate(_in_label_order(set(folders)))}
        return np.array([order[folder] for folder in folders], np.int64)


class FirstImages(FileImages):
    """The first `count` images of a folder in sorted path order, without labels."""

    def __init__(self, path: Path, count: int, name: str, label: str = "") -> None:
        whole = FolderImages(path, name, label)
        self.path = path
        super().__init__(path, whole.names[:count], name, label)

    @property
    def labels(self) -> NDArray[np.int64]:
        return np.full(len(self), UNKNOWN, np.int64)


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


def evenly(whole: ImageSet, count: int) -> ImageSet:
    """A set itself where it has at most `count` images, otherwise `count` of them, evenly spaced."""
    return whole if len(whole) <= count else Subset(whole, count)
