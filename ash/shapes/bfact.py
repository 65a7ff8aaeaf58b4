"""BFAct: values beyond a threshold are turned down, softly, by the gain of a Butterworth filter."""

from typing import TYPE_CHECKING

import ash
from ash.variants import register_method

if TYPE_CHECKING:
    from torch import Tensor

ORDER = 2  # of the filter, N in the paper


@register_method(
    "bfact",
    "BFAct",
    "threshold",
    fitted=True,
    example="bfact@1.0",
    paper="Kong and Li, BFAct: Out-of-Distribution Detection with Butterworth Filter Rectified Activations",
    year=2023,
    says="BFAct divides every value z by the square root of 1 + (z/c)^4: small ones stay, large ones go to 0 again.",
    signed="Values may be negative here: BFAct turns large negative ones down as it does large positive ones, while "
    "its paper has rectified values.",
)
def bfact(x: "Tensor", threshold: float) -> "Tensor":
    """x / sqrt(1 + (x / threshold)^(2 N)), N = 2, of x (N, ...): t / sqrt(2) at most, at the threshold t."""
    ash.shaping.check_finite(x)
    return (x.double() / (1 + (x.double() / threshold).pow(2 * ORDER)).sqrt()).to(x.dtype)
