"""The verdict on one image in words, the same on every page: `accepted as Sneaker, 0.4 IQR above the 95 % line`."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from app import theme


def margins(scores: ArrayLike, threshold: float, spread: float) -> NDArray[np.float64]:
    """How far scores lie above the threshold, in inter-quartile ranges (`app.charts.bins.spread`) of the ID scores.

    The sign is the verdict of `ash.metrics.accepts`: accepted when >= 0, and 0 only for what equals the threshold.
    """
    values = np.asarray(scores, np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        found = (values - threshold) / spread
    found = np.where((values < threshold) & (found == 0), -np.finfo(np.float64).tiny, found)  # it was rounded to 0
    return np.where(values == threshold, 0.0, found)  # also where both are infinite


def margin(score: float, threshold: float, spread: float) -> float:
    """`margins` of one score."""
    return float(margins(score, threshold, spread))


def distance(above: float, tpr: float) -> str:
    """`0.4 IQR above the 95 % line`, for a margin and the share of ID that the line accepts, in percent."""
    line = f"the {tpr:g} % line"
    if above == 0:
        return f"on {line}"
    size, side = abs(above), "above" if above > 0 else "below"
    if size < 0.05:
        return f"less than 0.1 IQR {side} {line}"
    return f"{f'{size:.1f}' if size < 100 else theme.number(size)} IQR {side} {line}"


def rightly(accepted: bool, is_id: bool) -> str:
    """`✓ right` where an ID image is accepted or an OOD image rejected, `✕ wrong` where it is the other way round."""
    return "✓ right" if accepted == is_id else "✕ wrong"


def verdict(predicted: str, above: float, tpr: float, emphasis: Callable[[str], str] = str) -> str:
    """`accepted as Sneaker, 0.4 IQR above the 95 % line`, or `rejected as Sneaker, 1.2 IQR below the 95 % line`.

    `predicted`: the class with the largest logit; `above`: its `margin`. `emphasis` marks the class: in markdown
    `lambda name: f"*{plain(name)}*"`, the rest of the words need no escape.
    """
    return f"{'accepted' if above >= 0 else 'rejected'} as {emphasis(predicted)}, {distance(above, tpr)}"
