"""Several checkpoints of one network, trained with other seeds: the files that are meant, and what they are called."""

import glob
from collections.abc import Iterable, Sequence
from itertools import chain, count, takewhile
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

    All of it with the file's name, `mean.pt`, where that part is another's too or `mean`, as the row of the mean is
    called; with a number, `seed1.pt (2)`, where the same file is named twice. What no link can say is left out.
    """
    parts = [path.absolute().parts for path in paths]
    first, last = _shared([one[:-1] for one in parts]), _shared([one[::-1] for one in parts])
    ends = ["/".join(one[first : len(one) - last]) for one in parts]
    short = [_sayable(end if last else without_ending(end)) for end in ends]
    names: list[str] = []
    for name, one in zip(short, parts, strict=True):
        clashes = name in ("", "mean") or short.count(name) > 1
        base = _sayable("/".join(one[first:])) if clashes else name
        more = (f"{base[: LONGEST - 6]} ({number})".strip() for number in count(2))
        names.append(next(text for text in chain([base], more) if text not in ("", "mean", *names)))
    return tuple(names)


def without_ending(name: str) -> str:
    """The name of a checkpoint's file, or the end of its path, without its kind: `seed1` of `seed1.pth.tar`."""
    return name.removesuffix(next((end for end in ENDINGS if name.endswith(end)), ""))


def _sayable(name: str) -> str:
    """As much of a name as a link can say: what is printable, and of a long one its end."""
    return "".join(filter(str.isprintable, name)).strip()[-LONGEST:].strip()


def _shared(paths: Sequence[tuple[str, ...]]) -> int:
    """How many parts all paths begin with."""
    return len(list(takewhile(lambda parts: len({*parts}) == 1, zip(*paths, strict=False))))


def check_different(hashes: Iterable[tuple[str, str]]) -> None:
    """ModelError where two checkpoints are the same file: their deviation would say nothing. Names and SHA-256."""
    first: dict[str, str] = {}
    for name, digest in hashes:
        if digest in first:
            raise ModelError(
                f"The checkpoints {first[digest]} and {name} have the same content: a deviation is one over different "
                "trainings; leave one of them out."
            )
        first[digest] = name
