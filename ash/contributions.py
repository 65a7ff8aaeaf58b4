"""Which values of an activation decided: what each one adds to a logit and to the score of the logits.

A tail that is one linear map takes a logit apart exactly: value i of feature u adds w_cu x_i / (H W), and together with
the bias that is the logit. Any other tail is taken apart to first order, by gradient x input; so is every score, since
it is no linear map of the logits: d score / d logit_c times what is added to logit c, summed over the classes (for the
energy that derivative is the softmax). Such a sum need not be the score. What a score really loses without a unit is
`logits_without`.

A unit is a feature or a channel: the first axis of an activation (C,) or (C, H, W), the last one of (tokens, C).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ash.splitting import LinearTail

Tail = nn.Module | LinearTail
Score = Callable[[Tensor], Tensor]  # logits (N, C) -> (N,), as in `ash.scores`


def logits_of(tail: Tail, x: Tensor) -> Tensor:
    """Logits (N, C) of activations x (N, ...)."""
    if not isinstance(tail, LinearTail):
        found: Tensor = tail(x)
        return found
    features = x.flatten(2).mean(2) if tail.pooled else x.flatten(1)
    return features @ tail.weight.T + tail.bias


def to_logit(tail: Tail, x: Tensor, index: int) -> Tensor:
    """What each value of one activation x (...) adds to logit `index`; the shape of x.

    Of a linear tail these numbers and the bias sum to the logit.
    """
    if not isinstance(tail, LinearTail):
        return _gradient(tail, x, lambda logits: logits[:, index]) * x
    return _spread(tail, tail.weight[index], x) * x


def to_score(tail: Tail, x: Tensor, score: Score) -> Tensor:
    """What each value of one activation x (...) adds to a score of the logits, to first order; the shape of x."""
    if not isinstance(tail, LinearTail):
        return _gradient(tail, x, score) * x
    slopes = _gradient(nn.Identity(), logits_of(tail, x[None])[0], score)  # (C,) d score / d logit
    return _spread(tail, slopes @ tail.weight, x) * x


def _spread(tail: LinearTail, weight: Tensor, x: Tensor) -> Tensor:
    """The weight (F,) of every value of x: shared out over the positions where the tail pools."""
    area = x[0].numel() if tail.pooled else 1
    flat = weight.repeat_interleave(area) / area if tail.pooled else weight
    return flat.reshape(x.shape)


def _gradient(tail: nn.Module, x: Tensor, read: Score) -> Tensor:
    """The gradient of read(tail(x)) at x (...), without a trace on the tail's weights."""
    with torch.inference_mode(False), torch.enable_grad():
        at = x.detach().clone()[None].requires_grad_()
        (found,) = torch.autograd.grad(read(tail(at)).sum(), at)
    return found[0]


def unit_axis(x: Tensor) -> int:
    """The axis of one activation that counts its units."""
    return 1 if x.dim() == 2 else 0


def per_unit(values: Tensor) -> Tensor:
    """(C,): values of one activation, summed over the positions of each unit."""
    return values.movedim(unit_axis(values), 0).flatten(1).sum(1) if values.dim() > 1 else values


def logits_without(tail: Tail, x: Tensor, units: Sequence[int]) -> Tensor:
    """(len(units), C) logits of one activation x (...) with one unit set to 0, for each of these units: exact."""
    without = x.expand(len(units), *x.shape).clone()
    for row, unit in zip(without, units, strict=True):
        row.select(unit_axis(x), unit).zero_()
    with torch.no_grad():
        return logits_of(tail, without)
