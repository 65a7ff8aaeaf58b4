"""Image sets that lie in one file: .npz as bundled, the batches of CIFAR, the .mat file of SVHN.

They are read here and not by torchvision's classes, to the same pixels and labels: those want the training files too,
import torch, and load a pickle without looking, which for a file that is not the published one can run any code.
Pixels are read when first needed, once in each process, and never pickled.
"""

import hashlib
import struct
import zlib
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ash import shipped
from ash.datasets import cifar_pickle
from ash.files import DamagedError, Look, file_hash, look_of, open_regular, parse_npz, read_bytes
from ash.images import UNKNOWN, DataError, ImageSet

MOST_UNPACKED = 2**32  # bytes that the compressed variables of a .mat file may unpack to
_CHUNK = 2**20
_MAT_HEADER, _MAT_COMPRESSED = 128, 15  # bytes before the first variable; the type of a compressed one


class OneFile(ImageSet):
    """A set that one file holds: another file is another set."""

    def __init__(self, path: Path, name: str, label: str = "") -> None:
        self.path, self.name, self.label = path, name, label or name

    @cached_property
    def fingerprint(self) -> str:
        return file_hash(self.path)

    @property
    def disk_bytes(self) -> int:
        """Size of the file on disk."""
        return self.path.stat().st_size

    @property
    def look(self) -> str:
        """What was seen of the file: another look is another file."""
        return str(look_of(self.path))


class FileArray(OneFile):
    """A file that holds all images of a set, (n, H, W) or (n, H, W, 3) uint8, and perhaps labels (n,)."""

    @cached_property
    @abstractmethod
    def labels(self) -> NDArray[np.int64]:
        """The class of every image, UNKNOWN where the file has none."""

    @cached_property
    @abstractmethod
    def _pixels(self) -> NDArray[np.uint8]:
        """All images; read once."""

    @cached_property
    def names(self) -> Sequence[str]:
        return [f"{self.name}/{index:05d}" for index in range(len(self.labels))]

    def image(self, index: int) -> Image.Image:
        return Image.fromarray(self._pixels[index])

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_pixels", "names")}


class ArrayImages(FileArray):
    """A bundled set: an .npz with `images` (n, H, W) uint8 and, where the classes are known, `labels` (n,).

    `shipped`: its bytes must be those that assets/demo/manifest.json states.
    """

    def __init__(self, path: Path, name: str, label: str, shipped: bool = False) -> None:
        super().__init__(path, name, label)
        self.shipped = shipped
        if not path.is_file():
            raise DataError(f"{label}: {path.name} is missing from {path.parent}; run `python -m ash demo build`.")

    def _read(self, key: str) -> NDArray[Any] | None:
        """One array, of the very bytes that were verified; the others stay packed."""
        try:
            content = read_bytes(self.path)
            self._verify(hashlib.sha256(content).hexdigest())
            return parse_npz(content, [key]).get(key)
        except (OSError, DamagedError) as error:
            raise self._damaged(error) from error

    def _damaged(self, why: object) -> DataError:
        return DataError(f"{self.path} is damaged ({why}); run `python -m ash demo build`.")

    def _verify(self, digest: str) -> None:
        if self.shipped and (wrong := shipped.complaint(self.path, digest)):
            raise DataError(wrong)

    @cached_property
    def _pixels(self) -> NDArray[np.uint8]:
        pixels = self._read("images")
        if pixels is None or pixels.dtype != np.uint8 or pixels.ndim not in (3, 4):
            raise self._damaged("no images in it")
        return pixels

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        labels = self._read("labels")
        if labels is None:
            return np.full(len(self._pixels), UNKNOWN, np.int64)
        if labels.dtype.kind not in "iu" or labels.ndim != 1:
            raise self._damaged("its labels are no list of classes")
        return labels.astype(np.int64)

    @cached_property
    def fingerprint(self) -> str:
        digest = super().fingerprint
        self._verify(digest)
        return digest


class CifarImages(FileArray):
    """A CIFAR batch in the published format: `data` (n, 3072) uint8, `labels` or, for CIFAR-100, `fine_labels`."""

    @cached_property
    def _pixels(self) -> NDArray[np.uint8]:
        return _read_batch(self.path)[0]

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        try:
            return _batch_labels(self.path, look_of(self.path))
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror}.") from error


@lru_cache(maxsize=16)
def _batch_labels(path: Path, look: Look) -> NDArray[np.int64]:
    """Labels of a batch, read once for a file that looks the same: its status is asked for often."""
    return _read_batch(path)[1]


def _read_batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pixels (n, 32, 32, 3) and labels (n,) of a CIFAR batch; DataError when it is none."""
    try:
        pixels, labels = cifar_pickle.parse(read_bytes(path, cifar_pickle.MOST_BYTES))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    except DamagedError as error:
        raise DataError(f"{path} is not a CIFAR batch ({error}); fetch it again.") from error
    return np.ascontiguousarray(pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), labels


def _check_unpacked(file: BinaryIO) -> None:
    """ValueError where a .mat file unpacks to more than MOST_UNPACKED: counted piece by piece, nothing of it is kept.

    The file is left at its beginning. Only files of version 5 hold compressed variables.
    """
    order = {b"IM": "<", b"MI": ">"}.get(file.read(_MAT_HEADER)[-2:])
    total = 0
    while order and len(tag := file.read(8)) == 8:
        kind, size = struct.unpack(f"{order}II", tag)
        if kind != _MAT_COMPRESSED:
            file.seek(size, 1)
            continue
        unpacker = zlib.decompressobj()
        while size and (packed := file.read(min(size, _CHUNK))):
            size -= len(packed)
            while packed:
                total += len(unpacker.decompress(packed, _CHUNK))
                packed = unpacker.unconsumed_tail
                if total > MOST_UNPACKED:
                    raise ValueError(f"it unpacks to more than {MOST_UNPACKED:,} bytes")
    file.seek(0)


class SvhnImages(FileArray):
    """SVHN's .mat file: `X` (32, 32, 3, n) uint8 and `y` (n, 1), where 10 is the digit 0.

    `per_class` takes the first so many images of each digit in the file's order; 0 takes all.
    """

    def __init__(self, path: Path, name: str, label: str = "", per_class: int = 0) -> None:
        super().__init__(path, name, label)
        self.per_class = per_class

    @cached_property
    def _digits(self) -> NDArray[np.int64]:
        """The digit of every image in the file."""
        return self._read("y", (None, 1)).reshape(-1) % 10

    def _read(self, key: str, shape: tuple[int | None, ...]) -> NDArray[Any]:
        """A variable of the file, of this shape (None: any length); DataError for what is no array of whole numbers.

        What it unpacks to is counted before any of it is in memory.
        """
        from scipy.io import loadmat, whosmat  # type: ignore[import-untyped]

        try:
            with open_regular(self.path) as file:
                _check_unpacked(file)
                stated = {name: found for name, found, _ in whosmat(file)}
                if key not in stated or not _fits(stated[key], shape):  # before anything of that size is in memory
                    raise ValueError(f"its {key} has the shape {stated.get(key)}")
                file.seek(0)
                found = loadmat(file, variable_names=[key])[key]
            kinds = "u" if key == "X" else "uif"
            if not isinstance(found, np.ndarray) or found.dtype.kind not in kinds or not _fits(found.shape, shape):
                raise ValueError(f"its {key} is no array of numbers of the shape {shape}")
            whole = found.astype(np.uint8 if key == "X" else np.int64)
            if not np.array_equal(whole, found):
                raise ValueError(f"its {key} holds other than whole numbers")
        except OSError as error:
            if error.errno is not None:
                raise DataError(f"{self.path} cannot be read: {error.strerror}.") from error
            raise self._damaged(error) from error
        except MemoryError:
            raise
        except Exception as error:  # scipy meets damaged bytes with errors of every kind
            raise self._damaged(error) from error
        return whole

    def _damaged(self, error: Exception) -> DataError:
        what = f"{type(error).__name__}: {error}"
        return DataError(f"{self.path} is not a .mat file of SVHN ({what}); fetch it again.")

    @cached_property
    def _rows(self) -> NDArray[np.int64]:
        digits = self._digits
        if not self.per_class:
            return np.arange(len(digits))
        return np.sort(np.concatenate([np.flatnonzero(digits == digit)[: self.per_class] for digit in range(10)]))

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        return self._digits[self._rows]

    @cached_property
    def _pixels(self) -> NDArray[np.uint8]:
        pixels = self._read("X", (32, 32, 3, len(self._digits)))
        return np.ascontiguousarray(pixels.transpose(3, 0, 1, 2)[self._rows])

    @cached_property
    def fingerprint(self) -> str:
        whole = file_hash(self.path)
        return f"{whole}-{self.per_class}" if self.per_class else whole


def _fits(found: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    """Whether a shape is the wanted one, where None stands for any length."""
    return len(found) == len(wanted) and all(b in (None, a) for a, b in zip(found, wanted, strict=True))
