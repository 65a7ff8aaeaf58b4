"""How a run's banks are read: all settings in one pass where the tail allows it, else one setting after another."""

import functools
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController
from torch import Tensor

from ash.device import describe
from ash.engine import steps
from ash.engine.activations import Reader, chunks_of, pooled
from ash.engine.grouped import Evaluator
from ash.engine.plan import Plan, SweepError
from ash.engine.steps import scaled
from ash.engine.tails import DeepTail

if TYPE_CHECKING:
    from ash.engine.runs import Run

Counts = Iterator[tuple[int, list[int]]]  # evaluations since the last, and the methods that are now complete


def in_one_pass(run: "Run", evaluator: Evaluator) -> Counts:
    """All settings at once, chunk by chunk of every bank."""

    reader = Reader(evaluator.device, evaluator.dtype)

    def evaluate(at: int, first: int, part: NDArray[np.floating]) -> None:
        rows = slice(first, first + len(part))
        try:
            x = reader(part, first, run.names[at])
            doubts = torch.zeros_like(run.doubts[at][:, rows])

            def features(position: int) -> Tensor:
                return pooled(steps.shape(run.settings[position], x, first))

            for positions, logits in evaluator.logits(x, first, doubts):
                run.keep(at, rows, positions, logits, features)
            run.doubts[at][:, rows] |= doubts
            return
        except torch.OutOfMemoryError as error:
            if len(part) == 1:
                raise SweepError(f"One sample does not fit into the memory of {describe(evaluator.device)}.") from error
        torch.cuda.empty_cache()
        half = len(part) // 2
        evaluate(at, first, part[:half])
        evaluate(at, first + half, part[half:])

    @torch.inference_mode()
    def work(at: int, first: int, part: NDArray[np.floating]) -> int:
        evaluate(at, first, part)
        return len(part) * len(run.plan.settings)

    chunks = ((at, *part) for at, bank in enumerate(run.banks) for part in chunks_of(bank, evaluator.rows))
    if evaluator.device.type == "cuda":
        yield from ((work(*chunk), []) for chunk in chunks)
    else:
        yield from ((count, []) for count in _threaded(work, chunks))
    yield 0, list(range(len(run.methods)))


def _threaded(work: Callable[..., int], chunks: Iterator[tuple[Any, ...]]) -> Iterator[int]:
    """The results of `work` on chunks, in order, from as many threads as torch may use; a few chunks are read ahead."""
    threads = torch.get_num_threads()
    with _starting:
        workers = _workers(threads)
    jobs: deque[Future[int]] = deque()
    with _products.of_one_thread():
        try:
            for chunk in chunks:
                jobs.append(workers.submit(work, *chunk))
                if len(jobs) > 2 * threads:
                    yield jobs.popleft().result()
            while jobs:
                yield jobs.popleft().result()
        finally:
            for job in jobs:
                job.cancel()


def by_setting(run: "Run", evaluator: DeepTail) -> Counts:
    """One setting after another, each on all banks; those with the same activation behind their steps together."""
    cutoffs = [evaluator.cutoffs(bank.shape[0]) for bank in run.banks]
    banks = _Held(run, evaluator)

    @torch.inference_mode()
    def work(positions: list[int], source: int | None, at: int, first: int, part: NDArray[np.floating]) -> None:
        rows, known, x = slice(first, first + len(part)), cutoffs[at], None
        if evaluator.kept.keys() & positions and not known.known[rows].all():
            x = banks.read(at, first, part)
            known.add(rows, x)
        new: Any = ...
        if source is not None:
            (position,) = positions
            same = known.positive[rows] <= evaluator.shared(position, source)
            run.copy(at, rows, position, source, same)
            if same.all():
                return
            new = ~same.to(evaluator.device) if same.any() else ...
        if x is None:
            x = banks.read(at, first, part)
        logits: Tensor | None = None  # what the tail makes of an activation that these settings have in common
        z = x
        for position in positions:
            shaped, factor = evaluator.shape(position, x, rows, known, run.doubts[at][position, rows])
            if logits is None:
                shaped = shaped.clone() if shaped is x else shaped  # the tail's first layer may work in place
                shaped = shaped[new]
                if any(not run.ready.keys().isdisjoint(run.plan.wanted[one]) for one in positions):
                    z = pooled(shaped).clone()
                logits = evaluator.logits(shaped)
            own = scaled(logits, None if factor is None else factor[new])
            run.keep(at, rows, [position], own[None], functools.partial(_itself, z), new)

    for positions in evaluator.alike:
        source = _source(run.plan, evaluator, positions[0]) if len(positions) == 1 else None
        for at, bank in enumerate(run.banks):
            for first, part in chunks_of(bank, evaluator.rows):
                work(positions, source, at, first, part)
                yield len(positions) * len(part), []
        yield 0, [method for position in positions for method in run.plan.methods_of(position)]


def _itself(z: Tensor, position: int) -> Tensor:
    """The features of all settings that have them in common."""
    return z


def _room(device: torch.device) -> int:
    """Bytes that activations may take on a device for as long as a run lasts."""
    return torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else 0


class _Held:
    """The chunks of all banks on a device, where they stay from one setting to the next as far as they fit.

    Half of a GPU's free memory is for them, the rest for the tail; where that is too little for the tail, which then
    takes smaller chunks, they are read anew for each setting, as they are on a CPU, whose disk cache holds them.
    """

    def __init__(self, run: "Run", evaluator: DeepTail) -> None:
        self._run, self._evaluator, self._rows = run, evaluator, evaluator.rows
        self._read = Reader(evaluator.device, evaluator.dtype)
        self._room = _room(evaluator.device)
        self._chunks: dict[tuple[int, int], Tensor] = {}

    def read(self, at: int, first: int, part: NDArray[np.floating]) -> Tensor:
        """The activations (R, ...) of a chunk of bank `at` that begins with sample `first`."""
        if self._rows != self._evaluator.rows:  # memory was short
            self._rows, self._room = self._evaluator.rows, 0
            self._chunks.clear()
        if (at, first) in self._chunks:
            return self._chunks[at, first]
        x = self._read(part, first, self._run.names[at])
        if x.nbytes <= self._room:
            self._room -= x.nbytes
            self._chunks[at, first] = x
        return x


def _source(plan: Plan, evaluator: DeepTail, position: int) -> int | None:
    """The earlier setting whose results are this one's too for the most samples, None where there is no such one."""
    wanted = plan.wanted[position].keys()
    shared = {other: evaluator.shared(position, other) for other in range(position)}
    able = [other for other, most in shared.items() if most > 0 and wanted <= plan.wanted[other].keys()]
    return max(able, key=shared.__getitem__, default=None)


class _Products:
    """numpy's matrix products: while several threads make some, each takes one, or they would fight over the cores.

    Its OpenBLAS has one number of threads for the whole process, so the first of many passes at once sets it and the
    last sets it back.
    """

    def __init__(self) -> None:
        self._lock, self._passes = threading.Lock(), 0
        self._limit: Any = None

    @contextmanager
    def of_one_thread(self) -> Iterator[None]:
        with self._lock:
            if not self._passes:
                self._limit = _openblas().limit(limits=1)
            self._passes += 1
        try:
            yield
        finally:
            with self._lock:
                self._passes -= 1
                if not self._passes:
                    self._limit.restore_original_limits()


@functools.cache
def _openblas() -> ThreadpoolController:
    """numpy's OpenBLAS; to look for it among all that is loaded takes longer than a small sweep's products."""
    return ThreadpoolController().select(internal_api="openblas")


_products = _Products()
_starting = threading.Lock()


@functools.cache
def _workers(threads: int) -> ThreadPoolExecutor:
    """Threads for shards of rows, with one torch thread each: sorting (numpy) and summing (torch) scale alike."""
    pool = ThreadPoolExecutor(threads, "ash-sweep", initializer=torch.set_num_threads, initargs=(1,))
    all_started = threading.Barrier(threads)
    list(pool.map(lambda _: all_started.wait(), range(threads)))
    torch.set_num_threads(threads)  # a worker's call also set the default for every thread yet to come
    return pool
