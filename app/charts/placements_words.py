"""Placements in words: how far a variant may prune at each of them. Pure, and true for every outcome."""

import math

from app.charts.placements import Cell, Place, Placements
from app.charts.tradeoff_words import amount, numbers, over_budget
from app.theme import LOWER_IS_BETTER, OBJECTIVE_LABELS, count, counted, listed
from ash.methods import VARIANTS

NAMED = 4  # placements that one sentence names
LOW = 10.0  # "up to p" is only said where something this low has been computed
Reach = tuple[float, float]


def headline(shown: Placements) -> str:
    """Up to which p the variant keeps the accuracy, placement by placement, the output first."""
    if not shown.known:
        where = "this placement" if len(shown.places) == 1 else f"any of {len(shown.places)} placements"
        return f"{_variant(shown)} is not computed yet at {where}."
    if not any(math.isfinite(place.baseline.id_accuracy) for place in shown.known if place.baseline):
        return "The ID images carry no labels, so there is no accuracy to compare."
    return f"{_variant(shown)} {_keeps(shown.loss)} {_reaches(shown)}{_rest(shown)}."


def _reaches(shown: Placements) -> str:
    if len(shown.known) <= NAMED:
        return listed([f"{_reach_words(shown, place)} {at(place)}" for place in reversed(shown.known)])
    ordered = sorted(shown.known, key=lambda place: _end(shown, place))
    far, near = ordered[-1], ordered[0]
    text = f"{_reach_words(shown, far)} {at(far)}"
    if _end(shown, near) == _end(shown, far):
        return f"{text}, and no further at any other of {len(ordered)} placements"
    return f"furthest {at(far)}: {_reach_words(shown, far)}; and least far {at(near)}: {_reach_words(shown, near)}"


def _rest(shown: Placements) -> str:
    left = len(shown.places) - len(shown.known)
    if not left:
        return ""
    return f"; {counted(left, 'more placement')} {'is' if left == 1 else 'are'} not computed yet"


def reach(shown: Placements, place: Place) -> Reach | None:
    """The longest run of computed percentiles, first and last, at which a placement keeps the accuracy; None for none.

    The runs are counted in percentiles, not in settings; among equals the first.
    """
    assert place.baseline is not None
    floor = place.baseline.id_accuracy - shown.loss - 1e-9
    runs: list[list[float]] = [[]]
    for one in place.settings:
        if one.id_accuracy >= floor and one.parameter is not None:
            runs[-1].append(one.parameter)
        else:
            runs.append([])
    kept = [run for run in runs if run]
    if not kept:
        return None
    longest = max(kept, key=lambda run: run[-1] - run[0])
    return longest[0], longest[-1]


def _end(shown: Placements, place: Place) -> float:
    found = reach(shown, place)
    return -1.0 if found is None else found[1]


def _reach_words(shown: Placements, place: Place) -> str:
    """`up to p = 85`, `from p = 50 to p = 90`, `at p = 80 alone`, `at no p`, with `so far` where more will follow."""
    found = reach(shown, place)
    computed = [one.parameter for one in place.settings if one.parameter is not None]
    so_far = " so far" if place.left and not place.measured else ""
    if found is None:
        return f"at no p{so_far}" if len(computed) > 1 else f"not at p = {computed[0]:g}, the only one computed,"
    first, last = found
    if first == computed[0] and first <= LOW:
        return f"up to p = {last:g}{so_far}"
    return f"from p = {first:g} to p = {last:g}{so_far}" if last > first else f"at p = {first:g}{so_far}"


def at(place: Place) -> str:
    """`at the last block`, `at the third block (last convolution)`, `at layer3.0.relu2` for want of another name."""
    if place.label == place.name:
        return f"at {place.name}"
    label, comma, more = place.label.partition(", ")
    label = f"{label} ({more})" if comma else label
    if len(label) < 2 or label[1].islower():
        label = label[0].lower() + label[1:]
    return f"at the {label}"


def _keeps(loss: float) -> str:
    if loss <= 0:
        return "keeps at least the unshaped accuracy"
    return f"stays within {amount(loss)} of the unshaped accuracy"


def _variant(shown: Placements) -> str:
    return VARIANTS[shown.variant].label


def advice(shown: Placements, cell: Cell | None, validated: bool = False) -> str:
    """Which computed setting of which placement is best on the objective (markdown), "" where nothing is computed.

    `validated`: it was chosen on validation images, and its numbers here are of others.
    """
    if cell is None or cell.setting is None or cell.place.baseline is None:
        return ""
    one, base = cell.setting, cell.place.baseline
    name = OBJECTIVE_LABELS[shown.lower]
    if one.method == base.method:
        text = f"nothing here beats unshaped {base.label} on {name}{' on the validation images' if validated else ''}"
    else:
        value, comma, accuracy = numbers(one, base, shown.lower).partition(", ")
        text = f"{_superlative(shown)} {value}, **{at(cell.place)}** with **p = {one.short}**{comma}{accuracy}"
        if validated:
            text = (
                f"{_variant(shown)} has the best {name} on the validation images **{at(cell.place)}** with "
                f"**p = {one.short}**; on the others it has {numbers(one, base, shown.lower)}"
            )
    over = over_budget(one, base, shown.loss) if shown.chosen else ""
    if shown.chosen:
        text = f"at most {amount(shown.loss)} of accuracy below unshaped, {text}"
    return f"{text[0].upper()}{text[1:]}.{over}"


def _superlative(shown: Placements) -> str:
    """Values on different images do not compare, gains over the unshaped network on the same ones do."""
    name, variant = OBJECTIVE_LABELS[shown.lower], _variant(shown)
    lower = shown.lower in LOWER_IS_BETTER
    if len({place.images for place in shown.known}) < 2:
        return f"the {'lowest' if lower else 'highest'} {name} of {variant} is"
    return f"{variant} {'lowers' if lower else 'raises'} {name} most, to"


def images(shown: Placements) -> str:
    """On how many images every placement is measured, and what follows where they differ."""
    if not shown.places:
        return ""
    if shown.same_images():
        n_id, n_ood = shown.places[0].images
        where = "Every placement" if len(shown.places) > 1 else "This placement"
        return f"{where} is measured on the same images: {count(n_id)} ID and {count(n_ood)} OOD."
    groups: dict[tuple[int, int], list[str]] = {}
    for place in shown.places:
        groups.setdefault(place.images, []).append(place.label)
    parts = [f"{', '.join(labels)}: {count(one[0])} ID and {count(one[1])} OOD" for one, labels in groups.items()]
    return (
        f"Images differ. {'; '.join(parts)}. Each placement is compared with its own unshaped accuracy; "
        "choose a number of images to measure all of them on the same ones."
    )


def measured(shown: Placements) -> str:
    """Which placements were measured before, on how many images, on what and when; "" where all are measured here."""
    parts = [
        f"{place.label} on {count(place.images[0])} ID and {count(place.images[1])} OOD images, {place.measured}"
        for place in shown.known
        if place.measured
    ]
    if not parts:
        return ""
    return (
        f"Measured before, activations not shipped (hollow marks): {'; '.join(parts)}. Maps and samples there need the "
        "activations."
    )


def left_out(shown: Placements) -> str:
    """Which OOD sets are in no mean; "" for none."""
    if not shown.left_out:
        return ""
    return f"Without {listed(list(shown.left_out))}: not every placement has it, and all are compared on the same sets."


def method_here(shown: Placements) -> str:
    """Why the curves are not of the spec's variant; empty when they are."""
    method = shown.current[1]
    if method.variant == shown.variant:
        return ""
    reason = (
        f"{VARIANTS[method.variant].label} has a threshold and no percentile"
        if VARIANTS[method.variant].parameter == "threshold"
        else f"{method.label} without shaping has no percentile"
    )
    return f"{reason}, so what follows is {_variant(shown)}. Choose a variant:"
