"""RunSpec: the one frozen dataclass every page reads, and its URL form. No streamlit, no torch.

For the author of a page: `render(spec: RunSpec) -> None` gets the configuration of this run and only reads it. A
control or a chart that changes it sends a `Pick` (see `state`); nobody writes session state or the URL by hand.
A view option that belongs in the link is one more field of the page's record in `options`.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any

from app.link import fields as links
from app.link import options
from app.link.fields import LEAST_SHARE, Key
from ash.methods import SCORE_LABELS, VARIANTS, Method
from ash.tables import MEANS

LINK_VERSION = "1"
PENULTIMATE = "penultimate"  # the placement of this name, for every model
LEAST_C, MOST_C = 1e-4, 1e6  # what a number field takes
_METHOD = 120  # characters of a method; usual are less than 40


def _other(key: str) -> Any:
    def parse(text: str) -> str:
        return "" if text in ("", "none") else _text_of(Method.parse(text))  # MethodError is a ValueError

    wanted = "a method"
    return field(default="", metadata={"link": Key(key, wanted, parse, lambda text: str(text) or "none")})


def _text_of(method: Method) -> str:
    """The text of a method; ValueError for an absurd one."""
    text = str(method)
    absurd = len(text) > _METHOD or any(
        value and not LEAST_C <= value <= MOST_C
        for step in method.steps
        for value in (step.values if step.variant.parameter == "threshold" else ())
    )
    if absurd:
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

    model: str = links.model("model", "demo")
    checkpoint: str = links.text("checkpoint", "the name of a checkpoint")  # of several; "" is all of them
    placement: str = links.name("placement", PENULTIMATE, "a placement name")
    variant: str = links.choice("variant", "ash_b", VARIANTS, "a variant")
    p: float = links.number("p", 65.0, "a percentile in [0, 100)", _percentile_allowed)
    c: float = links.number("c", 1.0, f"a threshold in [{LEAST_C:g}, {MOST_C:g}]", lambda c: LEAST_C <= c <= MOST_C)
    score: str = links.choice("score", "energy", SCORE_LABELS, "a score")
    other: str = _other("method")  # a method that variant, p, c and score cannot say, in their place
    ood: tuple[str, ...] = links.set_names(
        "ood", "'all' or a comma-separated list of data-set names", "all"
    )  # () is all of them
    # The ID set ("" is the model's own), the most images of a set (0 is the usual number), the number format of banks
    id: str = links.set_name("id", "", "an ID set")
    images: int = links.index("n", "a number of images, 0 for the usual one")
    dtype: str = links.choice("dtype", "float32", ("float32", "float16"), "a number format")
    # The images that the pages which choose a setting measure it on; a choice is made on the validation images
    split: str = links.choice("split", "test", ("test", "all"), "a part of the images")
    # Read by more than one page. Trade-off and Placements: the OOD sets, accuracy that may be lost, the full range
    on: str = links.set_name("on", "mean", "'mean', 'near', 'far' or an OOD set", *MEANS)
    budget: float = links.budget("budget")
    show_all: bool = links.flag("all")
    # Scores and Activations: OOD set or 'all'. Scores, Activations and Samples: share of ID accepted in percent
    set: str = links.set_name("set", "all", "'all' or an OOD set", "all")
    tpr: float = links.number("tpr", 95.0, f"a percentage in [{LEAST_SHARE:g}, 100]", lambda t: LEAST_SHARE <= t <= 100)
    # Activations, Samples and Shape lab: data set of the sample ('id' is the model's own), its number; a pinned sample
    source: str = links.set_name("source", "id", "'id' or an OOD set", "id")
    sample: int = links.index("sample", "a sample number, 0 or more")
    pin: str = links.text("pin", "a sample, its set:number,")
    # What one page alone is asked for
    tradeoff: options.TradeoffOptions = field(default_factory=options.TradeoffOptions)
    scores: options.ScoresOptions = field(default_factory=options.ScoresOptions)
    activations: options.ActivationsOptions = field(default_factory=options.ActivationsOptions)
    placements: options.PlacementsOptions = field(default_factory=options.PlacementsOptions)
    samples: options.SamplesOptions = field(default_factory=options.SamplesOptions)
    start: options.StartOptions = field(default_factory=options.StartOptions)
    lab: options.LabOptions = field(default_factory=options.LabOptions)
    lessons: options.LessonsOptions = field(default_factory=options.LessonsOptions)
    paper: options.PaperOptions = field(default_factory=options.PaperOptions)
    library: options.LibraryOptions = field(default_factory=options.LibraryOptions)
    guide: options.GuideOptions = field(default_factory=options.GuideOptions)

    @classmethod
    def of(cls, **values: Any) -> "RunSpec":
        """The spec with these fields, named as in `keys()`: a page's own too. TypeError for a name that is none."""
        return cls().having(**values)

    def having(self, **values: Any) -> "RunSpec":
        """This spec with some fields changed, whichever record holds them. TypeError for a name that is none."""
        changes: dict[str, Any] = {}
        for name, value in values.items():
            page = _holder(name)
            if page:
                changes[page] = replace(changes.get(page, getattr(self, page)), **{name: value})
            else:
                changes[name] = value
        return replace(self, **changes)

    def value(self, name: str) -> Any:
        """One field, whichever record holds it. TypeError for a name that is none."""
        page = _holder(name)
        return getattr(getattr(self, page) if page else self, name)

    @property
    def method(self) -> Method:
        """The library's `Method`: of variant, parameter and score, or the other one that stands in their place."""
        if self.other:
            return Method.parse(self.other)
        parameter = {"percentile": self.p, "threshold": self.c, None: None}[VARIANTS[self.variant].parameter]
        return Method(self.variant, parameter, self.score)


OPENING = RunSpec(model="mobilenet_v2_photos", variant="ash_s", p=75.0)  # what an address without a query means


@cache
def _fields() -> dict[str, tuple[str, Key]]:
    """Field name -> the page whose options hold it ("" for the spec itself), and how it is written in a link."""
    own = [one for one in fields(RunSpec) if "link" in one.metadata]
    pages = [one.name for one in fields(RunSpec) if one not in own]
    held = [("", one) for one in own]
    held += [(page, one) for page in pages for one in fields(getattr(RunSpec(), page))]
    return {one.name: (page, one.metadata["link"]) for page, one in held}


def _holder(name: str) -> str:
    if name not in _fields():
        raise TypeError(f"RunSpec has no field '{name}'")
    return _fields()[name][0]


@cache
def keys() -> dict[str, Key]:
    """Field name -> how it is written in a link: the fields of the spec itself, then those of each page."""
    return {name: key for name, (_, key) in _fields().items()}


def to_query(spec: RunSpec, every: bool = False) -> dict[str, str]:
    """URL key -> text: nothing for `OPENING`, else what differs from `RunSpec()`, and never nothing.

    `every` key, plus the version, for a file that says all of it.
    """
    if every:
        return {"v": LINK_VERSION, **{key.key: key.write(spec.value(name)) for name, key in keys().items()}}
    return {} if spec == OPENING else lasting_query(spec)


def lasting_query(spec: RunSpec) -> dict[str, str]:
    """URL key -> text of what differs from `RunSpec()`, never nothing: it means the same whatever the app opens on."""
    default = RunSpec()
    differing = {name: key for name, key in keys().items() if spec.value(name) != default.value(name)}
    return {key.key: key.write(spec.value(name)) for name, key in (differing or {"model": keys()["model"]}).items()}


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
            used = key.write(default.value(name))
            notices.append(f"The link says {key.key}={printable(text)} instead of {key.wanted}: {used} is used.")
    if query.get("v", LINK_VERSION) != LINK_VERSION:
        notices.append(f"This link has version {printable(query['v'])}, this program reads version {LINK_VERSION}.")
    spec = default.having(**values)
    if spec.other and is_told(method := Method.parse(spec.other)):
        spec = replace(spec, **controls_of(method), score=method.score, other="")
    return spec, notices


def controls_of(method: Method) -> dict[str, Any]:
    """The fields by which the sidebar's controls say the steps of a method of one of its variants."""
    parameter = {"percentile": "p", "threshold": "c"}.get(VARIANTS[method.variant].parameter or "")
    return {"variant": method.variant} | ({parameter: method.parameter} if parameter else {})


def is_told(method: Method) -> bool:
    """Whether the sidebar's controls can say a method, its score too."""
    return method.variant in VARIANTS and method.score in SCORE_LABELS


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
        value: Any = spec.value(name)
        asked = value if isinstance(value, tuple) else (value,)
        missing = [one for one in asked if one not in names]
        if not missing:
            continue
        kept: Any = tuple(one for one in asked if one in names) if isinstance(value, tuple) else next(iter(names))
        key = keys()[name]
        used = key.write(kept) or "none"
        notices.append(
            f"The link says {key.key}={printable(','.join(missing))}, which is not known here: {used} is used."
        )
        spec = spec.having(**{name: kept})
    for name, names in known.items():
        one = spec.value(name)
        if isinstance(names, Mapping) and isinstance(one, str):
            spec = spec.having(**{name: names[one]})
    return spec, notices
