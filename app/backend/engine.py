"""Networks, the device, and the one function that evaluates methods."""

import gc
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.backend import store
from app.backend.banks import bank, bank_of, id_labels, missing_sets
from app.backend.caches import cache_resource
from app.backend.fits import fit_of, more_keys, perturbed_identity
from app.backend.setups import Setup, identity, is_as_ships, wider
from app.backend.turns import semaphore
from ash import evaluated
from ash.methods import Method, perturbations
from ash.models import cuts_of, get_model
from ash.tables import Sweep

if TYPE_CHECKING:
    from torch import fx

    from ash import sweeping


@cache_resource(max_entries=2)
def network(model: str, checkpoint: str, weights: str) -> "fx.GraphModule":
    """A network in eval mode with its weights, on the CPU: ordinary tensors, whatever the mode of who asks first.

    `weights`: as in `Setup`.
    """
    import torch

    with torch.inference_mode(False):
        return get_model(model).each[checkpoint].build()  # type: ignore[return-value]


@cache_resource(max_entries=8)
def _parts(model: str, checkpoint: str, weights: str, placement: str) -> "tuple[fx.GraphModule, fx.GraphModule]":
    """Stem and tail of a network at a placement, on the CPU."""
    import torch

    from ash.splitting import split

    with torch.inference_mode(False):
        return split(network(model, checkpoint, weights), placement)


def parts(at: Setup) -> "tuple[fx.GraphModule, fx.GraphModule]":
    """Stem and tail of a setup's network, on the CPU."""
    load()
    return _parts(at.model, at.checkpoint, at.weights, at.placement)


_loading = threading.Lock()
_HEAVY = ("ash.sweeping", "ash.networks.vision")


def load() -> None:
    """Load torch and torchvision; two threads that import them at once can see each other's half-made modules."""
    with _loading:
        there = sys.modules.keys() >= set(_HEAVY)
        for name in _HEAVY:
            import_module(name)
        if not there:
            _settle()


def _settle() -> None:
    """Leave what is there now out of Python's search for garbage: modules stay.

    Streamlit searches after every run of a page, and nobody is answered meanwhile: 0.24 s with torch loaded.
    """
    gc.freeze()


@cache_resource()
def warm_up() -> None:
    """Load torch in the background, once: the first page is drawn without it, the first new evaluation needs it."""
    _settle()
    timer = threading.Timer(4.0, load)
    timer.daemon = True
    timer.start()


def is_linear(at: Setup) -> bool:
    """Whether all percentiles come from one pass at this placement."""
    entry = at.entry
    if at.placement in entry.placements:
        return at.placement not in entry.deep_placements
    return next(cut.linear for cut in cuts_of(at.model) if cut.name == at.placement)


def is_signed(at: Setup) -> bool:
    """Whether the activation may hold negative values, where that is known; curated placements come after a ReLU."""
    if at.placement in at.entry.placements:
        return False
    return bool(next(cut.signed for cut in cuts_of(at.model) if cut.name == at.placement))


@cache
def device() -> str:
    """The device that evaluations run on, in words."""
    from ash.device import describe, evaluation_device

    return describe(evaluation_device())


def recall(at: Setup, methods: tuple[str, ...]) -> tuple[Sweep, dict[str, str]] | None:
    """A sweep that was kept on disk or that ships, and where and when it was computed; None when there is none.

    One over more OOD sets does as well: no set's scores hang on another's.
    """
    found = store.load(_path(at, methods), methods)
    if (
        found is None
        and _path(wider(at), methods).is_file()
        and (more := store.load(_path(wider(at), methods), methods))
    ):
        some, origin = more
        found = replace(some, ood_scores={name: some.ood_scores[name] for name in at.ood}), origin
    found = found or _shipped(at, methods)
    return found and (replace(found[0], id_labels=id_labels(at)), found[1])


@cache_resource(max_entries=4)
def _shipped(at: Setup, methods: tuple[str, ...]) -> tuple[Sweep, dict[str, str]] | None:
    """A sweep that ships, and where and when it was computed; None where none is of these banks and methods."""
    if not is_as_ships(at) or missing_sets(at):
        return None
    return evaluated.find(at.model, {name: bank(at, name).folder for name in at.sets}, methods)


def keep(at: Setup, methods: tuple[str, ...], fresh: Sweep) -> dict[str, str]:
    """Keep a sweep on disk, for the next server; returns where and when it was computed."""
    return store.save(_path(at, methods), fresh, device())


def kept(at: Setup, methods: tuple[str, ...]) -> bool:
    """Whether such a sweep lies on disk or ships."""
    on_disk = _path(at, methods).is_file() or _path(wider(at), methods).is_file()
    return on_disk or _shipped(at, methods) is not None


def _path(at: Setup, methods: tuple[str, ...]) -> Path:
    return store.path_of([*(identity(at, name).key for name in at.sets), *more_keys(at, methods)], methods)


def _more(at: Setup, methods: list[Method]) -> dict[str, Any]:
    """What a sweep of these methods takes besides the banks: a fit, and the banks of perturbed images."""
    more: dict[str, Any] = {}
    if any(method.needs_fit for method in methods):
        more["fit"] = fit_of(at)
    for what, way in perturbations(at.entry, methods).items():
        ids, *others = (bank_of(perturbed_identity(at, name, way)) for name in at.sets)
        more[what] = (ids, dict(zip(at.ood, others, strict=True)))
    return more


def start(at: Setup, methods: tuple[str, ...]) -> "Iterator[sweeping.Step]":
    """A sweep over the ID set and the OOD sets of a setup that has yet to run: advance it under the semaphore.

    Its first step refuses input that does not fit.
    """
    from ash.device import evaluation_device
    from ash.sweeping import sweep_steps

    tail, labels, ids = parts(at)[1], id_labels(at), bank(at, at.id_set)
    banks = {name: bank(at, name) for name in at.ood}
    parsed = [Method.parse(method) for method in methods]
    more = _more(at, parsed)

    def steps() -> "Iterator[sweeping.Step]":
        yield from sweep_steps(tail, ids, banks, parsed, id_labels=labels, device=evaluation_device(), **more)

    return steps()


def fresh(at: Setup, methods: tuple[str, ...]) -> Sweep:
    """Methods over the sets of a setup, evaluated now and not kept."""
    from ash.device import evaluation_device
    from ash.sweeping import sweep

    labels = id_labels(at)
    parsed = [Method.parse(method) for method in methods]
    more = _more(at, parsed)
    with semaphore:
        return sweep(
            parts(at)[1],
            bank(at, at.id_set),
            {name: bank(at, name) for name in at.ood},
            parsed,
            id_labels=labels,
            device=evaluation_device(),
            progress=semaphore.let_others,
            **more,
        )


def run(at: Setup, methods: tuple[str, ...]) -> tuple[Sweep, dict[str, str]]:
    """Methods over the sets of a setup, and where and when that was computed.

    Kept on disk: a restarted server reads it back. In memory it is cached by the functions of `evaluations`.
    """
    known = recall(at, methods)
    if known is not None:
        return known
    found = fresh(at, methods)
    return found, keep(at, methods, found)
