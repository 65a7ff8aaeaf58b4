"""The grid: placement x percentile, the objective as number and colour in every cell.

Cells are bars: Plotly reports clicks on them (on heat maps it does not), and they fill their column at any width.
"""

import math
from dataclasses import dataclass
from typing import Any

from app.charts.placements import Cell, Place, Placements
from app.charts.placements_curves import hover
from app.charts.plain import Figure, Part, bar
from app.theme import LOWER_IS_BETTER, OBJECTIVE_LABELS, colours, count, layout

ROW, HEAD, FOOT = 66, 46, 6  # pixels: one placement, the percentiles above, below
CELL = (0.38, 0.95)  # top and bottom of a cell within its row, below the placement's name
SPACE = 0.35  # between the unshaped score and the first percentile, in columns
SPAN = (2.0, 10.0)  # points of the objective that the colours run over: at least, at most
# from worst to best: one hue, ever further from the page's background, so that it reads without colour vision
_SCALES = {False: ((0xEE, 0xF3, 0xF8), (0x08, 0x3D, 0x6B)), True: (((0x1F, 0x29, 0x36)), (0xA6, 0xDB, 0xF8))}


@dataclass(frozen=True)
class Scale:
    """Colours of an objective: `worst` and anything beyond it has the palest, `best` the strongest."""

    worst: float
    best: float
    dark: bool

    def colour(self, value: float) -> tuple[int, int, int]:
        """Red, green and blue, 0 to 255."""
        share = (value - self.worst) / (self.best - self.worst)
        share = min(max(share, 0.0), 1.0)
        pale, strong = _SCALES[self.dark]
        red, green, blue = (round(a + share * (b - a)) for a, b in zip(pale, strong, strict=True))
        return red, green, blue

    def fill(self, value: float) -> str:
        """The colour of a cell."""
        return "rgb({}, {}, {})".format(*self.colour(value))

    def ink(self, value: float) -> str:
        """Black or white, whichever reads better on the cell."""
        level = luminance(self.colour(value))
        return "#000000" if (level + 0.05) / 0.05 > 1.05 / (level + 0.05) else "#FFFFFF"


def luminance(colour: tuple[int, int, int]) -> float:
    """Relative luminance as WCAG defines it, 0 to 1."""
    parts = [one / 255 for one in colour]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def scale(shown: Placements, dark: bool) -> Scale:
    """From the best value of the grid down to the worst, over SPAN points."""
    sign = -1.0 if shown.objective in LOWER_IS_BETTER else 1.0
    merits = [sign * cell.setting[shown.objective] for cell in shown.cells() if cell.setting]
    merits = [one for one in merits if math.isfinite(one)] or [0.0]
    span = min(max(max(merits) - min(merits), SPAN[0]), SPAN[1])
    return Scale(sign * (max(merits) - span), sign * max(merits), dark)


def figure(shown: Placements, dark: bool) -> Figure:
    """One row of cells per placement, input first; hollow cells are not computed."""
    plot = Figure([], {})
    colour, shades = colours(dark), scale(shown, dark)
    for row, place in enumerate(shown.places):
        plot.data.append(_bars(shown, place, row, shades, colour))
    positions = _positions(shown)
    names = ["none", *(f"{p:g}" for p in shown.columns)]
    plot.layout.update(
        **layout(
            dark,
            height=HEAD + FOOT + ROW * len(shown.places),
            margin={"l": 0, "r": 0, "t": HEAD, "b": FOOT},
            dragmode=False,
        ),
        xaxis={
            "range": [-0.5, positions[-1] + 0.5],
            "tickvals": positions,
            "ticktext": [f"<b>{name}</b>" if _is_current(shown, i) else name for i, name in enumerate(names)],
            "tickangle": 0,
            "ticks": "",
            "side": "top",
            "title": {"text": "Percentile p", "standoff": 4, "font": {"size": 13}},
            "showgrid": False,
            "zeroline": False,
            "fixedrange": True,
        },
        yaxis={"range": [len(shown.places), 0], "visible": False, "fixedrange": True},
        annotations=[_name(shown, place, row, colour) for row, place in enumerate(shown.places)],
        shapes=_outline(shown, colour),
        showlegend=False,
        barmode="overlay",
    )
    return plot


def _is_current(shown: Placements, column: int) -> bool:
    return shown.current[1] == shown.method((None, *shown.columns)[column])


def _positions(shown: Placements) -> list[float]:
    return [0.0, *(round(i + 1 + SPACE, 2) for i in range(len(shown.columns)))]


def _bars(shown: Placements, place: Place, row: int, shades: Scale, colour: dict[str, str]) -> Part:
    cells = shown.row(place)
    values = [cell.setting[shown.objective] if cell.setting else math.nan for cell in cells]
    known = [math.isfinite(value) for value in values]
    return bar(
        name=place.label,
        x=_positions(shown),
        y=[round(CELL[1] - CELL[0], 4)] * len(cells),
        base=[round(row + CELL[0], 4)] * len(cells),
        width=0.94,
        marker={
            "color": [
                shades.fill(value) if there else "rgba(0,0,0,0)" for value, there in zip(values, known, strict=True)
            ],
            "line": {"color": [colour["grid" if there else "muted"] for there in known], "width": 1},
        },
        text=[f"{value:.1f}" if there else "" for value, there in zip(values, known, strict=True)],
        textposition="inside",
        insidetextanchor="middle",
        textangle=0,
        constraintext="none",
        insidetextfont={
            "size": 12,
            "color": [
                shades.ink(value) if there else colour["ink"] for value, there in zip(values, known, strict=True)
            ],
        },
        customdata=[cell.id for cell in cells],
        hovertext=[_hover(cell) for cell in cells],
        hoverinfo="text",
    )


def _hover(cell: Cell) -> str:
    if cell.setting:
        return hover(cell.place, cell.setting)
    reason = "Not computed yet" if cell.place.banks else "Its activations are not computed yet"
    return f"<b>{cell.place.label}</b><br>{cell.method}<br>{reason}<br>Click to load it on every page"


def _name(shown: Placements, place: Place, row: int, colour: dict[str, str]) -> dict[str, Any]:
    """The placement's name, its images and what is missing, above its cells."""
    current = place.name == shown.current[0]
    name = f"<b>{place.label}</b>" if current else place.label
    facts = f"{count(place.images[0])} ID, {count(place.images[1])} OOD"
    if place.measured:
        facts = f"{facts}, measured before"
    elif not place.banks:
        facts = "not computed"
    elif place.left:
        facts = f"{facts}, {place.left} to compute"
    return {
        "text": f'{name}  <span style="font-size: 12px; color: {colour["muted"]}">{facts}</span>',
        "x": 0,
        "xref": "paper",
        "xanchor": "left",
        "y": row + CELL[0] - 0.02,
        "yanchor": "bottom",
        "showarrow": False,
        "align": "left",
        "font": {"size": 13},
        "borderpad": 0,
    }


def _outline(shown: Placements, colour: dict[str, str]) -> list[dict[str, Any]]:
    """A frame round the current cell, where the grid has one."""
    for row, place in enumerate(shown.places):
        for x, cell in zip(_positions(shown), shown.row(place), strict=True):
            if cell.id == shown.selected:
                box = {"x0": x - 0.49, "x1": x + 0.49, "y0": row + CELL[0] - 0.02, "y1": row + CELL[1] + 0.02}
                return [{"type": "rect", "line": {"color": colour["ink"], "width": 3}, "name": cell.id, **box}]
    return []


def finding(shown: Placements) -> str:
    """One sentence on the range of the grid, for those who do not see it."""
    values = [(cell.setting[shown.objective], cell) for cell in shown.cells() if cell.setting]
    values = [(value, cell) for value, cell in values if math.isfinite(value)]
    name = OBJECTIVE_LABELS[shown.objective]
    what = f"Grid of {name} for {len(shown.places)} placements and {len(shown.columns)} percentiles"
    if not values:
        return f"{what}: nothing is computed yet."
    low, high = (pick(values, key=lambda pair: pair[0]) for pick in (min, max))
    computed = f"{len(values)} of {len(shown.cells())} cells are computed"
    return f"{what}: from {_spot(*low)} to {_spot(*high)}; {computed}."


def _spot(value: float, cell: Cell) -> str:
    return f"{value:.1f} % at {cell.place.label}, {cell.setting.label if cell.setting else ''}"


def legend(shown: Placements) -> str:
    """What the colours mean."""
    hollow = "Hollow cells are not computed."
    if not any(cell.setting for cell in shown.cells()):
        return hollow
    shades = scale(shown, False)
    beyond, better = ("more", "lower") if shown.objective in LOWER_IS_BETTER else ("less", "higher")
    return (
        f"{OBJECTIVE_LABELS[shown.objective]} in %, {better} is better: the stronger the colour, "
        f"from {shades.worst:.1f} or {beyond} to {shades.best:.1f}. {hollow}"
    )
