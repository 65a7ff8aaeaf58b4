"""LTS, the next method of ASH's authors: the logits are multiplied, and the activation goes on as it is."""

import math
from typing import TYPE_CHECKING

import ash
from ash.shapes.scale import top_count
from ash.variants import register_method

if TYPE_CHECKING:
    from torch import Tensor


@register_method(
    "lts",
    "LTS",
    example="lts@95",
    does="logits",
    paper="Djurisic et al., Logit Scaling for Out-of-Distribution Detection",
    year=2024,
    says="Share of the activation that is left out of s2; the logits are multiplied by the square of s1/s2.",
    signed="Values may be negative here: LTS counts them as 0 in its sums s1 and s2, as its authors' code does.",
)
def lts(x: "Tensor", percentile: float) -> "Tensor":
    """(N,) what the logits of x (N, ...) are multiplied by: the square of s1/s2 of the rectified values."""
    return logit_factor(x, ash.shaping.top_mask(x, top_count(math.prod(x.shape[1:]), percentile)))


def logit_factor(x: "Tensor", mask: "Tensor") -> "Tensor":
    """(N,) float64: LTS's factor for a mask of the values that s2 is the sum of; 1 where no value is positive."""
    s1, s2 = ash.shaping.sums(x.clamp(min=0)), ash.shaping.sums(ash.shaping.prune(x, mask).clamp(min=0))
    return ash.shaping.sum_ratio(s1, s2).square()
