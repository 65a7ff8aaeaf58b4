"""The numbers that the paper prints, as marks in a chart: hollow, dotted and grey; none passes for a measured one."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import pandas as pd

from app.charts.plain import Figure, Part, scatter
from app.theme import MARKS, colours, layout, percent
from ash import paper
from ash.methods import VARIANTS, Method

NETWORK = "resnet50"  # the only one that the paper prints accuracies for


@dataclass(frozen=True)
class Published:
    """A setting whose ID accuracy and average AUROC (None: not at this setting) the paper prints, for its ResNet-50."""

    method: Method
    id_accuracy: float
    auroc: float | None
    note: str = ""

    @property
    def spot(self) -> tuple[float, float]:
        """Where it is drawn: accuracy across, AUROC upward."""
        return self.id_accuracy, self.auroc or 0.0

    @property
    def label(self) -> str:
        """`S@90`, `ReAct`, `Energy`."""
        if self.method.percentile is None:
            return VARIANTS[self.method.variant].label
        return f"{VARIANTS[self.method.variant].label.removeprefix('ASH-')}@{self.method.percentile:g}"

    @property
    def hover(self) -> str:
        """What the mark says."""
        detection = "" if self.auroc is None else f"<br>AUROC {percent(self.auroc, 2)}"
        return (
            f"<b>Published: {self.method.label}</b><br>ResNet-50 on ImageNet<br>"
            f"ID accuracy {percent(self.id_accuracy, 2)}{detection}{'<br>' if self.note else ''}{self.note}"
        )


@cache
def settings(both: bool = False) -> tuple[Published, ...]:
    """Every setting with a printed ID accuracy, in the paper's order; with `both`, only those with an AUROC too."""
    points, four, one = paper.points(), paper.load(4), paper.load(1)
    points = points[(points["quantity"] == "id_accuracy") & (points["model"] == NETWORK)]
    accuracy = dict(zip(points["method"], points["value"], strict=True))
    flags = {row.method: paper.FLAGS[row.flag] for row in four.itertuples() if row.flag}
    accuracy |= _values(four, "id_accuracy")
    mean = one[(one["model"] == NETWORK) & (one["ood"] == "mean")]
    detection = {**_values(mean, "auroc"), **_values(four, "auroc")}
    return tuple(
        Published(Method.parse(text), value, detection.get(text), flags.get(text, ""))
        for text, value in accuracy.items()
        if text in detection or not both
    )


def _values(rows: pd.DataFrame, metric: str) -> dict[str, float]:
    chosen = rows[rows["metric"] == metric]
    return dict(zip(chosen["method"], chosen["value"], strict=True))


def energy() -> Published:
    """The unshaped network of the paper."""
    return next(one for one in settings() if not one.method.steps)


def trace(points: Sequence[Published], dark: bool, name: str = "published") -> Part:
    """Hollow grey marks with a dot inside, in the symbols of their variants; no measured mark has such a dot."""
    colour = colours(dark)
    symbols = [f"{MARKS[one.method.variant].symbol.removesuffix('-open')}-open-dot" for one in points]
    return scatter(
        x=[round(one.spot[0], 4) for one in points],
        y=[round(one.spot[1], 4) for one in points],
        name=name,
        mode="markers",
        marker={"symbol": symbols, "size": 12, "color": colour["muted"], "line": {"width": 1.5}},
        hovertext=[one.hover for one in points],
        hoverinfo="text",
        showlegend=True,
    )


def figure(points: Sequence[Published], dark: bool, height: int) -> Figure:
    """The published settings alone, on axes of their own: for beside what another network does, in a chart as high."""
    ordered = sorted(points, key=lambda one: one.spot)  # neighbours have their labels on different sides
    sides = [("bottom center", "top center")[place % 2] for place in range(len(ordered))]
    marks = {**trace(ordered, dark), "showlegend": False, "mode": "markers+text", "textposition": sides}
    marks |= {"text": [one.label for one in ordered], "textfont": {"color": colours(dark)["ink"], "size": 12}}
    axes = {
        name: {"title": {"text": title, "standoff": 8}, "zeroline": False, "range": _padded(values)}
        for name, title, values in (
            ("xaxis", "ID accuracy (%)", [one.spot[0] for one in points]),
            ("yaxis", "AUROC (%)", [one.spot[1] for one in points]),
        )
    }
    return Figure([marks], layout(dark, height=height, margin={"l": 8, "r": 12, "t": 8, "b": 8}, **axes))


def _padded(values: Sequence[float]) -> list[float]:
    """A range with room for marks and their labels."""
    room = 0.12 * (max(values) - min(values))
    return [min(values) - room, max(values) + room]
