"""GEN: a generalised entropy of the softmax, of its largest probabilities (Liu et al. 2023)."""

from typing import TYPE_CHECKING

from ash.scores.of_logits import checked, others
from ash.scores.registry import Parameter, register_score

if TYPE_CHECKING:
    from torch import Tensor

LARGEST = 100  # M, the probabilities that are added up: the paper's number for ImageNet; of fewer classes all


@register_score(
    "gen",
    "GEN",
    parameter=Parameter("γ", 0.1, 0.001, 10),
    paper="Liu et al., GEN: Pushing the Limits of Softmax-Based Out-of-Distribution Detection, CVPR",
    year=2023,
)
def gen(logits: "Tensor", gamma: float = 0.1) -> "Tensor":
    """-sum of p^gamma (1 - p)^gamma over the 100 largest probabilities p of logits (N, C), of fewer classes all.

    The authors' sum, of which pytorch-ood takes the mean, after it has cut probabilities off at 1e-7: at gamma = 0.1
    that is no small change, since (1e-7)^0.1 is 0.2. Nothing is cut off here: log p and log(1 - p) come from the
    logits, so that the largest probability does not saturate.
    """
    finite = checked(logits)
    where = finite.argmax(1)
    total = finite.logsumexp(1, keepdim=True)
    log_p = finite - total
    rest = others(finite, where).logsumexp(1, keepdim=True) - total  # 1 - p of the largest one, which may round to 1
    log_rest = (-others(log_p, where).exp()).log1p().scatter(1, where[:, None], rest)
    largest = log_p.topk(min(LARGEST, logits.shape[1]), 1).indices
    return -(gamma * (log_p + log_rest)).exp().gather(1, largest).sum(1)
