"""What a method does to samples, in the terms of the paper: k, t, s1, s2 and the factor, all of the real operation.

Nothing is computed here a second time: masks come from the functions that shape, factors from what they returned. Of a
plug-in, or of several steps together, only what the values show is said: what became 0, what was multiplied, clipped.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ash.engine.steps import kept as kept_by
from ash.engine.steps import run, scaled
from ash.methods import Method, Step
from ash.shaping import kept_mask, top_mask
from ash.variants import PRUNES, SCALING, Effect

if TYPE_CHECKING:
    from ash.fitting import Fit

TOLERANCE = 8  # roundings that a common factor may be off by, in units of the number format


@dataclass(frozen=True)
class Change:
    """What the n values of one sample show, whatever was done to them.

    `zeros`: exact zeros before and after; `removed`: not 0 before and 0 now; `changed`: another number now, and not 0.
    At most one of these tells more of the changed ones, the others are None. `factor`: all of them are this multiple of
    what they were, and `multiplied` counts the values that are, zeros too. `above`, `below`: all of them lay above or
    below this value and are this value now. `level`: all of them are this value now, wherever they lay.
    """

    n: int
    zeros: tuple[int, int]
    removed: int
    changed: int
    factor: float | None = None
    multiplied: int = 0
    above: float | None = None
    below: float | None = None
    level: float | None = None


@dataclass(frozen=True)
class Trace:
    """A method on N samples: `x` before and `shaped` after, (N, ...); one number a sample is (N,), float64.

    `does`: what its only step is known to do, "" where that can only be observed. `kept` (N, ...): what the step that
    prunes keeps; without such a step every value but those that became 0. `t`: the smallest kept value, a threshold for
    all samples, or ReAct's constant. `factor`: ASH-S's; `level`: what ASH-B writes. NaN: nothing is kept, or nothing
    but zeros. None: the method has no such number.

    `top` (N, ...): of SCALE and LTS, which prune nothing, the k largest values; `logit_factor`: what a step multiplies
    the logits by.

    Of several steps these are the numbers of the one that prunes, on what it was `given`, if exactly one does and all
    are known; None otherwise.
    """

    method: Method
    x: Tensor
    shaped: Tensor
    does: Effect
    given: Tensor
    kept: Tensor
    prunes: bool
    t: Tensor | None = None
    factor: Tensor | None = None
    level: Tensor | None = None
    top: Tensor | None = None
    logit_factor: Tensor | None = None

    @cached_property
    def k(self) -> Tensor:
        """(N,) number of kept values, int64."""
        return self.kept.flatten(1).sum(1)

    @cached_property
    def s1(self) -> Tensor:
        """(N,) sum of all values that the step was given, for LTS of the positive ones."""
        return self._counted().flatten(1).sum(1, dtype=torch.float64)

    @cached_property
    def s2(self) -> Tensor | None:
        """(N,) sum of the kept ones of them, as they were given, or of the `top` ones; None where there are neither."""
        some = self.kept if self.prunes else self.top
        return None if some is None else torch.where(some, self._counted(), 0.0).flatten(1).sum(1, dtype=torch.float64)

    def _counted(self) -> Tensor:
        return self.given.clamp(min=0) if self.does == "logits" else self.given

    def logits(self, tail: Callable[[Tensor], Tensor]) -> Tensor:
        """The logits (N, C) of the method, by the tail behind the placement."""
        return scaled(tail(self.shaped), self.logit_factor)

    def change(self, row: int = 0) -> Change:
        """What the values of one sample show."""
        return _observe(self.x[row].flatten(), self.shaped[row].flatten())


def trace(x: Tensor, method: Method, first_index: int = 0, fit: "Fit | None" = None, id_bank: Any = None) -> Trace:
    """What a method does to x (N, ...); for one sample x[None]. x is not changed.

    `first_index`: the index of x[0] in its data set, for ASH-RAND. `fit`: for `react@P%`; `id_bank`: the activations
    (n, ...) of the ID set, for global thresholds. DICE leaves activations as they are. SweepError without what a
    threshold comes from.
    """
    steps = [step for step in _resolved(method, x, fit, id_bank) if step.variant.does != "weights"]
    values, factor = [x], None
    for step in steps:
        made, one = run([step], values[-1], first_index)
        values.append(made)
        factor = one if factor is None else factor if one is None else factor * one
    shaped = values[-1]
    pruning = [i for i, step in enumerate(steps) if step.variant.does in PRUNES]
    if len(pruning) == 1 and all(step.variant.does for step in steps):
        at = pruning[0]
        does: Effect = steps[at].variant.does if len(steps) == 1 else ""
        return Trace(method, x, shaped, does, **_pruned(steps[at], values[at], values[at + 1]), logit_factor=factor)
    kept = ~((x != 0) & (shaped == 0))
    if len(steps) == 1 and steps[0].variant.does == "clip":
        c = torch.full((len(x),), steps[0].parameter, dtype=torch.float64, device=x.device)
        return Trace(method, x, shaped, "clip", x, kept, False, t=c)
    if len(steps) == 1 and steps[0].name in SCALING and x.numel():
        found = _top(steps[0], x, shaped)
        return Trace(method, x, shaped, steps[0].variant.does, x, kept, False, **found, logit_factor=factor)
    return Trace(method, x, shaped, "", x, kept, False, logit_factor=factor)


def _resolved(method: Method, x: Tensor, fit: "Fit | None", id_bank: Any) -> tuple[Step, ...]:
    """The steps with every threshold known."""
    if not any(step.variant.needs and step.variant.does != "weights" and not step.constant for step in method.steps):
        return method.steps
    from ash.engine.activations import checked
    from ash.engine.plan import SweepError
    from ash.engine.thresholds import resolve

    if id_bank is None and any(step.variant.needs == "id" for step in method.steps):
        raise SweepError(f"{method} takes its threshold from all activations of an ID set: give `id_bank`.")
    wide = torch.float64 if x.dtype.itemsize > 4 else torch.float32
    bank = None if id_bank is None else checked("ID", id_bank)
    return resolve([method.steps], fit, bank, wide)[0]


def _top(step: Step, x: Tensor, shaped: Tensor) -> dict[str, Tensor]:
    """The k largest values, and the factor that the values show; of LTS they show none, and of zeros NaN."""
    found = {"top": top_mask(x, kept_by(step, x[0].numel()))}
    if step.variant.does == "multiply":
        rows, out = x.flatten(1).double(), shaped.flatten(1).double()
        largest = rows.abs().argmax(1, keepdim=True)
        found["factor"] = (out.gather(1, largest) / rows.gather(1, largest))[:, 0]
    return found


def _pruned(step: Step, given: Tensor, made: Tensor) -> dict[str, Any]:
    """The numbers of a step that prunes, from what it was given and what it made of that."""
    whole = step.constant is not None  # one threshold for all samples
    kept = given >= step.constant if step.constant is not None else kept_mask(given, step.parameter)
    rows, mask, out = given.flatten(1).double(), kept.flatten(1), made.flatten(1).double()
    found: dict[str, Any] = {"given": given, "kept": kept, "prunes": True}
    if not given.numel():
        return {**found, "t": rows.new_zeros(len(rows))}
    empty = ~mask.any(1)
    least = rows.masked_fill(~mask, torch.inf).amin(1).masked_fill(empty, torch.nan)
    found["t"] = torch.full_like(least, step.constant or 0.0) if whole else least
    largest = rows.abs().masked_fill(~mask, -1.0).argmax(1, keepdim=True)  # a kept one, where there is any
    before, after = (values.gather(1, largest)[:, 0] for values in (rows, out))
    if step.variant.does == "scale":
        found["factor"] = (after / before).masked_fill(empty, torch.nan)  # 0/0 is NaN already
    if step.variant.does == "fill":
        found["level"] = after.masked_fill(empty, torch.nan)
    return found


def _observe(x: Tensor, y: Tensor) -> Change:
    """What became of the values x (n,) of a sample, now y (n,)."""
    removed = (x != 0) & (y == 0)
    changed = (x != y) & ~removed
    zeros = int((x == 0).sum()), int((y == 0).sum())
    counts = len(x), zeros, int(removed.sum()), int(changed.sum())
    if not changed.any():
        return Change(*counts)
    before, after = x[changed].double(), y[changed].double()
    one = float(after[0])
    alike = bool((after == one).all())
    if alike and bool((before > one).all()) and bool((y <= one).all()):
        return Change(*counts, above=one)
    if alike and bool((before < one).all()) and bool((y >= one).all()):
        return Change(*counts, below=one)
    factor = _common_factor(before, after, TOLERANCE * torch.finfo(x.dtype).eps)
    if factor is not None and not (alike and len(after) > 1):
        return Change(*counts, factor=factor, multiplied=int((changed | ((x == 0) & (y == 0))).sum()))
    return Change(*counts, level=one if alike else None)


def _common_factor(before: Tensor, after: Tensor, within: float) -> float | None:
    """What all values `before` (n,) were multiplied by, up to rounding; None where there is no such number."""
    largest = before.abs().argmax()
    factor = float(after[largest] / before[largest])
    wanted = factor * before
    return factor if bool(((after - wanted).abs() <= within * wanted.abs()).all()) else None
