"""Any settings of a tail that is one linear map, in as few passes as they have different beginnings.

A setting ends in a step that takes all percentiles at once (`linear`, `thresholds`), or in none; what comes before it
is done to the activations once for all settings that share it, and DICE is the same tail with other weights:

    react@1 + ash_s@p, p = 5 .. 95   clip once, then one pass of bands
    dice@p, p = 5 .. 95              one product with all masked weights side by side
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ash.engine import steps
from ash.engine.bands import Bands
from ash.engine.linear import LinearSettings, Logits
from ash.engine.masked import MaskedProducts
from ash.engine.plan import Setting, SweepError
from ash.engine.pooled import PooledBands
from ash.engine.thresholds import ThresholdBands, Thresholds
from ash.fitting import Fit, FitError
from ash.scores.registry import product
from ash.splitting import LinearTail
from ash.variants import RANKED

STACKED = 2048  # columns of masked weights multiplied at once

Key = tuple[Setting, float | None, str]  # what is done first, DICE's share, and what takes the last step


@dataclass(frozen=True)
class _Stacked:
    """Settings with the same shaped activation and different masks: their weights side by side, (F, n * C)."""

    weight: Tensor
    bias: Tensor
    area: int

    def logits(self, x: Tensor) -> Tensor:
        """(n, R, C) for x (R, ...)."""
        x = x.flatten(1)
        features = x.view(len(x), -1, self.area).mean(2) if self.area > 1 else x
        return product(features, self.weight).view(len(x), -1, len(self.bias)).transpose(0, 1) + self.bias


@dataclass(frozen=True)
class _Group:
    """Settings (their positions) that begin with the same steps, and what evaluates the rest of them."""

    first: Setting
    positions: list[int]
    rest: LinearSettings | _Stacked


class Grouped:
    """Settings of one linear tail, ready to evaluate chunk by chunk. Threads may share it."""

    def __init__(self, groups: Sequence[_Group], rows: int, dtype: torch.dtype, device: torch.device) -> None:
        self.groups, self.rows, self.dtype, self.device = groups, rows, dtype, device

    def logits(self, x: Tensor, first_index: int = 0, doubts: Tensor | None = None) -> Logits:
        """For x (R, ...): positions in the settings and their logits, until all settings are done.

        `doubts` as in `LinearSettings.logits`.
        """
        shaped: dict[Setting, tuple[Tensor, Tensor | None, Tensor]] = {}
        for group in self.groups:
            if group.first not in shaped:
                doubtful = torch.zeros(len(x), dtype=torch.uint8, device=x.device)
                shaped[group.first] = *steps.run(group.first, x, first_index, doubtful), doubtful
            first, factor, doubtful = shaped[group.first]
            found = doubtful.repeat(len(group.positions), 1)
            if isinstance(group.rest, _Stacked):
                yield group.positions, steps.scaled(group.rest.logits(first), factor)
            else:
                for positions, logits in group.rest.logits(first, first_index, found):
                    yield [group.positions[i] for i in positions], steps.scaled(logits, factor)
            if doubts is not None:
                doubts[group.positions] |= found


Evaluator = LinearSettings | Grouped


def linear_evaluator(
    tail: LinearTail,
    features: tuple[int, ...],
    settings: Sequence[Setting],
    dtype: torch.dtype,
    device: torch.device,
    fit: Fit | None,
) -> Evaluator:
    """What evaluates these settings of a linear tail for activations (n, *features) that fit it."""
    size, (classes, width) = math.prod(features), tail.weight.shape
    pruned = _way(device, dtype, maps=size > width)
    above = ThresholdBands if pruned is Bands and dtype == torch.float32 else Thresholds
    way: dict[str, type[LinearSettings]] = {"pruned": pruned, "above": above}
    members: dict[Key, list[int]] = {}
    for i, setting in enumerate(settings):
        members.setdefault(_key(setting), []).append(i)
    groups: list[_Group] = []
    for (first, share, kind), positions in members.items():
        if kind != "stacked":
            rest = [_activation(settings[i])[len(first) :] for i in positions]
            groups.append(_Group(first, positions, way[kind](_masked(tail, share, fit), size, rest, dtype, device)))
            continue
        most = max(1, STACKED // classes)  # one product each, as many side by side as fit
        for some in (positions[i : i + most] for i in range(0, len(positions), most)):
            weight = torch.cat([_masked(tail, _share(settings[i]), fit).weight for i in some])  # (n * C, F)
            stacked = _Stacked(weight.to(device, dtype).T.contiguous(), tail.bias.to(device, dtype), size // width)
            groups.append(_Group(first, some, stacked))
    if len(groups) == 1 and not groups[0].first and isinstance(groups[0].rest, LinearSettings):
        return groups[0].rest
    usual = pruned(tail, size, [], dtype, device).rows
    rows = min([usual, *(group.rest.rows for group in groups if isinstance(group.rest, LinearSettings))])
    return Grouped(groups, rows, dtype, device)


def _way(device: torch.device, dtype: torch.dtype, maps: bool) -> type[LinearSettings]:
    """How ASH's local variants are evaluated: see `linear`."""
    if device.type == "cuda" or (maps and dtype == torch.float64):
        return MaskedProducts
    return PooledBands if maps else Bands


def _activation(setting: Setting) -> Setting:
    """The steps that are done to the activation: all but DICE, which comes last."""
    return setting if _share(setting) is None else setting[:-1]


def _share(setting: Setting) -> float | None:
    """How many percent of the weights DICE drops, where it is the last step."""
    return setting[-1].parameter if setting and setting[-1].name == "dice" else None


def _key(setting: Setting) -> Key:
    """The group of a setting."""
    acts, share = _activation(setting), _share(setting)
    if acts and acts[-1].name in RANKED:
        return acts[:-1], share, "pruned"
    if acts and acts[-1].variant.needs == "id":
        return acts[:-1], share, "above"
    if share is None and (not acts or (len(acts) == 1 and acts[0].name == "react")):
        return (), None, "pruned"  # one product beside the others
    return acts, None, "stacked"


def _masked(tail: LinearTail, share: float | None, fit: Fit | None) -> LinearTail:
    """The tail with DICE's weights alone, itself without DICE."""
    if share is None:
        return tail
    if fit is None:
        raise SweepError(f"dice@{share:g} needs a fit on training activations.")
    try:
        mask = torch.from_numpy(fit.dice_mask(tail.weight.cpu().numpy(), share))
    except FitError as error:
        raise SweepError(str(error)) from error
    return replace(tail, weight=tail.weight * mask.to(tail.weight.device))
