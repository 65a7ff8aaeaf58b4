"""Scores -> counted bins around the threshold: the record behind the histograms and the live scrub.

A bin is defined by scores, `cuts[k] <= score < cuts[k + 1]`, and the threshold is exactly one of the cuts. So the bins
from there on count the accepted samples exactly (score >= threshold), whatever axis they are drawn on.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ash.metrics import auroc_sorted, threshold_at_tpr

AXES = ("relative", "raw", "rank")
Scores = NDArray[np.floating]
WINDOW = (-2.0, 4.0)  # of the relative axis: the same for every method, so that pictures can be compared
FINE, COARSE = 60, 30  # bins inside the window, one panel and many


@dataclass(frozen=True)
class Scale:
    """K bins of an axis: drawn from `left[k]` to `right[k]`, holding the scores from cuts[k] to cuts[k + 1].

    Bin `line` is the first accepted one. The first bin collects what lies outside, and the last one if `above`.
    `unit`: the width that the height of a bar refers to.
    """

    axis: str
    cuts: tuple[float, ...]
    left: tuple[float, ...]
    right: tuple[float, ...]
    line: int
    unit: float
    above: bool

    @property
    def at(self) -> float:
        """Where the threshold is drawn."""
        return self.left[self.line]

    @property
    def threshold(self) -> float:
        """The threshold as a score."""
        return self.cuts[self.line]

    @property
    def span(self) -> tuple[float, float]:
        """The ends of the axis, with a little room."""
        edge = (self.right[-1] - self.left[0]) / 100
        return self.left[0] - edge, self.right[-1] + edge

    def place(self, margin: float) -> float:
        """Where a margin is drawn on the relative axis: what lies beyond it in the bar that collects the rest."""
        if margin < self.right[0]:
            return (self.left[0] + self.right[0]) / 2
        return margin if margin < self.left[-1] else (self.left[-1] + self.right[-1]) / 2


@dataclass(frozen=True)
class Bars:
    """One data set in the bins of a scale. `auroc` (fraction) against the ID set, None for the ID set itself."""

    name: str
    label: str
    n: int
    counts: tuple[int, ...]
    accepted: int
    auroc: float | None = None

    @property
    def share(self) -> float:
        """Accepted share in percent: TPR for the ID set, FPR for an OOD set."""
        return 100 * self.accepted / self.n

    def heights(self, scale: Scale) -> NDArray[np.float64]:
        """Percent of the set per `scale.unit` of the axis; the bins that collect the rest show their whole share."""
        width = np.subtract(scale.right, scale.left)
        width[0] = scale.unit
        if scale.above:
            width[-1] = scale.unit
        return 100 * np.asarray(self.counts) / self.n * (scale.unit / width)


@dataclass(frozen=True)
class Histograms:
    """ID and OOD sets of one method, and the outlines without shaping; no `before_scale` where those do not fit."""

    method: str
    tpr: float
    scale: Scale
    id: Bars
    ood: tuple[Bars, ...]
    before_scale: Scale | None
    before: tuple[Bars, ...] = ()


def spread(id_scores: Scores) -> float:
    """The inter-quartile range of the ID scores: the unit of the relative axis; 1 when it is 0."""
    low, high = np.percentile(id_scores, [25, 75])
    width = float(high - low)
    return width if width > 0 and math.isfinite(width) else 1.0


def scale_of(axis: str, id_scores: Scores, others: Mapping[str, Scores], tpr: float, bins: int = FINE) -> Scale:
    """The bins of an axis at the threshold that accepts `tpr` (fraction) of the ID scores."""
    threshold = threshold_at_tpr(id_scores, tpr)
    if axis == "rank":
        return _rank_scale(np.sort(id_scores), threshold, bins)
    unit = spread(id_scores)
    low, high = WINDOW if axis == "relative" else _raw_window(id_scores, others, threshold, unit)
    step = (high - low) / bins
    below, above = math.ceil(-low / step - 1e-9), math.ceil(high / step - 1e-9)
    inner = np.arange(-below, above + 1) * step
    cuts = threshold + inner * unit
    cuts[below] = threshold
    edges = inner if axis == "relative" else cuts
    wide = 2 * (edges[1] - edges[0])
    return Scale(
        axis,
        (-math.inf, *cuts.tolist(), math.inf),
        (float(edges[0] - 1.5 * wide), *edges.tolist()[:-1], float(edges[-1] + wide / 2)),
        (float(edges[0] - wide / 2), *edges.tolist()[1:], float(edges[-1] + 1.5 * wide)),
        below + 1,
        float(edges[1] - edges[0]),
        above=True,
    )


def _raw_window(id_scores: Scores, others: Mapping[str, Scores], threshold: float, unit: float) -> tuple[float, float]:
    """The 1st to the 99th percentile of all sets, not much further than the ID set; in units from the threshold."""
    ends = np.array([np.percentile(scores, [1, 99]) for scores in (id_scores, *others.values())])
    low, high = (ends[:, 0].min() - threshold) / unit, (ends[:, 1].max() - threshold) / unit
    return float(np.clip(low, -6.0, -0.1)), float(np.clip(high, 0.5, 10.0))


def _rank_scale(ordered: Scores, threshold: float, bins: int) -> Scale:
    """Bins with equally many ID scores on either side of the threshold, after one for what is below every ID score."""
    n = len(ordered)
    below = int(np.searchsorted(ordered, threshold, "left"))
    parts = max(round(bins * below / n), 1 if below else 0)
    ranks = np.concatenate([np.linspace(0, below, parts + 1)[:-1], np.linspace(below, n, max(bins - parts, 1) + 1)])
    ranks = np.unique(ranks.round().astype(int))
    cuts = ordered[ranks[:-1]].astype(float).tolist()
    edges, unit = (100 * ranks / n).tolist(), 100 / bins
    left, right = (-3 * unit, *edges[:-1]), (-unit, *edges[1:])
    line = 1 + int(np.searchsorted(ranks, below))
    return Scale("rank", (-math.inf, *cuts, math.inf), left, right, line, unit, above=False)


def bars(
    name: str,
    label: str,
    scores: Scores,
    scale: Scale,
    id_sorted: Scores | None = None,
    threshold: float | None = None,
) -> Bars:
    """Count a data set into the bins of a scale; with the ID scores in ascending order also its AUROC.

    `threshold`: what accepts, when it is not the one of the scale.
    """
    ordered = np.sort(scores)
    at = np.searchsorted(ordered, np.asarray(scale.cuts[1:-1]), "left")
    counts = tuple(np.diff(at, prepend=0, append=len(scores)).tolist())
    line = scale.threshold if threshold is None else threshold
    accepted = len(ordered) - int(np.searchsorted(ordered, line, "left"))
    against = None if id_sorted is None else auroc_sorted(id_sorted, ordered)
    return Bars(name, label, len(scores), counts, accepted, against)


def histograms(
    method: str,
    labels: Mapping[str, str],
    after: tuple[Scores, Mapping[str, Scores]],
    before: tuple[Scores, Mapping[str, Scores]] | None,
    axis: str,
    tpr: float,
) -> Histograms:
    """The record of the page. `labels`: set name -> label, the ID set first; `tpr` in percent.

    `after` and `before`: the ID scores and the OOD scores by name, with and without shaping (None: nothing to compare).
    """
    (id_name, id_label), *sets = labels.items()
    bins = FINE if len(sets) == 1 else COARSE
    scale = scale_of(axis, after[0], {name: after[1][name] for name, _ in sets}, tpr / 100, bins)
    ordered = np.sort(after[0])
    own = bars(id_name, id_label, ordered, scale)
    ood = tuple(bars(name, label, after[1][name], scale, ordered) for name, label in sets)
    if before is None:
        return Histograms(method, tpr, scale, own, ood, None)
    # On the raw axis a score is a score; on the others the unshaped scores have a threshold and a unit of their own.
    old = scale if axis == "raw" else scale_of(axis, before[0], {}, tpr / 100, bins)
    ordered, line = np.sort(before[0]), threshold_at_tpr(before[0], tpr / 100)
    ghosts = [bars(id_name, id_label, ordered, old, threshold=line)]
    ghosts += [bars(name, label, before[1][name], old, ordered, line) for name, label in sets]
    fits = axis != "raw" or sum(ghosts[0].counts[1:-1]) > ghosts[0].n / 2
    return Histograms(method, tpr, scale, own, ood, old if fits else None, tuple(ghosts))


def bar_id(name: str, scale: Scale, index: int) -> str:
    """The stable id of a bar: its set and the scores it holds, `photographs|-0.5|0.25`. Same link, same bar."""
    return f"{name}|{scale.cuts[index]!r}|{scale.cuts[index + 1]!r}"


def parse_bar(text: str) -> tuple[str, float, float] | None:
    """Set name, lowest score, and the score below which the bar ends; None when the text is no bar."""
    try:
        name, low, high = text.split("|")
        found = name, float(low), float(high)
    except ValueError:
        return None
    return found if found[1] < found[2] else None
