"""The trade-off's grid where it takes long: a first look at some of the images, then all of it in steps.

The steps outlive the run of the page that takes them: a click interrupts it, and the next run goes on where it stopped.
"""

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app.backend.banks import Step, bank, id_labels
from app.backend.caches import cache_resource
from app.backend.engine import keep, kept, parts, start
from app.backend.evaluations import at_hand, grid_methods, grid_takes_long
from app.backend.fits import fit_of
from app.backend.setups import Setup
from app.backend.turns import semaphore
from ash.methods import Method, perturbations
from ash.tables import Sweep

if TYPE_CHECKING:
    from ash import sweeping

FIRST_IMAGES, FIRST_STEP = 300, 10  # of each set, and percentiles between two settings, in a first look


@dataclass(eq=False)
class _Work:
    """A grid under way: its steps, how many evaluations are done and to do, the seconds they took."""

    total: int
    steps: "Iterator[sweeping.Step] | None" = None
    done: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Evaluations a second."""
        return self.done / max(self.seconds, 1e-9)


@cache_resource(max_entries=2)
def _work(at: Setup, score: str) -> _Work:
    return _Work(len(grid_methods(at, score)) * sum(len(bank(at, name)) for name in at.sets))


def progress(at: Setup, score: str) -> Step:
    """How far it is, in evaluations of an image by a setting."""
    work = _work(at, score)
    left = (work.total - work.done) / work.rate if work.done else float("inf")
    return Step(f"{len(grid_methods(at, score))} settings", work.done, work.total, work.rate, left)


def steps(at: Setup, score: str) -> Generator[Step, None, None]:
    """Measure the grid, yielding as it goes on. Stop to cancel; call again, in any session, to go on."""
    methods, work = grid_methods(at, score), _work(at, score)
    while grid_takes_long(at, score):
        with semaphore:
            if grid_takes_long(at, score):  # nobody else has finished it meanwhile
                _advance(at, score, methods, work)
        yield progress(at, score)


def _advance(at: Setup, score: str, methods: tuple[str, ...], work: _Work) -> None:
    """One step, the device being held; what it finishes is kept."""
    begun = time.monotonic()
    try:
        work.steps = work.steps or start(at, methods)
        step = next(work.steps)
    except BaseException:
        work.steps, work.done, work.seconds = None, 0, 0.0  # a broken iterator: whoever goes on begins anew
        raise
    work.done, work.total, work.seconds = step.done, step.total, work.seconds + time.monotonic() - begun
    if step.finished is not None:
        origin, work.steps = keep(at, methods, step.finished), None
        at_hand()[at, score] = None if kept(at, methods) else (step.finished, origin)


def first_look(at: Setup, score: str, more: tuple[str, ...]) -> pd.DataFrame:
    """The rows of every second percentile of the grid and of some methods more, on FIRST_IMAGES images of each set.

    A method that looks at perturbed images is left out.
    """
    more = tuple(text for text in more if not perturbations(at.entry, [Method.parse(text)]))
    every = [(text, Method.parse(text).percentile) for text in grid_methods(at, score)]
    some = tuple(text for text, p in every if p is None or p % FIRST_STEP == 0)
    extra = tuple(text for text in more if text not in some)
    looks = [_looked(at, methods) for methods in (some, extra) if methods]
    return pd.concat([one.table(at.model, at.placement, at.id_set) for one in looks], ignore_index=True)


@cache_resource(max_entries=16)
def _looked(at: Setup, methods: tuple[str, ...]) -> Sweep:
    """Some methods on evenly spaced images."""
    from ash.device import evaluation_device
    from ash.sweeping import sweep

    parsed = [Method.parse(text) for text in methods]
    fit = fit_of(at) if any(method.needs_fit for method in parsed) else None
    with semaphore:
        return sweep(
            parts(at)[1],
            _some(at, at.id_set),
            {name: _some(at, name) for name in at.ood},
            parsed,
            id_labels=id_labels(at)[_rows(at, at.id_set)],
            device=evaluation_device(),
            progress=semaphore.let_others,
            fit=fit,
        )


def _rows(at: Setup, name: str) -> NDArray[np.int64]:
    count = len(bank(at, name))
    return np.linspace(0, count - 1, min(FIRST_IMAGES, count)).astype(np.int64)


def _some(at: Setup, name: str) -> NDArray[np.floating]:
    """(n, C, ...) the activations of those rows."""
    one = bank(at, name)
    return np.stack([one[row] for row in _rows(at, name).tolist()])
