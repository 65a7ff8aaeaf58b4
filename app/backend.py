"""The only module of the app that touches models, banks and devices: plain names in, plain data out, cached.

Every cached function takes strings and numbers alone, and what it returns is shared by all users and read-only. Work on
the device goes through one semaphore. Nothing here draws; expected failures raise `AppError` with one sentence.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from app import store
from app.errors import AppError
from app.spec import RunSpec
from ash.bank import Bank, BankError, BankIdentity, find_bank, open_bank
from ash.data import DATASETS, DataError, ImageSet, Subset, get_dataset
from ash.methods import SCORE_LABELS, Method
from ash.models import MODELS, ModelEntry, ModelError
from ash.tables import Sweep

if TYPE_CHECKING:
    from torch import fx

    from app.ranked import Bins, Counts, Ranked

STEP = 5  # percentiles between the markers of the trade-off
SUBSET_ID, SUBSET_OOD = 2000, 500  # images per set away from the penultimate layer, where activations are large
CONVENTIONS = (
    "ID positive; higher score = more ID; FPR95 at the highest threshold with TPR >= 95 %; AUPR = average precision"
)
_device = threading.Semaphore(1)


@contextmanager
def _sentences() -> Iterator[None]:
    """Expected failures of the library as the app's own error: one sentence on the page."""
    try:
        yield
    except (BankError, DataError, ModelError, ValueError) as error:
        raise AppError(str(error)) from error


# What there is, by name


@cache
def models() -> dict[str, str]:
    """Model name -> label."""
    return {name: entry.label for name, entry in MODELS.items()}


def entry(model: str) -> ModelEntry:
    """The registry's entry of a model."""
    return MODELS[model]


def placements(model: str) -> dict[str, str]:
    """Placement -> display name, the paper's placement last."""
    return dict(MODELS[model].placements)


def presets(model: str) -> dict[str, str]:
    """Preset label -> method string."""
    return dict(MODELS[model].presets)


def datasets(model: str) -> tuple[str, dict[str, str]]:
    """The ID set's name, and OOD set name -> label."""
    return MODELS[model].id_set, {name: DATASETS[name].label for name in MODELS[model].ood_sets}


def chosen_sets(spec: RunSpec) -> dict[str, str]:
    """OOD set name -> label of the sets this spec compares with (all when it names none)."""
    return {name: label for name, label in datasets(spec.model)[1].items() if not spec.ood or name in spec.ood}


@st.cache_resource(max_entries=32, show_spinner=False)
def images(model: str, placement: str, name: str) -> ImageSet:
    """The images that are evaluated at a placement: all at the penultimate one, evenly spaced subsets elsewhere."""
    with _sentences():
        whole = get_dataset(name)
        limit = SUBSET_ID if name == MODELS[model].id_set else SUBSET_OOD
        if placement == list(MODELS[model].placements)[-1] or len(whole) <= limit:
            return whole
        return Subset(whole, limit)


@st.cache_resource(max_entries=256, show_spinner=False)
def _identity(model: str, placement: str, name: str) -> BankIdentity:
    one = MODELS[model]
    with _sentences():
        data = images(model, placement, name)
        return BankIdentity(one.name, one.weights_hash(), placement, repr(one.preprocess), data.name, data.fingerprint)


# Banks: present, or computed step by step


@dataclass(frozen=True)
class Step:
    """Progress of a long computation: a label, images done and in total over all sets, rate, seconds left."""

    label: str
    done: int
    total: int
    rate: float
    left: float


def missing_sets(model: str, placement: str) -> dict[str, int]:
    """Data set -> number of images, for the banks that a page of this placement still needs."""
    id_set, ood = datasets(model)
    names = [name for name in (id_set, *ood) if find_bank(_identity(model, placement, name)) is None]
    return {name: len(images(model, placement, name)) for name in names}


def compute_banks(model: str, placement: str) -> Iterator[Step]:
    """Extract the missing banks of a placement, yielding after every batch. Stop to cancel; call again to resume."""
    from ash.extraction import extract_steps

    todo = missing_sets(model, placement)
    total, before, fresh, start = sum(todo.values()), 0, 0, time.monotonic()
    with _sentences():
        for name, count in todo.items():
            data, first = images(model, placement, name), None
            for step in extract_steps(MODELS[model], placement, data):
                first = step.done if first is None else first
                worked = fresh + step.done - first
                rate = worked / max(time.monotonic() - start, 1e-9)
                left = (total - before - step.done) / rate if worked else float("inf")
                yield Step(data.label, before + step.done, total, rate, left)
            before, fresh = before + count, fresh + count - (first or 0)


@st.cache_resource(max_entries=64, show_spinner=False)
def bank(model: str, placement: str, name: str) -> Bank:
    """The bank of a data set at a placement; AppError when it is missing or damaged."""
    with _sentences():
        return open_bank(_identity(model, placement, name))


@st.cache_resource(max_entries=24, show_spinner=False)
def activations(model: str, placement: str, name: str) -> NDArray[np.float32]:
    """The activations of a data set (n, ...), read-only, checked against their checksums."""
    with _sentences():
        values = bank(model, placement, name).read()
    values.flags.writeable = False
    return values


# Networks


@st.cache_resource(max_entries=2, show_spinner=False)
def network(model: str) -> "fx.GraphModule":
    """A network in eval mode with its weights, on the CPU."""
    with _sentences():
        return MODELS[model].build()  # type: ignore[return-value]


@st.cache_resource(max_entries=8, show_spinner=False)
def parts(model: str, placement: str) -> "tuple[fx.GraphModule, fx.GraphModule]":
    """Stem and tail of a network at a placement, on the CPU."""
    from ash.splitting import split

    with _sentences():
        return split(network(model), placement)


@st.cache_resource(show_spinner=False)
def warm_up() -> None:
    """Load torch in the background, once: the first page is drawn without it, the first new evaluation needs it."""
    modules = ("ash.sweeping", "torchvision.transforms")
    timer = threading.Timer(4.0, lambda: [import_module(name) for name in modules])
    timer.daemon = True
    timer.start()


def is_linear(model: str, placement: str) -> bool:
    """Whether all percentiles come from one pass at this placement."""
    return placement not in MODELS[model].deep_placements


# Evaluations


def run(model: str, placement: str, methods: tuple[str, ...]) -> tuple[Sweep, dict[str, str]]:
    """Methods over the ID set and all OOD sets of a model, and where and when that was computed.

    Kept on disk: a restarted server reads it back. In memory it is cached by the functions below.
    """
    id_set, ood = datasets(model)
    path = store.path_of([_identity(model, placement, name).key for name in (id_set, *ood)], methods)
    known = store.load(path, methods)
    if known is not None:
        return known
    from ash.sweeping import sweep

    with _sentences(), _device:
        fresh = sweep(
            parts(model, placement)[1],
            activations(model, placement, id_set),
            {name: activations(model, placement, name) for name in ood},
            [Method.parse(method) for method in methods],
            id_labels=bank(model, placement, id_set).labels,
        )
    return fresh, store.save(path, fresh, device())


@st.cache_resource(max_entries=12, show_spinner=False)
def react_thresholds(model: str, placement: str) -> tuple[float, ...]:
    """ReAct thresholds to show: quantiles of the ID activations, three digits, and the model's own."""
    values = activations(model, placement, datasets(model)[0])
    sample = values[:: max(1, len(values) // 2000)]
    quantiles = np.quantile(sample, [0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.999])
    rounded = {float(f"{q:.3g}") for q in quantiles if q > 0}
    return tuple(sorted(rounded | {MODELS[model].react_threshold}))


@st.cache_resource(max_entries=12, show_spinner=False)
def _grid(model: str, placement: str, score: str) -> tuple[Sweep, dict[str, str]]:
    shaped = [f"{v}@{p}:{score}" for v in ("ash_p", "ash_b", "ash_s", "ash_rand") for p in range(0, 100, STEP)]
    clipped = [f"react@{c}:{score}" for c in react_thresholds(model, placement)]
    return run(model, placement, (score, *shaped, *clipped))


def grid(model: str, placement: str, score: str) -> Sweep:
    """The settings that the trade-off draws: the score alone, P, B, S and RAND every STEP percent, ReAct."""
    return _grid(model, placement, score)[0]


@st.cache_data(max_entries=64, show_spinner=False)
def table(model: str, placement: str, score: str) -> pd.DataFrame:
    """The metrics of `grid` in percent, one row per method and OOD set and one `mean` row per method."""
    return grid(model, placement, score).table(model, placement, datasets(model)[0])


@st.cache_resource(max_entries=12, show_spinner=False)
def scrub(model: str, placement: str, variant: str, score: str) -> Sweep:
    """One variant at every whole percentile 0..99, row = percentile: what a slider looks up."""
    return run(model, placement, tuple(f"{variant}@{p}:{score}" for p in range(100)))[0]


@dataclass(frozen=True)
class Evaluation:
    """Scores of one method: ID (n,), OOD by set name, the network's predictions on ID, and the accuracy (fraction)."""

    method: Method
    id_scores: NDArray[np.floating]
    ood_scores: dict[str, NDArray[np.floating]]
    predictions: NDArray[np.integer]
    accuracy: float


def _find(model: str, placement: str, method: Method) -> tuple[Sweep, int]:
    """A sweep that holds this method, and its row there: the trade-off's, the slider's, or one of its own."""
    if is_linear(model, placement):
        known = grid(model, placement, method.score)
        if method in known.methods:
            return known, known.methods.index(method)
        if method.percentile is not None and method.percentile.is_integer():
            return scrub(model, placement, method.variant, method.score), int(method.percentile)
    return run(model, placement, (str(method),))[0], 0


@st.cache_resource(max_entries=64, show_spinner=False)
def evaluation(model: str, placement: str, method: str) -> Evaluation:
    """One method on the ID set and all OOD sets; looked up where a sweep already holds it."""
    asked = Method.parse(method)
    done, row = _find(model, placement, asked)
    predictions, labels = done.id_predictions[row], bank(model, placement, datasets(model)[0]).labels
    scores = {name: values[row] for name, values in done.ood_scores.items()}
    return Evaluation(asked, done.id_scores[row], scores, predictions, float(np.mean(predictions == labels)))


def unshaped(spec: RunSpec) -> RunSpec:
    """The same configuration without shaping: what every gain is measured against."""
    return replace(spec, variant="none")


# One sample


@dataclass(frozen=True)
class Sample:
    """One image through the network: activation (C, ...) before (`x`) and after shaping, logits (C,) likewise."""

    name: str
    label: int
    picture: NDArray[np.uint8]
    x: NDArray[np.float32]
    shaped: NDArray[np.float32]
    logits: NDArray[np.float32]
    shaped_logits: NDArray[np.float32]


@st.cache_resource(max_entries=128, show_spinner=False)
def sample(model: str, placement: str, method: str, name: str, index: int) -> Sample:
    """Image `index` of data set `name` under a method. Computed from the image itself, so it needs no bank."""
    import torch

    with _sentences():
        data = whole_set(name)
        if not 0 <= index < len(data):
            raise AppError(f"{data.label} has the samples 0 to {len(data) - 1}; there is no {index}.")
        picture = data.image(index)
    stem, tail = parts(model, placement)
    with torch.inference_mode(), _device:
        x = stem(MODELS[model].preprocess.build()(picture)[None])
        shaped = Method.parse(method).shape(x, first_index=index)
        logits, after = tail(x), tail(shaped)
    arrays = [tensor[0].numpy().copy() for tensor in (x, shaped, logits, after)]
    return Sample(data.names[index], int(data.labels[index]), np.asarray(picture), *arrays)


# Provenance


def badge(spec: RunSpec) -> str:
    """Where the numbers come from, for the sidebar: `bundled, 10,000 ID + 6,000 OOD images, CPU`."""
    facts = provenance(spec)
    return f"{facts['source']}, {facts['n_id']:,} ID + {facts['n_ood']:,} OOD images, {facts['device']}"


def provenance(spec: RunSpec) -> dict[str, str | int]:
    """What every export states: source, model, weights, data, counts, device, versions, date, conventions."""
    id_set = datasets(spec.model)[0]
    identity = _identity(spec.model, spec.placement, id_set)
    folder = find_bank(identity)
    bundled = folder is not None and "assets" in folder.parts
    return {
        "source": "bundled" if bundled else "computed here" if folder else "not computed yet",
        "model": spec.model,
        "weights_sha256": identity.weights,
        "placement": spec.placement,
        "method": str(spec.method),
        "score": SCORE_LABELS[spec.score],
        "id": id_set,
        "ood": ", ".join(chosen_sets(spec)),
        "n_id": len(images(spec.model, spec.placement, id_set)),
        "n_ood": sum(len(images(spec.model, spec.placement, name)) for name in chosen_sets(spec)),
        **_measured(spec),
        "conventions": CONVENTIONS,
    }


def _measured(spec: RunSpec) -> dict[str, str]:
    """Device and date of the numbers that this spec shows; the device alone while they are not computed."""
    if missing_sets(spec.model, spec.placement) or not is_linear(spec.model, spec.placement):
        return {"device": device()}
    origin = _grid(spec.model, spec.placement, spec.score)[1]
    return {name: origin[name] for name in ("device", "date")}


@cache
def device() -> str:
    """The device that evaluations run on, in words."""
    from ash.device import best_device, describe

    return describe(best_device())


# Scores page: the images of a bar


@st.cache_resource(max_entries=512, show_spinner=False)
def picture(model: str, placement: str, name: str, index: int) -> tuple[str, NDArray[np.uint8]]:
    """Name and pixels of the image in row `index` of a bank; AppError when it does not decode."""
    title = bank(model, placement, name).names[index]
    with _sentences():
        data = images(model, placement, name)
        return title, np.asarray(data.image(list(data.names).index(title)))


# Activations page: distributions over whole sets, and samples worth a look


@st.cache_resource(max_entries=16, show_spinner=False)
def ranked(model: str, placement: str, name: str) -> "Ranked":
    """The activations of a data set with every row sorted, read-only."""
    from app.ranked import rank

    return rank(activations(model, placement, name))


@st.cache_resource(max_entries=64, show_spinner=False)
def _counts_before(model: str, placement: str, name: str, within: "Bins") -> "Counts":
    from app.ranked import before

    return before(ranked(model, placement, name), within)


@dataclass(frozen=True)
class Spread:
    """Values of the ID set and of the OOD sets together, before and after one method, in the same bins.

    `s1`, `s2`: sums of every image's values, all and kept; `exponent`: s1/s2, for ASH-S alone. Pairs are (ID, OOD).
    """

    within: "Bins"
    before: "tuple[Counts, Counts]"
    after: "tuple[Counts, Counts]"
    s1: tuple[NDArray[np.float64], NDArray[np.float64]]
    s2: tuple[NDArray[np.float64], NDArray[np.float64]]
    exponent: tuple[NDArray[np.float64], NDArray[np.float64]] | None


@st.cache_resource(max_entries=32, show_spinner=False)
def spread(model: str, placement: str, method: str, ood: tuple[str, ...], log: bool) -> Spread:
    """How one method changes the values of the ID set and of these OOD sets, over all rows of their banks."""
    from functools import reduce
    from operator import add

    from app import ranked as count

    asked, groups = Method.parse(method), ((datasets(model)[0],), ood)
    banks = {name: ranked(model, placement, name) for names in groups for name in names}
    kept = {name: count.keep(one, asked) for name, one in banks.items()}
    within = count.bins([(banks[name], kept[name]) for name in banks], log)

    def shaped(name: str) -> "Counts":
        return count.after(banks[name], kept[name], activations(model, placement, name), within)

    def pair(values: Mapping[str, NDArray[np.float64]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        first, second = (np.concatenate([values[name] for name in names]) for names in groups)
        return first, second

    before = [reduce(add, (_counts_before(model, placement, name, within) for name in names)) for names in groups]
    after = [reduce(add, map(shaped, names)) for names in groups]
    exponents = {name: one.exponent for name, one in kept.items() if one.exponent is not None}
    return Spread(
        within,
        (before[0], before[1]),
        (after[0], after[1]),
        pair({name: one.s1 for name, one in banks.items()}),
        pair({name: one.s2 for name, one in kept.items()}),
        pair(exponents) if exponents else None,
    )


@dataclass(frozen=True)
class Suggestion:
    """A sample worth a look: why, the data set ("id" or an OOD set) and its number."""

    label: str
    source: str
    index: int


@st.cache_resource(max_entries=64, show_spinner=False)
def suggestions(model: str, placement: str, method: str, ood: tuple[str, ...], tpr: float) -> tuple[Suggestion, ...]:
    """Samples that explain a method: confident, borderline and mistaken ones, and what shaping fixed or broke."""
    from ash.metrics import threshold_at_tpr

    now, plain = evaluation(model, placement, method), evaluation(model, placement, Method.parse(method).score)
    line, old = (threshold_at_tpr(one.id_scores, tpr) for one in (now, plain))
    found: dict[str, tuple[float, str, int]] = {}  # label -> (rank, smaller is better; source; row)

    def offer(label: str, source: str, rank: NDArray[np.floating], allowed: NDArray[np.bool_]) -> None:
        if allowed.any():
            row = int(np.where(allowed, rank, np.inf).argmin())
            if label not in found or rank[row] < found[label][0]:
                found[label] = float(rank[row]), source, row

    after, before = now.id_scores, plain.id_scores
    offer("Confident ID", "id", -after, after >= line)
    offer("Borderline ID", "id", after, after >= line)
    offer("ID rejected", "id", after, after < line)
    for name in ood:
        after, before = now.ood_scores[name], plain.ood_scores[name]
        offer("OOD accepted", name, -after, after >= line)
        offer("Borderline OOD", name, -after, after < line)
        offer("Fixed", name, after, (before >= old) & (after < line))
        offer("Broken", name, -after, (before < old) & (after >= line))
    return tuple(
        Suggestion(label, source, _number(model, placement, source, row)) for label, (_, source, row) in found.items()
    )


def _number(model: str, placement: str, source: str, row: int) -> int:
    """Row of a bank -> number of the image in its whole set; the two differ for subsets and after skipped images."""
    name = datasets(model)[0] if source == "id" else source
    return list(whole_set(name).names).index(bank(model, placement, name).names[row])


@st.cache_resource(max_entries=12, show_spinner=False)
def whole_set(name: str) -> ImageSet:
    """All images of a data set, decoded one at a time."""
    with _sentences():
        return get_dataset(name)


# Trade-off page: single methods, intervals, and tails that need one pass for each setting

DEEP_PERCENTILES = (65, 90, 80, 50)  # in the order in which they are computed
_rates: dict[tuple[str, str], float] = {}  # images a second of the last extraction in this process


def remember_rate(model: str, placement: str, rate: float) -> None:
    """Keep what an extraction measured, so that the next offer can name its time."""
    _rates[model, placement] = rate


def measured_rate(model: str, placement: str) -> float | None:
    """Images a second of the last extraction at a placement, None before the first."""
    return _rates.get((model, placement))


@st.cache_data(max_entries=1024, show_spinner=False)
def measure(model: str, placement: str, method: str) -> pd.DataFrame:
    """The rows of `table` for one method, on the grid or between its marks."""
    done, row = _find(model, placement, Method.parse(method))
    scores = {name: values[[row]] for name, values in done.ood_scores.items()}
    one = Sweep((done.methods[row],), done.id_scores[[row]], scores, done.id_predictions[[row]], done.id_labels)
    return one.table(model, placement, datasets(model)[0])


@st.cache_data(max_entries=512, show_spinner=False)
def auroc_interval(model: str, placement: str, method: str, sets: tuple[str, ...]) -> tuple[float, float] | None:
    """95 % bootstrap interval, in percent, of the mean AUROC over OOD sets; None where they differ in size.

    The mean over sets of equal size is the AUROC of the sets taken together, because AUROC is linear in the OOD sample.
    """
    from ash.metrics import intervals

    one = evaluation(model, placement, method)
    scores = [one.ood_scores[name] for name in sets]
    if len({len(values) for values in scores}) != 1:
        return None
    low, high = intervals(one.id_scores, np.concatenate(scores))["auroc"]
    return 100 * low, 100 * high


@st.cache_resource(max_entries=12, show_spinner=False)
def _deep_tables(model: str, placement: str, score: str) -> dict[str, pd.DataFrame]:
    """Method -> its rows: what `deep_grid` has computed so far, shared by all users."""
    return {}


def deep_methods(model: str, placement: str, score: str) -> tuple[str, ...]:
    """The coarse settings of a deep tail, the most telling first."""
    shaped = [f"{variant}@{p}:{score}" for p in DEEP_PERCENTILES for variant in ("ash_b", "ash_s", "ash_p")]
    preset = [text for text in presets(model).values() if Method.parse(text).score == score]
    clipped = [f"react@{c}:{score}" for c in react_thresholds(model, placement)[1::2]]
    return tuple(dict.fromkeys(str(Method.parse(text)) for text in (score, *preset, *shaped, *clipped)))


def deep_table(model: str, placement: str, score: str) -> pd.DataFrame | None:
    """The rows of the settings computed so far, None before the first."""
    done = _deep_tables(model, placement, score)
    return pd.concat(list(done.values()), ignore_index=True) if done else None


def deep_grid(model: str, placement: str, score: str, also: tuple[str, ...] = ()) -> Iterator[Step]:
    """Evaluate a deep tail's settings that are missing, yielding after each. Stop to cancel; call to resume."""
    done, start = _deep_tables(model, placement, score), time.monotonic()
    wanted = dict.fromkeys((*also, *deep_methods(model, placement, score)))
    todo = [method for method in wanted if method not in done]
    for fresh, method in enumerate(todo, start=1):
        done[method] = measure(model, placement, method)
        rate, left = fresh / max(time.monotonic() - start, 1e-9), len(todo) - fresh
        yield Step(Method.parse(method).label, len(wanted) - left, len(wanted), rate, left / rate)


def set_label(name: str) -> str:
    """The display name of a data set."""
    return DATASETS[name].label
