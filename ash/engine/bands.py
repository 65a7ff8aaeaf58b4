"""ASH at every percentile in one pass over flat activations, on a CPU, for a tail that is one linear map.

Sort a sample once and what survives at any percentile is a prefix of it; the prefix of length k_j is the previous one
plus a *band*. Each value is multiplied into the logits once, in its band, and adding up the bands gives the logits at
every percentile: the work hardly grows with their number.

    x (R, D) --sort--> values, index --sum of each band--> (J, R, C) --running sum--> (J, R, C) for every k_j

Sorted values and indices are kept flat, *band by band*: all samples' first band, then all samples' second band, ...
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding_bag

from ash.engine import plan
from ash.engine.linear import LinearSettings, Logits, running_sum
from ash.engine.plan import Setting
from ash.shaping import scale_exponent, tie_kinds
from ash.splitting import LinearTail
from ash.variants import SCALING

CLASS_BLOCK = 96  # columns of W^T used at once: 2048 rows of them are 768 KiB and stay in a 1 MiB L2 cache


def sort_keys(x: NDArray[np.float32]) -> NDArray[np.int64]:
    """For x (R, D) keys whose ascending order is: largest value first, lowest column first among equals. Sorted.

    Value and column share one int64, so that numpy's SIMD sort orders both at once, 2 x faster than torch.sort.
    """
    keys = np.empty(x.shape, "<i8")
    low, high = np.moveaxis(keys.view("<i4").reshape(*x.shape, 2), -1, 0)  # the two halves of every key, (R, D) each
    low[:] = np.arange(x.shape[1])
    np.invert(_monotone((x + np.float32(0)).view(np.int32)), out=high)  # adding 0 makes -0.0 equal to 0.0
    keys.sort(axis=1)
    return keys


def unpack(keys: Tensor) -> tuple[Tensor, Tensor]:
    """The values (float32) and columns (int32) of flat keys."""
    low, high = keys.numpy().view("<i4").reshape(-1, 2).T
    return torch.from_numpy(_monotone(~high).view(np.float32)), torch.from_numpy(low.copy())


def _monotone(bits: NDArray[np.int32]) -> NDArray[np.int32]:
    """float32 bit patterns as integers in the same order: negative ones count backwards. Its own inverse."""
    flip = bits >> 31
    flip &= 0x7FFFFFFF
    flip ^= bits
    return flip


class Bands(LinearSettings):
    """Settings of one linear tail for activations with one value a feature."""

    def __init__(
        self, tail: LinearTail, size: int, settings: Sequence[Setting], dtype: torch.dtype, device: torch.device
    ) -> None:
        super().__init__(tail, size, settings, dtype, device)
        self.starts = np.append(0, self.cuts[:-1])  # (J,) band j of a sorted sample is starts[j]:cuts[j]
        self.lengths = self.cuts - self.starts
        self.blocks = [block.contiguous() for block in self.weight.split(CLASS_BLOCK, dim=1)]

    def _shaped(self, x: Tensor, first_index: int, doubts: Tensor) -> Logits:
        values, index, beyond = self._sorted(x)
        s1 = x.sum(1, dtype=torch.float64)  # (R,)
        first = self._bag_starts(len(x))  # (J, R)
        least = values[first + torch.from_numpy(self.lengths)[:, None] - 1]  # (J, R) the smallest value kept
        self._tied(doubts, tie_kinds(least == torch.cat([values[first[1:]], beyond[None]]), least))
        whole = None  # (R, C) the sums over all entries
        s2 = self._kept_sums(values, first) if self.groups.keys() & {"ash_s", *SCALING} else s1
        if self.groups.keys() & {"ash_p", "ash_s"}:
            sums = self._prefix_sums(len(x), index, values)
            whole = sums[-1] if beyond.nan_to_num().max() <= 0 <= x.min() else None  # the rest are zeros
            yield from self._at_cuts("ash_p", sums)
            if "ash_s" in self.groups:
                peak = torch.maximum(values[first[0]].abs(), least.abs())
                self._beyond("ash_s", doubts, s1, s2, peak)
                yield from self._at_cuts("ash_s", sums, scale_exponent(s1, s2, peak, self.dtype).exp())
        if self.groups.keys() & {*SCALING}:
            yield from self._scaling(x, whole, s1, s2, least, doubts)
        if "ash_b" in self.groups:
            counts = self._prefix_sums(len(x), index)
            yield from self._at_cuts("ash_b", counts, s1 / torch.from_numpy(self.cuts)[:, None])
        if "ash_rand" in self.groups:
            sample = self._by_band(torch.arange(len(x))[:, None].expand(-1, self.size))
            drawn = self._noise(x, first_index)[sample, index.long()]
            yield from self._at_cuts("ash_rand", self._prefix_sums(len(x), index, drawn))

    def _sorted(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values and indices of x (R, D) from high to low, lowest index first among equals, flat and band by band.

        And the first value (R,) that no k keeps, NaN where all are kept.
        """
        most = int(self.cuts[-1])
        none = torch.full((len(x),), torch.nan, dtype=x.dtype)
        if x.dtype == torch.float32:
            keys = torch.from_numpy(sort_keys(x.numpy()))
            beyond = unpack(keys[:, most].contiguous())[0] if most < self.size else none
            return *unpack(self._by_band(keys)), beyond
        values, index = torch.sort(x, dim=1, descending=True, stable=True)
        beyond = values[:, most] if most < self.size else none
        return self._by_band(values), self._by_band(index), beyond

    def _by_band(self, a: Tensor) -> Tensor:
        """(R, D) -> flat: all samples' first band, then all samples' second band, ..."""
        flat = a.new_empty(len(a) * self.cuts[-1])
        for start, end in zip(self.starts, self.cuts, strict=True):
            flat[start * len(a) : end * len(a)].view(len(a), -1).copy_(a[:, start:end])
        return flat

    def _bag_starts(self, rows: int) -> Tensor:
        """(J, R): where band j of sample r begins in the flat arrays."""
        return torch.from_numpy(self.starts[:, None] * rows + np.arange(rows) * self.lengths[:, None])

    def _kept_sums(self, values: Tensor, first: Tensor) -> Tensor:
        """(J, R) float64: s2 of ASH-S, the sum of the first k_j values; `first` is where each band begins."""
        bands = np.add.reduceat(values.numpy(), first.flatten().numpy(), dtype=np.float64)
        return torch.from_numpy(bands).view(first.shape).cumsum(0)

    def _prefix_sums(self, rows: int, index: Tensor, weights: Tensor | None = None) -> Tensor:
        """(J, R, C): the sum of weight * row of W^T over the first k_j entries of each sample."""
        sums = self._bags(rows, index, weights)
        if len(self.bias) < plan.FEW:
            sums = sums.permute(2, 0, 1).contiguous().permute(1, 2, 0)  # same axes, classes first in memory
        return running_sum(sums)

    def _bags(self, rows: int, index: Tensor, weights: Tensor | None) -> Tensor:
        """Sums of each band by `embedding_bag`, whose bag j * R + r is band j of sample r."""
        starts = self._bag_starts(rows).flatten().to(index.dtype)
        if weights is not None and len(self.bias) >= plan.FEW:  # a ReLU leaves half of the weights at zero: drop them
            used = weights.numpy() != 0
            before = np.cumsum(used, dtype=np.int32) - used  # how many stay before each
            index, weights = (torch.from_numpy(a.numpy()[used]) for a in (index, weights))
            starts = torch.from_numpy(before)[starts.long()].to(index.dtype)
        bags = [embedding_bag(index, block, starts, mode="sum", per_sample_weights=weights) for block in self.blocks]
        return (torch.cat(bags, dim=1) if len(bags) > 1 else bags[0]).view(len(self.cuts), rows, -1)
