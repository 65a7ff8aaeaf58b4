"""The steps of a method, done to activations one after the other; the plain path that every sweep must agree with."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ash import shaping
from ash.engine.plan import BEYOND, TIED
from ash.methods import MethodError, Step
from ash.shapes.scale import multiply, top_count
from ash.variants import SCALING

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
    return run(steps, x, first_index, doubts)[0]


def run(
    steps: Sequence[Step], x: Tensor, first_index: int = 0, doubts: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """As `shape`, and what the logits are to be multiplied by: (N,) float64, None where no step scales them."""
    factor = None
    for step in steps:
        if step.variant.does == "logits":
            one = factor_of(step, x)
            factor = one if factor is None else factor * one
        elif _is_ranked(step):
            k = kept(step, math.prod(x.shape[1:]))
            mask = shaping.top_mask(x, k)
            if doubts is not None:
                doubts |= doubtful(step.name, x, mask, shaping.ties_at_cut(x, mask))
            x = of_kept(step.name, x, mask, k, first_index)
        else:
            if doubts is not None and step.name == "ash_s_global" and step.constant is not None:
                doubts |= shaping.range_exceeded(x, x >= step.constant).to(torch.uint8) * BEYOND
            x = _apply(step, x)
    return x, factor


def scaled(logits: Tensor, factor: Tensor | None) -> Tensor:
    """Logits (..., N, C) times a factor (N,) for each sample, as `run` gives it."""
    return logits if factor is None else logits * factor.to(logits.dtype)[:, None]


def factor_of(step: Step, x: Tensor) -> Tensor:
    """(N,) float64: what a step that scales logits makes of x (N, ...). MethodError where it is not one a sample."""
    assert step.variant.function is not None, step
    factor = step.variant.function(x.clone(), *step.values)
    if not isinstance(factor, Tensor) or factor.shape != x.shape[:1]:
        what = tuple(factor.shape) if isinstance(factor, Tensor) else type(factor).__name__
        raise MethodError(f"The registered method {step.name} made {what} of {len(x)} samples, not a factor for each.")
    return factor.double()


def _is_ranked(step: Step) -> bool:
    """Whether it is a step that needs no more than the mask of each sample's k largest values."""
    return step.name in SCALING or (step.local and step.variant.function is None)


def kept(step: Step, n: int) -> int:
    """The k of such a step for n values: SCALE and LTS take the sum of one value at least."""
    return top_count(n, step.parameter) if step.name in SCALING else shaping.kept_count(n, step.parameter)


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
    if name == "scale":
        return multiply(x, mask)
    if name == "lts":
        return x
    assert name == "ash_b_nonzero", name
    mask = mask & (x != 0)
    return shaping.fill(x, mask, mask.flatten(1).sum(1))


def doubtful(name: str, x: Tensor, mask: Tensor, ties: Tensor) -> Tensor:
    """(N,) uint8, the bits of `plan` for a local variant of ASH; `mask` and `ties` (N,) as `ties_at_cut` has them."""
    found = (ties > undecided(name)).to(torch.uint8) * TIED
    if name in ("ash_s", "scale"):
        return found | shaping.range_exceeded(x, mask, everything=name == "scale").to(torch.uint8) * BEYOND
    return found


def undecided(name: str) -> int:
    """The kind of tie at its cut (of `shaping`) that a step bears: what is zero may stay or go, unless it is filled.

    A sum, all that SCALE and LTS take, is the same whichever of the equals are in it.
    """
    if name in SCALING:
        return shaping.VALUES
    return shaping.NO_TIE if name in ("ash_b", "ash_rand") else shaping.ZEROS


def _apply(step: Step, x: Tensor) -> Tensor:
    """x after a step that is none of ASH's local ones."""
    variant = step.variant
    if variant.function is not None:
        shaped = variant.function(x.clone(), *_taken(step))  # it might work in place
        if not isinstance(shaped, Tensor) or shaped.shape != x.shape:
            what = tuple(shaped.shape) if isinstance(shaped, Tensor) else type(shaped).__name__
            raise MethodError(f"The registered method {step.name} made {what} of activations {tuple(x.shape)}.")
        return shaped
    if step.name == "dice":
        raise MethodError("dice masks the weights of the last layer and leaves the activation alone: use ash.sweep.")
    constant = step.constant if variant.needs else step.parameter
    if constant is None:
        raise _unresolved(step)
    return _AT_CONSTANT[step.name](x, constant)


def _taken(step: Step) -> tuple[Any, ...]:
    """What the function of a registered step takes beside the activation; MethodError where that is not known yet."""
    if step.variant.needs and step.fit is None:
        raise _unresolved(step)
    return step.values if step.fit is None else (step.fit,)


def _unresolved(step: Step) -> MethodError:
    what = {"percentile": "threshold", None: "curve"}.get(step.variant.parameter, "threshold")
    source = "all activations of an ID set" if step.variant.needs == "id" else "a fit on training activations"
    return MethodError(f"{step} takes its {what} from {source}: use ash.sweep, which has them.")
