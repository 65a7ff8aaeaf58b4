"""GradNorm: how far a sample would pull the last layer towards uniform answers (Huang et al. 2021)."""

from typing import TYPE_CHECKING

from ash.scores.registry import Given, Scorer, register_score

if TYPE_CHECKING:
    from torch import Tensor


@register_score(
    "gradnorm",
    "GradNorm",
    reads=("logits", "activation", "head"),
    paper="Huang et al., On the Importance of Gradients for Detecting Distributional Shifts in the Wild, NeurIPS",
    year=2021,
)
def gradnorm(given: Given) -> Scorer:
    """L1 norm of the gradient of sum_c -log p_c with respect to the last layer's weights: |z|_1 sum_c |C p_c - 1|.

    The gradient is the outer product of C p - 1 and the (shaped) input z of that layer, so its norm is a product and no
    backward pass is needed. Summed over classes as the authors and OpenOOD do; pytorch-ood takes the mean, 1/C of it.
    """

    def score(z: "Tensor", logits: "Tensor") -> "Tensor":
        return z.abs().sum(1) * (logits.shape[1] * logits.softmax(1) - 1).abs().sum(1)

    return score
