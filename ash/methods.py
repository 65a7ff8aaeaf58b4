"""A method is one row of a table: steps + score, written `ash_s@90`, `energy`, `react@1.0+dice@10:msp`.

    method := step ("+" step)* [":" score] | score
    step   := ash_p | ash_b | ash_s | ash_rand @P        P percent of each sample's activation are removed
            | ash_b_nonzero @P                           ASH-B that fills only the non-zero ones of the kept entries
            | ash_p_global | ash_b_global | ash_s_global @P    what lies below the P-th percentile of the whole ID set
            | react @C | react @P%                       clipped at C, or at the P-th percentile of a training set
            | dice @P                                    the last layer keeps the weights above the P-th percentile
            | scale @P | lts @P                          multiplied by what the P percent smallest values add to the sum
            | vra @A,C | vra @A%,C%                      below A to 0, clipped at C; or at percentiles of a training set
            | bfact @T | bfact @T%                       what is beyond T is turned down, softly
            | ras                                        each rank's value becomes its mean over a training set
            | a registered one @ its parameter
    score  := energy | msp | max_logit | gen | ...       every one of `ash.scores`
            | gen @G | knn @K | vim @D | ...             with its parameter, where it is not the usual one
            | a registered one

Steps are taken in the order in which they are written. In a list of methods a comma before a number belongs to the
step before it. This module imports no torch, so the app can read links and the command line can refuse a typo before
anything heavy is loaded.
"""

import difflib
import itertools
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ash import shapes as shapes  # they register themselves
from ash.errors import MethodError
from ash.scores.registry import ALL_SCORES, SCORE_LABELS, SCORES, Scoring, parse_score
from ash.variants import STEPS, VARIANTS, Effect, Variant, register_method

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ash.fitting import Fit
    from ash.networks.entries import ModelEntry

__all__ = [
    "ALL_SCORES",
    "SCORE_LABELS",
    "STEPS",
    "VARIANTS",
    "Method",
    "MethodError",
    "Step",
    "Variant",
    "baselines",
    "parse_methods",
    "register_method",
]

Perturbation = float | Literal["adascale"]
"""How images are moved before a network sees them: ODIN's step epsilon, 0 for not at all, or AdaSCALE's way."""

ADASCALE: Literal["adascale"] = "adascale"
MOST_METHODS = 100_000  # that one list with ranges may stand for
_PLUS = re.compile(r"\s*\+\s*(?=[A-Za-z_])")  # between steps, not in 1e+16
_COLON = re.compile(r":(?!\s*(?:[-+.\d]|nan|inf))")  # before the score, not in a range
_COMMA = re.compile(r",(?!\s*(?:[-+.\d]|(?:nan|inf)\b))")  # between methods, not between the two numbers of a step


@dataclass(frozen=True)
class Step:
    """A variant, a key of STEPS, and its parameter: of two the smaller one, 0 where it takes none; `upper` the other.

    `constant` is what a parameter in percent stands for, once it is known: the threshold of `react@90%`, from a fit,
    and that of `ash_b_global@65`, from the ID set. `fit`, likewise, is what one without a parameter is fitted to.
    """

    name: str
    parameter: float = 0.0
    constant: float | None = None
    upper: float | None = None
    fit: "Fit | None" = None

    def __post_init__(self) -> None:
        variant = STEPS.get(self.name)
        if variant is None:
            raise MethodError(f"There is no variant '{self.name}'; the nearest is '{_suggest(self.name, [*STEPS])}'.")
        none = variant.parameter is None and not self.parameter
        given = () if none else (self.parameter, *(() if self.upper is None else (self.upper,)))
        values = variant.check_all(tuple(map(float, given)), self.name)
        object.__setattr__(self, "parameter", values[0] if values else 0.0)
        object.__setattr__(self, "upper", values[1] if variant.pair else None)

    @property
    def variant(self) -> Variant:
        """What is known of it."""
        return STEPS[self.name]

    @property
    def values(self) -> tuple[float, ...]:
        """Its numbers as they are written: none, one, or two."""
        if self.variant.parameter is None:
            return ()
        return (self.parameter,) if self.upper is None else (self.parameter, self.upper)

    @property
    def local(self) -> bool:
        """Whether its parameter is a percentile of each sample by itself; what a plug-in does with it is not known."""
        return self.variant.parameter == "percentile" and not self.variant.needs

    def __str__(self) -> str:
        numbers = ",".join(f"{self._exact(value)}{self.variant.unit}" for value in self.values)
        return f"{self.variant.word}@{numbers}" if numbers else self.variant.word

    def _exact(self, value: float) -> str:
        short = f"{value:.12g}"
        return repr(value) if self.variant.parameter == "threshold" or float(short) != value else short

    @property
    def label(self) -> str:
        """The name people read: `ASH-S @ 90`, `ReAct @ 90 %`, `VRA @ 0.5, 1`."""
        unit = f" {self.variant.unit}" if self.variant.unit else ""
        numbers = ", ".join(f"{value:g}{unit}" for value in self.values)
        return f"{self.variant.label} @ {numbers}" if numbers else self.variant.label


def _suggest(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word.lower().replace("-", "_"), known, n=1, cutoff=0.0)
    return near[0] if near else known[0]


@dataclass(frozen=True)
class Method:
    """Steps and a score; parse and str are inverse.

    A method of one step is made of its `variant`, its `parameter` (percentile or threshold) and a score; one of several
    of `steps=(Step(...), Step(...))`: its variant is then written `react+ash_s`, and it has no single parameter.
    `score` is as it is written, `knn` or `knn@200`; `scoring` is what that means.
    """

    variant: str = "none"
    parameter: float | None = None
    score: str = "energy"
    steps: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        scoring = parse_score(self.score)
        object.__setattr__(self, "score", str(scoring))
        steps = tuple(self.steps) or self._single()
        _check(steps, scoring)
        variant = "+".join(step.name for step in steps) or "none"
        parameter = steps[0].values[0] if len(steps) == 1 and len(steps[0].values) == 1 else None
        if (self.variant, self.parameter) not in (("none", None), (variant, parameter)) and self.steps:
            raise MethodError(f"The steps are {variant}, not {self.variant}: give steps, or a variant and parameter.")
        for name, value in (("variant", variant), ("parameter", parameter), ("steps", steps)):
            object.__setattr__(self, name, value)

    def _single(self) -> tuple[Step, ...]:
        """The one step of `variant` and `parameter`, none for an unshaped network."""
        if self.variant == "none" and self.parameter is None:
            return ()
        variant = {**STEPS, "none": VARIANTS["none"]}.get(self.variant)
        if variant is None:
            nearest = _suggest(self.variant, [*VARIANTS, *STEPS])
            raise MethodError(f"There is no variant '{self.variant}'; the nearest is '{nearest}'.")
        if variant.name == "none" or (variant.parameter is None) != (self.parameter is None) or variant.pair:
            takes = f"two {variant.parameter}s" if variant.pair else variant.parameter or "no parameter"
            raise MethodError(f"'{self.variant}' takes {takes}; write {variant.example}.")
        return (Step(self.variant, self.parameter or 0.0),)

    @classmethod
    def parse(cls, text: str) -> "Method":
        """The method written as `text`; MethodError names the nearest valid form."""
        whole = text.strip()
        head, colon, score = whole.partition(":")
        if not colon and head.partition("@")[0] in SCORES:
            return cls(score=head)
        steps = tuple(_step(part, whole) for part in _PLUS.split(head))
        scoring = parse_score(score if colon else "energy", whole)
        _check(steps, scoring, whole)
        return cls(score=str(scoring), steps=steps)

    def __str__(self) -> str:
        if not self.steps:
            return self.score
        return "+".join(map(str, self.steps)) + ("" if self.score == "energy" else f":{self.score}")

    @property
    def percentile(self) -> float | None:
        """p for the single steps whose parameter is a percentile of each sample by itself, otherwise None."""
        return self.parameter if len(self.steps) == 1 and self.steps[0].local else None

    @property
    def pruned(self) -> float | None:
        """p of its only step with a percentile, of each sample by itself or of the ID set; else None."""
        found = [step.parameter for step in self.steps if step.local or step.variant.needs == "id"]
        return found[0] if len(found) == 1 else None

    @property
    def does(self) -> Effect:
        """What its only step does to values; "" where that can only be observed: a plug-in, several steps, or none."""
        return self.steps[0].variant.does if len(self.steps) == 1 else ""

    @property
    def scoring(self) -> Scoring:
        """Its score and that score's parameter."""
        return parse_score(self.score)

    @property
    def needs_fit(self) -> bool:
        """Whether it takes anything from a training set."""
        return self.scoring.score.fitted or any(step.variant.needs == "fit" for step in self.steps)

    @property
    def label(self) -> str:
        """The name people read: `ASH-S @ 90`, `Energy`, `ASH-B @ 65, Max softmax`, `ReAct @ 1 + DICE @ 10`."""
        if not self.steps:
            return self.scoring.label
        tail = "" if self.score == "energy" else f", {self.scoring.label}"
        return " + ".join(step.label for step in self.steps) + tail

    def shape(self, x: "Tensor", first_index: int = 0) -> "Tensor":
        """The shaped activation (a new tensor). `first_index`: the index of x[0] in its data set, for ASH-RAND.

        MethodError for steps whose constant comes from other activations than x, and for DICE: `ash.sweep` has both.
        """
        if not self.steps:
            return x
        from ash.engine import steps

        return steps.shape(self.steps, x, first_index)

    def logits(self, tail: "nn.Module", x: "Tensor", first_index: int = 0) -> "Tensor":
        """The logits (N, C) of activations x (N, ...) under this method, by the tail behind them; else as `shape`.

        They are the tail's of the shaped activation, times the factor of a step that scales logits (lts).
        """
        from ash.engine import steps

        shaped, factor = steps.run(self.steps, x, first_index)
        return steps.scaled(tail(shaped), factor)


def _check(steps: tuple[Step, ...], scoring: Scoring, whole: str = "") -> None:
    """MethodError unless the steps may follow each other and the score may follow them."""
    whole = whole or "+".join(map(str, steps)) + f":{scoring}"
    if steps and not scoring.score.follows:
        raise MethodError(f"'{whole}': {scoring} looks at the network as it is; write {scoring} alone.")
    if any(step.name == "dice" for step in steps[:-1]):
        raise MethodError(f"'{whole}': dice masks the weights of the last layer, so it is the last step, and once.")
    if any(step.name == "dice" for step in steps) and scoring.score.prepared:
        raise MethodError(f"'{whole}': dice masks weights and leaves alone what {scoring} reads; write another score.")


def _step(text: str, whole: str) -> Step:
    """One step as it is written."""
    name, at, rest = text.partition("@")
    numbers = [number.strip() for number in rest.split(",")]
    percent = STEPS.get(f"{name}%") if all(number.endswith("%") for number in numbers) else None
    variant = percent or STEPS.get(name)
    if variant is None:
        known = [*SCORES, *(variant.word for variant in STEPS.values())]
        nearest = _suggest(name, known)
        form = STEPS[nearest].example if nearest in STEPS else nearest
        if at and nearest in STEPS:
            form = f"{nearest}@{rest}"
        raise MethodError(f"'{whole}' is not a method; did you mean {form}?")
    if not at and variant.parameter is not None:
        raise MethodError(f"'{whole}' needs its {variant.parameter}; write for example {variant.example}.")
    values = tuple(_number(one, whole, variant) for one in numbers) if at else ()
    values = variant.check_all(values, whole)
    return Step(variant.name, values[0] if values else 0.0, upper=values[1] if variant.pair else None)


def _number(text: str, whole: str, variant: Variant) -> float:
    """One number of a step, without its unit."""
    try:
        return float(text.removesuffix(variant.unit))
    except ValueError:
        raise MethodError(f"'{whole}': '{text}' is not a number; write for example {variant.example}.") from None


def _range(text: str) -> list[str]:
    """`ash_s@5:95:5` -> `ash_s@5`, ..., `ash_s@95` (inclusive), of two numbers each by itself; others as they are."""
    name, at, rest = text.partition("@")
    if not at:
        return [text]
    every = [_numbers(part, name, text) for part in rest.split(",")]
    if math.prod(map(len, every)) > MOST_METHODS:
        raise MethodError(f"'{text}' stands for more than {MOST_METHODS:,} methods: take larger steps.")
    return [f"{name}@{','.join(some)}" for some in itertools.product(*every)]


def _numbers(part: str, name: str, text: str) -> list[str]:
    """`5:95:5` -> `5`, ..., `95`; a single number, or what is none, as it is."""
    unit = "%" if part.endswith("%") else ""
    numbers = []
    for number in part.removesuffix(unit).split(":"):
        try:
            numbers.append(float(number))
        except ValueError:
            return [part]
    if len(numbers) == 1:
        return [part]
    if len(numbers) != 3:
        raise MethodError(f"'{text}': a range is start:stop:step; write for example {name}@5:95:5{unit}.")
    start, stop, step = numbers
    if not (math.isfinite(start) and math.isfinite(stop) and step > 0 and stop >= start):
        raise MethodError(f"'{text}': a range needs start <= stop and a step > 0; for example {name}@5:95:5{unit}.")
    count = (stop - start) / step + 1e-9
    if count >= MOST_METHODS:
        raise MethodError(f"'{text}' stands for more than {MOST_METHODS:,} methods: take a larger step.")
    return [f"{start + i * step:.12g}{unit}" for i in range(int(count) + 1)]


def _expand(term: str) -> Iterator[str]:
    """A method with ranges -> the methods, in every combination."""
    body, *score = _COLON.split(term, maxsplit=1)
    ranges = [_range(step) for step in _PLUS.split(body)]
    scores = [f":{one}" for one in _range(score[0])] if score else [""]
    if math.prod(map(len, ranges)) * len(scores) > MOST_METHODS:
        raise MethodError(f"'{term}' stands for more than {MOST_METHODS:,} methods: take larger steps.")
    for *some, last in itertools.product(*ranges, scores):
        yield "+".join(some) + last


def parse_methods(text: str) -> list[Method]:
    """A comma-separated list with inclusive ranges, `energy,ash_s@5:95:5,vra@0.5,1`; repeated methods appear once."""
    terms = [term.strip() for term in _COMMA.split(text) if term.strip()]
    if not terms:
        raise MethodError("No method given; write for example energy,ash_s@90.")
    return list(dict.fromkeys(Method.parse(one) for term in terms for one in _expand(term)))


def perturbations(entry: "ModelEntry", methods: Iterable[Method]) -> dict[str, Perturbation]:
    """How a model's images are moved for some methods, by the argument of `sweep` that takes those banks."""
    read = {one for method in methods for one in method.scoring.score.reads}
    ways: dict[str, Perturbation] = {"perturbed": entry.odin_epsilon, "shifted": ADASCALE}
    return {name: way for name, way in ways.items() if name in read}


DEFAULT_DICE = 90.0  # DICE's share for CIFAR, where a model states none
DICE_AFTER_REACT = 10.0  # DICE's share after ReAct in its authors' demonstration


def baselines(entry: "ModelEntry") -> list[Method]:
    """The methods that the paper compares with, at a model's own settings: from the plainest to the combined ones."""
    c, p = entry.react_threshold, entry.dice_percentile
    scaled = [method for method in map(Method.parse, entry.presets.values()) if method.variant == "ash_s"]
    react, dice = Step("react", c), Step("dice", DEFAULT_DICE if p is None else p)
    return [
        *(Method(score=score) for score in ("msp", "max_logit", "odin", "mahalanobis", "energy")),
        Method(steps=(react,)),
        Method(steps=(dice,)),
        Method(steps=(react, Step("dice", DICE_AFTER_REACT))),
        Method(steps=(react, *(scaled[0].steps if scaled else (Step("ash_s", 90),)))),
    ]
