"""Scores: logits (N, C) -> one number a sample (N,), *higher = more in-distribution*, everywhere and always."""

from collections.abc import Callable

import torch
from torch import Tensor

from ash.errors import AshError
from ash.variants import ODIN_TEMPERATURE


def _check(logits: Tensor) -> Tensor:
    """The logits, infinite ones as the largest number of their dtype: NaN would come of inf - inf. NaN is refused."""
    if logits.dim() != 2 or logits.shape[1] < 1:
        raise AshError(f"Logits have the shape (N, C), got {tuple(logits.shape)}.")
    if not logits.is_floating_point():
        raise AshError(f"Logits must be floating point, got {logits.dtype}.")
    bad = logits.isnan().any(1)
    if not torch.compiler.is_compiling() and bad.any():  # an exported detector has no branches
        raise AshError(f"The logits of sample {int(bad.int().argmax())} hold NaN.")
    limit = torch.finfo(logits.dtype).max
    return logits.clamp(-limit, limit)


def energy(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Negative free energy, T * logsumexp(logits / T) (Liu et al. 2020); lies in [max, max + T log C]."""
    if not temperature > 0:
        raise AshError(f"The temperature must be positive, got {temperature:g}.")
    finite = _check(logits)
    limit = torch.finfo(finite.dtype).max
    return (temperature * torch.logsumexp(finite / temperature, dim=1)).clamp(-limit, limit)


def msp(logits: Tensor) -> Tensor:
    """Maximum softmax probability as its log-odds, max - logsumexp(others): the same order, without saturation.

    The probability itself is exactly 1.0 in float32 for 28 % of typical in-distribution samples; such ties cost real
    AUROC. `probability` turns the log-odds back into what people read. A single class has no others: 0 for all.
    """
    finite = _check(logits)
    limit = torch.finfo(finite.dtype).max
    top, where = finite.max(dim=1)
    if logits.shape[1] == 1:
        return torch.zeros_like(top)
    others = finite.scatter(1, where[:, None], -torch.inf)
    return (top - torch.logsumexp(others, dim=1)).clamp(-limit, limit)


def max_logit(logits: Tensor) -> Tensor:
    """The largest logit (Hendrycks et al. 2022)."""
    return _check(logits).amax(dim=1)


def odin(logits: Tensor, temperature: float = ODIN_TEMPERATURE) -> Tensor:
    """ODIN's score: the largest softmax probability p of logits / T, as T log(C p): the same order, without rounding.

    At T = 1000 all probabilities are nearly 1/C, and float32 has few numbers there. The logits are those of perturbed
    images where ODIN perturbs them (Liang et al. 2018).
    """
    if not temperature > 0:
        raise AshError(f"The temperature must be positive, got {temperature:g}.")
    finite = _check(logits)
    below = (finite - finite.amax(1, keepdim=True)) / temperature
    return -temperature * torch.log1p(torch.expm1(below).mean(1))


def probability(log_odds: Tensor) -> Tensor:
    """The maximum softmax probability that belongs to an `msp` score."""
    return torch.sigmoid(log_odds)


SCORES: dict[str, Callable[[Tensor], Tensor]] = {"energy": energy, "msp": msp, "max_logit": max_logit, "odin": odin}
"""Every score of logits by the name that a method is written with."""
