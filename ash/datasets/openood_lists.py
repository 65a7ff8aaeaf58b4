"""OpenOOD's benchmark lists as image sets, once its two kinds of folders lie in the data root under `openood`.

    openood/benchmark_imglist/cifar10/test_cifar10.txt      a line: relative/path label, -1 for no label
    openood/images_classic/..., openood/images_largescale/...

They are published on a file-sharing site only, so they are not fetched. The test list of a benchmark's own set is
`openood.cifar10`, of another `openood.cifar10.svhn`; `.val` and `.train` name the other parts.
"""

import ast
import hashlib
import os
import re
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ash.files import Look, look_of, read_bytes
from ash.images import UNKNOWN, DataError, FileImages

FOLDER, LISTS, IMAGES = "openood", "benchmark_imglist", ("images_classic", "images_largescale")
FAR = {  # what OpenOOD calls far of each benchmark's own set; imagenet_v2 and the like are shifted ID images
    **dict.fromkeys(("cifar10", "cifar100"), ("mnist", "svhn", "texture", "places365")),
    **dict.fromkeys(("imagenet200", "imagenet"), ("inaturalist", "texture", "textures", "openimage_o")),
}
NEAR = {  # and near
    "cifar10": ("cifar100", "tin"),
    "cifar100": ("cifar10", "tin"),
    "imagenet200": ("ssb_hard", "ninco"),
    "imagenet": ("ssb_hard", "ninco"),
}
MOST_BYTES = 2**28  # of a list
_LIST = re.compile(r"(train|val|test)_(\w+)\.txt", re.ASCII)
_WHOLE = re.compile("-?[0-9]{1,9}")
_BENCHMARK = re.compile(r"[a-z0-9_]{1,20}", re.ASCII)


def lists(root: Path) -> dict[str, Path]:
    """Name -> list, of what lies in a data root; empty where there is no such folder."""
    found = {}
    for path in sorted((root / FOLDER / LISTS).glob("*/*.txt")):
        benchmark, match = path.parent.name, _LIST.fullmatch(path.name)
        if match and _BENCHMARK.fullmatch(benchmark):
            part, name = match.groups()
            own = () if name == benchmark else (name,)
            found[".".join((FOLDER, benchmark, *own, *(() if part == "test" else (part,))))] = path
    return found


def is_near(id_set: str, name: str) -> bool | None:
    """Whether a set is near another one of the same benchmark, None where OpenOOD does not say."""
    prefix, _, benchmark = id_set.removesuffix(".val").partition(".")
    if prefix != FOLDER or benchmark not in NEAR or not name.startswith(f"{FOLDER}.{benchmark}."):
        return None
    other = name.split(".")[2]
    return True if other in NEAR[benchmark] else False if other in FAR[benchmark] else None


class OpenOodImages(FileImages):
    """The images of one list, with the class numbers that it states; DataError names list and line.

    The list's own bytes are part of what the set is known by.
    """

    def __init__(self, path: Path, name: str, label: str = "") -> None:
        self.path = path
        try:
            files, self._labels, self._digest = _read(path, look_of(path))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} cannot be read as a list of images.") from error
        root = _images_of(path, files[0])
        super().__init__(root, files, name, label or name, upright=False)
        try:
            self._seen = np.array(self._found, np.int64)  # every file is looked at once, for all that is asked of it
        except DataError as error:
            missing = next((file for file in files if not os.path.exists(f"{root}/{file}")), None)
            raise DataError(f"{path} lists {missing}, which is not in {root}.") if missing else error from error

    @property
    def labels(self) -> NDArray[np.int64]:
        return self._labels

    @property
    def look(self) -> str:
        """What was seen of the files, and the list that names them: to print a million names takes seconds."""
        return f"{self.root} {hashlib.sha256(self._seen).hexdigest()} {self._digest}"

    @cached_property
    def fingerprint(self) -> str:
        return hashlib.sha256(f"{super().fingerprint} {self._digest}".encode()).hexdigest()


@lru_cache(maxsize=16)
def _read(path: Path, look: Look) -> tuple[list[str], NDArray[np.int64], str]:
    """Files, labels and checksum of a list, read once for one that looks the same: the longest has 1.28 million."""
    content = read_bytes(path, MOST_BYTES)
    rows = list(_rows(path, content.decode()))
    if not rows:
        raise DataError(f"{path} lists no images.")
    labels = np.array([label for _, label in rows], np.int64)
    labels.flags.writeable = False  # all sets of this list have it
    return [file for file, _ in rows], labels, hashlib.sha256(content).hexdigest()


def _rows(path: Path, text: str) -> Iterator[tuple[str, int]]:
    """File and label of every line that is not empty."""
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        file, _, told = line.strip().partition(" ")
        try:
            value = int(told) if _WHOLE.fullmatch(told.strip()) else ast.literal_eval(told.strip())
            label = int(value.get("label", UNKNOWN) if isinstance(value, dict) else value)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
            raise DataError(f"{path}, line {number}: it must be a path, a blank and a class number.") from error
        if os.path.isabs(file) or ".." in file.split("/") or label < UNKNOWN:
            raise DataError(f"{path}, line {number}: {file} {label} is no image of the folder with a class number.")
        yield file, label


def _images_of(path: Path, first: str) -> Path:
    """The folder that a list's paths are relative to: where the first image is, also below the folder of its set."""
    base, name = path.parents[2], path.stem.partition("_")[2]
    places = [base / images / inside for images in IMAGES for inside in ("", name)]
    found = next((place for place in places if (place / first).is_file()), None)
    if found is None:
        raise DataError(
            f"The images of {path} are not here: {first} is in neither {' nor '.join(map(str, places[::2]))}."
        )
    return found
