"""The fixed split of a setup's images into validation and test (`ash.protocol`): sweeps, rows and sizes of a part.

A part is "test", "validation" or "all". Pages that choose and measure name one; all others are about all images.
Where setups of fewer images stand beside one, it is a part of as many: `cut`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.backend.banks import bank
from app.backend.caches import cache_resource
from app.backend.setups import Setup, bare_label, images, once_a_run, own_sets_here, status, whole_set
from ash.data import DATASETS, evenly
from ash.protocol import ProtocolError, is_validation, lacking
from ash.tables import Sweep

TEST, VALIDATION, ALL = "test", "validation", "all"


@dataclass(frozen=True)
class _Split:
    """Set name -> which of its images are for validation; or the `problem` of a setup that cannot be split."""

    held: dict[str, NDArray[np.bool_]]
    problem: str = ""


@once_a_run
def _split(at: Setup, banked: bool) -> _Split:
    """The split of a setup's sets: of the rows of their banks, or of their lists, whether or not there are banks."""
    return _found(at, banked, tuple(status(name).look for name in at.sets))


@cache_resource(max_entries=64)
def _found(at: Setup, banked: bool, looks: tuple[str, ...]) -> _Split:
    held = {}
    for name in at.sets:
        names = bank(at, name).names if banked else images(at, name).names
        try:
            held[name] = is_validation(names, whole_set(name).names)
        except ProtocolError as error:
            return _Split({}, f"{bare_label(name)}: {error}")
        held[name].flags.writeable = False
    return _Split(held, lacking({bare_label(name): one for name, one in held.items()}))


def problem(at: Setup) -> str:
    """Why the images of a setup cannot be split, in a sentence; "" where they can."""
    return _split(at, False).problem


def usable(at: Setup, part: str) -> str:
    """A part of a setup's images, or "all" where there is a `problem` with its split, which a page then says."""
    return ALL if part != ALL and problem(at) else part


def cut(part: str, counts: Mapping[str, int]) -> str:
    """The part of the images that setups of fewer have as well: of some sets only so many, evenly spaced."""
    return f"{part}|{','.join(f'{name}:{count}' for name, count in counts.items())}" if counts else part


def whole(part: str) -> bool:
    """Whether a part has images of validation and of test alike."""
    return part.partition("|")[0] == ALL


def rows(at: Setup, name: str, part: str) -> NDArray[np.intp]:
    """The rows of a set's bank that are of a part."""
    return np.flatnonzero(_mask(at, name, part))


@once_a_run
def _mask(at: Setup, name: str, part: str) -> NDArray[np.bool_]:
    """Which rows of a set's bank are of a part."""
    base, _, counts = part.partition("|")
    names = bank(at, name).names
    mask = np.ones(len(names), bool) if base == ALL else _split(at, True).held[name] == (base == VALIDATION)
    most = dict(one.split(":") for one in counts.split(",") if one).get(name)
    if most is None:
        return mask
    asked = evenly(whole_set(name), int(most)).names
    # a bank of some images need not have these: then it stays as it is, and says how many it has
    return mask & np.isin(names, asked) if set(asked) <= set(names) else mask


def part_of(sweep: Sweep, at: Setup, part: str) -> Sweep:
    """A sweep of a setup on a part of its images."""
    if part == ALL:
        return sweep
    return sweep.samples(_mask(at, at.id_set, part), {name: _mask(at, name, part) for name in sweep.ood_scores})


def sizes(at: Setup, sets: Collection[str], part: str) -> tuple[int, int]:
    """Number of images of a part: of the ID set, and of some OOD sets together."""
    return len(rows(at, at.id_set, part)), sum(len(rows(at, name, part)) for name in sets)


def planned_sizes(at: Setup, sets: Collection[str], part: str) -> tuple[int, int]:
    """`sizes` by the lists of the images, before there are banks; of all of them where there is a `problem`."""
    if usable(at, part) == ALL:
        return len(images(at, at.id_set)), sum(len(images(at, name)) for name in sets)
    wanted = part == VALIDATION
    counts = [int((_split(at, False).held[name] == wanted).sum()) for name in (at.id_set, *sets)]
    return counts[0], sum(counts[1:])


def own_sets(at: Setup) -> tuple[str, ...]:
    """The user's own OOD sets of a setup."""
    return tuple(name for name in at.ood if name in own_sets_here())


def noise_sets(at: Setup) -> tuple[str, ...]:
    """The sets of a setup that need no real OOD data: noise that a program draws."""
    return tuple(name for name in at.ood if name in DATASETS and DATASETS[name].noise)
