"""An array in a file of a folder of features, .npy or .npz: what it is, and its values; never a pickle."""

import hashlib
import math
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ash.files import DAMAGE, npy_header, open_regular
from ash.images import DataError

PIECE = 2**24  # bytes of features that are in memory at once while an .npy is read

Rows = Callable[[int, int], NDArray[Any]]  # start, stop -> those rows


@dataclass(frozen=True)
class Stored:
    """An array on disk: all of an .npy, or the array `key` of an .npz. `shape` and `dtype` are as its header says."""

    path: Path
    key: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def words(self) -> str:
        """What it is called in a sentence: `features in id.npz`, or `id.npy`."""
        return _words(self.path, self.key)

    @contextmanager
    def rows(self) -> Iterator[Rows]:
        """A function that reads rows: of an .npy in C order those alone, of anything else all, once.

        It reads and does not map: a file that somebody writes anew meanwhile ends in a sentence, not the process.
        DataError where the file is damaged, or not what its header said any more.
        """
        with _opened(self.path, self.key) as (file, size):
            with _told(self.path):
                shape, order, dtype = npy_header(file, size)
            if (shape, dtype) != (self.shape, self.dtype):
                raise DataError(f"{self.path} has changed while it was read: try again when it is written.")
            begin, width = file.tell(), math.prod(shape[1:])

            def read(start: int, stop: int) -> NDArray[Any]:
                flat = np.empty((stop - start) * width, dtype)
                with _told(self.path):
                    file.seek(begin + start * width * dtype.itemsize)
                    _fill(file, flat)
                return flat.reshape(stop - start, *shape[1:])

            if self.path.suffix == ".npy" and order == "C":
                yield read
                return
            whole = np.empty(math.prod(shape), dtype)
            with _told(self.path):
                _fill(file, whole)
                if file.read(1):  # an archive compares its own checksum at the end
                    raise EOFError("it does not end where it should")
            values = whole.reshape(shape, order=order)
            yield lambda start, stop: values[start:stop]

    def values(self) -> NDArray[Any]:
        """All of it, in memory."""
        with self.rows() as rows:
            return rows(0, self.shape[0])


def stored(path: Path, key: str) -> Stored:
    """What is in a file under a key, from its header alone; of an .npy the key says nothing.

    DataError for what is no such file, has no such array or holds Python objects.
    """
    with _opened(path, key) as (file, size), _told(path):
        shape, _, dtype = npy_header(file)
        if dtype.hasobject:
            texts = ", texts as np.array(texts, dtype=str)" if key == "classes" else ""
            raise DataError(f"{_words(path, key)} holds Python objects, which are never loaded: save numbers{texts}.")
        wanted = file.tell() + math.prod(shape) * dtype.itemsize
        if wanted != size:
            raise EOFError(f"it has {size:,} bytes in place of {wanted:,}")
    return Stored(path, key, shape, dtype)


def keys_of(path: Path) -> tuple[str, ...]:
    """The names of the arrays in an .npz; DataError where it is none."""
    with _told(path), open_regular(path) as file, zipfile.ZipFile(file) as pack:
        return tuple(name.removesuffix(".npy") for name in pack.namelist())


def _words(path: Path, key: str) -> str:
    return path.name if path.suffix == ".npy" else f"{key} in {path.name}"


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What the disk, or the bytes of a file, raise as a sentence on it."""
    try:
        yield
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    except DAMAGE as error:
        raise DataError(f"{path} is damaged, or no {path.suffix} file ({error}): write it again.") from error


@contextmanager
def _opened(path: Path, key: str) -> Iterator[tuple[Any, int]]:
    """The bytes of an array as those of an .npy, and how many they are."""
    with _told(path):
        file = open_regular(path)
    with file:
        if path.suffix == ".npy":
            yield file, os.fstat(file.fileno()).st_size
            return
        with _told(path):
            pack = zipfile.ZipFile(file)
            found = {one.filename.removesuffix(".npy"): one for one in pack.infolist()}
            if key not in found:
                raise DataError(f"{path.name} has no array '{key}', only {', '.join(found) or 'nothing'}.")
            member = pack.open(found[key])
        with pack, member:
            yield member, found[key].file_size


def _fill(file: Any, values: NDArray[Any]) -> None:
    """Read an array's bytes; EOFError where some lack."""
    room = memoryview(values.view(np.uint8))
    while len(room):
        got = file.readinto(room)
        if not got:
            raise EOFError("it ends too early")
        room = room[got:]


@dataclass(frozen=True)
class Seen:
    """What reading all features of an array has shown: a hash of their float32 values, and the lowest of them."""

    digest: str
    lowest: float


def as_float32(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Rows in float32 and C order, from any floating-point kind; what is too large for it becomes infinite."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(rows, np.float32)


def look_through(one: Stored) -> Seen:
    """Read all features (N, D) once; DataError for the first that is not finite in float32."""
    digest, lowest = hashlib.sha256(f"{one.shape}".encode()), math.inf
    step = max(1, PIECE // (4 * one.shape[1]))
    with one.rows() as read:
        for start in range(0, one.shape[0], step):
            found = read(start, min(start + step, one.shape[0]))
            rows = as_float32(found)
            low, high = float(rows.min()), float(rows.max())
            if not (math.isfinite(low) and math.isfinite(high)):  # either is NaN where one of them is
                row, column = np.argwhere(~np.isfinite(rows))[0].tolist()
                what = found[row, column]
                why = "more than float32 holds" if np.isfinite(what) else "not a finite number"
                raise DataError(f"{one.words} holds {what} in row {start + row}, column {column}: {why}.")
            digest.update(rows)
            lowest = min(lowest, low)
    return Seen(digest.hexdigest(), lowest)
