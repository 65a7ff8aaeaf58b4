"""The modified ReLU of single images (the paper's Figure 4), with the percentile dragged in the browser."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app import theme
from app.charts.plain import Figure
from app.charts.score_words import short, shorts
from app.link.fields import write_number
from app.views.lab.algorithm_film import heading, slider
from ash.methods import STEPS

HEIGHT = 530
RUG = 300  # values of a sample that are drawn under its curve
Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Image:
    """One sample: colour role ("id" or "ood"), label, and its n values, largest first."""

    role: str
    label: str
    values: Floats


@dataclass(frozen=True)
class Cut:
    """What a variant does to one image at one percentile: below `t` 0, from `t` on `slope` * x + `level`.

    k of the n values reach it; t, and with it the curve, is None when k = 0. `tied`: values equal to t that must go.
    """

    k: int
    n: int
    t: float | None
    slope: float
    level: float
    tied: int

    def __call__(self, x: float) -> float:
        """The output for an input x."""
        return 0.0 if self.t is None or x < self.t else self.slope * x + self.level


@dataclass(frozen=True)
class Relu:
    """A variant on two images at every percentile: `cuts[i][j]` of image i at `percentiles[j]`."""

    variant: str
    images: tuple[Image, Image]
    percentiles: tuple[float, ...]
    cuts: tuple[tuple[Cut, ...], ...]
    start: int

    @property
    def now(self) -> tuple[Cut, Cut]:
        """Both cuts at the percentile shown first."""
        return self.cuts[0][self.start], self.cuts[1][self.start]


def image(role: str, label: str, x: Floats) -> Image:
    """An image by its activation of any shape."""
    return Image(role, label, np.sort(x.ravel())[::-1])


def relu(variant: str, images: tuple[Image, Image], p: float) -> Relu:
    """The record over all whole percentiles, and p itself where it is none of them."""
    percentiles = tuple(sorted({*(float(one) for one in range(100)), p}))
    cuts = tuple(tuple(cut(variant, one.values, each) for each in percentiles) for one in images)
    return Relu(variant, images, percentiles, cuts, percentiles.index(p))


def cut(variant: str, values: Floats, p: float) -> Cut:
    """Values, largest first, at percentile p: the numbers of `ash.shaping` for this one sample."""
    import torch

    from ash.shaping import kept_count, scale_exponent

    n, k = len(values), kept_count(len(values), p)
    if not k:
        return Cut(0, n, None, 0.0, 0.0, 0)
    kept, t = values[:k], float(values[k - 1])
    s1, s2 = (float(part.sum(dtype=np.float64)) for part in (values, kept))
    one, two, peak = (torch.tensor([v], dtype=torch.float64) for v in (s1, s2, float(np.abs(kept).max())))
    factor = float(scale_exponent(one, two, peak, torch.float32).exp())
    slope, level = {"prune": (1.0, 0.0), "fill": (0.0, s1 / k), "scale": (factor, 0.0)}[STEPS[variant].does]
    return Cut(k, n, t, slope, level, int(np.count_nonzero(values[k:] == t)))


def finding(record: Relu) -> str:
    """Where the two images are cut at the percentile shown first."""
    p, (one, two) = write_number(record.percentiles[record.start]), record.now
    if one.t is None or two.t is None:
        which = "either image" if one.t is None and two.t is None else "one of the images"
        return f"At p = {p} nothing of {which} is kept: its output is 0 everywhere."
    first, second = record.images
    differ = theme.number(one.t) != theme.number(two.t)
    return (
        f"At p = {p} both images keep {_share(one, two)}{', but' if differ else ', and'} the cut "
        f"{'differs' if differ else 'is the same'}: t = {theme.number(one.t)} for {first.label}, "
        f"t = {theme.number(two.t)} for {second.label}."
    )


def _share(one: Cut, two: Cut) -> str:
    if one.k == two.k and one.n == two.n:
        return f"{theme.count(one.k)} of {theme.count(one.n)} values"
    return f"{theme.count(one.k)} and {theme.count(two.k)} values"


def tie_note(record: Relu) -> str:
    """Where a curve is not the whole truth: values equal to the cut of which only some stay. "" when there are none."""
    tied = [one.label for one, here in zip(record.images, record.now, strict=True) if here.tied]
    names = " and of ".join(tied)
    return f"More values of {names} equal t than stay: of those, only the first in order do." if tied else ""


def table(record: Relu) -> pd.DataFrame:
    """Every percentile and image: kept values, cut, slope and level."""
    columns = ["p", "image", "kept", "of", "t", "slope", "level"]
    rows = [
        (p, one.label, here.k, here.n, here.t, here.slope, here.level)
        for one, cuts in zip(record.images, record.cuts, strict=True)
        for p, here in zip(record.percentiles, cuts, strict=True)
    ]
    return pd.DataFrame(rows, columns=columns)


def caption(record: Relu, at: int) -> str:
    """The lines above the picture at one percentile: p, then a line an image."""
    lines = [f"<b>{STEPS[record.variant].label} @ {write_number(record.percentiles[at])}</b>"]
    for one, cuts in zip(record.images, record.cuts, strict=True):
        here = cuts[at]
        if here.t is None:
            lines.append(f"{one.role.upper()}: nothing is kept")
            continue
        what = {
            "prune": "from there unchanged",
            "fill": f"from there {theme.number(here.level)}",
            "scale": f"from there × {theme.number(here.slope)}",
        }[STEPS[record.variant].does]
        kept = f"{theme.count(here.k)} of {theme.count(here.n)} kept"
        lines.append(f"{one.role.upper()}: {kept}, t = <b>{theme.number(here.t)}</b>, {what}")
    return "<br>".join(lines)


def figure(record: Relu, dark: bool) -> Figure:
    """Output against input of both images over the plain ReLU, ticks for their values, and a slider for p."""
    low, high = _inputs(record)
    data = [_plain(low, high, dark)]
    for one, here, dash in zip(record.images, record.now, ("solid", "dash"), strict=True):
        data.append(_curve(one, here, dash, (low, high), dark))
    for place, one in enumerate(record.images):
        data.append(_rug(one, place, dark))
    frames = [_frame(record, at, (low, high)) for at in range(len(record.percentiles))]
    return Figure(data, _layout(record, (low, high), dark), frames)


def _inputs(record: Relu) -> tuple[float, float]:
    high = max(float(one.values[0]) for one in record.images) or 1.0
    low = min(float(one.values[-1]) for one in record.images)
    return short(min(low, -0.2 * abs(high)) * 1.05), short(high * 1.05 if high > 0 else 1.0)


def _points(here: Cut, span: tuple[float, float]) -> tuple[list[float | None], list[float | None]]:
    """The curve, broken at its jump."""
    if here.t is None:
        return [span[0], None, None, None, span[1]], [0.0, None, None, None, 0.0]
    x: list[float | None] = [span[0], short(here.t), None, short(here.t), span[1]]
    return x, [0.0, 0.0, None, short(here(here.t)), short(here(span[1]))]


def _top(record: Relu, at: int, span: tuple[float, float]) -> tuple[float, float]:
    ends = [cuts[at](x) for cuts in record.cuts for x in (cuts[at].t or 0.0, span[1])]
    top, low = max(span[1], *ends), min(0.0, *ends)
    return short(low - 0.05 * (top - low)), short(top + 0.06 * (top - low))


def _plain(low: float, high: float, dark: bool) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "plain ReLU",
        "x": [low, 0, high],
        "y": [0, 0, high],
        "line": {"color": theme.colours(dark)["muted"], "width": 1.5, "dash": "dot"},
        "hoverinfo": "skip",
    }


def _curve(one: Image, here: Cut, dash: str, span: tuple[float, float], dark: bool) -> dict[str, Any]:
    x, y = _points(here, span)
    full = "circle" if one.role == "id" else "square"
    return {
        "type": "scatter",
        "mode": "lines+markers",  # a hollow and a full mark where the curve jumps
        "marker": {"size": [0, 13, 0, 13, 0], "symbol": [full, f"{full}-open", full, full, full], "opacity": 1,
                   "color": theme.colours(dark)[one.role], "line": {"width": [0, 3, 0, 0, 0]}},
        "name": f"{one.role.upper()} image",
        "x": x,
        "y": y,
        "line": {"color": theme.colours(dark)[one.role], "width": 4, "dash": dash},
        "hovertemplate": "%{x:.3g} becomes %{y:.3g}<extra></extra>",
    }  # fmt: skip


def _rug(one: Image, place: int, dark: bool) -> dict[str, Any]:
    """Ticks at the sample's values, on a strip of their own under the curve."""
    values = one.values
    if len(values) > RUG:
        values = values[np.linspace(0, len(values) - 1, RUG).round().astype(int)]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"values, {one.role.upper()}",
        "x": shorts(values),
        "y": [0.7 - 0.45 * place] * len(values),
        "yaxis": "y2",
        "marker": {"symbol": "line-ns-open" if place == 0 else "x-thin-open", "size": 9 if place == 0 else 6,
                   "color": theme.colours(dark)[one.role], "opacity": 0.6},
        "hovertemplate": "a value of " + one.role.upper() + ": %{x:.3g}<extra></extra>",
        "showlegend": False,
    }  # fmt: skip


def _frame(record: Relu, at: int, span: tuple[float, float]) -> dict[str, Any]:
    parts = [_points(cuts[at], span) for cuts in record.cuts]
    return {
        "name": write_number(record.percentiles[at]),
        "traces": [1, 2],
        "data": [{"type": "scatter", "x": x, "y": y} for x, y in parts],
        "layout": {"yaxis": {"range": list(_top(record, at, span))}, "title": {"text": caption(record, at)}},
    }


def _layout(record: Relu, span: tuple[float, float], dark: bool) -> dict[str, Any]:
    """Room for the longest tick at the left from the start: a frame does not move what it does not draw."""
    colour = theme.colours(dark)
    zero = {"zeroline": True, "zerolinecolor": colour["muted"], "zerolinewidth": 1, "fixedrange": True}
    return theme.layout(
        dark,
        height=HEIGHT,
        margin={"l": 72, "r": 8, "t": 112, "b": 8},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0, "font": {"size": 14}},
        title=heading(caption(record, record.start)),
        xaxis={"range": list(span), "title": {"text": "value of a unit, before", "font": {"size": 15}}, "nticks": 8,
               "tickfont": {"size": 14}, "anchor": "y2", **zero},
        yaxis={"range": list(_top(record, record.start, span)), "nticks": 6, "tickfont": {"size": 14},
               "title": {"text": "after shaping", "font": {"size": 15}}, "domain": [0.1, 1],
               "automargin": False, **zero},
        yaxis2={"range": [0, 1], "domain": [0, 0.1], "visible": False, "fixedrange": True},
        sliders=[slider(record.percentiles, record.start, dark)],
    )  # fmt: skip
