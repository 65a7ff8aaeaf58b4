"""Placements side by side: what is computed at each of them for one variant, what is left, and what that costs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from app.backend.banks import cost, missing_sets
from app.backend.caches import cache_resource
from app.backend.deep import deep_table
from app.backend.engine import is_linear, kept
from app.backend.evaluations import has_grid, measure, table
from app.backend.protocol import ALL, planned_sizes, usable
from app.backend.protocol import cut as protocol_cut
from app.backend.registry import entry, placement_label, placements
from app.backend.setups import Setup, chosen_sets, images, setup
from app.backend.shipping import elsewhere
from app.link.spec import PENULTIMATE, RunSpec
from ash.methods import Method
from ash.models import cuts_of
from ash.results import LINE, Results

if TYPE_CHECKING:
    from ash.extracting.cost import Cost as Cost
    from ash.splitting import Cut as Cut

DEEP_LINE = LINE  # percentiles of the lines at a deep tail in the order of computing, coarse first
COLUMNS = tuple(sorted(float(p) for p in DEEP_LINE))  # of the grid, for every tail


@dataclass(frozen=True)
class Standing:
    """How far one placement is for one variant.

    `name` as in a link. `missing`: data set -> images, for the banks that are not there. `linear`: whether all
    percentiles come from one pass; None where that is not known yet, because its banks are missing. `table`: the rows
    of what is evaluated, None where that is nothing. `wanted`: the methods of its line and, at the spec's placement,
    the spec's own; `todo`: those that are not evaluated. `shipped`: the results that `table` is from, where they were
    measured before and the activations are not here; `unlike`: the OOD sets that keep such results from being shown,
    as they are not of these images. `part`: of the images that it is measured on.
    """

    name: str
    label: str
    at: Setup
    missing: dict[str, int]
    linear: bool | None
    table: pd.DataFrame | None = field(compare=False)
    wanted: tuple[str, ...]
    todo: tuple[str, ...]
    shipped: Results | None = field(default=None, compare=False)
    unlike: tuple[str, ...] = ()
    part: str = ALL

    @property
    def computing(self) -> bool:
        """Whether something of it only comes at a click: banks, or settings that need a pass each."""
        return bool(self.missing) or (self.linear is False and bool(self.todo))

    @property
    def pending(self) -> bool:
        """Whether its banks are there and one pass, which needs no click, gives the rest."""
        return self.linear is True and self.table is None

    def images(self, sets: Collection[str]) -> tuple[int, int]:
        """Number of ID images and of the images of some OOD sets: of the rows, where there are any."""
        if self.table is None:
            return planned_sizes(self.at, sets, self.part)
        rows = self.table[self.table["method"] == self.table["method"].iloc[0]]
        return int(rows["n_id"].iloc[0]), int(rows.loc[rows["ood"].isin(sets), "n_ood"].sum())


def cuts(model: str) -> "tuple[Cut, ...]":
    """All placements of a model in network order. Its graph is traced for that, once a process, and torch loaded."""
    return cuts_of(model)


def compared(spec: RunSpec) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The placements that are compared, in network order, and the names of the link that are none.

    Those with a display name, the spec's own, and those that it names as well; the network is traced only for the last.
    """
    named = tuple(placements(spec.model))
    extra = [name for name in (*spec.placements.more, spec.placement) if name not in named]
    if not extra:
        return named, ()
    order = [cut.name for cut in cuts(spec.model)]
    nodes = {entry(spec.model).penultimate if name == PENULTIMATE else name for name in (*named, *extra)}
    shown = [link_name(spec.model, node) for node in order if node in nodes]
    return tuple(shown), tuple(name for name in extra if name not in order)


def link_name(model: str, node: str) -> str:
    """What a node is called in a link: the penultimate one has an alias."""
    return PENULTIMATE if node == entry(model).penultimate else node


def compared_sets(spec: RunSpec) -> dict[str, str]:
    """OOD set -> label of the sets that placements are compared on: whichever of them is the spec's, the same ones."""
    return chosen_sets(replace(spec, placement=PENULTIMATE))


def line(variant: str, score: str) -> tuple[str, ...]:
    """The methods of a line at a deep tail in the order of computing: the unshaped score, a variant at DEEP_LINE."""
    return tuple(
        str(method) for method in (Method(score=score), *(Method(variant, float(p), score) for p in DEEP_LINE))
    )


def standing(spec: RunSpec, name: str, variant: str, most: Mapping[str, int] = MappingProxyType({})) -> Standing:
    """How far a placement is, from what is there: nothing is evaluated, but what is kept on disk is read.

    `most`: of how many images of a set its numbers are to be, where one pass gives those of any.
    """
    at, label = setup(replace(spec, placement=name)), placement_label(spec.model, name)
    own = (str(spec.method),) if name == spec.placement and spec.variant == variant else ()
    wanted = tuple(dict.fromkeys((*line(variant, spec.score), *own)))
    if missing := missing_sets(at):
        there, unlike = _measured_before(spec, at, variant)
        if there is None:
            return Standing(name, label, at, missing, None, None, wanted, wanted, unlike=unlike, part=spec.split)
        todo = tuple(one for one in wanted if one not in set(there.table["method"]))
        return Standing(name, label, at, missing, None, there.table, wanted, todo, there)
    part = usable(at, spec.split)
    if is_linear(at):
        part = protocol_cut(part, {name: n for name, n in most.items() if n < len(images(at, name))})
        known = has_grid(at, spec.score)
        found = _with_own(table(at, spec.score, part), at, own, part) if known else None
        return Standing(name, label, at, {}, True, found, wanted, () if known else wanted, part=part)
    found = _recalled(at, spec.score, wanted, part)
    have = set() if found is None else set(found["method"])
    todo = tuple(one for one in wanted if one not in have)
    if todo and not {*line(variant, spec.score)[1:]} & have:  # its activations were computed for another variant
        there, _ = _measured_before(spec, at, variant)
        if there is not None:
            return Standing(name, label, at, {}, False, there.table, wanted, todo, there)
    return Standing(name, label, at, {}, False, found, wanted, todo, part=part)


def alike(spec: RunSpec, found: Sequence[Standing], variant: str) -> list[Standing]:
    """The same placements on the same images, as far as that can be had without computing any.

    Those of one pass are measured on as many images as the others have; and on validation and test images together
    where another was measured so before.
    """
    most = fewest(found)
    asked = replace(spec, split=ALL) if any(one.shipped for one in found) else spec
    here = [one.table is not None and not one.shipped for one in found]
    return [standing(asked, one.name, variant, most) if again else one for one, again in zip(found, here, strict=True)]


def fewest(found: Sequence[Standing]) -> dict[str, int]:
    """Data set -> the fewest images that any placement is measured on, the ID set first; of those that all have."""
    known = [one for one in found if one.table is not None]
    counts = [one.shipped.counts if one.shipped else _counts(one.at) for one in known]
    shared = [name for name in (counts[0] if counts else {}) if all(name in one for one in counts)]
    return {name: min(one[name] for one in counts) for name in shared}


def _counts(at: Setup) -> dict[str, int]:
    return {name: len(images(at, name)) for name in at.sets}


def _measured_before(spec: RunSpec, at: Setup, variant: str) -> tuple[Results | None, tuple[str, ...]]:
    """The results that ship with all of a variant's line, None where there are none; the sets they are not of."""
    there, unlike = elsewhere(at, compared_sets(spec))
    whole = there is not None and {*line(variant, spec.score)} <= set(there.table["method"])
    return (there if whole and not unlike else None), unlike


def _with_own(found: pd.DataFrame, at: Setup, own: tuple[str, ...], part: str) -> pd.DataFrame:
    """A grid with the spec's method, where that lies between its marks."""
    more = [measure(at, method, part) for method in own if method not in set(found["method"])]
    return pd.concat([found, *more], ignore_index=True) if more else found


def _recalled(at: Setup, score: str, methods: tuple[str, ...], part: str) -> pd.DataFrame | None:
    """What is evaluated at a deep tail: by this server, or by an earlier one that kept it on disk."""
    found = deep_table(at, score, part)
    have = set() if found is None else set(found["method"])
    recalled = [one for one in methods if one not in have and kept(at, (one,))]
    parts = [*([] if found is None else [found]), *(measure(at, one, part) for one in recalled)]
    return pd.concat(parts, ignore_index=True) if parts else None


# What it costs


def bank_bytes(at: Setup, count: int) -> int:
    """Bytes of the activations of so many images; the network is traced where their size is not stated."""
    size = at.entry.sizes.get(at.placement) or next(cut.size for cut in cuts(at.model) if cut.name == at.placement)
    return int(size * np.dtype(at.dtype).itemsize * count)


@cache_resource(max_entries=1)
def _costs() -> "dict[tuple[Setup, int], Cost]":
    return {}


def known_cost(at: Setup, count: int) -> "Cost | None":
    """The cost of so many images where this server has measured it."""
    return _costs().get((at, count))


def measured_cost(at: Setup, count: int) -> "Cost":
    """The cost of so many images on this device; the stem is run for a moment the first time."""
    if (at, count) not in _costs():
        _costs()[at, count] = cost(at, count)
    return _costs()[at, count]
