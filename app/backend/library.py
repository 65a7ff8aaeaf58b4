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
from app.backend.setups import FRESH
from ash import plugins
from ash.bank import BUNDLED, BankError, BankInfo, cache_root, list_banks
from ash.data import ASSETS, DATASETS, DatasetEntry, MadeEntry, Status, data_root, dataset_entry, own_sets
from ash.errors import AshError
from ash.files import read_json
from ash.models import MODELS, ModelError, get_model, offered_models
from ash.networks.checkpoints import find_weights
from ash.networks.entries import ModelEntry
from ash.networks.torchvision_models import names_in_source

LASTING = 60.0  # seconds for which a look at the data folder holds: it takes 0.4 s with 60,000 images
SETTING = "ASH_LIBRARY"  # environment: on, off, or auto
_LOCAL = ("localhost", "127.0.0.1", "::1")
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-Ip")  # headers of a proxy: the browser may be anywhere


def library_on() -> bool:
    """Whether the browser of this session may fetch, extract, verify and delete.

    ASH_LIBRARY=on or off says so. Otherwise (auto): where the server listens on this machine alone, to a browser that
    does not come through a proxy.
    """
    setting = os.environ.get(SETTING, "").strip().lower() or "auto"
    if setting != "auto":
        return setting == "on"
    headers = st.context.headers
    return st.get_option("server.address") in _LOCAL and not any(headers.get(name) for name in _FORWARDED)


def require_library() -> None:
    """AshError where the Library is off: a hidden button is not a lock."""
    if not library_on():
        raise AshError(f"The Library of this server is off; whoever starts it sets {SETTING}=on to allow this.")


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

    `placements` are the display names of the named ones; it and `classes` are empty where only torchvision knows them.
    `source` is the plug-in's file; `built_in` says that the network is built with its weights, without a file of them.
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


def _entry_row(one: ModelEntry, classes: int) -> ModelRow:
    path, labels, built_in = one.weights, tuple(one.placements.values()), one.brings_weights
    size = 0 if built_in else _size(path)
    about = (one.url, one.note, one.source, built_in)
    return ModelRow(one.name, one.label, one.present, size, path, classes, labels, *about)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


@st.cache_resource(ttl=LASTING, max_entries=1, show_spinner=False)
def model_rows() -> tuple[ModelRow, ...]:
    """The curated models, those of plug-ins that work, which are traced, and torchvision's whose weights are here."""
    for name in MODELS.users():
        with suppress(ModelError):  # it is reported, and not offered any more
            get_model(name)
    rows = []
    for name, label in offered_models().items():
        if name in MODELS:
            one = MODELS[name]
            rows.append(_entry_row(one, dataset_entry(one.id_set).classes or len(one.classes)))
        else:  # its entry would import torchvision
            path = find_weights(name, "", "")
            rows.append(ModelRow(name, label, path.is_file(), _size(path), path))
    return tuple(rows)


def model_row(name: str) -> ModelRow:
    """One model by name, with all that is known of it; AshError when there is none. Imports torchvision for its own."""
    one = get_model(name)
    return _entry_row(one, len(one.classes))


@st.cache_resource(max_entries=1, show_spinner=False)
def torchvision_choices() -> tuple[str, ...]:
    """The names of torchvision's classifiers that are not curated, without importing it."""
    return tuple(name for name in names_in_source() if name not in MODELS)


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


@st.cache_resource(ttl=LASTING, max_entries=1, show_spinner=False)
def data_rows() -> tuple[DataRow, ...]:
    """The registered data sets, then the user's own."""
    entries = [*DATASETS.values(), *(dataset_entry(name) for name in own_sets())]
    return tuple(DataRow(entry, entry.status()) for entry in entries)


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


@st.cache_resource(ttl=FRESH, max_entries=1, show_spinner=False)
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
