"""Measured curves: one line per variant, a dotted reference, the same record for the screen and for paper.

Two steps: whoever draws makes an `Against` of plain numbers; `figure` draws it on the page, a handout as SVG.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from app.charts.bins import Bars, Histograms
from app.charts.plain import Figure
from app.theme import MARKS, Mark, colours, layout, percent

HEIGHT = 400
PERCENTILE = "percentile p (% removed)"
Spot = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """One line: name, what its colour and mark stand for (a variant, id, ood, muted), its points (x, y)."""

    name: str
    role: str
    points: tuple[Spot, ...]

    @property
    def mark(self) -> Mark:
        """Symbol and dash, so that no line is told by its colour alone."""
        return _PLAIN.get(self.role) or MARKS[self.role]


_PLAIN = {
    "id": Mark("square", "solid", "■"),
    "ood": Mark("diamond", "dash", "◆"),
    "muted": Mark("hexagon", "longdashdot", "⬢"),
}


@dataclass(frozen=True)
class Against:
    """Lines over one x axis. `level`: name and height of the dotted reference; `at`: an x worth a vertical line.

    `steps`: whether the lines are outlines of histograms, of which what lies from `at` on is hatched in the last one.
    `says`: the finding, where the lines are not against p. `rings`: points that are judged or chosen. `front`: the
    corners of a Pareto front; with one, the points of the lines are marks without a line. `floor`: the least x allowed.
    """

    x: str
    y: str
    lines: tuple[Line, ...]
    level: tuple[str, float] | None = None
    at: float | None = None
    steps: bool = False
    says: str = ""
    rings: tuple[Spot, ...] = ()
    front: tuple[Spot, ...] = ()
    floor: float | None = None

    def window(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """The ranges of x and y that show everything."""
        spots = [*(spot for line in self.lines for spot in line.points), *self.rings]
        xs = [x for x, _ in spots] + ([] if self.at is None else [self.at])
        ys = [y for _, y in spots] + ([self.level[1]] if self.level else [])
        if self.steps:
            ys.append(0.0)
        return _padded(xs), _padded(ys)


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    pad = 0.04 * (high - low) or 1.0
    return low - pad, high + pad


def figure(shown: Against, dark: bool) -> Figure:
    """The chart."""
    colour, plot = colours(dark), Figure([], {})
    (left, right), (low, high) = shown.window()
    if shown.level:
        name, height = shown.level
        plot.data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": name,
                "x": [round(left, 4), round(right, 4)],
                "y": [round(height, 4)] * 2,
                "line": {"color": colour["ink"], "width": 1.5, "dash": "dot"},
                "hovertemplate": f"{name}: {percent(height, 2)}<extra></extra>",
            }
        )
    for line in shown.lines:
        plot.data.append(_trace(shown, line, colour))
    if shown.rings:
        plot.data.append(_rings(shown, colour))
    upright = {"type": "line", "x0": shown.at, "x1": shown.at, "yref": "paper", "y0": 0, "y1": 1, "layer": "below"}
    plot.layout.update(
        **layout(dark, height=HEIGHT, margin={"l": 8, "r": 12, "t": 8, "b": 8}),
        showlegend=True,
        xaxis={"title": {"text": shown.x}, "range": [round(left, 4), round(right, 4)], "zeroline": False},
        yaxis={"title": {"text": shown.y}, "range": [round(low, 4), round(high, 4)], "zeroline": False},
        shapes=[] if shown.at is None else [{**upright, "line": {"color": colour["muted"], "width": 1}}],
    )
    return plot


def _trace(shown: Against, line: Line, colour: dict[str, str]) -> dict[str, Any]:
    tone = colour[line.role]
    shape = {"shape": "hv"} if shown.steps else {}
    return {
        "type": "scatter",
        "mode": "lines" if shown.steps else "lines+markers",
        "name": line.name,
        "x": [round(x, 4) for x, _ in line.points],
        "y": [round(y, 4) for _, y in line.points],
        "line": {"color": tone, "dash": line.mark.dash, "width": 2, **shape},
        "marker": {"symbol": line.mark.symbol, "size": 8, "color": tone},
        "hovertemplate": f"{line.name}<br>%{{x:.4g}}: %{{y:.2f}}<extra></extra>",
    }


def _rings(shown: Against, colour: dict[str, str]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "judged",
        "x": [round(x, 4) for x, _ in shown.rings],
        "y": [round(y, 4) for _, y in shown.rings],
        "marker": {"symbol": "circle-open", "size": 22, "color": colour["ink"], "line": {"width": 3}},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def finding(shown: Against) -> str:
    """What the picture shows, in one sentence."""
    if shown.says:
        return shown.says
    tops = [(line.name, *max(line.points, key=lambda one: (round(one[1], 9), -one[0]))) for line in shown.lines]
    parts = [f"{name} {round(y, 1) + 0.0:.1f} at p = {x:g}" for name, x, y in sorted(tops, key=lambda one: -one[2])]
    level = f" Dotted: {shown.level[0]}, {shown.level[1]:.1f}." if shown.level else ""
    return f"{shown.y}, highest: {'; '.join(parts)}.{level}"


def table(shown: Against) -> pd.DataFrame:
    """One row per x, one column per line."""
    columns = {line.name: dict(line.points) for line in shown.lines}
    frame = pd.DataFrame(columns).sort_index().round(3)
    return frame.rename_axis(shown.x).reset_index()


def outlines(record: Histograms, bars: Bars, says: str) -> Against:
    """The histograms of the ID set and of one OOD set as outlines; the threshold is the vertical line."""
    scale = record.scale
    lines = []
    for role, one in (("id", record.id), ("ood", bars)):
        heights = one.heights(scale).tolist()
        points = [*zip(scale.left, heights, strict=True), (scale.right[-1], heights[-1])]
        lines.append(Line(f"{one.label} ({role.upper()})", role, tuple((float(x), float(y)) for x, y in points)))
    return Against(
        "score minus threshold, in ID inter-quartile ranges",
        "share of the set (%)",
        tuple(lines),
        at=scale.at,
        steps=True,
        says=says,
    )
