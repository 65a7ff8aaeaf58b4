"""A linear tail on a GPU: ranks from one sort, then for every k a mask and a matrix product.

The products do the work of one pass of the tail a setting, which is what a GPU is good at; nothing here waits for the
device. In float64 it also serves maps on a CPU.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ash.engine.linear import LinearSettings, Logits
from ash.engine.plan import Setting
from ash.shaping import scale_exponent, tie_kinds
from ash.splitting import LinearTail
from ash.variants import SCALING

GPU_VALUES = 2**25  # activations taken at once, R * D: about 1 GiB while they are sorted
GPU_LOGITS = 2**25  # logits of one setting, R * C
BFLOAT16 = (8, 0)  # compute capability from which tensor cores take it


class MaskedProducts(LinearSettings):
    """Settings of one linear tail, one matrix product for each distinct k (two with ASH-B, which counts)."""

    def __init__(
        self, tail: LinearTail, size: int, settings: Sequence[Setting], dtype: torch.dtype, device: torch.device
    ) -> None:
        super().__init__(tail, size, settings, dtype, device)
        cuts = torch.from_numpy(self.cuts).to(device)
        self.last, self.next = cuts - 1, cuts.clamp(max=size - 1)  # ranks of the smallest kept and of what follows it
        self.cut = (cuts < size)[:, None]  # (J, 1) whether anything follows it
        self.parts: Tensor | None = None
        if device.type != "cpu":
            self.rows = max(1, min(GPU_VALUES // size, GPU_LOGITS // len(self.bias)))
            if dtype == torch.float32 and self.area == 1 and torch.cuda.get_device_capability(device) >= BFLOAT16:
                self.parts = in_bfloat16(self.weight)

    def _shaped(self, x: Tensor, first_index: int, doubts: Tensor) -> Logits:
        values, ranks = self._ranked(x)
        s1 = x.sum(1, dtype=torch.float64)  # (R,)
        least = values.T[self.last]  # (J, R) the smallest value kept
        self._tied(doubts, tie_kinds(self.cut & (least == values.T[self.next]), least))
        sums2, peaks = torch.zeros_like(least, dtype=torch.float64), torch.ones_like(least)  # (J, R) of ASH-S
        noise = self._noise(x, first_index) if "ash_rand" in self.groups else x
        for j, k in enumerate(self.cuts.tolist()):
            at = {variant: [i for i in group if self.kept[i] == k] for variant, group in self.groups.items()}
            kept = ranks < k
            if any(at.get(name) for name in ("ash_p", "ash_s", *SCALING)):
                pruned = torch.where(kept, x, 0.0)
                sums2[j] = pruned.sum(1, dtype=torch.float64)
            if at.get("ash_p") or at.get("ash_s"):
                sums = self._product(pruned)
                yield from self._shared(at.get("ash_p"), sums)
                peaks[j] = torch.maximum(values[:, 0].abs(), least[j].abs())
                exponent = scale_exponent(s1, sums2[j], peaks[j], self.dtype)
                yield from self._shared(at.get("ash_s"), sums, exponent.exp())
            if at.get("ash_b"):
                yield from self._shared(at["ash_b"], self._counted(kept), s1 / k)
            if at.get("ash_rand"):
                yield from self._shared(at["ash_rand"], self._product(torch.where(kept, noise, 0.0)))
        self._beyond("ash_s", doubts, s1, sums2, peaks)
        if self.groups.keys() & {*SCALING}:
            yield from self._scaling(x, None, s1, sums2, least, doubts)

    def _counted(self, kept: Tensor) -> Tensor:
        """(R, C): the sum of the weights (C,) of the entries that are kept (R, D).

        Zeros and ones are exact in bfloat16, and three of them make a float32: tensor cores sum float32 weights at
        three times the speed of other cores, and nothing is rounded but the sums.
        """
        if self.parts is None:
            return self._product(kept.to(self.dtype))
        sums = torch.mm(kept.bfloat16(), self.parts, out_dtype=torch.float32)
        high, middle, low = sums.view(len(kept), 3, -1).unbind(1)
        return (low + middle).add_(high)

    def _ranked(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Values (R, D) from high to low, and the rank (R, D) of every entry, the lowest index first among equals."""
        values, index = torch.sort(x, dim=1, descending=True, stable=True)
        order = torch.arange(self.size, dtype=torch.int32, device=x.device).expand_as(index)
        return values, torch.empty_like(index, dtype=torch.int32).scatter_(1, index, order)


def in_bfloat16(weight: Tensor) -> Tensor:
    """(D, 3 * C): float32 weights (D, C) as the leading eight bits of each, side by side with the next and the last."""
    high = weight.bfloat16()
    middle = (weight - high.float()).bfloat16()
    low = (weight - high.float() - middle.float()).bfloat16()
    return torch.cat([high, middle, low], 1)
