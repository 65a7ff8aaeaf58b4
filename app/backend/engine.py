"""Networks, the device, and the one function that evaluates methods."""

import threading
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

import streamlit as st

from app.backend import store
from app.backend.banks import activations, bank
from app.backend.names import datasets, identity, sentences
from ash.methods import Method
from ash.models import MODELS
from ash.tables import Sweep

if TYPE_CHECKING:
    from torch import fx

semaphore = threading.Semaphore(1)  # one user at a time on the device


@st.cache_resource(max_entries=2, show_spinner=False)
def network(model: str) -> "fx.GraphModule":
    """A network in eval mode with its weights, on the CPU."""
    with sentences():
        return MODELS[model].build()  # type: ignore[return-value]


@st.cache_resource(max_entries=8, show_spinner=False)
def parts(model: str, placement: str) -> "tuple[fx.GraphModule, fx.GraphModule]":
    """Stem and tail of a network at a placement, on the CPU."""
    from ash.splitting import split

    with sentences():
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


@cache
def device() -> str:
    """The device that evaluations run on, in words."""
    from ash.device import best_device, describe

    return describe(best_device())


def run(model: str, placement: str, methods: tuple[str, ...]) -> tuple[Sweep, dict[str, str]]:
    """Methods over the ID set and all OOD sets of a model, and where and when that was computed.

    Kept on disk: a restarted server reads it back. In memory it is cached by the functions below.
    """
    id_set, ood = datasets(model)
    path = store.path_of([identity(model, placement, name).key for name in (id_set, *ood)], methods)
    known = store.load(path, methods)
    if known is not None:
        return known
    from ash.sweeping import sweep

    with sentences(), semaphore:
        fresh = sweep(
            parts(model, placement)[1],
            activations(model, placement, id_set),
            {name: activations(model, placement, name) for name in ood},
            [Method.parse(method) for method in methods],
            id_labels=bank(model, placement, id_set).labels,
        )
    return fresh, store.save(path, fresh, device())
