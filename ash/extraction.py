"""Images -> bank: run the stem over a data set once, shard by shard, and resume where an earlier run stopped."""

import csv
import io
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ash import splitting
from ash.bank import (
    Bank,
    BankError,
    BankIdentity,
    cache_root,
    find_bank,
    read_json,
    shard_path,
    write_atomically,
    write_json,
)
from ash.data import ImageError, ImageSet, file_hash
from ash.device import best_device, describe
from ash.models import ModelEntry

SHARD_ROWS = 2048
SHARD_BYTES = 32 << 20


@dataclass(frozen=True)
class Progress:
    """How far an extraction is: images done and in total, of those done the ones skipped as broken."""

    done: int
    total: int
    skipped: int


def identity(entry: ModelEntry, placement: str, data: ImageSet, dtype: str = "float32") -> BankIdentity:
    """Which bank this model, placement and data set have; `penultimate` is the entry's last placement."""
    if dtype not in ("float32", "float16"):
        raise BankError(f"A bank holds float32 or float16, not {dtype}.")
    node = list(entry.placements)[-1] if placement == splitting.PENULTIMATE else placement
    weights, transform = entry.weights_hash(), repr(entry.preprocess)
    return BankIdentity(entry.name, weights, node, transform, data.name, data.fingerprint, dtype)


class _Decoded(Dataset[tuple[int, Tensor | None, str]]):
    """(index, input tensor or None, why it is None) for every image; what the worker processes run."""

    def __init__(self, data: ImageSet, transform: Callable[[Any], Tensor]) -> None:
        self.data, self.transform = data, transform

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[int, Tensor | None, str]:
        try:
            return index, self.transform(self.data.image(index)), ""
        except ImageError as error:
            return index, None, str(error)


def _plan(total: int, features: torch.Size, dtype: str) -> list[range]:
    """The images of every shard: a function of the set's size and the activation's size alone."""
    row_bytes = features.numel() * np.dtype(dtype).itemsize
    rows = max(1, min(SHARD_ROWS, SHARD_BYTES // row_bytes))
    return [range(start, min(start + rows, total)) for start in range(0, total, rows)]


def _record(folder: Path, shard: int) -> dict[str, Any] | None:
    """The record of a finished shard whose bytes are intact, otherwise None."""
    path = shard_path(folder, shard)
    if not (path.with_suffix(".json").is_file() and path.is_file()):
        return None
    try:
        record = read_json(path.with_suffix(".json"))
    except BankError:
        return None  # a damaged record is a missing one
    return record if record.get("sha256") == file_hash(path) else None


def _write_shard(folder: Path, shard: int, activations: NDArray[np.floating], skipped: list[dict[str, Any]]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, activations, allow_pickle=False)
    path = shard_path(folder, shard)
    write_atomically(path, buffer.getvalue())
    write_json(
        path.with_suffix(".json"),
        {"file": path.name, "rows": len(activations), "sha256": file_hash(path), "skipped": skipped},
    )


def _finish(
    folder: Path, who: BankIdentity, data: ImageSet, features: torch.Size, device: torch.device, shards: int
) -> Bank:
    """Write the list of samples, the provenance and, last, the manifest that makes the bank complete."""
    records = [read_json(shard_path(folder, shard).with_suffix(".json")) for shard in range(shards)]
    skipped = [image for record in records for image in record.pop("skipped")]
    rows = sum(record["rows"] for record in records)
    if rows == 0:
        raise BankError(f"None of the {len(data)} images of {data.label} is readable; first: {skipped[0]['reason']}")
    missing = {image["index"] for image in skipped}
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("name", "label"))
    writer.writerows((data.names[i], int(data.labels[i])) for i in range(len(data)) if i not in missing)
    write_atomically(folder / "samples.csv", table.getvalue().encode())
    versions = {"torch": torch.__version__, "numpy": np.__version__}
    when = datetime.now(UTC).isoformat(timespec="seconds")
    write_json(folder / "provenance.json", {"device": describe(device), "versions": versions, "date": when})
    manifest = {"identity": vars(who), "rows": rows, "features": list(features), "shards": records, "skipped": skipped}
    write_json(folder / "manifest.json", manifest)
    return Bank(folder)


def _forward(stem: nn.Module, x: Tensor) -> Tensor:
    """The stem's output; a batch that does not fit on the device is halved until it does."""
    try:
        return stem(x)
    except torch.OutOfMemoryError:
        if len(x) == 1:
            raise
        torch.cuda.empty_cache()
        return torch.cat([_forward(stem, half) for half in x.chunk(2)])


def _activations(
    stem: nn.Module, loader: DataLoader[Any], device: torch.device, dtype: str
) -> Iterator[tuple[NDArray[np.floating], list[dict[str, Any]], int]]:
    """Per batch: activations of the readable images, the skipped ones, and how many images it was."""
    for batch in loader:
        good = [image for _, image, _ in batch if image is not None]
        skipped = [{"index": i, "reason": why} for i, image, why in batch if image is None]
        values = np.empty(0, dtype)
        if good:
            x = torch.stack(good).to(device, memory_format=torch.channels_last, non_blocking=True)
            values = _forward(stem, x).contiguous().cpu().numpy().astype(dtype, copy=False)
            if not np.isfinite(values).all():
                raise BankError(
                    f"Activations are not finite in {dtype}: float16 is too small, or the weights are broken."
                )
        yield values, skipped, len(batch)


def extract_steps(
    entry: ModelEntry,
    placement: str,
    data: ImageSet,
    *,
    root: Path | None = None,
    device: torch.device | None = None,
    batch_size: int = 128,
    workers: int = 0,
    dtype: str = "float32",
) -> Generator[Progress, None, Bank]:
    """Extract a bank step by step: yields after every batch, returns the bank.

    Whoever iterates may stop at any step; the shards written so far stay, and the next call goes on after them. A bank
    that is there and intact is returned as it is, a damaged shard is rebuilt. BankError when nothing can be written.
    """
    who = identity(entry, placement, data, dtype)
    known = find_bank(who, root)
    if known is not None and not (bank := Bank(known)).damaged():
        yield Progress(len(data), len(data), len(bank.skipped))
        return bank
    folder = (root or cache_root()) / who.folder
    device = device or best_device()
    stem = splitting.split(entry.build(), who.placement)[0].to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.inference_mode():
        features = stem(torch.zeros(1, *entry.preprocess.shape, device=device)).shape[1:]
    plan = _plan(len(data), features, dtype)
    pending = [shard for shard in range(len(plan)) if _record(folder, shard) is None]
    batches = [list(plan[s][i : i + batch_size]) for s in pending for i in range(0, len(plan[s]), batch_size)]
    loader = DataLoader(
        _Decoded(data, entry.preprocess.build()),
        batch_sampler=batches,
        collate_fn=list,
        num_workers=workers,  # type: ignore[arg-type]
    )
    done, broken = len(data) - sum(len(plan[s]) for s in pending), 0
    yield Progress(done, len(data), broken)
    steps = _activations(stem, loader, device, dtype)
    try:
        for shard in pending:
            parts, skipped, seen = [np.empty((0, *features), dtype)], list[dict[str, Any]](), 0
            while seen < len(plan[shard]):
                with torch.inference_mode():  # not across the yield: it would leak into the caller's code
                    values, bad, count = next(steps)
                parts += [values] if len(values) else []
                skipped += bad
                seen, done, broken = seen + count, done + count, broken + len(bad)
                if seen < len(plan[shard]):
                    yield Progress(done, len(data), broken)
            _write_shard(folder, shard, np.concatenate(parts), skipped)
            yield Progress(done, len(data), broken)
        return _finish(folder, who, data, features, device, len(plan))
    except OSError as error:
        reason = error.strerror or error
        raise BankError(f"{folder} cannot be written: {reason}. Set ASH_CACHE to a folder with room.") from error


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
