"""Placements compared: what one variant does at every point of a network and every percentile (Figures 3 and 5).

What is computed -> `Placements`, a record of what is shown; the record -> curves and grid (`placements_curves`,
`placements_grid`) and words (`placements_words`). A mark, a cell and a row have the id `avgpool ash_s@90`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from app.charts.front import OBJECTIVES, Setting
from app.theme import LOWER_IS_BETTER, OBJECTIVE_LABELS, variant_label
from ash.methods import Method

LOSS = 1.0  # points of accuracy that may be lost where the user has set no limit


@dataclass(frozen=True)
class Place:
    """What is known at one placement, all of it on the same images.

    `name` as in a link, `label` for people. `images`: number of ID images and of all OOD images together. `baseline`:
    the unshaped score, None before it is computed. `settings`: one variant, from small to large p. `banks`: whether its
    activations are there. `left`: settings of this variant that are still to be computed. `measured`: on what and when,
    where the numbers were measured before and ship without their activations.
    """

    name: str
    label: str
    images: tuple[int, int]
    baseline: Setting | None = None
    settings: tuple[Setting, ...] = ()
    banks: bool = True
    left: int = 0
    measured: str = ""

    @property
    def known(self) -> bool:
        """Whether there is anything to draw."""
        return self.baseline is not None and bool(self.settings)

    def find(self, method: Method) -> Setting | None:
        """The setting of a method, None where it is not computed."""
        every = (*((self.baseline,) if self.baseline else ()), *self.settings)
        return next((one for one in every if one.method == method), None)


@dataclass(frozen=True)
class Cell:
    """One cell of the grid: a method at a placement, with its metrics where they are computed."""

    place: Place
    method: Method
    setting: Setting | None

    @property
    def id(self) -> str:
        """What a click sends: `avgpool ash_s@90`."""
        return f"{self.place.name} {self.method}"


@dataclass(frozen=True)
class Placements:
    """What the page shows: placements from input to output, one variant, one objective.

    `columns`: percentiles of the grid. `current`: placement and method of the spec, the latter also when it is of
    another variant. `loss`: points of accuracy that may be lost. `chosen`: whether the user has set that limit.
    `left_out`: labels of the OOD sets that are in no mean, as not every placement has them.
    """

    places: tuple[Place, ...]
    variant: str
    score: str
    objective: str
    columns: tuple[float, ...]
    current: tuple[str, Method]
    loss: float = LOSS
    chosen: bool = False
    show_all: bool = False
    left_out: tuple[str, ...] = ()

    @property
    def known(self) -> tuple[Place, ...]:
        """The placements with something to draw."""
        return tuple(place for place in self.places if place.known)

    @property
    def selected(self) -> str:
        """The id of the current cell."""
        return " ".join(map(str, self.current))

    @property
    def p(self) -> float | None:
        """The current percentile where it is one of this variant."""
        method = self.current[1]
        return method.percentile if method.variant == self.variant else None

    @property
    def lower(self) -> str:
        """The objective of the second picture: the chosen one, AUROC where that is the accuracy of the first."""
        return "auroc" if self.objective == "id_accuracy" else self.objective

    def method(self, p: float | None) -> Method:
        """The method of a column; None is the unshaped score."""
        return Method(score=self.score) if p is None else Method(self.variant, p, self.score)

    def row(self, place: Place) -> tuple[Cell, ...]:
        """The cells of one placement: the unshaped score, then every column."""
        methods = [self.method(p) for p in (None, *self.columns)]
        return tuple(Cell(place, method, place.find(method)) for method in methods)

    def cells(self) -> tuple[Cell, ...]:
        """All cells, row by row."""
        return tuple(cell for place in self.places for cell in self.row(place))

    def every(self) -> tuple[Cell, ...]:
        """All that is computed, on the grid or between its columns."""
        return tuple(
            Cell(place, one.method, one)
            for place in self.known
            for one in (place.baseline, *place.settings)
            if one is not None
        )

    def same_images(self) -> bool:
        """Whether all placements are compared on equally many images."""
        return len({place.images for place in self.places}) < 2


def columns(usual: Sequence[float], p: float | None) -> tuple[float, ...]:
    """The percentiles of the grid, the current one among them."""
    return tuple(sorted({*usual, *(() if p is None else (p,))}))


def best_cell(shown: Placements) -> Cell | None:
    """The setting with the largest gain over the unshaped score of its placement, within the limit on accuracy.

    Gains, because values on different images do not compare; on the same images the order is that of the values.
    """
    found = []
    for cell in shown.every():
        assert cell.setting is not None
        assert cell.place.baseline is not None
        floor = cell.place.baseline.id_accuracy - shown.loss - 1e-9
        if math.isfinite(cell.setting[shown.lower]) and (not shown.chosen or cell.setting.id_accuracy >= floor):
            found.append(cell)
    return max(found, key=lambda cell: _rank(cell, shown.lower), default=None)


def _rank(cell: Cell, objective: str) -> tuple[float, float]:
    assert cell.setting is not None
    assert cell.place.baseline is not None
    gain = cell.setting.merit(objective) - cell.place.baseline.merit(objective)
    return round(gain, 9), cell.setting.id_accuracy


def table(shown: Placements) -> pd.DataFrame:
    """Everything computed, one row for each placement and setting in the order of the network; the index is the id.

    Where some of it was measured before and ships without activations, a column says of each row what it is.
    """
    rows, ids = [], []
    mixed = any(place.measured for place in shown.known)
    for place in shown.known:
        for one in (place.baseline, *place.settings):
            assert one is not None
            metrics = {OBJECTIVE_LABELS[name]: one[name] for name in OBJECTIVES}
            head = {
                "Placement": place.label,
                "Method": one.label if one.parameter is None else variant_label(one.variant),
                "p": one.parameter,
            }
            source = {"Measured": f"before, {place.measured}" if place.measured else "here"} if mixed else {}
            rows.append({**head, **metrics, "n ID": place.images[0], "n OOD": place.images[1], **source})
            ids.append(Cell(place, one.method, one).id)
    return pd.DataFrame(rows, index=pd.Index(ids, name="cell"))


def ranking(shown: Placements) -> pd.DataFrame:
    """`table` with the best value of the grid's objective first, and only what the grid has a cell for."""
    cells = {cell.id for cell in shown.cells()}
    whole = table(shown)
    whole = whole[whole.index.isin(cells)]
    if whole.empty:
        return whole
    return whole.sort_values(
        OBJECTIVE_LABELS[shown.objective], ascending=shown.objective in LOWER_IS_BETTER, kind="stable"
    )
