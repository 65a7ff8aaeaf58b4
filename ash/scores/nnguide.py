"""NNGuide: the energy, guided by the nearest of confident training samples (Park et al. 2023)."""

from typing import TYPE_CHECKING

import numpy as np

from ash.scores.nearest import Neighbours
from ash.scores.of_logits import energy
from ash.scores.registry import Given, Parameter, ScoreError, Scorer, product, register_score, unit

if TYPE_CHECKING:
    from torch import Tensor

SHARE = 100  # one of so many training samples is kept
LEAST = 500  # but no fewer than of CIFAR's 50,000


def subset(rows: int, kept: int) -> np.ndarray:
    """Which of the `kept` training activations of a fit on `rows` samples are used: evenly spaced from the first on.

    1 % of the samples, but 500 at least (1 % of CIFAR's), and all of them where there are fewer. The authors draw
    theirs at random and OpenOOD takes the first ones: this rule gives everybody the same numbers.
    """
    few = min(kept, max(LEAST, -(-rows // SHARE)))
    return np.arange(few) * kept // few


@register_score(
    "nnguide",
    "NNGuide",
    reads=("logits", "activation", "head", "training"),
    parameter=Parameter("K", 10, 1, 100_000, whole=True),
    paper="Park et al., Nearest Neighbor Guidance for Out-of-Distribution Detection, ICCV",
    year=2023,
)
def nnguide(given: Given, k: float = 10) -> Scorer:
    """Energy times the mean of the K largest <z, z_i E_i> of 1 % of the training set (`subset`), z and z_i of length 1.

    E_i is the energy of a training sample; it and z_i are unshaped. K = 10 as the authors' and pytorch-ood's; OpenOOD's
    is 100. ScoreError where the subset is smaller than K.
    """
    import torch

    few = torch.from_numpy(subset(given.trained.rows, len(given.training))).to(given.device)
    if k > len(few):
        raise ScoreError(
            f"nnguide@{k:g} looks at the {k:g} nearest of 1 % of the training samples, at least {LEAST}, and of the "
            f"fit on {given.trained.identity.dataset} these are {len(few):,}: write nnguide@{len(few)} or less."
        )
    weight, bias = (part.to(given.dtype) for part in given.head)
    confidence = energy(product(given.training[few], weight.T) + bias)
    guides = Neighbours(unit(given.training[few]) * confidence[:, None])

    def score(z: "Tensor", logits: "Tensor") -> "Tensor":
        return energy(logits) * guides.nearest(unit(z), int(k))[0].mean(1)

    return score
