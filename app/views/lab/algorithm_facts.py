"""What Algorithms 1-3 of the paper compute on a few values of one sample, and which values those are. Pure.

The arithmetic is done here a second time, slowly and in the open; the tests compare it with `ash.shaping`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from app.theme import ALGORITHMS
from ash.methods import STEPS
from ash.variants import Effect

Vector = NDArray[np.float32]
VARIANTS = {name: STEPS[name].label for name in ALGORITHMS}
COUNT, TOP = 12, 3  # values of the vector; how many of them are the sample's largest


@dataclass(frozen=True)
class Facts:
    """What the lines of one vector have in common: k values `kept`, `pruned` the others, both in order of position."""

    variant: str
    p: float
    x: Vector
    k: int
    kept: tuple[int, ...]
    pruned: tuple[int, ...]
    at: int | None  # position of the smallest kept value

    @property
    def does(self) -> Effect:
        """What the variant does with what it keeps."""
        return STEPS[self.variant].does

    @property
    def n(self) -> int:
        """Number of values."""
        return len(self.x)

    @property
    def t(self) -> float | None:
        """The cut: the smallest kept value; None when nothing is kept."""
        return None if self.at is None else float(self.x[self.at])

    @cached_property
    def s1(self) -> float:
        """Sum of all values, in float64."""
        return float(self.x.sum(dtype=np.float64))

    @cached_property
    def s2(self) -> float:
        """Sum of the kept values, in float64."""
        return float(self.x[list(self.kept)].sum(dtype=np.float64))

    @property
    def level(self) -> float | None:
        """ASH-B's constant s1/k; None when nothing is kept."""
        return self.s1 / self.k if self.k else None

    @cached_property
    def exponent(self) -> float | None:
        """ASH-S's s1/s2 as `ash.shaping` limits it; None when nothing is kept."""
        if not self.k:
            return None
        import torch

        from ash.shaping import scale_exponent

        peak = float(np.abs(self.x[list(self.kept)]).max())
        one, two, three = (torch.tensor([value], dtype=torch.float64) for value in (self.s1, self.s2, peak))
        return float(scale_exponent(one, two, three, torch.float32))

    @property
    def factor(self) -> float | None:
        """ASH-S's factor exp(s1/s2)."""
        return None if self.exponent is None else float(np.exp(self.exponent))

    @cached_property
    def left(self) -> Vector:
        """The vector after pruning."""
        out = np.zeros_like(self.x)
        out[list(self.kept)] = self.x[list(self.kept)]
        return out

    @cached_property
    def shaped(self) -> Vector:
        """The vector that the variant returns."""
        out = self.left.copy()
        if self.does == "fill" and self.level is not None:
            out[list(self.kept)] = self.level
        if self.does == "scale" and self.factor is not None:
            out[:] = self.left.astype(np.float64) * self.factor
        return out


def facts(values: Sequence[float] | NDArray[np.floating], variant: str, p: float) -> Facts:
    """Which values stay at percentile p, the lowest position first among equals, as in `ash.shaping`.

    KeyError for a variant that is none of Algorithms 1 to 3.
    """
    from ash.shaping import kept_count

    VARIANTS[variant]
    x = np.asarray(values, np.float32)
    order = np.argsort(-x, kind="stable")
    k = kept_count(len(x), p)
    kept, pruned = (tuple(sorted(part.tolist())) for part in (order[:k], order[k:]))
    return Facts(variant, p, x, k, kept, pruned, int(order[k - 1]) if k else None)


def chosen_units(x: NDArray[np.floating], count: int = COUNT, top: int = TOP) -> tuple[int, ...]:
    """Positions of `count` values of a flat activation: the `top` largest, the others evenly spaced by rank.

    In order of position, so that they look like an activation and not like a sorted list; all of them where x is short.
    """
    if len(x) <= count:
        return tuple(range(len(x)))
    order = np.argsort(-x, kind="stable")
    ranks = [*range(top), *np.linspace(top, len(x) - 1, count - top).round().astype(int)]
    return tuple(sorted(int(order[rank]) for rank in ranks))
