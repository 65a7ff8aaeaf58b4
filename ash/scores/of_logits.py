"""Scores of logits (N, C) alone -> (N,): energy, max softmax, max logit, and those of ODIN and Generalized ODIN."""

from typing import TYPE_CHECKING

from ash.errors import AshError
from ash.scores.registry import register_score

if TYPE_CHECKING:
    from torch import Tensor

ODIN_TEMPERATURE = 1000.0


def checked(logits: "Tensor") -> "Tensor":
    """The logits, infinite ones as the largest number of their dtype: NaN would come of inf - inf. NaN is refused."""
    if logits.dim() != 2 or logits.shape[1] < 1:
        raise AshError(f"Logits have the shape (N, C), got {tuple(logits.shape)}.")
    if not logits.is_floating_point():
        raise AshError(f"Logits must be floating point, got {logits.dtype}.")
    bad = logits.isnan().any(1)
    if not _is_exported() and bad.any():
        raise AshError(f"The logits of sample {int(bad.int().argmax())} hold NaN.")
    return within_range(logits)


def _is_exported() -> bool:
    """Whether a detector is being exported, whose graph has no branches: what it is given it cannot refuse."""
    import torch

    return torch.compiler.is_compiling()


def within_range(values: "Tensor") -> "Tensor":
    """The values, infinite ones as the largest number of their dtype."""
    import torch

    limit = torch.finfo(values.dtype).max
    return values.clamp(-limit, limit)


@register_score("energy", "Energy", paper="Liu et al., Energy-based Out-of-distribution Detection, NeurIPS", year=2020)
def energy(logits: "Tensor", temperature: float = 1.0) -> "Tensor":
    """Negative free energy, T * logsumexp(logits / T) (Liu et al. 2020); lies in [max, max + T log C]."""
    if not temperature > 0:
        raise AshError(f"The temperature must be positive, got {temperature:g}.")
    return within_range(temperature * (checked(logits) / temperature).logsumexp(1))


@register_score(
    "msp",
    "Max softmax",
    paper="Hendrycks and Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution Examples, ICLR",
    year=2017,
)
def msp(logits: "Tensor") -> "Tensor":
    """Maximum softmax probability as its log-odds, max - logsumexp(others): the same order, without saturation.

    The probability itself is exactly 1.0 in float32 for 28 % of typical in-distribution samples; such ties cost real
    AUROC. `probability` turns the log-odds back into what people read. A single class has no others: 0 for all.
    """
    finite = checked(logits)
    top, where = finite.max(dim=1)
    if logits.shape[1] == 1:
        return top.new_zeros(top.shape)
    return within_range(top - others(finite, where).logsumexp(1))


def others(logits: "Tensor", where: "Tensor") -> "Tensor":
    """The logits (N, C) with -inf in the place `where` (N,) of each sample."""
    return logits.scatter(1, where[:, None], float("-inf"))


@register_score(
    "max_logit",
    "Max logit",
    paper="Hendrycks et al., Scaling Out-of-Distribution Detection for Real-World Settings, ICML",
    year=2022,
)
def max_logit(logits: "Tensor") -> "Tensor":
    """The largest logit (Hendrycks et al. 2022)."""
    return checked(logits).amax(dim=1)


@register_score(
    "odin",
    "ODIN",
    reads=("logits", "perturbed"),
    paper="Liang et al., Enhancing the Reliability of Out-of-distribution Image Detection in Neural Networks, ICLR",
    year=2018,
)
def odin(logits: "Tensor", temperature: float = ODIN_TEMPERATURE) -> "Tensor":
    """ODIN's score: the largest softmax probability p of logits / T, as T log(C p): the same order, without rounding.

    At T = 1000 all probabilities are nearly 1/C, and float32 has few numbers there. The logits are those of perturbed
    images where ODIN perturbs them (Liang et al. 2018).
    """
    if not temperature > 0:
        raise AshError(f"The temperature must be positive, got {temperature:g}.")
    finite = checked(logits)
    below = (finite - finite.amax(1, keepdim=True)) / temperature
    return -temperature * below.expm1().mean(1).log1p()


def probability(log_odds: "Tensor") -> "Tensor":
    """The maximum softmax probability that belongs to an `msp` score."""
    return log_odds.sigmoid()


register_score(
    "godin",
    "GODIN",
    reads=("numerators",),
    paper="Hsu et al., Generalized ODIN: Detecting Out-of-distribution Image without Learning from Out-of-distribution "
    "Data, CVPR",
    year=2020,
)(max_logit)
