"""Where one image's score lies among the ID and the OOD scores, before and after shaping, on the relative axis.

Each panel has its own threshold and unit, so that scores of any size stand on one axis: ASH-S's span five decades.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app import theme
from app.charts import bins
from app.charts.plain import Figure
from app.charts.score_words import fpr_name, score_text, short
from app.charts.scores import panel_traces, threshold_line, x_axis
from app.charts.verdict_words import distance, margin

PANEL, GAP = 132, 44  # pixels of a panel and of the title line above it


@dataclass(frozen=True)
class Panel:
    """One method: the histograms of its scores, and the image's score and margin (IQR above the threshold).

    `below`: shares in percent of the ID set and of the OOD set with a lower score than the image.
    """

    when: str
    histograms: bins.Histograms
    score: float
    margin: float
    below: tuple[float, float]


@dataclass(frozen=True)
class Placed:
    """One panel, or two where shaping changes something. `score` is the score's name."""

    panels: tuple[Panel, ...]
    score: str


def panel(
    when: str,
    method: str,
    labels: Mapping[str, str],
    scores: tuple[NDArray[np.floating], NDArray[np.floating]],
    value: float,
    tpr: float,
) -> Panel:
    """`labels`: name -> label of the ID set and of one OOD set; `scores`: theirs; `value`: the image's; `tpr` in %."""
    known, other = scores
    _, ood = labels
    record = bins.histograms(method, labels, (known, {ood: other}), None, "relative", tpr)
    below = float(100 * np.mean(known < value)), float(100 * np.mean(other < value))
    return Panel(when, record, value, margin(value, record.scale.threshold, bins.spread(known)), below)


def finding(record: Placed, tpr: float) -> str:
    """Where the image stands, one sentence."""
    last = record.panels[-1]
    histograms = last.histograms
    text = (
        f"With {histograms.method} its score lies {distance(last.margin, tpr)}, higher than {_share(last.below[0])} of "
        f"{histograms.id.label} and than {_share(last.below[1])} of {histograms.ood[0].label}"
    )
    if len(record.panels) == 1:
        return f"{text}."
    first = record.panels[0]
    return f"{text}; without shaping it lies {distance(first.margin, tpr)}."


def _share(percent: float) -> str:
    """Rounded down, so that `100.0 %` is all of them."""
    return theme.percent(math.floor(percent * 10 + 1e-9) / 10)


def figure(record: Placed, dark: bool) -> Figure:
    """One panel above the other on one axis: ID and OOD scores, the threshold, and the image as a marked line."""
    rows = len(record.panels)
    area = rows * PANEL + (rows - 1) * GAP
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = {"annotations": [], "shapes": []}
    for row, one in enumerate(record.panels):
        histograms, axis = one.histograms, "y" if row == 0 else f"y{row + 1}"
        top = 1 - row * (PANEL + GAP) / area
        (bars,) = histograms.ood
        high = 1.2 * max(float(some.heights(histograms.scale).max()) for some in (histograms.id, bars))
        for trace in (*panel_traces(histograms, bars, record.score, dark), _mark(one, record.score, high, dark)):
            data.append(trace | {"yaxis": axis, "legendgroup": trace["name"], "showlegend": row == 0})
        layout[axis.replace("y", "yaxis")] = {
            "domain": [round(max(top - PANEL / area, 0.0), 6), round(top, 6)],
            "range": [0, short(high)],
            "nticks": 4,
            "fixedrange": True,
            "anchor": "x",
            "title": {"text": "% of the set", "font": {"size": 12}},
        }
        layout["shapes"].append(threshold_line(histograms.scale.at, dark, axis))
        layout["annotations"].append(_title(one, round(top, 6), dark))
    last = record.panels[-1].histograms
    layout["xaxis"] = x_axis(last, record.score, f"y{rows}" if rows > 1 else "y") | {"fixedrange": True}
    margins = {"l": 52, "r": 12, "t": 84, "b": 60}
    chosen = theme.layout(dark, height=area + 144, barmode="overlay", bargap=0, margin=margins)
    chosen["legend"] = {"y": 1 + 30 / area, "x": 0, "yanchor": "bottom", "font": {"size": 12}, "itemsizing": "constant"}
    return Figure(data, chosen | layout)


def _mark(one: Panel, score: str, high: float, dark: bool) -> dict[str, Any]:
    ink = theme.colours(dark)["ink"]
    at = short(one.histograms.scale.place(one.margin))
    text = f"this image: {score_text(one.score, score)}<br>{distance(one.margin, one.histograms.tpr)}"
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": "this image",
        "x": [at, at],
        "y": [0, short(0.9 * high)],
        "line": {"color": ink, "width": 2, "dash": "dot"},
        "marker": {
            "symbol": ["line-ew", "triangle-down"],
            "size": [0, 13],
            "color": ink,
            "line": {"color": ink, "width": 1.5},
        },
        "hovertemplate": text + "<extra></extra>",
    }


def _title(one: Panel, top: float, dark: bool) -> dict[str, Any]:
    tpr = one.histograms.tpr
    place = distance(one.margin, tpr).removesuffix(f" the {tpr:g} % line")  # which is marked in the picture
    return {
        "text": f"<b>{one.when.capitalize()}</b>, {one.histograms.method}: {place}",
        "x": 0,
        "xref": "paper",
        "xanchor": "left",
        "y": top,
        "yref": "paper",
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"color": theme.colours(dark)["ink"], "size": 13},
    }


def table(record: Placed) -> pd.DataFrame:
    """One row before and one after: score, threshold, margin, shares of the sets that score lower, what is accepted."""
    rows = []
    for one in record.panels:
        histograms = one.histograms
        rows.append(
            {
                "when": one.when,
                "method": histograms.method,
                "score": one.score,
                "threshold": histograms.scale.threshold,
                "IQR above the threshold": one.margin,
                "accepted": one.margin >= 0,
                f"{histograms.id.label} below it (%)": one.below[0],
                f"{histograms.ood[0].label} below it (%)": one.below[1],
                f"{fpr_name(histograms.tpr)} (%)": histograms.ood[0].share,
            }
        )
    return pd.DataFrame(rows)
