"""Tails that need one pass for each setting: settings one by one, each kept as soon as it is there.

The work that is under way outlives the script run that began it: a run that stops, because its user clicked somewhere,
leaves a setting half done, and the next run goes on in the middle of it.
"""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from app.backend.banks import Step, semaphore
from app.backend.engine import keep, recall, start
from app.backend.evaluations import react_thresholds
from app.backend.names import presets
from app.backend.setups import Setup
from ash.methods import Method
from ash.tables import Sweep

if TYPE_CHECKING:
    from ash import sweeping

DEEP_PERCENTILES = (65, 90, 80, 50)  # in the order in which they are computed


@dataclass
class _Work:
    """A sweep under way: the iterator, its methods, the share of it that is done, and the seconds it has taken."""

    methods: tuple[str, ...]
    steps: "Iterator[sweeping.Step]"
    share: float = 0.0
    seconds: float = 0.0

    @property
    def speed(self) -> float:
        """Settings a second."""
        return self.share * len(self.methods) / max(self.seconds, 1e-9)

    @property
    def left(self) -> float:
        """Seconds to go at the rate so far."""
        return self.seconds * (1 - self.share) / self.share if self.share else float("inf")


@dataclass
class _Known:
    """What is known at one placement with one score, shared by all users: method -> rows, and the work under way."""

    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    work: _Work | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


@st.cache_resource(max_entries=12, show_spinner=False)
def _known(at: Setup, score: str) -> _Known:
    return _Known()


def deep_methods(at: Setup, score: str) -> tuple[str, ...]:
    """The coarse settings of a deep tail, the most telling first."""
    shaped = [f"{variant}@{p}:{score}" for p in DEEP_PERCENTILES for variant in ("ash_b", "ash_s", "ash_p")]
    preset = [text for text in presets(at.model).values() if Method.parse(text).score == score]
    clipped = [f"react@{c}:{score}" for c in react_thresholds(at)[1::2]]
    return tuple(dict.fromkeys(str(Method.parse(text)) for text in (score, *preset, *shaped, *clipped)))


def deep_table(at: Setup, score: str) -> pd.DataFrame | None:
    """The rows of the settings computed so far, None before the first."""
    done = _known(at, score).tables
    return pd.concat(list(done.values()), ignore_index=True) if done else None


def deep_steps(at: Setup, score: str, methods: tuple[str, ...]) -> Iterator[Step]:
    """Evaluate those of these methods that are missing; yields several times a setting, counting whole settings.

    Stop to cancel; what is half done is kept. Call again to go on.
    """
    known = _known(at, score)
    for method in methods:  # what an earlier server kept on disk
        if method not in known.tables and (kept := recall(at, (method,))):
            known.tables[method] = _table(at, kept[0])
    while todo := [method for method in methods if method not in known.tables]:
        with known.lock:
            work = _advance(at, known, todo)
        done = sum(method in known.tables for method in methods)
        if work is not None:
            yield Step(Method.parse(todo[0]).label, done, len(methods), work.speed, work.left)


def _advance(at: Setup, known: _Known, todo: list[str]) -> _Work | None:
    """One step of the work under way, or of a new one where that is about other methods; None when it was the last."""
    work = known.work
    if work is None or work.methods[-1] in known.tables or not {*todo} <= {*work.methods}:
        steps = start(at, tuple(todo))
        work = known.work = _Work(tuple(todo), steps)
    begun = time.monotonic()
    with semaphore:
        step = next(work.steps, None)
    work.seconds += time.monotonic() - begun
    if step is None:
        known.work = None
        return None
    work.share = step.done / step.total
    if step.finished is not None:
        for row, method in enumerate(map(str, step.finished.methods)):
            one = step.finished.part([row])
            keep(at, (method,), one)
            known.tables[method] = _table(at, one)
    return work


def _table(at: Setup, some: Sweep) -> pd.DataFrame:
    return some.table(at.model, at.placement, at.id_set)
