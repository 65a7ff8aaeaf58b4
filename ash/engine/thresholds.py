"""One pruning threshold for all samples (Table 5): finding it, and a linear tail behind it at many thresholds."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding_bag

from ash.engine import steps as steps_of
from ash.engine.activations import chunks_of, tensor_of
from ash.engine.bands import sort_keys, unpack
from ash.engine.linear import CHUNK_VALUES, LinearSettings, Logits, running_sum
from ash.engine.plan import BEYOND, Setting, SweepError
from ash.engine.quantiles import percentiles
from ash.fitting import Fit, FitError
from ash.methods import Step
from ash.shaping import beyond_range, scale_exponent
from ash.splitting import LinearTail


def resolve(settings: Sequence[Setting], fit: Fit | None, bank: Any, dtype: torch.dtype) -> list[Setting]:
    """Settings with every threshold known: `react@P%` from the fit, global ones from all activations of an ID bank.

    A global threshold is the percentile of what the steps before it have left. SweepError where there is no fit.
    """
    missing = next((step for setting in settings for step in setting if step.variant.needs == "fit"), None)
    if missing is not None and fit is None:
        raise SweepError(f"{missing} needs a fit on training activations: give `fit`, from ash.load_fit or ash.fit.")
    try:
        known = [tuple(fit.resolve(step) for step in setting) if fit else setting for setting in settings]
    except FitError as error:
        raise SweepError(str(error)) from error
    while wanted := _unknown(known):
        for first, found in wanted.items():
            values = _percentiles(first, [step.parameter for step in found], bank, dtype)
            new = {step: Step(step.name, step.parameter, float(t)) for step, t in zip(found, values, strict=True)}
            at = len(first)
            known = [
                (*first, new[setting[at]], *setting[at + 1 :])
                if setting[:at] == first and setting[at : at + 1] and setting[at] in new
                else setting
                for setting in known
            ]
    return known


def _unknown(settings: Sequence[Setting]) -> dict[Setting, list[Step]]:
    """The steps before a global one without its threshold -> those global ones; the first of every setting."""
    found: dict[Setting, dict[Step, None]] = {}
    for setting in settings:
        for i, step in enumerate(setting):
            if step.variant.needs == "id" and step.constant is None:
                found.setdefault(setting[:i], {})[step] = None
                break
    return {first: list(some) for first, some in found.items()}


def _percentiles(first: Setting, wanted: list[float], bank: Any, dtype: torch.dtype) -> NDArray[np.float64]:
    """Percentiles of all values of a bank after some steps, rounded to the numbers that they are compared with."""
    rows = max(1, CHUNK_VALUES // int(np.prod(bank.shape[1:])))

    def parts():  # type: ignore[no-untyped-def]
        for index, part in chunks_of(bank, rows):
            yield steps_of.shape(first, tensor_of(part, index, "ID").to(dtype), index).numpy()

    if dtype == torch.float64:
        return np.percentile(np.concatenate([part.reshape(-1) for part in parts()]), wanted)
    return percentiles(parts, wanted).astype(np.float32).astype(np.float64)


class Thresholds(LinearSettings):
    """Settings of one linear tail, each a step with a threshold for all samples: one or two products a threshold."""

    def __init__(
        self, tail: LinearTail, size: int, settings: Sequence[Setting], dtype: torch.dtype, device: torch.device
    ) -> None:
        super().__init__(tail, size, [], dtype, device)
        self.above: dict[float, dict[str, list[int]]] = {}  # threshold -> variant -> positions
        for i, (step,) in enumerate(settings):
            assert step.constant is not None
            self.above.setdefault(step.constant, {}).setdefault(step.name, []).append(i)
        self.groups = {"above": list(range(len(settings)))}
        self.count = len(settings)
        self.names = {name for at in self.above.values() for name in at}

    def _shaped(self, x: Tensor, first_index: int, doubts: Tensor) -> Logits:
        s1 = x.sum(1, dtype=torch.float64)  # (R,)
        for threshold, at in self.above.items():
            kept = x >= threshold
            if "ash_p_global" in at or "ash_s_global" in at:
                pruned = torch.where(kept, x, 0.0)
                sums = self._product(pruned)
                yield from self._shared(at.get("ash_p_global"), sums)
                low, high = torch.aminmax(pruned, dim=1)
                peak = torch.maximum(low.abs(), high.abs())
                s2 = pruned.sum(1, dtype=torch.float64)
                if some := at.get("ash_s_global"):
                    doubts[some] |= beyond_range(s1, s2, peak, self.dtype).to(torch.uint8) * BEYOND
                exponent = scale_exponent(s1, s2, peak, self.dtype)
                yield from self._shared(at.get("ash_s_global"), sums, exponent.exp())
            if "ash_b_global" in at:
                count = kept.sum(1, dtype=torch.float64).clamp(min=1)
                yield from self._shared(at["ash_b_global"], self._product(kept.to(self.dtype)), s1 / count)


class ThresholdBands(Thresholds):
    """The same for flat float32 activations on a CPU: bands as in `ash.engine.bands`, each sample with its own cuts.

    Of a sorted sample the first k_j values reach threshold j, from the highest to the lowest one; what lies between two
    cuts is multiplied into the logits once.
    """

    def _shaped(self, x: Tensor, first_index: int, doubts: Tensor) -> Logits:
        values, index = (a.view(x.shape) for a in unpack(torch.from_numpy(sort_keys(x.numpy())).flatten()))
        thresholds = sorted(self.above, reverse=True)
        k = torch.stack([(x >= threshold).sum(1) for threshold in thresholds])  # (J, R)
        used = torch.arange(self.size) < k[-1, :, None]  # (R, D) what the lowest threshold keeps
        before = torch.cat([torch.zeros_like(k[:1]), k[:-1]])
        starts = (before + (k[-1].cumsum(0) - k[-1])).T.flatten()  # sample by sample, and of each band by band
        s1 = x.sum(1, dtype=torch.float64)
        if self.names & {"ash_p_global", "ash_s_global"}:
            sums = self._sums(index[used], starts, values[used], k)
            yield from self._rows("ash_p_global", thresholds, sums)
            s2, peak = self._kept_sums(values, k)
            for threshold, beyond in zip(thresholds, beyond_range(s1, s2, peak, self.dtype), strict=True):
                if some := self.above[threshold].get("ash_s_global"):
                    doubts[some] |= beyond.to(torch.uint8) * BEYOND
            yield from self._rows("ash_s_global", thresholds, sums, scale_exponent(s1, s2, peak, self.dtype).exp())
        if "ash_b_global" in self.names:
            yield from self._rows("ash_b_global", thresholds, self._sums(index[used], starts, None, k), s1 / k.clamp(1))

    def _sums(self, index: Tensor, starts: Tensor, weights: Tensor | None, k: Tensor) -> Tensor:
        """(J, R, C): the sum of weight * row of W^T over what each threshold keeps."""
        starts = starts.to(index.dtype)
        bags = embedding_bag(index, self.weight, starts, mode="sum", per_sample_weights=weights)
        return running_sum(bags.view(k.shape[1], k.shape[0], -1).transpose(0, 1).contiguous())

    def _kept_sums(self, values: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """(J, R): s2 of ASH-S in float64, and the largest magnitude that is kept."""
        last = (k - 1).clamp(min=0).T  # (R, J)
        some = k.T > 0
        s2 = torch.where(some, values.cumsum(1, dtype=torch.float64).gather(1, last), 0.0).T
        peak = torch.maximum(values[:, :1].abs(), torch.where(some, values.gather(1, last).abs(), 0.0)).T
        return s2, peak

    def _rows(self, name: str, thresholds: list[float], sums: Tensor, factor: Tensor | None = None) -> Logits:
        for j, threshold in enumerate(thresholds):
            some = self.above[threshold].get(name)
            yield from self._shared(some, sums[j], None if factor is None else factor[j])
