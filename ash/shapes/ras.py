"""RAS: the values of a sample are replaced, rank by rank, by what a training set has there in the mean."""

from typing import TYPE_CHECKING

import ash
from ash.variants import MethodError, register_method

if TYPE_CHECKING:
    from torch import Tensor

    from ash.fitting import Fit


@register_method(
    "ras",
    "RAS",
    None,
    fitted=True,
    paper="RAS, arXiv 2604.08572",
    year=2026,
    says="The j-th smallest value of a sample becomes the mean of the j-th smallest values of the training set.",
)
def ras(x: "Tensor", fit: "Fit") -> "Tensor":
    """x (N, ...) with its j-th smallest value, the lowest index first among equals, replaced by fit.ranks[j].

    MethodError where the fit is of activations of another size.
    """
    ash.shaping.check_finite(x)
    flat = x.flatten(1)
    if flat.shape[1] != len(fit.ranks):
        raise MethodError(f"ras is fitted to {len(fit.ranks)} values a sample, and these have {flat.shape[1]}.")
    order = flat.argsort(stable=True, dim=1)
    curve = flat.new_tensor(fit.ranks).expand_as(flat)
    return flat.new_empty(flat.shape).scatter_(1, order, curve).view(x.shape)
