"""A bank: the activations of one data set at one placement of one model, on disk.

    <root>/<model>/<placement>/<data set>-<key>/
        shard-00000.npy   activations (rows, ...), float32 or float16, written whole or not at all
        shard-00000.json  its rows, SHA-256, and the images that were skipped; a shard counts once this file exists
        samples.csv       name and label of every row
        manifest.json     identity, shape and checksums of all; a bank is complete once this file exists
        provenance.json   device, versions, date

The key is a hash of the identity: change the weights, the placement, the transform, the files or the dtype, and it is
another bank. Activations are memory-mapped, and no byte is used before its checksum was compared.
"""

import contextlib
import csv
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ash.data import ASSETS, file_hash

FORMAT = 1  # of the files below; another number is another bank
BUNDLED = ASSETS / "demo" / "banks"


class BankError(RuntimeError):
    """A bank is missing, incomplete or damaged; the message says which, where and what to do."""


def cache_root() -> Path:
    """Where this user's banks are kept: ASH_CACHE, or the `ash` folder of the user's cache directory."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("ASH_CACHE") or base / "ash").expanduser() / "banks"


@dataclass(frozen=True)
class BankIdentity:
    """All that decides what is in a bank. `weights` and `files` are hashes, `transform` is printed preprocessing."""

    model: str
    weights: str
    placement: str
    transform: str
    dataset: str
    files: str
    dtype: str = "float32"

    @property
    def key(self) -> str:
        """Twelve hex digits of the identity's hash."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def folder(self) -> Path:
        """The bank's folder, relative to a root."""
        parts = (self.model, self.placement, f"{self.dataset}-{self.key}")
        return Path(*(re.sub(r"[^A-Za-z0-9._=-]", "_", part) for part in parts))


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, also when the process is killed or the disk is full."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's files are private; a bank may be shared
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, keys sorted, so that equal content is equal bytes."""
    write_atomically(path, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; BankError when the file is damaged."""
    try:
        content = json.loads(path.read_text())
        if not isinstance(content, dict):
            raise ValueError("not an object")
    except (OSError, ValueError) as error:
        raise BankError(f"{path} is damaged ({error}); delete it and extract again.") from error
    return content


def shard_path(folder: Path, shard: int) -> Path:
    """The array file of a shard; its record has the suffix .json."""
    return folder / f"shard-{shard:05d}.npy"


class Bank:
    """A complete bank, opened for reading. Shards are checked against their checksums when first touched."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        manifest = read_json(folder / "manifest.json")
        try:
            self.identity = BankIdentity(**manifest["identity"])
            self.shape: tuple[int, ...] = (int(manifest["rows"]), *map(int, manifest["features"]))
            self._shards: list[dict[str, Any]] = manifest["shards"]
            self.skipped: list[dict[str, Any]] = manifest["skipped"]
            self._starts = np.cumsum([0] + [shard["rows"] for shard in self._shards])
        except (KeyError, TypeError, ValueError) as error:
            raise BankError(f"{folder / 'manifest.json'} is damaged ({error}); delete it and extract again.") from error
        self._open: dict[int, NDArray[np.floating]] = {}

    def __len__(self) -> int:
        return self.shape[0]

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Device, versions and date of the extraction; empty when that file was lost."""
        path = self.folder / "provenance.json"
        return read_json(path) if path.exists() else {}

    @cached_property
    def _samples(self) -> list[list[str]]:
        path = self.folder / "samples.csv"
        try:
            with path.open(newline="") as file:
                rows = list(csv.reader(file))[1:]
        except (OSError, csv.Error) as error:
            raise BankError(f"{path} is damaged ({error}); extract the bank again.") from error
        if len(rows) != len(self):
            raise BankError(
                f"{self.folder / 'samples.csv'} lists {len(rows)} of {len(self)} rows; extract the bank again."
            )
        return rows

    @property
    def names(self) -> list[str]:
        """The id of every row."""
        return [row[0] for row in self._samples]

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """The class of every row, -1 where unknown."""
        return np.array([int(row[1]) for row in self._samples], dtype=np.int64)

    def damaged(self) -> list[str]:
        """The shards whose file is missing or does not match its checksum, by file name."""
        return [shard["file"] for shard in self._shards if not self._intact(shard)]

    def _intact(self, shard: dict[str, Any]) -> bool:
        path = self.folder / shard["file"]
        return path.is_file() and file_hash(path) == shard["sha256"]

    def _shard(self, number: int) -> NDArray[np.floating]:
        if number not in self._open:
            shard = self._shards[number]
            if not self._intact(shard):
                raise BankError(
                    f"{shard['file']} of the bank {self.folder} is missing or damaged; "
                    "run the extraction again: it rebuilds that shard alone."
                )
            self._open[number] = np.load(self.folder / shard["file"], mmap_mode="r", allow_pickle=False)
        return self._open[number]

    def __getitem__(self, row: int) -> NDArray[np.floating]:
        """The activation of one row."""
        if not 0 <= row < len(self):
            raise IndexError(f"Row {row} of a bank with {len(self)} rows.")
        number = int(np.searchsorted(self._starts, row, "right")) - 1
        return self._shard(number)[row - self._starts[number]]

    def chunks(self, rows: int) -> Iterator[NDArray[np.floating]]:
        """The activations in order, at most `rows` at a time, as memory maps."""
        for number in range(len(self._shards)):
            shard = self._shard(number)
            for start in range(0, len(shard), rows):
                yield shard[start : start + rows]

    def read(self) -> NDArray[np.floating]:
        """All activations (n, ...): the memory map of a single shard, otherwise a copy in memory."""
        shards = [self._shard(number) for number in range(len(self._shards))]
        return shards[0] if len(shards) == 1 else np.concatenate(shards)


def find_bank(identity: BankIdentity, root: Path | None = None) -> Path | None:
    """A complete bank's folder: under `root` alone or, without it, in the user's cache or among the bundled ones."""
    for base in (cache_root(), BUNDLED) if root is None else (root,):
        if (base / identity.folder / "manifest.json").is_file():
            return base / identity.folder
    return None


def open_bank(identity: BankIdentity, root: Path | None = None) -> Bank:
    """The complete bank of this identity; BankError when there is none or it is another one's."""
    folder = find_bank(identity, root)
    if folder is None:
        raise BankError(
            f"There is no bank of {identity.dataset} at {identity.placement} of {identity.model} yet: run "
            f"`python -m ash extract --model {identity.model} --placement {identity.placement} "
            f"--data {identity.dataset}`."
        )
    bank = Bank(folder)
    if bank.identity != identity:
        raise BankError(f"The manifest in {folder} belongs to another bank; delete the folder and extract again.")
    return bank
