"""The whole method on one page: shape -> tail -> score -> metric, one setting at a time, in plain torch.

Start here to see what is computed; everything else in this library does the same for many settings, large banks and
rare inputs. The tests hold the sweep against it. Among equal values at the cut, torch chooses which are kept.
"""

import math

import torch
from torch import Tensor, nn


def shape(x: Tensor, variant: str, p: float) -> Tensor:
    """ASH-P, ASH-B or ASH-S (Algorithms 1 to 3) at percentile p on activations x (N, ...)."""
    flat = x.flatten(1)  # (N, n)
    k = flat.shape[1] - round(flat.shape[1] * p / 100)
    kept, at = flat.topk(k, dim=1)  # (N, k)
    s1, s2 = flat.sum(1, keepdim=True), kept.sum(1, keepdim=True)
    made = {"ash_p": kept, "ash_b": (s1 / k).expand_as(kept), "ash_s": kept * torch.exp(s1 / s2)}[variant]
    return torch.zeros_like(flat).scatter(1, at, made).view_as(x)


@torch.no_grad()
def evaluate(tail: nn.Module, x_id: Tensor, x_ood: Tensor, variant: str, p: float) -> tuple[float, float]:
    """AUROC and FPR95 of the energy score on shaped activations, fractions; ID is the positive class."""
    known, unknown = (tail(shape(x, variant, p)).logsumexp(1) for x in (x_id, x_ood))  # energies (N,)
    line = known.sort(descending=True).values[math.ceil(0.95 * len(known)) - 1]  # accepts 95 % of ID
    wins, ties = known[:, None] > unknown, known[:, None] == unknown
    return float((wins + 0.5 * ties).mean()), float((unknown >= line).float().mean())
