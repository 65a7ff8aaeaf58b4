"""Picks: what a user does, and the spec that follows from it. Pure: no streamlit, no torch."""

from dataclasses import dataclass, replace
from typing import Any

from app.link.spec import OPENING, RunSpec, controls_of, is_told, keys, printable
from ash.methods import VARIANTS, Method, MethodError
from ash.scores import SCORES


@dataclass(frozen=True)
class Pick:
    """One thing a user did: load a method (here, at a placement, on a network), change a field, reset.

    Made by the class methods.
    """

    kind: str
    name: str = ""
    value: Any = None

    @classmethod
    def method(cls, text: str) -> "Pick":
        """Load a method: a point of the front, a row of a table, a preset. `text` as in `ash_s@90:msp`."""
        return cls("method", value=text)

    @classmethod
    def cell(cls, text: str) -> "Pick":
        """Load a method at a placement: `layer4.0.relu2 ash_s@90`, a cell of the grid."""
        return cls("cell", value=text)

    @classmethod
    def line(cls, text: str) -> "Pick":
        """Load a method on another network: `resnet50 ash_s@90`, a line of the paper's tables."""
        return cls("line", value=text)

    @classmethod
    def score(cls, name: str) -> "Pick":
        """Score what the controls say with this score, the name of one of logits or of one that reads more."""
        return cls("score", value=name)

    @classmethod
    def field(cls, name: str, value: Any) -> "Pick":
        """Set one field of the spec, named as in `keys()`."""
        return cls("field", name, value)

    @classmethod
    def reset(cls) -> "Pick":
        """Back to the view that the app opens with."""
        return cls("reset")


_SETS = ("ood", "on", "set", "source", "sample", "among", "true", "predicted", "scores", "page", "pin")
_FILTERS = ("among", "verdict", "change", "true", "predicted", "scores", "find", "order", "descending")
_OF = {
    "model": ("checkpoint", "placement", "id", "images", "dtype", "more", *_SETS),
    "id": _SETS,
    **dict.fromkeys(_FILTERS, ("page",)),
}  # what another model, ID set or filter makes moot


def unsayable(pick: Pick) -> str:
    """Why a choice cannot be made: a link, which says every view, cannot say it; "" where it can."""
    key = keys().get(pick.name) if pick.kind == "field" else None
    if key is None or pick.value is None:
        return ""
    try:
        key.parse(key.write(pick.value))
    except (ValueError, TypeError, OverflowError):
        return f"{printable(str(pick.value))} cannot be chosen: a link takes {key.wanted} here. Nothing was changed."
    return ""


def reduce(spec: RunSpec, pick: Pick) -> RunSpec:
    """The spec after a pick. A pick that makes no sense changes nothing: it comes from a browser."""
    if pick.kind == "reset":
        return OPENING
    if pick.kind == "method":
        return _load(spec, str(pick.value))
    if pick.kind == "cell":
        placement, _, text = str(pick.value).partition(" ")
        moved = reduce(spec, Pick.field("placement", placement))
        return spec if (loaded := _load(moved, text)) is moved else loaded
    if pick.kind == "line":
        model, _, text = str(pick.value).partition(" ")
        moved = reduce(spec, Pick.field("model", model))
        return spec if (loaded := _load(moved, text)) is moved else loaded
    if pick.kind == "score":
        return _load(spec, _controls_say(spec, str(pick.value)))
    key = keys().get(pick.name)
    if key is None or pick.value is None:
        return spec
    try:
        changed = spec.having(**{pick.name: key.parse(key.write(pick.value))})
    except (ValueError, TypeError, OverflowError):
        return spec
    if pick.name in ("variant", "p", "c", "score"):
        carried = pick.name != "score" and spec.method.scoring.score.follows and controls_say_all_but_the_score(spec)
        changed = replace(changed, other=_controls_say(changed, spec.method.score) if carried else "")
    if pick.name in _OF and changed.value(pick.name) != spec.value(pick.name):
        default = RunSpec()
        changed = changed.having(**{name: default.value(name) for name in _OF[pick.name]})
    return changed


def controls_say_all_but_the_score(spec: RunSpec) -> bool:
    """Whether the method in use is what the controls say, with a score that reads more than logits.

    Or such a score alone, where it follows no shape: what the controls say beside it stays for the way back.
    """
    score = spec.method.scoring.score
    return bool(spec.other) and score.prepared and spec.other == _controls_say(spec, spec.method.score)


def _controls_say(spec: RunSpec, score: str) -> str:
    """The method that variant, p and c say, with a score in place of theirs; that alone where it follows no shape."""
    known = SCORES.get(score.partition("@")[0])
    if spec.variant == "none" or (known and not known.follows):
        return score
    return f"{replace(replace(spec, other='').method, score='energy')}:{score}"


def _load(spec: RunSpec, text: str) -> RunSpec:
    try:
        method = Method.parse(text)
    except MethodError:
        return spec
    if is_told(method):
        return replace(spec, **controls_of(method), score=method.score, other="")
    said = method.variant in VARIANTS and method.steps and method.scoring.score.prepared
    return replace(spec, other=str(method), **(controls_of(method) if said else {}))
