"""The paper's tables here: what was measured for which network, what a method still needs, and measuring it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from app.backend.banks import Step, compute_banks, extract_all, missing_sets
from app.backend.deep import deep_steps, deep_table
from app.backend.engine import is_linear, recall, run
from app.backend.evaluations import table
from app.backend.fits import fit_of, missing_perturbed, missing_training, more_keys, training_set
from app.backend.names import entry
from app.backend.origin import needed, unready
from app.backend.setups import Setup, chosen_sets, identity, images, present, set_label, setup, whole_set
from app.spec import RunSpec
from ash import paper, reports, results
from ash.methods import Method, baselines
from ash.models import get_model
from ash.reports import Found
from ash.results import Results
from ash.tables import Sweep


@st.cache_data(max_entries=1, show_spinner=False)
def paper_methods() -> tuple[str, ...]:
    """Every method of the paper's tables, in the paper's order; not those that need another network."""
    texts = [text for number in paper.TABLES for text in paper.load(number)["method"]]
    return tuple(dict.fromkeys(text for text in texts if Method.parse(text).score != "godin"))


def own_spec(model: str) -> RunSpec:
    """A network of the paper on the paper's sets, as far as they are here."""
    return RunSpec(model=model)


# What a method needs


@dataclass(frozen=True)
class Lack:
    """What a method needs before it can be measured: in words, the command that brings it, and whether a click does.

    `by_passes`: nothing but passes through the network from the banks that are there.
    """

    text: str
    commands: tuple[str, ...] = ()
    click: bool = False
    by_passes: bool = False


def lack(spec: RunSpec, method: str) -> Lack | None:
    """What is missing for a method under a spec; None where it is measured at once."""
    if reason := unready(spec):
        return Lack(reason, tuple(f"python -m ash fetch {name}" for name in needed(spec)))
    at, asked = setup(spec), Method.parse(method)
    if asked.score == "godin":
        return Lack(reports.GODIN)
    if asked.needs_fit and not training_set(at):
        return Lack(*_no_training(at))
    if (gone := missing_sets(at)) or (asked.needs_fit and missing_training(at)):
        names = [set_label(name) for name in gone] or [set_label(get_model(at.model).train_set)]
        return Lack(f"the activations of {', '.join(names)} are not computed", click=True)
    if asked.score == "odin" and (gone := missing_perturbed(at)):
        return Lack(f"the activations of {sum(gone.values()):,} perturbed images are not computed", click=True)
    if not is_linear(at) and recall(at, (method,)) is None:
        return Lack("this placement needs a pass through the network for it", click=True, by_passes=True)
    return None


def _no_training(at: Setup) -> tuple[str, tuple[str, ...]]:
    one = get_model(at.model)
    if one.train_set:
        return f"the images of {set_label(one.train_set)} are missing", (f"python -m ash fetch {one.train_set}",)
    return f"it is fitted on training images, and no training set is known for {one.label}", ()


def measure_steps(spec: RunSpec, method: str) -> Iterator[Step]:
    """Do what `lack` names, yielding after every batch. Stop to cancel; call again to go on where it stopped."""
    at, asked = setup(spec), Method.parse(method)
    yield from compute_banks(at)
    if asked.needs_fit and missing_training(at):
        yield from extract_all(at, [(whole_set(get_model(at.model).train_set), 0.0)])
    if asked.score == "odin":
        step = get_model(at.model).odin_epsilon
        yield from extract_all(at, [(images(at, name), step) for name in missing_perturbed(at)])
    if not is_linear(at):
        yield from deep_steps(at, asked.score, (method,))


def baselines_here(spec: RunSpec) -> tuple[str, ...]:
    """The methods that the paper compares with, at the model's own settings, as far as they are measured at once."""
    every = map(str, baselines(entry(spec.model)))
    return tuple(method for method in every if lack(spec, method) is None)


def images_of(spec: RunSpec, method: str) -> int:
    """Images that have to go through the network before a method can be measured."""
    at, asked = setup(spec), Method.parse(method)
    odin = sum(missing_perturbed(at).values()) if asked.score == "odin" else 0
    return sum(missing_sets(at).values()) + odin


# What was measured


@st.cache_resource(max_entries=32, show_spinner=False)
def _measured(at: Setup, methods: tuple[str, ...], ood: tuple[str, ...], about: tuple[str, ...]) -> pd.DataFrame:
    """The rows of methods over some OOD sets, with device and date. `about`: what else they hang on, for the cache."""
    some, origin = run(at, methods)
    chosen = {name: scores for name, scores in some.ood_scores.items() if name in ood}
    narrowed = Sweep(some.methods, some.id_scores, chosen, some.id_predictions, some.id_labels)
    table = reports.measured(narrowed, at.model, at.placement, at.id_set)
    return table.assign(device=origin["device"], date=origin["date"])


def _rows(at: Setup, methods: tuple[str, ...], ood: tuple[str, ...]) -> pd.DataFrame:
    return _measured(at, methods, ood, tuple(more_keys(at, methods)))


def found(spec: RunSpec) -> Found:
    """What of the paper's methods is measured under a spec; those that take one pass are measured now."""
    at, ood = setup(spec), tuple(chosen_sets(spec))
    lacks = {method: lack(spec, method) for method in paper_methods()}
    ready = tuple(method for method, one in lacks.items() if one is None)
    missing = {method: one.text for method, one in lacks.items() if one}
    if not ready:
        return Found(at.model, at.id_set, missing=missing)
    if not is_linear(at):
        parts = [_rows(at, (method,), ood) for method in ready]
    else:
        odin = tuple(method for method in ready if Method.parse(method).score == "odin")
        rest = tuple(method for method in ready if method not in odin)
        parts = [_rows(at, some, ood) for some in (rest, odin) if some]
    return Found(at.model, at.id_set, pd.concat(parts, ignore_index=True), missing=missing)


def found_beside(spec: RunSpec) -> dict[str, Found]:
    """Network of the paper -> what stands beside its lines: the sidebar's network for all, or each one's own."""
    models = dict.fromkeys(model for table in paper.TABLES.values() for model in table.ood)
    if spec.beside == "sidebar":
        one = found(spec)
        if one.table.empty and (there := shipped(spec.model)):
            one = _from_results(there, one)
        return dict.fromkeys(models, one)
    return {model: _own(model) for model in models}


def _own(model: str) -> Found:
    """What was measured on a network of the paper: on the paper's sets, else by the results that ship."""
    spec = own_spec(model)
    one = found(spec)
    if not one.table.empty:
        return one
    if there := shipped(model):
        return _from_results(there, one)
    if unready(spec):
        return replace(one, status=reports.BUNDLED)
    return one


def _from_results(there: Results, one: Found) -> Found:
    table = there.table.assign(device=there.origin["device"], date=there.origin["date"])
    return replace(one, model=there.model, id_set=there.id_set, table=table)


@st.cache_data(ttl=300.0, max_entries=1, show_spinner=False)
def all_shipped() -> tuple[Results, ...]:
    """The results that ship, without their activations."""
    return results.shipped()


def shipped(model: str) -> Results | None:
    """The results that ship of a model in its usual preprocessing, None where there are none."""
    fitting = [one for one in all_shipped() if one.model == model and "variant" not in one.origin]
    return fitting[0] if fitting else None


@dataclass(frozen=True)
class Agreement:
    """How results that ship compare with what this machine measures from the activations: points, where, numbers."""

    worst: float
    where: str
    numbers: int

    @property
    def good(self) -> bool:
        """Whether the two agree."""
        return self.worst <= results.TOLERANCE


def agreement(model: str) -> Agreement | None:
    """Measure again what ships of a model; None where the activations are not here, or are of other images."""
    there = shipped(model)
    if there is None or not entry(model).present:
        return None
    at = results_setup(there)
    if at is None:
        return None
    methods = _again(at, there)
    return Agreement(*_compared(at, methods, there.origin["date"])) if methods else None


def results_setup(there: Results) -> Setup | None:
    """The setup of results that ship; None where its images or its activations are not on this machine."""
    at = Setup(there.model, there.placement, there.id_set, there.ood)
    if not all(name in present() for name in at.sets) or missing_sets(at):
        return None
    return at if identity(at, at.id_set).weights == there.origin["weights_sha256"] else None


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
    return results.largest_difference(there, run(at, methods)[0].table(at.model, at.placement, at.id_set))


def figure_table(spec: RunSpec) -> tuple[pd.DataFrame | None, str]:
    """The settings of the trade-off with the Energy score and the methods of the paper's tables; and what to say of
    their source where that is a file of results that ships. None where nothing is measured."""
    at = setup(spec)
    if not unready(spec) and not missing_sets(at):
        some = table(at, "energy") if is_linear(at) else deep_table(at, "energy")
        parts = [part for part in (some, found(spec).table) if part is not None and not part.empty]
        return _chosen(pd.concat(parts, ignore_index=True), tuple(chosen_sets(spec))) if parts else None, ""
    if there := shipped(spec.model):
        return there.table, shipped_words(there)
    return None, ""


def _chosen(some: pd.DataFrame, ood: tuple[str, ...]) -> pd.DataFrame:
    return some[some["ood"].isin([*ood, "mean"])].drop_duplicates(["method", "ood"]).reset_index(drop=True)


def shipped_words(there: Results) -> str:
    """What stands above numbers that ship: measured where and when, and that their activations do not ship."""
    ids, others = there.images
    return (
        f"Measured, activations not shipped: {there.file.name}, {ids:,} ID images ({there.id_set}) and {others:,} OOD "
        f"images ({', '.join(there.ood)}), on {there.origin['device']}, {there.origin['date'][:10]}."
    )


# Conventions


@dataclass(frozen=True)
class Effect:
    """One metric of one method by two conventions, percent: `convention` is a key of the page's table."""

    convention: str
    method: str
    metric: str
    ours: float
    theirs: float


def convention_effects(spec: RunSpec) -> tuple[tuple[Effect, ...], float]:
    """What each convention is worth under a spec, means over its OOD sets; and the share of ID images, percent, whose
    max softmax is exactly 1 in float32. Empty where the plain scores are not measured."""
    methods = ("energy", "msp", f"{SATURATING}:msp")
    if any(lack(spec, method) for method in methods):
        return (), 0.0
    return _effects(setup(spec), methods, tuple(chosen_sets(spec)))


SATURATING = "ash_s@95"


@st.cache_data(max_entries=16, show_spinner=False)
def _effects(at: Setup, methods: tuple[str, ...], ood: tuple[str, ...]) -> tuple[tuple[Effect, ...], float]:
    from ash import authors, metrics

    some, found = run(at, methods)[0], []

    def mean(row: int, rule: Callable[..., float], change: Callable[..., Any] = np.asarray) -> float:
        known = change(some.id_scores[row])
        return 100 * float(np.mean([rule(known, change(some.ood_scores[name][row])) for name in ood]))

    for row, method in enumerate(methods):
        soft = authors.softmax if method.endswith("msp") else np.asarray
        rules = (metrics.fpr_at_tpr, authors.fpr95), (metrics.aupr, authors.aupr)
        for convention, metric, (ours, theirs) in zip(("fpr95", "aupr"), ("fpr95", "aupr"), rules, strict=True):
            found.append(Effect(convention, method, metric, mean(row, ours, soft), mean(row, theirs, soft)))
        if soft is authors.softmax:
            pair = mean(row, metrics.auroc), mean(row, metrics.auroc, soft)
            found.append(Effect("msp", method, "auroc", *pair))
    saturated = 100 * float(np.mean(authors.softmax(some.id_scores[1]) == 1))
    return tuple(found), saturated


def scale_effects() -> tuple[Effect, ...]:
    """What another scale of the pixels does to the CIFAR-10 DenseNet: from results that ship, where both are there."""
    usual = shipped("densenet101_cifar10")
    other = next((one for one in all_shipped() if one.origin.get("variant", "").startswith("std")), None)
    if usual is None or other is None:
        return ()
    rows = [one.table.set_index(["method", "ood"]).loc[("energy", "mean")] for one in (usual, other)]
    return tuple(Effect("std", "energy", name, float(rows[0][name]), float(rows[1][name])) for name in SCALED)


SCALED = ("id_accuracy", "auroc", "fpr95")
