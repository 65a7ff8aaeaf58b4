"""Tails, ready to evaluate settings chunk by chunk: `Bands` for one linear map, `DeepTail` for anything else."""

import copy
import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, fx, nn

from ash.bands import Bands, Setting
from ash.methods import Method
from ash.splitting import LinearTail, linear_tail

BATCH_VALUES = 2**22  # activations that a deep tail gets at once
Place = str | torch.device | None


def evaluator_for(
    tail: nn.Module | LinearTail,
    features: tuple[int, ...],
    settings: Sequence[Setting],
    dtypes: set[np.dtype],
    place: Place = None,
) -> "Bands | DeepTail":
    """The evaluator of a tail for activations (n, *features); ValueError when they do not fit.

    `place` defaults to the tail's device. Linear tails compute in float64 where a bank is float64, else in float32.
    """
    dtype = torch.float64 if any(dtype.itemsize > 4 for dtype in dtypes) else torch.float32
    if isinstance(tail, nn.Linear):
        bias = torch.zeros(tail.out_features) if tail.bias is None else tail.bias.detach()
        tail = LinearTail(tail.weight.detach(), bias, pooled=False)
    elif isinstance(tail, fx.GraphModule):
        tail = linear_tail(tail) or tail
    if not isinstance(tail, LinearTail):
        return DeepTail(tail, features, settings, dtype, place)
    expected = tail.weight.shape[1]
    fits = len(features) == 3 and features[0] == expected if tail.pooled else math.prod(features) == expected
    if not fits:
        form = f"({expected}, H, W)" if tail.pooled else f"({expected},)"
        raise ValueError(f"A sample's activation has the shape {features}, the tail takes {form}.")
    device = torch.device(tail.weight.device if place is None else place)
    return Bands(tail, math.prod(features), settings, dtype, device if device.type == "cuda" else torch.device("cpu"))


class DeepTail:
    """Settings of any tail, with the interface of `Bands`: the tail runs once for each setting."""

    def __init__(
        self, tail: nn.Module, features: tuple[int, ...], settings: Sequence[Setting], dtype: torch.dtype, place: Place
    ) -> None:
        weights = next(tail.parameters(), torch.empty(0, dtype=dtype))
        self.dtype, self.device = weights.dtype, torch.device(weights.device if place is None else place)
        if weights.device != self.device:
            tail = copy.deepcopy(tail).to(self.device)  # a tail shares its weights with the model: never move those
        self.tail = tail
        self.methods = [Method(*setting) for setting in settings]
        self.rows = max(1, min(256, BATCH_VALUES // math.prod(features)))
        try:
            with torch.inference_mode():
                tail(torch.zeros(1, *features, dtype=self.dtype, device=self.device))
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"The tail does not take activations of the shape {features}: {reason}") from error

    def logits(self, x: Tensor, first_index: int = 0) -> Iterator[tuple[list[int], Tensor]]:
        """For x (R, ...): the position of a setting and its logits (1, R, C), one setting after another."""
        for position, method in enumerate(self.methods):
            yield [position], self.tail(method.shape(x, first_index))[None]
