"""RunSpec: the one frozen dataclass every page reads, its URL form, and picks -> new spec. No streamlit, no torch.

For the author of a page: `render(spec: RunSpec) -> None` gets the configuration of this run and only reads it. A
control or a chart that changes it sends a `Pick` (see `state`); nobody writes session state or the URL by hand.
A view option that belongs in the link is one more field below: name, URL key, default, and what is allowed.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any

from app.link import fields as links
from app.link.fields import LEAST_SHARE, Key
from ash.methods import SCORE_LABELS, VARIANTS, Method, MethodError

LINK_VERSION = "1"
PENULTIMATE = "penultimate"  # the placement of this name, for every model
LEAVES = (*(f"table{n}" for n in range(1, 6)), *(f"figure{n}" for n in range(2, 7)))  # of the page Paper
# of the page Guide: the README, and the files of app/guide
GUIDES = (
    "start",
    "tour",
    "methods",
    "library",
    "own-network",
    "own-data",
    "extraction",
    "speed",
    "serving",
    "architecture",
)
ORDERS = ("score", "margin", "change", "name")  # of the samples
OBJECTIVES = ("id_accuracy", "auroc", "fpr95", "aupr")
LEAST_C, MOST_C = 1e-4, 1e6  # what a number field takes
_METHOD = 120  # characters of a method; usual are less than 40


def _other(key: str) -> Any:
    def parse(text: str) -> str:
        return "" if text in ("", "none") else _beyond(Method.parse(text))  # MethodError is a ValueError

    wanted = "a method beyond the sidebar"
    return field(default="", metadata={"link": Key(key, wanted, parse, lambda text: str(text) or "none")})


def _beyond(method: Method) -> str:
    """The text of a method that the sidebar's controls cannot say; ValueError for any other, and for an absurd one."""
    text = str(method)
    told = method.variant in VARIANTS and method.score in SCORE_LABELS
    absurd = len(text) > _METHOD or any(
        step.variant.parameter == "threshold" and not LEAST_C <= step.parameter <= MOST_C for step in method.steps
    )
    if told or absurd:
        raise ValueError(text)
    return text


def _percentile_allowed(p: float) -> bool:
    """p = 0.9 is refused, as in `Method`: it is nearly always a fraction that was meant to be 90 percent."""
    return p == 0 or 1 <= p < 100


@dataclass(frozen=True)
class RunSpec:
    """One configuration and one view of it. Hashable, so it can key a cache.

    `RunSpec()` is what links are differences from. It never changes: every link ever written counts on it. What the
    app opens with is `OPENING`.
    """

    model: str = links.name("model", "demo", "a model name")
    placement: str = links.name("placement", PENULTIMATE, "a placement name")
    variant: str = links.choice("variant", "ash_b", VARIANTS, "a variant")
    p: float = links.number("p", 65.0, "a percentile in [0, 100)", _percentile_allowed)
    c: float = links.number("c", 1.0, f"a threshold in [{LEAST_C:g}, {MOST_C:g}]", lambda c: LEAST_C <= c <= MOST_C)
    score: str = links.choice("score", "energy", tuple(SCORE_LABELS), "a score")
    other: str = _other("method")  # a method that variant, p, c and score cannot say, in their place
    ood: tuple[str, ...] = links.set_names(
        "ood", "'all' or a comma-separated list of data-set names", "all"
    )  # () is all of them
    # The ID set ("" is the model's own), the most images of a set (0 is the usual number), the number format of banks
    id: str = links.set_name("id", "", "an ID set")
    images: int = links.index("n", "a number of images, 0 for the usual one")
    dtype: str = links.choice("dtype", "float32", ("float32", "float16"), "a number format")
    # Trade-off: objectives on the axes, OOD set or 'mean', accuracy that may be lost, the full range
    x: str = links.choice("x", "id_accuracy", OBJECTIVES, "an objective")
    y: str = links.choice("y", "auroc", OBJECTIVES, "an objective")
    on: str = links.set_name("on", "mean", "'mean' or an OOD set", "mean")
    budget: float = links.budget("budget")
    show_all: bool = links.flag("all")
    others: bool = links.flag("others")  # the methods of the literature beside the variants
    # Scores: axis of the histograms, OOD set or 'all', share of ID accepted in percent, picture
    axis: str = links.choice("axis", "relative", ("relative", "raw", "rank"), "an axis")
    set: str = links.set_name("set", "all", "'all' or an OOD set", "all")
    tpr: float = links.number("tpr", 95.0, f"a percentage in [{LEAST_SHARE:g}, 100]", lambda t: LEAST_SHARE <= t <= 100)
    curve: str = links.choice("curve", "hist", ("hist", "scrub", "roc", "pr"), "a picture")
    # Activations: data set of the sample ('id' is the model's own), its number, picture
    source: str = links.set_name("source", "id", "'id' or an OOD set", "id")
    sample: int = links.index("sample", "a sample number, 0 or more")
    view: str = links.choice("view", "units", ("units", "maps", "logits"), "a picture")
    # Placements: placements without a display name to compare as well, what the grid shows
    more: tuple[str, ...] = links.names("more", "'none' or a comma-separated list of placement names", "none")
    cells: str = links.choice("cells", "auroc", OBJECTIVES, "an objective")
    # Library: which shelf is open
    shelf: str = links.choice("shelf", "models", ("models", "data", "activations"), "a shelf")
    # Paper: which table or figure, the OOD set of its columns, whose network is measured, whose rules measure
    leaf: str = links.choice("leaf", "table1", LEAVES, "a table or figure")
    column: str = links.set_name("column", "mean", "'mean' or an OOD set of the table", "mean")
    beside: str = links.choice("beside", "sidebar", ("sidebar", "own"), "whose network is measured")
    rules: str = links.choice("rules", "ours", ("ours", "authors"), "whose rules")
    # Samples: what the page shows; filters of the grid, their empty value is no filter; order, page; a pinned sample
    look: str = links.choice("look", "story", ("story", "grid", "one", "own"), "a part of the page Samples")
    among: str = links.set_name("among", "all", "'all', 'id' or an OOD set", "all", "id")
    verdict: str = links.choice("verdict", "all", ("all", "accepted", "rejected"), "a verdict")
    change: str = links.choice("change", "all", ("all", "rescued", "broken"), "a change")
    true: str = links.text("true", "the name of a class")
    predicted: str = links.text("predicted", "the name of a class")
    scores: tuple[float, ...] = links.interval("scores", "'all' or two scores, low,high")
    find: str = links.text("find", "a part of a file name")
    order: str = links.choice("order", "score", ORDERS, "an order")
    descending: bool = links.flag("descending")
    page: int = links.index("page", "a page, 0 is the first")
    pin: str = links.text("pin", "a sample, its set:number,")
    part: str = links.choice("part", "percentiles", ("percentiles", "top5", "where"), "a part of one sample")
    # Shape lab: which room, which step of the algorithm, which question; the lesson that is open
    room: str = links.choice("room", "steps", ("steps", "predict", "relu"), "a part of the page Shape lab")
    step: int = links.index("step", "a step, 0 is the first")
    question: str = links.name("question", "first", "a question")
    lesson: str = links.name("lesson", "none", "'none' or a lesson")
    # Guide: which one is open
    guide: str = links.choice("guide", "start", GUIDES, "a guide")

    @property
    def method(self) -> Method:
        """The library's `Method`: of variant, parameter and score, or the other one that stands in their place."""
        if self.other:
            return Method.parse(self.other)
        parameter = {"percentile": self.p, "threshold": self.c, None: None}[VARIANTS[self.variant].parameter]
        return Method(self.variant, parameter, self.score)


OPENING = RunSpec()  # what an address without a query means


@cache
def keys() -> dict[str, Key]:
    """Field name -> how it is written in a link, in the order of the fields."""
    return {one.name: one.metadata["link"] for one in fields(RunSpec)}


def to_query(spec: RunSpec, every: bool = False) -> dict[str, str]:
    """URL key -> text: nothing for `OPENING`, else what differs from `RunSpec()`, and never nothing.

    `every` key, plus the version, for a link to keep.
    """
    if spec == OPENING and not every:
        return {}
    query = {"v": LINK_VERSION} if every else {}
    default = RunSpec()
    for name, key in keys().items():
        value = getattr(spec, name)
        if every or value != getattr(default, name):
            query[key.key] = key.write(value)
    return query or {keys()["model"].key: spec.model}


def from_query(query: Mapping[str, str]) -> tuple[RunSpec, list[str]]:
    """The spec of a link and one sentence for each value that was not understood. Never raises; unknown keys pass.

    A link with any key of a field is a difference from `RunSpec()`; one without is `OPENING`.
    """
    values: dict[str, Any] = {}
    notices: list[str] = []
    default = RunSpec() if any(key.key in query for key in keys().values()) else OPENING
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
    safe = re.sub(r"[^\w .,:+@%-]", "?", text)
    return safe if len(safe) <= 24 else safe[:21] + "..."


def settle(spec: RunSpec, known: Mapping[str, Collection[str]]) -> tuple[RunSpec, list[str]]:
    """Replace names the server does not have (field -> known names, default first) and say so, one sentence each.

    Where the known names are a mapping, its values are what they are called from then on: one view has one name.
    """
    notices = []
    for name, names in known.items():
        value: Any = getattr(spec, name)
        asked = value if isinstance(value, tuple) else (value,)
        missing = [one for one in asked if one not in names]
        if not missing:
            continue
        kept: Any = tuple(one for one in asked if one in names) if isinstance(value, tuple) else next(iter(names))
        key = keys()[name]
        used = key.write(kept) or "none"
        notices.append(f"{key.key}={printable(','.join(missing))} is not known here; using {used}.")
        spec = replace(spec, **{name: kept})
    for name, names in known.items():
        one = getattr(spec, name)
        if isinstance(names, Mapping) and isinstance(one, str):
            spec = replace(spec, **{name: names[one]})
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
        """Back to the view that the app opens with."""
        return cls("reset")


_SETS = ("ood", "on", "set", "source", "sample", "among", "true", "predicted", "scores", "page", "pin")
SAMPLE_FILTERS = ("among", "verdict", "change", "true", "predicted", "scores", "find", "order", "descending")
_OF = {
    "model": ("placement", "id", "images", "dtype", "more", *_SETS),
    "id": _SETS,
    **dict.fromkeys(SAMPLE_FILTERS, ("page",)),
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
