"""Tails, ready to evaluate settings: all in one pass where the tail is one linear map, otherwise one by one."""

import copy
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from ash.device import describe
from ash.engine import steps
from ash.engine.cutoffs import Cutoffs
from ash.engine.grouped import Evaluator, linear_evaluator
from ash.engine.plan import Setting, SweepError
from ash.fitting import Fit
from ash.shapes.lts import logit_factor
from ash.splitting import LinearTail, linear_tail
from ash.variants import RANKED, SCALING

BATCH_VALUES = 2**22  # of the largest tensor in a deep tail, on a CPU: larger batches leave its caches
GPU_BATCH_VALUES = 2**27  # the same on a GPU: 512 MiB
MOST_ROWS = 1024
PRECISIONS = ("float32", "bfloat16")
EXACT = {"enabled": True, "benchmark": False, "deterministic": True, "allow_tf32": False}  # cuDNN in float32
Place = str | torch.device | None


def evaluator_for(
    tail: nn.Module | LinearTail,
    features: tuple[int, ...],
    settings: Sequence[Setting],
    dtypes: set[np.dtype],
    place: Place = None,
    precision: str = "float32",
    fit: Fit | None = None,
) -> "Evaluator | DeepTail":
    """The evaluator of a tail for activations (n, *features); SweepError when they do not fit.

    The settings' thresholds that come from other activations are known; `fit` is for DICE. `place` defaults to the
    tail's device. Linear tails compute in float64 where a bank is float64, else in float32, whatever the `precision` of
    deep ones.
    """
    if precision not in PRECISIONS:
        raise SweepError(f"There is no precision '{precision}'; there are {' and '.join(PRECISIONS)}.")
    dtype = torch.float64 if any(dtype.itemsize > 4 for dtype in dtypes) else torch.float32
    if not isinstance(tail, LinearTail):
        tail = linear_tail(tail, features) or tail
    if not isinstance(tail, LinearTail):
        masked = next((setting[-1] for setting in settings if setting and setting[-1].name == "dice"), None)
        if masked is not None:
            raise SweepError(
                f"{masked} masks the weights of the last layer, so it needs a placement with nothing but that layer "
                "behind it: the penultimate one."
            )
        return DeepTail(tail, features, settings, dtype, place, precision)
    expected = tail.weight.shape[1]
    fits = len(features) == 3 and features[0] == expected if tail.pooled else math.prod(features) == expected
    if not fits:
        form = f"({expected}, H, W)" if tail.pooled else f"({expected},)"
        raise SweepError(f"A sample's activation has the shape {features}, the tail takes {form}.")
    device = torch.device(tail.weight.device if place is None else place)
    device = device if device.type == "cuda" else torch.device("cpu")
    return linear_evaluator(tail, features, settings, dtype, device, fit)


def class_count(tail: nn.Module | LinearTail, features: tuple[int, ...]) -> int:
    """How many logits a tail gives for activations (n, *features)."""
    if isinstance(tail, LinearTail):
        return len(tail.weight)
    if isinstance(tail, nn.Linear):
        return tail.out_features
    like = next(tail.parameters(), torch.empty(0))
    with torch.inference_mode():
        return int(tail(torch.zeros(1, *features, dtype=like.dtype, device=like.device)).shape[-1])


class DeepTail:
    """Settings of any tail: it runs once for each, on activations that are sorted once for all."""

    def __init__(
        self,
        tail: nn.Module,
        features: tuple[int, ...],
        settings: Sequence[Setting],
        dtype: torch.dtype,
        place: Place,
        precision: str,
    ) -> None:
        weights = next(tail.parameters(), torch.empty(0, dtype=dtype))
        self.dtype = torch.promote_types(weights.dtype, torch.float32)  # activations are shaped in float32 at least
        self.takes, self.device = self.dtype, torch.device(weights.device if place is None else place)
        self.precision, self.layout = precision, torch.contiguous_format
        if weights.device != self.device:
            tail = copy.deepcopy(tail).to(self.device)  # a tail shares its weights with the model: never move those
        self.tail, self.settings, self.size = tail, list(settings), math.prod(features)
        self.names = ["+".join(step.name for step in setting) or "none" for setting in settings]
        ranked = [i for i, name in enumerate(self.names) if name in RANKED]
        self.kept = {i: steps.kept(settings[i][0], self.size) for i in ranked}
        self.alike = _alike(settings)
        self.rows = self._rows(features)
        if precision == "bfloat16" and len(features) == 3:
            self._try_channels_last(features)

    def _rows(self, features: tuple[int, ...]) -> int:
        """How many samples at once, from the largest tensor that one of them needs; SweepError where none fits."""
        run = _Largest(self.tail) if isinstance(self.tail, fx.GraphModule) else None
        try:
            with torch.inference_mode():
                one = torch.zeros(1, *features, dtype=self.dtype, device=self.device)
                whole = self.tail if run is None else run.run
                try:
                    whole(one)
                except RuntimeError:
                    self.takes = next(self.tail.parameters(), one).dtype
                    if self.takes == self.dtype:
                        raise
                    whole(one.to(self.takes))
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise SweepError(f"The tail does not take activations of the shape {features}: {reason}") from error
        values = max(self.size, 0 if run is None else run.values)
        budget = BATCH_VALUES if self.device.type == "cpu" else GPU_BATCH_VALUES
        return max(1, min(MOST_ROWS, budget // values))

    def _try_channels_last(self, features: tuple[int, ...]) -> None:
        """Take the layout that tensor cores like, unless the tail views its values in another order."""
        tail = copy.deepcopy(self.tail).to(memory_format=torch.channels_last)
        try:
            with torch.inference_mode():
                one = torch.zeros(2, *features, dtype=self.dtype, device=self.device)
                tail(one.contiguous(memory_format=torch.channels_last))
        except RuntimeError:
            return
        self.tail, self.layout = tail, torch.channels_last

    def cutoffs(self, n: int) -> Cutoffs:
        """An empty memory of what survives of n samples at every k of the settings."""
        cuts = sorted(set(self.kept.values()) - {0, self.size})
        return Cutoffs(n, self.size, cuts, self.dtype, self.device)

    def shape(
        self, position: int, x: Tensor, rows: slice, cutoffs: Cutoffs, doubts: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """What a setting makes of x (R, ...), the samples `rows` of their set, and of their logits: see `steps.run`.

        Into `doubts` (R,), uint8, the bits of `plan` are set where it is doubtful.
        """
        if position not in self.kept:
            return steps.run(self.settings[position], x, rows.start, doubts)
        k, name = self.kept[position], self.names[position]
        mask = cutoffs.mask(rows, x, k)
        doubts |= steps.doubtful(name, x, mask, cutoffs.ties_of(rows, k))
        factor = logit_factor(x, mask) if name == "lts" else None
        return steps.of_kept(name, x, mask, k, rows.start), factor

    def shared(self, position: int, other: int) -> int:
        """For samples with up to how many positive values these two settings are certain to shape alike; -1 for none.

        Negative values in a sample count as `size + 1` positive ones. An equal k is always alike. All but
        ASH-B and ASH-RAND are too when both k keep all positive values, because what a ReLU left at zero adds nothing
        to them; so ASH-P is then the activation as it is.
        """
        variant, basis = self.names[position], self.names[other]
        if position not in self.kept or (basis != variant and (variant, basis) != ("ash_p", "none")):
            return -1
        k, limit = self.kept[position], self.kept.get(other, self.size)
        if k == limit:
            return self.size + 1
        return min(k, limit) if variant in ("ash_p", "ash_s", *SCALING) else -1

    def logits(self, shaped: Tensor) -> Tensor:
        """(R, C), at least float32; a batch that does not fit into the memory of a GPU is halved until it does."""
        try:
            with self._modes():
                shaped = shaped.contiguous(memory_format=self.layout) if shaped.dim() == 4 else shaped
                out = self.tail(shaped.to(self.takes))
            return out if out.dtype == torch.float64 else out.float()
        except torch.OutOfMemoryError as error:
            if len(shaped) == 1:
                raise SweepError(f"One sample does not fit into the memory of {describe(self.device)}.") from error
        torch.cuda.empty_cache()
        self.rows = len(shaped) // 2
        return torch.cat([self.logits(half) for half in shaped.tensor_split(2)])

    def _modes(self) -> AbstractContextManager[Any]:
        modes = ExitStack()
        if self.precision != "float32":
            modes.enter_context(torch.autocast(self.device.type, torch.bfloat16))
        elif self.device.type == "cuda":
            modes.enter_context(torch.backends.cudnn.flags(**EXACT))
        return modes


def _alike(settings: Sequence[Setting]) -> list[list[int]]:
    """The settings in groups with the same activation behind their steps, for which the tail runs once; in order."""
    groups: dict[Setting, list[int]] = {}
    for i, setting in enumerate(settings):
        groups.setdefault(tuple(step for step in setting if step.variant.does != "logits"), []).append(i)
    return list(groups.values())


class _Largest(fx.Interpreter):
    """Runs a graph and remembers how many values its largest tensor has."""

    values = 0

    def run_node(self, n: fx.Node) -> object:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            self.values = max(self.values, result.numel())
        return result
