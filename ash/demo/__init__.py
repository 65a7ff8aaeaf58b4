"""What ships: three networks with their sets and activations, built from named sources, and checked.

    build   sources -> pictures -> weights -> penultimate banks -> the first chart's sweep -> manifest.json
    check   shipped weights and pictures -> activations, compared with the shipped banks; banks -> sweep, compared with
            the shipped one; checksums of every file

Under `FOLDER`: weights.pt and weights/ (state_dicts), images/ (<set>.npz: `images` (n, 28, 28) uint8 and `labels` (n,)
int64, -1 for OOD; <set>.zip and <set>.csv: `ash.datasets.packed_images`), banks/ (format of ash.bank), sweeps/
(`ash.evaluated`), manifest.json (how they were made, and the SHA-256 of every file).
"""

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

from ash import evaluated, results, sweep_files
from ash.bank import Bank, BankError, read_json, write_atomically, write_json
from ash.data import ASSETS, ArrayImages, DataError, ImageSet, Subset, evenly, file_hash
from ash.datasets.packed_images import ListedImages, PackedImages, listing, pack
from ash.demo import sets as demo_sets
from ash.demo import sources
from ash.demo.sets import SETS
from ash.demo.train import Progress, train
from ash.device import describe
from ash.errors import AshError
from ash.extracting import packing
from ash.extraction import extract_steps
from ash.files import npz_bytes, remove_unfinished
from ash.identity import identity
from ash.models import ModelEntry, ModelError, get_model
from ash.networks.curated import PICTURES

FOLDER = ASSETS / "demo"
SOURCE = Path("/usr/share/datasets/fashion-mnist")  # Debian package dataset-fashion-mnist
MODEL = "demo"
EPOCHS, SEED = 6, 0
EXACT = 12
TOLERANCE = 2.0**-9  # of a recomputed activation, as a share of the largest in its bank: what rounding to 9 bits moves
SWEEP_TOLERANCE = 1e-4  # of a recomputed score, as a share of the largest of its method
WORK = ".extracting"  # in the folder that is built: banks before they are packed
SAMPLE = 100  # images of a set of a large network that a check recomputes
UNREADABLE = (BankError, DataError, ModelError, OSError, EOFError, zipfile.BadZipFile, zlib.error)
PACKAGES = ("torch", "torchvision", "numpy", "pillow", "scikit-learn", "scikit-image")


class DemoError(AshError):
    """The demo cannot be checked at all; the message says why."""


@dataclass(frozen=True)
class Part:
    """A network that ships: its weights file, the sets whose activations ship, and to how many bits (`packing`).

    `exact`: sets that keep EXACT bits, since the authors' numbers on them are to be met to the image.
    """

    model: str
    weights: str
    sets: tuple[str, ...]
    bits: int = packing.BITS
    exact: tuple[str, ...] = ()

    def bits_of(self, name: str) -> int:
        """How many bits the activations of a set keep."""
        return EXACT if name in self.exact else self.bits


PARTS = {
    part.model: part
    for part in (
        Part("mobilenet_v2_photos", "weights/mobilenet_v2_photos.pt", ("photos", *PICTURES, "dtd")),
        Part(
            "densenet101_cifar10",
            "weights/densenet101_cifar10.pth",
            ("cifar10", "isun", "dtd", *PICTURES),
            bits=9,
            exact=("cifar10", "isun", "dtd"),
        ),
        Part(MODEL, "weights.pt", SETS),
    )
}


@dataclass(frozen=True)
class Comparison:
    """Recomputed against shipped activations of one set: rows compared, largest absolute and relative difference."""

    part: Part
    name: str
    rows: int
    absolute: float
    relative: float
    same_identity: bool

    @property
    def problems(self) -> list[str]:
        """What is wrong with this bank, a sentence each."""
        found = []
        where = f"The bank of {self.name} ({self.part.model})"
        if not self.same_identity:
            found.append(f"{where} was made with other weights or pictures than those that ship.")
        if not self.relative <= TOLERANCE:  # NaN too
            found.append(f"{where} differs from what was recomputed by {self.relative:.2g} > {TOLERANCE:g}.")
        return found


@dataclass(frozen=True)
class Report:
    """What `check` found. `problems` holds a sentence each; none means that all that ships is as built."""

    comparisons: tuple[Comparison, ...]
    files: int
    problems: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{'network':<22}{'set':<22}{'rows':>7}{'largest difference':>20}{'relative':>11}"]
        lines += [
            f"{c.part.model:<22}{c.name:<22}{c.rows:>7,}{c.absolute:>20.2e}{c.relative:>11.2e}"
            for c in self.comparisons
        ]
        verdict = [f"{self.files} files match their checksums, differences stay below what rounding explains."]
        return "\n".join(lines + (list(self.problems) or verdict))


def images_path(folder: Path, name: str) -> Path:
    """Where the pictures of a set are, or the list of those that do not ship."""
    paths = [folder / "images" / f"{name}.{suffix}" for suffix in ("npz", "zip", "csv")]
    return next((path for path in paths if path.is_file()), paths[0])


def images_in(folder: Path, name: str) -> ImageSet:
    """The pictures of a set."""
    path = images_path(folder, name)
    if path.suffix == ".npz":
        return ArrayImages(path, name, name)
    return PackedImages(path, name, name) if path.suffix == ".zip" else ListedImages(path, name, name)


def entry_in(folder: Path, model: str = MODEL) -> ModelEntry:
    """A network that ships, with the weights of `folder`."""
    return get_model(model).with_checkpoint(folder / PARTS[model].weights)


def bar(steps: Iterable[Any], text: str) -> Iterable[Any]:
    """`steps` with a progress bar on the terminal."""
    from tqdm import tqdm

    return tqdm(steps, desc=text)


def build(
    source: Path = SOURCE, out: Path = FOLDER, epochs: int = EPOCHS, seed: int = SEED, progress: Progress = bar
) -> Path:
    """Make the part `demo` under `out`; about ten minutes on two free cores. SourceError says what is missing."""
    _check_folder(out)
    pictures, labels = demo_sets.fashion_mnist(source, "train")
    for name, (images, classes) in demo_sets.make_sets(source, seed).items():
        _write_pictures(out / "images" / f"{name}.npz", images, classes)
    model = train(pictures, labels, epochs, seed, progress)
    write_atomically(out / "weights.pt", sources.state_bytes(model.state_dict()))
    return _finish(PARTS[MODEL], out, {}, {"epochs": epochs, "seed": seed}, progress)


def build_part(model: str, data: Path, out: Path = FOLDER, seed: int = SEED, progress: Progress = bar) -> Path:
    """Make the part of another network from the sources in the folder `data` (`ash.demo.sources`), whose images at the
    penultimate layer take some minutes. SourceError says what is missing."""
    _check_folder(out)
    part = PARTS[model]
    listed: dict[str, ImageSet] = {}
    for name in part.sets:
        if name in sources.UNSHIPPED:
            found = sources.unshipped(name, data)
            write_atomically(out / "images" / f"{name}.csv", listing(found.rows))
            listed[name] = found.at(out / "images" / f"{name}.csv")
        else:
            path = out / "images" / f"{name}.zip"
            write_atomically(path, pack(list(progress(sources.packed(name, data, seed), f"pictures of {name}"))))
    write_atomically(out / part.weights, sources.weights(model, data))
    return _finish(part, out, listed, {"seed": seed}, progress)


def _check_folder(out: Path) -> None:
    if out.is_dir() and any(out.iterdir()) and not (out / "images").is_dir():
        raise DemoError(f"{out} is not empty and holds no demo: give --out an empty or a new folder.")


def _finish(part: Part, out: Path, listed: dict[str, ImageSet], how: dict[str, Any], progress: Progress) -> Path:
    """The banks of a part, and what is said of it in the manifest."""
    for stale in (out / "banks" / part.model, out / WORK):  # of earlier weights
        shutil.rmtree(stale, ignore_errors=True)
    for name in part.sets:
        whole = _extract(part, out, listed.get(name) or images_in(out, name), out / WORK, progress)
        packing.pack(whole.read(), whole.folder, out / "banks" / whole.identity.folder, part.bits_of(name))
    shutil.rmtree(out / WORK)
    if part.model in evaluated.MODELS:
        _evaluate(part, out)
    remove_unfinished(out, "manifest.json")  # of a build that was killed; it is none of the files that count
    path = out / "manifest.json"
    before = read_json(path) if path.is_file() else {}
    code = {model: code for model, code in before.get("code", {}).items() if model != part.model}
    made = {**before.get("made", {}), part.model: {**how, **_machine()}}
    write_json(path, {"made": made, **({"code": code} if code else {}), "files": _checksums(out)})
    return out


def evaluate(folder: Path = FOLDER) -> Path:
    """Make the sweeps that ship again, from the banks in `folder`: after a change of what the first chart shows."""
    for model in evaluated.MODELS:
        _evaluate(PARTS[model], folder)
    path = folder / "manifest.json"
    write_json(path, {**read_json(path), "files": _checksums(folder)})
    return folder


def _evaluate(part: Part, folder: Path) -> None:
    banks = {name: _shipped_bank(folder, name, part.model) for name in part.sets}
    done = evaluated.compute(entry_in(folder, part.model), banks)
    write_atomically(
        evaluated.path_in(folder, part.model), evaluated.to_bytes(done, banks, describe(torch.device("cpu")))
    )


def _write_pictures(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    write_atomically(path, npz_bytes(images=images, labels=labels))


def _extract(part: Part, folder: Path, data: ImageSet, root: Path, progress: Progress) -> Bank:
    """The penultimate bank of a set, from the weights in `folder`, under `root`."""
    entry = entry_in(folder, part.model)
    steps = extract_steps(entry, "penultimate", data, root=root, device=torch.device("cpu"))
    for _ in progress(steps, f"activations of {data.name}"):
        pass
    return Bank(root / identity(entry, "penultimate", data).folder)


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


def check(
    folder: Path = FOLDER,
    sets: Sequence[str] = (),
    progress: Progress = bar,
    models: Sequence[str] = tuple(PARTS),
) -> Report:
    """Compare files with their checksums, and banks of `sets` (all, where none is named) with recomputed activations.

    The tables of `ash.results` that ship are checked by their own checksums, with `FOLDER` alone.

    Recomputed are all 28 x 28 pictures and a spread of the others: two minutes of CPU. Of a set whose images do not
    ship, the checksums are all that can be checked.
    """
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
    problems += results.damaged() if folder == FOLDER else []
    comparisons: list[Comparison] = []
    for part in (PARTS[model] for model in models if (folder / PARTS[model].weights).is_file()):
        for name in part.sets:
            if (sets and name not in sets) or name in sources.UNSHIPPED:
                continue
            try:
                comparisons.append(_compare(part, folder, name, progress))
                problems += comparisons[-1].problems
            except UNREADABLE as error:
                problems.append(f"{name} of {part.model} cannot be compared: {error}")
        if part.model in evaluated.MODELS and not sets:
            problems += _compare_sweep(part, folder)
    return Report(tuple(comparisons), len(stated), tuple(problems))


def _compare(part: Part, folder: Path, name: str, progress: Progress) -> Comparison:
    """Recompute activations of a set and hold them against the bank that ships."""
    shipped, data = _shipped_bank(folder, name, part.model), images_in(folder, name)
    if (shipped.names, shipped.labels.tolist()) != (list(data.names), data.labels.tolist()):
        raise BankError(f"its bank lists {len(shipped)} samples that are not its {len(data)} pictures.")
    some = data if part.model == MODEL or len(data) <= SAMPLE else evenly(data, SAMPLE)
    rows = some.rows if isinstance(some, Subset) else np.arange(len(data))
    with tempfile.TemporaryDirectory() as scratch:
        fresh = _extract(part, folder, some, Path(scratch), progress)
        if fresh.shape != (len(rows), *shipped.shape[1:]):
            raise BankError(f"{len(rows)} rows of its bank have the shape {shipped.shape[1:]}, again {fresh.shape}.")
        old, new = shipped.read(), fresh.read()
    absolute, most = float(np.abs(old[rows] - new).max()), float(np.abs(old).max())
    now = identity(entry_in(folder, part.model), "penultimate", data)
    same = shipped.identity in (now, now.earlier)  # the activations themselves tell of the code
    return Comparison(part, name, len(rows), absolute, absolute / most, same)


def _compare_sweep(part: Part, folder: Path) -> list[str]:
    """What is wrong with the sweep that ships of a network, a sentence each."""
    path = evaluated.path_in(folder, part.model)
    try:
        shipped, _ = sweep_files.from_bytes(path.read_bytes())
        banks = {name: _shipped_bank(folder, name, part.model) for name in part.sets}
    except (*UNREADABLE, *sweep_files.UNREADABLE) as error:
        return [f"The sweep of {part.model} cannot be compared: {error}"]
    apart = evaluated.largest_difference(shipped, evaluated.compute(entry_in(folder, part.model), banks))
    if apart <= SWEEP_TOLERANCE:
        return []
    return [f"The sweep of {part.model} is not what its banks give, by {apart:.2g} of a score; run demo evaluate."]


def _shipped_bank(folder: Path, name: str, model: str = MODEL) -> Bank:
    """The only bank of a set of a network under `folder`, intact, whatever weights it says it was made with."""
    found = [path.parent for path in (folder / "banks" / model).glob(f"*/{name}-*/manifest.json")]
    if len(found) != 1:
        raise BankError(f"there are {len(found)} banks of it, expected one.")
    bank = Bank(found[0], as_it_is=True)  # its manifest is one of the files that are checked
    if bank.damaged():
        raise BankError(f"{', '.join(bank.damaged())} of {found[0].name} is damaged.")
    return bank
