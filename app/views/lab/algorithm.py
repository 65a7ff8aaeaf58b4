"""The bars of the Shape lab: a short vector at one line of its algorithm, and live over all percentiles.

Hollow bars are the values that came in, filled bars the values now; what a line touches is hatched with a thick edge.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from app import theme
from app.charts.plain import Figure
from app.charts.score_words import short, shorts
from app.views.lab.algorithm_steps import LINES, VARIANTS, Step, facts, shown, trace

HEIGHT = 400
LEFT = 66  # room for the title and the ticks of every frame: a frame does not move what it does not draw
Traces = list[dict[str, Any]]


@dataclass(frozen=True)
class Vector:
    """A few values of one sample: `names` stand under the bars, `hints` under the pointer, `noun` under the axis."""

    values: tuple[float, ...]
    names: tuple[str, ...]
    hints: tuple[str, ...]
    noun: str


@dataclass(frozen=True)
class Bars:
    """A vector at one line of a variant's algorithm, and the cut where it is known by then."""

    vector: Vector
    variant: str
    step: Step
    cut: float | None


def bars(vector: Vector, variant: str, p: float, line: int) -> Bars:
    """The record of one line, 0 is the first, of a variant's algorithm at percentile p."""
    known = LINES[variant].index("cut") <= line
    step = trace(vector.values, variant, p)[line]
    return Bars(vector, variant, step, facts(vector.values, variant, p).t if known else None)


def finding(record: Bars) -> str:
    """The sentence of the picture."""
    return f"{VARIANTS[record.variant]}, line {record.step.line}: {record.step.says}"


def table(record: Bars) -> pd.DataFrame:
    """The values: before, after this line, touched by it or not."""
    touched = [i in record.step.touched for i in range(len(record.vector.values))]
    columns = {"before": record.vector.values, "after this line": record.step.after, "touched": touched}
    return pd.DataFrame({record.vector.noun: record.vector.names, **columns})


def figure(record: Bars, dark: bool) -> Figure:
    """The vector at one line."""
    top, low = axis_range([*record.vector.values, *record.step.after])
    return Figure(bar_traces(record, dark), bars_layout(record, dark, (low, top), HEIGHT))


def bar_traces(record: Bars, dark: bool) -> Traces:
    """Hollow bars, filled bars, the values over them, and the cut."""
    colour, step = theme.colours(dark), record.step
    before, places = record.vector.values, list(range(len(record.vector.names)))
    removed = [i in step.touched and step.kind == "prune" for i in places]
    touched = [i in step.touched and not removed[i] for i in places]
    each: dict[str, Any] = {"type": "bar", "x": places, "width": 0.86}
    return [
        {**each, "name": "before", "y": shorts(before), "marker": _hollow(removed, colour), "hoverinfo": "skip"},
        {
            **each,
            "name": "now",
            "y": shorts(step.after),
            "marker": _filled(touched, colour, colour[record.variant]),
            "hovertext": hover_texts(record.vector.hints, before, step.after),
            "hoverinfo": "text",
        },
        {
            **each,  # a bar of its own: its text shrinks with it on a narrow screen
            **labels(before, step.after),
            "marker": {"color": "rgba(0,0,0,0)"},
            "textposition": "outside",
            "cliponaxis": False,
            "textfont": {"size": 16, "color": colour["ink"]},
            "hoverinfo": "skip",
        },
        _cut_line(record.cut, len(places), colour),
    ]


def _hollow(removed: list[bool], colour: dict[str, str]) -> dict[str, Any]:
    """The values that came in; crossed out with a thick edge where this line removes them."""
    return {
        "color": "rgba(0,0,0,0)",
        "pattern": {
            "shape": ["x" if one else "" for one in removed],
            "fgcolor": colour["muted"],
            "bgcolor": "rgba(0,0,0,0)",
            "fillmode": "replace",
            "size": 9,
            "solidity": 0.18,
        },
        "line": {
            "color": [colour["ink"] if one else colour["muted"] for one in removed],
            "width": [3 if one else 1.2 for one in removed],
        },
    }


def _filled(touched: list[bool], colour: dict[str, str], tint: str) -> dict[str, Any]:
    """The values now; hatched with a thick edge where this line touches them."""
    return {
        "color": tint,
        "opacity": [1 if one else 0.5 for one in touched],
        "pattern": {
            "shape": ["/" if one else "" for one in touched],
            "fgcolor": tint,
            "bgcolor": colour["background"],
            "fillmode": "replace",
            "size": 10,
            "solidity": 0.55,
        },
        "line": {"color": colour["ink"], "width": [3 if one else 0 for one in touched]},
    }


def hover_texts(hints: Sequence[str], before: Sequence[float], after: Sequence[float]) -> list[str]:
    return [f"{hint}<br>before {shown(b)}, now {shown(a)}" for hint, b, a in zip(hints, before, after, strict=True)]


def labels(before: Sequence[float], after: Sequence[float]) -> dict[str, Any]:
    """The values now, over the filled bar; a zero over the hollow one, so that no edge runs through it."""
    places = [a or b for b, a in zip(before, after, strict=True)]
    return {"y": shorts(places), "text": [shown(value) for value in after]}


def _cut_line(cut: float | None, count: int, colour: dict[str, str]) -> dict[str, Any]:
    at = None if cut is None else short(cut)
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [-0.5, count - 0.5],
        "y": [at, at],
        "line": {"color": colour["ink"], "width": 2, "dash": "dash"},
        "hoverinfo": "skip",
    }


def cut_label(cut: float | None, dark: bool) -> dict[str, Any]:
    """The value of the cut on its line, readable over bars too."""
    colour = theme.colours(dark)
    return {
        "visible": cut is not None,
        "text": "" if cut is None else f"<b>t = {theme.number(cut)}</b>",
        "x": 1,
        "xref": "paper",
        "xanchor": "right",
        "y": 0 if cut is None else short(cut),
        "yanchor": "bottom",
        "showarrow": False,
        "bgcolor": colour["background"],
        "opacity": 0.9,
        "font": {"size": 17, "color": colour["ink"]},
    }


def axis_range(values: Sequence[float]) -> tuple[float, float]:
    """Top and bottom of the axis, with room for the labels at both ends."""
    top, low = max(0.0, *values), min(0.0, *values)
    room = 0.14 * ((top - low) or 1.0)
    return short(top + room), short(low - room if low < 0 else 0.0)


def bars_layout(record: Bars, dark: bool, span: tuple[float, float], height: int) -> dict[str, Any]:
    colour, places = theme.colours(dark), list(range(len(record.vector.names)))
    return theme.layout(
        dark,
        height=height,
        barmode="overlay",
        bargap=0,
        showlegend=False,
        annotations=[cut_label(record.cut, dark)],
        margin={"l": LEFT, "r": 8, "t": 12, "b": 8},
        xaxis={
            "tickvals": places,
            "ticktext": list(record.vector.names),
            "title": {"text": record.vector.noun, "font": {"size": 16}},
            "tickfont": {"size": 15},
            "range": [-0.6, len(places) - 0.4],
            "fixedrange": True,
            "zeroline": False,
            "showgrid": False,
        },
        yaxis={
            "title": {"text": "value", "font": {"size": 16}},
            "range": list(span),
            "fixedrange": True,
            "tickfont": {"size": 14},
            "automargin": False,
            "nticks": 6,
            "zeroline": True,
            "zerolinecolor": colour["muted"],
            "zerolinewidth": 1,
        },
    )
