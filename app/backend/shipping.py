"""Results that ship without their activations, and whether this machine's activations give the same."""

from collections.abc import Collection
from dataclasses import dataclass

import pandas as pd

from app.backend.banks import missing_sets
from app.backend.caches import cache_data, cache_resource
from app.backend.engine import fresh
from app.backend.fits import fit_of, missing_perturbed
from app.backend.registry import entry, placement_label
from app.backend.setups import Setup, identity, images, present, status, whole_set
from ash import results
from ash.data import evenly
from ash.methods import VARIANTS, Method, baselines
from ash.results import Results

TOLERANCE = results.TOLERANCE  # points


@cache_resource(ttl=300.0, max_entries=1)
def all_shipped() -> tuple[Results, ...]:
    """The results that ship, without their activations: of the penultimate layer and of other placements. Read-only."""
    return results.shipped()


def usual() -> tuple[Results, ...]:
    """Those of networks in their usual preprocessing at the penultimate layer, one a network."""
    found: dict[str, Results] = {}
    for one in all_shipped():
        if "variant" not in one.origin and at_penultimate(one):
            found.setdefault(one.model, one)
    return tuple(found.values())


def at_penultimate(one: Results) -> bool:
    """Whether results are of the penultimate layer, as those are that stand beside the paper's."""
    return one.placement == entry(one.model).penultimate


def shipped(model: str) -> Results | None:
    """The results that ship of a model in its usual preprocessing at the penultimate layer, None for none."""
    return next((one for one in usual() if one.model == model), None)


def elsewhere(at: Setup, sets: Collection[str]) -> tuple[Results | None, tuple[str, ...]]:
    """The results that ship of a placement away from the penultimate layer, and those of `sets` that they are not of.

    Their network, weights, preprocessing and ID images are the setup's; None where there are none of these. Where the
    setup asks for the usual number of images, theirs may be smaller, of the same evenly spaced kind.
    """
    found = (one for one in all_shipped() if (one.model, one.placement) == (at.model, at.placement))
    there = next((one for one in found if not at.penultimate and _fits(one, at)), None)
    return there, tuple(name for name in sets if there and not _same_images(there, at, name))


def _fits(one: Results, at: Setup) -> bool:
    network = entry(at.model)
    if one.id_set != at.id_set or at.dtype != "float32" or not network.present:
        return False
    made_of = one.origin["weights_sha256"], one.origin.get("preprocessing")
    if made_of != (network.weights_hash(), " ".join(str(network.preprocess).split())):
        return False
    return _same_images(one, at, at.id_set)


def _same_images(one: Results, at: Setup, name: str) -> bool:
    """Whether results are of the images of a set that are here, or that are listed here, and of as many as asked."""
    if name not in one.counts or not status(name).count:
        return False
    if at.images and len(images(at, name)) != one.counts[name]:
        return False
    data = evenly(whole_set(name), one.counts[name])
    known = (one.files[name], one.listed.get(name, ""))
    return len(data) == one.counts[name] and data.fingerprint.startswith(tuple(filter(None, known)))


def drawn(there: Results, score: str, more: Collection[str] = ()) -> pd.DataFrame:
    """The rows that a chart shows: the sidebar's variants with a score, the literature's methods, and `more`."""
    wanted = {*map(str, baselines(entry(there.model))), *more}
    methods = {text: Method.parse(text) for text in there.table["method"].unique()}
    kept = [text for text, one in methods.items() if text in wanted or (one.variant in VARIANTS and one.score == score)]
    return there.table[there.table["method"].isin(kept)].reset_index(drop=True)


@dataclass(frozen=True)
class Agreement:
    """How results that ship compare with what this machine measures from the activations: points, where, numbers."""

    worst: float
    where: str
    numbers: int

    @property
    def good(self) -> bool:
        """Whether the two agree."""
        return self.worst <= TOLERANCE


def agreement(model: str) -> Agreement | None:
    """Measure again what ships of a model; None where the activations are not here, or are of other images."""
    there = shipped(model)
    at = results_setup(there) if there else None
    if there is None or at is None:
        return None
    methods = _again(at, there)
    return Agreement(*_compared(at, methods, there.origin["date"])) if methods else None


def results_setup(there: Results) -> Setup | None:
    """The setup of results that ship; None where its network, images or activations are not on this machine."""
    at = Setup(there.model, there.placement, there.id_set, there.ood)
    if not entry(there.model).present or not all(name in present() for name in at.sets) or missing_sets(at):
        return None
    here = {name: identity(at, name) for name in at.sets}
    same = all(here[name].files.startswith(begin) for name, begin in there.files.items())
    return at if same and here[at.id_set].weights == there.origin["weights_sha256"] else None


def _again(at: Setup, there: Results) -> tuple[str, ...]:
    """The methods of shipped results that this machine can measure at once."""
    texts = dict.fromkeys(there.table["method"])
    fitted, moved = fit_of(at) is not None, not missing_perturbed(at, entry(at.model).odin_epsilon)
    parsed = {text: Method.parse(text) for text in texts}
    return tuple(
        text
        for text, method in parsed.items()
        if (fitted or not method.needs_fit) and (moved or method.score != "odin")
    )


@cache_data(max_entries=8)
def _compared(at: Setup, methods: tuple[str, ...], date: str) -> tuple[float, str, int]:
    there = shipped(at.model)
    assert there is not None
    return results.largest_difference(there, fresh(at, methods).table(at.model, at.placement, at.id_set))


def shipped_words(there: Results) -> str:
    """What stands above numbers that ship: measured where and when, and that their activations do not ship."""
    ids, others = there.images
    names = [f"{name}: {there.partial[name]}" if name in there.partial else name for name in there.ood]
    placement = "" if at_penultimate(there) else f"{placement_label(there.model, there.placement)}, "
    return (
        f"Measured, activations not shipped: {there.file.name}, {placement}{ids:,} ID images ({there.id_set}) and "
        f"{others:,} OOD images ({', '.join(names)}), on {there.origin['device']}, {there.origin['date'][:10]}."
    )
