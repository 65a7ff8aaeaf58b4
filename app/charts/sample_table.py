"""All samples of a setup as columns: what a method does to each, filters that combine, counts, orders. Pure numpy.

A row is one image of the ID set or of an OOD set. `Filters` choose rows; every filter has counts for its options, given
all the others, so that no option leads to an empty page unannounced. Arrays are read-only: a table is shared by users.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app.charts.bins import spread
from app.charts.verdict_words import margins
from ash.metrics import accepts, threshold_at_tpr

Bools = NDArray[np.bool_]
Ints = NDArray[np.integer]
Floats = NDArray[np.floating]
Array = TypeVar("Array", bound=NDArray[Any])
NOT_ID = "!id"  # all OOD sets: no data set can have this name
NO_CLASS = "none of the classes"  # what stands where an OOD image would have its true class


@dataclass(frozen=True, eq=False)
class Images:
    """The N images of some sets, whatever the method. `sets`: names of the data sets, the ID set first.

    `set` (N,) indexes `sets`; `number` (N,) counts within the whole set, and `set:number` is an image's id; `names` are
    file names; `true` (N,) indexes `classes`, -1 where unknown and for OOD images.
    """

    sets: tuple[str, ...]
    classes: tuple[str, ...]
    set: Ints
    number: Ints
    names: Sequence[str]
    true: Ints

    def __len__(self) -> int:
        return len(self.set)

    @cached_property
    def folded(self) -> list[str]:
        """The names for a search that does not care about case."""
        return [name.casefold() for name in self.names]

    @cached_property
    def rank(self) -> Ints:
        """(N,) place of each name in alphabetical order, equal for equal names."""
        place = {name: i for i, name in enumerate(sorted(set(self.names)))}
        return read_only(np.fromiter((place[name] for name in self.names), np.int64, len(self)))


@dataclass(frozen=True, eq=False)
class Judged:
    """What one method says of N images: score, margin, verdict, predicted class; each (N,).

    `margin`: score minus threshold in inter-quartile ranges of the ID scores, a scale that methods share.
    """

    score: Floats
    margin: Floats
    accepted: Bools
    predicted: Ints


def judge(scores: Sequence[Floats], predicted: Sequence[Ints], tpr: float) -> Judged:
    """Judge images, set by set, ID first, at the threshold that accepts `tpr` (a fraction) of the ID scores."""
    line = threshold_at_tpr(scores[0], tpr)
    every = np.concatenate(scores)
    margin = margins(every, line, spread(scores[0].astype(np.float64)))
    accepted, classes = accepts(every, line), np.concatenate(predicted)
    return Judged(read_only(every), read_only(margin), read_only(accepted), read_only(classes))


@dataclass(frozen=True, eq=False)
class SampleTable:
    """Images with what is said of them by the score alone (`before`) and after shaping (`after`)."""

    images: Images
    before: Judged
    after: Judged

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def is_id(self) -> Bools:
        """(N,) whether an image is in-distribution."""
        return read_only(self.images.set == 0)

    @cached_property
    def rescued(self) -> Bools:
        """(N,) on the wrong side of the threshold before shaping, on the right side now."""
        return read_only((self.before.accepted != self.is_id) & (self.after.accepted == self.is_id))

    @cached_property
    def broken(self) -> Bools:
        """(N,) on the right side of the threshold before shaping, on the wrong side now."""
        return read_only((self.before.accepted == self.is_id) & (self.after.accepted != self.is_id))

    @cached_property
    def change(self) -> Floats:
        """(N,) margin now minus margin before: > 0 moved towards ID."""
        with np.errstate(invalid="ignore"):
            moved = self.after.margin - self.before.margin
        moved[np.isnan(moved)] = 0.0  # from infinity to infinity
        return read_only(moved)

    def source(self, row: int) -> str:
        """What a link calls the set of a row: `id`, or the name of an OOD set."""
        return "id" if self.is_id[row] else self.images.sets[self.images.set[row]]


@dataclass(frozen=True)
class Filters:
    """What rows to keep; the defaults keep all. As in the link of page Samples."""

    among: str = "all"  # "id", NOT_ID, or the name of an OOD set
    verdict: str = "all"  # "accepted", "rejected"
    change: str = "all"  # "rescued", "broken"
    true: str = ""  # the name of a class, or NO_CLASS
    predicted: str = ""  # the name of a class, after shaping
    scores: tuple[float, ...] = ()  # lowest and highest score after shaping, both included
    find: str = ""  # a part of the file name, in any case

    @property
    def used(self) -> tuple[str, ...]:
        """The fields that leave anything out."""
        default = Filters()
        return tuple(name for name in FILTERS if getattr(self, name) != getattr(default, name))


FILTERS = tuple(one.name for one in fields(Filters))
Counts = dict[str, dict[str, int]]


@dataclass(frozen=True, eq=False)
class Selection:
    """Rows in order, and for every filter how many rows its options would give, all other filters as they are.

    An option is a value of the filter, the default included; `scores` and `find` have "", for no filter, and "used".
    `without`: filter in use -> rows if it alone were taken away.
    """

    rows: Ints
    counts: Counts
    without: dict[str, int]


def select(table: SampleTable, filters: Filters, order: str = "score", descending: bool = False) -> Selection:
    """The rows that pass all filters, in order; equal ones in the order of the table."""
    masks = _masks(table, filters)
    failed = np.zeros(len(table), np.int8)
    for mask in masks.values():
        failed += ~mask
    counts, without = {}, {}
    for name in FILTERS:
        others = failed == ~masks[name] if name in masks else failed == 0
        counts[name] = _counts(table, name, others, masks.get(name))
        if name in masks:
            without[name] = int(np.count_nonzero(others))
    chosen = np.flatnonzero(failed == 0)
    return Selection(chosen[_order(table, order, chosen, descending)], counts, without)


def how_many(table: SampleTable, filters: Filters) -> int:
    """How many rows pass all filters: `select` without the rest."""
    return int(np.count_nonzero(np.logical_and.reduce([np.ones(len(table), bool), *_masks(table, filters).values()])))


def _masks(table: SampleTable, filters: Filters) -> dict[str, Bools]:
    """Filter in use -> which rows (N,) pass it."""
    return {name: _passes(table, name, filters) for name in filters.used}


def _passes(table: SampleTable, name: str, filters: Filters) -> Bools:
    """(N,) whether rows pass one filter."""
    images, now = table.images, table.after
    value = getattr(filters, name)
    if name == "among":
        if value == NOT_ID:
            return ~table.is_id
        return images.set == (0 if value == "id" else images.sets.index(value) if value in images.sets else -1)
    if name == "verdict":
        return now.accepted if value == "accepted" else ~now.accepted
    if name == "change":
        return table.rescued if value == "rescued" else table.broken
    if name == "scores":
        low, high = map(np.float64, value)  # compared as they are, not rounded to the scores' precision
        return (now.score >= low) & (now.score <= high)
    if name == "find":
        text = value.casefold()
        return np.fromiter((text in one for one in images.folded), bool, len(table))
    if name == "true" and value == NO_CLASS:
        return ~table.is_id
    codes = images.true if name == "true" else now.predicted
    return np.isin(codes, [code for code, one in enumerate(images.classes) if one == value])


def _counts(table: SampleTable, name: str, others: Bools, used: Bools | None) -> dict[str, int]:
    """Option -> rows, among those that pass the other filters."""
    every = int(np.count_nonzero(others))
    total = {getattr(Filters(), name) or "": every}
    images, now = table.images, table.after
    if name == "among":
        found = np.bincount(images.set[others], minlength=len(images.sets)).tolist()
        return total | {NOT_ID: every - found[0]} | dict(zip(("id", *images.sets[1:]), found, strict=True))
    if name == "verdict":
        accepted = int(np.count_nonzero(now.accepted & others))
        return total | {"accepted": accepted, "rejected": every - accepted}
    if name == "change":
        some = {"rescued": table.rescued, "broken": table.broken}
        return total | {word: int(np.count_nonzero(mask & others)) for word, mask in some.items()}
    if name == "true":
        none = int(np.count_nonzero(~table.is_id & others))
        return total | _by_class(images.classes, images.true[others]) | {NO_CLASS: none}
    if name == "predicted":
        return total | _by_class(images.classes, now.predicted[others])
    return total if used is None else total | {"used": int(np.count_nonzero(used & others))}


def _by_class(classes: Sequence[str], codes: Ints) -> dict[str, int]:
    """Class name -> rows; two classes of one name are counted together."""
    found: dict[str, int] = {}
    for name, count in zip(classes, np.bincount(codes + 1, minlength=len(classes) + 1)[1:].tolist(), strict=False):
        found[name] = found.get(name, 0) + count
    return found


def _order(table: SampleTable, order: str, rows: Ints, descending: bool) -> Ints:
    """Positions of some rows in order. By margin, the distance to the threshold counts, on either side."""
    if order == "name":
        key: NDArray[Any] = table.images.rank[rows]
    elif order == "margin":
        key = np.abs(table.after.margin[rows])
    else:
        key = (table.change if order == "change" else table.after.score)[rows]
    return np.argsort(-key if descending else key, kind="stable")


def frame(table: SampleTable, rows: Ints) -> pd.DataFrame:
    """Rows as a table for people and spreadsheets: ids, classes, scores, margins and verdicts; "" where unknown."""
    images, before, after = table.images, table.before, table.after
    sets = np.array(images.sets, object)[images.set[rows]]
    number, classes = images.number[rows], np.array([*images.classes, ""], object)
    return pd.DataFrame(
        {
            "id": [f"{name}:{n}" for name, n in zip(sets, number.tolist(), strict=True)],
            "set": sets,
            "number": number,
            "file": [images.names[row] for row in rows.tolist()],
            "in_distribution": table.is_id[rows],
            "true": classes[images.true[rows]],
            "predicted_before": classes[before.predicted[rows]],
            "predicted_after": classes[after.predicted[rows]],
            "score_before": before.score[rows],
            "score_after": after.score[rows],
            "margin_before": before.margin[rows],
            "margin_after": after.margin[rows],
            "change": table.change[rows],
            "accepted_before": before.accepted[rows],
            "accepted_after": after.accepted[rows],
            "rescued": table.rescued[rows],
            "broken": table.broken[rows],
        }
    )


def class_words(truth: str | None, is_id: bool | None) -> str:
    """What stands for the class of an image: its name, that it is unknown, or that there is none.

    `is_id` None: an image of the user's, of which nobody knows.
    """
    return truth or (NO_CLASS if is_id is False else "class unknown")


def read_only(array: Array) -> Array:
    """The array, closed for writing."""
    array.flags.writeable = False
    return array
