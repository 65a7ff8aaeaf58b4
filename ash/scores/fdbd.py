"""fDBD: the distance of an activation to the decision boundaries of the last layer (Liu and Qin 2024)."""

from typing import TYPE_CHECKING

from ash.scores.registry import Given, Scorer, register_score

if TYPE_CHECKING:
    from torch import Tensor


@register_score(
    "fdbd",
    "fDBD",
    reads=("logits", "activation", "head", "training"),
    paper="Liu and Qin, Fast Decision Boundary based Out-of-Distribution Detector, ICML",
    year=2024,
)
def fdbd(given: Given) -> Scorer:
    """Mean over the other classes c of |l_y - l_c| / |w_y - w_c|, divided by |z - mean of training|; y is predicted.

    The paper's normaliser, the distance to the mean of the (unshaped) training activations, as pytorch-ood has it and
    OpenOOD by default; its other one, |z|, is chosen on validation data there. OpenOOD's sum is C - 1 times this mean.
    Two classes with the same weights have no boundary between them and add nothing.
    """
    weight, _ = given.head
    apart = (weight.square().sum(1, keepdim=True) + weight.square().sum(1) - 2 * weight @ weight.T).clamp(min=0).sqrt()
    alike = apart <= 1e-7 * weight.norm(dim=1).amax()  # in float64 the rounding of the line above
    inverse = (1 / apart.masked_fill(alike, float("inf"))).to(given.dtype)  # (C, C)
    mean = given.tensor(given.trained.mean)

    def score(z: "Tensor", logits: "Tensor") -> "Tensor":
        top, predicted = logits.max(1)
        boundaries = ((top[:, None] - logits) * inverse[predicted]).sum(1) / max(1, logits.shape[1] - 1)
        return boundaries / (z - mean).norm(dim=1).clamp(min=1e-8)

    return score
