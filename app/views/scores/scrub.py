"""Live scrub: the score histograms of one variant at p = 0..99 as frames that play in the browser, without the server.

On the relative and the rank axis the threshold and the bins stay in place, so a frame is two lists of heights and some
text. With several OOD sets every set has the same weight: the picture's FPR and AUROC are the means over the sets.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app import theme
from app.charts.bins import Scale, Scores, bars, scale_of
from app.charts.plain import Figure
from app.charts.score_words import fpr_name, short, shorts
from app.charts.scores import axis_title, hatching, threshold_line, ticks

BINS = 48
PLOT = 280  # height of the plot area in pixels: what hangs below it is placed by it
ROOM = 1.28  # the picture's height, in heights of its bars: the caption stands above them
REDRAW = False


@dataclass(frozen=True)
class Frame:
    """One percentile: heights (percent of the set, None where empty) of the ID and the OOD bars, metrics in percent."""

    p: int
    id: tuple[float | None, ...]
    ood: tuple[float | None, ...]
    auroc: float
    fpr: float
    accuracy: float


@dataclass(frozen=True)
class Scrub:
    """All frames of a variant on one scale. `ood_label`: the set, or what the mean is taken over."""

    label: str
    id_label: str
    ood_label: str
    tpr: float
    scale: Scale
    frames: tuple[Frame, ...]


def scrub(
    labels: tuple[str, str, str],
    id_scores: NDArray[np.floating],
    ood_scores: Mapping[str, NDArray[np.floating]],
    accuracy: NDArray[np.floating],
    axis: str,
    tpr: float,
) -> Scrub:
    """The record. `labels`: variant, ID set, OOD. Scores (P, n), row = percentile; `accuracy` share, `tpr` percent."""
    frames, shown = [], None
    for p in range(len(id_scores)):
        own: Scores = np.sort(id_scores[p])
        scale = scale_of("relative" if axis == "raw" else axis, own, {}, tpr / 100, BINS)
        ood = [bars(name, name, values[p], scale, own) for name, values in ood_scores.items()]
        heights = np.mean([one.heights(scale) for one in ood], axis=0)
        fpr = float(np.mean([one.share for one in ood]))
        area = 100 * float(np.mean([one.auroc or 0.0 for one in ood]))
        inside = bars("id", "id", own, scale).heights(scale)
        frames.append(Frame(p, _held(inside), _held(heights), short(area), short(fpr), 100 * float(accuracy[p])))
        shown = shown or scale
    assert shown is not None
    return Scrub(*labels, tpr, shown, tuple(frames))


def _held(heights: NDArray[np.float64]) -> tuple[float | None, ...]:
    """None instead of 0: the outline of an empty bar would be a line."""
    return tuple(height or None for height in shorts(heights))


def caption(record: Scrub, frame: Frame) -> str:
    """The line above the picture for one frame."""
    return (
        f"<b>{record.label} @ {frame.p}</b>   ID accuracy {theme.percent(frame.accuracy)}<br>"
        f"AUROC {theme.percent(frame.auroc)}   {fpr_name(record.tpr)} {theme.percent(frame.fpr)}   {record.ood_label}"
    )


def _traces(record: Scrub, frame: Frame, dark: bool) -> list[dict[str, Any]]:
    colour, scale = theme.colours(dark), record.scale
    centres = shorts(np.add(scale.left, scale.right) / 2)
    widths = shorts(np.subtract(scale.right, scale.left))
    edge = {"color": colour["ood"], "width": 1}
    parts = [
        ("ID", 0, len(centres), frame.id, {"color": colour["id"], "opacity": 0.45}),
        ("OOD, rejected", 0, scale.line, frame.ood, {"color": colour["ood"], "opacity": 0.55, "line": edge}),
        (
            "OOD, accepted",
            scale.line,
            len(centres),
            frame.ood,
            {"color": colour["ood"], "pattern": hatching(dark), "line": edge},
        ),
    ]
    return [
        {
            "type": "bar",
            "name": name,
            "x": centres[first:last],
            "width": widths[first:last],
            "y": list(heights[first:last]),
            "marker": marker,
            "hovertemplate": f"{name}<br>%{{y:.2f}} % in this bar<extra></extra>",
        }
        for name, first, last, heights, marker in parts
    ]


def _text(record: Scrub, frame: Frame, top: float) -> dict[str, Any]:
    """The caption as a trace: a title would need a full redraw for every frame, six times slower."""
    return {
        "type": "scatter",
        "mode": "text",
        "x": [short(record.scale.left[0])],
        "y": [short((ROOM - 0.01) * top)],
        "text": [caption(record, frame)],
        "textposition": "bottom right",
        "textfont": {"size": 14},
        "cliponaxis": False,
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _buttons(dark: bool) -> dict[str, Any]:
    colour = theme.colours(dark)
    step = {"frame": {"duration": 90, "redraw": REDRAW}, "transition": {"duration": 0}, "fromcurrent": True}
    stop = {"frame": {"duration": 0, "redraw": False}, "mode": "immediate"}
    buttons = [
        {
            "label": "\N{BLACK RIGHT-POINTING TRIANGLE} Play",
            "method": "animate",
            "args": [None, step | {"mode": "immediate"}],
        },
        {"label": "Pause", "method": "animate", "args": [[None], stop]},
    ]
    look = {"bgcolor": colour["panel"], "bordercolor": colour["muted"], "font": {"color": colour["ink"], "size": 13}}
    place = {"x": 0, "xanchor": "left", "y": -160 / PLOT, "yanchor": "top", "pad": {"t": 0, "l": 0}}
    return {"type": "buttons", "direction": "left", "buttons": buttons, "showactive": False, **place, **look}


def _slider(record: Scrub, start: int, dark: bool) -> dict[str, Any]:
    value = {"prefix": "p = ", "font": {"color": theme.colours(dark)["ink"], "size": 14}, "offset": 8}
    names = [str(frame.p) for frame in record.frames]
    return theme.slider(names, start, dark, REDRAW, y=-62 / PLOT, pad={"t": 0, "b": 0}, currentvalue=value)


def figure(record: Scrub, start: int, dark: bool) -> Figure:
    """The frames with a slider and a play button. `start`: the percentile shown first."""
    start = min(max(start, 0), len(record.frames) - 1)
    line, first = record.scale.line, record.frames[start]
    frames = [
        {
            "name": str(frame.p),
            # without the type, plotly.py writes "scatter" and the bars turn into lines
            "data": [{"type": "bar", "y": list(part)} for part in (frame.id, frame.ood[:line], frame.ood[line:])]
            + [{"type": "scatter", "text": [caption(record, frame)]}],
            "traces": [0, 1, 2, 3],
        }
        for frame in record.frames
    ]
    heights = np.array([frame.id + frame.ood for frame in record.frames], dtype=float)
    top = min(float(np.percentile(np.nanmax(heights, axis=1), 75)) * 1.1, 110.0)  # a rare pile may leave the picture
    layout = theme.layout(
        dark, height=PLOT + 266, barmode="overlay", bargap=0, margin={"l": 52, "r": 14, "t": 56, "b": 210}
    )
    layout |= {
        "legend": {"font": {"size": 12}, "x": 0, "y": 1.02},
        "xaxis": {
            "title": {"text": axis_title(record.scale.axis, ""), "font": {"size": 13}},
            "range": [short(record.scale.left[0]), short(record.scale.right[-1])],
            "zeroline": False,
            "fixedrange": True,
            **ticks(record.scale, record.tpr),
        },
        "yaxis": {
            "title": {"text": "% of the set", "font": {"size": 13}},
            "range": [0, short(ROOM * top)],
            "fixedrange": True,
        },
        "shapes": [{**threshold_line(record.scale.at, dark), "y1": short(1 / ROOM)}],
        "sliders": [_slider(record, start, dark)],
        "updatemenus": [_buttons(dark)],
    }
    return Figure([*_traces(record, first, dark), _text(record, first, top)], layout, frames)


def table(record: Scrub) -> pd.DataFrame:
    """The metrics of every percentile, percent."""
    return pd.DataFrame(
        [(frame.p, frame.auroc, frame.fpr, frame.accuracy) for frame in record.frames],
        columns=["percentile", "auroc", fpr_name(record.tpr).lower(), "id_accuracy"],
    )
