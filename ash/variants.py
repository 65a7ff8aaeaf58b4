"""The steps that a method can be made of, by name: what the grammar of `methods` knows. No torch here.

`register_method` adds a step: in the parser, in the sweep on any tail, and among the variants that the explorer offers.
The later shapes of the library, one a file in `ash/shapes`, are declared by it too.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ash.errors import MethodError
from ash.plugins import Registry, holds

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["percentile", "threshold"]
Shape = Callable[..., "Tensor"]
Effect = Literal["", "prune", "fill", "scale", "random", "clip", "weights", "multiply", "logits"]
"""What is done to values: all but the kept are set to 0, and the kept stay (prune), become one constant (fill), are
multiplied by one factor (scale) or become noise (random); values are cut from above (clip); all of a sample are
multiplied by one factor (multiply); none is touched, but the last layer's weights (weights) or the logits (logits).
"" is not known: what a plug-in does can only be observed, by `ash.trace`."""


@dataclass(frozen=True)
class Variant:
    """What is done to the activation, to the last layer's weights (dice), or to the logits (lts).

    `parameter`: a percentile in [0, 100), a threshold > 0, or None for one without; a `pair` of them where there are
    two, the smaller one first and, for thresholds, maybe 0. `needs`: what its constant is computed from: `fit`, the
    activations of a training set (`ash.fitting`); `id`, all activations of the ID set that is evaluated. `function` is
    that of a registered one, see `register_method`; `low`, `high` narrow its parameter. `does` is "" where only a look
    at the values tells. `says` is one sentence for people, and `signed` one for placements whose values may be
    negative, where it cannot do what its `paper` (of `year`) says.
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
    pair: bool = False
    paper: str = ""
    year: int | None = None
    says: str = ""
    signed: str = ""

    @property
    def reads(self) -> tuple[str, ...]:
        """What it takes: the sample's activation, and the logits, the training bank or the ID set where it needs it."""
        more = {"fit": ("training bank",), "id": ("ID set",), "": ()}[self.needs]
        return ("activation", *(("logits",) if self.does == "logits" else ()), *more)

    def check_all(self, values: tuple[float, ...], whole: str) -> tuple[float, ...]:
        """The parameters, if they are as many as it takes, each in its range and in order; else MethodError."""
        wanted = 0 if self.parameter is None else 2 if self.pair else 1
        if len(values) != wanted:
            takes = {0: "no parameter", 1: f"one {self.parameter}", 2: f"two {self.parameter}s"}[wanted]
            raise MethodError(f"'{whole}': {self.label} takes {takes}; write for example {self.example}.")
        if self.pair:
            first, last = values
            self.check(last, whole)
            if first != 0 or self.parameter == "percentile":
                self.check(first, whole)
            if not first < last:
                raise MethodError(f"'{whole}': the first number must be the smaller; write for example {self.example}.")
            return values
        return tuple(self.check(value, whole) for value in values)

    def check(self, value: float, whole: str) -> float:
        """The parameter, if it is in the variant's range; MethodError says in which text it is not."""
        write = f"write for example {self.example}."
        if self.parameter == "percentile" and not 0 <= value < 100:
            raise MethodError(f"'{whole}': p must lie in [0, 100), got {value:g}; {write}")
        if self.parameter == "percentile" and 0 < value < 1:
            percent = f"{self.word}@{value * 100:g}{self.unit}"
            verb = "clip at" if self.does == "clip" else "mean"
            meant = f"{verb} the {value * 100:g}th percentile" if self.unit else f"remove {value:.0%}"
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

    @property
    def letters(self) -> str:
        """What its thresholds are called: `c`, or `a, c` of two."""
        return "a, c" if self.pair else "c"


_ASH: dict[str, Any] = {
    "paper": "Djurisic et al., Extremely Simple Activation Shaping for Out-of-Distribution Detection",
    "year": 2023,
    "says": "Share of the activation that is removed.",
}
_SIGNED = "Values may be negative here: B and S then fill or scale by sums that may be negative too."
_REACT: dict[str, Any] = {
    "paper": "Sun et al., ReAct: Out-of-distribution Detection With Rectified Activations",
    "year": 2021,
    "says": "ReAct clips every activation at c.",
}
_DICE = "Sun and Li, DICE: Leveraging Sparsification for Out-of-Distribution Detection"

_ENERGY = "Liu et al., Energy-based Out-of-distribution Detection"

_OFFERED = (
    Variant("none", "Energy", None, "energy", paper=_ENERGY, year=2020),
    Variant("ash_p", "ASH-P", "percentile", "ash_p@60", does="prune", **_ASH),
    Variant("ash_b", "ASH-B", "percentile", "ash_b@65", does="fill", signed=_SIGNED, **_ASH),
    Variant("ash_s", "ASH-S", "percentile", "ash_s@90", does="scale", signed=_SIGNED, **_ASH),
    Variant("ash_rand", "ASH-RAND", "percentile", "ash_rand@65", does="random", **_ASH),
    Variant("react", "ReAct", "threshold", "react@1.0", does="clip", **_REACT),
)

VARIANTS: Registry[Variant] = Registry("method", {variant.name: variant for variant in _OFFERED})
"""What the explorer offers in its sidebar: they need nothing but the bank. Plug-ins are added here too."""

STEPS: Registry[Variant] = Registry(
    "method",
    {
        variant.name: variant
        for variant in (
            *(variant for variant in _OFFERED if variant.parameter),
            Variant("ash_b_nonzero", "ASH-B non-zero", "percentile", "ash_b_nonzero@65", **_ASH),
            Variant("react%", "ReAct", "percentile", "react@90%", unit="%", needs="fit", does="clip", **_REACT),
            Variant("dice", "DICE", "percentile", "dice@70", needs="fit", does="weights", paper=_DICE, year=2022),
            Variant("ash_p_global", "ASH-P global", "percentile", "ash_p_global@60", needs="id", does="prune", **_ASH),
            Variant("ash_b_global", "ASH-B global", "percentile", "ash_b_global@95", needs="id", does="fill", **_ASH),
            Variant("ash_s_global", "ASH-S global", "percentile", "ash_s_global@90", needs="id", does="scale", **_ASH),
        )
    },
)
"""Everything that can be a step of a method."""

PRUNES: tuple[Effect, ...] = ("prune", "fill", "scale", "random")  # effects that keep some values and zero the others
PRUNING = ("ash_p", "ash_b", "ash_s", "ash_rand")  # what remains is a prefix of each sample's sorted values
SCALING = ("scale", "lts")  # nothing is pruned: the sum of such a prefix decides a factor for the whole sample
RANKED = (*PRUNING, *SCALING)  # one pass gives every percentile where the tail is linear
LIMITING = ("react", "bfact")  # large values are held down, at one threshold for all samples

_WORD = re.compile(r"[a-z][a-z0-9_]*")


def register_method(
    name: str,
    label: str,
    parameter: Kind | None = "percentile",
    low: float = -math.inf,
    high: float = math.inf,
    *,
    pair: bool = False,
    fitted: bool = False,
    does: Literal["", "multiply", "logits"] = "",
    example: str = "",
    paper: str = "",
    year: int | None = None,
    says: str = "",
    signed: str = "",
) -> Callable[[Shape], Shape]:
    """Decorator: make `function(x, parameter) -> shaped x` known as the step `name@parameter`.

    x (N, ...) holds the activations of N samples, float32 or float64, and must not be changed; every sample must be
    shaped on its own. `parameter` is a percentile in [0, 100) or a threshold > 0, within `low` .. `high`; of a `pair`,
    `name@a,b`, the function takes both. A `fitted` one takes something from a training bank: thresholds may then be
    given as its percentiles too, `name@95%`, and with `parameter` None the function gets the `ash.fitting.Fit`.

    `does` "logits": the function returns a factor (N,) for each sample's logits, and the activation stays as it is.
    The rest as in `Variant`; of one number and without a fit, the explorer's sidebar offers it.
    MethodError for what cannot be; PluginError for a name that is taken.
    """
    if not _WORD.fullmatch(name) or holds("score", name) or name == "none":
        raise MethodError(f"'{name}' cannot name a method: small letters, digits and '_', and no score's name.")
    if parameter not in ("percentile", "threshold", None):
        raise MethodError(f"The parameter of '{name}' is a percentile or a threshold, not '{parameter}'.")
    if parameter is None and not fitted:
        raise MethodError(f"'{name}' has no parameter, so it must be fitted.")
    if pair and not example:
        raise MethodError(f"'{name}' takes two numbers: give an example, as {name}@0.5,1.")

    def register(function: Shape) -> Shape:
        middle = 90.0 if parameter == "percentile" else 1.0
        form = example or (f"{name}@{min(max(middle, low), high):g}" if parameter else name)
        about: dict[str, Any] = {"paper": paper, "year": year, "says": says, "signed": signed, "does": does}
        about |= {"function": function, "pair": pair}
        needs: Literal["", "fit"] = "" if parameter else "fit"
        made = Variant(name, label, parameter, form, needs=needs, low=low, high=high, **about)
        STEPS.add(name, made)
        if parameter == "threshold" and fitted:
            form = f"{name}@60%,95%" if pair else f"{name}@95%"
            STEPS.add(f"{name}%", Variant(f"{name}%", label, "percentile", form, unit="%", needs="fit", **about))
        if parameter is not None and not pair:
            VARIANTS.add(name, made)
        return function

    return register


def forget_method(name: str) -> None:
    """Take a registered method back; those that come with the library stay."""
    for key in (name, f"{name}%"):
        if key in STEPS.users():
            del STEPS[key]
            VARIANTS.pop(key, None)
