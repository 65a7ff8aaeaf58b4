"""The bundled demo: a small ResNet on Fashion-MNIST with six OOD sets, built, and checked against what ships.

    build   Debian's Fashion-MNIST files -> pictures -> trained weights -> penultimate banks -> manifest.json
    check   shipped weights and pictures -> activations, compared with the shipped banks; checksums of every file

Under `FOLDER`: weights.pt (a state_dict), images/<set>.npz (`images` (n, 28, 28) uint8, `labels` (n,) int64, -1 for
OOD), banks/ (format of ash.bank), manifest.json (how they were made, and the SHA-256 of every file).
"""

import io
import platform
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ash.bank import Bank, BankError, read_json, write_atomically, write_json
from ash.data import ASSETS, ArrayImages, DataError, file_hash
from ash.demo import sets as demo_sets
from ash.demo.sets import SETS
from ash.demo.train import Progress, train
from ash.device import describe
from ash.errors import AshError
from ash.extraction import extract_steps
from ash.files import remove_unfinished
from ash.models import ModelEntry, ModelError, get_model

FOLDER = ASSETS / "demo"
SOURCE = Path("/usr/share/datasets/fashion-mnist")  # Debian package dataset-fashion-mnist
MODEL = "demo"
EPOCHS, SEED = 6, 0
TOLERANCE = 1e-4  # of a recomputed activation, as a share of the largest activation in its bank
UNREADABLE = (BankError, DataError, ModelError, OSError, EOFError, zipfile.BadZipFile, zlib.error)
PACKAGES = ("torch", "torchvision", "numpy", "pillow", "scikit-learn", "scikit-image")


class DemoError(AshError):
    """The demo cannot be checked at all; the message says why."""


@dataclass(frozen=True)
class Comparison:
    """Recomputed against shipped activations of one set: rows compared, largest absolute and relative difference."""

    name: str
    rows: int
    absolute: float
    relative: float
    same_identity: bool

    @property
    def problems(self) -> list[str]:
        """What is wrong with this bank, a sentence each."""
        found = []
        if not self.same_identity:
            found.append(f"The bank of {self.name} was made with other weights or pictures than those that ship.")
        if not self.relative <= TOLERANCE:  # NaN too
            found.append(
                f"The bank of {self.name} differs from what was recomputed by {self.relative:.2g} > {TOLERANCE:g}."
            )
        return found


@dataclass(frozen=True)
class Report:
    """What `check` found. `problems` holds a sentence each; none means that all that ships is as built."""

    comparisons: tuple[Comparison, ...]
    files: int
    problems: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{'set':<22}{'rows':>7}{'largest difference':>20}{'relative':>11}"]
        lines += [f"{c.name:<22}{c.rows:>7,}{c.absolute:>20.2e}{c.relative:>11.2e}" for c in self.comparisons]
        verdict = [f"{self.files} files match their checksums, differences stay below {TOLERANCE:g}."]
        return "\n".join(lines + (list(self.problems) or verdict))


def images_path(folder: Path, name: str) -> Path:
    """Where the pictures of a set are."""
    return folder / "images" / f"{name}.npz"


def entry_in(folder: Path) -> ModelEntry:
    """The registered demo model, with the weights of `folder`."""
    return get_model(MODEL).with_checkpoint(folder / "weights.pt")


def bar(steps: Iterable[Any], text: str) -> Iterable[Any]:
    """`steps` with a progress bar on the terminal."""
    from tqdm import tqdm

    return tqdm(steps, desc=text)


def build(
    source: Path = SOURCE, out: Path = FOLDER, epochs: int = EPOCHS, seed: int = SEED, progress: Progress = bar
) -> Path:
    """Make the whole demo under `out`; about ten minutes on two free cores. SourceError says what is missing."""
    if out.is_dir() and any(out.iterdir()) and not (out / "images").is_dir():
        raise DemoError(f"{out} is not empty and holds no demo: give --out an empty or a new folder.")
    pictures, labels = demo_sets.fashion_mnist(source, "train")
    for name, (images, classes) in demo_sets.make_sets(source, seed).items():
        _write_pictures(images_path(out, name), images, classes)
    model = train(pictures, labels, epochs, seed, progress)
    weights = io.BytesIO()
    torch.save(model.state_dict(), weights)
    write_atomically(out / "weights.pt", weights.getvalue())
    shutil.rmtree(out / "banks" / MODEL, ignore_errors=True)  # those of earlier weights
    for name in SETS:
        _extract(out, name, out / "banks", progress)
    made = {"epochs": epochs, "seed": seed, **_machine()}
    remove_unfinished(out, "manifest.json")  # of a build that was killed; it is none of the files that count
    write_json(out / "manifest.json", {"made": made, "files": _checksums(out)})
    return out


def _write_pictures(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, images=images, labels=labels)
    write_atomically(path, buffer.getvalue())


def _extract(folder: Path, name: str, root: Path, progress: Progress) -> None:
    """The penultimate bank of a set, from the weights and pictures in `folder`, under `root`."""
    data = ArrayImages(images_path(folder, name), name, name)
    steps = extract_steps(entry_in(folder), "penultimate", data, root=root, device=torch.device("cpu"))
    for _ in progress(steps, f"activations of {name}"):
        pass


def _machine() -> dict[str, Any]:
    """Where, when and with which versions the demo was made."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "device": describe(torch.device("cpu")),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in PACKAGES},
    }


def _checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file but the manifest, by path relative to `folder`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / "manifest.json")
    return {path.relative_to(folder).as_posix(): file_hash(path) for path in files}


def check(folder: Path = FOLDER, sets: Sequence[str] = SETS, progress: Progress = bar) -> Report:
    """Compare files with their checksums, and banks of `sets` with recomputed activations (a minute of CPU for all)."""
    if not (folder / "manifest.json").is_file():
        raise DemoError(f"There is no demo in {folder}: manifest.json is missing; run `python -m ash demo build`.")
    try:
        stated, found = dict(read_json(folder / "manifest.json")["files"]), _checksums(folder)
    except (BankError, KeyError, ValueError):
        raise DemoError(f"{folder / 'manifest.json'} is damaged; run `python -m ash demo build`.") from None
    problems = [f"{name} is missing." for name in stated if name not in found]
    changed = [name for name in stated if found.get(name, stated[name]) != stated[name]]
    problems += [f"{name} does not match its checksum." for name in changed]
    problems += [f"{name} is not in the manifest." for name in found if name not in stated]
    comparisons: list[Comparison] = []
    for name in sets:
        try:
            comparisons.append(_compare(folder, name, progress))
            problems += comparisons[-1].problems
        except UNREADABLE as error:
            problems.append(f"{name} cannot be compared: {error}")
    return Report(tuple(comparisons), len(stated), tuple(problems))


def _compare(folder: Path, name: str, progress: Progress) -> Comparison:
    """Recompute the activations of a set and hold them against the bank that ships."""
    shipped = _shipped_bank(folder, name)
    with tempfile.TemporaryDirectory() as scratch:
        _extract(folder, name, Path(scratch), progress)
        fresh = Bank(next(Path(scratch).glob("*/*/*")))
        if (fresh.shape, fresh.names, fresh.labels.tolist()) != (shipped.shape, shipped.names, shipped.labels.tolist()):
            raise BankError(f"its bank has shape {shipped.shape} and other samples, recomputed it is {fresh.shape}.")
        old, new = shipped.read(), fresh.read()
        absolute = float(np.abs(new - old).max())
    same = shipped.identity in (fresh.identity, fresh.identity.earlier)  # the activations themselves tell of the code
    return Comparison(name, len(shipped), absolute, absolute / float(np.abs(old).max()), same)


def _shipped_bank(folder: Path, name: str) -> Bank:
    """The only bank of a set under `folder`, intact, whatever weights it says it was made with."""
    found = [path.parent for path in (folder / "banks").glob(f"*/*/{name}-*/manifest.json")]
    if len(found) != 1:
        raise BankError(f"there are {len(found)} banks of it, expected one.")
    bank = Bank(found[0], as_it_is=True)  # its manifest is one of the files that are checked
    if bank.damaged():
        raise BankError(f"{', '.join(bank.damaged())} of {found[0].name} is damaged.")
    return bank
