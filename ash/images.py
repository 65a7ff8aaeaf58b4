"""Image sets: a folder of images, a CSV list, or a subset of another set; one image is decoded at a time.

An image set knows its names, labels and a fingerprint of its files. A broken image raises `ImageError` with a sentence,
so that whoever reads ten thousand can skip and name it. Files are in sorted path order; those among them that are not
read are counted and named. Sets are sent to worker processes: they pickle as names and sizes (about 40 bytes an
image), never with pixels.
"""

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, features

from ash.errors import AshError
from ash.files import Look, look_of
from ash.files import file_hash as file_hash

_AVIF = bool(features.check("avif"))
# What is read: by these names in a folder, and whatever the name, by content in these formats alone.
SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"),
    *([".avif"] if _AVIF else []),
)
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", *(["AVIF"] if _AVIF else []))
MAX_PIXELS = 50_000_000
NAMED = 3  # of the files that are left out
READING = 1  # raise it whenever the same bytes come to give other pixels: banks are known by it (ash.identity)
UNKNOWN = -1  # the label of an image whose class nobody stated


class DataError(AshError):
    """A data set is missing or unreadable; the message says which, where and what to do."""


class ImageError(DataError):
    """One image of a set does not decode; the message says which and why."""


class ImageSet(ABC):
    """Images in a fixed order. `names` are stable ids, `labels` (n,) int64 with -1 for unknown.

    A set that knows its classes by name says them in `stated`; what they are to a network, `ash.labels` reads.
    """

    name: str
    label: str
    states: str = "numbers"  # what `stated` are

    @property
    def has_images(self) -> bool:
        """Whether the images are here; not so where only what was computed of them ships."""
        return True

    @property
    def stated(self) -> Sequence[tuple[str, ...]] | None:
        """The names that may be every image's class, of nested folders the outermost first, () where there are none.

        None where `labels` are class numbers already.
        """
        return None

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


def eight_bit(image: Image.Image) -> Image.Image:
    """The pixels of a loaded image in mode L or RGB: palettes and CMYK converted, transparency on white.

    Grey values of more than 8 bits are scaled to 0..255: 16-bit ones from 0..65535; whole numbers of 32 bits and
    fractions from the range that their largest lies in, 0..1 (fractions alone), 0..255 or 0..65535. ValueError where
    that is none of these.
    """
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        white = 65535.0 if image.mode.startswith("I;16") else _white(values, fractions=image.mode == "F")
        return Image.fromarray((values * (255 / white)).round().astype(np.uint8))
    if "transparency" in image.info or image.mode in ("LA", "PA", "RGBA"):
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.copy() if image.mode in ("L", "RGB") else image.convert("L" if image.mode == "1" else "RGB")


def _white(values: NDArray[np.float64], fractions: bool) -> float:
    """The value that is white, of grey values whose format does not say it."""
    low, high = values.min(initial=0), values.max(initial=0)
    if low >= 0 and high <= 65535:  # not so for NaN
        return 1.0 if fractions and high <= 1 else 255.0 if high <= 255 else 65535.0
    raise ValueError(f"its values, {low:g} to {high:g}, are not in 0 to 1, 0 to 255 or 0 to 65535")


_ORIENTATION = 0x0112  # the EXIF tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """What makes a loaded image upright; None where it is, or where its EXIF data cannot be read."""
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION))  # type: ignore[arg-type]  # of any type, in a hostile file
    except MemoryError:
        raise
    except Exception:  # the pixels are fine, only what is said of them is not
        return None


def decode(image: Image.Image, upright: bool = True) -> Image.Image:
    """The pixels as `eight_bit` makes them, turned as the EXIF orientation says unless they are wanted as stored.

    ValueError above MAX_PIXELS, before decoding.
    """
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"{image.width} x {image.height} pixels are more than {MAX_PIXELS / 1e6:g} million")
    image.load()
    turn, pixels = turn_of(image) if upright else None, eight_bit(image)
    return pixels if turn is None else pixels.transpose(turn)


def read_image(path: str | IO[bytes], name: str, upright: bool = True) -> Image.Image:
    """Decode a file of one of the FORMATS, by its path or open, mode L or RGB, see `decode`.

    ImageError when it is broken; DataError when the file cannot be read at all. Too little memory is neither.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            return decode(image, upright)
    except MemoryError:  # of this machine at this moment: the image would count as broken for good
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is not an image in a known format ({', '.join(FORMATS)}).") from error
    except OSError as error:
        if error.errno is not None:  # the disk's word, not the decoder's: the next image would fail as well
            raise DataError(f"{path} cannot be read: {error.strerror}.") from error
        raise ImageError(f"{name} is not a readable image: {error}.") from error
    except Exception as error:  # decoders meet hostile bytes with errors of every kind
        raise ImageError(f"{name} is not a readable image: {error or type(error).__name__}.") from error


LeftOut = dict[str, list[str]]  # why files below a folder are not read -> their names


def left_out_words(left_out: LeftOut) -> str:
    """How many files are left out and why, the first few by name; "" where there are none."""
    kinds = [
        f"{len(names):,} {why} ({', '.join(names[:NAMED])}{', ...' if len(names) > NAMED else ''})"
        for why, names in left_out.items()
    ]
    return f"left out: {'; '.join(kinds)}" if kinds else ""


def _kind(entry: os.DirEntry[str]) -> str:
    """What an entry of a folder is: `file` or `folder`, or else why it is neither."""
    try:
        if entry.is_file():
            return "file"
        if entry.is_dir():
            return "folder"
    except OSError:  # links in a circle
        return "links that lead nowhere"
    return "links that lead nowhere" if entry.is_symlink() else "neither files nor folders"


def is_read_anew(path: str) -> bool:
    """Whether a file gives other pixels than before images were turned by EXIF and 32-bit values scaled."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            return image.mode in ("I", "F") or turn_of(image) is not None
    except (OSError, ValueError):
        return False  # broken then as now


def image_names(folder: Path, left_out: LeftOut | None = None) -> Iterator[str]:
    """Paths of all visible images below a folder, relative to it, in the disk's order; DataError when it is not listed.

    Links to folders are followed, but no folder is entered twice. What is not hidden and no image goes to `left_out`.
    """
    pending, seen = [(str(folder), "")], set()
    left_out = {} if left_out is None else left_out
    try:
        while pending:
            path, prefix = pending.pop()
            status = os.stat(path)
            if (status.st_dev, status.st_ino) in seen:
                left_out.setdefault("links to folders that are read already", []).append(prefix.rstrip("/"))
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(path) as entries:
                for entry in entries:
                    name = entry.name
                    if name.startswith((".", "__MACOSX")):
                        continue
                    kind = _kind(entry)
                    if not name.isprintable() and as_text(name) != name:
                        kind = "whose names are not UTF-8"
                    elif kind == "file" and not name.lower().endswith(SUFFIXES):
                        kind = "whose names are not those of images"
                    if kind == "file":
                        yield prefix + name
                    elif kind == "folder":
                        pending.append((entry.path, f"{prefix}{name}/"))
                    else:
                        left_out.setdefault(kind, []).append(prefix + as_text(name))
    except OSError as error:
        raise DataError(f"The folder {error.filename or folder} cannot be listed: {error.strerror}.") from error


def as_text(name: str) -> str:
    """A file's name in text that can be written anywhere: bytes that are not UTF-8 as `\\xe9`."""
    return os.fsencode(name).decode(errors="backslashreplace")


class FileImages(ImageSet):
    """Image files below one folder, `files` relative to it; turned as their EXIF orientation says, or as stored.

    `left_out` are the files beside them that are not read.
    """

    def __init__(self, root: Path, files: Sequence[str], name: str, label: str = "", *, upright: bool = True) -> None:
        self.root, self.name, self.label, self.upright = str(root), name, label or name, upright
        self.left_out: LeftOut = {}
        self._names = list(files)

    @property
    def names(self) -> Sequence[str]:
        return self._names

    @cached_property
    def _found(self) -> list[Look]:
        """What is seen of every file."""
        try:
            return [look_of(f"{self.root}/{name}") for name in self._names]
        except OSError as error:
            raise DataError(f"{self.label}: {error.filename} cannot be read: {error.strerror}.") from error

    @property
    def _sizes(self) -> list[int]:
        return [size for size, *_ in self._found]

    @property
    def look(self) -> str:
        """What was seen of the files, their names first: another look is another set of files."""
        return hashlib.sha256(repr((self._names, self._found)).encode(errors="surrogateescape")).hexdigest()

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
        return read_image(f"{self.root}/{self._names[index]}", self._names[index], self.upright)


def parting_level(paths: Sequence[tuple[str, ...]]) -> int | None:
    """The first level on which paths of folders part; None where they do not, or where one ends before they do."""
    first, last = min(paths), max(paths)
    return next((level for level, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), None)


def is_class_number(text: str) -> bool:
    """Whether a text is a number that a class could have."""
    return text.isascii() and text.isdigit() and len(text) < 10


class FolderImages(FileImages):
    """A folder of images: flat, or in class folders (sub-folders included), perhaps within one folder.

    `stated` are the folders of every image. `labels` number the folders that are there, in their order: those of a
    network are `ash.labels.read(images, classes)`. Hidden files and folders are no images.
    """

    states = "folder names"

    def __init__(self, path: Path, name: str, label: str = "", *, upright: bool = True) -> None:
        self.path = path
        if not path.is_dir():
            raise DataError(f"There is no folder {path}; give a folder of images.")
        left_out: LeftOut = {}
        files = sorted(image_names(path, left_out), key=lambda file: file.split("/"))
        for names in left_out.values():
            names.sort()
        if not files:
            more = f"; {left_out_words(left_out)}" if left_out else ""
            raise DataError(f"The folder {path} holds no images ({', '.join(SUFFIXES)}){more}.")
        super().__init__(path, files, name, label, upright=upright)
        self.left_out = left_out

    @property
    def stated(self) -> Sequence[tuple[str, ...]]:
        return [tuple(name.split("/")[:-1]) for name in self._names]

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        level = parting_level(self.stated)
        if level is None:
            return np.full(len(self._names), UNKNOWN, np.int64)
        folders = [path[level] for path in self.stated]
        numbers = all(folder.isascii() and folder.isdigit() for folder in folders)  # 10 comes after 9 then
        in_order = sorted(set(folders), key=lambda folder: (int(folder) if numbers else 0, folder))
        order = {folder: label for label, folder in enumerate(in_order)}
        return np.array([order[folder] for folder in folders], np.int64)


class FirstImages(FileImages):
    """The first `count` images of a folder in sorted path order, without labels."""

    def __init__(self, path: Path, count: int, name: str, label: str = "", *, upright: bool = True) -> None:
        whole = FolderImages(path, name, label)
        self.path = path
        super().__init__(path, whole.names[:count], name, label, upright=upright)
        self.left_out = whole.left_out

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

    @property
    def has_images(self) -> bool:
        return self.whole.has_images

    @cached_property
    def names(self) -> Sequence[str]:
        return [self.whole.names[row] for row in self.rows]

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        return self.whole.labels[self.rows]

    @property
    def stated(self) -> Sequence[tuple[str, ...]] | None:
        stated = self.whole.stated
        return None if stated is None else [stated[row] for row in self.rows]

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"{self.whole.fingerprint} {len(self.rows)}".encode()).hexdigest()

    def image(self, index: int) -> Image.Image:
        return self.whole.image(int(self.rows[index]))


def evenly(whole: ImageSet, count: int) -> ImageSet:
    """A set itself where it has at most `count` images, otherwise `count` of them, evenly spaced."""
    return whole if len(whole) <= count else Subset(whole, count)
