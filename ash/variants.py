"""The steps that a method can be made of, by name: what the grammar of `methods` knows. No torch here.

`register_method` adds a step: in the parser, in the sweep on any tail, and among the variants that the explorer offers.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ash.errors import MethodError
from ash.plugins import Registry
from ash.scores.registry import SCORES

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["percentile", "threshold"]
Shape = Callable[["Tensor", float], "Tensor"]
Effect = Literal["", "prune", "fill", "scale", "random", "clip", "weights"]
"""What is done to values: all but the kept are set to 0, and the kept stay (prune), become one constant (fill), are
multiplied by one factor (scale) or become noise (random); values are cut from above (clip); none is touched (weights).
"" is not known: what a plug-in does can only be observed, by `ash.trace`."""


@dataclass(frozen=True)
class Variant:
    """What is done to the activation, or to the last layer's weights (dice).

    `parameter`: a percentile in [0, 100) or a threshold > 0. `needs`: what its constant is computed from: `fit`, the
    activations of a training set (`ash.fitting`); `id`, all activations of the ID set that is evaluated. `does` is ""
    for a plug-in, whose `function` this is; `low`, `high` narrow its parameter.
    """

    name: str
    label: str
    parameter: Kind | None
    example: str
    unit: str = ""
    needs: Literal["", "fit", "id"] = ""
    function: Shape | None = None
    low: float = -math.inf
    high: float = math.inf
    does: Effect = ""

    def check(self, value: float, whole: str) -> float:
        """The parameter, if it is in the variant's range; MethodError says in which text it is not."""
        write = f"write for example {self.example}."
        if self.parameter == "percentile" and not 0 <= value < 100:
            raise MethodError(f"'{whole}': p must lie in [0, 100), got {value:g}; {write}")
        if self.parameter == "percentile" and 0 < value < 1:
            percent = f"{self.word}@{value * 100:g}{self.unit}"
            meant = f"remove {value:.0%}" if not self.unit else f"clip at the {value * 100:g}th percentile"
            raise MethodError(f"'{whole}': p is in percent; write {percent} to {meant}.")
        if self.parameter == "threshold" and not (value > 0 and math.isfinite(value)):
            raise MethodError(f"'{whole}': the threshold must be a positive number; {write}")
        if not self.low <= value <= self.high:
            raise MethodError(f"'{whole}': {self.label} takes {self.low:g} to {self.high:g}, got {value:g}; {write}")
        return value

    @property
    def word(self) -> str:
        """The name as it is written: `react@90%` is the variant `react%`."""
        return self.name.removesuffix(self.unit) if self.unit else self.name

    @property
    def letter(self) -> str:
        """What its parameter is called in sentences: `p` for a percentile, `c` for a threshold, "" without one."""
        return {"percentile": "p", "threshold": "c", None: ""}[self.parameter]


_OFFERED = (
    Variant("none", "Energy", None, "energy"),
    Variant("ash_p", "ASH-P", "percentile", "ash_p@60", does="prune"),
    Variant("ash_b", "ASH-B", "percentile", "ash_b@65", does="fill"),
    Variant("ash_s", "ASH-S", "percentile", "ash_s@90", does="scale"),
    Variant("ash_rand", "ASH-RAND", "percentile", "ash_rand@65", does="random"),
    Variant("react", "ReAct", "threshold", "react@1.0", does="clip"),
)

VARIANTS: Registry[Variant] = Registry("method", {variant.name: variant for variant in _OFFERED})
"""What the explorer offers in its sidebar: they need nothing but the bank. Plug-ins are added here too."""

STEPS: Registry[Variant] = Registry(
    "method",
    {
        variant.name: variant
        for variant in (
            *(variant for variant in _OFFERED if variant.parameter),
            Variant("ash_b_nonzero", "ASH-B non-zero", "percentile", "ash_b_nonzero@65"),
            Variant("react%", "ReAct", "percentile", "react@90%", unit="%", needs="fit", does="clip"),
            Variant("dice", "DICE", "percentile", "dice@70", needs="fit", does="weights"),
            Variant("ash_p_global", "ASH-P global", "percentile", "ash_p_global@60", needs="id", does="prune"),
            Variant("ash_b_global", "ASH-B global", "percentile", "ash_b_global@95", needs="id", does="fill"),
            Variant("ash_s_global", "ASH-S global", "percentile", "ash_s_global@90", needs="id", does="scale"),
        )
    },
)
"""Everything that can be a step of a method."""

PRUNES: tuple[Effect, ...] = ("prune", "fill", "scale", "random")  # effects that keep some values and zero the others
PRUNING = ("ash_p", "ash_b", "ash_s", "ash_rand")  # what remains is a prefix of each sample's sorted values

_WORD = re.compile(r"[a-z][a-z0-9_]*")


def register_method(
    name: str, label: str, parameter: Kind = "percentile", low: float = -math.inf, high: float = math.inf
) -> Callable[[Shape], Shape]:
    """Decorator: make `function(x, parameter) -> shaped x` known as the step `name@parameter`.

    x (N, ...) holds the activations of N samples, float32 or float64, and must not be changed; every sample must be
    shaped on its own. `parameter` is a percentile in [0, 100) or a threshold > 0, within `low` .. `high`.
    MethodError for what cannot be; PluginError for a name that is taken.
    """
    if not _WORD.fullmatch(name) or name in SCORES or name == "none":
        raise MethodError(f"'{name}' cannot name a method: small letters, digits and '_', and no score's name.")
    if parameter not in ("percentile", "threshold"):
        raise MethodError(f"The parameter of '{name}' is a percentile or a threshold, not '{parameter}'.")

    def register(function: Shape) -> Shape:
        middle = 90.0 if parameter == "percentile" else 1.0
        example = f"{name}@{min(max(middle, low), high):g}"
        made = Variant(name, label, parameter, example, function=function, low=low, high=high)
        STEPS.add(name, made)
        VARIANTS.add(name, made)
        return function

    return register


def forget_method(name: str) -> None:
    """Take a registered method back; those that come with the library stay."""
    if name in STEPS and STEPS[name].function is not None:
        del STEPS[name], VARIANTS[name]
