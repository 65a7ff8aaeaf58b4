"""The trade-off (the paper's Figure 2): one line per variant, the Pareto front, and what the paper would have set.

Two steps: settings -> `Pareto`, a record of what is shown; `Pareto` -> figure. A mark's `customdata` is its method.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from app.charts.front import Range, Setting, front, full, inside, window
from app.charts.labels import Box, Placed, Spot, Wish, along, annotation, box_of, overlaps, place, sides, to_pixels
from app.charts.plain import Figure, Part, scatter
from app.charts.published import Published, trace
from app.theme import LOWER_IS_BETTER, MARKS, OBJECTIVE_LABELS, colours, layout, points
from ash.methods import STEPS, VARIANTS, Method

HEIGHT = 480
# ids of two traces of labels: those that a projector has room for, and those for a desktop alone. By these the style of
# charts (`chart.css`) leaves them out.
MINOR, MINOR_WIDE = "minor", "minorwide"
# pixels of the plot on a desktop, on a projector and on a phone
WIDE, MIDDLE, NARROW = (880.0, 370.0), (500.0, 330.0), (262.0, 310.0)
LEAST_FOR_A_LINE = 3  # settings of a step that the sidebar does not offer
LABELLED = (50.0, 60.0, 70.0, 80.0, 85.0, 90.0, 95.0)  # percentiles with a label on wide screens
STEP = 5  # percentiles between the marks of a sweep, as `app.backend.evaluations` takes them
_ARROWS = ("↙↓↘", "← →", "↖↑↗")  # a step down, none or up; to the left, none or to the right
_IN_INK = ("current", "paper")


@dataclass(frozen=True)
class Label:
    """A label of every screen: its role, the setting it stands at, and whether it is to be seen.

    What the current label covers is there all the same, so that the browser moves labels and never makes any.
    """

    placed: Placed
    role: str
    at: Setting
    seen: bool = True


Labels = tuple[Label, ...]


@dataclass(frozen=True)
class Minor:
    """A label that a phone has no room for: its mark, its role; `middle`: whether a projector has room for it."""

    placed: Placed
    spot: Spot
    role: str
    middle: bool = True

    def box(self, shown: "Pareto", frame: Spot) -> Box:
        """Where it stands on a plot of this size."""
        anchor = to_pixels(frame, shown.axis(0), shown.axis(1))(*self.spot)
        return box_of(replace(self.placed.wish, anchors=(anchor,)), 0, self.placed.side)


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
    labels, minor = _labels(shown)
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


# Labels


def _obstacles(shown: Pareto, frame: Spot) -> list[Box]:
    pixel = to_pixels(frame, shown.axis(0), shown.axis(1))
    boxes: list[Box] = []
    for members in shown.lines.values():
        spots = [pixel(one[shown.x], one[shown.y]) for one in members]
        boxes += [(x - 5, y - 5, x + 5, y + 5) for x, y in spots] + along(spots, 1)
    spots = [(one[shown.x], one[shown.y]) for one in shown.others] + [one.spot for one in shown.published]
    boxes += [(x - 6, y - 6, x + 6, y + 6) for x, y in (pixel(*spot) for spot in spots)]
    boxes += along([pixel(a, b) for a, b in shown.steps()], 4)
    x, y = pixel(shown.baseline[shown.x], shown.baseline[shown.y])
    return boxes + along([(0, y), (frame[0], y)], 1) + along([(x, 0), (x, frame[1])], 1)


def _major(shown: Pareto, frame: Spot) -> list[tuple[Wish, str, tuple[Setting, ...]]]:
    """Labels that every screen shows, most important first: wish, role, the settings behind its anchors."""
    wanted: list[tuple[str, str, tuple[Setting, ...], float, float]] = []
    wanted.append((f"{shown.baseline.label}, unshaped", "none", (shown.baseline,), 12, 7))
    for one in shown.paper:
        wanted.append((f"paper: {one.label.removeprefix('ASH-').replace(' ', '')}", "paper", (one,), 12, 9))
    wanted.append(("Pareto front", "muted", shown.front, 12, 7))
    wanted += [(STEPS[name].label, name, members, 13, 7) for name, members in shown.lines.items()]
    pixel, made = to_pixels(frame, shown.axis(0), shown.axis(1)), []
    for text, role, members, size, gap in wanted:
        seen = tuple(one for one in members if inside(one, shown.x, shown.y, shown.ranges))
        spots = tuple(pixel(one[shown.x], one[shown.y]) for one in seen)
        if seen:
            made.append((Wish(text, spots, size, gap, always=True), role, seen))
    return made


def _place_major(shown: Pareto) -> Labels:
    """Placed so that they stay apart on a phone; on a wider plot the same labels are only further apart."""
    wanted = _major(shown, NARROW)
    roles = {wish: (role, members) for wish, role, members in wanted}
    placed = place([wish for wish, _, _ in wanted], NARROW, _obstacles(shown, NARROW))
    return tuple(Label(one, roles[one.wish][0], roles[one.wish][1][one.anchor]) for one in placed)


@lru_cache(maxsize=16)
def _still_labels(still: Pareto) -> tuple[Labels, list[Minor]]:
    """Where the labels of what stays go: placed once for all percentiles, so that none jumps while one is held."""
    labels = _place_major(still)
    return labels, _with_middle(still, labels, _place_minor(still, _boxes(still, labels, WIDE)))


def _labels(shown: Pareto) -> tuple[Labels, list[Minor]]:
    """The current setting's label with those of what stays; its ring and its label hide those that they cover."""
    labels, minor = _still_labels(shown.still)
    spot = shown.spot(shown.current)
    covered = {}
    for frame in (WIDE, MIDDLE):
        x, y = to_pixels(frame, shown.axis(0), shown.axis(1))(*spot)
        covered[frame] = [(x - 12, y - 12, x + 12, y + 12)]
    if shown.current.method != shown.baseline.method:
        own = _current_label(shown, [one.placed.box for one in labels])
        hidden = [
            _meet(one.placed.box, [own.placed.box]) or (one.role == "paper" and one.at.method == own.at.method)
            for one in labels
        ]
        labels = (own, *(replace(one, seen=not away) for one, away in zip(labels, hidden, strict=True)))
        for frame, boxes in covered.items():
            boxes += _boxes(shown, (own,), frame)
    seen = [one for one in minor if one.spot != spot and not _meet(one.placed.box, covered[WIDE])]
    middle = [one.middle and not _meet(one.box(shown, MIDDLE), covered[MIDDLE]) for one in seen]
    return labels, [replace(one, middle=fits) for one, fits in zip(seen, middle, strict=True)]


def _current_label(shown: Pareto, taken: list[Box]) -> Label:
    """Beside its mark, where on both screens together it covers least of the labels and marks that stay."""
    one = shown.current
    text = f"{one.label} {shown.beyond(one)}".strip()
    narrow, wide = (
        Wish(text, (to_pixels(frame, shown.axis(0), shown.axis(1))(*shown.spot(one)),), 14, 13)
        for frame in (NARROW, WIDE)
    )
    places = sides(narrow, NARROW) or sides(narrow)
    around, beyond = _still_obstacles(shown.still)
    costs = overlaps(np.array([place.box for place in places]), np.array([*taken, *around]))
    costs += overlaps(np.array([box_of(wide, 0, place.side) for place in places]), np.array(beyond))
    return Label(places[int(costs.argmin())], "current", one)


@lru_cache(maxsize=16)
def _still_obstacles(still: Pareto) -> tuple[list[Box], list[Box]]:
    """On a narrow and on a wide plot."""
    return _obstacles(still, NARROW), _obstacles(still, WIDE)


def _meet(box: Box, others: list[Box]) -> bool:
    return bool(overlaps(np.array([box]), np.array(others).reshape(-1, 4)).any())


def _annotations(shown: Pareto, labels: Labels, dark: bool) -> list[dict[str, Any]]:
    colour, notes = colours(dark), []
    for one in labels:
        bold, tint = one.role == "current" or one.role in STEPS, colour["ink" if one.role in _IN_INK else one.role]
        x, y = shown.spot(one.at)
        spot = {"x": round(x, 4), "y": round(y, 4)}
        hidden = {} if one.seen else {"opacity": 0}
        notes.append(spot | annotation(one.placed, bold, tint, colour["background"]) | hidden)
    return notes


def _boxes(shown: Pareto, labels: Labels, frame: Spot) -> list[Box]:
    """The boxes that the labels of `_annotations` cover on a plot of this size."""
    pixel = to_pixels(frame, shown.axis(0), shown.axis(1))
    boxes = []
    for one in labels:
        (nx, ny), (wx, wy) = one.placed.wish.anchors[one.placed.anchor], pixel(*shown.spot(one.at))
        left, top, right, bottom = one.placed.box
        boxes.append((left - nx + wx, top - ny + wy, right - nx + wx, bottom - ny + wy))
    return boxes


_POSITIONS = {-1: "top", 0: "middle", 1: "bottom"}, {-1: "left", 0: "center", 1: "right"}


def _place_minor(shown: Pareto, taken: list[Box]) -> list[Minor]:
    """Percentiles beside their marks and the names of published ones, where a wide plot has room."""
    pixel = to_pixels(WIDE, shown.axis(0), shown.axis(1))
    behind: dict[Wish, tuple[Spot, str]] = {}
    for one in shown.others:
        if inside(one, shown.x, shown.y, shown.ranges):
            spot = (one[shown.x], one[shown.y])
            behind[Wish(one.label, (pixel(*spot),), 12, 8, always=True)] = (spot, "ink")
    for printed in shown.published:
        behind[Wish(printed.label, (pixel(*printed.spot),), 11, 8)] = (printed.spot, "muted")
    for members in shown.lines.values():
        for one in members:
            chosen = one.parameter in LABELLED or STEPS[one.variant].parameter == "threshold"
            if chosen and one.short and inside(one, shown.x, shown.y, shown.ranges):
                spot = (one[shown.x], one[shown.y])
                behind[Wish(one.short, (pixel(*spot),), 11, 6)] = (spot, one.variant)
    return [Minor(one, *behind[one.wish]) for one in place(behind, WIDE, _obstacles(shown, WIDE), taken)]


def _with_middle(shown: Pareto, labels: Labels, minor: list[Minor]) -> list[Minor]:
    """Each minor label with whether it keeps its place on a middle plot: within it, off labels and marks."""
    taken, marks, found = _boxes(shown, labels, MIDDLE), _obstacles(shown, MIDDLE), []
    for one in minor:
        box = one.box(shown, MIDDLE)
        inside_ = min(box) >= 0 and box[2] <= MIDDLE[0] and box[3] <= MIDDLE[1]
        fits = inside_ and not _meet(box, taken) and (one.placed.wish.always or not _meet(box, marks))
        taken += [box] * fits
        found.append(replace(one, middle=fits))
    return found


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
