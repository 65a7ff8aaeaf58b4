"""Data sets by name: the bundled ones, the paper's, and the user's own, in one data root.

Under `data_root()` every set has a folder of its name; its `DatasetEntry` says where the images may lie in it, how many
there must be and where they come from. What else lies there is offered by name: a folder of images, a CSV list,
OpenOOD's lists, folders of Hugging Face's `datasets`.
"""

import difflib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal

from ash.datasets import hf_folders, openood_lists
from ash.datasets.array_images import ArrayImages, CifarImages, OneFile, SvhnImages
from ash.datasets.csv_images import LIST, CsvImages, is_list
from ash.datasets.dataset_entries import ASSETS, Archive, DatasetEntry, Layout, Status, data_root
from ash.datasets.made_sets import MadeEntry, Make, MemoryImages
from ash.datasets.paper_sets import DEMO_SETS, PAPER_SETS
from ash.files import expand
from ash.images import (
    MAX_PIXELS,
    SUFFIXES,
    UNKNOWN,
    DataError,
    FileImages,
    FolderImages,
    ImageError,
    ImageSet,
    Subset,
    as_text,
    decode,
    evenly,
    file_hash,
    image_names,
    left_out_words,
)
from ash.labels import class_counts
from ash.names import CHECKPOINTS, HFDS, RESERVED, why_no_name
from ash.plugins import Registry, running

__all__ = [
    "ASSETS",
    "DATASETS",
    "MAX_PIXELS",
    "SUFFIXES",
    "UNKNOWN",
    "Archive",
    "ArrayImages",
    "CifarImages",
    "CsvImages",
    "DataError",
    "DatasetEntry",
    "FolderImages",
    "ImageError",
    "ImageSet",
    "Layout",
    "MadeEntry",
    "MemoryImages",
    "Status",
    "Subset",
    "SvhnImages",
    "data_root",
    "dataset_entry",
    "decode",
    "describe_set",
    "evenly",
    "file_hash",
    "get_dataset",
    "list_sets",
    "near_and_far",
    "own_sets",
    "register_dataset",
    "sets_left_out",
]

DATASETS: Registry[DatasetEntry] = Registry("data set", {entry.name: entry for entry in (*DEMO_SETS, *PAPER_SETS)})


def register_dataset(name: str, label: str, role: Literal["id", "ood"], note: str = "") -> Callable[[Make], Make]:
    """Decorator: what the function returns becomes a data set: an ImageSet, or images, or (images, labels).

    Images are uint8, (n, H, W) or (n, H, W, 3), labels (n,) whole numbers; an ID set needs a label for every image. The
    function is called once a process, when its images are needed. DataError for a name or a role that cannot be.
    """
    if why := why_no_name(name):
        raise DataError(f"'{name}' {why}.")
    if role not in ("id", "ood"):
        raise DataError(f"The role of the data set '{name}' is id or ood, not '{role}'.")

    def register(make: Make) -> Make:
        source = running()
        what = note or (make.__doc__ or "").strip().partition("\n")[0]
        entry = MadeEntry(name, label, role, what, (), (name,), make=make, source=source, failed=DATASETS.report)
        DATASETS.add(name, entry)
        return make

    return register


def near_and_far(id_set: str, ood: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """`near` and `far`: which of these OOD sets are what to an ID set; empty unless there are some of either kind.

    The registry says so of its own sets, OpenOOD of its benchmarks'; one of the user's, or one that a plug-in makes, is
    in neither.
    """
    told = {name: openood_lists.is_near(id_set, name) for name in ood}
    if None not in told.values() and len({*told.values()}) == 2:
        return {
            "near": tuple(name for name, near in told.items() if near),
            "far": tuple(name for name, near in told.items() if not near),
        }
    near = DATASETS[id_set].near if id_set in DATASETS else ()
    known = [name for name in told if name in DATASETS and not isinstance(DATASETS[name], MadeEntry)]
    found = {"near": tuple(n for n in known if n in near), "far": tuple(n for n in known if n not in near)}
    return found if all(found.values()) else {}


def own_sets(root: Path | None = None) -> dict[str, str]:
    """Name -> label of the user's own sets: folders of images and CSV lists in the data root, not registered ones.

    OpenOOD's lists and folders of `datasets` are among them where they lie there.
    """
    names = [name for name, _ in _own_places(root)]
    return {name: name for name in (*names, *openood_lists.lists(root or data_root())) if not why_no_name(name)}


def sets_left_out(root: Path | None = None) -> list[str]:
    """A sentence for every folder of images and CSV list in the data root that is not offered because of its name."""
    return [
        f"{as_text(str(path))} is left out: '{as_text(name)}' {why}; rename it."
        for name, path in _own_places(root)
        if (why := why_no_name(name))
    ]


def _own_places(root: Path | None) -> list[tuple[str, Path]]:
    """Name and place of everything in the data root that holds images and is no registered set's."""
    base = root or data_root()
    if not base.is_dir():
        return []
    taken = {CHECKPOINTS, *DATASETS} | {folder for entry in DATASETS.values() for folder in entry.folders}
    taken |= {openood_lists.FOLDER} if openood_lists.lists(base) else set()
    found = [*hf_folders.places(base).items()]
    taken |= {HFDS} if found else set()
    for path in sorted(base.iterdir()):
        name = path.stem if path.suffix.lower() == ".csv" and path.is_file() else path.name
        if name not in taken and not name.startswith(".") and _holds_images(path):
            found.append((name, path))
    return found


def _holds_images(path: Path) -> bool:
    try:
        return is_list(path) if path.is_file() else path.is_dir() and any(True for _ in image_names(path))
    except DataError:
        return False


def _own_path(name: str, root: Path | None = None) -> Path:
    """Where an own set lies: OpenOOD's list, or a CSV list before the folder of its name, which may hold the images."""
    base = root or data_root()
    if listed := openood_lists.lists(base).get(name):
        return listed
    path = base / f"{name}.csv"
    return path if is_list(path) else base / name


def _open_path(path: Path, name: str) -> FileImages | OneFile:
    """A set of `datasets`, a CSV list, a folder with a list `images.csv`, or one of images; a known one as it comes."""
    if name.startswith(f"{HFDS}/") or hf_folders.is_saved(path):
        return hf_folders.HfImages(path, name)
    if name in DATASETS and path.is_dir():
        images, status = DATASETS[name].find([path])
        if images is not None:
            return images
        if status.state == "incomplete":
            raise DataError(status.reason)
    if path.suffix.lower() == ".csv":
        return CsvImages(path, name)
    if path.suffix == ".txt":
        return openood_lists.OpenOodImages(path, name)
    return CsvImages(path / LIST, name) if is_list(path / LIST) else FolderImages(path, name)


def dataset_entry(name: str, root: Path | None = None) -> DatasetEntry:
    """The entry of a registered set or of one of the user's own; DataError names the nearest."""
    if name in DATASETS:
        return DATASETS[name]
    if name in own_sets(root) or (
        name.startswith(f"{HFDS}/") and not why_no_name(name) and _own_path(name, root).is_dir()
    ):
        return _OwnEntry(name, name, "own", f"Your own, in {_own_path(name, root)}.", (), (name,))
    known = [*DATASETS, *own_sets(root)]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known sets: {', '.join(known)}; or give a folder as NAME=DIR."
    raise DataError(f"There is no data set '{name}': {hint}")


class _OwnEntry(DatasetEntry):
    """A set of the user's: as many images as there are."""

    def find(self, folders: list[Path]) -> tuple[FileImages | OneFile | None, Status]:
        path = _own_path(self.name, folders[0].parents[self.name.count("/")])
        try:
            images = _open_path(path, self.name)
        except DataError as error:
            return None, Status("incomplete", 0, 0, path, str(error))
        return images, Status("present", len(images), images.disk_bytes, path, look=images.look)

    def open(self, root: Path | None = None) -> ImageSet:
        return _open_path(_own_path(self.name, root), self.name)


def get_dataset(text: str) -> ImageSet:
    """An image set: a registered name, one of the user's own, `DIR`, `FILE.csv`, `NAME=DIR` or `NAME=FILE.csv`."""
    if text in DATASETS:
        return DATASETS[text].open()
    path = expand(text)
    if text in own_sets():
        return dataset_entry(text).open()
    if (text and path.is_dir()) or (path.is_file() and path.suffix.lower() == ".csv"):
        return _open_path(path, _name_of(path.resolve()))
    name, equals, place = text.partition("=")
    if not equals:
        return dataset_entry(text).open()
    if why := why_no_name(name):
        raise DataError(f"'{name}' {why}; write another name, as in NAME=DIR.")
    if not place:
        raise DataError(f"{text} names no folder and no CSV file; write {name}=DIR or {name}=FILE.csv.")
    return _open_path(expand(place), name)


def set_or_list(text: str) -> ImageSet:
    """`get_dataset`; of a registered set whose images are not here, but whose activations ship, the list of them.

    The list has a bank, and no images.
    """
    listed = DATASETS[text].listed() if text in DATASETS and DATASETS[text].status().state == "listed" else None
    return listed or get_dataset(text)


def _name_of(path: Path) -> str:
    """The name of a set that is given by its place alone; DataError where another must be stated."""
    name = path.name if path.is_dir() else path.stem
    text = as_text(name)
    if name.casefold() in RESERVED or text != name:
        raise DataError(f"'{text}' {why_no_name(name)}; give the set another name, as in NAME={as_text(str(path))}.")
    return name


def describe_set(images: ImageSet) -> Iterator[str]:
    """Lines about one set: its size, the classes it states with the number of images in each, the files left out."""
    kind = "images" if images.has_images else "samples"
    yield f"{images.label}: {len(images):,} {kind}{'' if images.has_images else ' without images'}"
    counts = class_counts(images)
    unknown = counts.pop("", 0)
    if counts:
        each = ", ".join(f"{name} {number:,}" for name, number in counts.items())
        without = f"; {unknown:,} {kind} without a class" if unknown else ""
        yield f"{len(counts):,} classes by {images.states}, with their {kind}: {each}{without}"
    else:
        yield "no classes are stated"
    if left_out := left_out_words(getattr(images, "left_out", {})):
        yield left_out


def list_sets(root: Path | None = None) -> Iterator[str]:
    """A line for every set: name, role, state with counts, size, licence, where; and a line of what is in it."""
    for name in (*DATASETS, *own_sets(root)):
        entry = dataset_entry(name, root)
        status = entry.status(root)
        count = entry.count if status.count is None else status.count
        images = "" if count is None else f"{count:,} images"
        if status.state == "incomplete":
            images = status.reason
        size = f"{status.bytes / 1e6:,.1f} MB" if status.bytes else ""
        more = ""
        if status.state == "listed":
            images, size, more = f"activations of {count:,}", "", " The activations ship, the images do not."
        if status.state == "features":
            images, more = f"{count:,} rows of features", " There are no images of it."
        state = f"{status.state:<11} {images:<24} {size:>10}"
        yield f"{name:<20} {entry.role:<4} {state}  {entry.licence:<15} {status.path}"
        yield f"{'':<25} {entry.note}{' ' + entry.rule if entry.rule else ''}{more}"
        if entry.role == "own" and status.state == "present":
            yield from (f"{'':<25} {line}" for line in list(describe_set(entry.open(root)))[1:])
    yield from sets_left_out(root)
