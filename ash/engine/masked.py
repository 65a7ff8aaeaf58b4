"""A linear tail on a GPU: ranks from one sort, then for every k a mask and a matrix product.

The products do the work of one pass of the tail a setting, which is what a GPU is good at; nothing here waits for the
device. In float64 it also serves maps on a CPU.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ash.engine.linear import LinearSettings, Logits
from ash.engine.plan import Setting
from ash.shaping import scale_exponent, tie_kinds
from ash.splitting import LinearTail

GPU_VALUES = 2**25  # activations taken at once, R * D: about 1 GiB while they are sorted
GPU_LOGITS = 2**25  # logits of one setting, R * C


class MaskedProducts(LinearSettings):
    """Settings of one linear tail, one matrix product for each distinct k (two with ASH-B, which counts)."""

    def __init__(
        self, tail: LinearTail, size: int, settings: Sequence[Setting], dtype: torch.dtype, device: torch.device
    ) -> None:
        super().__init__(tail, size, settings, dtype, device)
        if device.type != "cpu":
            self.rows = max(1, min(GPU_VALUES // size, GPU_LOGITS // len(self.bias)))

    def _shaped(self, x: Tensor, first_index: int, doubts: Tensor) -> Logits:
        values, ranks = self._ranked(x)
        s1 = x.sum(1, dtype=torch.float64)  # (R,)
        least = values.T[self.cuts - 1]  # (J, R) the smallest value kept
        after = values.T[np.minimum(self.cuts, self.size - 1)]  # the largest one that is not, if there is one
        some = torch.from_numpy(self.cuts < self.size).to(x.device)[:, None]
        self._tied(doubts, tie_kinds(some & (least == after), least))
        sums2, peaks = torch.zeros_like(least, dtype=torch.float64), torch.ones_like(least)  # (J, R) of ASH-S
        noise = self._noise(x, first_index) if "ash_rand" in self.groups else x
        for j, k in enumerate(self.cuts.tolist()):
            at = {variant: [i for i in group if self.kept[i] == k] for variant, group in self.groups.items()}
            kept = ranks < k
            if at.get("ash_p") or at.get("ash_s"):
                pruned = torch.where(kept, x, 0.0)
                sums = self._product(pruned)
                yield from self._shared(at.get("ash_p"), sums)
                sums2[j] = pruned.sum(1, dtype=torch.float64)
                peaks[j] = torch.maximum(values[:, 0].abs(), least[j].abs())
                exponent = scale_exponent(s1, sums2[j], peaks[j], self.dtype)
                yield from self._shared(at.get("ash_s"), sums, exponent.exp())
            if at.get("ash_b"):
                yield from self._shared(at["ash_b"], self._product(kept.to(self.dtype)), s1 / k)
            if at.get("ash_rand"):
                yield from self._shared(at["ash_rand"], self._product(torch.where(kept, noise, 0.0)))
        self._beyond(doubts, s1, sums2, peaks)

    def _ranked(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Values (R, D) from high to low, and the rank (R, D) of every entry, the lowest index first among equals."""
        values, index = torch.sort(x, dim=1, descending=True, stable=True)
        order = torch.arange(self.size, dtype=torch.int32, device=x.device).expand_as(index)
        return values, torch.empty_like(index, dtype=torch.int32).scatter_(1, index, order)
