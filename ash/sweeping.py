"""Banks x methods -> scores per sample and a table of metrics, all percentiles in one pass where the tail allows it.

A tail that is one linear map, or pool + linear, takes all settings in one pass over the banks (`linear`); any other
tail runs once for each setting, setting by setting, on the shaped activations. Both give the numbers of
`method.shape -> tail -> score`, whatever the chunking.
"""

import functools
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ash.activations import checked, checked_labels, chunks_of, tensor_of
from ash.device import describe
from ash.linear import LinearSettings
from ash.methods import Method
from ash.plan import Plan, SweepError, predictions
from ash.splitting import LinearTail
from ash.tables import Sweep as Sweep
from ash.tails import DeepTail, evaluator_for


@dataclass(frozen=True)
class Step:
    """Progress of a sweep, in evaluations of a sample by a setting.

    `finished`: the methods that became complete with this step, on all banks; None between.
    """

    done: int
    total: int
    finished: Sweep | None = None


def sweep(
    tail: nn.Module | LinearTail,
    id_bank: Any,
    ood: Mapping[str, Any],
    methods: Sequence[Method],
    *,
    id_labels: Sequence[int] | NDArray[np.integer] | None = None,
    device: str | torch.device | None = None,
    precision: str = "float32",
    progress: Callable[[int, int], None] | None = None,
) -> Sweep:
    """Evaluate methods on the activations of the ID set and of OOD sets: banks or float arrays (n, ...).

    `id_labels` (N,) default to the bank's; -1 means unknown. `device` defaults to the tail's. `precision` is for tails
    that are not linear: "bfloat16" runs them under autocast, with channels last, which pays on a GPU; activations are
    shaped and logits scored in float32 all the same. (There is no "float16": ASH-S goes beyond its range.)
    `progress(done, total)` is called in this thread between steps and counts evaluations of a sample by a setting;
    what it raises ends the sweep. SweepError for input that does not fit, naming the sample where an activation is NaN
    or infinite.
    """
    run = _Run(tail, id_bank, ood, methods, id_labels, device, precision)
    done = 0
    for count, _ in run.parts():
        done += count
        if count and progress is not None:
            progress(done, run.total)
    return run.result(range(len(methods)))


def sweep_steps(
    tail: nn.Module | LinearTail,
    id_bank: Any,
    ood: Mapping[str, Any],
    methods: Sequence[Method],
    *,
    id_labels: Sequence[int] | NDArray[np.integer] | None = None,
    device: str | torch.device | None = None,
    precision: str = "float32",
) -> Iterator[Step]:
    """`sweep`, handing out what is finished as it comes: stop iterating to cancel.

    A tail that is not linear takes the settings in the order of the methods, each on all banks before the next; a
    linear one finishes all of them at the end. Input that does not fit is refused at once, except for NaN and infinity.
    One thread at a time may advance the iterator, not always the same.
    """
    return _Run(tail, id_bank, ood, methods, id_labels, device, precision).steps()


class _Run:
    """One sweep: what is asked for, and the scores and predictions so far. The ID set is set 0."""

    def __init__(
        self,
        tail: nn.Module | LinearTail,
        id_bank: Any,
        ood: Mapping[str, Any],
        methods: Sequence[Method],
        id_labels: Any,
        device: str | torch.device | None,
        precision: str,
    ) -> None:
        if not methods:
            raise SweepError("There is no method to evaluate: give at least one, for example Method.parse('energy').")
        self.methods, self.names = tuple(methods), ["ID", *ood]
        self.banks = [checked(name, bank) for name, bank in zip(self.names, [id_bank, *ood.values()], strict=True)]
        features = self.banks[0].shape[1:]
        for name, bank in zip(self.names, self.banks, strict=True):
            if bank.shape[1:] != features:
                raise SweepError(
                    f"The activations of {name} have the shape {bank.shape[1:]}, of the ID set {features}."
                )
        self.labels = checked_labels(self.banks[0], id_labels)
        self.plan = Plan(methods)
        dtypes = {bank[0].dtype for bank in self.banks}
        self.evaluator = evaluator_for(tail, features, self.plan.settings, dtypes, device, precision)
        device = self.evaluator.device
        dtype = torch.float64 if self.evaluator.dtype == torch.float64 else torch.float32
        self.scores = [torch.empty((len(methods), bank.shape[0]), dtype=dtype, device=device) for bank in self.banks]
        size = (len(self.plan.settings), self.banks[0].shape[0])
        self.predictions = torch.empty(size, dtype=torch.int32, device=device)

    def result(self, methods: Sequence[int]) -> Sweep:
        """Scores and predictions of these methods."""
        chosen = ... if len(methods) == len(self.methods) else list(methods)
        settings = [self.plan.setting[i] for i in methods]
        ids, *others = (scores[chosen].cpu().numpy() for scores in self.scores)
        names = dict(zip(self.names[1:], others, strict=True))
        return Sweep(
            tuple(self.methods[i] for i in methods), ids, names, self.predictions[settings].cpu().numpy(), self.labels
        )

    @property
    def total(self) -> int:
        """Evaluations of a sample by a setting."""
        return len(self.plan.settings) * sum(bank.shape[0] for bank in self.banks)

    def parts(self) -> "Counts":
        """Evaluate everything, part by part."""
        if isinstance(self.evaluator, DeepTail):
            return _by_setting(self, self.evaluator)
        return _in_one_pass(self, self.evaluator)

    def steps(self) -> Iterator[Step]:
        """Evaluate everything, step by step."""
        done = 0
        for count, methods in self.parts():
            done += count
            yield Step(done, self.total, self.result(methods) if methods else None)

    def keep(self, at: int, rows: slice, positions: list[int], logits: Tensor, chosen: Any = ...) -> None:
        """Score logits (positions, R, C) of the samples `rows` of set `at`, or of the `chosen` (bool) among them."""
        if at == 0:
            for position, predicted in zip(positions, predictions(logits), strict=True):
                self.predictions[position, rows][chosen] = predicted.to(torch.int32)
        for method, scores in self.plan.score(positions, logits):
            self.scores[at][method, rows][chosen] = scores.to(self.scores[at].dtype)

    def copy(self, at: int, rows: slice, position: int, source: int, same: Tensor) -> None:
        """What setting `source` has given for the samples `same` (R,) of `rows`, to another setting."""
        if at == 0:
            _copy(self.predictions, position, source, rows, same)
        for score, methods in self.plan.wanted[position].items():
            for method in methods:
                _copy(self.scores[at], method, self.plan.wanted[source][score][0], rows, same)


def _copy(array: Tensor, to: int, source: int, rows: slice, same: Tensor) -> None:
    array[to, rows] = torch.where(same.to(array.device), array[source, rows], array[to, rows])


Counts = Iterator[tuple[int, list[int]]]  # evaluations since the last, and the methods that are now complete


def _in_one_pass(run: _Run, evaluator: LinearSettings) -> Counts:
    """All settings at once, chunk by chunk of every bank."""

    def evaluate(at: int, first: int, x: Tensor) -> None:
        try:
            for positions, logits in evaluator.logits(x, first):
                run.keep(at, slice(first, first + len(x)), positions, logits)
            return
        except torch.OutOfMemoryError as error:
            if len(x) == 1:
                raise SweepError(f"One sample does not fit into the memory of {describe(evaluator.device)}.") from error
        torch.cuda.empty_cache()
        half = len(x) // 2
        evaluate(at, first, x[:half])
        evaluate(at, first + half, x[half:])

    @torch.inference_mode()
    def work(at: int, first: int, part: NDArray[np.floating]) -> int:
        evaluate(at, first, tensor_of(part, first, run.names[at]).to(evaluator.device, evaluator.dtype))
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


def _by_setting(run: _Run, evaluator: DeepTail) -> Counts:
    """One setting after another, each on all banks."""
    cutoffs = [evaluator.cutoffs(bank.shape[0]) for bank in run.banks]

    @torch.inference_mode()
    def work(position: int, source: int | None, at: int, first: int, part: NDArray[np.floating]) -> None:
        rows, known, x = slice(first, first + len(part)), cutoffs[at], None
        if position in evaluator.kept and not known.known[rows].all():
            x = tensor_of(part, first, run.names[at]).to(evaluator.device, evaluator.dtype)
            known.add(rows, x)
        new: Any = ...
        if source is not None:
            same = known.positive[rows] <= evaluator.shared(position, source)
            run.copy(at, rows, position, source, same)
            if same.all():
                return
            new = ~same.to(evaluator.device) if same.any() else ...
        if x is None:
            x = tensor_of(part, first, run.names[at]).to(evaluator.device, evaluator.dtype)
        shaped = evaluator.shape(position, x, rows, known)
        run.keep(at, rows, [position], evaluator.logits(shaped[new])[None], new)

    for position in range(len(run.plan.settings)):
        source = _source(run.plan, evaluator, position)
        for at, bank in enumerate(run.banks):
            for first, part in chunks_of(bank, evaluator.rows):
                work(position, source, at, first, part)
                yield len(part), []
        yield 0, run.plan.methods_of(position)


def _source(plan: Plan, evaluator: DeepTail, position: int) -> int | None:
    """The earlier setting whose results are this one's too for the most samples, None where there is no such one."""
    wanted = plan.wanted[position].keys()
    shared = {other: evaluator.shared(position, other) for other in range(position)}
    able = [other for other, most in shared.items() if most > 0 and wanted <= plan.wanted[other].keys()]
    return max(able, key=shared.__getitem__, default=None)


_starting = threading.Lock()


@functools.cache
def _workers(threads: int) -> ThreadPoolExecutor:
    """Threads for shards of rows, with one torch thread each: sorting (numpy) and summing (torch) scale alike."""
    pool = ThreadPoolExecutor(threads, "ash-sweep", initializer=torch.set_num_threads, initargs=(1,))
    all_started = threading.Barrier(threads)
    list(pool.map(lambda _: all_started.wait(), range(threads)))
    torch.set_num_threads(threads)  # a worker's call also set the default for every thread yet to come
    return pool
