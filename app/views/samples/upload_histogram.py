"""A few scored images as numbered marks above the ID and OOD score histograms of a method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from app import theme
from app.charts import bins, scores, verdict_words
from app.charts.bins import Bars, Histograms, Scale, Scores
from app.charts.plain import Figure
from app.charts.score_words import fpr_name, short, shorts

ALL = "ood"  # the OOD sets taken together
LANES, LANE = 14, 24  # rows of marks at most, and pixels of one
APART = 0.065  # of the axis, between two marks in a row: their width on a phone
PANEL, GAP = 260, 14  # pixels


@dataclass(frozen=True)
class Mark:
    """One image: its number, name and predicted class, the `margin` of its score in ID inter-quartile ranges.

    `x` is where it is drawn, at the end of the axis if it lies beyond; `lane` its row, 0 is the lowest.
    """

    number: int
    name: str
    predicted: str
    score: float
    margin: float
    x: float
    lane: int

    @property
    def accepted(self) -> bool:
        """Whether its score reaches the threshold."""
        return self.margin >= 0


@dataclass(frozen=True)
class Marks:
    """The images of a user among the distributions; `before` counts those that the score alone accepts."""

    record: Histograms
    marks: tuple[Mark, ...]
    before: int

    @property
    def accepted(self) -> int:
        """Accepted images."""
        return sum(mark.accepted for mark in self.marks)


def marks(
    method: str,
    id_label: str,
    id_scores: Scores,
    ood: Mapping[str, Scores],
    own: Sequence[tuple[int, str, str, float]],
    before: int,
    tpr: float,
) -> Marks:
    """The record. `own`: (number, name, predicted class, score) of each image; `ood`: scores by label; `tpr` in %."""
    together = next(iter(ood)) if len(ood) == 1 else f"{len(ood)} OOD sets together"
    labels = {"id": id_label, ALL: together}
    record = bins.histograms(
        method, labels, (id_scores, {ALL: np.concatenate(list(ood.values()))}), None, "relative", tpr
    )
    spread = bins.spread(id_scores)
    margins = [verdict_words.margin(score, record.scale.threshold, spread) for *_, score in own]
    xs = [record.scale.place(margin) for margin in margins]
    found = (
        Mark(number, name, predicted, score, margin, x, lane)
        for (number, name, predicted, score), margin, x, lane in zip(
            own, margins, xs, lanes(xs, record.scale), strict=True
        )
    )
    return Marks(record, tuple(found), before)


def lanes(xs: Sequence[float], scale: Scale) -> list[int]:
    """The lowest row in which a mark touches no other, from the left on; past LANES rows marks overlap."""
    apart = APART * (scale.right[-1] - scale.left[0])
    ends: list[float] = []
    found = [0] * len(xs)
    for i in sorted(range(len(xs)), key=xs.__getitem__):
        free = next((lane for lane, end in enumerate(ends) if xs[i] - end >= apart), len(ends))
        if free == len(ends) and free < LANES:
            ends.append(xs[i])
        lane = free if free < LANES else int(np.argmin(ends))
        ends[lane], found[i] = xs[i], lane
    return found


def finding(record: Marks, reference: str) -> str:
    """The sentence above the picture. `reference`: the label of the score without shaping, "" if that is the method."""
    one, n = record.record, len(record.marks)
    images = "your image" if n == 1 else f"{record.accepted} of your {n} images"
    line = f"At the threshold that accepts {one.tpr:g} % of {one.id.label}, {one.method} "
    if n == 1:
        text = f"{line}{'accepts' if record.accepted else 'rejects'} {images}"
        same = f"; {reference} {'accepts' if record.before else 'rejects'} it"
    else:
        text, same = f"{line}accepts {images}", f"; {reference} accepts {record.before}"
    return f"{text}{same if reference else ''}."


def table(record: Marks) -> pd.DataFrame:
    """One row per mark, in the order of the numbers."""
    rows = [
        (mark.number, mark.name, "accepted" if mark.accepted else "rejected", mark.predicted, mark.score, mark.margin)
        for mark in record.marks
    ]
    return pd.DataFrame(rows, columns=["number", "name", "verdict", "class", "score", "margin (IQR)"])


def figure(record: Marks, score: str, dark: bool) -> Figure:
    """The numbered marks in rows, and under them ID and OOD histograms on the same axis."""
    one = record.record
    rows = 1 + max((mark.lane for mark in record.marks), default=0)
    strip = LANE * rows + 8
    area = PANEL + GAP + strip
    data = [{**trace, "yaxis": "y"} for trace in scores.panel_traces(one, one.ood[0], score, dark)]
    data += [_trace(record, accepted, dark) for accepted in (True, False)]
    top, bottom = round(PANEL / area, 6), round((PANEL + GAP) / area, 6)
    highest = max(float(bars.heights(one.scale).max()) for bars in (one.id, one.ood[0]))
    layout: dict[str, Any] = theme.layout(
        dark, height=area + 160, barmode="overlay", bargap=0, margin={"l": 52, "r": 12, "t": 84, "b": 76}
    )
    layout |= {
        "xaxis": scores.x_axis(one, score),
        "yaxis": {
            "title": {"text": "% of the set", "font": {"size": 13}},
            "domain": [0, top],
            "range": [0, short(1.12 * highest)],
            "fixedrange": True,
            "nticks": 6,
        },
        "yaxis2": {
            "domain": [bottom, 1],
            "range": [-0.6, rows - 0.4],
            "fixedrange": True,
            "showgrid": False,
            "zeroline": False,
            "showticklabels": False,
            "ticks": "",
        },
        "legend": {"y": 1 + 10 / area, "x": 0, "font": {"size": 12}, "itemsizing": "constant"},
        "shapes": [scores.threshold_line(one.scale.at, dark, axis) for axis in ("y", "y2")],
        "annotations": [_note(one.ood[0], one, top, dark)],
    }
    return Figure(data, layout)


def _trace(record: Marks, accepted: bool, dark: bool) -> dict[str, Any]:
    """Accepted images as filled circles, rejected ones as empty squares; the number inside."""
    colour = theme.colours(dark)
    some = [mark for mark in record.marks if mark.accepted == accepted]
    words = [verdict_words.verdict(mark.predicted, mark.margin, record.record.tpr) for mark in some]
    fill, ink = ("ink", "background") if accepted else ("background", "ink")
    return {
        "type": "scatter",
        "mode": "markers+text",
        "name": f"your images, {'accepted' if accepted else 'rejected'}",
        "x": shorts([mark.x for mark in some]),
        "y": [mark.lane for mark in some],
        "text": [str(mark.number) for mark in some],
        "textfont": {"size": 11, "color": colour[ink]},
        "customdata": [[mark.number, text] for mark, text in zip(some, words, strict=True)],
        "hovertemplate": "%{customdata[0]}: %{customdata[1]}<extra></extra>",
        "marker": {
            "symbol": "circle" if accepted else "square",
            "size": 20,
            "color": colour[fill],
            "line": {"width": 1.6, "color": colour["ink"]},
        },
        "xaxis": "x",
        "yaxis": "y2",
        "cliponaxis": False,
    }


def _note(bars: Bars, record: Histograms, top: float, dark: bool) -> dict[str, Any]:
    """Which OOD images the histogram is of, in its corner."""
    return {
        "text": scores.titled(bars.label, f"{fpr_name(record.tpr)} {theme.percent(bars.share)}"),
        "align": "right",
        "x": 1,
        "xref": "paper",
        "xanchor": "right",
        "y": top,
        "yref": "paper",
        "yanchor": "top",
        "showarrow": False,
        "font": {"size": 13, "color": theme.colours(dark)["ink"]},
        "bgcolor": theme.colours(dark)["background"],
        "opacity": 0.9,
    }
