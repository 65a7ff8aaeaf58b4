"""What there is, by name: models, placements, data sets, and which images are evaluated where."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import streamlit as st

from app.errors import AppError
from app.spec import RunSpec
from ash.bank import BankError, BankIdentity
from ash.data import DATASETS, DataError, ImageSet, Subset, get_dataset
from ash.models import MODELS, ModelEntry, ModelError

SUBSET_ID, SUBSET_OOD = 2000, 500  # images per set away from the penultimate layer, where activations are large


@contextmanager
def sentences() -> Iterator[None]:
    """Expected failures of the library as the app's own error: one sentence on the page."""
    try:
        yield
    except (BankError, DataError, ModelError, ValueError) as error:
        raise AppError(str(error)) from error


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


def set_label(name: str) -> str:
    """The display name of a data set."""
    return DATASETS[name].label


@st.cache_resource(max_entries=32, show_spinner=False)
def images(model: str, placement: str, name: str) -> ImageSet:
    """The images that are evaluated at a placement: all at the penultimate one, evenly spaced subsets elsewhere."""
    with sentences():
        whole = get_dataset(name)
        limit = SUBSET_ID if name == MODELS[model].id_set else SUBSET_OOD
        if placement == list(MODELS[model].placements)[-1] or len(whole) <= limit:
            return whole
        return Subset(whole, limit)


@st.cache_resource(max_entries=12, show_spinner=False)
def whole_set(name: str) -> ImageSet:
    """All images of a data set, decoded one at a time."""
    with sentences():
        return get_dataset(name)


# Trade-off page: single methods, intervals, and tails that need one pass for each setting


@st.cache_resource(max_entries=256, show_spinner=False)
def identity(model: str, placement: str, name: str) -> BankIdentity:
    one = MODELS[model]
    with sentences():
        data = images(model, placement, name)
        return BankIdentity(one.name, one.weights_hash(), placement, repr(one.preprocess), data.name, data.fingerprint)
