"""Tails that need one pass for each setting: settings one by one, each kept as soon as it is there.

The work that is under way outlives the script run that began it: a run that stops, because its user clicked somewhere,
leaves a setting half done, and the next run goes on in the middle of it.
"""

import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd

from app.backend.banks import Step
from app.backend.caches import cache_resource
from app.backend.engine import keep, recall, start
from app.backend.evaluations import react_thresholds
from app.backend.fits import fit_of
from app.backend.protocol import ALL, TEST, VALIDATION, part_of, problem
from app.backend.registry import presets
from app.backend.setups import Setup
from app.backend.turns import semaphore
from ash.methods import Method
from ash.tables import Sweep

if TYPE_CHECKING:
    from ash import sweeping

DEEP_PERCENTILES = (65, 90, 80, 50)  # in the order in which they are computed
MOST_IDLE = 4  # half-done works that nobody goes on with now, of one placement and score


@dataclass(eq=False)
class _Work:
    """A sweep under way: its methods, those it has not finished, its share done, its seconds, who advances it now."""

    methods: tuple[str, ...]
    steps: "Iterator[sweeping.Step]"
    left: list[str]
    share: float = 0.0
    seconds: float = 0.0
    users: int = 0
    seen: float = field(default_factory=time.monotonic)  # when it was last advanced

    @property
    def speed(self) -> float:
        """Settings a second."""
        return self.share * len(self.methods) / max(self.seconds, 1e-9)

    @property
    def seconds_left(self) -> float:
        """Seconds to go at the rate so far."""
        return self.seconds * (1 - self.share) / self.share if self.share else float("inf")


@dataclass
class _Known:
    """What is known at one placement with one score, shared by all users, and what is under way.

    `tables`: method -> part of the images -> rows.
    Users with other methods have works of their own: whoever has the turn on the device advances a work that is at a
    method of his, so nobody's half-done work is thrown away by another.
    """

    tables: dict[str, dict[str, pd.DataFrame]] = field(default_factory=dict)
    works: list[_Work] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)  # of the list: never waited for with the device held


@cache_resource(max_entries=12)
def _known(at: Setup, score: str) -> _Known:
    return _Known()


def deep_methods(at: Setup, score: str) -> tuple[str, ...]:
    """The coarse settings of a deep tail, the most telling first."""
    shaped = [f"{variant}@{p}:{score}" for p in DEEP_PERCENTILES for variant in ("ash_b", "ash_s", "ash_p")]
    preset = [text for text in presets(at.model).values() if Method.parse(text).score == score]
    clipped = [f"react@{c}:{score}" for c in react_thresholds(at)[1::2]]
    return tuple(dict.fromkeys(str(Method.parse(text)) for text in (score, *preset, *shaped, *clipped)))


def deep_table(at: Setup, score: str, part: str = ALL) -> pd.DataFrame | None:
    """The rows of the settings computed so far, on a part of the images; None before the first."""
    done = _known(at, score).tables
    return pd.concat([rows[part] for rows in done.values()], ignore_index=True) if done else None


def deep_left(at: Setup, score: str, methods: tuple[str, ...]) -> list[str]:
    """Those of these methods that are to be evaluated; what an earlier server kept on disk is read."""
    tables = _known(at, score).tables
    for method in methods:
        if method not in tables and (kept := recall(at, (method,))):
            tables[method] = _tables(at, kept[0])
    return [method for method in methods if method not in tables]


def deep_steps(at: Setup, score: str, methods: tuple[str, ...]) -> Generator[Step, None, None]:
    """Evaluate those of these methods that are missing; yields several times a setting, counting whole settings.

    Stop to cancel; what is half done is kept. Call again to go on.
    """
    known, todo, work = _known(at, score), deep_left(at, score, methods), None
    if any(Method.parse(method).needs_fit for method in todo):
        fit_of(at)  # before, and not with the list of works locked
    try:
        while todo:
            with known.lock:
                work = _chosen(at, known, todo, work)
            label = Method.parse(todo[0]).label
            _take_turn(at, known, work, todo)
            todo = [method for method in methods if method not in known.tables]
            yield Step(label, len(methods) - len(todo), len(methods), work.speed, work.seconds_left)
    finally:
        if work is not None:
            with known.lock:
                work.users -= 1


def _chosen(at: Setup, known: _Known, todo: list[str], before: _Work | None) -> _Work:
    """The work to advance: one that is at a method to do, as early as any is; a new one for all where there is none.

    It counts one user more; the one before, if any, one less.
    """
    at_work = {work.left[0]: work for work in known.works if work.left}
    work = next((at_work[method] for method in todo if method in at_work), None)
    if work is None:
        idle = sorted((one for one in known.works if not one.users), key=lambda one: -one.seen)
        gone = {id(one) for one in [*idle[MOST_IDLE - 1 :], *(one for one in idle if not one.left)]}
        work = _Work(tuple(todo), start(at, tuple(todo)), list(todo))
        known.works = [*(one for one in known.works if id(one) not in gone), work]
    if before is not None:
        before.users -= 1
    work.users += 1
    return work


def _take_turn(at: Setup, known: _Known, work: _Work, todo: list[str]) -> None:
    """Advance a work by a step, or by as many as the turn has room for and are for a method to do; keep what it ends.

    What is finished is known before the turn is over, so that nobody begins it again.
    """
    begun = time.monotonic()
    with semaphore:
        goes_on = True
        while goes_on and work.left and work.left[0] in todo:
            finished = _advance(work)
            if finished is not None:
                for row, method in enumerate(map(str, finished.methods)):
                    one = finished.part([row])
                    keep(at, (method,), one)
                    known.tables[method] = _tables(at, one)
            goes_on = semaphore.goes_on()
        now = time.monotonic()
        work.seconds, work.seen = work.seconds + now - max(begun, work.seen), now


def _advance(work: _Work) -> Sweep | None:
    """One step of a work; what was finished with it, if anything."""
    try:
        step = next(work.steps, None)
    except BaseException:
        work.left.clear()  # a broken iterator: whoever goes on begins anew
        raise
    if step is None:
        work.left.clear()
        return None
    work.share = step.done / step.total
    if step.finished is not None:
        done = set(map(str, step.finished.methods))
        work.left[:] = [method for method in work.left if method not in done]
    return step.finished


def _tables(at: Setup, some: Sweep) -> dict[str, pd.DataFrame]:
    """The rows of a sweep on each part of the images; on all of them alone where they cannot be split."""
    parts = (ALL,) if problem(at) else (ALL, TEST, VALIDATION)
    return {part: part_of(some, at, part).table(at.model, at.placement, at.id_set) for part in parts}
