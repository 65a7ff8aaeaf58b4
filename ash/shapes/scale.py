"""SCALE: the values of a sample are multiplied as by ASH-S, and none is pruned."""

import math
from typing import TYPE_CHECKING

import ash
from ash.variants import register_method

if TYPE_CHECKING:
    from torch import Tensor


@register_method(
    "scale",
    "SCALE",
    example="scale@85",
    does="multiply",
    paper="Xu et al., Scaling for Training Time and Post-hoc Out-of-distribution Detection Enhancement",
    year=2024,
    says="Share of the activation that is left out of s2; all values are multiplied by exp(s1/s2), none is removed.",
    signed="Values may be negative here: s1/s2 may then lie below 1 or far above it, and SCALE shrinks samples or "
    "overshoots where its paper, on rectified values, enlarges them.",
)
def scale(x: "Tensor", percentile: float) -> "Tensor":
    """x (N, ...) times exp(s1/s2): s1 the sum of a sample, s2 that of its k largest values, k at least 1.

    The exponent is clamped as that of ASH-S, so that no value leaves its float.
    """
    return multiply(x, ash.shaping.top_mask(x, top_count(math.prod(x.shape[1:]), percentile)))


def top_count(n: int, percentile: float) -> int:
    """How many of n values s2 is the sum of: as many as ASH keeps, but never none."""
    return max(1, ash.shaping.kept_count(n, percentile))


def multiply(x: "Tensor", mask: "Tensor") -> "Tensor":
    """SCALE for a mask of the values that s2 is the sum of."""
    if x.numel() == 0:
        return x.clone()
    s1, s2 = ash.shaping.sums(x), ash.shaping.sums(ash.shaping.prune(x, mask))
    exponent = ash.shaping.scale_exponent(s1, s2, x.flatten(1).abs().amax(1), x.dtype)
    return (x.double() * ash.shaping.per_sample(exponent.exp(), x)).to(x.dtype)
