"""What each page lets people choose for itself: one small record a page, part of the `RunSpec`. No streamlit, no torch.

A field says its URL key, its default, and what a link may say; names and keys are unique over all pages. What more
than one page reads is a field of `RunSpec` itself.
"""

from dataclasses import dataclass

from app.link import fields as links

LEAVES = (*(f"table{n}" for n in range(1, 6)), *(f"figure{n}" for n in range(2, 7)))  # of the page Paper
# of the page Guide: the README, and the files of app/guide
GUIDES = (
    "start",
    "tour",
    "methods",
    "library",
    "detector",
    "own-network",
    "own-data",
    "extraction",
    "speed",
    "serving",
    "architecture",
)
ORDERS = ("score", "margin", "change", "name")  # of the samples
OBJECTIVES = ("id_accuracy", "auroc", "fpr95", "aupr")


@dataclass(frozen=True)
class TradeoffOptions:
    """Trade-off: the objectives on the axes, and whether the methods of the literature stand beside the variants."""

    x: str = links.choice("x", "id_accuracy", OBJECTIVES, "an objective")
    y: str = links.choice("y", "auroc", OBJECTIVES, "an objective")
    others: bool = links.flag("others")


@dataclass(frozen=True)
class ScoresOptions:
    """Scores: the axis of the histograms, and the picture."""

    axis: str = links.choice("axis", "relative", ("relative", "raw", "rank"), "an axis")
    curve: str = links.choice("curve", "hist", ("hist", "scrub", "roc", "pr"), "a picture")


@dataclass(frozen=True)
class ActivationsOptions:
    """Activations: the picture of one sample."""

    view: str = links.choice("view", "units", ("units", "maps", "logits"), "a picture")


@dataclass(frozen=True)
class PlacementsOptions:
    """Placements: those without a display name to compare as well, and what the grid shows."""

    more: tuple[str, ...] = links.names("more", "'none' or a comma-separated list of placement names", "none")
    cells: str = links.choice("cells", "auroc", OBJECTIVES, "an objective")


@dataclass(frozen=True)
class SamplesOptions:
    """Samples: what the page shows; filters of the grid, by default none; its order and page; a part of one sample."""

    look: str = links.choice("look", "story", ("story", "grid", "one", "own"), "a part of the page Samples")
    among: str = links.set_name("among", "all", "'all', 'id', '!id' or an OOD set", "all", "id", "!id")
    verdict: str = links.choice("verdict", "all", ("all", "accepted", "rejected"), "a verdict")
    change: str = links.choice("change", "all", ("all", "rescued", "broken"), "a change")
    true: str = links.text("true", "the name of a class, or 'none of the classes'")
    predicted: str = links.text("predicted", "the name of a class")
    scores: tuple[float, ...] = links.interval("scores", "'all' or two scores, low,high")
    find: str = links.text("find", "a part of a file name")
    order: str = links.choice("order", "score", ORDERS, "an order")
    descending: bool = links.flag("descending")
    page: int = links.index("page", "a page, 0 is the first")
    part: str = links.choice("part", "percentiles", ("percentiles", "top5", "where"), "a part of one sample")


@dataclass(frozen=True)
class StartOptions:
    """Start: nothing."""


@dataclass(frozen=True)
class LabOptions:
    """Shape lab: which room, which step of the algorithm, which question."""

    room: str = links.choice("room", "steps", ("steps", "predict", "relu"), "a part of the page Shape lab")
    step: int = links.index("step", "a step, 0 is the first")
    question: str = links.name("question", "first", "a question")


@dataclass(frozen=True)
class LessonsOptions:
    """Lessons: the one that is open."""

    lesson: str = links.name("lesson", "none", "'none' or a lesson")


@dataclass(frozen=True)
class PaperOptions:
    """Paper: which table or figure, the OOD set of its columns, whose network is measured, whose rules measure."""

    leaf: str = links.choice("leaf", "table1", LEAVES, "a table or figure")
    column: str = links.set_name("column", "mean", "'mean' or an OOD set of the table", "mean")
    beside: str = links.choice("beside", "sidebar", ("sidebar", "own"), "whose network is measured")
    rules: str = links.choice("rules", "ours", ("ours", "authors"), "whose rules")


@dataclass(frozen=True)
class LibraryOptions:
    """Library: which shelf is open."""

    shelf: str = links.choice("shelf", "models", ("models", "data", "activations"), "a shelf")


@dataclass(frozen=True)
class GuideOptions:
    """Guide: which one is open."""

    guide: str = links.choice("guide", "start", GUIDES, "a guide")
