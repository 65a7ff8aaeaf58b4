"""NCI: how an activation lies to the weights of its class, after neural collapse (Liu and Qin 2025)."""

from typing import TYPE_CHECKING

from ash.scores.registry import Given, Parameter, Scorer, register_score

if TYPE_CHECKING:
    from torch import Tensor


@register_score(
    "nci",
    "NCI",
    reads=("logits", "activation", "head", "training"),
    parameter=Parameter("α", 1e-4, 0, 10),
    paper="Liu and Qin, Detecting Out-of-Distribution through the Lens of Neural Collapse, CVPR",
    year=2025,
)
def nci(given: Given, alpha: float = 1e-4) -> Scorer:
    """<w_y, z - mean of training> / |z - mean| + alpha |z|_1, for the predicted class y; the mean is of unshaped ones.

    alpha is chosen on validation data: the default is OpenOOD's, which tries 1e-4 to 0.1; pytorch-ood's is 0.
    """
    weight, mean = given.head[0].to(given.dtype), given.tensor(given.trained.mean)

    def score(z: "Tensor", logits: "Tensor") -> "Tensor":
        centred = z - mean
        along = (centred * weight[logits.argmax(1)]).sum(1)
        return along / centred.norm(dim=1).clamp(min=1e-12) + alpha * z.abs().sum(1)

    return score
