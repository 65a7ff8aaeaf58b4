"""Results that ship without their activations, and whether this machine's activations give the same."""

from collections.abc import Collection
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from app.backend.banks import missing_sets
from app.backend.engine import fresh
from app.backend.fits import fit_of, missing_perturbed
from app.backend.registry import entry
from app.backend.setups import Setup, identity, present
from ash import results
from ash.methods import VARIANTS, Method, baselines
from ash.results import Results

TOLERANCE = results.TOLERANCE  # points


@st.cache_data(ttl=300.0, max_entries=1, show_spinner=False)
def all_shipped() -> tuple[Results, ...]:
    """The results that ship, without their activations."""
    return results.shipped()


def usual() -> tuple[Results, ...]:
    """Those of networks in their usual preprocessing, one a network."""
    found: dict[str, Results] = {}
    for one in all_shipped():
        if "variant" not in one.origin:
            found.setdefault(one.model, one)
    return tuple(found.values())


def shipped(model: str) -> Results | None:
    """The results that ship of a model in its usual preprocessing, None where there are none."""
    return next((one for one in usual() if one.model == model), None)


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
    fitted, moved = fit_of(at) is not None, not missing_perturbed(at)
    parsed = {text: Method.parse(text) for text in texts}
    return tuple(
        text
        for text, method in parsed.items()
        if (fitted or not method.needs_fit) and (moved or method.score != "odin")
    )


@st.cache_data(max_entries=8, show_spinner=False)
def _compared(at: Setup, methods: tuple[str, ...], date: str) -> tuple[float, str, int]:
    there = shipped(at.model)
    assert there is not None
    return results.largest_difference(there, fresh(at, methods).table(at.model, at.placement, at.id_set))


def shipped_words(there: Results) -> str:
    """What stands above numbers that ship: measured where and when, and that their activations do not ship."""
    ids, others = there.images
    names = [f"{name}: {there.partial[name]}" if name in there.partial else name for name in there.ood]
    return (
        f"Measured, activations not shipped: {there.file.name}, {ids:,} ID images ({there.id_set}) and {others:,} OOD "
        f"images ({', '.join(names)}), on {there.origin['device']}, {there.origin['date'][:10]}."
    )
