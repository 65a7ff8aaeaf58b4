"""Where the labels of the trade-off's chart go: off marks, lines and each other, on a phone, a projector, a desktop."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from app.charts.front import Setting, inside
from app.charts.labels import Box, Placed, Spot, Wish, along, box_of, overlaps, place, sides, to_pixels
from ash.methods import STEPS

if TYPE_CHECKING:
    from app.charts.pareto import Pareto

# pixels of the plot on a desktop, on a projector and on a phone
WIDE, MIDDLE, NARROW = (880.0, 370.0), (500.0, 330.0), (262.0, 310.0)
LABELLED = (50.0, 60.0, 70.0, 80.0, 85.0, 90.0, 95.0)  # percentiles with a label on wide screens


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


def _obstacles(shown: "Pareto", frame: Spot) -> list[Box]:
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


def _major(shown: "Pareto", frame: Spot) -> list[tuple[Wish, str, tuple[Setting, ...]]]:
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


def _place_major(shown: "Pareto") -> Labels:
    """Placed so that they stay apart on a phone; on a wider plot the same labels are only further apart."""
    wanted = _major(shown, NARROW)
    roles = {wish: (role, members) for wish, role, members in wanted}
    placed = place([wish for wish, _, _ in wanted], NARROW, _obstacles(shown, NARROW))
    return tuple(Label(one, roles[one.wish][0], roles[one.wish][1][one.anchor]) for one in placed)


@lru_cache(maxsize=16)
def _still_labels(still: "Pareto") -> tuple[Labels, list[Minor]]:
    """Where the labels of what stays go: placed once for all percentiles, so that none jumps while one is held."""
    labels = _place_major(still)
    return labels, _with_middle(still, labels, _place_minor(still, boxes_of(still, labels, WIDE)))


def labels_of(shown: "Pareto") -> tuple[Labels, list[Minor]]:
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
            boxes += boxes_of(shown, (own,), frame)
    seen = [one for one in minor if one.spot != spot and not _meet(one.placed.box, covered[WIDE])]
    middle = [one.middle and not _meet(one.box(shown, MIDDLE), covered[MIDDLE]) for one in seen]
    return labels, [replace(one, middle=fits) for one, fits in zip(seen, middle, strict=True)]


def _current_label(shown: "Pareto", taken: list[Box]) -> Label:
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
def _still_obstacles(still: "Pareto") -> tuple[list[Box], list[Box]]:
    """On a narrow and on a wide plot."""
    return _obstacles(still, NARROW), _obstacles(still, WIDE)


def _meet(box: Box, others: list[Box]) -> bool:
    return bool(overlaps(np.array([box]), np.array(others).reshape(-1, 4)).any())


def boxes_of(shown: "Pareto", labels: Labels, frame: Spot) -> list[Box]:
    """The boxes that labels cover on a plot of this size."""
    pixel = to_pixels(frame, shown.axis(0), shown.axis(1))
    boxes = []
    for one in labels:
        (nx, ny), (wx, wy) = one.placed.wish.anchors[one.placed.anchor], pixel(*shown.spot(one.at))
        left, top, right, bottom = one.placed.box
        boxes.append((left - nx + wx, top - ny + wy, right - nx + wx, bottom - ny + wy))
    return boxes


def _place_minor(shown: "Pareto", taken: list[Box]) -> list[Minor]:
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


def _with_middle(shown: "Pareto", labels: Labels, minor: list[Minor]) -> list[Minor]:
    """Each minor label with whether it keeps its place on a middle plot: within it, off labels and marks."""
    taken, marks, found = boxes_of(shown, labels, MIDDLE), _obstacles(shown, MIDDLE), []
    for one in minor:
        box = one.box(shown, MIDDLE)
        inside_ = min(box) >= 0 and box[2] <= MIDDLE[0] and box[3] <= MIDDLE[1]
        fits = inside_ and not _meet(box, taken) and (one.placed.wish.always or not _meet(box, marks))
        taken += [box] * fits
        found.append(replace(one, middle=fits))
    return found
