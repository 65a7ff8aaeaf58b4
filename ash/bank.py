"""A bank: the activations of one data set at one placement of one model, on disk.

    <root>/<model>/<placement>/<data set>-<key>/
        shard-00000.npy   activations (rows, ...), float32 or float16, written whole or not at all; of what ships, one
                          shard-00000.npz (`ash.extracting.packing`)
        shard-00000.json  its rows, SHA-256, and the images that were skipped; a shard counts once this file exists
        samples.csv       name and label of every row; samples.csv.gz in a packed bank
        manifest.json     identity, shape, checksums of all and of itself; a bank is complete once this file exists
        plan.json         rows a shard and images a batch, fixed by whoever began
        takeover.json     of an earlier bank: which identities it was compared with, and whether it is theirs
        provenance.json   device, versions, date
        *.lock            what the processes at work have claimed

The key is a hash of the identity (`ash.identity` builds it): change the weights, the network's code, the placement, the
transform, the images, the dtype or the precision, and it is another bank. One from before content
and code were told is taken over where they are proved to be the same (`ash.extracting.takeover`), in the folder that it
has. Activations are memory-mapped, and no byte is used before its checksum was compared.
"""

import contextlib
import csv
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import zlib
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ash import shipped
from ash.data import ASSETS, file_hash
from ash.extracting import claims, packing
from ash.files import BankError, DamagedError, map_npy, read_bytes, read_json, user_folder
from ash.files import write_atomically as write_atomically
from ash.files import write_json as write_json

SAMPLES = "samples_sha256"  # the manifest's key for the checksum of samples.csv; older banks have none
FORMAT = 1  # of the files below; another number is another bank
BUNDLED = ASSETS / "demo" / "banks"


def cache_root() -> Path:
    """Where this user's banks are kept: ASH_CACHE, or the `ash` folder of the user's cache directory."""
    return user_folder("ASH_CACHE", "XDG_CACHE_HOME", ".cache") / "banks"


@dataclass(frozen=True)
class BankIdentity:
    """All that decides what is in a bank. `weights` and `files` are hashes, `transform` is printed preprocessing.

    `dtype` is that of the stored activations, `precision` that of the stem: float32, or autocast to another. `files` is
    the list of images, `content` what is in them, `code` what the network computes besides its
    weights: hashes, "" in a bank of before they were told.
    """

    model: str
    weights: str
    placement: str
    transform: str
    dataset: str
    files: str
    dtype: str = "float32"
    precision: str = "float32"
    content: str = ""
    code: str = ""

    @property
    def fields(self) -> dict[str, str]:
        """As it is stored and hashed: without float32 precision and what is not told, so that banks keep their keys."""
        untold = {("precision", "float32"), ("content", ""), ("code", "")}
        return {name: value for name, value in asdict(self).items() if (name, value) not in untold}

    @property
    def earlier(self) -> "BankIdentity":
        """The same as banks had it before content and code were told."""
        return replace(self, content="", code="")

    @cached_property
    def key(self) -> str:
        """Twelve hex digits of the identity's hash."""
        text = json.dumps({"format": FORMAT, **self.fields}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @cached_property
    def folder(self) -> Path:
        """The bank's folder, relative to a root."""
        parts = (self.model, self.placement, f"{self.dataset}-{self.key}")
        return Path(*(re.sub(r"[^A-Za-z0-9._=-]", "_", part) for part in parts))


def shard_path(folder: Path, shard: int) -> Path:
    """The array file of a shard; its record has the suffix .json."""
    return folder / f"shard-{shard:05d}.npy"


class Bank:
    """A complete bank, opened for reading. Shards are checked against their checksums when first touched.

    An older one, which has no checksum of samples.csv, gets it in its manifest; opened `as_it_is` nothing is written.
    """

    def __init__(self, folder: Path, *, as_it_is: bool = False) -> None:
        self.folder, self._as_it_is = folder, as_it_is
        manifest, again = folder / "manifest.json", self._again("delete it and extract again.")
        self._manifest = read_json(manifest, again)
        try:
            self.identity = BankIdentity(**self._manifest["identity"])
            self.shape: tuple[int, ...] = (int(self._manifest["rows"]), *map(int, self._manifest["features"]))
            self.shards: list[dict[str, Any]] = self._manifest["shards"]
            self.skipped: list[dict[str, Any]] = self._manifest["skipped"]
            self._starts = np.cumsum([0] + [shard["rows"] for shard in self.shards])
            paths = [shard_path(folder, i) for i in range(len(self.shards))]
            if [shard["file"] for shard in self.shards] not in (
                [path.name for path in paths],
                [path.with_suffix(packing.SUFFIX).name for path in paths],
            ):
                raise ValueError("its shards are not in order")
            if self._starts[-1] != len(self):
                raise ValueError(f"its shards have {self._starts[-1]} of {len(self)} rows")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise BankError(f"{manifest} is damaged ({error}); {again}") from error
        self._shipped = SAMPLES not in self._manifest and folder.is_relative_to(shipped.FOLDER)
        if self._shipped and (wrong := shipped.complaint(manifest, file_hash(manifest))):
            raise BankError(wrong)
        self._open: dict[int, NDArray[np.floating]] = {}

    def __len__(self) -> int:
        return self.shape[0]

    def _again(self, otherwise: str) -> str:
        """What to do about a damaged file: of what ships none is made again here."""
        return shipped.AGAIN if self.folder.is_relative_to(shipped.FOLDER) else otherwise

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """Device, versions and date of the extraction; empty when that file was lost."""
        path = self.folder / "provenance.json"
        return read_json(path, self._again("delete it and extract again.")) if path.is_file() else {}

    @property
    def samples_file(self) -> Path:
        """The list of names and labels; of a packed bank it is packed too."""
        return self.folder / ("samples.csv.gz" if "bits" in self._manifest else "samples.csv")

    @cached_property
    def _samples(self) -> list[list[str]]:
        path, again = self.samples_file, self._again("extract the bank again.")
        try:
            content = read_bytes(path)
            if self._shipped and (wrong := shipped.complaint(path, hashlib.sha256(content).hexdigest())):
                raise BankError(wrong)
            content = gzip.decompress(content) if path.suffix == ".gz" else content
            digest = hashlib.sha256(content).hexdigest()
            if self._manifest.get(SAMPLES, digest) != digest:
                raise DamagedError("it does not match its checksum")
            rows = list(csv.reader(io.StringIO(content.decode(errors="surrogateescape"), newline="")))[1:]
            if len(rows) != len(self):
                raise DamagedError(f"it lists {len(rows)} of {len(self)} rows")
            rows = [[name, str(int(label))] for name, label in rows]
        except (OSError, EOFError, zlib.error, csv.Error, DamagedError) as error:
            raise BankError(f"{path} is damaged ({error}); {again}") from error
        except ValueError as error:
            if isinstance(error, BankError):
                raise
            raise BankError(f"{path} is damaged (a row is not a name and a label); {again}") from error
        if SAMPLES not in self._manifest and not (self._shipped or self._as_it_is):
            self._remember(digest)
        return rows

    def _remember(self, digest: str) -> None:
        """Add the checksum of samples.csv, and its own, to the manifest of a bank from before there were any."""
        with contextlib.suppress(OSError, BankError):  # a bank that cannot be written is read all the same
            held = claims.claim(self.folder / "extract.lock", shared=True)  # keeps the folder from being deleted
            if held is None:
                return
            with held:
                if (self.folder / "manifest.json").is_file():
                    self._manifest[SAMPLES] = digest
                    write_json(self.folder / "manifest.json", self._manifest)

    @property
    def names(self) -> list[str]:
        """The id of every row."""
        return [row[0] for row in self._samples]

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """The class of every row, -1 where unknown."""
        return np.array([int(row[1]) for row in self._samples], dtype=np.int64)

    def has_samples(self) -> bool:
        """Whether the list of names and labels is there and fits the rows."""
        try:
            return len(self.labels) == len(self)
        except BankError:
            return False

    def damaged(self) -> list[str]:
        """The shards whose file is missing or does not match its checksum, by file name."""
        return [shard["file"] for shard in self.shards if not self.intact(shard)]

    def intact(self, shard: dict[str, Any]) -> bool:
        """Whether a shard's file is there and matches its checksum."""
        path = self.folder / shard["file"]
        return path.is_file() and file_hash(path) == shard.get("sha256")

    def _shard(self, number: int) -> NDArray[np.floating]:
        if number not in self._open:
            shard = self.shards[number]
            path = self.folder / shard["file"]
            read = packing.unpacked if path.suffix == packing.SUFFIX else map_npy
            try:
                found = read(path, shard["sha256"])
                if (found.shape, found.dtype.name) != ((shard["rows"], *self.shape[1:]), self.identity.dtype):
                    raise DamagedError(f"it holds {found.dtype} of the shape {found.shape}")
            except (OSError, DamagedError) as error:
                again = self._again("run the extraction again: it rebuilds that shard alone.")
                raise BankError(f"{shard['file']} of the bank {self.folder} is missing or damaged; {again}") from error
            self._open[number] = found
        return self._open[number]

    def __getitem__(self, row: int) -> NDArray[np.floating]:
        """The activation of one row."""
        if not 0 <= row < len(self):
            raise IndexError(f"Row {row} of a bank with {len(self)} rows.")
        number = int(np.searchsorted(self._starts, row, "right")) - 1
        return self._shard(number)[row - self._starts[number]]

    def chunks(self, rows: int) -> Iterator[NDArray[np.floating]]:
        """The activations in order, at most `rows` at a time: views of the shards."""
        for number in range(len(self.shards)):
            shard = self._shard(number)
            for start in range(0, len(shard), rows):
                yield shard[start : start + rows]

    def read(self) -> NDArray[np.floating]:
        """All activations (n, ...): those of a single shard as they are, otherwise a copy in memory."""
        shards = [self._shard(number) for number in range(len(self.shards))]
        return shards[0] if len(shards) == 1 else np.concatenate(shards)


def roots(root: Path | None = None) -> tuple[Path, ...]:
    """Where banks are looked for: under `root` alone or, without it, in the user's cache and among the bundled ones."""
    return (cache_root(), BUNDLED) if root is None else (root,)


def find_bank(identity: BankIdentity, root: Path | None = None) -> Path | None:
    """A complete bank's folder, under one of the `roots`.

    An earlier bank, whose identity tells less, is found once it was taken over.
    """
    for base in roots(root):
        if _is_complete(base / identity.folder):
            return base / identity.folder
    earlier = (earlier_bank(identity, base) for base in roots(root))
    return next((folder for folder in earlier if folder and takeover(folder, identity) == ""), None)


def any_bank(model: str, placement: str, dataset: str, root: Path | None = None) -> bool:
    """Whether there is a complete bank of these names, of whatever weights, code and images: a quick look."""
    named = BankIdentity(model, "", placement, "", dataset, "").folder
    begins = named.name.removesuffix(named.name.rpartition("-")[2])
    parents = (base / named.parent for base in roots(root))
    return any(
        name.startswith(begins) and _is_complete(parent / name) for parent in parents for name in _names_in(parent)
    )


def _names_in(folder: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return os.listdir(folder)
    return []


def _is_complete(folder: Path) -> bool:
    with contextlib.suppress(OSError):  # a cache that cannot be read does not hide what ships
        return (folder / "manifest.json").is_file()
    return False


def earlier_bank(identity: BankIdentity, root: Path) -> Path | None:
    """The folder below `root` of a complete bank that could be this identity's, for what its own identity tells."""
    folder = root / identity.earlier.folder
    return folder if identity != identity.earlier and _is_complete(folder) else None


_taken: dict[tuple[Path, str], str] = {}  # what a cache that cannot be written does not keep


def takeover(folder: Path, identity: BankIdentity) -> str | None:
    """Whether an earlier bank is this identity's: "" if so, else why not, in words; None where nobody has looked."""
    if folder.is_relative_to(BUNDLED):  # what ships is of one piece, and the list of its files tells of which code
        return "" if identity.code == _bundled_code().get(identity.model) else "the network's code has changed"
    if (folder, identity.key) in _taken:
        return _taken[folder, identity.key]
    with contextlib.suppress(BankError):
        verdict = read_json(folder / "takeover.json").get(identity.key)
        return verdict if isinstance(verdict, str) else None
    return None


def note_takeover(folder: Path, identity: BankIdentity, verdict: str) -> None:
    """Keep what `takeover` tells of an earlier bank; in a folder that cannot be written, for this process."""
    _taken[folder, identity.key] = verdict
    path = folder / "takeover.json"
    known: dict[str, Any] = {}
    with contextlib.suppress(BankError):
        known = read_json(path)
    with contextlib.suppress(OSError):
        write_json(path, {**known, identity.key: verdict})


@cache
def _bundled_code() -> dict[str, str]:
    """The code of the networks whose banks ship."""
    with contextlib.suppress(BankError):
        return dict(read_json(BUNDLED.parent / "manifest.json").get("code", {}))
    return {}


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
    if folder.name != identity.folder.name and bank.identity == identity.earlier:  # it was taken over
        bank.identity = identity
    if bank.identity != identity:
        raise BankError(f"The manifest in {folder} belongs to another bank; delete the folder and extract again.")
    return bank


@dataclass(frozen=True)
class BankInfo:
    """A bank on disk, complete or begun.

    `identity` is None where it cannot be read, `rows` counts those of a complete bank, `bytes` every file.
    """

    folder: Path
    identity: BankIdentity | None
    complete: bool
    rows: int
    bytes: int
    bundled: bool


def list_banks(root: Path | None = None) -> list[BankInfo]:
    """All banks under the `roots`. Nothing is verified."""
    folders: set[Path] = set()
    for base in roots(root):
        with contextlib.suppress(OSError):  # a cache that cannot be read does not hide what ships
            folders |= {path.parent for path in base.glob("*/*/*/*.json")}
    return [_info(folder) for folder in sorted(folders) if not folder.name.startswith(".")]


def _info(folder: Path) -> BankInfo:
    size = 0
    for path in folder.glob("*"):
        with contextlib.suppress(OSError):  # an extraction at work renames files; a link may lead nowhere
            size += path.stat().st_size
    identity, rows = None, 0
    complete = (folder / "manifest.json").is_file()
    with contextlib.suppress(BankError, KeyError, TypeError):
        if complete:
            bank = Bank(folder)
            identity, rows = bank.identity, len(bank)
        else:
            identity = BankIdentity(**read_json(folder / "plan.json")["identity"])
    return BankInfo(folder, identity, complete and identity is not None, rows, size, folder.is_relative_to(BUNDLED))


@dataclass(frozen=True)
class Checked:
    """How far a verification is: shards compared with their checksums, and in total."""

    done: int
    total: int


def verify_steps(folder: Path) -> Generator[Checked, None, list[str]]:
    """Compare every shard of a complete bank with its checksum; yields after each, returns the damaged files' names."""
    bank = Bank(folder)
    damaged = [] if bank.has_samples() else [bank.samples_file.name]
    yield Checked(0, len(bank.shards))
    for number, shard in enumerate(bank.shards):
        damaged += [] if bank.intact(shard) else [shard["file"]]
        yield Checked(number + 1, len(bank.shards))
    return damaged


def delete_bank(folder: Path) -> None:
    """Delete a bank of the user's cache; BankError elsewhere, and while some process extracts it."""
    root = cache_root().resolve()
    inside = folder.resolve()
    if not inside.is_relative_to(root) or len(inside.relative_to(root).parts) != 3:
        raise BankError(f"{folder} is no bank in the cache {root}; only those are deleted.")
    if not inside.is_dir():
        raise BankError(f"There is no bank {folder}.")
    try:
        held = claims.claim(inside / "extract.lock")
        if held is None:
            raise BankError(f"The bank {folder} is being extracted: cancel that, or wait until it is done.")
        with held:
            gone = inside.with_name(f".deleted-{inside.name}-{os.getpid()}")
            inside.rename(gone)  # at once, so that nobody finds half a bank
            shutil.rmtree(gone)
        for left in inside.parent.glob(".deleted-*"):  # by processes that were killed while they deleted
            shutil.rmtree(left, ignore_errors=True)
    except OSError as error:
        raise BankError(f"{folder} cannot be deleted: {error.strerror or error}.") from error
