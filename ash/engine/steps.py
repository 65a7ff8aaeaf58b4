"""The steps of a method, done to activations one after the other; the plain path that every sweep must agree with."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ash import shaping
from ash.engine.plan import BEYOND, TIED
from ash.methods import MethodError, Step

_OPERATIONS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "ash_p": shaping.ash_p,
    "ash_b": shaping.ash_b,
    "ash_b_nonzero": shaping.ash_b_nonzero,
    "ash_s": shaping.ash_s,
    "react": shaping.react,
    "react%": shaping.react,
    "ash_p_global": shaping.ash_p_global,
    "ash_b_global": shaping.ash_b_global,
    "ash_s_global": shaping.ash_s_global,
}


def shape(steps: Sequence[Step], x: Tensor, first_index: int = 0, doubts: Tensor | None = None) -> Tensor:
    """x (N, ...) after some steps, x itself where there are none. `first_index`: the index of x[0] in its data set.

    Into `doubts` (N,), uint8, the bits of `plan` are set where a result is doubtful. MethodError for a step that has no
    constant yet, for DICE, and for a registered one that does not keep the shape.
    """
    for step in steps:
        if doubts is not None:
            doubts |= _doubts(step, x)
        x = _apply(step, x, first_index)
    return x


def undecided(name: str) -> int:
    """The kind of tie at its cut (of `shaping`) that a step bears: what is zero may stay or go, unless it is filled."""
    return shaping.NO_TIE if name in ("ash_b", "ash_rand") else shaping.ZEROS


def _doubts(step: Step, x: Tensor) -> Tensor:
    """(N,) what is doubtful about a step on x."""
    found = torch.zeros(len(x), dtype=torch.uint8, device=x.device)
    if step.variant.function is not None:
        return found
    if step.local:
        mask = shaping.kept_mask(x, step.parameter)
        found |= (shaping.ties_at_cut(x, mask) > undecided(step.name)).to(torch.uint8) * TIED
        if step.name == "ash_s":
            found |= shaping.range_exceeded(x, mask).to(torch.uint8) * BEYOND
    if step.name == "ash_s_global" and step.constant is not None:
        found |= shaping.range_exceeded(x, x >= step.constant).to(torch.uint8) * BEYOND
    return found


def _apply(step: Step, x: Tensor, first_index: int) -> Tensor:
    variant = step.variant
    if variant.function is not None:
        shaped = variant.function(x.clone(), step.parameter)  # it might work in place
        if not isinstance(shaped, Tensor) or shaped.shape != x.shape:
            what = tuple(shaped.shape) if isinstance(shaped, Tensor) else type(shaped).__name__
            raise MethodError(f"The registered method {step.name} made {what} of activations {tuple(x.shape)}.")
        return shaped
    if step.name == "ash_rand":
        return shaping.ash_rand(x, step.parameter, first_index=first_index)
    if step.name == "dice":
        raise MethodError("dice masks the weights of the last layer and leaves the activation alone: use ash.sweep.")
    if not variant.needs:
        return _OPERATIONS[step.name](x, step.parameter)
    if step.constant is None:
        source = {"fit": "a fit on training activations", "id": "all activations of an ID set"}[variant.needs]
        raise MethodError(f"{step} takes its threshold from {source}: use ash.sweep, which has them.")
    return _OPERATIONS[step.name](x, step.constant)
