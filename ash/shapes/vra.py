"""VRA-P: small values are set to 0 and large ones are clipped, at two constants or percentiles of a training set."""

from typing import TYPE_CHECKING

import ash
from ash.variants import register_method

if TYPE_CHECKING:
    from torch import Tensor


@register_method(
    "vra",
    "VRA",
    "threshold",
    pair=True,
    fitted=True,
    example="vra@0.5,1.0",
    paper="Xu et al., VRA: Variational Rectified Activation for Out-of-distribution Detection",
    year=2023,
    says="Values up to a are set to 0, and those above c to c.",
    signed="Values may be negative here: VRA sets all of them to 0, while the network behind was trained to read them.",
)
def vra(x: "Tensor", low: float, high: float) -> "Tensor":
    """x (N, ...) with 0 where it is at most `low`, and `high` where it is above that.

    The reading of OptFSOOD (0.5 and 1.0 on ImageNet, percentiles 60 and 95 on CIFAR). Others clip at both ends, at
    percentiles of the ID validation set (OpenOOD) or of each unit (pytorch-ood): other methods by this name.
    """
    ash.shaping.check_finite(x)
    return x.clamp(max=high).masked_fill(x <= low, 0.0)
