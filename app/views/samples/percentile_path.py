"""One image at every percentile: how far its score lies above the threshold there, and its class; when it flips."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app import theme
from app.charts.bins import spread
from app.charts.plain import Figure
from app.charts.score_words import short
from app.charts.verdict_words import margin
from ash.metrics import threshold_at_tpr

WINDOW = (-6.0, 10.0)  # IQRs drawn; what lies further out is marked at the edge
FEW = 4  # stretches that are told in words
WORD = 2.2  # percentiles that a letter takes on a narrow screen


@dataclass(frozen=True)
class Point:
    """The image at one p. No margin (IQR above the threshold) where the ID scores are not known at this p."""

    p: float
    score: float
    predicted: str
    margin: float | None

    @property
    def side(self) -> str:
        """Accepted, rejected or unknown."""
        return "unknown" if self.margin is None else "accepted" if self.margin >= 0 else "rejected"


@dataclass(frozen=True)
class Path:
    """The image under one variant at ascending p; `current` is the p of the page, one of them."""

    variant: str
    label: str
    points: tuple[Point, ...]
    current: float
    tpr: float


def path(
    names: tuple[str, str],
    p: Sequence[float],
    scores: Sequence[float],
    predicted: Sequence[str],
    id_scores: Sequence[NDArray[np.floating] | None],
    current: float,
    tpr: float,
) -> Path:
    """`names`: the variant's name and label; for every p the image's score, class and the ID scores; `tpr` in %."""
    points = []
    for one, score, name, known in zip(p, scores, predicted, id_scores, strict=True):
        above = None if known is None else margin(score, threshold_at_tpr(known, tpr / 100), spread(known))
        points.append(Point(one, score, name, above))
    return Path(*names, tuple(points), current, tpr)


def finding(record: Path) -> str:
    """When the verdict and the class flip."""
    known = [point for point in record.points if point.margin is not None]
    sides = _runs([(point.p, point.side) for point in known])
    classes = _runs([(point.p, point.predicted) for point in record.points])
    start = f"{record.label}: {_told(sides)}" if known else f"{record.label}: the thresholds are not computed here yet"
    if 0 < len(known) < len(record.points):
        start += f" (of {len(known)} whose threshold is computed)"
    names = list(dict.fromkeys(name for name, *_ in classes))
    if len(names) == 1:
        return f"{start}; its class is {names[0]} at every p."
    return f"{start}; its class: {_told(classes)}."


def _runs(pairs: Sequence[tuple[float, str]]) -> list[tuple[str, float, float]]:
    """Stretches of the same word: (word, first p, last p)."""
    found = []
    for word, some in groupby(pairs, key=lambda pair: pair[1]):
        ps = [p for p, _ in some]
        found.append((word, ps[0], ps[-1]))
    return found


def _told(runs: list[tuple[str, float, float]]) -> str:
    if len(runs) == 1:
        return f"{runs[0][0]} at every p"
    if len(runs) > FEW:
        return f"{runs[0][0]} at p = {runs[0][1]:g}, {runs[-1][0]} at p = {runs[-1][2]:g}, {len(runs) - 1} changes"
    (first, start, last), *rest = runs
    until = f"up to p = {last:g}" if last > start else f"at p = {last:g}"
    return ", ".join([f"{first} {until}", *(f"{word} from {start:g}" for word, start, _ in rest)])


def figure(record: Path, dark: bool, beside: Sequence[Path] = ()) -> Figure:
    """IQRs above the threshold against p, and under it the classes as a labelled strip. customdata: p.

    `beside`: the paths of samples that stand beside this one, on the same scale.
    """
    colour = theme.colours(dark)
    drawn = [point for point in record.points if point.margin is not None]
    low, high = _range([point for path in (record, *beside) for point in path.points if point.margin is not None])
    layout = theme.layout(
        dark,
        height=370,
        margin={"l": 56, "r": 14, "t": 40, "b": 48},
        barmode="overlay",
        showlegend=False,
        xaxis={
            "title": {"text": "percentile p"},
            "range": [-3, 102],
            "anchor": "y2",
            "zeroline": False,
            "fixedrange": True,
        },
        yaxis={
            "title": {"text": "IQRs above the threshold"},
            "range": [low, high],
            "domain": [0.2, 1],
            "fixedrange": True,
        },
        yaxis2={"domain": [0, 0.1], "range": [0, 1], "visible": False, "fixedrange": True},
        shapes=_shapes(record, low, high, colour),
        annotations=_notes(record, low, high, colour),
    )
    traces = [_line(record, drawn, low, high, colour)] if drawn else []
    return Figure([*traces, *_strip(record, colour)], layout)


def _range(drawn: Sequence[Point]) -> tuple[float, float]:
    """Both sides of the threshold, round numbers, no further than the window."""
    margins = [point.margin or 0.0 for point in drawn]
    low, high = min(margins, default=0.0), max(margins, default=0.0)
    return max(WINDOW[0], min(-1.0, np.floor(low - 0.6))), min(WINDOW[1], max(1.0, np.ceil(high + 0.6)))


def _line(record: Path, drawn: Sequence[Point], low: float, high: float, colour: dict[str, str]) -> dict[str, Any]:
    margins = [point.margin or 0.0 for point in drawn]
    inside = np.clip(margins, low + 0.02 * (high - low), high - 0.02 * (high - low))
    tint = colour[record.variant]
    symbols, texts = [], []
    for point, value, at in zip(drawn, margins, inside, strict=True):
        own = theme.MARKS[record.variant].symbol.removesuffix("-open")
        shape = own if value == at else "triangle-up" if value > at else "triangle-down"
        symbols.append(shape if point.side == "accepted" else f"{shape}-open")
        texts.append(f"p = {point.p:g}: {point.side} as {point.predicted}, {theme.number(value)} IQR")
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": record.label,
        "x": [point.p for point in drawn],
        "y": [short(value) for value in inside],
        "customdata": [f"{point.p:g}" for point in drawn],
        "text": texts,
        "line": {"color": tint, "width": 2, "dash": theme.MARKS[record.variant].dash},
        "marker": {
            "symbol": symbols,
            "size": [14 if point.p == record.current else 9 for point in drawn],
            "color": tint,
            "line": {"color": [colour["ink"] if point.p == record.current else tint for point in drawn], "width": 1.8},
        },
        "hovertemplate": "%{text}<extra></extra>",
    }


def _strip(record: Path, colour: dict[str, str]) -> list[dict[str, Any]]:
    """The predicted classes as boxes, each over its stretch of p."""
    runs = _runs([(point.p, point.predicted) for point in record.points])
    starts = [first for _, first, _ in runs]
    ends = [*starts[1:], 100.0]
    wide = [end - start for start, end in zip(starts, ends, strict=True)]
    return [
        {
            "type": "bar",
            "yaxis": "y2",
            "x": [start + width / 2 for start, width in zip(starts, wide, strict=True)],
            "y": [1.0] * len(runs),
            "width": wide,
            "text": [word if width > WORD * len(word) else "" for (word, *_), width in zip(runs, wide, strict=True)],
            "textposition": "inside",
            "insidetextanchor": "middle",
            "textangle": 0,
            "constraintext": "none",
            "textfont": {"color": colour["ink"], "size": 12},
            "marker": {"color": colour["panel"], "line": {"color": colour["muted"], "width": 1}},
            "hovertext": [f"p = {first:g} to {last:g}: {word}" for word, first, last in runs],
            "hovertemplate": "%{hovertext}<extra></extra>",
        }
    ]


def _shapes(record: Path, low: float, high: float, colour: dict[str, str]) -> list[dict[str, Any]]:
    """The rejected side, the threshold, the current p."""
    now = {"x0": record.current, "x1": record.current, "xref": "x", "y0": 0, "y1": 1, "yref": "paper"}
    line = {"type": "line", "x0": 0, "x1": 1, "xref": "paper", "y0": 0, "y1": 0, "yref": "y"}
    below = {"type": "rect", "x0": 0, "x1": 1, "xref": "paper", "y0": low, "y1": min(0.0, high), "yref": "y"}
    return [
        {**below, "fillcolor": colour["panel"], "line": {"width": 0}, "layer": "below"},
        {**line, "line": {"color": colour["ink"], "width": 2}},
        {"type": "line", **now, "line": {"color": colour["muted"], "width": 1.2, "dash": "dash"}},
    ]


def _notes(record: Path, low: float, high: float, colour: dict[str, str]) -> list[dict[str, Any]]:
    plain = {"showarrow": False, "font": {"size": 12, "color": colour["ink"]}}
    far = {"x": 0.005, "xanchor": "left"} if record.current > 60 else {"x": 0.995, "xanchor": "right"}
    words = {**plain, **far, "xref": "paper", "yref": "y"}
    side = {"xanchor": "right" if record.current > 85 else "left" if record.current < 15 else "center"}
    return [
        {**words, "y": high, "yanchor": "top", "text": f"accepted: above the {record.tpr:g} % line"},
        {**words, "y": low, "yanchor": "bottom", "text": "rejected"},
        {**plain, **side, "x": record.current, "y": 1, "yref": "paper", "yanchor": "bottom", "text": _now(record)},
        {**plain, "x": 0, "xref": "paper", "xanchor": "left", "y": 0.1, "yref": "paper", "yanchor": "bottom"}
        | {"text": "predicted class"},
    ]


def _now(record: Path) -> str:
    return f"p = {record.current:g}, now"


def table(record: Path) -> pd.DataFrame:
    """One row a percentile, its index the p as a text."""
    return pd.DataFrame(
        {
            "p": [point.p for point in record.points],
            "score": [point.score for point in record.points],
            "IQR above the threshold": [point.margin for point in record.points],
            "verdict": [point.side for point in record.points],
            "class": [point.predicted for point in record.points],
        },
        index=[f"{point.p:g}" for point in record.points],
    )
