"""Image sets that lie in one file: .npz as bundled, the batches of CIFAR, the .mat file of SVHN.

They are read here and not by torchvision's classes, to the same pixels and labels: those want the training files too,
import torch, and load a pickle without looking, which for a file that is not the published one can run any code.
Pixels are read when first needed, once in each process, and never pickled.
"""

import pickle
import zipfile
import zlib
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ash.images import UNKNOWN, DataError, ImageSet, file_hash


class FileArray(ImageSet):
    """A file that holds all images of a set, (n, H, W) or (n, H, W, 3) uint8, and perhaps labels (n,)."""

    def __init__(self, path: Path, name: str, label: str = "") -> None:
        self.path, self.name, self.label = path, name, label or name

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

    @cached_property
    def fingerprint(self) -> str:
        return file_hash(self.path)

    @property
    def disk_bytes(self) -> int:
        """Size of the file on disk."""
        return self.path.stat().st_size

    @property
    def look(self) -> str:
        """What was seen of the file, its size and time of change: another look is another file."""
        status = self.path.stat()
        return f"{status.st_size} {status.st_mtime_ns}"

    def image(self, index: int) -> Image.Image:
        return Image.fromarray(self._pixels[index])

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_pixels", "names")}


class ArrayImages(FileArray):
    """A bundled set: an .npz with `images` (n, H, W) uint8 and, where the classes are known, `labels` (n,)."""

    def __init__(self, path: Path, name: str, label: str) -> None:
        super().__init__(path, name, label)
        if not path.is_file():
            raise DataError(f"{label}: {path.name} is missing from {path.parent}; run `python -m ash demo build`.")

    def _read(self, key: str) -> NDArray[Any] | None:
        try:
            with np.load(self.path, allow_pickle=False) as file:
                return file[key] if key in file.files else None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"{self.path} is damaged ({error}); run `python -m ash demo build`.") from error

    @cached_property
    def _pixels(self) -> NDArray[np.uint8]:
        pixels = self._read("images")
        if pixels is None:
            raise DataError(f"{self.path} is damaged (no images in it); run `python -m ash demo build`.")
        return pixels

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        labels = self._read("labels")
        return np.full(len(self._pixels), UNKNOWN, np.int64) if labels is None else labels.astype(np.int64)


class _ArraysOnly(pickle.Unpickler):
    """Unpickles numpy arrays and plain values; everything else in a pickle could run code and is refused."""

    _ALLOWED = frozenset(
        {
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "scalar"),
            ("numpy._core.numeric", "_frombuffer"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy.core", "numpy._core")  # its name before numpy 2
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}, which no CIFAR batch does")
        return super().find_class(module, name)


class CifarImages(FileArray):
    """A CIFAR batch in the published format: `data` (n, 3072) uint8, `labels` or, for CIFAR-100, `fine_labels`."""

    @cached_property
    def _pixels(self) -> NDArray[np.uint8]:
        return _read_batch(self.path)[0]

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        try:
            about = self.path.stat()
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror}.") from error
        return _batch_labels(self.path, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=16)
def _batch_labels(path: Path, size: int, changed: int) -> NDArray[np.int64]:
    """Labels of a batch, read once for a file of this size and time of change: its status is asked for often."""
    return _read_batch(path)[1]


def _read_batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pixels (n, 32, 32, 3) and labels (n,) of a CIFAR batch; DataError when it is none."""
    try:
        with path.open("rb") as file:
            batch = _ArraysOnly(file, encoding="latin1").load()
        fields = {key.decode() if isinstance(key, bytes) else key: value for key, value in batch.items()}
        labels = np.asarray(fields["labels" if "labels" in fields else "fine_labels"]).astype(np.int64)
        pixels = np.asarray(fields["data"]).astype(np.uint8, copy=False).reshape(len(labels), 3, 32, 32)
    except Exception as error:  # unpickling meets damaged bytes with errors of every kind
        what = f"{type(error).__name__}: {error}"
        raise DataError(f"{path} is not a CIFAR batch ({what}); fetch it again.") from error
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)), labels


class SvhnImages(FileArray):
    """SVHN's .mat file: `X` (32, 32, 3, n) uint8 and `y` (n, 1), where 10 is the digit 0.

    `per_class` takes the first so many images of each digit in the file's order; 0 takes all.
    """

    def __init__(self, path: Path, name: str, label: str = "", per_class: int = 0) -> None:
        super().__init__(path, name, label)
        self.per_class = per_class

    def _read(self, key: str) -> NDArray[Any]:
        from scipy.io import loadmat  # type: ignore[import-untyped]

        try:
            return loadmat(self.path, variable_names=[key])[key]
        except Exception as error:  # scipy meets damaged bytes with errors of every kind
            what = f"{type(error).__name__}: {error}"
            raise DataError(f"{self.path} is not a .mat file of SVHN ({what}); fetch it again.") from error

    @cached_property
    def _rows(self) -> NDArray[np.int64]:
        digits = self._read("y").reshape(-1) % 10
        if not self.per_class:
            return np.arange(len(digits))
        return np.sort(np.concatenate([np.flatnonzero(digits == digit)[: self.per_class] for digit in range(10)]))

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        return (self._read("y").reshape(-1) % 10).astype(np.int64)[self._rows]

    @cached_property
    def _pixels(self) -> NDArray[np.uint8]:
        pixels = self._read("X")
        if pixels.ndim != 4 or pixels.shape[3] <= self._rows.max(initial=-1):
            raise DataError(
                f"{self.path} has images of shape {pixels.shape}, which do not fit its labels; fetch it again."
            )
        return np.ascontiguousarray(pixels.transpose(3, 0, 1, 2)[self._rows])

    @cached_property
    def fingerprint(self) -> str:
        whole = file_hash(self.path)
        return f"{whole}-{self.per_class}" if self.per_class else whole
