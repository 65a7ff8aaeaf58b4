"""The trade-off (the paper's Figure 2): one line per variant, the Pareto front, and what the paper would have set.

Two steps: settings -> `Pareto`, a record of what is shown; `Pareto` -> figure. A mark's `customdata` is its method.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

from app.charts.front import Range, Setting, front, full, window
from app.charts.labels import annotation
from app.charts.pareto_labels import Labels, Minor, labels_of
from app.charts.plain import Figure, Part, scatter
from app.charts.published import Published, trace
from app.theme import LOWER_IS_BETTER, MARKS, OBJECTIVE_LABELS, colours, layout, points
from ash.methods import STEPS, VARIANTS, Method

HEIGHT = 480
# ids of two traces of labels: those that a projector has room for, and those for a desktop alone. By these the style of
# charts (`chart.css`) leaves them out.
MINOR, MINOR_WIDE = "minor", "minorwide"
LEAST_FOR_A_LINE = 3  # settings of a step that the sidebar does not offer
STEP = 5  # percentiles between the marks of a sweep, as `app.backend.evaluations` takes them
_ARROWS = ("↙↓↘", "← →", "↖↑↗")  # a step down, none or up; to the left, none or to the right
_IN_INK = ("current", "paper")


@dataclass(frozen=True)
class Pareto:
    """What the chart shows. `front`, `paper`: among `settings`. `floor`: least accuracy allowed, None for any."""

    x: str
    y: str
    settings: tuple[Setting, ...]
    front: tuple[Setting, ...]
    baseline: Setting
    current: Setting
    paper: tuple[Setting, ...]
    floor: float | None
    ranges: tuple[Range, Range]
    published: tuple[Published, ...] = ()

    @cached_property
    def lines(self) -> dict[str, tuple[Setting, ...]]:
        """Variant -> its settings in the order of the parameter."""
        found: dict[str, list[Setting]] = {}
        for one in self.settings:
            if self._on_a_line(one):
                found.setdefault(one.variant, []).append(one)
        order = [name for name in (*VARIANTS, *STEPS) if name in found]
        return {name: tuple(sorted(found[name], key=lambda one: one.parameter or 0.0)) for name in order}

    @cached_property
    def others(self) -> tuple[Setting, ...]:
        """Methods that are on no line: other scores, fitted methods, several steps."""
        return tuple(one for one in self.settings if not self._on_a_line(one) and one != self.baseline)

    def _on_a_line(self, one: Setting) -> bool:
        return one.variant in self._drawn_as_lines and one.method.score == self._swept

    @cached_property
    def _swept(self) -> str:
        """The score of the sweep, which most settings have; that of the current one and its baseline may be another."""
        return Counter(one.method.score for one in self.settings).most_common(1)[0][0]

    @cached_property
    def _drawn_as_lines(self) -> frozenset[str]:
        """The variants of the sidebar, and other steps with enough settings for a line."""
        counts = Counter(one.variant for one in self.settings if one.parameter is not None)
        return frozenset(name for name, count in counts.items() if name in VARIANTS or count >= LEAST_FOR_A_LINE)

    @cached_property
    def still(self) -> "Pareto":
        """What stays while the percentile moves: the unshaped score is current, and no setting lies between marks."""
        fixed = _marks_of_the_sweep(self.settings, self.current.method)
        return replace(self, settings=fixed, front=front(fixed, self.x, self.y), current=self.baseline, floor=None)

    def steps(self) -> list[tuple[float, float]]:
        """The corners of the front: what lies beyond these steps, no setting reaches."""
        corners: list[tuple[float, float]] = []
        for one in self.front:
            x, y = one[self.x], one[self.y]
            if corners:
                corners.append((x, corners[-1][1]) if self.x in LOWER_IS_BETTER else (corners[-1][0], y))
            corners.append((x, y))
        return corners

    def spot(self, one: Setting) -> tuple[float, float]:
        """Where a setting is marked: at the edge of the picture where it lies beyond."""
        (left, right), (bottom, top) = (sorted(self.axis(which)) for which in (0, 1))
        return min(max(one[self.x], left), right), min(max(one[self.y], bottom), top)

    def beyond(self, one: Setting) -> str:
        """An arrow that says where beyond the picture a setting lies, "" for one within."""
        right, up = (
            0 if spot == one[name] else (1 if one[name] > spot else -1) * (-1 if name in LOWER_IS_BETTER else 1)
            for name, spot in zip((self.x, self.y), self.spot(one), strict=True)
        )
        return _ARROWS[up + 1][right + 1].strip()

    def axis(self, which: int) -> Range:
        """The range of x (0) or y (1) from left to right or bottom to top, as it is drawn: better is right and up."""
        low, high = (round(end, 3) for end in self.ranges[which])
        return (high, low) if (self.x, self.y)[which] in LOWER_IS_BETTER else (low, high)


def record(
    settings: Sequence[Setting],
    *,
    current: Method,
    baseline: Method,
    paper: Sequence[Method],
    x: str,
    y: str,
    budget: float | None = None,
    show_all: bool = False,
) -> Pareto:
    """What to show of these settings; `current`, `baseline`, `paper` are methods among them, `budget` is in points."""
    by_method = {one.method: one for one in settings}
    base, marked = by_method[baseline], tuple(by_method[name] for name in paper)
    fixed = _marks_of_the_sweep(settings, current)  # the ranges must not move with the percentile
    marks = (*marked, *front(fixed, x, y))
    if show_all:
        ranges = (full(settings, x), full(settings, y))
    else:
        ranges = (window(fixed, base, marks, x), window(fixed, base, marks, y))
    floor = None if budget is None else base.id_accuracy - budget
    members = front(settings, x, y)
    return Pareto(x, y, tuple(settings), members, base, by_method[current], marked, floor, ranges)


def _marks_of_the_sweep(settings: Sequence[Setting], current: Method) -> tuple[Setting, ...]:
    """The settings without the current one where that lies between the marks of the sweep."""
    between = current.percentile is None or current.percentile % STEP != 0
    return tuple(one for one in settings if one.method != current or not between)


def figure(shown: Pareto, dark: bool) -> Figure:
    """The chart. Its first two traces hold the labels that not every screen has room for."""
    plot = Figure([], {})
    labels, minor = labels_of(shown)
    for uid in (MINOR, MINOR_WIDE):
        plot.data.append(_minor_labels(uid, [one for one in minor if one.middle == (uid == MINOR)], dark))
    plot.data.append(_front(shown, dark))
    if shown.current.deviations:
        plot.data.append(_deviations(shown, dark))
    for variant, members in shown.lines.items():
        plot.data.append(_line(shown, variant, members, dark))
    if others := shown.others:
        plot.data.append(_marks(shown, "other methods", others, "hexagon", 10, dark))
    if shown.published:
        plot.data.append(trace(shown.published, dark, "published in the paper"))
    plot.data.append(_marks(shown, "baseline", [shown.baseline], "circle", 9, dark))
    for one in shown.paper:
        plot.data.append(_marks(shown, f"paper {one.method}", [one], MARKS[one.variant].symbol, 17, dark, hollow=True))
    current = _marks(shown, "current", [shown.current], "circle", 25, dark, hollow=True, width=3)
    x, y = shown.spot(shown.current)
    plot.data.append({**current, "x": [round(x, 4)], "y": [round(y, 4)]})
    plot.layout.update(
        **layout(dark, height=HEIGHT, margin={"l": 8, "r": 12, "t": 8, "b": 8}),
        shapes=_shapes(shown, dark),
        annotations=_annotations(shown, labels, dark),
        xaxis=_axis(shown, 0),
        yaxis=_axis(shown, 1),
        showlegend=True,
    )
    return plot


def _axis(shown: Pareto, which: int) -> dict[str, Any]:
    objective = (shown.x, shown.y)[which]
    direction = ", reversed: lower is better" if objective in LOWER_IS_BETTER else ""
    title = {"text": f"{OBJECTIVE_LABELS[objective]} (%{direction})", "standoff": 8}
    return {"range": list(shown.axis(which)), "title": title, "zeroline": False, "nticks": 8}


@lru_cache(maxsize=2048)
def _hover(one: Setting, base: Setting, best: bool) -> str:
    lines = [f"<b>{one.label}</b>"]
    for name in ("auroc", "fpr95", "aupr", "id_accuracy"):
        gain = points(one[name] - base[name], 2)
        lines.append(f"{OBJECTIVE_LABELS[name]} {one.shown(name, 2)} ({gain})")
    lines.append("On the Pareto front" if best else "Beaten by a setting of the front")
    return "<br>".join([*lines, "Click to load it on every page"])


def _hovers(shown: Pareto, members: Sequence[Setting]) -> list[str]:
    best = {*shown.front}
    return [_hover(one, shown.baseline, one in best) for one in members]


def _coordinates(shown: Pareto, members: Sequence[Setting]) -> dict[str, Any]:
    return {"x": [round(one[shown.x], 4) for one in members], "y": [round(one[shown.y], 4) for one in members]}


def _line(shown: Pareto, variant: str, members: Sequence[Setting], dark: bool) -> Part:
    colour, mark = colours(dark), MARKS[variant]
    allowed = [shown.floor is None or one.id_accuracy >= shown.floor - 1e-9 for one in members]
    return scatter(
        **_coordinates(shown, members),
        name=STEPS[variant].label,
        mode="lines+markers",
        line={"color": colour[variant], "dash": mark.dash, "width": 1.5},
        marker={
            "symbol": mark.symbol,
            "size": 8,
            "color": colour[variant] if all(allowed) else [colour[variant if fits else "grid"] for fits in allowed],
            "line": {"color": colour[variant], "width": 1},
        },
        customdata=[one.id for one in members],
        hovertext=_hovers(shown, members),
        hoverinfo="text",
    )


def _front(shown: Pareto, dark: bool) -> Part:
    corners = shown.steps()
    return scatter(
        x=[round(x, 4) for x, _ in corners],
        y=[round(y, 4) for _, y in corners],
        name="Pareto front",
        mode="lines",
        line={"color": colours(dark)["muted"], "width": 7},
        opacity=0.4,
        hoverinfo="skip",
    )


def _deviations(shown: Pareto, dark: bool) -> Part:
    """Bars of the deviation over checkpoints, both ways: of the front, the unshaped score and the current setting."""
    members = list(dict.fromkeys((*shown.front, shown.baseline, shown.current)))
    bars = {
        f"error_{axis}": {
            "array": [round(one.deviation(name), 4) for one in members],
            "color": colours(dark)["muted"],
            "thickness": 1,
            "width": 3,
        }
        for axis, name in (("x", shown.x), ("y", shown.y))
    }
    return scatter(
        **_coordinates(shown, members),
        **bars,
        name="deviation over checkpoints",
        mode="markers",
        marker={"size": 1, "color": "rgba(0,0,0,0)"},
        hoverinfo="skip",
        showlegend=False,
    )


def _marks(
    shown: Pareto,
    name: str,
    members: Sequence[Setting],
    symbol: str,
    size: int,
    dark: bool,
    hollow: bool = False,
    width: float = 1.5,
) -> Part:
    ink = colours(dark)["ink"]
    symbol = f"{symbol.removesuffix('-open')}-open" if hollow and symbol != "x" else symbol
    return scatter(
        **_coordinates(shown, members),
        name=name,
        mode="markers",
        marker={"symbol": symbol, "size": size, "color": ink, "line": {"color": ink, "width": width}},
        customdata=[one.id for one in members],
        hovertext=_hovers(shown, members),
        hoverinfo="text",
        showlegend=False,
    )


def _shapes(shown: Pareto, dark: bool) -> list[dict[str, Any]]:
    """The baseline's cross-hair, and the part of the plane that the budget rules out."""
    colour = colours(dark)
    hair = {"type": "line", "line": {"color": colour["muted"], "width": 1, "dash": "dot"}, "layer": "below"}
    across = {"xref": "paper", "x0": 0, "x1": 1, "y0": shown.baseline[shown.y], "y1": shown.baseline[shown.y]}
    upward = {"yref": "paper", "y0": 0, "y1": 1, "x0": shown.baseline[shown.x], "x1": shown.baseline[shown.x]}
    shapes = [{**hair, **across}, {**hair, **upward}]
    area = {"type": "rect", "line": {"width": 0}, "fillcolor": colour["muted"], "opacity": 0.16, "layer": "below"}
    if shown.floor is not None and shown.x == "id_accuracy":
        shapes.append({**area, "yref": "paper", "y0": 0, "y1": 1, "x0": shown.ranges[0][0] - 100, "x1": shown.floor})
    if shown.floor is not None and shown.y == "id_accuracy":
        shapes.append({**area, "xref": "paper", "x0": 0, "x1": 1, "y0": shown.ranges[1][0] - 100, "y1": shown.floor})
    return shapes


def _annotations(shown: Pareto, labels: Labels, dark: bool) -> list[dict[str, Any]]:
    colour, notes = colours(dark), []
    for one in labels:
        bold, tint = one.role == "current" or one.role in STEPS, colour["ink" if one.role in _IN_INK else one.role]
        x, y = shown.spot(one.at)
        spot = {"x": round(x, 4), "y": round(y, 4)}
        hidden = {} if one.seen else {"opacity": 0}
        notes.append(spot | annotation(one.placed, bold, tint, colour["background"]) | hidden)
    return notes


_POSITIONS = {-1: "top", 0: "middle", 1: "bottom"}, {-1: "left", 0: "center", 1: "right"}


def _minor_labels(uid: str, labels: list[Minor], dark: bool) -> Part:
    """As text beside marks that are not drawn."""
    colour, (rows, columns) = colours(dark), _POSITIONS
    return scatter(
        x=[round(one.spot[0], 4) for one in labels],
        y=[round(one.spot[1], 4) for one in labels],
        name="percentiles" if uid == MINOR else "percentiles, more",
        uid=uid,
        mode="markers+text",  # a mark's size keeps the text off the mark below
        marker={"size": 9, "color": "rgba(0,0,0,0)", "line": {"width": 0}},
        text=[one.placed.wish.text for one in labels],
        textposition=[f"{rows[one.placed.side[1]]} {columns[one.placed.side[0]]}" for one in labels],
        textfont={"size": 11, "color": [colour[one.role] for one in labels]},
        hoverinfo="skip",
        showlegend=False,
    )
