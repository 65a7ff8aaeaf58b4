"""What is on this machine: models, data sets, banks, read without torch; and who may change it from the browser.

A look at the disk holds for a while, and ends when a job of this server does (`refresh`).
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import streamlit as st

from app.backend import setups
from app.backend.caches import cache_resource
from app.backend.hosts import hostname
from app.backend.setups import FRESH
from app.link import streamlit_private
from ash import plugins
from ash.bank import BUNDLED, BankError, BankInfo, cache_root, list_banks
from ash.data import (
    ASSETS,
    DATASETS,
    DatasetEntry,
    MadeEntry,
    Status,
    data_root,
    dataset_entry,
    own_sets,
    sets_left_out,
)
from ash.errors import AshError
from ash.files import read_json
from ash.images import left_out_words
from ash.labels import class_counts, listed
from ash.models import MODELS, ModelError, get_model, offered_models
from ash.networks import timm_models, torchvision_models
from ash.networks.checkpoints import find_weights
from ash.networks.entries import ModelEntry

LASTING = 60.0  # seconds for which a look at the data folder holds: it takes 0.4 s with 60,000 images
SETTING, COMPUTE = "ASH_LIBRARY", "ASH_COMPUTE"  # environment: on, off, or auto
_LOCAL = ("localhost", "127.0.0.1", "::1")
_FORWARDED = (  # headers of a proxy: the browser may be anywhere
    *("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Server"),
    *("X-Real-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "X-Original-Host", "True-Client-Ip", "Cf-Connecting-Ip"),
)


def library_on() -> bool:
    """Whether the browser of this session may fetch, extract, verify and delete.

    ASH_LIBRARY=on or off says so. Otherwise (auto): where this machine alone is served, and asks itself.
    """
    return _allowed(SETTING)


def may_compute() -> bool:
    """Whether the browser of this session may start what writes activations to the disk of the server.

    ASH_COMPUTE=on or off says so. Otherwise (auto) as the Library: whoever has not decided does not lend out the disk.
    """
    return _allowed(COMPUTE)


def may_be_built(model: str) -> bool:
    """Whether a link may have this server build a network: of timm's one with weights here, or for who may compute."""
    return may_compute() or not timm_models.is_of_timm(model) or model in timm_models.names_with_weights()


def require_library() -> None:
    """AshError where the Library is off: a hidden button is not a lock."""
    if not library_on():
        raise AshError(f"The Library of this server is off; whoever starts it sets {SETTING}=on to allow this.")


def require_compute() -> None:
    """AshError where computing is off for this browser."""
    if not may_compute():
        raise AshError(
            f"Computing activations from the browser is off on this server; whoever starts it sets {COMPUTE}=on to "
            "allow it, or computes them with `python -m ash extract`."
        )


def _allowed(setting: str) -> bool:
    said = os.environ.get(setting, "").strip().lower() or "auto"
    if said != "auto":
        return said == "on"
    return st.get_option("server.address") in _LOCAL and _asks_itself()


def _asks_itself() -> bool:
    """Whether the browser of this session is on this machine, on a page of this server.

    What a proxy says counts, and what one leaves out: it or its browser calls the server or the page by another name.
    """
    headers = st.context.headers
    host, origin = headers.get("Host"), headers.get("Origin")
    if not streamlit_private.is_served():  # a program runs the pages by itself; a lost browser has no headers either
        return True
    same = origin in (f"http://{host}", f"https://{host}")
    client = st.context.ip_address  # None: this machine
    here = hostname(host) in _LOCAL and (client is None or client in _LOCAL)
    return same and here and not any(headers.get(name) for name in _FORWARDED)


def shown(text: object) -> str:
    """A path, or a sentence with paths, for the page: where the Library is off, without the folders of this server."""
    words = str(text)
    if library_on():
        return words
    bases = [("ASH_DATA", data_root()), ("ASH_CACHE", cache_root().parent), ("assets", ASSETS), *_home()]
    bases += [(plugins.VARIABLE, file.parent) for file in plugins.files()]
    for name, base in sorted(bases, key=lambda item: -len(str(item[1]))):
        for path in {base, base.resolve()}:
            words = words.replace(str(path), name)
    return words


def _home() -> Iterator[tuple[str, Path]]:
    with suppress(RuntimeError):  # an account without a home folder
        yield "~", Path.home()


def data_folder() -> str:
    """The data root, for the page."""
    return shown(data_root())


def cache_folder() -> str:
    """Where the banks are, for the page."""
    return shown(cache_root())


# Models


@dataclass(frozen=True)
class ModelRow:
    """A model: whether its weights are here, their bytes (0: missing) and place, and what is known of it without torch.

    `placements` are the display names of the named ones; it and `classes` are empty where only its package knows them.
    `source` is the plug-in's file; `built_in` says that the network is built with its weights, without a file of them;
    `features`, that it is a folder of features; `penultimate` names the tensor that enters its head, with its size.
    `checkpoints`: what they are called where it has several, of which `path` is the first.
    """

    name: str
    label: str
    present: bool
    bytes: int
    path: Path
    classes: int | None = None
    placements: tuple[str, ...] = ()
    url: str = ""
    note: str = ""
    source: Path | None = None
    built_in: bool = False
    features: bool = False
    penultimate: str = ""
    checkpoints: tuple[str, ...] = ()


def _entry_row(one: ModelEntry) -> ModelRow:
    path, labels, built_in = one.weights, tuple(one.placements.values()), one.brings_weights
    size = 0 if built_in else _size(path)
    last = f"{one.penultimate}, {one.penultimate_size:,} values" if one.penultimate_size else one.penultimate
    about = (one.url, one.note, one.source, built_in, one.features is not None, last, one.checkpoint_names)
    return ModelRow(one.name, one.label, one.present, size, path, len(one.classes), labels, *about)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


@cache_resource(ttl=LASTING, max_entries=1)
def model_rows() -> tuple[ModelRow, ...]:
    """The curated models, those of plug-ins that work, which are traced, and those whose weights are here."""
    for name in MODELS.users():
        with suppress(ModelError):  # it is reported, and not offered any more
            get_model(name)
    rows = []
    for name, label in offered_models().items():
        if name in MODELS:
            one = MODELS[name]
            rows.append(_entry_row(one))
        else:  # its entry would import torchvision, or timm
            path = find_weights(name, "", "")
            rows.append(ModelRow(name, label, path.is_file(), _size(path), path))
    return tuple(rows)


def model_row(name: str) -> ModelRow:
    """One model by name, with all that is known of it; AshError when there is none. Imports the package it is of."""
    one = get_model(name)
    return _entry_row(one)


@cache_resource(max_entries=1)
def other_choices() -> tuple[str, ...]:
    """The names of torchvision's classifiers that are not curated and, where it is installed, of timm's networks.

    Neither is imported for it.
    """
    names = (*torchvision_models.names_in_source(), *timm_models.names_in_source())
    return tuple(name for name in names if name not in MODELS)


def other_sources() -> str:
    """Whose networks `other_choices` are, in words."""
    return "torchvision or timm" if timm_models.is_installed() else "torchvision"


# Data sets


@dataclass(frozen=True)
class DataRow:
    """A data set and what of it is here."""

    entry: DatasetEntry
    status: Status

    @property
    def bundled(self) -> bool:
        """Whether it ships with the explorer."""
        return self.entry.home is not None

    @property
    def made(self) -> bool:
        """Whether a function of a plug-in makes it."""
        return isinstance(self.entry, MadeEntry)

    @property
    def download(self) -> int | None:
        """Bytes to download; None where its publisher states none."""
        sizes = [file.size for file in self.entry.files]
        return sum(size or 0 for size in sizes) if sizes and all(sizes) else None


@cache_resource(ttl=LASTING, max_entries=1)
def data_rows() -> tuple[DataRow, ...]:
    """The registered data sets, then the user's own."""
    entries = [*DATASETS.values(), *(dataset_entry(name) for name in own_sets())]
    return tuple(DataRow(entry, setups.status(entry.name)) for entry in entries)


def set_facts(model: str, name: str) -> dict[str, str]:
    """Of a set that is here: the classes it states, how a network reads its labels, and the files left out.

    "" where there is nothing to say.
    """
    data = setups.whole_set(name)
    counts = class_counts(data)
    unknown = counts.pop("", 0)
    each = listed([f"{what}: {number:,}" for what, number in counts.items()])
    without = f"; {unknown:,} images without a class" if counts and unknown else ""
    read = setups.reading(model, name) if counts else None
    return {
        "Classes": f"{len(counts):,} (class: images): {each}{without}" if counts else "",
        "As an ID set": (read.problem or read.words) if read else "",
        "Not read": shown(left_out_words(getattr(data, "left_out", {}))),
    }


def sets_not_offered() -> tuple[str, ...]:
    """What lies in the data root and is not offered because of its name, a sentence each."""
    return tuple(map(shown, sets_left_out()))


# Plug-ins


def plugin_problems() -> tuple[str, ...]:
    """What is wrong with the plug-ins, a line each: file, line, reason. Their models and data sets are tried first."""
    model_rows()
    data_rows()
    return tuple(shown(problem) for problem in plugins.problems())


def plugin_contents() -> dict[str, dict[str, tuple[str, ...]]]:
    """Plug-in -> kind (model, data set, method) -> the names that it has registered."""
    return {shown(file): names for file, names in plugins.registered().items()}


# Banks


@dataclass(frozen=True)
class BankRow:
    """A bank in the cache or among the bundled ones. `name` is its folder below its root, after `assets/` if bundled.

    `rows` are those that are there so far, `date` is when an extraction last worked on it. Of a partial bank whose plan
    is lost only what its folder says is known: `dtype` and `precision` are empty.
    """

    name: str
    info: BankInfo
    model: str
    placement: str
    dataset: str
    dtype: str
    precision: str
    rows: int
    date: datetime | None


@cache_resource(ttl=FRESH, max_entries=1)
def bank_rows() -> tuple[BankRow, ...]:
    """The user's banks, newest first, then the bundled ones."""
    rows = [_bank_row(one) for one in list_banks()]
    return tuple(sorted(rows, key=lambda row: (row.info.bundled, -row.date.timestamp() if row.date else 0)))


def _bank_row(one: BankInfo) -> BankRow:
    parts = one.folder.relative_to(BUNDLED if one.bundled else cache_root()).parts
    name = "/".join(("assets", *parts) if one.bundled else parts)
    rows = one.rows if one.complete else _rows_so_far(one.folder)
    date, who = _date(one.folder), one.identity
    if who is None:
        return BankRow(name, one, parts[0], parts[1], parts[2].rpartition("-")[0], "", "", rows, date)
    return BankRow(name, one, who.model, who.placement, who.dataset, who.dtype, who.precision, rows, date)


def _date(folder: Path) -> datetime | None:
    """When an extraction last worked on a bank, in UTC."""
    with suppress(BankError, KeyError, TypeError, ValueError):
        return datetime.fromisoformat(read_json(folder / "provenance.json")["date"]).astimezone(UTC)
    return None


def _rows_so_far(folder: Path) -> int:
    """Rows of the finished shards of a partial bank; a damaged record counts nothing."""
    rows = 0
    for path in folder.glob("shard-*.json"):
        with suppress(BankError, KeyError, TypeError, ValueError):
            rows += int(read_json(path)["rows"])
    return rows


def bank_row(name: str) -> BankRow:
    """One bank by its name; AshError when there is none, or not any more."""
    row = _find(name)
    if row is None or not row.info.folder.is_dir():
        bank_rows.clear()
        row = _find(name)
    if row is None:
        raise AshError("These activations are not on this machine any more.")
    return row


def _find(name: str) -> BankRow | None:
    return next((row for row in bank_rows() if row.name == name), None)


def refresh() -> None:
    """Forget what was seen on the disk, after something there has changed."""
    setups.look_again()
    from app.backend.library_work import outdated  # it builds on this module

    for cached in (model_rows, data_rows, bank_rows, outdated):
        cached.clear()
