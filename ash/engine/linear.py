"""Settings of a tail that is one linear map: what its three ways to evaluate them share.

A linear tail turns sums into sums, so with `sums` (J, R, C), the sum of x_i * row i of W^T over the k_j largest entries
of each sample, and `counts` likewise without x_i, all variants are one step away:

    ASH-P = sums + b      ASH-S = e^(s1/s2) * sums + b      ASH-B = s1/k * counts + b
    SCALE = e^(s1/s2) * (l - b) + b      LTS = (s1/s2)^2 * l, for the logits l of the unshaped activation

R samples at a time, D values a sample, F features (D / (H * W) of a pooled map), J distinct k, C classes. The ways:
`bands` for flat activations on a CPU, `pooled` for maps on a CPU, `masked` for a GPU.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ash.engine.plan import BEYOND, TIED, Setting
from ash.engine.steps import kept, undecided
from ash.scores.registry import product
from ash.shaping import beyond_range, react, scale_exponent, sum_ratio, uniform_noise
from ash.splitting import LinearTail

CHUNK_VALUES = 2**20  # activations taken at once, R * D; smaller chunks lose more to Python than caches give
CHUNK_SUMS = 2**22  # sums held at once, J * R * C
CHUNK_LOGITS = 2**20  # logits scored at once

Logits = Iterator[tuple[list[int], Tensor]]  # positions in the settings, and their logits (positions, R, C)


def running_sum(parts: Tensor) -> Tensor:
    """`parts.cumsum(0)`, in place: on a CPU 10 x torch.cumsum along the first axis."""
    for j in range(1, len(parts)):
        parts[j] += parts[j - 1]
    return parts


def rectified_ratio(x: Tensor, s2: Tensor, least: Tensor) -> Tensor:
    """LTS's s1/s2 (J, R) of max(x, 0) (R, D), from the sums s2 (J, R) of the k_j largest of x and the least of those.

    Where the least of them is negative all positive values are among them: both sums are that of these.
    """
    positive = x.clamp(min=0).sum(1, dtype=torch.float64)
    return sum_ratio(positive, torch.where(least < 0, positive, s2))


class LinearSettings(ABC):
    """Settings (variant, parameter) of one linear tail, ready to evaluate chunk by chunk. Threads may share it."""

    def __init__(
        self, tail: LinearTail, size: int, settings: Sequence[Setting], dtype: torch.dtype, device: torch.device
    ) -> None:
        """`size`: D, the values of one sample; more than the tail's features only where the tail pools over H, W.

        `settings` of at most one step each, which is one of RANKED or ReAct.
        """
        self.size, self.device, self.dtype, self.count = size, device, dtype, len(settings)
        self.limit = torch.finfo(dtype).max
        self.weight = tail.weight.to(device, dtype).T.contiguous()  # (F, C)
        self.bias = tail.bias.to(device, dtype)  # (C,)
        self.area = size // len(self.weight)  # H * W of a pooled tail, else 1
        self.clips = {i: s[0].parameter if s else None for i, s in enumerate(settings) if not s or s[0].name == "react"}
        self.kept = {i: kept(s[0], size) for i, s in enumerate(settings) if i not in self.clips}
        self.empty = [i for i, k in self.kept.items() if k == 0]  # nothing survives: the bias alone
        self.cuts = np.array(sorted(set(self.kept.values()) - {0}) or [1])  # (J,) every k_j
        self.groups: dict[str, list[int]] = {}  # variant -> its settings, by k
        for i in sorted(self.kept, key=self.kept.__getitem__):
            if self.kept[i]:
                self.groups.setdefault(settings[i][0].name, []).append(i)
        self.placed = {variant: self._placed(group) for variant, group in self.groups.items()}
        self.rows = max(1, min(CHUNK_VALUES // size, CHUNK_SUMS // (len(self.cuts) * len(self.bias))))

    def logits(self, x: Tensor, first_index: int = 0, doubts: Tensor | None = None) -> Logits:
        """For x (R, ...): positions in the settings and their logits, until all settings are done.

        `first_index`: the index of x[0] in its data set, for ASH-RAND. Into `doubts` (settings, R), uint8, the bits of
        `plan` are set where a result is doubtful.
        """
        x = x.flatten(1)
        if doubts is None:
            doubts = torch.zeros((self.count, len(x)), dtype=torch.uint8, device=x.device)
        for position, threshold in self.clips.items():
            shaped = x if threshold is None else react(x, threshold)
            yield [position], (self._product(shaped) + self.bias)[None]
        if self.empty:
            yield self.empty, self.bias.expand(len(self.empty), len(x), -1)
        if self.groups:
            yield from self._shaped(x, first_index, doubts)

    def _features(self, x: Tensor) -> Tensor:
        """(R, F): x (R, D), pooled where the tail pools."""
        return x.reshape(len(x), -1, self.area).mean(2) if self.area > 1 else x

    @abstractmethod
    def _shaped(self, x: Tensor, first_index: int, doubts: Tensor) -> Logits:
        """For x (R, D): the settings that prune and keep something."""

    def _tied(self, doubts: Tensor, ties: Tensor) -> None:
        """Note the cuts (J, R) that fall among equals, of NO_TIE, ZEROS, VALUES, where that decides."""
        for variant, (group, cuts) in self.placed.items():
            doubts[group] |= (ties > undecided(variant)).to(torch.uint8)[cuts] * TIED

    def _beyond(self, variant: str, doubts: Tensor, s1: Tensor, s2: Tensor, peak: Tensor) -> None:
        """Note the exponents (J, R) of ASH-S or SCALE that are clamped."""
        if variant in self.placed:
            group, cuts = self.placed[variant]
            doubts[group] |= beyond_range(s1, s2, peak, self.dtype).to(torch.uint8)[cuts] * BEYOND

    def _scaling(self, x: Tensor, sums: Tensor | None, s1: Tensor, s2: Tensor, least: Tensor, doubts: Tensor) -> Logits:
        """SCALE and LTS of x (R, D) with sums s1 (R,) and s2 (J, R); `least` (J, R): the smallest kept, if negative.

        `sums` (R, C): the logits of x without the bias, where they are known.
        """
        whole = (self._product(x) if sums is None else sums).expand(len(self.cuts), -1, -1)  # (J, R, C)
        if "scale" in self.groups:
            peak = x.abs().amax(1)
            self._beyond("scale", doubts, s1, s2, peak)
            yield from self._at_cuts("scale", whole, scale_exponent(s1, s2, peak, self.dtype).exp())
        if "lts" in self.groups:
            factor = rectified_ratio(x, s2, least).square()
            yield from self._at_cuts("lts", (whole[0] + self.bias).expand_as(whole), factor, biased=True)

    def _placed(self, group: list[int]) -> tuple[Tensor, Tensor]:
        """These settings, and the position in `cuts` of each; on the device, which is then not waited for."""
        cuts = torch.from_numpy(np.searchsorted(self.cuts, [self.kept[i] for i in group]))
        return torch.tensor(group).to(self.device), cuts.to(self.device)

    def _at_cuts(self, variant: str, sums: Tensor, factor: Tensor | None = None, biased: bool = False) -> Logits:
        """factor (J, R) * sums (J, R, C) + bias for the variant's settings, as many at a time as the cache holds.

        `biased` sums have the bias in them already.
        """
        group = self.groups.get(variant, [])
        step = max(1, CHUNK_LOGITS // sums[0].numel())
        for some in (group[i : i + step] for i in range(0, len(group), step)):
            at = np.searchsorted(self.cuts, [self.kept[i] for i in some])
            pick = slice(at[0], at[-1] + 1) if (np.diff(at) == 1).all() else torch.from_numpy(at)
            if factor is None:
                yield some, sums[pick] + self.bias
            elif biased:
                yield some, sums[pick] * self._finite(factor[pick])[:, :, None]
            else:
                yield some, torch.addcmul(self.bias, sums[pick], self._finite(factor[pick])[:, :, None])

    def _product(self, weights: Tensor) -> Tensor:
        """(R, C): weights (R, D), pooled where the tail pools, times W^T."""
        return product(self._features(weights), self.weight)

    def _shared(self, positions: list[int] | None, sums: Tensor, factor: Tensor | None = None) -> Logits:
        """factor (R,) * sums (R, C) + bias, the same for all these positions; nothing where there are none."""
        if positions:
            if factor is None:
                logits = sums + self.bias
            else:
                logits = torch.addcmul(self.bias, sums, self._finite(factor)[:, None])
            yield positions, logits.expand(len(positions), -1, -1)

    def _finite(self, factor: Tensor) -> Tensor:
        """A float64 factor in this dtype: too large a one times a sum of 0 would be NaN."""
        return factor.clamp(-self.limit, self.limit).to(self.dtype)

    def _noise(self, x: Tensor, first_index: int) -> Tensor:
        """(R, D): what ASH-RAND writes into the samples of x."""
        noise = uniform_noise(np.arange(first_index, first_index + len(x)), self.size, seed=0)
        return torch.from_numpy(noise).to(x)
