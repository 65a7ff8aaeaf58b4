"""RunSpec: the one frozen dataclass every page reads, its URL form, and picks -> new spec. No streamlit, no torch.

For the author of a page: `render(spec: RunSpec) -> None` gets the configuration of this run and only reads it. A
control or a chart that changes it sends a `Pick` (see `app.state`); nobody writes session state or the URL by hand.
A view option that belongs in the link is one more field below: name, URL key, default, and what is allowed.
"""

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any

from ash.methods import SCORE_LABELS, VARIANTS, Method, MethodError

LINK_VERSION = "1"
PENULTIMATE = "penultimate"  # the placement of this name, for every model
OFF = -1.0  # `budget` when any loss of accuracy is fine
LEAVES = (*(f"table{n}" for n in range(1, 6)), *(f"figure{n}" for n in range(2, 7)))  # of the page Paper
OBJECTIVES = ("id_accuracy", "auroc", "fpr95", "aupr")
LEAST_C, MOST_C = 1e-4, 1e6  # what a number field takes
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,79}")


@dataclass(frozen=True)
class Key:
    """How one field is written in a link: `parse` raises ValueError on anything `wanted` does not describe."""

    key: str
    wanted: str
    parse: Callable[[str], Any]
    write: Callable[[Any], str] = str


def _choice(key: str, default: str, allowed: Collection[str], wanted: str) -> Any:
    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(text)
        return text

    return field(default=default, metadata={"link": Key(key, f"{wanted} ({', '.join(allowed)})", parse)})


def _name(key: str, default: str, wanted: str) -> Any:
    def parse(text: str) -> str:
        if text and not _NAME.fullmatch(text):
            raise ValueError(text)
        return text or default

    return field(default=default, metadata={"link": Key(key, wanted, parse)})


def _names(key: str, wanted: str, empty: str) -> Any:
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(text.split(","))) if text not in ("", empty) else ()
        if not all(_NAME.fullmatch(name) for name in names):
            raise ValueError(text)
        return names

    return field(default=(), metadata={"link": Key(key, wanted, parse, lambda names: ",".join(names) or empty)})


def write_number(value: float) -> str:
    """The shortest text that reads back as exactly this number: `65`, `66.7`."""
    return str(int(value)) if float(value).is_integer() else repr(value)


def _number(key: str, default: float, wanted: str, allowed: Callable[[float], bool]) -> Any:
    def parse(text: str) -> float:
        value = float(text)
        if not (math.isfinite(value) and allowed(value)):
            raise ValueError(text)
        return value + 0.0  # turns -0.0 into 0.0

    return field(default=default, metadata={"link": Key(key, wanted, parse, write_number)})


def _budget(key: str) -> Any:
    def parse(text: str) -> float:
        value = OFF if text in ("", "off") else float(text)
        if value != OFF and not 0 <= value <= 100:
            raise ValueError(text)
        return value + 0.0

    def write(value: float) -> str:
        return "off" if value == OFF else write_number(value)

    return field(default=OFF, metadata={"link": Key(key, "'off' or points of accuracy in [0, 100]", parse, write)})


def _index(key: str, wanted: str) -> Any:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text):
            raise ValueError(text)
        return int(text)

    return field(default=0, metadata={"link": Key(key, wanted, parse)})


def _flag(key: str) -> Any:
    def parse(text: str) -> bool:
        if text not in ("0", "1"):
            raise ValueError(text)
        return text == "1"

    return field(default=False, metadata={"link": Key(key, "0 or 1", parse, lambda value: str(int(value)))})


def _other(key: str) -> Any:
    def parse(text: str) -> str:
        return "" if text in ("", "none") else _beyond(Method.parse(text))  # MethodError is a ValueError

    wanted = "a method beyond the sidebar"
    return field(default="", metadata={"link": Key(key, wanted, parse, lambda text: str(text) or "none")})


def _beyond(method: Method) -> str:
    """The text of a method that the sidebar's controls cannot say; ValueError for one that they can."""
    if method.variant in VARIANTS and method.score in SCORE_LABELS:
        raise ValueError(str(method))
    return str(method)


def _percentile_allowed(p: float) -> bool:
    """p = 0.9 is refused, as in `Method`: it is nearly always a fraction that was meant to be 90 percent."""
    return p == 0 or 1 <= p < 100


@dataclass(frozen=True)
class RunSpec:
    """One configuration and one view of it. Hashable, so it can key a cache."""

    model: str = _name("model", "demo", "a model name")
    placement: str = _name("placement", PENULTIMATE, "a placement name")
    variant: str = _choice("variant", "ash_b", tuple(VARIANTS), "a variant")
    p: float = _number("p", 65.0, "a percentile in [0, 100)", _percentile_allowed)
    c: float = _number("c", 1.0, f"a threshold in [{LEAST_C:g}, {MOST_C:g}]", lambda c: LEAST_C <= c <= MOST_C)
    score: str = _choice("score", "energy", tuple(SCORE_LABELS), "a score")
    other: str = _other("method")  # a method that variant, p, c and score cannot say, in their place
    ood: tuple[str, ...] = _names(
        "ood", "'all' or a comma-separated list of data-set names", "all"
    )  # () is all of them
    # The ID set ("" is the model's own), the most images of a set (0 is the usual number), the number format of banks
    id: str = _name("id", "", "an ID set")
    images: int = _index("n", "a number of images, 0 for the usual one")
    dtype: str = _choice("dtype", "float32", ("float32", "float16"), "a number format")
    # Trade-off: objectives on the axes, OOD set or 'mean', accuracy that may be lost, the full range
    x: str = _choice("x", "id_accuracy", OBJECTIVES, "an objective")
    y: str = _choice("y", "auroc", OBJECTIVES, "an objective")
    on: str = _name("on", "mean", "'mean' or an OOD set")
    budget: float = _budget("budget")
    show_all: bool = _flag("all")
    others: bool = _flag("others")  # the methods of the literature beside the variants
    # Scores: axis of the histograms, OOD set or 'all', share of ID accepted in percent, picture
    axis: str = _choice("axis", "relative", ("relative", "raw", "rank"), "an axis")
    set: str = _name("set", "all", "'all' or an OOD set")
    tpr: float = _number("tpr", 95.0, "a percentage in (0, 100]", lambda t: 0 < t <= 100)
    curve: str = _choice("curve", "hist", ("hist", "scrub", "roc", "pr"), "a picture")
    # Activations: data set of the sample ('id' is the model's own), its number, picture
    source: str = _name("source", "id", "'id' or an OOD set")
    sample: int = _index("sample", "a sample number, 0 or more")
    view: str = _choice("view", "units", ("units", "maps", "logits"), "a picture")
    # Placements: placements without a display name to compare as well, what the grid shows
    more: tuple[str, ...] = _names("more", "'none' or a comma-separated list of placement names", "none")
    cells: str = _choice("cells", "auroc", OBJECTIVES, "an objective")
    # Library: which shelf is open
    shelf: str = _choice("shelf", "models", ("models", "data", "activations"), "a shelf")
    # Paper: which table or figure, the OOD set of its columns, whose network is measured, whose rules measure
    leaf: str = _choice("leaf", "table1", LEAVES, "a table or figure")
    column: str = _name("column", "mean", "'mean' or an OOD set of the table")
    beside: str = _choice("beside", "sidebar", ("sidebar", "own"), "whose network is measured")
    rules: str = _choice("rules", "ours", ("ours", "authors"), "whose rules")

    @property
    def method(self) -> Method:
        """The library's `Method`: of variant, parameter and score, or the other one that stands in their place."""
        if self.other:
            return Method.parse(self.other)
        parameter = {"percentile": self.p, "threshold": self.c, None: None}[VARIANTS[self.variant].parameter]
        return Method(self.variant, parameter, self.score)


@cache
def keys() -> dict[str, Key]:
    """Field name -> how it is written in a link, in the order of the fields."""
    return {one.name: one.metadata["link"] for one in fields(RunSpec)}


def to_query(spec: RunSpec, every: bool = False) -> dict[str, str]:
    """URL key -> text. Only what differs from the default, or `every` key plus the version for a link to keep."""
    query = {"v": LINK_VERSION} if every else {}
    default = RunSpec()
    for name, key in keys().items():
        value = getattr(spec, name)
        if every or value != getattr(default, name):
            query[key.key] = key.write(value)
    return query


def from_query(query: Mapping[str, str]) -> tuple[RunSpec, list[str]]:
    """The spec of a link and one sentence for each value that was not understood. Never raises; unknown keys pass."""
    values: dict[str, Any] = {}
    notices: list[str] = []
    default = RunSpec()
    for name, key in keys().items():
        text = query.get(key.key)
        if text is None:
            continue
        try:
            values[name] = key.parse(text)
        except ValueError:
            used = key.write(getattr(default, name))
            notices.append(f"{key.key}={printable(text)} is not {key.wanted}; using {used}.")
    if query.get("v", LINK_VERSION) != LINK_VERSION:
        notices.append(f"This link has version {printable(query['v'])}, this program reads version {LINK_VERSION}.")
    return replace(default, **values), notices


def printable(text: str) -> str:
    """Text from a link made harmless and short enough to be shown in a sentence."""
    safe = re.sub(r"[^A-Za-z0-9 .,:+@%_-]", "?", text)
    return safe if len(safe) <= 24 else safe[:21] + "..."


def settle(spec: RunSpec, known: Mapping[str, Collection[str]]) -> tuple[RunSpec, list[str]]:
    """Replace names the server does not have (field -> known names, default first) and say so, one sentence each.

    Where the known names are a mapping, its values are what they are called from then on: one view has one name.
    """
    notices = []
    for name, names in known.items():
        one = getattr(spec, name)
        if isinstance(names, Mapping) and isinstance(one, str) and one in names:
            spec = replace(spec, **{name: names[one]})
    for name, names in known.items():
        value: Any = getattr(spec, name)
        asked = value if isinstance(value, tuple) else (value,)
        missing = [one for one in asked if one not in names]
        if not missing:
            continue
        kept: Any = tuple(one for one in asked if one in names) if isinstance(value, tuple) else next(iter(names))
        key = keys()[name]
        notices.append(f"{key.key}={printable(','.join(missing))} is not known here; using {key.write(kept)}.")
        spec = replace(spec, **{name: kept})
    return spec, notices


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
    def field(cls, name: str, value: Any) -> "Pick":
        """Set one field of the spec."""
        return cls("field", name, value)

    @classmethod
    def reset(cls) -> "Pick":
        """Back to the default of everything."""
        return cls("reset")


_SETS = ("ood", "on", "set", "source", "sample")
_OF = {
    "model": ("placement", "id", "images", "dtype", "more", *_SETS),
    "id": _SETS,
}  # what another model or ID set makes moot


def reduce(spec: RunSpec, pick: Pick) -> RunSpec:
    """The spec after a pick. A pick that makes no sense changes nothing: it comes from a browser."""
    if pick.kind == "reset":
        return RunSpec()
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
    key = keys().get(pick.name)
    if key is None or pick.value is None:
        return spec
    try:
        changed = replace(spec, **{pick.name: key.parse(key.write(pick.value))})
    except (ValueError, TypeError, OverflowError):
        return spec
    if pick.name in ("variant", "p", "c", "score"):
        changed = replace(changed, other="")
    if pick.name in _OF and getattr(changed, pick.name) != getattr(spec, pick.name):
        default = RunSpec()
        changed = replace(changed, **{name: getattr(default, name) for name in _OF[pick.name]})
    return changed


def _load(spec: RunSpec, text: str) -> RunSpec:
    try:
        method = Method.parse(text)
    except MethodError:
        return spec
    if method.variant not in VARIANTS or method.score not in SCORE_LABELS:
        return replace(spec, other=str(method))
    kind = VARIANTS[method.variant].parameter
    parameter = {"percentile": "p", "threshold": "c"}.get(kind or "")
    values: dict[str, Any] = {parameter: method.parameter} if parameter else {}
    return replace(spec, variant=method.variant, score=method.score, other="", **values)
