"""Where the labels of a chart go: beside their marks, on top of nothing else. Pure geometry in pixels, y downward."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.theme import veil

Spot = tuple[float, float]
Box = tuple[float, float, float, float]  # left, top, right, bottom
CHARACTER, LINE = 0.56, 1.25  # width of a character and height of a line, as a share of the font size
# direction from the mark to the label, in order of preference
_SIDES: tuple[tuple[int, int], ...] = ((1, -1), (1, 1), (-1, -1), (-1, 1), (0, -1), (0, 1), (1, 0), (-1, 0))


@dataclass(frozen=True)
class Wish:
    """A label that wants to stand beside one of its anchors (pixels). `always`: better crowded than missing."""

    text: str
    anchors: tuple[Spot, ...]
    size: float
    clearance: float = 6.0
    always: bool = False


@dataclass(frozen=True)
class Placed:
    """Where a label went: which anchor, and the direction from it (-1, 0, 1 each; +y is down)."""

    wish: Wish
    anchor: int
    side: tuple[int, int]
    box: Box


def annotation(placed: Placed, bold: bool, colour: str, background: str) -> dict[str, Any]:
    """The label as plotly draws it; `x` and `y` are those of the mark that it stands beside."""
    (dx, dy), gap, text = placed.side, placed.wish.clearance, placed.wish.text
    gap = gap if 0 in placed.side else 0.7 * gap
    return {
        "text": f"<b>{text}</b>" if bold else text,
        "font": {"size": placed.wish.size, "color": colour},
        "showarrow": False,
        "xanchor": ("right", "center", "left")[dx + 1],
        "yanchor": ("bottom", "middle", "top")[dy + 1],
        "xshift": dx * gap,
        "yshift": -dy * gap,
        "bgcolor": veil(background),
        "opacity": 1,
        "borderpad": 0,
    }


def extent(text: str, size: float) -> Spot:
    """Width and height of a text in pixels, estimated."""
    return CHARACTER * size * len(text) + 2, LINE * size


def box_of(wish: Wish, anchor: int, side: tuple[int, int]) -> Box:
    """The box of a label beside an anchor."""
    (x, y), (w, h) = wish.anchors[anchor], extent(wish.text, wish.size)
    dx, dy = side
    gap = wish.clearance if 0 in side else 0.7 * wish.clearance
    left = x + dx * gap - (0 if dx > 0 else w if dx < 0 else w / 2)
    top = y + dy * gap - (0 if dy > 0 else h if dy < 0 else h / 2)
    return left, top, left + w, top + h


def overlaps(boxes: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area that each of the boxes (m, 4) shares with all of the others (n, 4) together."""
    begin, end = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    left, top, right, bottom = others.T
    near = others[(left < end[0]) & (top < end[1]) & (right > begin[0]) & (bottom > begin[1])]  # few of hundreds
    wide = np.minimum(near[:, 2], boxes[:, 2:3]) - np.maximum(near[:, 0], boxes[:, :1])  # (m, n)
    high = np.minimum(near[:, 3], boxes[:, 3:]) - np.maximum(near[:, 1], boxes[:, 1:2])
    area: NDArray[np.float64] = (np.maximum(wide, 0) * np.maximum(high, 0)).sum(1)
    return area


def place(wishes: Iterable[Wish], frame: Spot, obstacles: Sequence[Box], taken: Sequence[Box] = ()) -> list[Placed]:
    """Place labels one after another inside a frame (width, height).

    A label never meets another label; it avoids the obstacles (marks, lines) where it can. One that finds no room among
    the labels is left out, and so is one that would cover marks, unless it is wanted `always`.
    """
    done: list[Placed] = []
    marks = np.array(obstacles, float).reshape(-1, 4)
    labels = np.array(taken, float).reshape(-1, 4)
    for wish in wishes:
        found = _best(wish, frame, marks, labels)
        if found is not None:
            done.append(found)
            labels = np.vstack([labels, found.box])
    return done


def sides(wish: Wish, frame: Spot | None = None) -> list[Placed]:
    """The places of a label beside its first anchor, those inside a frame where one is given; the preferred first."""
    found = [Placed(wish, 0, side, box_of(wish, 0, side)) for side in _SIDES]
    if frame is None:
        return found
    return [one for one in found if min(one.box) >= 0 and one.box[2] <= frame[0] and one.box[3] <= frame[1]]


def _best(wish: Wish, frame: Spot, marks: NDArray[np.float64], labels: NDArray[np.float64]) -> Placed | None:
    """The first place, by anchor and then by side, that covers no mark; else the one that covers least of them."""
    places = [(anchor, side) for anchor in range(len(wish.anchors)) for side in _SIDES]
    boxes = np.array([box_of(wish, *one) for one in places]).reshape(-1, 4)
    fits = (boxes[:, :2] >= 0).all(1) & (boxes[:, 2:] <= frame).all(1) & (overlaps(boxes, labels) == 0)
    if not fits.any():
        return None
    costs = np.where(fits, overlaps(boxes, marks), np.inf)
    best = int(costs.argmin())
    if costs[best] > 0 and not wish.always:
        return None
    left, top, right, bottom = boxes[best].tolist()
    return Placed(wish, *places[best], (left, top, right, bottom))


def to_pixels(frame: Spot, x: tuple[float, float], y: tuple[float, float]) -> Callable[[float, float], Spot]:
    """Data -> pixels for axis ranges given from left to right and from bottom to top."""

    def pixel(a: float, b: float) -> Spot:
        return (a - x[0]) / (x[1] - x[0]) * frame[0], (1 - (b - y[0]) / (y[1] - y[0])) * frame[1]

    return pixel


def along(spots: Sequence[Spot], half: float, step: float = 8.0) -> list[Box]:
    """Small boxes along a polyline, so that labels keep off it."""
    if len(spots) < 2:
        return []
    begin, way = np.asarray(spots[:-1], float), np.diff(np.asarray(spots, float), axis=0)
    counts = np.clip((np.abs(way).max(1) / step).astype(int), 1, 200)
    segment = np.repeat(np.arange(len(way)), counts + 1)
    at = np.arange(len(segment)) - np.repeat(np.cumsum(counts + 1) - counts - 1, counts + 1)  # within its segment
    middles = begin[segment] + way[segment] * (at / counts[segment])[:, None]
    return list(map(tuple, np.concatenate([middles - half, middles + half], axis=1).tolist()))
