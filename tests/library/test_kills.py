"""Kills before any step on the disk: nothing that was finished is lost, and the next run leaves no stray file.

Some of the steps here; `benchmarks/kills.py` takes all of them.
"""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from extraction_children import images
from kill_children import after, demo_build, kept_sweep, library_job

from ash.extracting import claims
from ash.files import read_json

pytestmark = pytest.mark.slow

EVERY = 7  # of the steps that are tried; a prime, so that all kinds of them are met
CHANGING = ("provenance.json", "manifest.json")  # hold a date; of the demo's the checksums are compared


def idx(path: Path, values: Any) -> None:
    header = bytes((0, 0, 8, values.ndim)) + np.array(values.shape, ">i4").tobytes()
    path.write_bytes(gzip.compress(header + values.astype(np.uint8).tobytes()))


def pictures(folder: Path) -> Path:
    """A stand-in for Debian's Fashion-MNIST: pictures of noise."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for part, number in (("train", 60), ("t10k", 60)):
        idx(folder / f"{part}-images-idx3-ubyte.gz", rng.integers(0, 256, (number, 28, 28)))
        idx(folder / f"{part}-labels-idx1-ubyte.gz", np.arange(number) % 10)
    return folder


def few_images(folder: Path) -> Path:
    return images(folder, 130, broken=[3]).path


def nothing(_: Path) -> None:
    return None


WORKS: dict[str, tuple[Callable[..., None], Callable[[Path], Path | None]]] = {
    "library": (library_job, few_images),
    "demo": (demo_build, pictures),
    "store": (kept_sweep, nothing),
}


def content(root: Path) -> dict[str, bytes]:
    """Every file by its path; of those that hold a date only that they are there."""
    files = (path for path in root.rglob("*") if path.is_file() and path.suffix != ".steps")
    return {
        path.relative_to(root).as_posix(): b"" if path.name in CHANGING or path.suffix == ".npz" else path.read_bytes()
        for path in files
    }


def finished(root: Path) -> dict[str, int]:
    """When each shard that is finished, and each sweep that is kept, was written."""
    made = [*(path.with_suffix(".npy") for path in root.rglob("shard-*.json")), *root.parent.rglob("sweeps/*.npz")]
    return {str(path): path.stat().st_mtime_ns for path in made}


def kill_and_go_on(name: str, folder: Path, number: int, whole: dict[str, bytes], data: Path | None) -> str:
    """What is wrong after a kill before step `number` and another run; "" if nothing is."""
    work, root = WORKS[name][0], folder / f"{number}" / "banks"
    arguments = () if data is None else (data,)
    if after(number, work, root, *arguments) != -1:
        return "it was not killed"
    before = finished(root) if name != "demo" else {}  # a new build is a new demo
    after(0, work, root, *arguments)
    now, found = finished(root), content(root.parent)
    lost = [path for path, made in before.items() if now.get(path) != made]
    stray, missing = sorted(found.keys() - whole.keys()), sorted(whole.keys() - found.keys())
    other = [path for path in found.keys() & whole.keys() if found[path] != whole[path]]
    words = {"lost": lost, "stray": stray, "missing": missing, "other bytes": other}
    return "; ".join(f"{word}: {', '.join(paths)}" for word, paths in words.items() if paths)


def undisturbed(name: str, folder: Path) -> tuple[int, dict[str, bytes], Path | None]:
    """Steps on the disk of a run that nobody kills, its files, and the data it needs."""
    work, make = WORKS[name]
    data, root = make(folder / "data"), folder / "whole" / "banks"
    steps = after(0, work, root, *(() if data is None else (data,)))
    return steps, content(root.parent), data


@pytest.mark.skipif(claims.fcntl is None, reason="no fork")
@pytest.mark.parametrize(("name", "every"), [("library", EVERY), ("demo", 131), ("store", 1)])
def test_a_kill_before_a_step_on_the_disk_loses_nothing(name: str, every: int, tmp_path: Path) -> None:
    steps, whole, data = undisturbed(name, tmp_path)
    assert steps > 5
    wrong = {number: kill_and_go_on(name, tmp_path, number, whole, data) for number in range(1, steps + 1, every)}
    assert {number: what for number, what in wrong.items() if what} == {}


@pytest.mark.skipif(claims.fcntl is None, reason="no fork")
def test_what_a_killed_build_of_the_demo_left_is_not_among_its_files(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    (out / "images").mkdir(parents=True)
    for name in ("weights.pt", "images/digits.npz", "manifest.json"):
        path = out / name
        path.with_name(f".{path.name}-abcdefgh").write_bytes(b"half")
    after(0, demo_build, out, pictures(tmp_path / "data"))
    there = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert there == {*read_json(out / "manifest.json")["files"], "manifest.json"}
    assert not any("abcdefgh" in name for name in there)
