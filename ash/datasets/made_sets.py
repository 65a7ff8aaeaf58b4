"""Data sets that a function makes: images in memory, or any image set; what `register_dataset` decorates."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ash.datasets.dataset_entries import DatasetEntry, Status
from ash.images import UNKNOWN, DataError, ImageSet
from ash.plugins import Problem

Make = Callable[[], Any]


class MemoryImages(ImageSet):
    """Images in memory, (n, H, W) or (n, H, W, 3) uint8, and perhaps labels (n,); known by a hash of both."""

    def __init__(self, images: Any, labels: Any, name: str, label: str) -> None:
        pixels = np.asarray(images)
        if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or (pixels.ndim == 4 and pixels.shape[3] != 3):
            raise DataError(
                f"the images must be uint8, (n, H, W) or (n, H, W, 3); these are {pixels.dtype}, {pixels.shape}."
            )
        classes = np.full(len(pixels), UNKNOWN) if labels is None else np.asarray(labels)
        if classes.shape != (len(pixels),) or classes.dtype.kind not in "iu":
            raise DataError(
                f"the labels must be {len(pixels):,} whole numbers, one for each image; these are {classes.dtype}, "
                f"{classes.shape}."
            )
        self.name, self.label = name, label
        self._pixels, self._labels = pixels, classes.astype(np.int64)

    @property
    def labels(self) -> NDArray[np.int64]:
        return self._labels

    @cached_property
    def names(self) -> Sequence[str]:
        return [f"{self.name}/{index:05d}" for index in range(len(self._pixels))]

    @cached_property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self._pixels.shape}".encode())
        digest.update(np.ascontiguousarray(self._pixels))
        digest.update(self._labels)
        return digest.hexdigest()

    def image(self, index: int) -> Image.Image:
        return Image.fromarray(self._pixels[index])


@dataclass(frozen=True)
class MadeEntry(DatasetEntry):
    """A set that `make` returns: an ImageSet, an array of images, or images and labels. Made once, when it is needed.

    `source` is the plug-in's file; `failed` is told what goes wrong.
    """

    make: Make = tuple
    source: Path | None = None
    failed: Callable[[str, Exception], Problem] = lambda name, error: Problem(None, None, str(error))

    @cached_property
    def _made(self) -> ImageSet | Problem:
        try:
            return self._checked(self.make())
        except Exception as error:  # whatever the user's function raises
            return self.failed(self.name, error)

    def _checked(self, made: Any) -> ImageSet:
        if isinstance(made, ImageSet):
            made.name, made.label = self.name, self.label
            images = made
        else:
            pixels, labels = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
            images = MemoryImages(pixels, labels, self.name, self.label)
        if not len(images):
            raise DataError("it has no images.")
        if self.role == "id" and (images.labels < 0).any():
            raise DataError("it is to be an ID set, so every image needs a label, 0 or more.")
        return images

    def status(self, root: Path | None = None) -> Status:
        path = self.source or Path()
        if isinstance(self._made, Problem):
            return Status("missing", None, 0, path, f"{self._made}.")
        return Status("present", len(self._made), 0, path)

    def open(self, root: Path | None = None) -> ImageSet:
        if isinstance(self._made, Problem):
            raise DataError(f"{self._made}.")
        return self._made

    def how_to_get(self, root: Path | None = None) -> str:
        return f"{self.label} is made by a function that is registered under the name {self.name}."
