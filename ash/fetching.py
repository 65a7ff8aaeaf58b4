"""`python -m ash fetch`: data sets and weights from their public addresses into the data root.

Download (resumable) -> verify -> unpack beside the target -> count -> rename into place. An archive that lies in the
set's folder already is taken as it is, so that a file with a dead address can be put there by hand. Addresses come from
the registries alone.
"""

import difflib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ash.data import CHECKPOINTS, DATASETS, Archive, DataError, DatasetEntry, MadeEntry, data_root, own_sets
from ash.datasets.archives import ArchiveError, unpack_steps
from ash.datasets.downloading import FetchProgress, download_steps, verify_steps
from ash.extracting import claims
from ash.files import file_hash
from ash.names import HUB
from ash.networks import timm_models
from ash.networks.checkpoints import checksum_path, note_checksum, suffix_of, weights_place

__all__ = ["FetchProgress", "fetch_steps", "fetch_with_bars"]

Steps = Generator[FetchProgress, None, Path]
_PREFIX = ".fetch-"
_TORCHVISION: dict[str, dict[str, Any]] = {  # how its classes are called; the root is where the archives lie
    "CIFAR10": {"root": ".", "train": False, "download": True},
    "CIFAR100": {"root": ".", "train": False, "download": True},
    "SVHN": {"root": ".", "split": "test", "download": True},
    "DTD": {"root": "..", "split": "test", "download": True},
    "ImageNet": {"root": ".", "split": "val"},
}
_CALL = "import json, sys; from torchvision import datasets; getattr(datasets, sys.argv[1])(**json.loads(sys.argv[2]))"


def fetch_steps(name: str, root: Path | None = None) -> Steps:
    """Fetch a data set or a model's weights into the data root; yields progress, returns where it is.

    Stop iterating to cancel: what is loaded stays, and the next call goes on from there. DataError, in a sentence, for
    an unknown name, for what only its licence gives out, and for everything that the network, the disk or a wrong file
    can do. Only one process fetches a name at a time.
    """
    base = root or data_root()
    if name in DATASETS:
        return (yield from _fetch_set(DATASETS[name], base))
    if name.startswith(HUB) and not timm_models.config_path(name).is_file():
        yield from _fetch_config(name, base)
    weights = _weights(name, base)
    if weights is None:
        raise DataError(f"'{name}' is your own set in {base}; there is nothing to fetch.")
    archive, target = weights
    return (yield from _fetch_weights(archive, target))


def _weights(name: str, base: Path) -> tuple[Archive, Path] | None:
    """The weights file of a model and where it belongs, None for an own data set; DataError for an unknown name."""
    from ash.models import MODELS, ModelError, get_model, torchvision_names

    if name in own_sets(base):
        return None
    try:
        entry = get_model(name)
    except ModelError as error:
        if timm_models.is_of_timm(name):
            raise DataError(str(error)) from error
        near = difflib.get_close_matches(name, [*DATASETS, *MODELS, *torchvision_names()], n=1)
        hint = f"did you mean {near[0]}?" if near else "`python -m ash data` and `python -m ash models` list them."
        raise DataError(f"There is no data set or model '{name}': {hint}") from error
    if not entry.url:
        where = f"put it there as {entry.weights}" if not entry.present else "it is there"
        raise DataError(f"The weights of {name} have no public address; {where}.")
    checksum = f"sha256:{entry.url_hash}" if entry.url_hash else ""
    target = base / CHECKPOINTS / f"{weights_place(name)}{suffix_of(entry.url)}"
    return Archive(target.name, entry.url, checksum=checksum), target


def _fetch_config(name: str, base: Path) -> Iterator[FetchProgress]:
    """The configuration of a network of the model hub, which says what its weights are."""
    target = base / CHECKPOINTS / f"{weights_place(name)}.json"
    with _only_one(target):
        yield from download_steps(timm_models.config_url(name), target)


def _fetch_weights(archive: Archive, target: Path) -> Steps:
    with _only_one(target):
        if target.is_file():
            wrong = yield from verify_steps(target, target.name, None, archive.checksum)
            if wrong:
                raise DataError(f"{target} is another file than the published one: {wrong}. Move it to fetch that one.")
        else:
            checksum_path(target).unlink(missing_ok=True)
            yield from download_steps(archive.url, target, checksum=archive.checksum)
            note_checksum(target, file_hash(target))
    return target


def _fetch_set(entry: DatasetEntry, base: Path) -> Steps:
    status = entry.status(base)
    if status.state != "present":
        if isinstance(entry, MadeEntry) or status.state == "features":
            raise DataError(status.reason)
        if not entry.files:
            raise DataError(f"{entry.label} ships with the explorer: run `python -m ash demo build`.")
        with _only_one(base / entry.folders[0]):
            yield from _build(entry, base)
        status = entry.status(base)
    yield FetchProgress("verify", entry.name, status.count or 0, entry.count)
    return status.path


def _build(entry: DatasetEntry, base: Path) -> Iterator[FetchProgress]:
    """Download what is missing, unpack it into a hidden folder, count, and only then move it into place."""
    final, downloads = base / entry.folders[0], base / ".downloads" / entry.folders[0]
    archives: list[Path] = []
    for archive in entry.files:
        archives.append((yield from _archive(entry, archive, final, downloads)))
    for stale in base.glob(f"{_PREFIX}{entry.folders[0]}-*"):
        shutil.rmtree(stale, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{entry.folders[0]}-", dir=base))
    try:
        new = work / entry.folders[0]
        if entry.torchvision:
            yield from _unpack_by_torchvision(entry, archives, new)
        else:
            yield from _unpack(entry, archives, new)
        _check_count(entry, work, archives)
        _move_into_place(new, final)
    except ArchiveError as error:
        unknown = [path for path, file in zip(archives, entry.files, strict=True) if not file.checksum]
        raise DataError(f"{error} Nothing was unpacked. {_kept_or_not(archives, unknown, downloads)}") from error
    except OSError as error:
        raise DataError(f"{entry.label} cannot be put into {base}: {error.strerror}.") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(downloads, ignore_errors=True)


def _archive(entry: DatasetEntry, archive: Archive, final: Path, downloads: Path) -> Steps:
    """The verified archive: the one that the user put into the set's folder, or the downloaded one."""
    own = final / archive.file
    if own.is_file():
        wrong = yield from verify_steps(own, own.name, archive.size, archive.checksum)
        if wrong:
            raise DataError(f"{own} is not the published file: {wrong}. Replace it, then run the same command again.")
        return own
    if not archive.url:
        raise DataError(entry.how_to_get(final.parent))
    target = downloads / archive.file
    if target.is_file() and (yield from verify_steps(target, target.name, archive.size, archive.checksum)):
        target.unlink()  # an earlier fetch left it, and it has changed since
    if not target.is_file():
        yield from download_steps(
            archive.url, target, size=archive.size, checksum=archive.checksum, by_hand=final / archive.file
        )
    return target


def _unpack(entry: DatasetEntry, archives: list[Path], new: Path) -> Iterator[FetchProgress]:
    for path, archive in zip(archives, entry.files, strict=True):
        for done, total in unpack_steps(path, new, members=archive.members):
            yield FetchProgress("unpack", path.name, done, total)


def _unpack_by_torchvision(entry: DatasetEntry, archives: list[Path], new: Path) -> Iterator[FetchProgress]:
    """torchvision's class finds the archives where it would have loaded them to, unpacks and verifies.

    In a process of its own, which can be stopped; progress is the number of files that are there.
    """
    new.mkdir()
    links = [new / path.name for path in archives]
    for link, path in zip(links, archives, strict=True):
        link.symlink_to(path.resolve())
    options = dict(_TORCHVISION[entry.torchvision])
    options["root"] = str(new if options["root"] == "." else new.parent)
    command = [sys.executable, "-P", "-c", _CALL, entry.torchvision, json.dumps(options)]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        try:
            while True:
                yield FetchProgress("unpack", archives[0].name, _files_in(new), None)
                try:
                    code = process.wait(0.5)
                    break
                except subprocess.TimeoutExpired:
                    continue
        finally:
            process.kill()
            process.wait()
        errors.seek(0)
        last = errors.read().decode(errors="replace").strip().splitlines()[-1:]
    if code:
        raise ArchiveError(f"torchvision cannot unpack {archives[0].name}: {(last or [f'exit status {code}'])[0]}.")
    for link, path in zip(links, archives, strict=True):
        link.unlink()
        if path.suffix == ".mat":  # this archive is the data
            path.replace(link)


def _files_in(folder: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))


def _check_count(entry: DatasetEntry, work: Path, archives: list[Path]) -> None:
    status = replace(entry, folders=entry.folders[:1]).status(work)
    if status.state == "present":
        return
    names = " and ".join(path.name for path in archives)
    raise ArchiveError(f"{names} unpacks to {status.reason.rstrip('.')}.")


def _kept_or_not(archives: list[Path], unknown: list[Path], downloads: Path) -> str:
    """Delete the refused archives that were downloaded and have no published checksum; a sentence on what was done."""
    deleted = [path for path in unknown if path.parent == downloads]
    for path in deleted:
        path.unlink()
    if deleted:
        names = " and ".join(path.name for path in deleted)
        return f"{names} was deleted, for no checksum of it is published: the same command loads it again."
    stay = " and ".join(map(str, archives))
    return f"The archive stays as {stay}: delete it, or put another one there, and run the same command again."


def _move_into_place(new: Path, final: Path) -> None:
    """One rename for each entry of the set's folder; what an earlier, incomplete copy left there is replaced."""
    final.mkdir(parents=True, exist_ok=True)
    for path in new.iterdir():
        place = final / path.name
        if place.is_dir() and not place.is_symlink():
            place.rename(new.parent / f"old-{path.name}")
        path.replace(place)


@contextmanager
def _only_one(target: Path) -> Iterator[None]:
    """Hold the lock of a name; DataError when another process has it or the folder cannot be written."""
    where = target.parent
    try:
        held = claims.claim(where / f".{target.name}.lock")
    except OSError as error:
        raise DataError(f"{where} cannot be written: {error.strerror}. Set ASH_DATA to another folder.") from error
    if held is None:
        raise DataError(f"{target.name} is being fetched already, by another process or page.")
    with held:
        yield


def fetch_with_bars(names: Iterable[str], root: Path | None = None) -> Iterator[tuple[str, Path]]:
    """Fetch one after the other with progress bars (rate, time left); yields each name and where it is."""
    for name in names:
        steps = fetch_steps(name, root)
        with closing(steps):
            yield name, _show(steps)


def _show(steps: Steps) -> Path:
    """Run the steps with a bar for every stage of every file."""
    from tqdm import tqdm

    shown, bar = ("", ""), tqdm(disable=True)
    try:
        while True:
            step = next(steps)
            if shown != (step.stage, step.file):
                bar.close()
                shown, files = (step.stage, step.file), step.stage == "unpack" and step.total is None
                unit = {"unit": "file"} if files else {"unit": "B", "unit_scale": True}
                bar = tqdm(desc=f"{step.stage} {step.file}", initial=step.done, total=step.total, leave=False, **unit)
            bar.total = step.total
            bar.update(step.done - bar.n)
    except StopIteration as end:
        return end.value
    finally:
        bar.close()
