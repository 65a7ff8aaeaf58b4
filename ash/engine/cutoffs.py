"""What survives of a sample at any k, in two numbers: so that no percentile after the first has to sort again."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ash.shaping import NO_TIE, tie_kinds


class Cutoffs:
    """Of n samples with D values, for J distinct k: the smallest value kept, and up to which index its equals are kept.

    And what is equal on both sides of the cut. 9 * n * J bytes, filled chunk by chunk as the samples are first seen.
    """

    def __init__(self, n: int, size: int, cuts: Sequence[int], dtype: torch.dtype, device: torch.device) -> None:
        """`cuts`: the k that will be asked for, each in 1 .. `size` (D)."""
        self.size, self.cuts = size, list(cuts)
        self.value = torch.empty(n, len(cuts), dtype=dtype, device=device)
        self.last = torch.empty(n, len(cuts), dtype=torch.int32, device=device)
        self.ties = torch.zeros(n, len(cuts), dtype=torch.uint8, device=device)  # of NO_TIE, ZEROS, VALUES
        self.positive = torch.zeros(n, dtype=torch.int32)  # values > 0; size + 1 for a sample with negative ones
        self.known = np.zeros(n, bool)
        self._index = torch.arange(size, dtype=torch.int32, device=device)

    def add(self, rows: slice, x: Tensor) -> None:
        """Learn these samples, x (R, ...)."""
        flat = x.flatten(1)
        ordered = _sorted(flat)
        begins = [self.size - k for k in self.cuts]  # where the k largest values begin
        at = torch.tensor(begins, dtype=torch.int64, device=x.device)
        value = ordered[:, at]
        last = torch.full_like(value, self.size, dtype=torch.int32)
        surplus = (at > 0) & (ordered[:, (at - 1).clamp(min=0)] == value)  # (R, J) an equal value is not kept
        for j in surplus.any(0).nonzero().flatten().tolist():
            some = surplus[:, j]
            least = value[some, j, None]
            room = self.cuts[j] - (flat[some] > least).sum(1, keepdim=True, dtype=torch.int32)
            order = (flat[some] == least).cumsum(1, dtype=torch.int32)  # 1 from the first equal value on, then 2, ...
            last[some, j] = (order < room).sum(1, dtype=torch.int32)
        self.value[rows], self.last[rows], self.ties[rows] = value, last, tie_kinds(surplus, value)
        positive = (ordered > 0).sum(1, dtype=torch.int32)
        self.positive[rows] = torch.where(ordered[:, 0] < 0, self.size + 1, positive).cpu()
        self.known[rows] = True

    def mask(self, rows: slice, x: Tensor, k: int) -> Tensor:
        """`kept_mask` of these samples, x (R, ...), at k in 0 .. D."""
        if k in (0, self.size):
            return torch.full_like(x, k > 0, dtype=torch.bool)
        j = self.cuts.index(k)
        flat, value, last = x.flatten(1), self.value[rows, j, None], self.last[rows, j, None]
        return ((flat > value) | ((flat == value) & (self._index <= last))).view(x.shape)

    def ties_of(self, rows: slice, k: int) -> Tensor:
        """`ties_at_cut` of these samples at k in 0 .. D."""
        if k in (0, self.size):
            return self.ties.new_full((len(self.ties[rows]),), NO_TIE)
        return self.ties[rows, self.cuts.index(k)]


def _sorted(flat: Tensor) -> Tensor:
    """Rows from low to high. numpy's SIMD sort takes a fifth of torch's time on a CPU."""
    if flat.device.type == "cpu" and flat.dtype in (torch.float32, torch.float64):
        return torch.from_numpy(np.sort(flat.numpy(), axis=1))
    return flat.sort(dim=1).values
