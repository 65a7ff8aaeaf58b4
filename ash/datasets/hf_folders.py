"""Folders of Hugging Face's `datasets` as image sets, once they lie in the data root under `hfds`; read by pyarrow.

    hfds/NAME/dataset_info.json, data-00000-of-00002.arrow, ...     what `save_to_disk` leaves of one split
    hfds/NAME/SPLIT/...                                             and of several
    hfds/NAME/data/SPLIT-00000-of-00002.parquet, hfds/NAME/SPLIT/*.parquet     as repositories of the hub have it

A set of one split is `hfds/NAME`, one of several `hfds/NAME/SPLIT`. Images are the bytes in these files: a path that a
row states is never opened.
"""

import hashlib
import io
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ash.datasets.array_images import OneFile
from ash.files import Look, file_hash, look_of, read_bytes
from ash.images import UNKNOWN, DataError, ImageError, read_image
from ash.names import HFDS

_SHARD = re.compile(r"(?P<split>.*?)-?\d+-of-0*(?P<of>\d+)(-[0-9a-f]+)?\.(arrow|parquet)")
_ENDS = {".arrow": b"\xff\xff\xff\xff\0\0\0\0", ".parquet": b"PAR1"}  # of a file that is whole
_NO_SPLIT = ("", "data", "default")  # beginnings of names, and folders, that say nothing of a split
_IMAGES, _LABELS = ("image", "img"), ("label", "labels")  # which column, of several
_INFO = "dataset_info.json"
_Shard = tuple[Path, Look]  # a file, and what was seen of it


def shards_of(folder: Path) -> dict[str, list[Path]]:
    """Split -> its files in their order, of what lies in a folder; {} where nothing of the kind does."""
    found: dict[str, list[Path]] = {}
    for path in sorted(path for suffix in _ENDS for path in folder.rglob(f"*{suffix}")):
        named = _SHARD.fullmatch(path.name)
        words = [*path.relative_to(folder).parts[:-1], named["split"] if named else ""]
        if not path.name.startswith("cache-"):  # what `map` and `filter` leave beside the set
            found.setdefault(next((one for one in words[::-1] if one not in _NO_SPLIT), ""), []).append(path)
    return found


def places(root: Path) -> dict[str, Path]:
    """Name -> place of every set in a data root; the place of a split may be no folder."""
    found = []
    for folder in sorted(path for path in (root / HFDS).glob("*") if path.is_dir()):
        splits = shards_of(folder)
        found += [folder / split for split in splits] if len(splits) > 1 else [folder] * len(splits)
    return {place.relative_to(root).as_posix(): place for place in found}


def is_saved(folder: Path) -> bool:
    """Whether a folder is what `save_to_disk` leaves of one split."""
    return (folder / "state.json").is_file() and (folder / _INFO).is_file()


class HfImages(OneFile):
    """One split: images in a column, and in another their classes by name or number, if there is one.

    `path` is the set's folder, or a split in it; `columns` is what its rows have. DataError for what is no such set.
    """

    def __init__(self, path: Path, name: str, label: str = "") -> None:
        super().__init__(path, name, label)
        whole = {} if path.parent.parent.name != HFDS else shards_of(path.parent)  # a split need not be a folder
        splits = shards_of(path) or {path.name: whole.get(path.name, [])}
        if len(splits) > 1:
            raise DataError(f"{name} has the splits {', '.join(splits)}: name one, as {name}/{[*splits][-1]}.")
        self._shards = [_seen(shard) for shard in next(iter(splits.values()))]
        if not self._shards:
            raise DataError(f"{path} is not one whole split of a set: it has no .arrow or .parquet file.")
        named, folders = _SHARD.fullmatch(self._shards[0][0].name), {shard.parent for shard, _ in self._shards}
        wanted = int(named["of"]) if named else len(self._shards)
        if len(self._shards) != wanted or len(folders) != 1:
            more = f" in {len(folders)} folders" if len(folders) > 1 else f", and its names tell of {wanted}"
            has = f"it has {len(self._shards)} .arrow or .parquet files{more}"
            raise DataError(f"{path} is not one whole split of a set: {has}.")
        self._parts = [(shard, part) for shard in self._shards for part in range(len(_rows(shard)))]
        self._starts = np.cumsum([0, *(rows for shard in self._shards for rows in _rows(shard))])
        if not self._starts[-1]:
            raise DataError(f"{path} holds no images: its files have no rows.")
        self._find_columns()
        told = [_numbers(shard, self._classes) for shard in self._shards] if self._classes else []
        self._labels = np.concatenate(told) if told else np.full(self._starts[-1], UNKNOWN, np.int64)
        if ((self._labels < UNKNOWN) | (self._labels >= (len(self._names) or 2**31))).any():
            raise DataError(f"{path}: its column {self._classes} holds numbers that are no classes of it.")

    def _find_columns(self) -> None:
        """Which columns are images and classes, by what the set states of itself or else by their types."""
        import pyarrow.types as of

        first = self._shards[0]
        schema, said = _schema(first), _features(first)
        self.columns: Sequence[str] = schema.names
        kinds = dict(zip(schema.names, schema.types, strict=True))
        told = {name: one.get("_type") for name, one in said.items()}
        files = [name for name, kind in kinds.items() if of.is_struct(kind) and kind.get_field_index("bytes") >= 0]
        files = files or [name for name, kind in kinds.items() if of.is_binary(kind) or of.is_large_binary(kind)]
        files = [name for name in files if told.get(name) == "Image"] or files
        self._images = next((name for name in (*_IMAGES, *files[:1]) if name in files), "")
        if not self._images or (len(files) > 1 and self._images not in _IMAGES):
            which = f"column of images, their files' bytes: its columns are {', '.join(self.columns)}"
            raise DataError(f"{self.path} has {'more than one' if files else 'no'} {which}.")
        classes = [name for name in said if told[name] == "ClassLabel"]
        classes = classes or [name for name in _LABELS if name in kinds and of.is_integer(kinds[name])]
        self._classes = next((name for name in (*_LABELS, *classes) if name in classes), "")
        names = [str(name) for name in said.get(self._classes, {}).get("names") or ()]
        self._names = [] if names == [str(number) for number in range(len(names))] else names
        self.states = f"the names of its column {self._classes}"

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class numbers, of names in the set's own order."""
        return self._labels

    @cached_property
    def stated(self) -> Sequence[tuple[str, ...]] | None:
        if not self._names or not (self.labels >= 0).any():
            return None
        return [(self._names[number],) if number >= 0 else () for number in self.labels]

    @cached_property
    def names(self) -> Sequence[str]:
        return [f"{self.name}/{index:05d}" for index in range(self._starts[-1])]

    @property
    def disk_bytes(self) -> int:
        return sum(size for _, (size, *_) in self._shards)

    @property
    def look(self) -> str:
        return hashlib.sha256(repr(self._shards).encode()).hexdigest()

    @cached_property
    def fingerprint(self) -> str:
        """Of all bytes of the files: each is read once a process, for as long as it looks the same."""
        return hashlib.sha256(" ".join((self._images, *map(_digest, self._shards))).encode()).hexdigest()

    def image(self, index: int) -> Image.Image:
        at = int(np.searchsorted(self._starts, index, "right")) - 1
        value = _read(*self._parts[at], self._images)[index - int(self._starts[at])].as_py()
        content = value["bytes"] if isinstance(value, dict) else value
        if content is None:
            raise ImageError(f"{self.names[index]} has no bytes in its set, only a path or nothing.")
        return read_image(io.BytesIO(content), self.names[index])

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("names", "stated")}


def _damaged(path: Path, why: object) -> DataError:
    return DataError(f"{path} is damaged ({str(why).partition(chr(10))[0]}): get it again.")


def _seen(path: Path) -> _Shard:
    """A file and its look; DataError where it is cut off: pyarrow takes a stream that ends early for a short one."""
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - 8, 0))
            if file.read().endswith(_ENDS[path.suffix]):
                return path, look_of(file.fileno())
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    raise _damaged(path, "it is cut off")


# Kept for as long as a file looks the same: a set is opened often, and its images are read in their order.


@lru_cache(maxsize=4)  # of open files
def _open(shard: _Shard) -> Any:
    """A file as pyarrow reads it: a ParquetFile, or a table that is mapped into memory."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    path = shard[0]
    with _reading(path):
        return (
            ParquetFile(path) if path.suffix == ".parquet" else pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
        )


@lru_cache(maxsize=4096)
def _rows(shard: _Shard) -> list[int]:
    """How many rows each part of a file has, of which one is read at a time."""
    found = _open(shard)
    if shard[0].suffix == ".parquet":
        return [found.metadata.row_group(part).num_rows for part in range(found.num_row_groups)]
    return [len(chunk) for chunk in found.column(0).chunks] if found.num_columns else []


@lru_cache(maxsize=4096)
def _numbers(shard: _Shard, column: str) -> NDArray[np.int64]:
    """A column of class numbers, UNKNOWN where it holds nothing."""
    with _reading(shard[0]):
        found = _open(shard)
        values = (found.read([column]) if shard[0].suffix == ".parquet" else found).column(column)
        values.validate(full=True)
        return np.asarray(values.fill_null(UNKNOWN)).astype(np.int64)


@lru_cache(maxsize=4)
def _read(shard: _Shard, part: int, column: str) -> Any:
    """A column of one part of a file; checked, so that no bytes in it lead beyond it."""
    with _reading(shard[0]):
        found = _open(shard)
        parquet = shard[0].suffix == ".parquet"
        values = found.read_row_group(part, [column]).column(0) if parquet else found.column(column).chunk(part)
        values.validate(full=True)
        return values


@lru_cache(maxsize=4096)
def _digest(shard: _Shard) -> str:
    return file_hash(shard[0])


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """DataError for what pyarrow says of a damaged file."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, LookupError) as error:
        raise _damaged(path, error) from error


def _schema(shard: _Shard) -> Any:
    found = _open(shard)
    return getattr(found, "schema_arrow", None) or found.schema


def _features(shard: _Shard) -> dict[str, dict[str, Any]]:
    """Column -> what the set says of it, in a file of its own or in the schema; {} where it says nothing."""
    beside = shard[0].with_name(_INFO)
    try:
        stated = (_schema(shard).metadata or {}).get(b"huggingface", b"{}")
        told = json.loads(read_bytes(beside)) if beside.is_file() else json.loads(stated).get("info", {})
        found = {name: one for name, one in (told.get("features") or {}).items() if isinstance(one, dict)}
        if not all(isinstance(one.get("names") or [], list) for one in found.values()):
            raise ValueError("names of classes that are no list")
        return found
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{beside} cannot be read as what `datasets` says of a set.") from error
