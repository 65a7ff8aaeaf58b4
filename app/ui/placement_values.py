"""One variant at every compared placement, as far as it is computed: the record that pages draw."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from app.backend import layer_status, protocol, setups
from app.charts.front import settings
from app.charts.placements import LOSS, Place, Placements, columns
from app.link.fields import OFF
from app.link.spec import RunSpec
from app.ui import code
from app.ui.placements import evaluate
from ash.methods import Method
from ash.tables import MEANS

FIGURE = "ash_p"  # the variant of the paper's Figure 5
STAND_IN = "ash_s"  # what is shown in place of a variant without a percentile


def shown(spec: RunSpec, variant: str) -> Placements:
    """One variant at the compared placements, as far as it is computed; nothing but the spec's own is evaluated."""
    return record(spec, standings(spec, layer_status.compared(spec)[0], variant), variant)


def standings(spec: RunSpec, names: Sequence[str], variant: str) -> list[layer_status.Standing]:
    """How far every placement is, on the same images where that can be had at once.

    The spec's own one is evaluated first where one pass gives all of it.
    """
    found = [layer_status.standing(spec, name, variant) for name in names]
    for index, one in enumerate(found):
        if one.name == spec.placement and one.pending:
            evaluate(one, spec.score)
            found[index] = layer_status.standing(spec, one.name, variant)
    return layer_status.alike(spec, found, variant)


def record(spec: RunSpec, found: Sequence[layer_status.Standing], variant: str) -> Placements:
    """What is drawn of placements that are so far, all of it on the same OOD sets.

    A set that one of the tables lacks, whose images are not here say, is left out of every mean, and named.
    """
    sets = layer_status.compared_sets(spec)
    tables = [set(one.table["ood"]) for one in found if one.table is not None]
    shared = {name: label for name, label in sets.items() if all(name in known for known in tables)} or sets
    p = spec.method.percentile if spec.variant == variant else None
    return Placements(
        places=tuple(_place(spec, one, variant, shared) for one in found),
        variant=variant,
        score=spec.score,
        objective=spec.placements.cells,
        columns=columns(layer_status.COLUMNS, p),
        current=(spec.placement, spec.method),
        loss=LOSS if spec.budget == OFF else spec.budget,
        chosen=spec.budget != OFF,
        show_all=spec.show_all,
        left_out=tuple(label for name, label in sets.items() if name not in shared) if spec.on in MEANS else (),
    )


def program(spec: RunSpec, found: Sequence[layer_status.Standing], shown: Placements) -> str:
    """Python for what is drawn: the variant at the placements that are measured, on the images that all have."""
    known = [one for one in found if one.table is not None]
    drawn = dict.fromkeys(cell.method for cell in shown.every())
    methods = map(str, sorted(drawn, key=lambda one: -1.0 if one.percentile is None else one.percentile))
    tested = not any(protocol.whole(one.part) for one in known)
    return code.placements_program(
        spec, [one.at.placement for one in known], methods, layer_status.fewest(known), tested
    )


def _place(spec: RunSpec, one: layer_status.Standing, variant: str, sets: Mapping[str, str]) -> Place:
    used = setups.sets_meant(one.at.id_set, spec.on, sets)
    empty = Place(one.name, one.label, one.images(used), banks=not one.missing, left=len(one.todo))
    if one.table is None or not {*used} <= {*one.table["ood"]}:
        return empty
    rows = settings(one.table, "mean", used)
    baseline = next((row for row in rows if row.method == Method(score=spec.score)), None)
    line = sorted((row for row in rows if row.variant == variant), key=lambda row: row.parameter or 0.0)
    return replace(empty, baseline=baseline, settings=tuple(line), measured=_measured(one))


def _measured(one: layer_status.Standing) -> str:
    """On what and when a placement was measured before; "" where it is measured from activations that are here."""
    return "" if one.shipped is None else f"{one.shipped.origin['device']}, {one.shipped.origin['date'][:10]}"
