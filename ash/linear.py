"""Settings of a tail that is one linear map: what its three ways to evaluate them share.

A linear tail turns sums into sums, so with `sums` (J, R, C), the sum of x_i * row i of W^T over the k_j largest entries
of each sample, and `counts` likewise without x_i, all variants are one step away:

    ASH-P = sums + b      ASH-S = e^(s1/s2) * sums + b      ASH-B = s1/k * counts + b

R samples at a time, D values a sample, F features (D / (H * W) of a pooled map), J distinct k, C classes. The ways:
`bands` for flat activations on a CPU, `pooled` for maps on a CPU, `masked` for a GPU.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ash.plan import Setting
from ash.shaping import kept_count, react, uniform_noise
from ash.splitting import LinearTail

CHUNK_VALUES = 2**20  # activations taken at once, R * D; smaller chunks lose more to Python than caches give
CHUNK_SUMS = 2**22  # sums held at once, J * R * C
CHUNK_LOGITS = 2**20  # logits scored at once

Logits = Iterator[tuple[list[int], Tensor]]  # positions in the settings, and their logits (positions, R, C)


class LinearSettings(ABC):
    """Settings (variant, parameter) of one linear tail, ready to evaluate chunk by chunk. Threads may share it."""

    def __init__(
        self, tail: LinearTail, size: int, settings: Sequence[Setting], dtype: torch.dtype, device: torch.device
    ) -> None:
        """`size`: D, the values of one sample; more than the tail's features only where the tail pools over H, W."""
        self.size, self.device, self.dtype = size, device, dtype
        self.weight = tail.weight.to(device, dtype).T.contiguous()  # (F, C)
        self.bias = tail.bias.to(device, dtype)  # (C,)
        self.area = size // len(self.weight)  # H * W of a pooled tail, else 1
        self.parameters = [parameter for _, parameter in settings]
        self.plain = [i for i, (variant, _) in enumerate(settings) if variant in ("none", "react")]
        percentiles = {i: p for i, p in enumerate(self.parameters) if p is not None and i not in self.plain}
        self.kept = {i: kept_count(size, p) for i, p in percentiles.items()}
        self.empty = [i for i, k in self.kept.items() if k == 0]  # nothing survives: the bias alone
        self.cuts = np.array(sorted(set(self.kept.values()) - {0}) or [1])  # (J,) every k_j
        self.groups: dict[str, list[int]] = {}  # variant -> its settings, by k
        for i in sorted(self.kept, key=self.kept.__getitem__):
            if self.kept[i]:
                self.groups.setdefault(settings[i][0], []).append(i)
        self.rows = max(1, min(CHUNK_VALUES // size, CHUNK_SUMS // (len(self.cuts) * len(self.bias))))

    def logits(self, x: Tensor, first_index: int = 0) -> Logits:
        """For x (R, ...): positions in the settings and their logits, until all settings are done.

        `first_index`: the index of x[0] in its data set, for ASH-RAND.
        """
        x = x.flatten(1)
        for position in self.plain:
            threshold = self.parameters[position]
            shaped = x if threshold is None else react(x, threshold)
            pooled = shaped.reshape(len(x), -1, self.area).mean(2) if self.area > 1 else shaped
            yield [position], torch.addmm(self.bias, pooled, self.weight)[None]
        if self.empty:
            yield self.empty, self.bias.expand(len(self.empty), len(x), -1)
        if self.groups:
            yield from self._shaped(x, first_index)

    @abstractmethod
    def _shaped(self, x: Tensor, first_index: int) -> Logits:
        """For x (R, D): the settings that prune and keep something."""

    def _at_cuts(self, variant: str, sums: Tensor, factor: Tensor | None = None) -> Logits:
        """factor (J, R) * sums (J, R, C) + bias for the variant's settings, as many at a time as the cache holds."""
        group = self.groups.get(variant, [])
        step = max(1, CHUNK_LOGITS // sums[0].numel())
        for some in (group[i : i + step] for i in range(0, len(group), step)):
            at = np.searchsorted(self.cuts, [self.kept[i] for i in some])
            pick = slice(at[0], at[-1] + 1) if (np.diff(at) == 1).all() else torch.from_numpy(at)
            if factor is None:
                yield some, sums[pick] + self.bias
            else:
                yield some, torch.addcmul(self.bias, sums[pick], factor[pick].to(self.dtype)[:, :, None])

    def _noise(self, x: Tensor, first_index: int) -> Tensor:
        """(R, D): what ASH-RAND writes into the samples of x."""
        noise = uniform_noise(np.arange(first_index, first_index + len(x)), self.size, seed=0)
        return torch.from_numpy(noise).to(x)
