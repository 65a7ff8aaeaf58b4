"""ASH at every percentile in one pass over maps (F, H, W), on a CPU, for a tail that pools over H, W and is linear.

A map has so many values (100,352 at the end of a ResNet-50) that sorting them would cost more than the products with
the weights. What is needed is less: the *band* of each entry, j where its rank lies in k_(j-1) .. k_j. The upper 16
bits of a float, its *code*, give the band by counting, except for the few codes in which some k_j falls; their entries
alone are sorted. Then every band is summed over each channel, and W comes last:

    x (R, D) --count codes--> band of each entry --sum over H, W--> (J, R, F) --running sum, W^T--> (J, R, C)
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ash.engine.bands import sort_keys, unpack
from ash.engine.linear import LinearSettings, Logits, running_sum
from ash.engine.plan import Setting
from ash.shaping import VALUES, ZEROS, scale_exponent
from ash.splitting import LinearTail
from ash.variants import SCALING

CODES = 1 << 16
NEGATIVE = 1 << 15  # codes of negative values start here
FEW_VALUES = 1 << 13  # smaller maps are sorted whole: counting has a price of its own


class PooledBands(LinearSettings):
    """Settings of one linear tail behind a global average pool, for float32 maps."""

    def __init__(
        self, tail: LinearTail, size: int, settings: Sequence[Setting], dtype: torch.dtype, device: torch.device
    ) -> None:
        super().__init__(tail, size, settings, dtype, device)
        self.bins = len(self.cuts) + 1  # of a channel: one for each band and one for what no k keeps
        self.channel = torch.arange(len(self.weight)).repeat_interleave(self.area) * self.bins  # (D,) its first bin

    def _shaped(self, x: Tensor, first_index: int, doubts: Tensor) -> Logits:
        needs = {  # what is added up in each bin: the values for P, S, SCALE and LTS, how many for B, RAND's noise
            "value": (self.groups.keys() & {"ash_p", "ash_s", *SCALING}, lambda: x),
            "count": (self.groups.keys() & {"ash_b"}, lambda: torch.ones_like(x)),
            "noise": (self.groups.keys() & {"ash_rand"}, lambda: self._noise(x, first_index)),
        }
        weights = {name: make() for name, (wanted, make) in needs.items() if wanted}
        bins = {name: x.new_zeros(len(x), len(self.weight) * self.bins) for name in weights}
        last = np.empty((len(self.cuts), len(x)), np.float32)  # (J, R) the smallest value that each k_j keeps
        ties = np.zeros((len(self.cuts), len(x)), np.uint8)  # (J, R) of NO_TIE, ZEROS, VALUES
        for r in range(len(x)):
            at, last[:, r] = self._bin(x[r].numpy(), ties[:, r])
            for name, sums in bins.items():
                sums[r].scatter_add_(0, at, weights[name][r])
        self._tied(doubts, torch.from_numpy(ties))
        s1 = x.sum(1, dtype=torch.float64)  # (R,)
        if "value" in bins:
            prefixes = self._prefixes(bins.pop("value"))
            peak = torch.maximum(x.amax(1).abs(), torch.from_numpy(last).abs())
            s2 = prefixes.sum(2, dtype=torch.float64)
            if self.groups.keys() & {"ash_p", "ash_s"}:
                sums = self._products(prefixes)
                yield from self._at_cuts("ash_p", sums)
                self._beyond("ash_s", doubts, s1, s2, peak)
                yield from self._at_cuts("ash_s", sums, scale_exponent(s1, s2, peak, self.dtype).exp())
            if self.groups.keys() & {*SCALING}:
                yield from self._scaling(x, None, s1, s2, torch.from_numpy(last), doubts)
        if "count" in bins:
            factor = s1 / torch.from_numpy(self.cuts)[:, None]
            yield from self._at_cuts("ash_b", self._products(self._prefixes(bins.pop("count"))), factor)
        if "noise" in bins:
            yield from self._at_cuts("ash_rand", self._products(self._prefixes(bins.pop("noise"))))

    def _prefixes(self, bins: Tensor) -> Tensor:
        """(J, R, F): the sum over the first k_j entries of each channel, from sums in bins (R, F * (J + 1))."""
        return running_sum(bins.view(len(bins), -1, self.bins)[:, :, :-1].permute(2, 0, 1).contiguous())

    def _products(self, prefixes: Tensor) -> Tensor:
        """(J, R, C): pooled prefixes times W^T. What adds nothing, the zeros a ReLU left, is not multiplied again."""
        new = [j for j in range(len(prefixes)) if j == 0 or not torch.equal(prefixes[j], prefixes[j - 1])]
        distinct = prefixes if len(new) == len(prefixes) else prefixes[new]
        products = (distinct / self.area) @ self.weight
        return products if distinct is prefixes else products[np.searchsorted(new, range(len(prefixes)), "right") - 1]

    def _bin(self, x: NDArray[np.float32], ties: NDArray[np.uint8] | None = None) -> tuple[Tensor, NDArray[np.float32]]:
        """For a sample (D,): the bin of every entry (D,), and its k_j-th value (J,) or, where that is not known, 0.

        It is known where it is negative, and only there it can be what limits the exponent of ASH-S. Into `ties` (J,)
        goes what is equal on both sides of the cut at k_j, of NO_TIE, ZEROS, VALUES; it comes as NO_TIE.
        """
        ties = np.zeros(len(self.cuts), np.uint8) if ties is None else ties
        if len(x) < FEW_VALUES:
            bands = np.full(len(x), -1)
            last = self._split_codes(bands, x, np.zeros(1, np.int64), np.array([len(x)]), ties)
        else:
            bands, last = self._count(x, ties)
        return self.channel + torch.from_numpy(bands), last

    def _count(self, x: NDArray[np.float32], ties: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The band of every entry (D,), and the k_j-th values; sets the ties."""
        codes = _codes(x)
        counts = torch.bincount(codes, minlength=CODES).numpy()
        counts[0] += counts[NEGATIVE]  # 0.0 and -0.0 are one value
        counts[NEGATIVE] = 0
        present = np.flatnonzero(counts > 0)
        middle = np.searchsorted(present, NEGATIVE)
        present = np.concatenate([present[:middle][::-1], present[middle:]])  # from the largest value to the smallest
        size = counts[present]
        end = np.cumsum(size)
        start = end - size  # ranks of a code's entries: start .. end
        band, beyond = np.searchsorted(self.cuts, [start, end], "right")
        split = band != beyond  # some k_j lies in start + 1 .. end
        band[split] = -1
        table = np.empty(CODES, np.int64)
        table[present] = band
        table[NEGATIVE] = table[0]
        bands = torch.from_numpy(table).index_select(0, codes).numpy()
        zero = present == 0
        if (split & zero).any():
            begin, stop = int(start[zero][0]), int(end[zero][0])
            self._split_zeros(bands, codes.numpy(), begin)
            ties[(self.cuts > begin) & (self.cuts < stop)] = ZEROS
        return bands, self._split_codes(bands, x, start[split & ~zero], size[split & ~zero], ties)

    def _split_zeros(self, bands: NDArray[np.int64], codes: NDArray[np.int32], start: int) -> None:
        """Set the bands of the zeros, whose ranks are start, start + 1, ... in the order of their index."""
        zeros = np.flatnonzero(codes & (NEGATIVE - 1) == 0)
        filled = np.clip(self.cuts - start, 0, len(zeros))  # (J,) how many of them each k_j keeps
        bands[zeros] = np.repeat(np.arange(self.bins), np.diff(filled, prepend=0, append=len(zeros)))

    def _split_codes(
        self,
        bands: NDArray[np.int64],
        x: NDArray[np.float32],
        start: NDArray[np.int64],
        size: NDArray[np.int64],
        ties: NDArray[np.uint8],
    ) -> NDArray[np.float32]:
        """Set the bands that are still -1; the codes of those entries have these first ranks and sizes.

        Returns the k_j-th value (J,) where it is among these entries, otherwise 0; sets the ties at the cuts there.
        """
        last = np.zeros(len(self.cuts), np.float32)
        open_ = np.flatnonzero(bands < 0)
        if len(open_):
            values, column = (a.numpy() for a in unpack(torch.from_numpy(sort_keys(x[None, open_])).flatten()))
            rank = np.arange(len(open_)) + np.repeat(start - (np.cumsum(size) - size), size)
            bands[open_[column]] = np.searchsorted(self.cuts, rank, "right")
            at = np.searchsorted(rank, self.cuts - 1)
            found = rank.take(at, mode="clip") == self.cuts - 1
            last[found] = values[at[found]]
            padded = np.append(values, [np.nan, np.nan])
            tied = found & (padded[at] == padded[at + 1])  # the next is of another code where no k_j splits this one
            ties[tied] = np.where(last[tied] == 0, ZEROS, VALUES)
        return last


def _codes(x: NDArray[np.float32]) -> Tensor:
    """(D,) int32: sign and upper bits of each magnitude, rounded up: so zeros share their code with nothing else."""
    bits = x.view(np.uint32) + np.uint32(CODES - 1)
    bits >>= 16
    return torch.from_numpy(bits.view(np.int32))
