"""One image under a method: its sorted activation with threshold and factor, and the algorithm in its numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from app import theme
from app.charts.score_words import shorts
from ash.methods import Method

Floats = NDArray[np.floating]
MOST_POINTS = 1500  # ranks drawn


@dataclass(frozen=True)
class Curve:
    """A sample's n values, largest first (equal values: lowest index first), and what shaping made of the same units.

    `k` values are kept, `t` is the smallest of them (None without a percentile or when k = 0), `s1` the sum of all and
    `s2` of the kept. `exponent` is s1/s2 of ASH-S, `level` s1/k of ASH-B, `clipped` the values above ReAct's threshold.
    """

    method: Method
    before: Floats
    after: Floats
    k: int
    t: float | None
    s1: float
    s2: float
    exponent: float | None = None
    level: float | None = None
    clipped: int = 0

    @property
    def n(self) -> int:
        """Number of values: units, or C * H * W."""
        return len(self.before)

    @property
    def factor(self) -> float | None:
        """What ASH-S multiplies the kept values by."""
        return None if self.exponent is None else float(np.exp(self.exponent))

    @property
    def kept_zeros(self) -> int:
        """Kept entries that are exactly 0."""
        return int(np.count_nonzero(self.before[: self.k] == 0))


def curve(x: Floats, shaped: Floats, method: Method) -> Curve:
    """Sort one activation (any shape) and name the numbers of Algorithms 1-3; the same k, s1, s2 as `ash.shaping`."""
    from ash.shaping import kept_count

    flat = x.ravel()
    order = np.argsort(-flat, kind="stable")
    before, after = flat[order], shaped.ravel()[order]
    n, p = len(flat), method.percentile
    k = n if p is None else kept_count(n, p)
    s1, s2 = (float(part.sum(dtype=np.float64)) for part in (flat, before[:k]))
    t = float(before[k - 1]) if p is not None and k else None
    exponent = _exponent(s1, s2, before[:k]) if method.variant == "ash_s" else None
    level = s1 / max(k, 1) if method.variant == "ash_b" else None
    clipped = int(np.count_nonzero(flat > (method.parameter or 0))) if method.variant == "react" else 0
    return Curve(method, before, after, k, t, s1, s2, exponent, level, clipped)


def _exponent(s1: float, s2: float, kept: Floats) -> float:
    import torch

    from ash.shaping import scale_exponent

    one, two, peak = (torch.tensor([value], dtype=torch.float64) for value in (s1, s2, np.abs(kept).max(initial=0)))
    return float(scale_exponent(one, two, peak, torch.float32))


def steps(record: Curve) -> list[str]:
    """The variant's algorithm, one sentence a step, with this sample's numbers (markdown)."""
    name, number = record.method.variant, theme.number
    if name == "none":
        return ["Nothing is shaped: the activation goes on as it is."]
    if name == "react":
        return [
            f"Compare every value with the constant c = **{number(record.method.parameter or 0)}**.",
            f"Set the **{theme.count(record.clipped)}** of {theme.count(record.n)} values above c to c.",
            f"The sum goes from {number(record.s1)} to **{number(float(record.after.sum(dtype=np.float64)))}**.",
        ]
    n, k = theme.count(record.n), theme.count(record.k)
    start = [f"Sum all {n} values: s1 = **{number(record.s1)}**."] if name in ("ash_s", "ash_b") else []
    if record.t is None:
        start.append(f"The threshold lies above every value: **k = 0** of {n} stay.")
    else:
        start.append(f"Find the threshold that the k = **{k}** largest values reach: t = **{number(record.t)}**.")
    start.append(f"Set the other **{theme.count(record.n - record.k)}** values to 0.")
    if name == "ash_b":
        zeros = f" ({theme.count(record.kept_zeros)} of them were 0)" if record.kept_zeros else ""
        return [
            *start,
            f"Set each of the {k} kept entries{zeros} to s1/k = **{number(record.level or 0)}**. The sum stays s1.",
        ]
    if name == "ash_s":
        exponent, times = record.exponent, record.factor  # both may be 0
        factor = f"exp({number(0 if exponent is None else exponent)}) = **{number(1 if times is None else times)}**"
        return [*start, f"Sum what is left: s2 = **{number(record.s2)}**.", f"Multiply it by exp(s1/s2) = {factor}."]
    if name == "ash_rand":
        return [
            *start,
            f"Replace the {k} kept values by random numbers from 0 to 10 (seed 0, keyed by the sample's number).",
        ]
    share = f", {theme.percent(100 * record.s2 / record.s1)} of the whole" if record.s1 > 0 else ""
    return [*start, f"Leave the rest as it is: its sum is s2 = **{number(record.s2)}**{share}."]


def algorithm(method: Method) -> str:
    """Where the steps come from."""
    return {
        "ash_p": "Algorithm 1, ASH-P",
        "ash_b": "Algorithm 2, ASH-B",
        "ash_s": "Algorithm 3, ASH-S",
        "ash_rand": "ASH-RAND, section 4",
        "react": "ReAct",
    }.get(method.variant, "No shaping")


def curve_finding(record: Curve) -> str:
    """One sentence for the figure."""
    if record.method.variant == "none":
        return f"The {theme.count(record.n)} values of this sample, sorted; their sum is {theme.number(record.s1)}."
    if record.method.variant == "react":
        return f"{record.method.label} clips {theme.count(record.clipped)} of the {theme.count(record.n)} values."
    share = f", which carry {theme.percent(100 * record.s2 / record.s1)} of the sum" if record.s1 > 0 else ""
    return f"{record.method.label} keeps the {theme.count(record.k)} largest of {theme.count(record.n)} values{share}."


def _ranks(record: Curve) -> NDArray[np.intp]:
    """Positions to draw: all, or evenly spaced ones with the first, the last and both sides of k."""
    if record.n <= MOST_POINTS:
        return np.arange(record.n)
    spaced = np.linspace(0, record.n - 1, MOST_POINTS).round().astype(np.intp)
    marks = np.array([record.k - 1, record.k]).clip(0, record.n - 1)
    return np.unique(np.concatenate([spaced, marks]))


def curve_figure(record: Curve, dark: bool) -> go.Figure:
    """Before above after, each on its own scale: value against rank, the kept part filled, threshold and k marked."""
    colour, at = theme.colours(dark), _ranks(record)
    tint = colour[record.method.variant]
    shaped = record.method.variant != "none"
    prunes = record.method.percentile is not None
    inside = at < record.k
    traces = [_line(at, record.before, colour["muted"], "y", "before", fill=not prunes and shaped)]
    if prunes:
        traces.append(_line(at[inside], record.before, tint, "y", "before, kept", fill=True))
    if shaped:
        traces.append(_line(at, record.after, tint, "y2", "after", fill=True))
    layout = theme.layout(
        dark,
        height=430 if shaped else 320,
        margin={"l": 60, "r": 14, "t": 28, "b": 48},
        showlegend=False,
        hovermode="x",
        xaxis={"title": "rank (1 = largest)", "range": [0.5, record.n + 0.5], "anchor": "y2" if shaped else "y"},
        yaxis={"title": "value before", "domain": [0.56, 1.0] if shaped else [0.0, 1.0], "rangemode": "tozero"},
        shapes=_lines(record, colour),
        annotations=_notes(record, colour),
    )
    if shaped:
        layout["yaxis2"] = {"title": "value after", "domain": [0.0, 0.44], "rangemode": "tozero"}
    return go.Figure(traces, layout)


def _line(at: NDArray[np.intp], values: Floats, tint: str, axis: str, name: str, fill: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": (at + 1).tolist(),
        "y": shorts(values[at]),
        "yaxis": axis,
        "line": {"shape": "hvh", "color": tint, "width": 2},
        "hovertemplate": "%{y:.4g}",
    }
    return {**found, "fill": "tozeroy"} if fill else found


def _lines(record: Curve, colour: dict[str, str]) -> list[dict[str, Any]]:
    """Threshold and rank k as lines over the panels."""
    thin = {"color": colour["ink"], "width": 1.2, "dash": "dash"}
    level = record.method.parameter if record.method.variant == "react" else record.t
    found = []
    if level is not None:
        found.append(
            {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": level, "y1": level, "line": thin}
        )
    if record.method.percentile is not None:
        place = record.k + 0.5
        found.append(
            {"type": "line", "xref": "x", "x0": place, "x1": place, "yref": "paper", "y0": 0, "y1": 1, "line": thin}
        )
    return found


def _notes(record: Curve, colour: dict[str, str]) -> list[dict[str, Any]]:
    """The numbers of the algorithm where they are seen."""
    number, name = theme.number, record.method.variant
    plain = {"showarrow": False, "font": {"size": 13, "color": colour["ink"]}, "xref": "paper", "yref": "paper"}
    right = {**plain, "x": 1, "xanchor": "right"}
    top = f"n = {theme.count(record.n)} values,  s1 = {number(record.s1)} (sum)"
    if record.method.percentile is not None:
        top += f",  s2 = {number(record.s2)} (sum of kept)"
    if name == "react":
        top += f",  c = {number(record.method.parameter or 0)}"
    found = [{**right, "text": top, "y": 1.0, "yanchor": "bottom"}]
    if record.t is not None:
        found.append({**right, "text": f"t = {number(record.t)}", "yref": "y", "y": record.t, "yanchor": "bottom"})
    if record.method.percentile is not None:
        late = record.k > 0.7 * record.n  # the label stays inside the picture
        side = {"x": record.k + 0.5, "xref": "x", "xanchor": "right" if late else "left", "xshift": -4 if late else 4}
        found.append({**plain, **side, "text": f"k = {theme.count(record.k)} kept", "y": 0.93, "yanchor": "top"})
    below = {
        "ash_s": f"kept values × exp(s1/s2) = × {number(record.factor or 1)}",
        "ash_b": f"kept entries = s1/k = {number(record.level or 0)}",
        "ash_p": "kept values unchanged",
        "ash_rand": "kept values random in [0, 10)",
        "react": f"values cut at c, {theme.count(record.clipped)} of them",
    }.get(name)
    return found if below is None else [*found, {**right, "text": below, "y": 0.44, "yanchor": "bottom"}]


def curve_table(record: Curve, limit: int = 2000) -> pd.DataFrame:
    """The largest values: rank, before, kept or not, after."""
    shown = slice(0, limit)
    ranks = np.arange(1, record.n + 1)[shown]
    columns = {"rank": ranks, "before": record.before[shown], "kept": ranks <= record.k, "after": record.after[shown]}
    return pd.DataFrame(columns)
