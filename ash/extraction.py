"""Images -> bank: run the stem over a data set once, shard by shard, alone or beside other processes.

Work is shared through the bank's folder alone, so a run goes on where another one stopped, was killed or still works.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ash.bank import BUNDLED, Bank, BankError, BankIdentity, cache_root, find_bank, open_bank
from ash.data import DataError, ImageSet
from ash.datasets.content import Content
from ash.device import best_device, describe
from ash.extracting import claims
from ash.extracting.cost import Cost as Cost
from ash.extracting.cost import cost as cost
from ash.extracting.decoding import Chunk, decoded, default_workers, is_killed_worker
from ash.extracting.shards import POLL_SECONDS, Plan, Shards, forget_shards, note, read_plan, shard_rows, write_plan
from ash.extracting.shards import Progress as Progress
from ash.extracting.stems import FEWEST, Fetched, Stem, best_batch, stem_of
from ash.extracting.takeover import take_over
from ash.features.banks import bank_steps, check_belongs, feature_set
from ash.identity import Recipe, check_precision, identified, outdated
from ash.identity import identity as identity
from ash.labels import read, without_skipped
from ash.methods import Perturbation
from ash.networks.entries import ModelEntry

SMALL_SET, SMALL_SET_BATCH = 256, 32  # sets that are done before the best batch size would be found


def _batches(chunks: Iterable[Chunk], plan: Plan, total: int, device: torch.device) -> Iterator[Chunk]:
    """Chunks joined to the batches of the plan, their pixels on the device."""
    pixels, skipped, start = list[Tensor](), list[dict[str, Any]](), -1
    for chunk in chunks:
        start = chunk.images.start if start < 0 else start
        pixels.append(chunk.pixels.to(device, non_blocking=True))
        skipped += chunk.skipped
        stop = chunk.images.stop
        if stop - start == plan.batch_size or stop % plan.shard_rows == 0 or stop == total:
            yield Chunk(range(start, stop), torch.cat(pixels), skipped)
            pixels, skipped, start = [], [], -1


def _activations(
    stem: Stem, batches: Iterable[Chunk], dtype: str
) -> Iterator[tuple[range, NDArray[np.floating], list[dict[str, Any]]]]:
    """Per batch: which images, activations of the readable ones, the skipped ones. A GPU works two batches ahead."""
    ahead = 2 if stem.device.type == "cuda" else 0
    waiting = deque[tuple[Chunk, Fetched | None]]()

    def arrived() -> tuple[range, NDArray[np.floating], list[dict[str, Any]]]:
        batch, values = waiting.popleft()
        return batch.images, values.numpy(dtype) if values else np.empty(0, dtype), batch.skipped

    for batch in batches:
        waiting.append((batch, Fetched(stem(batch.pixels)) if len(batch.pixels) else None))
        if len(waiting) > ahead:
            yield arrived()
    while waiting:
        yield arrived()


def _taken(shards: Shards, first: int, batch_size: int) -> Iterator[range]:
    """The batches of the first shard and then of every further one that is free, claimed as they are asked for."""
    shard: int | None = first
    while shard is not None:
        images = shards.ranges[shard]
        yield from (images[i : i + batch_size] for i in range(0, len(images), batch_size))
        shard = shards.take()


@dataclass
class _Run:
    """One process's part in an extraction."""

    who: BankIdentity
    folder: Path
    data: ImageSet
    labels: NDArray[np.int64]
    content: Content
    stem: Stem
    workers: int
    features: tuple[int, ...]
    sleep: Callable[[float], None]

    def planned(self, batch_size: int | None) -> Generator[Progress, None, Plan]:
        """The plan in the bank's folder, or a new one that is fixed there."""
        row_bytes = int(np.prod(self.features)) * np.dtype(self.who.dtype).itemsize
        lock = self.folder / "plan.lock"
        while (held := claims.claim(lock)) is None:
            self.sleep(POLL_SECONDS)
            if not (self.folder / "plan.json").exists():  # another process finds a batch size, which takes seconds
                yield Progress(0, len(self.data), 0, claims.holder(lock))
        with held:
            plan = read_plan(self.folder)
            if plan is None:
                rows = shard_rows(len(self.data), row_bytes)
                if batch_size is None:
                    small = len(self.data) < SMALL_SET
                    batch_size = SMALL_SET_BATCH if small else best_batch(self.stem, rows, lambda: self.sleep(0))
                plan = Plan(batch_size, rows)
                forget_shards(self.folder)
            if not (self.folder / "plan.json").exists():
                write_plan(self.folder, plan, self.who)
        self.stem.fewest = min(FEWEST, plan.batch_size)
        return plan

    def share(self, plan: Plan) -> Generator[Progress, None, Bank]:
        """Take shards until all are finished, by this process or by others; then the bank is complete."""
        shards = Shards(self.folder, plan, len(self.data))
        yield from shards.share(lambda first: self._compute(shards, first, plan), self.sleep)
        with claims.wait(self.folder / "plan.lock"):
            return shards.finish(self.who, self.data, self.labels, self.features)

    def _compute(self, shards: Shards, first: int, plan: Plan) -> Iterator[tuple[int, int]]:
        """Compute the first shard, then every free one. Yields after each batch the images done and skipped in the
        shard at hand."""
        stem, ranges = self.stem, _taken(shards, first, plan.batch_size)
        decoding = decoded(self.data, stem.geometry, stem.pixels, ranges, workers=self.workers, device=stem.device)
        with closing(decoding) as chunks:  # a killed worker is reported until its loader is gone
            batches = _batches(chunks, plan, len(self.data), stem.device)
            parts, skipped = list[NDArray[np.floating]](), list[dict[str, Any]]()
            for images, values, broken in _activations(stem, batches, self.who.dtype):
                shard = images.start // plan.shard_rows
                parts += [values] if len(values) else []
                skipped += broken
                shards.look()
                if images.stop < shards.ranges[shard].stop:
                    yield images.stop - shards.ranges[shard].start, len(skipped)
                    continue
                self.content.check(shards.ranges[shard])
                shards.write(shard, np.concatenate([np.empty((0, *self.features), self.who.dtype), *parts]), skipped)
                parts, skipped = [], []
                if shard == first or stem.limit != self._noted:
                    self._note(plan)
                yield 0, 0

    _noted: int | None = None  # the limit that the provenance tells of

    def _note(self, plan: Plan) -> None:
        """Leave in the provenance where this process works, and whether batches were halved there."""
        self._noted, device = self.stem.limit, describe(self.stem.device)
        versions = {"torch": torch.__version__, "numpy": np.__version__}
        facts = {"versions": versions, "batch_size": plan.batch_size, "precision": self.who.precision}
        remark = f"Batches halved to {self._noted}: out of memory on {device}." if self._noted else ""
        with claims.wait(self.folder / "plan.lock"):
            note(self.folder, facts, device, remark)


def _intact(who: BankIdentity, root: Path | None) -> Bank | None:
    """The bank of this identity where it is complete and every file of it is as it was written."""
    try:
        bank = open_bank(who, root)
    except BankError:  # a damaged manifest: the shards that are there are used, and it is written again
        return None
    return None if bank.damaged() or not bank.has_samples() else bank


def extract_steps(
    entry: ModelEntry,
    placement: str,
    data: ImageSet,
    *,
    root: Path | None = None,
    device: torch.device | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    dtype: str = "float32",
    precision: str = "float32",
    epsilon: Perturbation = 0.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Generator[Progress, None, Bank]:
    """Extract a bank step by step: yields after every batch, returns the bank.

    Whoever iterates may stop at any step; the shards written so far stay, and the next call goes on after them. Several
    processes may extract one bank at once: they share its shards. A bank that is there and intact is returned as it is,
    a damaged shard is rebuilt. `batch_size` None is found by trying; the size that a bank was begun with is kept.
    `workers` None is a default for the device, 0 decodes in this process. `dtype` is that of the stored activations,
    `precision` that of the stem: float32, or autocast to bfloat16 or float16. With `epsilon` it is another bank, of the
    images as ODIN perturbs them with this step, or as AdaSCALE does ("adascale"), for about four times the work.
    `sleep` is how it waits for other processes, and for none (0 s) between the trials of batch sizes.
    A bank of earlier code or images stays beside it. BankError when nothing can be written, DataError when images
    change meanwhile.
    """
    check_belongs(data, entry.name, entry.features)
    recipe = Recipe(entry, placement, data, dtype, precision, epsilon)
    who, content = identified(recipe)
    device = device or best_device()
    check_precision(precision, device)
    labels = read(data, entry.classes).labels
    known = find_bank(who, root) or take_over(entry, data, who, epsilon, root, device)
    bank = _intact(who, root) if known else None
    if bank is not None and np.array_equal(bank.labels, without_skipped(labels, bank)):  # as they are read today
        claims.tidy(bank.folder)
        yield Progress(len(data), len(data), len(bank.skipped))
        return bank
    if feature_set(data):
        folder = (root or cache_root()) / who.folder
        try:
            return (yield from bank_steps(who, folder, data, labels, sleep))
        except OSError as error:
            raise _not_written(folder, error) from error
    if not data.has_images:
        raise DataError(
            f"The images of {data.label} are not here: run `python -m ash fetch {data.name.split('=')[0]}`."
        )
    folder, at = (root or cache_root()) / who.folder, who
    if known is not None and not known.is_relative_to(BUNDLED) and known != folder:
        folder, at = known, who.earlier  # one that was taken over, and is damaged or has other labels now
    elif known is None and (old := outdated(who, root, {*entry.hashes().values()} - {who.weights})):
        note = f"The activations of {data.name} in {old[0]} are outdated: {old[1]}. They stay, new ones are computed."
        yield Progress(0, len(data), 0, note=note)
    stem = stem_of(recipe, device)
    workers = default_workers(device) if workers is None else workers
    run = _Run(at, folder, data, labels, content, stem, workers, stem.features(), sleep)
    try:
        with claims.wait(folder / "extract.lock", shared=True):  # keeps the folder from being deleted
            plan = yield from run.planned(batch_size)
            bank = yield from run.share(plan)
        claims.tidy(folder)
        bank.identity = who
        return bank
    except OSError as error:
        raise _not_written(folder, error) from error
    except RuntimeError as error:
        if not is_killed_worker(error):
            raise
        raise BankError(
            "A decoding process was killed, for want of memory or of room in /dev/shm: take fewer with --workers."
        ) from error


def _not_written(folder: Path, error: OSError) -> BankError:
    reason = error.strerror or error
    return BankError(f"{folder} cannot be written: {reason}. Set ASH_CACHE to a folder with room.")


def extract(
    entry: ModelEntry,
    placement: str,
    data: ImageSet,
    *,
    progress: Callable[[Progress], None] | None = None,
    **options: Any,
) -> Bank:
    """`extract_steps` in one go, with an optional callback after every batch. Options as there."""
    steps = extract_steps(entry, placement, data, **options)
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return end.value
        if progress:
            progress(step)
