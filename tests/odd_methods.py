"""Plug-in methods that are no ASH: the guide's SCALE, and ones that negate, add noise, clip from below and permute."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from ash import ash_p, register_method
from ash.variants import forget_method


def scale(x: Tensor, p: float) -> Tensor:
    """The guide's SCALE."""
    ratio = (x.flatten(1).sum(1) / ash_p(x, p).flatten(1).sum(1)).nan_to_num(1)
    return x * ratio.exp().view(-1, *[1] * (x.dim() - 1))


def negate(x: Tensor, p: float) -> Tensor:
    """Every value with the other sign."""
    return -x


def noise(x: Tensor, p: float) -> Tensor:
    """A value of its own added at every place, the same for all samples."""
    return x + torch.linspace(0.1, 0.9, x[0].numel()).square().view(x[:1].shape)


def floor(x: Tensor, c: float) -> Tensor:
    """Clipped from below."""
    return x.clamp(min=c)


def permute(x: Tensor, p: float) -> Tensor:
    """The values of a sample in reverse order."""
    return x.flatten(1).flip(1).view(x.shape)


_FUNCTIONS = {
    "odd_scale": ("SCALE", "percentile", scale),
    "odd_negate": ("Negated", "percentile", negate),
    "odd_noise": ("Noisy", "percentile", noise),
    "odd_floor": ("Floor", "threshold", floor),
    "odd_permute": ("Permuted", "percentile", permute),
}
ODD = {"odd_scale@85": scale, "odd_negate@50": negate, "odd_noise@50": noise, "odd_floor@0.5": floor,
       "odd_permute@50": permute}  # fmt: skip


@contextmanager
def registered() -> Iterator[None]:
    """The odd methods, for one test."""
    for name, (label, kind, function) in _FUNCTIONS.items():
        register_method(name, label, kind)(function)  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in _FUNCTIONS:
            forget_method(name)
