"""The vector that an algorithm of the Shape lab returns, live over all percentiles: frames that need no server."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from app import theme
from app.charts.plain import Figure
from app.charts.score_words import short, shorts
from app.link.fields import write_number
from app.views.lab.algorithm import (
    HEIGHT,
    LEFT,
    Bars,
    axis_range,
    bar_traces,
    bars_layout,
    cut_label,
    hover_texts,
    labels,
)
from app.views.lab.algorithm_facts import Facts, facts

SLIDER = 110  # pixels more than the picture of a line, for the slider


@dataclass(frozen=True)
class Film:
    """The vector that a variant returns at each percentile; `start` is the one shown first."""

    record: Bars
    percentiles: tuple[float, ...]
    facts: tuple[Facts, ...]
    start: int


def film(record: Bars, p: float) -> Film:
    """All whole percentiles, and p itself where it is none of them."""
    percentiles = tuple(sorted({*(float(one) for one in range(100)), p}))
    each = tuple(facts(record.vector.values, record.variant, one) for one in percentiles)
    return Film(record, percentiles, each, percentiles.index(p))


def table(record: Film) -> pd.DataFrame:
    """The algorithm's numbers at every percentile."""
    rows = []
    for one in record.facts:
        row = {"p": one.p, "k": one.k, "t": one.t, "s1": one.s1, "s2": one.s2}
        if one.does == "fill":
            row["s1/k"] = one.level
        if one.does == "scale":
            row |= {"s1/s2": one.exponent, "factor": one.factor}
        rows.append(row)
    return pd.DataFrame(rows)


def caption(one: Facts) -> str:
    """The lines above the film: what the algorithm computes at this percentile."""
    first = f"<b>p = {write_number(one.p)}</b>: k = {one.k} of {one.n} kept"
    if one.t is None:
        return f"{first}<br>everything is removed"
    first += f", t = {theme.number(one.t)}"
    second, number = f"s1 = {theme.number(one.s1)}", theme.number
    if one.does == "fill":
        return f"{first}<br>{second}, s1/k = <b>{number(one.level or 0)}</b>"
    second += f", s2 = {number(one.s2)}"
    if one.does == "scale":
        second += f"<br>exp(s1/s2) = exp({number(one.exponent or 0)}) = <b>{number(one.factor or 1)}</b>"
    return f"{first}<br>{second}"


def figure(record: Film, dark: bool) -> Figure:
    """The returned vector with a slider for p that needs no server. The axis follows the values where they explode."""
    bars_, now = record.record, record.facts[record.start]
    frames = [_frame(one, bars_.vector.hints, dark) for one in record.facts]
    top, low = axis_range([*bars_.vector.values, *bars_.step.after])
    layout = bars_layout(bars_, dark, (low, top), HEIGHT + SLIDER)
    layout["margin"] = {"l": LEFT, "r": 8, "t": 76, "b": 8}
    layout["title"] = heading(caption(now))
    layout["sliders"] = [slider(record.percentiles, record.start, dark)]
    return Figure(bar_traces(bars_, dark), layout, frames)


def _frame(one: Facts, hints: Sequence[str], dark: bool) -> dict[str, Any]:
    before, after = one.x.tolist(), one.shaped.tolist()
    top, low = axis_range([*before, *after])
    return {
        "name": write_number(one.p),
        "traces": [1, 2, 3],
        "data": [
            {"type": "bar", "y": shorts(one.shaped), "hovertext": hover_texts(hints, before, after)},
            {"type": "bar", **labels(before, after)},
            {"type": "scatter", "y": [None if one.t is None else short(one.t)] * 2},
        ],
        "layout": {
            "yaxis": {"range": [low, top]},
            "title": {"text": caption(one)},
            "annotations": [cut_label(one.t, dark)],
        },
    }


def heading(text: str) -> dict[str, Any]:
    """Several lines of text at the top of a figure that frames can replace."""
    pad = {"t": 18}  # plotly.js places several lines by the foot of the first
    return {"text": text, "font": {"size": 16}, "x": 0, "xanchor": "left", "y": 1, "yanchor": "top", "pad": pad}


def slider(percentiles: Sequence[float], start: int, dark: bool) -> dict[str, Any]:
    """A slider over frames that are named by their percentile."""
    ink = theme.colours(dark)["ink"]
    value = {"prefix": "drag p: ", "font": {"color": ink, "size": 17}, "offset": 8}
    pad = {"t": 56, "b": 0, "l": 8, "r": 8}
    return theme.slider([write_number(p) for p in percentiles], start, dark, y=0, pad=pad, currentvalue=value)
