"""Banks x methods -> scores per sample and a table of metrics, all percentiles in one pass where the tail allows it.

A linear tail, or pool + linear, goes through `bands`; any other tail runs once for each setting on the shaped
activations, batch by batch. Both give the numbers of `method.shape -> tail -> score`, whatever the chunking.
"""

import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ash import bands
from ash.bands import Bands, Setting
from ash.methods import Method
from ash.scores import SCORES
from ash.splitting import LinearTail
from ash.tables import Sweep as Sweep
from ash.tails import DeepTail, evaluator_for


class Plan:
    """Which settings some methods need, and which method wants which score of which setting."""

    def __init__(self, methods: Sequence[Method]) -> None:
        self.settings: list[Setting] = list(dict.fromkeys((m.variant, m.parameter) for m in methods))
        self.setting = [self.settings.index((m.variant, m.parameter)) for m in methods]  # of every method
        self.wanted: dict[str, dict[int, list[int]]] = {}  # score -> setting -> methods
        for i, method in enumerate(methods):
            self.wanted.setdefault(method.score, {}).setdefault(self.setting[i], []).append(i)

    def score(self, positions: list[int], logits: Tensor) -> Iterator[tuple[list[int], NDArray[np.floating]]]:
        """Methods and their scores (methods, R), given these settings' logits (positions, R, C)."""
        for name, settings in self.wanted.items():
            at = [i for i, position in enumerate(positions) if position in settings]
            owners = [(method, row) for row, i in enumerate(at) for method in settings[positions[i]]]
            if at:
                chosen = logits if len(at) == len(positions) else logits[at]
                fast = name == "energy"
                scores = (
                    bands.fast_energy(chosen) if fast else SCORES[name](chosen.flatten(0, 1)).view(chosen.shape[:2])
                )
                yield [method for method, _ in owners], scores.cpu().numpy()[[row for _, row in owners]]


def sweep(
    tail: nn.Module | LinearTail,
    id_bank: Any,
    ood: Mapping[str, Any],
    methods: Sequence[Method],
    *,
    id_labels: Sequence[int] | NDArray[np.integer] | None = None,
    device: str | torch.device | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Sweep:
    """Evaluate methods on the activations of the ID set and of OOD sets: banks or float arrays (n, ...).

    `id_labels` (N,) default to the bank's; -1 means unknown. `device` defaults to the tail's. `progress(done, total)`
    is called in this thread between steps and counts evaluations of a sample by a setting; what it raises ends the
    sweep. ValueError for input that does not fit, naming the sample where an activation is NaN or infinite.
    """
    if not methods:
        raise ValueError("There is no method to evaluate: give at least one, for example Method.parse('energy').")
    id_bank, ood = _checked("ID", id_bank), {name: _checked(name, bank) for name, bank in ood.items()}
    features = id_bank.shape[1:]
    for name, bank in ood.items():
        if bank.shape[1:] != features:
            raise ValueError(f"The activations of {name} have the shape {bank.shape[1:]}, of the ID set {features}.")
    labels = _labels(id_bank, id_labels)
    plan = Plan(methods)
    banks = (id_bank, *ood.values())
    evaluator = evaluator_for(tail, features, plan.settings, {bank[0].dtype for bank in banks}, device)
    done, total = 0, len(plan.settings) * sum(bank.shape[0] for bank in banks)

    def step(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    predictions = np.empty((len(plan.settings), id_bank.shape[0]), np.int32)
    id_scores = _evaluate(evaluator, plan, "ID", id_bank, step, predictions)
    ood_scores = {name: _evaluate(evaluator, plan, name, bank, step) for name, bank in ood.items()}
    return Sweep(tuple(methods), id_scores, ood_scores, predictions[plan.setting], labels)


def _checked(name: str, bank: Any) -> Any:
    """A bank as it is, anything else as a float array (n, ...)."""
    if not hasattr(bank, "chunks"):
        bank = np.asarray(bank)
        if bank.dtype.kind != "f":
            raise ValueError(f"The activations of {name} must be floating point, got {bank.dtype}.")
    if len(bank.shape) < 2 or 0 in bank.shape:
        raise ValueError(f"The activations of {name} have the shape {bank.shape}, not (n, ...) with n > 0.")
    return bank


def _labels(id_bank: Any, labels: Any) -> NDArray[np.int64] | None:
    labels = getattr(id_bank, "labels", None) if labels is None else labels
    if labels is None:
        return None
    labels = np.asarray(labels, dtype=np.int64)
    if labels.shape != id_bank.shape[:1]:
        raise ValueError(f"There are {labels.size} labels for {id_bank.shape[0]} ID samples.")
    return labels


def _evaluate(
    evaluator: Bands | DeepTail,
    plan: Plan,
    who: str,
    bank: Any,
    step: Callable[[int], None],
    predictions: NDArray[np.int32] | None = None,
) -> NDArray[np.floating]:
    """Scores (methods, n) of one bank; fills `predictions` (settings, n) where given."""
    dtype = np.float64 if evaluator.dtype == torch.float64 else np.float32
    scores = np.empty((len(plan.setting), bank.shape[0]), dtype)

    @torch.inference_mode()
    def work(first: int, part: NDArray[np.floating]) -> Iterator[int]:
        """Evaluate one chunk; yields the evaluations done since the last time."""
        rows = slice(first, first + len(part))
        x = _tensor(part, first, who).to(evaluator.device, evaluator.dtype)
        for positions, logits in evaluator.logits(x, first):
            if predictions is not None:
                predictions[positions, rows] = bands.predictions(logits)
            for methods, values in plan.score(positions, logits):
                scores[methods, rows] = values
            yield len(part) * len(positions)

    if isinstance(evaluator, DeepTail) or evaluator.device.type == "cuda":
        for first, part in _parts(bank, evaluator.rows):
            for count in work(first, part):
                step(count)
        return scores
    with _starting:
        workers = _workers(torch.get_num_threads())
    jobs = [workers.submit(lambda job: sum(work(*job)), job) for job in _parts(bank, evaluator.rows)]
    try:
        for job in jobs:
            step(job.result())
    finally:
        for job in jobs:
            job.cancel()
    return scores


def _parts(bank: Any, rows: int) -> Iterator[tuple[int, NDArray[np.floating]]]:
    """Index of the first sample and activations (at most rows, ...), one chunk after another."""
    first = 0
    slices = bank.chunks(rows) if hasattr(bank, "chunks") else (bank[i : i + rows] for i in range(0, len(bank), rows))
    for part in slices:
        yield first, part
        first += len(part)


def _tensor(part: NDArray[np.floating], first: int, who: str) -> Tensor:
    """A writable copy in row-major order, float32 or float64; ValueError names the first sample that is not finite."""
    x = torch.from_numpy(part.astype(np.float64 if part.dtype.itemsize > 4 else np.float32, order="C"))
    if not torch.isfinite(x.sum()):  # one cheap number tells that all is well; a sum may overflow, so look closer
        finite = torch.isfinite(x.flatten(1)).all(1)
        if not finite.all():
            index = first + int(finite.int().argmin())
            raise ValueError(f"The activation of sample {index} of {who} holds NaN or infinity.")
    return x


_starting = threading.Lock()


@functools.cache
def _workers(threads: int) -> ThreadPoolExecutor:
    """Threads for shards of rows, with one torch thread each: sorting (numpy) and summing (torch) scale alike."""
    pool = ThreadPoolExecutor(threads, "ash-sweep", initializer=torch.set_num_threads, initargs=(1,))
    all_started = threading.Barrier(threads)
    list(pool.map(lambda _: all_started.wait(), range(threads)))
    torch.set_num_threads(threads)  # a worker's call also set the default for every thread yet to come
    return pool
