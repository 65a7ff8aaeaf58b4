"""A folder of features: the files in it, and whether they fit each other.

    head.npz       weight (C, D) and bias (C,) of the last layer; perhaps classes, C names
    id.npz         features (N, D) and labels (N,) of the ID set
    ood/NAME.npz   features (N, D) of an OOD set, as many files as there are sets
    train.npz      features and labels of a training set, where methods are to be fitted

Instead of an .npz there may be an .npy of the features, which is read piece by piece, and its labels in
id_labels.npy and train_labels.npy. Imports no torch.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ash.features.arrays import Stored, keys_of, stored
from ash.features.feature_set import FeatureSet
from ash.features.looks import seen_of
from ash.features.places import HEAD, OOD, SUFFIXES
from ash.images import UNKNOWN, DataError
from ash.names import why_no_name

FEWEST = 2  # rows of a set


@dataclass(frozen=True)
class Head:
    """The last layer: weight (C, D), bias (C,), both float32, and the names of the C classes."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    classes: tuple[str, ...]


class Features:
    """A folder of features. Everything is read and checked once, when it is first asked for; DataError says what is
    wrong, in a sentence. What the files hold later is another folder's: start again for it.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name

    @cached_property
    def ood_names(self) -> tuple[str, ...]:
        """The OOD sets, in the order of their names, as far as these can be names."""
        files = [path for path in self._ood_files() if path.suffix in SUFFIXES]
        return tuple(dict.fromkeys(path.stem for path in files if not self._why_no_name(path.stem)))

    def _ood_files(self) -> list[Path]:
        folder = self.path / OOD
        return sorted(path for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []

    def _why_no_name(self, part: str) -> str:
        """Why a text cannot name an OOD set, as the end of a sentence; "" where it can."""
        return "means something else here" if part in ("id", "train") else why_no_name(self.set_name(part))

    @property
    def has_training(self) -> bool:
        """Whether there is a training set."""
        return any((self.path / f"train{suffix}").is_file() for suffix in SUFFIXES)

    def set_name(self, part: str) -> str:
        """The name of a set in the registry and in links: that of the folder, and `id`, `train` or an OOD set's."""
        return f"{self.name}.{part}"

    def label(self, part: str) -> str:
        """The display name of a set."""
        return {"id": f"{self.name}, ID", "train": f"{self.name}, training"}.get(part, part)

    @cached_property
    def head(self) -> Head:
        """The last layer, checked."""
        path = self.path / HEAD
        if not path.is_file():
            raise DataError(f"{HEAD} is missing from {self.path}: save weight (C, D) and bias (C,) of the last layer.")
        weight, bias = stored(path, "weight"), stored(path, "bias")
        for one, dimensions in ((weight, 2), (bias, 1)):
            _check_numbers(one)
            if len(one.shape) != dimensions or not all(one.shape):
                raise DataError(f"{one.words} has the shape {one.shape}: weight is (C, D), bias (C,).")
        classes, width = weight.shape
        if bias.shape != (classes,):
            turned = ", so the weight is transposed: save weight.T" if bias.shape == (width,) else ""
            raise DataError(f"{HEAD} has a weight {weight.shape} and a bias {bias.shape}{turned or ': one for a row'}.")
        if classes < 2:
            raise DataError(f"{HEAD} has one class: the weight (C, D) needs a row for each of two or more.")
        return Head(_float32(weight), _float32(bias), self._classes(path, classes))

    def _classes(self, path: Path, count: int) -> tuple[str, ...]:
        if "classes" not in keys_of(path):
            return tuple(f"class {number}" for number in range(count))
        one = stored(path, "classes")
        if one.dtype.kind != "U" or one.shape != (count,):
            raise DataError(f"{one.words} is {one.dtype} {one.shape}: it is {count} texts, one for each row of weight.")
        return tuple(map(str, one.values()))

    @cached_property
    def sets(self) -> dict[str, FeatureSet]:
        """Every set by its part: `id`, `train`, and the OOD sets by their names; read through and checked."""
        self._check_ood()
        parts = {"id": self.path, **({"train": self.path} if self.has_training else {})}
        parts |= dict.fromkeys(self.ood_names, self.path / OOD)
        return {part: self._set(folder, part) for part, folder in parts.items()}

    def _check_ood(self) -> None:
        for path in self._ood_files():
            if path.suffix not in SUFFIXES:
                raise DataError(f"{OOD}/{path.name} is neither .npz nor .npy: save it as one, or take it away.")
            if why := self._why_no_name(path.stem):
                raise DataError(
                    f"{OOD}/{path.name}: '{self.set_name(path.stem)}' {why}; rename the file or the folder."
                )
        if not self.ood_names:
            raise DataError(f"{self.path / OOD} holds no OOD set: save features (N, D) there as NAME.npz or NAME.npy.")

    def _set(self, folder: Path, part: str) -> FeatureSet:
        """One set, checked against the head."""
        classes, width = self.head.weight.shape
        path = self._file(folder, part)
        one = stored(path, "features")
        _check_numbers(one)
        if len(one.shape) != 2:
            maps = ": take the mean over the map first" if len(one.shape) == 4 else ""
            raise DataError(f"{one.words} has the shape {one.shape}, not (N, D){maps}.")
        if one.shape[1] != width:
            turned = ", so the weight may be transposed: save weight.T" if one.shape[1] == classes else ""
            raise DataError(
                f"{one.words} has {one.shape[1]:,} features a row, and the weight of {HEAD} "
                f"{self.head.weight.shape} takes {width:,}{turned}."
            )
        if one.shape[0] < FEWEST:
            raise DataError(f"{one.words} has {one.shape[0]} rows: a set has {FEWEST} or more.")
        labels = self._labels(path, part, one, classes)
        look, seen = seen_of(one)
        return FeatureSet(self.name, one, look, seen, labels, self.set_name(part), self.label(part))

    def _file(self, folder: Path, part: str) -> Path:
        there = [path for suffix in SUFFIXES if (path := folder / f"{part}{suffix}").is_file()]
        if not there:
            raise DataError(f"{part}.npz is missing from {folder}: save features (N, D) and labels (N,) there.")
        if len(there) > 1:
            raise DataError(f"{folder} has {there[0].name} and {there[1].name}: take one of them away.")
        return there[0]

    def _labels(self, path: Path, part: str, features: Stored, classes: int) -> NDArray[np.int64]:
        if part not in ("id", "train"):
            return np.full(features.shape[0], UNKNOWN, np.int64)
        beside = path.with_name(f"{part}_labels.npy") if path.suffix == ".npy" else path
        if not beside.is_file():
            raise DataError(f"{beside.name} is missing beside {path.name}: save the class number of every row there.")
        one = stored(beside, "labels")
        if one.dtype.kind not in "iu" or one.shape != features.shape[:1]:
            raise DataError(
                f"{one.words} is {one.dtype} {one.shape}: it is {features.shape[0]:,} whole numbers, a class for every "
                "row of the features."
            )
        labels = one.values()
        outside = np.flatnonzero((labels < 0) | (labels >= classes))
        if len(outside):
            raise DataError(
                f"{one.words} is {labels[outside[0]]} in row {outside[0]}: the classes of the head are 0 to "
                f"{classes - 1:,}."
            )
        return labels.astype(np.int64)


def _check_numbers(one: Stored) -> None:
    """DataError for what is not float16, float32 or float64."""
    if one.dtype.kind != "f" or one.dtype.itemsize > 8:
        raise DataError(f"{one.words} is {one.dtype}: save it as float32, float16 or float64.")


def _float32(one: Stored) -> NDArray[np.float32]:
    values = one.values().astype(np.float32)
    if not np.isfinite(values).all():
        raise DataError(f"{one.words} holds values that are not finite numbers in float32.")
    return values
