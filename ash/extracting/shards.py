"""The shards of a bank that is being extracted, by one process or by many that share its folder.

Every process takes free shards one at a time, by claiming them; a finished shard is one whose record exists, whoever
made it. Who sees all of them finished writes the manifest: the same bytes, whoever it is.
"""

import csv
import hashlib
import io
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ash.bank import SAMPLES, Bank, BankIdentity, shard_path
from ash.data import ImageSet, file_hash
from ash.extracting import claims
from ash.files import BankError, json_bytes, read_bytes, read_json, remove_unfinished, write_atomically, write_json

SHARD_ROWS = 2048
SHARD_BYTES = 32 << 20
LEAST_ROWS, SHARES = 64, 64  # a set is cut into 64 shards, as far as they have 64 rows: to share, and to lose little
LOOK_SECONDS = 0.5
POLL_SECONDS = 0.2  # between two looks at what other processes have finished or let go
EARLIER_BATCH = 128  # of banks from before there was a plan.json


@dataclass(frozen=True)
class Progress:
    """How far an extraction is, by whatever process: images done and in total, of those done the ones skipped.

    `by`: who is waited for, in words, where nothing is left to compute but what another process works on. `note` says
    at the first step what made a bank that is there already outdated, "" for nothing.
    """

    done: int
    total: int
    skipped: int
    by: str = ""
    note: str = ""


@dataclass(frozen=True)
class Plan:
    """What all processes that work on a bank must have in common: images a batch, and rows a shard."""

    batch_size: int
    shard_rows: int

    def shards(self, total: int) -> list[range]:
        """The images of every shard."""
        return [range(start, min(start + self.shard_rows, total)) for start in range(0, total, self.shard_rows)]


def shard_rows(total: int, row_bytes: int) -> int:
    """Rows a shard, from the set's size and the activation's alone, so that every run has the same shards."""
    share = LEAST_ROWS * math.ceil(total / (LEAST_ROWS * SHARES))
    return max(1, min(share, SHARD_ROWS, SHARD_BYTES // row_bytes))


def read_plan(folder: Path) -> Plan | None:
    """The plan of a bank that was begun, None for a new one. Without plan.json the first shard tells it."""
    path = folder / "plan.json"
    if not os.path.lexists(path):
        rows = _size(_record(shard_path(folder, 0).with_suffix(".json")))
        return Plan(EARLIER_BATCH, rows) if rows else None
    content = read_json(path)
    values = [content.get(name) for name in ("batch_size", "shard_rows")]
    if not all(isinstance(value, int) and value > 0 for value in values):
        raise BankError(f"{path} is damaged (no batch_size, shard_rows); delete it and extract again.")
    return Plan(*values)  # type: ignore[arg-type]


def _record(path: Path) -> dict[str, Any]:
    """A shard's record; empty when it is damaged."""
    try:
        return read_json(path)
    except BankError:
        return {}


def _size(record: dict[str, Any]) -> int:
    """How many images a shard's record is about, broken ones included."""
    try:
        return int(record["rows"]) + len(record["skipped"])
    except (KeyError, TypeError, ValueError):
        return 0


def write_plan(folder: Path, plan: Plan, who: BankIdentity) -> None:
    """Fix a plan; only under the claim on `plan.lock`, so that the first one stays."""
    write_json(folder / "plan.json", {**vars(plan), "identity": who.fields})


def forget_shards(folder: Path) -> None:
    """Have all shards computed again: those of a plan that is lost could be taken for other images."""
    for record in folder.glob("shard-*.json"):
        record.unlink()


class Shards:
    """The shards of one bank: which are finished, and claims on those that this process works on."""

    def __init__(self, folder: Path, plan: Plan, total: int) -> None:
        self.folder, self.ranges, self._total = folder, plan.shards(total), total
        self._records: dict[int, dict[str, Any]] = {}
        self._claims: dict[int, claims.Claim] = {}
        self._damaged: set[int] = set()  # of these the existence of a record says nothing
        self._looked = -math.inf
        for shard in range(len(self.ranges)):
            if self._finished(shard, verify=True) is None and self._record_path(shard).exists():
                self._damaged.add(shard)

    def _record_path(self, shard: int) -> Path:
        return shard_path(self.folder, shard).with_suffix(".json")

    def _finished(self, shard: int, verify: bool = False) -> dict[str, Any] | None:
        """The record of a shard that is finished and, if `verify` or once found damaged, intact; otherwise None."""
        if shard in self._records:
            return self._records[shard]
        if not self._record_path(shard).is_file():
            return None
        record = _record(self._record_path(shard))
        if _size(record) != len(self.ranges[shard]):
            return None
        if verify or shard in self._damaged:
            path = shard_path(self.folder, shard)
            if not path.is_file() or record.get("sha256") != file_hash(path):
                return None
        self._records[shard] = record
        return record

    def look(self) -> bool:
        """See what other processes have finished, at most once in LOOK_SECONDS; whether everything is."""
        if time.monotonic() > self._looked + LOOK_SECONDS:
            self._scan()
        return len(self._records) == len(self.ranges)

    def _scan(self) -> None:
        there = {path.name for path in self.folder.glob("shard-*.json")}  # one listing, not a question for each shard
        for shard in self._open():
            if self._record_path(shard).name in there:
                self._finished(shard)
        self._looked = time.monotonic()

    def _open(self) -> list[int]:
        return [shard for shard in range(len(self.ranges)) if shard not in self._records]

    @property
    def done(self) -> int:
        """Images in the finished shards seen so far."""
        return sum(len(self.ranges[shard]) for shard in self._records)

    @property
    def skipped(self) -> int:
        """Broken images in the finished shards seen so far."""
        return sum(len(record["skipped"]) for record in self._records.values())

    def holder(self) -> str:
        """Who works on the first shard that is not finished, in words; "" where nobody does."""
        return next((claims.holder(shard_path(self.folder, shard).with_suffix(".lock")) for shard in self._open()), "")

    def take(self) -> int | None:
        """Claim the first shard that is neither finished nor claimed; None when there is none."""
        self._scan()
        for shard in self._open():
            if shard in self._claims:
                continue
            path = shard_path(self.folder, shard)
            claim = claims.claim(path.with_suffix(".lock"))
            if claim is None:
                continue
            if self._finished(shard):  # between the look and the claim
                claim.release()
                continue
            self._claims[shard] = claim
            self._record_path(shard).unlink(missing_ok=True)  # a damaged one
            return shard
        return None

    def share(
        self, compute: Callable[[int], Iterable[tuple[int, int]]], sleep: Callable[[float], None]
    ) -> Iterator[Progress]:
        """Take shards until all are finished, by this process or by others; says how far all of them are.

        `compute(shard)` finishes one that was taken, and others if it likes; it yields the images done and skipped in
        the shard at hand. `sleep` waits for other processes.
        """
        total = self._total
        try:
            yield Progress(self.done, total, self.skipped)
            while not self.look():
                taken = self.take()
                if taken is None:  # others are at work on the rest: wait for them, or for what they let go
                    sleep(POLL_SECONDS)
                    yield Progress(self.done, total, self.skipped, self.holder())
                    continue
                for done, skipped in compute(taken):
                    yield Progress(self.done + done, total, self.skipped + skipped)
            yield Progress(self.done, total, self.skipped)
        finally:
            self.release()

    def write(self, shard: int, activations: NDArray[np.floating], skipped: list[dict[str, Any]]) -> None:
        """Finish a shard that this process has claimed, and let it go."""
        buffer = io.BytesIO()
        np.save(buffer, activations, allow_pickle=False)
        path, content = shard_path(self.folder, shard), buffer.getvalue()
        digest = hashlib.sha256(content).hexdigest()
        write_atomically(path, content)
        record = {"file": path.name, "rows": len(activations), "sha256": digest, "skipped": skipped}
        write_json(self._record_path(shard), record)
        self._records[shard] = record
        self._claims.pop(shard).release()

    def release(self) -> None:
        """Let go of everything that is not finished."""
        while self._claims:
            self._claims.popitem()[1].release()

    def finish(self, who: BankIdentity, data: ImageSet, labels: NDArray[np.int64], features: tuple[int, ...]) -> Bank:
        """Write samples with these labels and, last, the manifest that makes the bank complete; only under the claim on
        `plan.lock`."""
        records = [dict(self._records[shard]) for shard in range(len(self.ranges))]
        skipped = [image for record in records for image in record.pop("skipped")]
        rows = sum(record["rows"] for record in records)
        if rows == 0:
            raise BankError(
                f"None of the {len(data)} images of {data.label} is readable; first: {skipped[0]['reason']}"
            )
        missing = {image["index"] for image in skipped}
        table = io.StringIO(newline="")
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(("name", "label"))
        writer.writerows((data.names[i], int(labels[i])) for i in range(len(data)) if i not in missing)
        samples = table.getvalue().encode()
        about = {"identity": who.fields, "rows": rows, "features": list(features), "shards": records}
        about[SAMPLES] = hashlib.sha256(samples).hexdigest()
        _write_changed(self.folder / "samples.csv", samples)
        _write_changed(self.folder / "manifest.json", json_bytes({**about, "skipped": skipped}))
        for names in ("samples.csv", "manifest.json", "plan.json", "provenance.json"):
            remove_unfinished(self.folder, names)
        return Bank(self.folder)


def _write_changed(path: Path, content: bytes) -> None:
    if not path.is_file() or read_bytes(path) != content:
        write_atomically(path, content)


def note(folder: Path, facts: dict[str, Any], device: str, remark: str = "") -> None:
    """Add a process's device and remark to `provenance.json`; only under the claim on `plan.lock`."""
    path = folder / "provenance.json"
    try:
        before = read_json(path) if path.is_file() else {}
    except BankError:
        before = {}  # it informs, nothing depends on it
    devices = {*filter(None, str(before.get("device", "")).split("; ")), device}
    remarks = {*before.get("remarks", []), *filter(None, [remark])}
    now = {**facts, "device": "; ".join(sorted(devices)), "date": datetime.now(UTC).isoformat(timespec="seconds")}
    write_json(path, {**now, "remarks": sorted(remarks)} if remarks else now)
