"""The steps of a method, done to activations one after the other; the plain path that every sweep must agree with."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ash import shaping
from ash.engine.plan import BEYOND, TIED
from ash.methods import MethodError, Step

_AT_CONSTANT: dict[str, Callable[[Tensor, float], Tensor]] = {
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
        if step.local and step.variant.function is None:
            mask, k = shaping.kept_mask(x, step.parameter), shaping.kept_count(math.prod(x.shape[1:]), step.parameter)
            if doubts is not None:
                doubts |= doubtful(step.name, x, mask, shaping.ties_at_cut(x, mask))
            x = of_kept(step.name, x, mask, k, first_index)
            continue
        if doubts is not None and step.name == "ash_s_global" and step.constant is not None:
            doubts |= shaping.range_exceeded(x, x >= step.constant).to(torch.uint8) * BEYOND
        x = _apply(step, x)
    return x


def of_kept(name: str, x: Tensor, mask: Tensor, k: int, first_index: int) -> Tensor:
    """What a local variant of ASH makes of x (N, ...), of each sample of which k values survive, those of `mask`."""
    if name == "ash_p":
        return shaping.prune(x, mask)
    if name == "ash_s":
        return shaping.amplify(x, mask)
    if name == "ash_rand":
        return shaping.randomise(x, mask, first_index=first_index)
    if name == "ash_b":
        return shaping.fill(x, mask, k)
    assert name == "ash_b_nonzero", name
    mask = mask & (x != 0)
    return shaping.fill(x, mask, mask.flatten(1).sum(1))


def doubtful(name: str, x: Tensor, mask: Tensor, ties: Tensor) -> Tensor:
    """(N,) uint8, the bits of `plan` for a local variant of ASH; `mask` and `ties` (N,) as `ties_at_cut` has them."""
    found = (ties > undecided(name)).to(torch.uint8) * TIED
    return found | shaping.range_exceeded(x, mask).to(torch.uint8) * BEYOND if name == "ash_s" else found


def undecided(name: str) -> int:
    """The kind of tie at its cut (of `shaping`) that a step bears: what is zero may stay or go, unless it is filled."""
    return shaping.NO_TIE if name in ("ash_b", "ash_rand") else shaping.ZEROS


def _apply(step: Step, x: Tensor) -> Tensor:
    """x after a step that is none of ASH's local ones."""
    variant = step.variant
    if variant.function is not None:
        shaped = variant.function(x.clone(), step.parameter)  # it might work in place
        if not isinstance(shaped, Tensor) or shaped.shape != x.shape:
            what = tuple(shaped.shape) if isinstance(shaped, Tensor) else type(shaped).__name__
            raise MethodError(f"The registered method {step.name} made {what} of activations {tuple(x.shape)}.")
        return shaped
    if step.name == "dice":
        raise MethodError("dice masks the weights of the last layer and leaves the activation alone: use ash.sweep.")
    constant = step.constant if variant.needs else step.parameter
    if constant is None:
        source = {"fit": "a fit on training activations", "id": "all activations of an ID set"}[variant.needs]
        raise MethodError(f"{step} takes its threshold from {source}: use ash.sweep, which has them.")
    return _AT_CONSTANT[step.name](x, constant)
