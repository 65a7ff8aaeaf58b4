"""Labels where they enter: what a set says of its images' classes, read as the classes of one network.

A set states names (its folders, a list's words) or numbers. Names are looked up among the network's classes, so that a
folder `cat` is the class `cat` whatever other folders there are; folders that are all numbers are class numbers. What
is neither is refused where labels are needed, never numbered by its order.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ash.datasets.imagenet_wnids import WNIDS
from ash.errors import AshError
from ash.images import UNKNOWN, ImageSet, Subset, is_class_number, parting_level

SPLITS = frozenset(["train", "training", "val", "valid", "validation", "test", "testing", "dev", "eval"])
FIRST, NAMED = 6, 12  # of a long list the first few, of a list of at most so many all


class LabelError(AshError):
    """Labels that are not classes of the network; the message says which, and what to do."""


@dataclass(frozen=True)
class Reading:
    """A set's labels as classes of one network.

    `labels` (n,) are class numbers, UNKNOWN where nobody stated one or where `problem` says why it cannot be read.
    `words` say how the labels were found: to be shown before they are used.
    """

    labels: NDArray[np.int64]
    words: str
    problem: str = ""

    def checked(self) -> NDArray[np.int64]:
        """The labels of an ID set; LabelError when they are not classes of the network."""
        if self.problem:
            raise LabelError(self.problem)
        return self.labels


def read(data: ImageSet, classes: Sequence[str], network: str = "the network") -> Reading:
    """A set's labels as numbers of the classes (C names in label order) of a network."""
    if isinstance(data, Subset):  # how names are read hangs on all of them
        whole = read(data.whole, classes, network)
        return Reading(whole.labels[data.rows], whole.words, whole.problem)
    stated = data.stated
    if stated is None:
        written = getattr(data, "written", [])  # a list's numbers may be names, as folders that are called so
        if {*written} <= {*classes} and any(classes.index(text) != int(text) for text in {*written}):
            return _Names(data, [(text,) for text in written], classes, network).reading()
        return _read_numbers(data, classes, network)
    if not any(stated):
        return Reading(np.full(len(data), UNKNOWN, np.int64), f"{data.label}: no labels, its images lie in no folders.")
    return _Names(data, stated, classes, network).reading()


def without_skipped(labels: NDArray[np.int64], bank: Any) -> NDArray[np.int64]:
    """Of the labels of a set's images those of the rows of its bank, which has no broken ones."""
    return np.delete(labels, [image["index"] for image in bank.skipped])


def check_labels(labels: ArrayLike, classes: int, whose: str = "The ID set") -> NDArray[np.int64]:
    """Labels (n,) as int64: class numbers from 0 to classes - 1, or UNKNOWN; LabelError for any others."""
    values = np.asarray(labels)
    if values.dtype.kind not in "iufb" or (values.dtype.kind == "f" and not (values == np.round(values)).all()):
        raise LabelError(f"{whose} has labels that are no class numbers, of the type {values.dtype}.")
    outside = values[(values < UNKNOWN) | (values >= classes)]
    if outside.size:
        number = int(outside[np.abs(outside.astype(np.float64)).argmax()])
        raise LabelError(
            f"{whose} has the label {number}, which is no class of the network: it has the classes 0 to {classes - 1}."
        )
    return values.astype(np.int64)


def class_counts(data: ImageSet) -> dict[str, int]:
    """What a set itself calls its classes -> the number of images: folders, names or numbers, "" where it says none."""
    stated = data.stated
    if stated is None:
        found, counts = np.unique(data.labels, return_counts=True)
        return {"" if label < 0 else str(label): int(n) for label, n in zip(found, counts, strict=True)}
    known = [path for path in stated if path]
    if not known:
        return {"": len(data)}
    level = _parting(known)
    parts = ["/".join(path[: level + 1]) if path else "" for path in stated]
    names = parts if len(set(known)) > 1 or any(not path for path in stated) else [""] * len(parts)
    return dict(sorted(Counter(names).items(), key=lambda item: _natural(item[0])))


def _natural(name: str) -> tuple[int, str]:
    return (int(name), "") if is_class_number(name) else (2**62, name)


def listed(items: Sequence[str]) -> str:
    """A list in words; of a long one the first few and the last."""
    return ", ".join(items) if len(items) <= NAMED else ", ".join((*items[:FIRST], "...", items[-1]))


def _plain(name: str) -> str:
    """A name as it is compared where it is not found as written: without capitals, its words parted by one space.

    Signs that tell names apart stay: `<10` is not `>10`, `HER2-` not `HER2+`, and accents and vowel signs count.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    words = re.sub(r"""[\s_/\\,.;:*?|()'"`]""", " ", folded)
    return " ".join(re.sub(r"(?<=\w)-(?=\w)|-(?=[^\W\d])", " ", words).split())


def _parting(paths: Sequence[tuple[str, ...]]) -> int:
    """The first level on which paths of folders part; the last one of the shortest where they do not."""
    level = parting_level(paths)
    return len(min(paths)) - 1 if level is None else level


def _read_numbers(data: ImageSet, classes: Sequence[str], network: str) -> Reading:
    labels = np.asarray(data.labels, dtype=np.int64)
    if not (labels >= 0).any():
        columns = getattr(data, "columns", None)
        why = f"its header is {','.join(columns)}" if columns else "nothing states its classes"
        return Reading(labels, f"{data.label}: no labels, {why}.")
    words = _words(data.label, f"labels, read as class numbers of {network}", {}, labels, classes)
    try:
        return Reading(check_labels(labels, len(classes), data.label), words)
    except LabelError as error:
        foreign = f"{data.label}: its labels are not the classes of {network}."
        return Reading(labels, foreign, f"{error}{_advice(classes)}")


def _advice(classes: Sequence[str]) -> str:
    names = ", ".join(f"{name} = {number}" for number, name in enumerate(classes[:2]))
    return f" Its classes by name are {names}, ...; by number 0 to {len(classes) - 1}."


def _words(label: str, how: str, called: Mapping[str, int], labels: NDArray[np.int64], classes: Sequence[str]) -> str:
    """A reading in words. `called`: name -> class number, {} where the numbers were there already."""
    numbers = np.unique(labels[labels >= 0]).tolist()
    known = {number: classes[number] for number in numbers if number < len(classes)}
    items = [f"{name} = {number}" for name, number in sorted(called.items(), key=lambda item: item[1])]
    items = items or [f"{number} = {name}" for number, name in known.items()]
    empty = [f"{name} ({number})" for number, name in enumerate(classes) if number not in known]
    text = f"{label}: {len(numbers):,} classes from {how}: {listed(items)}"
    if empty:
        text += f"; 0 images in {listed(empty) if len(empty) <= NAMED else f'the other {len(empty):,}'}"
    unknown = int((labels < 0).sum())
    return f"{text}; {unknown:,} images without a class." if unknown else f"{text}."


class _Names:
    """The names that a set states, looked up among a network's classes."""

    def __init__(self, data: ImageSet, stated: Sequence[tuple[str, ...]], classes: Sequence[str], network: str) -> None:
        self.data, self.stated, self.classes, self.network = data, stated, classes, network
        self.paths = sorted({path for path in stated if path})

    @cached_property
    def _known(self) -> dict[str, int]:
        """Name -> class: as written and as compared, ImageNet's classes by WordNet id too; ambiguous ones not."""
        found: dict[str, int] = {}
        names = [(name, number) for number, name in enumerate(self.classes)]
        if len(self.classes) == len(WNIDS) and self.classes[0].startswith("tench"):
            names += [(wnid, number) for number, wnid in enumerate(WNIDS)]
        for form in (str, _plain):
            forms: dict[str, set[int]] = {}
            for name, number in names:
                forms.setdefault(form(name), set()).add(number)
            found = {name: numbers.pop() for name, numbers in forms.items() if len(numbers) == 1} | found
        return found

    def _class(self, name: str) -> int | None:
        return self._known.get(name, self._known.get(_plain(name)))

    def reading(self) -> Reading:
        """By the first level of folders that are all classes by name; else the level on which folders part is read.

        A level of splits, as in `train/CLASS`, is passed over for a level of classes in it: `train` may be a class too.
        """
        depth = min(map(len, self.paths))
        named = [level for level in range(depth) if all(self._class(name) is not None for name in self._on(level))]
        if named:
            level = next((one for one in named if not self._are_splits(one)), named[0])
            return self._read(level, {name: self._class(name) or 0 for name in self._on(level)})
        level = _parting(self.paths)
        while self._are_splits(level) and level + 1 < depth:
            level += 1
        names = self._on(level)
        if self.data.states == "folder names" and all(map(is_class_number, names)):
            return self._read(level, {name: int(name) for name in names}, numbers=True)
        if len(self.paths) == 1 and self.data.states == "folder names" and all(self.stated):
            words = f"{self.data.label}: no labels, its images lie in one folder that bears no class's name."
            return Reading(self._unknown, words)
        return self._refused(sorted(name for name in names if self._class(name) is None))

    def _on(self, level: int) -> set[str]:
        return {path[level] for path in self.paths}

    def _are_splits(self, level: int) -> bool:
        return {_plain(name) for name in self._on(level)} <= SPLITS

    @property
    def _unknown(self) -> NDArray[np.int64]:
        return np.full(len(self.data), UNKNOWN, np.int64)

    def _read(self, level: int, called: Mapping[str, int], numbers: bool = False) -> Reading:
        outside = sorted((name for name, number in called.items() if number >= len(self.classes)), key=int)
        if outside:
            return self._refused(outside)
        labels = np.array([called[path[level]] if path else UNKNOWN for path in self.stated], np.int64)
        how = self.data.states
        if numbers:
            how += ", read as class numbers"
            if sorted(called) != sorted(called, key=int):
                how += " (torchvision's ImageFolder would sort them as text)"
            words = _words(self.data.label, how, {} if self._written(called) else called, labels, self.classes)
        else:
            words = _words(self.data.label, how, called, labels, self.classes)
        splits = {name for name in {path[0] for path in self.paths} if level and _plain(name) in SPLITS}
        if len(splits) > 1:
            words += f" The folders {listed(sorted(splits))} are read together, as one set: for one of them name it."
        return Reading(labels, words)

    @staticmethod
    def _written(called: Iterable[str]) -> bool:
        return all(name == str(int(name)) for name in called)

    def _refused(self, foreign: Sequence[str]) -> Reading:
        one = len(foreign) == 1
        what = "folder" if self.data.states == "folder names" else "label"
        shown = listed([f"'{name}'" for name in foreign])
        problem = (
            f"{self.data.label}: the {what}{'' if one else 's'} {shown} {'is' if one else 'are'} no "
            f"{'class' if one else 'classes'} of {self.network}.{_advice(self.classes)}"
        )
        return Reading(self._unknown, f"{self.data.label}: its {what}s are not the classes of {self.network}.", problem)
