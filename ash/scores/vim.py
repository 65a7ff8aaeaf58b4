"""ViM, and its residual alone: what of an activation lies outside the training set's main directions.

With u = -pinv(W) b, where the last layer answers 0, and R the eigenvectors of the mean of (z - u)(z - u)^T over the
training set but for those of its D largest eigenvalues, the residual of z is (z - u) R (Wang et al. 2022).
"""

from typing import TYPE_CHECKING

from ash.scores.of_logits import energy
from ash.scores.registry import Given, Parameter, ScoreError, Scorer, register_score

if TYPE_CHECKING:
    from torch import Tensor

_PAPER = "Wang et al., ViM: Out-Of-Distribution with Virtual-logit Matching, CVPR"
_DIMENSION = Parameter("D", None, 1, 100_000, whole=True)


def dimension(asked: float | None, features: int, name: str) -> int:
    """D: what is asked for, else the authors' 1,000 of 2,048 features or more, 512 of 768 or more, half of fewer ones.

    ScoreError where no direction would remain. OpenOOD's D is 256 for all networks; pytorch-ood has no default, and
    takes half of the features where it is asked for more than there are.
    """
    if asked is None:
        return 1000 if features >= 2048 else 512 if features >= 768 else features // 2
    if asked >= features:
        raise ScoreError(f"{name}@{asked:g} keeps {asked:g} main directions of {features} features: none would remain.")
    return int(asked)


def residual_of(given: Given, kept: int) -> "tuple[Tensor, Tensor]":
    """u (F,) and R (F, F - D), worked out in float64, in the sweep's dtype."""
    import torch

    weight, bias = given.head
    u = -torch.linalg.pinv(weight) @ bias
    mean, moment = (torch.from_numpy(part).to(given.device) for part in given.trained.moments)
    moved = moment - mean.outer(u) - u.outer(mean) + u.outer(u)
    vectors = torch.linalg.eigh(moved).eigenvectors  # by rising eigenvalue
    return u.to(given.dtype), vectors[:, : given.size - kept].to(given.dtype).contiguous()


@register_score(
    "residual",
    "Residual",
    reads=("activation", "head", "training"),
    parameter=_DIMENSION,
    paper=_PAPER,
    year=2022,
)
def residual(given: Given, kept: float | None = None) -> Scorer:
    """-|(z - u) R|: the residual alone, of unshaped training activations. D as `dimension` says."""
    u, rest = residual_of(given, dimension(kept, given.size, "residual"))

    def score(z: "Tensor", logits: "Tensor") -> "Tensor":
        return -((z - u) @ rest).norm(dim=1)

    return score


@register_score(
    "vim",
    "ViM",
    reads=("logits", "activation", "head", "training"),
    parameter=_DIMENSION,
    paper=_PAPER,
    year=2022,
)
def vim(given: Given, kept: float | None = None) -> Scorer:
    """Energy - alpha |(z - u) R|, alpha = mean of the largest logit / mean of |(z - u) R| over the training set.

    Its activations are unshaped, so alpha is too. D as `dimension` says.
    """
    u, rest = residual_of(given, dimension(kept, given.size, "vim"))
    lengths = sum(float(((part - u) @ rest).norm(dim=1).double().sum()) for part in given.training.split(4096))
    if not lengths > 0:
        raise ScoreError("vim: the training activations have no residual; write a smaller D.")
    alpha = float(given.training_logits.amax(1).double().sum()) / lengths

    def score(z: "Tensor", logits: "Tensor") -> "Tensor":
        return energy(logits) - alpha * ((z - u) @ rest).norm(dim=1)

    return score
