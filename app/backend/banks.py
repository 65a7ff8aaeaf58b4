"""Banks: the ones that are there, and the missing ones, computed step by step."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from app.backend.names import datasets, identity, images, sentences
from ash.bank import Bank, find_bank, open_bank
from ash.models import MODELS

_rates: dict[tuple[str, str], float] = {}  # images a second of the last extraction in this process


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
    names = [name for name in (id_set, *ood) if find_bank(identity(model, placement, name)) is None]
    return {name: len(images(model, placement, name)) for name in names}


def compute_banks(model: str, placement: str) -> Iterator[Step]:
    """Extract the missing banks of a placement, yielding after every batch. Stop to cancel; call again to resume."""
    from ash.extraction import extract_steps

    todo = missing_sets(model, placement)
    total, before, fresh, start = sum(todo.values()), 0, 0, time.monotonic()
    with sentences():
        for name, count in todo.items():
            data, first = images(model, placement, name), None
            for step in extract_steps(MODELS[model], placement, data):
                first = step.done if first is None else first
                worked = fresh + step.done - first
                rate = worked / max(time.monotonic() - start, 1e-9)
                left = (total - before - step.done) / rate if worked else float("inf")
                yield Step(data.label, before + step.done, total, rate, left)
            before, fresh = before + count, fresh + count - (first or 0)


def remember_rate(model: str, placement: str, rate: float) -> None:
    """Keep what an extraction measured, so that the next offer can name its time."""
    _rates[model, placement] = rate


def measured_rate(model: str, placement: str) -> float | None:
    """Images a second of the last extraction at a placement, None before the first."""
    return _rates.get((model, placement))


@st.cache_resource(max_entries=64, show_spinner=False)
def bank(model: str, placement: str, name: str) -> Bank:
    """The bank of a data set at a placement; AppError when it is missing or damaged."""
    with sentences():
        return open_bank(identity(model, placement, name))


@st.cache_resource(max_entries=24, show_spinner=False)
def activations(model: str, placement: str, name: str) -> NDArray[np.float32]:
    """The activations of a data set (n, ...), read-only, checked against their checksums."""
    with sentences():
        values = bank(model, placement, name).read()
    values.flags.writeable = False
    return values
