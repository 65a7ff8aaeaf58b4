"""ViM, and its residual alone: what of an activation lies outside the training set's main directions.

With u = -pinv(W) b, where the last layer answers 0, and R the eigenvectors of the mean of (z - u)(z - u)^T over the
training set but for those of its D largest eigenvalues, the residual of z is (z - u) R (Wang et al. 2022).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ash.scores.of_logits import energy
from ash.scores.registry import Given, Parameter, ScoreError, Scorer, product, register_score

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


def directions(given: Given) -> "tuple[Tensor, Tensor]":
    """u (F,) and the eigenvectors (F, F) by rising eigenvalue, worked out in float64, in the sweep's dtype."""
    import torch
    from scipy.linalg import eigh, lstsq

    weight, bias = (part.cpu().numpy() for part in given.head)
    smallest = max(weight.shape) * np.finfo(np.float64).eps  # singular values below it, as a share, count as 0
    u = -lstsq(weight, bias, cond=smallest)[0]  # the shortest solution of W u = -b: -pinv(W) b without the pinv
    mean, moment = given.trained.moments
    moved = moment - np.outer(mean, u) - np.outer(u, mean) + np.outer(u, u)
    vectors = np.ascontiguousarray(eigh(moved, driver="evd")[1])
    return given.tensor(u), torch.from_numpy(vectors).to(given.device, given.dtype)


def residual_of(given: Given, kept: int) -> "Callable[[Tensor], Tensor]":
    """z (R, F) -> |(z - u) R| (R,)."""
    u, vectors = given.once("main directions", lambda: directions(given))
    rest = vectors[:, : given.size - kept].contiguous()
    return lambda z: product(z - u, rest).norm(dim=1)


def mean_residual(given: Given, residual: "Callable[[Tensor], Tensor]") -> float:
    """The mean of |(z - u) R| over the training set."""
    total = sum(float(residual(part).double().sum()) for part in given.training.split(2048))
    return total / len(given.training)


@register_score(
    "residual",
    "Residual",
    reads=("activation", "head", "training"),
    parameter=_DIMENSION,
    paper=_PAPER,
    year=2022,
)
def only_residual(given: Given, kept: float | None = None) -> Scorer:
    """-|(z - u) R|: the residual alone, of unshaped training activations. D as `dimension` says."""
    residual = residual_of(given, dimension(kept, given.size, "residual"))
    return lambda z, logits: -residual(z)


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
    main = dimension(kept, given.size, "vim")
    residual = residual_of(given, main)
    mean = given.once(f"mean residual of D = {main}", lambda: mean_residual(given, residual))
    if not mean > 0:
        raise ScoreError("vim: the training activations have no residual; write a smaller D.")
    alpha = given.once("mean largest logit", lambda: float(given.training_logits.amax(1).double().mean())) / mean
    return lambda z, logits: energy(logits) - alpha * residual(z)
