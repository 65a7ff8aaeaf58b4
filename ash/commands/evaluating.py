"""What the commands that measure share: the images that are here, what can be measured, banks, fit and sweep."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

from ash import reports
from ash.commands.shared import bank
from ash.data import DataError, ImageSet, dataset_entry, evenly, get_dataset
from ash.errors import sentence
from ash.labels import read, without_skipped
from ash.methods import Method, perturbations
from ash.models import ModelEntry
from ash.tables import Sweep

if TYPE_CHECKING:
    from ash.bank import Bank
    from ash.fitting import Fit

PACKAGES = ("torch", "numpy", "scipy")


@dataclass(frozen=True)
class Images:
    """Image sets by name, the ID set first; `partial`: of an incomplete one how much of it is here."""

    sets: dict[str, ImageSet]
    partial: dict[str, str] = field(default_factory=dict)


def images_here(id_set: str, ood: Iterable[str], images: int | None = None, ood_images: int | None = None) -> Images:
    """The images of an ID set and of the OOD sets that are here, whole or in part, at most `images` of each.

    `ood_images`: at most so many of each OOD set instead, evenly spaced like those. DataError when the ID set or all
    OOD sets are missing: which, and what to do.
    """
    sets: dict[str, ImageSet] = {}
    partial: dict[str, str] = {}
    missing = []
    for name in (id_set, *ood):
        entry = dataset_entry(name)
        status = entry.status()
        if not status.count or status.state == "listed":
            missing.append(name)
            continue
        known = status.state != "incomplete"
        if not known:
            partial[name] = f"{status.count:,} of {entry.count:,} images" if entry.count else status.reason
        data = get_dataset(name if known else f"{name}={status.path}")
        most = images if name == id_set else ood_images or images
        sets[name] = evenly(data, most) if most else data
        if most and most < len(data):
            whole = f"{entry.count or len(data):,}"
            partial[name] = f"{most:,} of {whole} images" if known else f"{most:,} of {len(data):,} here, of {whole}"
    if id_set in missing or not len(sets) > 1:
        gone = [id_set] if id_set in missing else missing
        raise DataError(f"The images of {' and '.join(gone)} are missing: python -m ash fetch {' '.join(gone)}")
    return Images(sets, partial)


def fit_here(entry: ModelEntry, placement: str, dtype: str = "float32") -> "tuple[Fit | None, str]":
    """The fit on the model's training set, made and stored the first time; where there is none, None and why."""
    from ash import fitting

    if not entry.train_set:
        return None, f"needs a training bank, and no training set is known for {entry.name}"
    if not dataset_entry(entry.train_set).status().count:
        return None, f"needs a training bank: python -m ash fetch {entry.train_set}"
    train = bank(entry, placement, get_dataset(entry.train_set), dtype=dtype)
    done = fitting.load_fit(train.identity)
    if done is None:
        done = fitting.fit(train)
        try:
            where = str(fitting.save_fit(done))
        except OSError as error:  # the numbers do not hang on it
            where = f"not kept, {sentence(error)}"
        click.echo(f"Fitted on {len(train):,} images of {entry.train_set}: {where}")
    return done, ""


def measurable(methods: Sequence[Method], fit: "Fit | None", why: str) -> tuple[list[Method], dict[str, str]]:
    """The methods that can be measured, and of the others why not (`why`: there is no fit)."""
    missing = {}
    for method in methods:
        if method.score == "godin":
            missing[str(method)] = reports.GODIN
        elif method.needs_fit and fit is None:
            missing[str(method)] = why
    return [method for method in methods if str(method) not in missing], missing


def evaluate(
    entry: ModelEntry,
    placement: str,
    sets: dict[str, ImageSet],
    methods: Sequence[Method],
    *,
    fit: "Fit | None" = None,
    dtype: str = "float32",
    epsilon: float | None = None,
) -> "tuple[Sweep, dict[str, Bank]]":
    """A sweep over image sets, the ID set first, and their banks. Missing ones are extracted, perturbed ones too.

    How the ID set's labels are read is said first; LabelError when they are not classes of the network.
    `epsilon`: how far ODIN moves pixels, None for the model's own step.
    """
    from ash import splitting, sweeping
    from ash.device import evaluation_device

    id_name, *names = sets
    reading = read(sets[id_name], entry.classes, entry.label)
    labels = reading.checked()
    click.echo(f"ID set {reading.words}", err=True)
    ways = {"": 0.0, **perturbations(entry, methods)}
    if epsilon is not None and "perturbed" in ways:
        ways["perturbed"] = epsilon
    needed = [(what, name) for what in ways for name in sets]
    needed.sort(key=lambda one: sets[one[1]].has_images)  # what cannot be extracted is refused before the long work
    made = {(what, name): bank(entry, placement, sets[name], dtype=dtype, epsilon=ways[what]) for what, name in needed}
    banks = {name: made["", name] for name in sets}
    more: dict[str, Any] = {
        what: (made[what, id_name], {name: made[what, name] for name in names}) for what in ways if what
    }
    tail = splitting.split(entry.build(), banks[id_name].identity.placement)[1]
    with tqdm(unit="evaluation", unit_scale=True, desc="sweep", leave=False) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        result = sweeping.sweep(
            tail,
            banks[id_name],
            {name: banks[name] for name in names},
            methods,
            id_labels=without_skipped(labels, banks[id_name]),
            device=evaluation_device(),
            fit=fit,
            progress=show,
            **more,
        )
    return result, banks


def circumstances() -> dict[str, str]:
    """On what and when something is measured: device, date, versions."""
    import platform

    from ash.device import describe, evaluation_device

    versions = [f"python {platform.python_version()}", *(f"{name} {version(name)}" for name in PACKAGES)]
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return {"device": describe(evaluation_device()), "date": date, "versions": ", ".join(versions)}


def activations_words(banks: "Iterable[Bank]") -> str:
    """On what and when activations were computed."""
    found = {(bank.provenance.get("device", "unknown"), str(bank.provenance.get("date", ""))[:10]) for bank in banks}
    return "; ".join(", ".join(filter(None, one)) for one in sorted(found))


def weights_words(entry: ModelEntry) -> dict[str, Any]:
    """The hash of a network's weights, which of several checkpoints it is, and that it is not the published file's."""
    words = {"weights_sha256": entry.weights_hash()}
    if names := entry.checkpoint_names:
        which = next(name for name in names if entry.each[name].checkpoint == entry.checkpoint)
        words["checkpoint"] = f"{which}, of {', '.join(names)}"
    if entry.url_hash and not words["weights_sha256"].startswith(entry.url_hash):
        words["weights_note"] = f"not the published file, whose hash begins with {entry.url_hash}"
    return words
