"""Settings of a sweep as typed records, which of them no other one beats, and the part of the plane worth a look."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import pandas as pd

from app.theme import LOWER_IS_BETTER, OBJECTIVE_LABELS, percent
from ash.methods import STEPS, Method
from ash.tables import over_checkpoints

OBJECTIVES = ("id_accuracy", "auroc", "fpr95", "aupr")
Range = tuple[float, float]
# points that a setting may lose against the baseline and still be in the window: at least, at most
_LOSS: dict[str, Range] = {"id_accuracy": (2.5, 5.0), "auroc": (3.0, 8.0), "fpr95": (10.0, 25.0), "aupr": (1.0, 5.0)}


@dataclass(frozen=True)
class Setting:
    """One method and its metrics in percent, on one OOD set or as the mean over some.

    `deviations`: of means over several checkpoints of a network, that of each of OBJECTIVES; else ().
    """

    method: Method
    id_accuracy: float
    auroc: float
    fpr95: float
    aupr: float
    deviations: tuple[float, ...] = ()

    def __getitem__(self, objective: str) -> float:
        value: float = getattr(self, objective)
        return value

    def deviation(self, objective: str) -> float:
        """The deviation of a metric over checkpoints; NaN where there is none."""
        return self.deviations[OBJECTIVES.index(objective)] if self.deviations else math.nan

    def shown(self, objective: str, digits: int = 1) -> str:
        """A metric as a text, with its deviation where there is one: `94.1 ± 0.3 %`."""
        deviation = self.deviation(objective)
        if math.isnan(deviation):
            return percent(self[objective], digits)
        return f"{self[objective]:.{digits}f} ± {deviation:.{digits}f} %"

    @cached_property
    def id(self) -> str:
        """What a click on it sends, and the index of its row: the method as it is written."""
        return str(self.method)

    @property
    def variant(self) -> str:
        """The name of its step, `none` for the score alone."""
        return self.method.variant

    @property
    def parameter(self) -> float | None:
        """Percentile or threshold of its only step."""
        return self.method.parameter

    @property
    def label(self) -> str:
        """The method as people read it."""
        return self.method.label

    def merit(self, objective: str) -> float:
        """The metric with the sign that makes more better."""
        return -self[objective] if objective in LOWER_IS_BETTER else self[objective]

    @property
    def short(self) -> str:
        """The parameter alone: `65`, `c=1.2`, nothing where there is none."""
        if self.parameter is None:
            return ""
        return f"c={self.parameter:g}" if STEPS[self.variant].parameter == "threshold" else f"{self.parameter:g}"


def settings(table: pd.DataFrame, on: str, sets: Collection[str]) -> tuple[Setting, ...]:
    """One record per method of a sweep's table: its row for the set `on`, or for 'mean' the mean over `sets`."""
    return tuple(
        Setting(_method(text), **dict(zip(OBJECTIVES, values, strict=True)))
        for text, *values in _means(table, on, sets).itertuples()
    )


def settings_over(tables: Mapping[str, pd.DataFrame], sets: Collection[str]) -> tuple[Setting, ...]:
    """`settings` of the tables of several checkpoints, by name: means with deviations; of a single one as they are."""
    first, *others = tables.values()
    if not others:
        return settings(first, "mean", sets)
    found = over_checkpoints({name: _means(table, "mean", sets).reset_index() for name, table in tables.items()})
    means, deviations = (found[[f"{name}{end}" for name in OBJECTIVES]].itertuples(index=False) for end in ("", "_std"))
    return tuple(
        Setting(_method(text), **dict(zip(OBJECTIVES, values, strict=True)), deviations=tuple(off))
        for text, values, off in zip(found["method"], means, deviations, strict=True)
    )


def _means(table: pd.DataFrame, on: str, sets: Collection[str]) -> pd.DataFrame:
    """Method -> OBJECTIVES, as `settings` has them."""
    rows = table[table["ood"].isin(list(sets) if on == "mean" else [on])]
    if rows.empty:
        raise ValueError(f"The table has no rows for {on} of {', '.join(sets)}.")
    return rows.groupby("method", sort=False)[list(OBJECTIVES)].mean()


@lru_cache(maxsize=4096)
def _method(text: str) -> Method:
    """What a table names was a method before, and is in the next table too."""
    return Method.parse(text)


def table(found: Sequence[Setting]) -> pd.DataFrame:
    """One row a setting, the metrics in percent under their display names; the index is what a click sends."""
    rows = [{"Method": one.label, **{label: one[name] for name, label in OBJECTIVE_LABELS.items()}} for one in found]
    return pd.DataFrame(rows, index=pd.Index([one.id for one in found], name="method"))


def front(points: Iterable[Setting], x: str, y: str) -> tuple[Setting, ...]:
    """The Pareto front: the settings that no other one beats, from small to large x. O(n log n).

    A setting is beaten by one that is at least as good on both objectives and better on one; equal pairs all stay.
    """
    known = [point for point in points if math.isfinite(point[x]) and math.isfinite(point[y])]
    best: Setting | None = None
    members = []
    for point in sorted(known, key=lambda one: (-one.merit(x), -one.merit(y))):
        twin = best is not None and (point[x], point[y]) == (best[x], best[y])
        if best is None or point.merit(y) > best.merit(y) or twin:
            members.append(point)
            best = point
    return tuple(sorted(members, key=lambda one: (one[x], one[y], one.id)))


def within(points: Iterable[Setting], least_accuracy: float) -> tuple[Setting, ...]:
    """The settings that keep at least this ID accuracy in percent; a shortfall below 1e-9 is rounding."""
    return tuple(point for point in points if point.id_accuracy >= least_accuracy - 1e-9)


def best(points: Iterable[Setting], objective: str) -> Setting | None:
    """The setting with the best value of an objective; among equals the most accurate, then the first."""
    ranked = [point for point in points if math.isfinite(point[objective])]
    return max(ranked, key=lambda one: (one.merit(objective), one.id_accuracy), default=None)


def as_good(chosen: Setting, points: Iterable[Setting], objective: str, interval: Range) -> tuple[Setting, ...]:
    """The settings of its variant around a chosen one that are no worse than the worse end of its interval.

    From small to large parameter, without a gap, the chosen one among them. The interval of one value is wider than
    that of a difference on the same images: what is said to be as good may be a little worse, never the reverse.
    """
    least = min((-end if objective in LOWER_IS_BETTER else end) for end in interval)
    line = [one for one in points if one.variant == chosen.variant and one.method.score == chosen.method.score]
    line.sort(key=lambda one: one.parameter or 0.0)
    place = line.index(chosen)
    low = high = place
    while low > 0 and line[low - 1].merit(objective) >= least:
        low -= 1
    while high < len(line) - 1 and line[high + 1].merit(objective) >= least:
        high += 1
    return tuple(line[low : high + 1])


def window(points: Sequence[Setting], baseline: Setting, marks: Sequence[Setting], objective: str) -> Range:
    """The useful range (low, high) of an objective: from a little beyond the best setting down to a bounded loss.

    ASH-B at a low p and ASH-RAND fall to chance; with them in view nothing else could be told apart. `marks` (the
    settings of the paper, the front) widen the range as far as the bound allows.
    """
    sign = -1.0 if objective in LOWER_IS_BETTER else 1.0
    merits = [one.merit(objective) for one in points if math.isfinite(one[objective])]
    base = baseline.merit(objective)
    if not merits or not math.isfinite(base):
        return (0.0, 100.0)
    least, most = _LOSS[objective]
    top = max(merits)
    losses = [base - one.merit(objective) for one in marks]
    loss = max([least, 0.75 * (top - base), *(1.15 * one for one in losses if one <= most)])
    bottom = base - min(loss, most)
    pad = 0.08 * (top - bottom)
    ends = sorted((sign * (bottom - pad), sign * (top + pad)))
    return (ends[0], ends[1])


def full(points: Sequence[Setting], objective: str) -> Range:
    """The range (low, high) that shows every setting."""
    values = [one[objective] for one in points if math.isfinite(one[objective])] or [0.0, 100.0]
    pad = 0.05 * (max(values) - min(values)) or 1.0
    return (min(values) - pad, max(values) + pad)


def inside(point: Setting, x: str, y: str, ranges: tuple[Range, Range]) -> bool:
    """Whether a setting lies in the ranges of x and y."""
    return all(low <= point[name] <= high for name, (low, high) in zip((x, y), ranges, strict=True))
