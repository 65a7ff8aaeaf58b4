"""The steps of a method, done to activations one after the other; the plain path that every sweep must agree with."""

from collections.abc import Callable, Sequence

from torch import Tensor

from ash import shaping
from ash.methods import MethodError, Step

_OPERATIONS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "ash_p": shaping.ash_p,
    "ash_b": shaping.ash_b,
    "ash_s": shaping.ash_s,
    "react": shaping.react,
    "react%": shaping.react,
    "ash_p_global": shaping.ash_p_global,
    "ash_b_global": shaping.ash_b_global,
    "ash_s_global": shaping.ash_s_global,
}


def shape(steps: Sequence[Step], x: Tensor, first_index: int = 0) -> Tensor:
    """x (N, ...) after some steps, x itself where there are none. `first_index`: the index of x[0] in its data set.

    MethodError for a step that has no constant yet, for DICE, and for a registered one that does not keep the shape.
    """
    for step in steps:
        x = _apply(step, x, first_index)
    return x


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
