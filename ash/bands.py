"""ASH at every percentile in one pass over the activations, for a tail that is one linear map.

Sort a sample once and what survives at any percentile is a prefix of it; the prefix of length k_j is the previous one
plus a *band*. A linear tail turns sums into sums, so each value is multiplied into the logits once, in its band, and
adding up the bands gives the logits at every percentile: the work hardly grows with their number.

    x (R, D) --sort--> values, index --sum of each band--> (J, R, C) --running sum--> (J, R, C) for every k_j

ASH-P weighs row i of W^T by x_i; ASH-S is e^r times that; ASH-B weighs by 1 and multiplies by s1/k; ASH-RAND weighs by
its noise. R samples at a time, D values a sample, J distinct k, C classes. Sorted values and indices are kept flat,
*band by band*: all samples' first band, then all samples' second band, ...
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding_bag

from ash.shaping import kept_count, react, scale_exponent, uniform_noise
from ash.splitting import LinearTail

Setting = tuple[str, float | None]  # variant, parameter: a method without its score

CLASS_BLOCK = 96  # columns of W^T used at once: 2048 rows of them are 768 KiB and stay in a 1 MiB L2 cache
CHUNK_VALUES = 2**20  # activations sorted at once, R * D; smaller chunks lose more to Python than caches give
CHUNK_SUMS = 2**22  # band sums held at once, J * R * C
CHUNK_LOGITS = 2**20  # logits scored at once
FEW = 64  # fewer classes than this are laid out first, (C, J, R): short rows are slow to add up


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


def fast_energy(logits: Tensor) -> Tensor:
    """`scores.energy` of logits (..., C), on a CPU in half the time: numpy's exp, and few classes laid out first."""
    if logits.device.type != "cpu":
        return torch.logsumexp(logits, -1)
    axis = 0 if logits.shape[-1] < FEW else -1
    z = logits.movedim(-1, 0).contiguous() if axis == 0 else logits
    limit = torch.finfo(z.dtype).max
    top = z.amax(axis).clamp_(-limit, limit)  # inf - inf would be NaN
    z = z - top.unsqueeze(axis)
    np.exp(z.numpy(), out=z.numpy())
    return z.sum(axis).log_().add_(top)


def predictions(logits: Tensor) -> NDArray[np.integer]:
    """The class with the largest logit, for logits (..., C); on a CPU 10 x torch.argmax."""
    classes = logits.shape[-1]
    if logits.device.type != "cpu":
        return logits.argmax(-1).cpu().numpy()
    if classes >= FEW:
        return logits.numpy().argmax(-1)
    z = logits.movedim(-1, 0)  # the first of the largest ones is the one with most classes from it to the end
    to_end = torch.arange(classes, 0, -1, dtype=torch.uint8).view(-1, *[1] * (z.dim() - 1))
    return classes - ((z == z.amax(0)).to(torch.uint8) * to_end).amax(0).clamp_(min=1).numpy()


class Bands:
    """Settings (variant, parameter) of one linear tail, ready to evaluate chunk by chunk. Threads may share it."""

    def __init__(
        self, tail: LinearTail, size: int, settings: Sequence[Setting], dtype: torch.dtype, device: torch.device
    ) -> None:
        """`size`: D, the values of one sample; more than the tail's features only where the tail pools over H, W."""
        self.size, self.device, self.dtype = size, device, dtype
        self.weight = tail.weight.to(device, dtype).T.contiguous()  # (F, C)
        self.bias = tail.bias.to(device, dtype)  # (C,)
        self.area = size // len(self.weight)  # H * W of a pooled tail, else 1
        self.dense = device.type != "cpu" or self.area > 1
        self.blocks = [block.contiguous() for block in self.weight.split(CLASS_BLOCK, dim=1)]
        self.parameters = [parameter for _, parameter in settings]
        self.plain = [i for i, (variant, _) in enumerate(settings) if variant in ("none", "react")]
        percentiles = {i: p for i, p in enumerate(self.parameters) if p is not None and i not in self.plain}
        self.kept = {i: kept_count(size, p) for i, p in percentiles.items()}
        self.cuts = np.array(sorted(set(self.kept.values()) - {0}) or [1])  # (J,) every k_j; band j is starts:cuts
        self.starts = np.append(0, self.cuts[:-1])
        self.lengths = self.cuts - self.starts
        self.groups: dict[str, list[int]] = {}  # variant -> its settings, by k
        for i in sorted(self.kept, key=self.kept.__getitem__):
            self.groups.setdefault(settings[i][0], []).append(i)
        self.scale = 1 if device.type == "cpu" else 4  # a GPU wants larger pieces
        rows = min(CHUNK_VALUES // size, CHUNK_SUMS // (len(self.cuts) * len(self.bias)))
        self.rows = max(1, rows * self.scale)

    def logits(self, x: Tensor, first_index: int = 0) -> Iterator[tuple[list[int], Tensor]]:
        """For x (R, ...): positions in the settings and their logits (positions, R, C), until all settings are done."""
        x = x.flatten(1)
        for position in self.plain:
            threshold = self.parameters[position]
            shaped = x if threshold is None else react(x, threshold)
            pooled = shaped.reshape(len(x), -1, self.area).mean(2) if self.area > 1 else shaped
            yield [position], torch.addmm(self.bias, pooled, self.weight)[None]
        if not self.groups:
            return
        values, index = self._sorted(x)
        s1 = x.sum(1, dtype=torch.float64)  # (R,)
        if self.groups.keys() & {"ash_p", "ash_s"}:
            sums = self._prefix_sums(len(x), index, values)
            yield from self._settings("ash_p", sums)
            if "ash_s" in self.groups:  # logits_S = e^r (logits_P - b) + b
                yield from self._settings("ash_s", sums, self._exponents(values, s1).exp())
        if "ash_b" in self.groups:
            counts = torch.from_numpy(self.cuts).to(self.device)[:, None]
            yield from self._settings("ash_b", self._prefix_sums(len(x), index), s1 / counts)
        if "ash_rand" in self.groups:
            noise = uniform_noise(np.arange(first_index, first_index + len(x)), self.size, seed=0)
            sample = self._by_band(torch.arange(len(x), device=self.device)[:, None].expand(-1, self.size))
            drawn = torch.from_numpy(noise).to(x)[sample, index.long()]
            yield from self._settings("ash_rand", self._prefix_sums(len(x), index, drawn))

    def _settings(self, variant: str, sums: Tensor, factor: Tensor | None = None) -> Iterator[tuple[list[int], Tensor]]:
        """factor (J, R) * sums (J, R, C) + bias for the variant's settings, as many at a time as the cache holds."""
        group = self.groups.get(variant, [])
        step = max(1, self.scale * CHUNK_LOGITS // sums[0].numel())
        for some in (group[i : i + step] for i in range(0, len(group), step)):
            at = np.searchsorted(self.cuts, [self.kept[i] for i in some])
            pick = slice(at[0], at[-1] + 1) if (np.diff(at) == 1).all() else torch.from_numpy(at).to(self.device)
            if factor is None:
                logits = sums[pick] + self.bias
            else:
                logits = torch.addcmul(self.bias, sums[pick], factor[pick].to(self.dtype)[:, :, None])
            for nothing in (row for i, row in zip(some, logits, strict=True) if self.kept[i] == 0):
                nothing[:] = self.bias
            yield some, logits

    def _sorted(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Values and indices of x (R, D) from high to low, lowest index first among equals, flat and band by band."""
        if self.device.type == "cpu" and x.dtype == torch.float32:
            return unpack(self._by_band(torch.from_numpy(sort_keys(x.numpy()))))
        values, index = torch.sort(x, dim=1, descending=True, stable=True)
        return self._by_band(values), self._by_band(index)

    def _by_band(self, a: Tensor) -> Tensor:
        """(R, D) -> flat: all samples' first band, then all samples' second band, ..."""
        flat = a.new_empty(len(a) * self.cuts[-1])
        for start, end in zip(self.starts, self.cuts, strict=True):
            flat[start * len(a) : end * len(a)].view(len(a), -1).copy_(a[:, start:end])
        return flat

    def _bag_starts(self, rows: int) -> Tensor:
        """(J, R): where band j of sample r begins in the flat arrays."""
        return torch.from_numpy(self.starts[:, None] * rows + np.arange(rows) * self.lengths[:, None])

    def _exponents(self, values: Tensor, s1: Tensor) -> Tensor:
        """(J, R) float64: s1/s2 of ASH-S, clamped as in `ash_s`. The largest magnitude is at an end of the prefix."""
        first = self._bag_starts(len(s1))
        last = (first + torch.from_numpy(self.lengths)[:, None] - 1).to(self.device)
        peak = torch.maximum(values[first[0].to(self.device)].abs(), values[last].abs())
        if self.device.type == "cpu":
            s2 = torch.from_numpy(np.add.reduceat(values.numpy(), first.flatten().numpy(), dtype=np.float64))
        else:
            bands = values.split((self.lengths * len(s1)).tolist())
            s2 = torch.cat([band.view(len(s1), -1).sum(1, dtype=torch.float64) for band in bands])
        return scale_exponent(s1, s2.view(last.shape).cumsum(0), peak, self.dtype)

    def _prefix_sums(self, rows: int, index: Tensor, weights: Tensor | None = None) -> Tensor:
        """(J, R, C): the sum of weight * row of W^T over the first k_j entries of each sample."""
        sums = (self._dense if self.dense else self._bags)(rows, index, weights)
        if len(self.bias) < FEW:
            sums = sums.permute(2, 0, 1).contiguous().permute(1, 2, 0)  # same axes, classes first in memory
        for j in range(1, len(sums)):  # a running sum in place is 10 x torch.cumsum along the first axis
            sums[j] += sums[j - 1]
        return sums

    def _bags(self, rows: int, index: Tensor, weights: Tensor | None) -> Tensor:
        """Sums of each band by `embedding_bag`, whose bag j * R + r is band j of sample r."""
        starts = self._bag_starts(rows).flatten().to(index.dtype)
        if weights is not None and len(self.bias) >= FEW:  # a ReLU leaves half of the weights at zero: drop them
            used = weights.numpy() != 0
            before = np.cumsum(used, dtype=np.int32) - used  # how many stay before each
            index, weights = (torch.from_numpy(a.numpy()[used]) for a in (index, weights))
            starts = torch.from_numpy(before)[starts.long()].to(index.dtype)
        bags = [embedding_bag(index, block, starts, mode="sum", per_sample_weights=weights) for block in self.blocks]
        return (torch.cat(bags, dim=1) if len(bags) > 1 else bags[0]).view(len(self.cuts), rows, -1)

    def _dense(self, rows: int, index: Tensor, weights: Tensor | None) -> Tensor:
        """The same of each band by a matrix product: bands scattered back to their features, (J, R, F) @ (F, C)."""
        channel = index.long() // self.area
        weights = torch.ones_like(channel, dtype=self.dtype) if weights is None else weights
        bands = torch.zeros(len(self.cuts), rows, len(self.weight), dtype=self.dtype, device=self.device)
        for band, start, end in zip(bands, self.starts * rows, self.cuts * rows, strict=True):
            band.scatter_add_(1, channel[start:end].view(rows, -1), weights[start:end].view(rows, -1))
        return bands.div_(self.area) @ self.weight
