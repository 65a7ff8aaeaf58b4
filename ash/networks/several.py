"""Several checkpoints of one network, trained with other seeds: the files that are meant, and what they are called."""

import glob
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path

from ash.files import expand
from ash.networks.checkpoints import SUFFIXES, ModelError

ENDINGS = (*SUFFIXES[::-1], ".ckpt")  # of the files in a folder that are taken for checkpoints
LONGEST = 80  # characters of a name, which a link carries


def weights_files(given: Iterable[Path | str]) -> tuple[Path, ...]:
    """The files that are meant: each one itself, all weights files of a folder, all that a pattern matches, by name.

    A pattern is one of the shell's, `runs/s*/best.ckpt`. ModelError for a folder or a pattern without any.
    """
    found: list[Path] = []
    for path in map(expand, given):
        some = [path]
        if path.is_dir():
            some = sorted(one for one in path.iterdir() if one.is_file() and one.name.endswith(ENDINGS))
        elif not path.exists() and glob.has_magic(str(path)):
            some = sorted(map(Path, glob.glob(str(path), recursive=True)))
        if not some:
            raise ModelError(f"There is no checkpoint in {path}: a file ends in {', '.join(ENDINGS)}.")
        found += some
    return tuple(found)


def called(paths: Sequence[Path]) -> tuple[str, ...]:
    """What each of several files is called: the part of its path in which they differ, without its ending: `seed1`.

    Numbers from 1 where those are not all different, or no link can say them.
    """
    parts = [path.absolute().parts for path in paths]
    first, last = _shared(parts), _shared([one[::-1] for one in parts])
    names = ["/".join(one[first : len(one) - last]) for one in parts]
    if not last:
        names = [name.removesuffix(next((end for end in ENDINGS if name.endswith(end)), "")) for name in names]
    fit = all(name == name.strip() and name.isprintable() and 0 < len(name) <= LONGEST for name in names)
    if not fit or len({*names}) < len(names) or "mean" in names:  # the row of the mean is called that
        return tuple(str(number) for number in range(1, len(paths) + 1))
    return tuple(names)


def _shared(paths: Sequence[tuple[str, ...]]) -> int:
    """How many parts all paths begin with."""
    return len(list(takewhile(lambda parts: len({*parts}) == 1, zip(*paths, strict=False))))


def check_different(hashes: Mapping[str, str]) -> None:
    """ModelError where two checkpoints are the same file: their deviation would say nothing. SHA-256 by name."""
    first: dict[str, str] = {}
    for name, digest in hashes.items():
        if digest in first:
            raise ModelError(
                f"The checkpoints {first[digest]} and {name} have the same content: a deviation is one over different "
                "trainings; leave one of them out."
            )
        first[digest] = name
