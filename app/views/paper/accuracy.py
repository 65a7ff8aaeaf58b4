"""ID accuracy against the percentile, one line per variant (the paper's Figure 3), with what the paper prints."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.charts import published
from app.charts.front import Setting
from app.charts.plain import Figure, Part, scatter
from app.charts.published import Published
from app.theme import ALGORITHMS, MARKS, colours, layout, percent, points
from ash.methods import VARIANTS

HEIGHT = 440


@dataclass(frozen=True)
class Accuracy:
    """Variant -> its settings from small to large p (empty: nothing measured), the unshaped network, printed points."""

    lines: dict[str, tuple[Setting, ...]]
    baseline: Setting | None
    published: tuple[Published, ...]
    network: str


def record(settings: Sequence[Setting], baseline: Setting | None, network: str) -> Accuracy:
    """What Figure 3 shows of some settings."""
    lines = {
        variant: tuple(
            sorted((one for one in settings if one.variant == variant), key=lambda one: one.parameter or 0.0)
        )
        for variant in ALGORITHMS
    }
    printed = tuple(one for one in published.settings() if one.method.variant in ALGORITHMS or not one.method.steps)
    return Accuracy({name: line for name, line in lines.items() if line}, baseline, printed, network)


def finding(shown: Accuracy) -> str:
    """How far ASH-P and ASH-S lie apart at most, and where ASH-B keeps the most."""
    if not shown.lines:
        return "Nothing is measured here; the marks are what the paper prints."
    text = []
    pruned, filled, scaled = (shown.lines.get(name, ()) for name in ALGORITHMS)
    if pruned and scaled:
        other = {one.parameter: one.id_accuracy for one in scaled}
        apart = [abs(one.id_accuracy - other[one.parameter]) for one in pruned if one.parameter in other]
        text.append(f"ASH-P and ASH-S differ by at most {points(max(apart), 2).lstrip('+')} of accuracy")
    if filled:
        best = max(filled, key=lambda one: one.id_accuracy)
        text.append(
            f"ASH-B keeps {percent(filled[0].id_accuracy)} at p = {filled[0].parameter:g} and most at p = "
            f"{best.parameter:g}, {percent(best.id_accuracy)}"
        )
    return f"On {shown.network}, {'; '.join(text)}."


def figure(shown: Accuracy, dark: bool) -> Figure:
    """The chart: lines are measured, hollow grey marks are the paper's."""
    colour, plot = colours(dark), Figure([], {})
    if shown.baseline is not None:
        plot.data.append(_level(f"Unshaped, {shown.network}", shown.baseline.id_accuracy, colour["ink"]))
    plot.data.append(_level("Unshaped, published", published.energy().id_accuracy, colour["muted"]))
    for variant, members in shown.lines.items():
        mark = MARKS[variant]
        plot.data.append(
            scatter(
                x=[one.parameter for one in members],
                y=[round(one.id_accuracy, 4) for one in members],
                name=VARIANTS[variant].label,
                mode="lines+markers",
                line={"color": colour[variant], "dash": mark.dash, "width": 1.8},
                marker={"symbol": mark.symbol, "size": 7, "color": colour[variant]},
                customdata=[one.id for one in members],
                hovertext=[f"<b>{one.label}</b><br>ID accuracy {percent(one.id_accuracy, 2)}" for one in members],
                hoverinfo="text",
            )
        )
    spots = [one for one in shown.published if one.method.percentile is not None]
    places = {"x": [one.method.percentile for one in spots], "y": [one.id_accuracy for one in spots]}
    plot.data.append({**published.trace(spots, dark, "published, ResNet-50"), **places})
    plot.layout.update(
        **layout(dark, height=HEIGHT, margin={"l": 8, "r": 12, "t": 8, "b": 8}),
        xaxis={"title": {"text": "Percentile p (% removed)"}, "range": [-2, 101], "zeroline": False},
        yaxis={"title": {"text": "ID accuracy (%)"}, "range": [-3, 101], "zeroline": False},
    )
    return plot


def _level(name: str, value: float, colour: str) -> Part:
    line: dict[str, Any] = {"color": colour, "width": 1.2, "dash": "dot"}
    text = f"{name}: {percent(value, 2)}<extra></extra>"
    return scatter(x=[0, 100], y=[value, value], name=name, mode="lines", line=line, hovertemplate=text)
