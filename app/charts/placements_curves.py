"""Accuracy and detection against percentile, one line per placement, on one x axis (the paper's Figures 3 and 5).

The current placement has the variant's colour; all are told apart by dash, symbol and a label beside the line.
"""

import math
from dataclasses import dataclass
from typing import Any

from app.charts.front import Range, Setting
from app.charts.labels import Box, Placed, Spot, Wish, along, annotation, place, to_pixels
from app.charts.placements import Cell, Place, Placements
from app.charts.plain import Figure
from app.theme import LOWER_IS_BETTER, OBJECTIVE_LABELS, colours, count, layout, percent, points

PANEL, GAP, FOOT = 236, 36, 44  # pixels: one picture, between the two with the title of the second, below
NARROW = (270.0, float(PANEL))  # the smallest plot, for which the labels are placed
STYLES = (  # symbol and dash from the output of the network inwards; dots are the unshaped network
    *(("circle", "solid"), ("square", "dash"), ("triangle-up", "longdash"), ("diamond", "dashdot")),
    *(("x", "longdashdot"), ("star", "solid"), ("triangle-down", "dash"), ("cross", "longdash")),
    *(("pentagon", "dashdot"), ("hexagram", "longdashdot")),
)
X: Range = (-2.0, 101.0)
LABELLED = 6  # more lines than this are named by the legend alone
# points below the unshaped value that the window shows at most
_DEPTH = {"id_accuracy": 20.0, "auroc": 15.0, "fpr95": 40.0, "aupr": 10.0}


def figure(shown: Placements, dark: bool) -> Figure:
    """Both pictures: ID accuracy above, the objective of the grid (AUROC where that is the accuracy) below."""
    plot = Figure([], {})
    for panel, objective in enumerate(("id_accuracy", shown.lower)):
        for trace in _unshaped(shown, objective, dark):
            plot.data.append(trace | _axes(panel))
        for one in shown.known:
            plot.data.append(_line(shown, one, objective, dark) | _axes(panel) | {"showlegend": panel == 0})
        plot.data.append(_ring(shown, objective, dark) | _axes(panel))
    height = 2 * PANEL + GAP + FOOT + _top(shown)
    plot.layout.update(
        **layout(dark, height=height, margin={"l": 8, "r": 8, "t": _top(shown), "b": FOOT}),
        xaxis=_x_axis(anchor="y", showticklabels=False),
        xaxis2=_x_axis(anchor="y2", matches="x", title={"text": "Percentile p (% removed)", "font": {"size": 14}}),
        yaxis=_y_axis(shown, "id_accuracy", _domain(0)),
        yaxis2=_y_axis(shown, shown.lower, _domain(1)),
        shapes=_current_line(shown, dark),
        annotations=[*_titles(shown), *_labels(shown, dark)],
        legend={"yref": "container", "y": 1, "yanchor": "top"},
    )
    return plot


def style(shown: Placements, one: Place) -> tuple[str, str]:
    """Symbol and dash of a placement: counted from the output, so that further ones inside change nothing."""
    return STYLES[(len(shown.places) - 1 - shown.places.index(one)) % len(STYLES)]


def window(shown: Placements, objective: str) -> Range:
    """The range of an objective: all of it, or from the best value down to a bounded loss against the unshaped one."""
    values = [one[objective] for place_ in shown.known for one in (place_.baseline, *place_.settings) if one]
    values = [value for value in values if math.isfinite(value)]
    if not values:
        return (0.0, 100.0)
    low, high = min(values), max(values)
    bases = [place_.baseline[objective] for place_ in shown.known if place_.baseline]
    bases = [value for value in bases if math.isfinite(value)]
    if bases and not shown.show_all:
        if objective in LOWER_IS_BETTER:
            high = min(high, max(bases) + _DEPTH[objective])
        else:
            low = max(low, min(bases) - _DEPTH[objective])
    pad = 0.06 * (high - low) or 1.0
    return (low - pad, high + pad)


def _top(shown: Placements) -> int:
    """Room for the legend, which wraps on a phone, and the title of the first picture."""
    return 44 + 20 * math.ceil(len(shown.known) / 2)


def _domain(panel: int) -> tuple[float, float]:
    share = PANEL / (2 * PANEL + GAP)
    return (round(1 - share, 4), 1.0) if panel == 0 else (0.0, round(share, 4))


def _axes(panel: int) -> dict[str, str]:
    return {"xaxis": "x", "yaxis": "y"} if panel == 0 else {"xaxis": "x2", "yaxis": "y2"}


def _x_axis(**changes: Any) -> dict[str, Any]:
    return {"range": list(X), "tickvals": list(range(0, 100, 10)), "zeroline": False, **changes}


def _y_axis(shown: Placements, objective: str, domain: tuple[float, float]) -> dict[str, Any]:
    low, high = (round(end, 3) for end in window(shown, objective))
    ends = [high, low] if objective in LOWER_IS_BETTER else [low, high]
    return {"range": ends, "domain": list(domain), "zeroline": False, "nticks": 6}


def _titles(shown: Placements) -> list[dict[str, Any]]:
    """The name of each picture above its left corner, and the current p above its line."""
    notes = []
    for panel, objective in enumerate(("id_accuracy", shown.lower)):
        direction = ", reversed: lower is better" if objective in LOWER_IS_BETTER else ""
        place_ = {
            "x": 0,
            "xref": "paper",
            "xanchor": "left",
            "y": _domain(panel)[1],
            "yref": "paper",
            "yanchor": "bottom",
        }
        notes.append({**place_, "text": f"<b>{OBJECTIVE_LABELS[objective]}</b> (%{direction})", "showarrow": False})
    if shown.p is not None:
        spot = {"x": shown.p, "xref": "x", "xanchor": "center", "y": 1, "yref": "paper", "yanchor": "bottom"}
        notes.append({**spot, "text": f"p = {shown.p:g}", "showarrow": False, "font": {"size": 12}})
    return notes


def _current_line(shown: Placements, dark: bool) -> list[dict[str, Any]]:
    if shown.p is None:
        return []
    line = {"color": colours(dark)["muted"], "width": 1}
    where = {"x0": shown.p, "x1": shown.p, "xref": "x", "y0": 0, "y1": 1, "yref": "paper"}
    return [{"type": "line", "line": line, "layer": "below", **where}]


def _references(shown: Placements, objective: str) -> dict[str, float]:
    """Name -> unshaped value, one for each set of images, named by it where there are several."""
    values: dict[tuple[int, int], float] = {}
    for one in shown.known:
        assert one.baseline is not None
        values.setdefault(one.images, one.baseline[objective])
    if len(values) == 1:
        return {"Unshaped": next(iter(values.values()))}
    return {f"Unshaped, {count(images[0])} ID images": value for images, value in values.items()}


def _unshaped(shown: Placements, objective: str, dark: bool) -> list[dict[str, Any]]:
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": [0, 100],
            "y": [round(value, 4)] * 2,
            "line": {"color": colours(dark)["ink"], "width": 1.5, "dash": "dot"},
            "hovertemplate": f"{name}: {percent(value, 2)}<extra></extra>",
            "showlegend": False,
        }
        for name, value in _references(shown, objective).items()
    ]


def _line(shown: Placements, one: Place, objective: str, dark: bool) -> dict[str, Any]:
    colour = _colour(shown, one, dark)
    symbol, dash = style(shown, one)
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": one.label,
        "legendgroup": one.name,
        "x": [setting.parameter for setting in one.settings],
        "y": [round(setting[objective], 4) for setting in one.settings],
        "line": {"color": colour, "dash": dash, "width": 2.5 if _current(shown, one) else 1.5},
        "marker": {
            "symbol": f"{symbol}{'-open' * bool(one.measured)}",
            "size": 8,
            "color": colour,
            "line": {"color": colour, "width": 1},
        },
        "customdata": [Cell(one, setting.method, setting).id for setting in one.settings],
        "hovertext": [hover(one, setting) for setting in one.settings],
        "hoverinfo": "text",
    }


def _current(shown: Placements, one: Place) -> bool:
    return one.name == shown.current[0]


def _colour(shown: Placements, one: Place, dark: bool) -> str:
    return colours(dark)[shown.variant if _current(shown, one) else "muted"]


def hover(one: Place, setting: Setting) -> str:
    """What a mark or a cell says: placement, method, metrics against the unshaped network, images."""
    lines = [f"<b>{one.label}</b>", setting.label]
    for name, label in OBJECTIVE_LABELS.items():
        gain = f" ({points(setting[name] - one.baseline[name], 2)})" if one.baseline else ""
        lines.append(f"{label} {percent(setting[name], 2)}{gain}")
    lines.append(f"{count(one.images[0])} ID and {count(one.images[1])} OOD images")
    if one.measured:
        lines += ["Measured before, activations not shipped:", one.measured]
    return "<br>".join([*lines, "Click to load it on every page"])


def _ring(shown: Placements, objective: str, dark: bool) -> dict[str, Any]:
    """A ring round the current method, where it is a computed one of this variant."""
    here = [
        (one, setting)
        for one in shown.known
        for setting in one.settings
        if Cell(one, setting.method, setting).id == shown.selected
    ]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "current",
        "x": [setting.parameter for _, setting in here],
        "y": [round(setting[objective], 4) for _, setting in here],
        "marker": {"symbol": "circle-open", "size": 20, "color": colours(dark)["ink"], "line": {"width": 3}},
        "customdata": [Cell(one, setting.method, setting).id for one, setting in here],
        "hovertext": [hover(one, setting) for one, setting in here],
        "hoverinfo": "text",
        "showlegend": False,
    }


# Labels


def _labels(shown: Placements, dark: bool) -> list[dict[str, Any]]:
    """The name of each line beside it, in both pictures; with many lines the legend has to do."""
    if len(shown.known) > LABELLED:
        return []
    notes = []
    for panel, objective in enumerate(("id_accuracy", shown.lower)):
        low, high = window(shown, objective)
        ends = (high, low) if objective in LOWER_IS_BETTER else (low, high)
        named = _named(shown, objective, ends, dark)
        pixel = to_pixels(NARROW, X, ends)
        wishes = {
            Wish(one.text, tuple(pixel(*spot) for spot in one.spots), 12, 8, always=one.always): one for one in named
        }
        obstacles: list[Box] = []
        for one in named:
            obstacles += along([pixel(*spot) for spot in one.spots], 4 if one.always else 1)
        for placed in place(wishes, NARROW, obstacles):
            notes.append(_note(placed, wishes[placed.wish], panel, colours(dark)["background"]))
    return notes


@dataclass(frozen=True)
class _Named:
    """A line that wants its name: the text, its points within the window, and how the text is drawn."""

    text: str
    spots: tuple[Spot, ...]
    colour: str
    bold: bool = False
    always: bool = True


def _named(shown: Placements, objective: str, ends: Range, dark: bool) -> list[_Named]:
    found = []
    for one in shown.known:
        spots = [(setting.parameter or 0.0, setting[objective]) for setting in one.settings]
        seen = tuple(spot for spot in spots if min(ends) <= spot[1] <= max(ends))
        if seen:
            found.append(_Named(one.label, seen, _colour(shown, one, dark), _current(shown, one)))
    for name, value in _references(shown, objective).items():
        level = tuple((float(p), value) for p in range(0, 101, 5))
        found.append(_Named(name.lower().replace(" id images", " ID"), level, colours(dark)["ink"], always=False))
    return found


def _note(placed: Placed, one: _Named, panel: int, background: str) -> dict[str, Any]:
    x, y = one.spots[placed.anchor]
    number = "" if panel == 0 else "2"
    spot = {"x": x, "y": round(y, 4), "xref": f"x{number}", "yref": f"y{number}"}
    return spot | annotation(placed, one.bold, one.colour, background)
