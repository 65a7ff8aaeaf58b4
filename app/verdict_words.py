"""The verdict on one image in words, the same on every page: `accepted as Sneaker, 0.4 IQR above the 95 % line`."""

import math
from collections.abc import Callable

from app import theme


def accepts(score: float, threshold: float) -> bool:
    """Whether a score reaches the threshold; one that equals it up to rounding does."""
    return score >= threshold or math.isclose(score, threshold, rel_tol=1e-6)


def margin(score: float, threshold: float, spread: float) -> float:
    """How far a score lies above the threshold, in inter-quartile ranges (`app.charts.bins.spread`) of the ID scores.

    Exactly 0 for a score that equals the threshold up to rounding, so that the sign is the verdict: accepted when >= 0.
    """
    return 0.0 if math.isclose(score, threshold, rel_tol=1e-6) else (score - threshold) / spread


def distance(above: float, tpr: float) -> str:
    """`0.4 IQR above the 95 % line`, for a margin and the share of ID that the line accepts, in percent."""
    line = f"the {tpr:g} % line"
    if above == 0:
        return f"on {line}"
    size, side = abs(above), "above" if above > 0 else "below"
    if size < 0.05:
        return f"less than 0.1 IQR {side} {line}"
    return f"{f'{size:.1f}' if size < 100 else theme.number(size)} IQR {side} {line}"


def verdict(predicted: str, above: float, tpr: float, emphasis: Callable[[str], str] = str) -> str:
    """`accepted as Sneaker, 0.4 IQR above the 95 % line`, or `rejected as Sneaker, 1.2 IQR below the 95 % line`.

    `predicted`: the class with the largest logit; `above`: its `margin`. `emphasis` marks the class: in markdown
    `lambda name: f"*{plain(name)}*"`, the rest of the words need no escape.
    """
    return f"{'accepted' if above >= 0 else 'rejected'} as {emphasis(predicted)}, {distance(above, tpr)}"
