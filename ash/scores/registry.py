"""What a score is: one declaration, which the parser, the sweep, fits, the explorer and the texts follow. No torch.

A score turns what the network makes of a sample into one number, *higher = more in-distribution*, everywhere.
`register_score` declares it beside its function: the scores of the library, one file each, as well as a plug-in's.
"""

import difflib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import numpy as np

from ash.errors import AshError, MethodError
from ash.plugins import Registry, holds

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ash.fitting import Fit
    from ash.scores.nearest import Neighbours

T = TypeVar("T")

Reads = Literal["logits", "activation", "head", "training", "labels", "perturbed", "numerators", "shifted"]
"""logits, activation: of the sample, shaped where steps come first. head: the last layer's weights, so it needs a
placement with nothing else behind it. training: activations of a training set, never shaped. labels: their classes too.
perturbed: its logits are those of images as ODIN perturbs them. numerators: those of a divided head.
shifted: behind its activation z, side by side, stands that of the image as AdaSCALE perturbs it: (R, 2 F)."""

Scorer = Callable[["Tensor", "Tensor"], "Tensor"]
"""Activations z (R, F), maps averaged over H and W, and logits (R, C) -> scores (R,). It changes neither."""

_PREPARED = frozenset(("activation", "head", "training", "labels"))  # for these a function makes a Scorer first
_WORD = re.compile(r"[a-z][a-z0-9_]*")


class ScoreError(AshError):
    """A score cannot be had of the network, the fit or the samples there are; the message says what is missing."""


@dataclass(frozen=True)
class Parameter:
    """The one number a score takes: its letter in sentences, what is meant when it is left out, its range.

    `default` None: what is meant hangs on the network, as the score's docstring says.
    """

    letter: str
    default: float | None
    low: float
    high: float
    whole: bool = False

    def check(self, value: float, text: str, name: str) -> float:
        """The value, if it is in the range; MethodError says in which text it is not."""
        if self.low <= value <= self.high and (not self.whole or value == int(value)):
            return value
        kind = "a whole number" if self.whole else "a number"
        example = min(max(self.default or 0, self.low), self.high)
        raise MethodError(
            f"'{text}': {self.letter} is {kind} from {self.low:g} to {self.high:g}; write for example "
            f"{name}@{example:g}."
        )


@dataclass(frozen=True, eq=False)
class Given:
    """What a score is made ready of: F features a sample, C classes, on the device and in the dtype of the sweep.

    `fit`: what a training bank says, for scores that read it. `weight` (C, F) and `bias` (C,): the last layer, for
    those that read the head. None of it is shaped: a fitted part is that of the training activations as they are.
    `id_pairs`: activations (R, F) of the ID set, chunk by chunk, for scores that read `shifted`.
    """

    device: "torch.device"
    dtype: "torch.dtype"
    size: int
    fit: "Fit | None" = None
    weight: "Tensor | None" = None
    bias: "Tensor | None" = None
    id_pairs: "Callable[[], Iterator[Tensor]] | None" = None

    @property
    def trained(self) -> "Fit":
        """The fit; only for a score that declares that it reads the training set."""
        assert self.fit is not None, "the score does not declare that it reads the training set"
        return self.fit

    @cached_property
    def training(self) -> "Tensor":
        """(n, F) activations of the training set, as many as the fit keeps."""
        return self.tensor(self.trained.features)

    @cached_property
    def neighbours(self) -> "Neighbours":
        """The same at length 1, to look for the nearest of a query q of length 1 among them; one for all of a sweep.

        |q - x|^2 = |q|^2 + 1 - 2 <q, x>, but for an x that is all zero, at |q|^2: as if <q, x> were 1/2.
        """
        from ash.scores.nearest import Neighbours

        directions = unit(self.training)
        zero = (directions == 0).all(1)
        return Neighbours(directions, zero.to(self.dtype) / 2 if zero.any() else None)

    def pairs(self) -> "Iterator[Tensor]":
        """The ID set, chunk by chunk; only for a score that declares that it reads `shifted`."""
        assert self.id_pairs is not None, "the score does not declare that it reads perturbed images beside the plain"
        return self.id_pairs()

    @property
    def head(self) -> "tuple[Tensor, Tensor]":
        """Weight (C, F) and bias (C,) of the last layer in float64; only for a score that declares that it reads it."""
        assert self.weight is not None, "the score does not declare that it reads the head"
        assert self.bias is not None, "a last layer without a bias has one of zeros here"
        return self.weight.to(self.device).double(), self.bias.to(self.device).double()

    @cached_property
    def training_logits(self) -> "Tensor":
        """(n, C) logits of the training activations."""
        weight, bias = (part.to(self.dtype) for part in self.head)
        return product(self.training, weight.T) + bias

    def once(self, what: str, make: "Callable[[], T]") -> "T":
        """What is worked out once of this fit and last layer and kept with the fit: a sweep of one sample is no longer.

        `what` names it, with the parameter if it hangs on one; it must hang on nothing else.
        """
        layer = b"".join(part.cpu().numpy().tobytes() for part in self.head)
        key = (what, str(self.device), self.dtype, sha256(layer).digest())
        if key not in self.trained.held:
            self.trained.held[key] = make()
        found: T = self.trained.held[key]
        return found

    def tensor(self, array: Any) -> "Tensor":
        """An array of the fit in the dtype and on the device of the sweep."""
        import torch

        return torch.from_numpy(array).to(self.device, self.dtype)


def unit(z: "Tensor") -> "Tensor":
    """z (R, F) at length 1; what is zero stays so."""
    return z / z.norm(dim=1, keepdim=True).clamp(min=1e-12)


def product(a: "Tensor", b: "Tensor") -> "Tensor":
    """a (R, F) @ b (F, n); on a CPU by numpy, whose OpenBLAS is a third faster than torch's MKL on AMD's processors."""
    import torch

    if a.device.type != "cpu" or torch.compiler.is_compiling():  # numpy cannot stand in an exported graph
        return a @ b
    with np.errstate(over="ignore", invalid="ignore"):  # a sum beyond the range is infinite, as in torch
        return torch.from_numpy(a.numpy() @ b.numpy())


@dataclass(frozen=True)
class Score:
    """The declaration of a score: how it is written and called, what it reads, its parameter, who published it, when.

    `function` of a score of logits alone: (logits (N, C)[, parameter]) -> (N,), which calling the score is. Of any
    other one: (Given[, parameter]) -> Scorer, for what is worked out once stands before what is done to every sample.
    """

    name: str
    label: str
    reads: tuple[Reads, ...]
    function: Callable[..., Any]
    parameter: Parameter | None = None
    paper: str = ""
    year: int = 0

    @property
    def fitted(self) -> bool:
        """Whether it takes anything from a training set."""
        return not {"training", "labels"}.isdisjoint(self.reads)

    @property
    def prepared(self) -> bool:
        """Whether it reads more than logits, so that its function makes a `Scorer` first."""
        return not _PREPARED.isdisjoint(self.reads)

    @property
    def follows(self) -> bool:
        """Whether it may follow a shape: all but those that look at the network as it is, or shape it themselves."""
        return {"numerators", "shifted"}.isdisjoint(self.reads)

    def __call__(self, logits: "Tensor") -> "Tensor":
        """Scores (N,) of logits (N, C) at the default parameter; AshError for a score that reads more than logits."""
        return Scoring(self, self.default)(logits)

    @property
    def default(self) -> float | None:
        """Its parameter where none is written."""
        return self.parameter.default if self.parameter else None


@dataclass(frozen=True)
class Scoring:
    """A score at a value of its parameter, as a method names it: `knn`, `knn@200`. None: what the network asks for."""

    score: Score
    value: float | None

    def __str__(self) -> str:
        if self.value == self.score.default or self.value is None:
            return self.score.name
        short = f"{self.value:.12g}"
        return f"{self.score.name}@{short if float(short) == self.value else repr(self.value)}"

    @property
    def label(self) -> str:
        """The name people read: `KNN`, `KNN @ 200`."""
        return self.score.label + ("" if str(self) == self.score.name else f" @ {self.value:g}")

    @property
    def _values(self) -> tuple[float | None, ...]:
        return (self.value,) if self.score.parameter else ()

    def __call__(self, logits: "Tensor") -> "Tensor":
        """Scores (N,) of logits (N, C); AshError for a score that reads more than logits."""
        if self.score.prepared:
            raise ScoreError(f"{self} reads {' and '.join(self.score.reads)}: use ash.sweep, which has them.")
        return self.score.function(logits, *self._values)

    def ready(self, given: Given) -> Scorer:
        """What scores the samples of one sweep; ScoreError where something that it reads is missing."""
        if not self.score.prepared:
            return lambda z, logits: self(logits)
        if "head" in self.score.reads and given.weight is None:
            raise ScoreError(
                f"{self} reads the last layer, so it needs a placement with nothing but that layer behind it: the "
                "penultimate one."
            )
        if self.score.fitted and given.fit is None:
            raise ScoreError(f"{self} needs a fit on training activations: give `fit`, from ash.load_fit or ash.fit.")
        if given.fit is not None and self.score.fitted and given.size != len(given.fit.mean):
            raise ScoreError(f"The fit has {len(given.fit.mean)} features, the activations have {given.size}.")
        if "labels" in self.score.reads and not (given.trained.labels >= 0).any():
            raise ScoreError(
                f"{self} needs class means, and the fit on {given.trained.identity.dataset} has none: its training set "
                "has no labels."
            )
        return self.score.function(given, *self._values)


SCORES: Registry[Score] = Registry("score")
"""Every score by the name that a method is written with. Plug-ins are added here too."""


class Labels(Mapping[str, str]):
    """Name -> label of the scores that are wanted, of plug-ins as well, in the order in which they were registered."""

    def __init__(self, wanted: Callable[[Score], bool] = lambda score: True) -> None:
        self._wanted = wanted

    def __getitem__(self, name: str) -> str:
        if not self._wanted(SCORES[name]):
            raise KeyError(name)
        return SCORES[name].label

    def __iter__(self) -> Iterator[str]:
        return (name for name, score in SCORES.items() if self._wanted(score))

    def __len__(self) -> int:
        return sum(1 for _ in self)


ALL_SCORES = Labels()
"""Every score."""

SCORE_LABELS = Labels(lambda score: score.reads == ("logits",))
"""Scores that need nothing but the logits of the banks that are there: every page has them at every percentile."""


def parse_score(text: str, whole: str = "") -> Scoring:
    """The score written as `text`, `knn` or `knn@200`; MethodError names the nearest. `whole`: where it stands."""
    name, at, number = text.partition("@")
    whole = whole or text
    score = SCORES.get(name)
    if score is None:
        nearest = difflib.get_close_matches(name.lower().replace("-", "_"), list(SCORES), n=1, cutoff=0.0)[0]
        if whole == text:
            raise MethodError(f"There is no score '{name}'; the nearest is '{nearest}'.")
        head = whole.partition(":")[0]
        raise MethodError(f"'{whole}': there is no score '{name}'; did you mean {head}:{nearest}?")
    if not at:
        return Scoring(score, score.default)
    if score.parameter is None:
        raise MethodError(f"'{whole}': {name} takes no number; write {name} alone.")
    try:
        value = float(number)
    except ValueError:
        raise MethodError(f"'{whole}': '{number}' is not a number.") from None
    if not math.isfinite(value):
        raise MethodError(f"'{whole}': '{number}' is not a finite number.")
    return Scoring(score, score.parameter.check(value, whole, name))


def register_score(
    name: str,
    label: str,
    *,
    reads: tuple[Reads, ...] = ("logits",),
    parameter: Parameter | None = None,
    paper: str = "",
    year: int = 0,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: make a function known as the score `name`, written `name`, `name@value`, `ash_s@90:name`.

    A score that reads logits alone is `function(logits (N, C)[, value]) -> (N,)`. Any other one is `function(given[,
    value])`, which gets a `Given` and returns `(z (R, F), logits (R, C)) -> (R,)`; only what `reads` names is there.
    Higher must mean more in-distribution, and every sample be scored on its own. MethodError for what cannot be;
    PluginError for a name that is taken.
    """
    if not _WORD.fullmatch(name) or name == "none" or holds("method", name):
        raise MethodError(f"'{name}' cannot name a score: small letters, digits and '_', and no method's name.")
    unknown = set(reads) - set(get_args(Reads))
    if unknown or not reads:
        raise MethodError(f"The score '{name}' reads {', '.join(get_args(Reads))}, not {sorted(unknown) or 'nothing'}.")

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        SCORES.add(name, Score(name, label, tuple(reads), function, parameter, paper, year))
        return function

    return register
