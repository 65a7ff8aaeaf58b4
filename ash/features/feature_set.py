"""A set of features as an image set without images: names, labels, and the activations that a bank is made of."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ash.features.arrays import Rows, Seen, Stored
from ash.files import Look, look_of
from ash.images import DataError, ImageError, ImageSet


class FeatureSet(ImageSet):
    """The features (N, D) of one set of a folder, `network`, and labels (N,). Known by a hash of both.

    `seen` is what reading the file has shown, `look` what was seen of it then without reading.
    """

    def __init__(
        self, network: str, features: Stored, look: Look, seen: Seen, labels: NDArray[np.int64], name: str, label: str
    ) -> None:
        self.network, self.features, self.seen, self._look = network, features, seen, look
        self.name, self.label, self._labels = name, label, labels

    @property
    def has_images(self) -> bool:
        return False

    @property
    def width(self) -> int:
        """Features a row, D."""
        return self.features.shape[1]

    @cached_property
    def names(self) -> Sequence[str]:
        return [f"{self.name}/{row:05d}" for row in range(len(self._labels))]

    @property
    def labels(self) -> NDArray[np.int64]:
        return self._labels

    @cached_property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.seen.digest.encode() + self._labels.tobytes()).hexdigest()

    @property
    def look(self) -> str:
        """What was seen of the file: another look is another file."""
        return str(self._look)

    def image(self, index: int) -> Image.Image:
        raise ImageError(f"{self.names[index]} is a row of features: there is no image of it.")

    def check(self) -> None:
        """DataError where the file is not the one that was read any more."""
        try:
            same = look_of(self.features.path) == self._look
        except OSError as error:
            raise DataError(f"{self.features.path} cannot be read: {error.strerror}.") from error
        if not same:
            raise DataError(f"{self.features.path} has changed since it was read: start again to use what it is now.")

    @contextmanager
    def rows(self) -> Iterator[Rows]:
        """A function that reads rows, start, stop; DataError where the file has changed since."""
        self.check()
        with self.features.rows() as rows:
            yield rows
        self.check()
