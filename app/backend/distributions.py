"""Distributions over whole sets: how one method changes the values of the ID set and of OOD sets."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from app.backend.banks import activations
from app.backend.caches import cache_resource
from app.backend.setups import Setup, once_a_run
from ash.methods import Method

if TYPE_CHECKING:
    from app.charts.ranked import Bins, Counts, Ranked


@once_a_run
@cache_resource(max_entries=16)
def ranked(at: Setup, name: str) -> "Ranked":
    """The activations of a data set with every row sorted, read-only."""
    from app.charts.ranked import rank

    return rank(activations(at, name))


@once_a_run
@cache_resource(max_entries=64)
def _counts_before(at: Setup, name: str, within: "Bins") -> "Counts":
    from app.charts.ranked import before

    return before(ranked(at, name), within)


@dataclass(frozen=True)
class Spread:
    """Values of the ID set and of the OOD sets together, before and after one method, in the same bins.

    `s1`, `s2`: sums of every image's values, all and kept, None where the method is not known to keep some; `exponent`:
    s1/s2, for ASH-S, SCALE and LTS alone. Pairs are (ID, OOD).
    """

    within: "Bins"
    before: "tuple[Counts, Counts]"
    after: "tuple[Counts, Counts]"
    s1: tuple[NDArray[np.float64], NDArray[np.float64]]
    s2: tuple[NDArray[np.float64], NDArray[np.float64]] | None
    exponent: tuple[NDArray[np.float64], NDArray[np.float64]] | None


@cache_resource(max_entries=32)
def spread(at: Setup, method: str, ood: tuple[str, ...], log: bool) -> Spread:
    """How one method changes the values of the ID set and of these OOD sets, over all rows of their banks."""
    return _spread(at, Method.parse(method), ood, log)


def spreads(at: Setup, variant: str, ood: tuple[str, ...], log: bool) -> Iterator[Spread]:
    """`spread` of a variant at p = 0..99, none of it kept."""
    return (_spread(at, Method(variant, float(p)), ood, log) for p in range(100))


def explaining(
    at: Setup, variant: str, ood: tuple[str, ...]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """The number that decides what a variant does to an image, at p = 0..99: `exponent` of its `spread`, or `s2`."""
    from app.charts import ranked as count

    for p in range(100):
        kept = [
            count.keep(ranked(at, name), Method(variant, float(p)), activations(at, name)) for name in (at.id_set, *ood)
        ]
        numbers = [one.s2 if one.exponent is None else one.exponent for one in kept]
        own, *others = [one for one in numbers if one is not None]
        yield own, np.concatenate(others)


def _spread(at: Setup, asked: Method, ood: tuple[str, ...], log: bool) -> Spread:
    from functools import reduce
    from operator import add

    from app.charts import ranked as count

    groups = ((at.id_set,), ood)
    banks = {name: ranked(at, name) for names in groups for name in names}
    kept = {name: count.keep(one, asked, activations(at, name)) for name, one in banks.items()}
    within = count.bins([(banks[name], kept[name]) for name in banks], log)

    def shaped(name: str) -> "Counts":
        return count.after(banks[name], kept[name], activations(at, name), within)

    def pair(values: Mapping[str, NDArray[np.float64]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        first, second = (np.concatenate([values[name] for name in names]) for names in groups)
        return first, second

    sums = {name: one.s2 for name, one in kept.items() if one.s2 is not None}

    before = [reduce(add, (_counts_before(at, name, within) for name in names)) for names in groups]
    after = [reduce(add, map(shaped, names)) for names in groups]
    exponents = {name: one.exponent for name, one in kept.items() if one.exponent is not None}
    return Spread(
        within,
        (before[0], before[1]),
        (after[0], after[1]),
        pair({name: one.s1 for name, one in banks.items()}),
        pair(sums) if sums else None,
        pair(exponents) if exponents else None,
    )


@dataclass(frozen=True)
class Cutoffs:
    """One number an image (n,): `t` the smallest kept value, `level` ASH-B's s1/k, `factor` ASH-S's e^(s1/s2).

    `high`: the largest value of the median image, for axes.
    """

    t: NDArray[np.float64]
    level: NDArray[np.float64]
    factor: NDArray[np.float64]
    high: float


@cache_resource(max_entries=16)
def cutoffs(at: Setup, p: float, names: tuple[str, ...]) -> Cutoffs:
    """What decides the shape of each image of some sets at percentile p; `high`: the top of the median image."""
    from app.charts import ranked as count

    asked, parts, tops = Method("ash_s", p), [], []  # its k, s1 and s2 are those of all three
    for name in names:
        one = ranked(at, name)
        kept = count.keep(one, asked, activations(at, name))
        assert kept.exponent is not None
        assert kept.k is not None
        t = one.values[:, one.values.shape[1] - max(kept.k, 1)].astype(np.float64)
        parts.append((t, one.s1 / max(kept.k, 1), np.exp(kept.exponent)))
        tops.append(float(np.quantile(one.values[:, -1], 0.5)))
    t, level, factor = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return Cutoffs(t, level, factor, max(tops))
