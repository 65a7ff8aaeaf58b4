"""A method is one row of a table: variant + parameter + score, written `ash_s@90`, `energy`, `react@1.0:msp`.

Grammar: `[variant@parameter][:score]`, or a score alone for the network as it is. This module imports no torch, so the
app can read links and the command line can refuse a typo before anything heavy is loaded.
"""

import difflib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor


class MethodError(ValueError):
    """A method's text does not parse; the message says what is wrong and names the nearest valid form."""


@dataclass(frozen=True)
class Variant:
    """What is done to the activation: `function` names the operation of `ash.shaping`."""

    name: str
    label: str
    parameter: Literal["percentile", "threshold"] | None
    example: str


VARIANTS: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        Variant("none", "Energy", None, "energy"),
        Variant("ash_p", "ASH-P", "percentile", "ash_p@60"),
        Variant("ash_b", "ASH-B", "percentile", "ash_b@65"),
        Variant("ash_s", "ASH-S", "percentile", "ash_s@90"),
        Variant("ash_rand", "ASH-RAND", "percentile", "ash_rand@65"),
        Variant("react", "ReAct", "threshold", "react@1.0"),
    )
}
SCORE_LABELS: dict[str, str] = {"energy": "Energy", "msp": "Max softmax", "max_logit": "Max logit"}


def _suggest(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word.lower().replace("-", "_"), known, n=1, cutoff=0.0)
    return near[0] if near else known[0]


def _parameter(variant: Variant, text: str, whole: str) -> float:
    """The number after `@`, checked against the variant's range."""
    try:
        value = float(text)
    except ValueError:
        raise MethodError(f"'{whole}': '{text}' is not a number; write for example {variant.example}.") from None
    if variant.parameter == "percentile" and not 0 <= value < 100:
        raise MethodError(f"'{whole}': p must lie in [0, 100), got {text}; write for example {variant.example}.")
    if variant.parameter == "percentile" and 0 < value < 1:
        raise MethodError(f"'{whole}': p is in percent; write {variant.name}@{value * 100:g} to remove {value:.0%}.")
    if variant.parameter == "threshold" and not (value > 0 and math.isfinite(value)):
        raise MethodError(f"'{whole}': the threshold must be a positive number; write for example {variant.example}.")
    return value


@dataclass(frozen=True)
class Method:
    """Variant, its parameter (percentile in [0, 100) or threshold > 0) and score; parse and str are inverse."""

    variant: str = "none"
    parameter: float | None = None
    score: str = "energy"

    def __post_init__(self) -> None:
        variant = VARIANTS.get(self.variant)
        if variant is None:
            nearest = _suggest(self.variant, list(VARIANTS))
            raise MethodError(f"There is no variant '{self.variant}'; the nearest is '{nearest}'.")
        if self.score not in SCORE_LABELS:
            nearest = _suggest(self.score, list(SCORE_LABELS))
            raise MethodError(f"There is no score '{self.score}'; the nearest is '{nearest}'.")
        if (variant.parameter is None) != (self.parameter is None):
            raise MethodError(f"'{self.variant}' takes {variant.parameter or 'no parameter'}; write {variant.example}.")
        if self.parameter is not None:
            object.__setattr__(self, "parameter", _parameter(variant, repr(float(self.parameter)), self.variant))

    @classmethod
    def parse(cls, text: str) -> "Method":
        """The method written as `text`; MethodError names the nearest valid form."""
        whole = text.strip()
        head, colon, score = whole.partition(":")
        if not colon and head in SCORE_LABELS:
            return cls(score=head)
        name, at, parameter = head.partition("@")
        variant = VARIANTS.get(name)
        if variant is None or name == "none":
            known = [*SCORE_LABELS, *(name for name in VARIANTS if name != "none")]
            nearest = _suggest(name, known)
            form = VARIANTS[nearest].example if nearest in VARIANTS else nearest
            if at and nearest in VARIANTS:
                form = f"{nearest}@{parameter}"
            raise MethodError(f"'{whole}' is not a method; did you mean {form}?")
        if not at:
            raise MethodError(f"'{whole}' needs its {variant.parameter}; write for example {variant.example}.")
        if colon and score not in SCORE_LABELS:
            nearest = _suggest(score, list(SCORE_LABELS))
            raise MethodError(f"'{whole}': there is no score '{score}'; did you mean {head}:{nearest}?")
        return cls(name, _parameter(variant, parameter, whole), score if colon else "energy")

    def __str__(self) -> str:
        if self.variant == "none":
            return self.score
        number = repr(self.parameter) if self.variant == "react" else f"{self.parameter:.12g}"
        return f"{self.variant}@{number}" + ("" if self.score == "energy" else f":{self.score}")

    @property
    def percentile(self) -> float | None:
        """p for the variants that prune, otherwise None."""
        return self.parameter if VARIANTS[self.variant].parameter == "percentile" else None

    @property
    def label(self) -> str:
        """The name people read: `ASH-S @ 90`, `Energy`, `ASH-B @ 65, Max softmax`."""
        if self.variant == "none":
            return SCORE_LABELS[self.score]
        tail = "" if self.score == "energy" else f", {SCORE_LABELS[self.score]}"
        return f"{VARIANTS[self.variant].label} @ {self.parameter:g}{tail}"

    def shape(self, x: "Tensor", first_index: int = 0) -> "Tensor":
        """The shaped activation (a new tensor). `first_index`: the index of x[0] in its data set, for ASH-RAND."""
        from ash import shaping

        if self.parameter is None:
            return x
        if self.variant == "ash_rand":
            return shaping.ash_rand(x, self.parameter, first_index=first_index)
        operation = {"ash_p": shaping.ash_p, "ash_b": shaping.ash_b, "ash_s": shaping.ash_s, "react": shaping.react}
        return operation[self.variant](x, self.parameter)


def _expand(term: str) -> Iterator[str]:
    """`ash_s@5:95:5` -> `ash_s@5`, ..., `ash_s@95` (inclusive); any other term as it is."""
    name, _, rest = term.partition("@")
    parts = rest.split(":")
    numbers = []
    for part in parts[:3]:
        try:
            numbers.append(float(part))
        except ValueError:
            break
    if len(numbers) < 2:
        yield term
        return
    if len(numbers) == 2:
        raise MethodError(f"'{term}': a range is start:stop:step; write for example {name}@5:95:5.")
    start, stop, step = numbers
    if not (math.isfinite(start) and math.isfinite(stop) and step > 0 and stop >= start):
        raise MethodError(f"'{term}': a range needs start <= stop and a step > 0; write for example {name}@5:95:5.")
    score = "".join(f":{part}" for part in parts[3:])
    for index in range(int((stop - start) / step + 1e-9) + 1):
        yield f"{name}@{start + index * step:.12g}{score}"


def parse_methods(text: str) -> list[Method]:
    """A comma-separated list with inclusive ranges, `energy,ash_s@5:95:5,ash_b@65`; repeated methods appear once."""
    terms = [term.strip() for term in text.split(",") if term.strip()]
    if not terms:
        raise MethodError("No method given; write for example energy,ash_s@90.")
    return list(dict.fromkeys(Method.parse(one) for term in terms for one in _expand(term)))
