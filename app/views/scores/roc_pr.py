"""ID and OOD scores -> ROC and precision-recall curves: exact rates, few points, each with its threshold."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app import theme
from app.charts.bins import Scores
from app.charts.score_words import shorts
from ash.metrics import aupr, auroc, threshold_at_tpr

Kind = Literal["roc", "pr"]
MOST = 500  # points of one curve


@dataclass(frozen=True)
class Curve:
    """One curve, percent: `x` FPR or recall, `y` TPR or precision, a threshold for each point, the highest first.

    `area`: AUROC or AUPR (average precision) from all scores, not from the drawn points. `point`: the index of the
    threshold of the page. `base`: the precision of accepting everything.
    """

    kind: Kind
    method: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    thresholds: tuple[float, ...]
    area: float
    point: int
    base: float


def curve(kind: Kind, method: str, id_scores: Scores, ood_scores: Scores, tpr: float) -> Curve:
    """The curve of ID against OOD scores, at most MOST points; `tpr` in percent."""
    ordered, others = np.sort(id_scores), np.sort(ood_scores)
    levels = np.unique(np.concatenate([ordered, others]))[::-1]
    n, m = len(ordered), len(others)
    hits = n - np.searchsorted(ordered, levels, "left")
    alarms = m - np.searchsorted(others, levels, "left")
    if kind == "roc":  # starts where nothing is accepted; precision is not defined there
        levels, hits, alarms = (
            np.concatenate([[first], rest]) for first, rest in ((np.inf, levels), (0, hits), (0, alarms))
        )
    x, y = (alarms / m, hits / n) if kind == "roc" else (hits / n, hits / (hits + alarms))
    at = int(np.flatnonzero(levels == threshold_at_tpr(id_scores, tpr / 100))[0])
    keep = thin(x, y, at)
    area = auroc(id_scores, ood_scores) if kind == "roc" else aupr(id_scores, ood_scores)
    kept = (tuple(shorts(100 * x[keep])), tuple(shorts(100 * y[keep])), tuple(shorts(levels[keep])))
    return Curve(kind, method, *kept, 100 * area, int(np.searchsorted(keep, at)), 100 * n / (n + m))


def thin(x: NDArray[np.float64], y: NDArray[np.float64], at: int, most: int = MOST) -> NDArray[np.intp]:
    """Indices to draw: the corners, then evenly along the curve when there are too many; both ends and `at` stay."""
    dx, dy = np.diff(x), np.diff(y)
    corner = np.flatnonzero(np.abs(dx[1:] * dy[:-1] - dy[1:] * dx[:-1]) > 1e-15) + 1
    fixed = np.array([0, at, len(x) - 1])
    keep = np.union1d(corner, fixed)
    if len(keep) > most:
        along = np.cumsum(np.hypot(np.diff(x[keep]), np.diff(y[keep])))
        wanted = np.linspace(0, along[-1], most - len(fixed))
        keep = np.union1d(keep[np.searchsorted(along, wanted, "left")], fixed)
    return keep


def curves(
    kind: Kind,
    labels: Mapping[str, str],
    after: tuple[str, Scores, Mapping[str, Scores]],
    before: tuple[str, Scores, Mapping[str, Scores]] | None,
    tpr: float,
) -> dict[str, tuple[Curve, ...]]:
    """OOD label -> the method's curve and, if there is something to compare, the one without shaping (thinner).

    `labels`: OOD set name -> label. `after`, `before`: the method's label, ID scores, OOD scores by name.
    """
    both = [one for one in (after, before) if one is not None]
    return {
        label: tuple(curve(kind, method, own, sets[name], tpr) for method, own, sets in both)
        for name, label in labels.items()
    }


def finding(record: Mapping[str, tuple[Curve, ...]]) -> str:
    """One sentence: the mean area over the sets, with and without shaping."""
    first = next(iter(record.values()))
    name = "AUROC" if first[0].kind == "roc" else "AUPR"
    areas = [np.mean([lines[which].area for lines in record.values()]) for which in range(len(first))]
    where = next(iter(record)) if len(record) == 1 else f"the mean of {len(record)} sets"
    text = f"{name} of {first[0].method} on {where}: {theme.percent(float(areas[0]))}"
    return text + (f"; {first[1].method}: {theme.percent(float(areas[1]))}." if len(first) > 1 else ".")


def table(record: Mapping[str, tuple[Curve, ...]]) -> pd.DataFrame:
    """Every drawn point, one row each: set, method, threshold and both rates in percent."""
    frames = []
    for label, lines in record.items():
        for one in lines:
            x, y = ("fpr", "tpr") if one.kind == "roc" else ("recall", "precision")
            points = {"set": label, "method": one.method, "threshold": one.thresholds, x: one.x, y: one.y}
            frames.append(pd.DataFrame(points))
    return pd.concat(frames, ignore_index=True)
