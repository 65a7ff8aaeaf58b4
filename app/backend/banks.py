"""Banks: the ones that are there, and the missing ones, computed step by step."""

import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from app.backend.caches import cache_resource
from app.backend.library import require_compute
from app.backend.setups import Setup, has_bank, identity, identity_of, images, once_a_run, reading
from app.backend.turns import on_device, semaphore, shared
from ash.bank import Bank, BankIdentity, open_bank
from ash.data import ImageSet, Subset
from ash.labels import without_skipped
from ash.methods import Perturbation

if TYPE_CHECKING:
    from ash.extracting.cost import Cost
    from ash.extraction import Progress
    from ash.networks.entries import ModelEntry


@dataclass(frozen=True)
class Step:
    """Progress of a long computation: a label, images done and in total over all sets, rate, seconds left.

    `by`: who is waited for, in words, where another process works on the rest.
    """

    label: str
    done: int
    total: int
    rate: float
    left: float
    by: str = ""


def missing_sets(at: Setup) -> dict[str, int]:
    """Data set -> number of images, for the banks that a setup still needs."""
    names = [name for name in at.sets if not has_bank(at, name)]
    return {name: len(images(at, name)) for name in names}


def compute_banks(*setups: Setup) -> Generator[Step, None, None]:
    """Extract the missing banks of setups, yielding after every batch. Stop to cancel; call again to resume.

    Sessions that ask for the same at the same time follow one computation.
    """
    for at in setups:
        if names := missing_sets(at):
            require_compute()
            todo = [(images(at, name), identity(at, name), 0.0) for name in names]
            yield from on_device(shared(("banks", at), partial(_extract_all, at, todo)))


def extract_all(at: Setup, todo: Sequence[tuple[ImageSet, Perturbation]]) -> Generator[Step, None, None]:
    """Extract banks under a setup: images, and how they are moved first (0: not at all)."""
    if todo:
        require_compute()
        known = [(data, identity_of(at, data, epsilon), epsilon) for data, epsilon in todo]
        yield from on_device(_extract_all(at, known))


def _extract_all(at: Setup, todo: Sequence[tuple[ImageSet, BankIdentity, Perturbation]]) -> Generator[Step, None, None]:
    """What their identities are takes reading the images, and is known before the device is asked for."""
    total, before, fresh, start = sum(len(data) for data, *_ in todo), 0, 0, time.monotonic()
    for data, who, epsilon in todo:
        first = None
        label = f"{data.label}, perturbed" if epsilon else data.label
        with closing(extraction(at.entry, who, data, epsilon)) as steps:
            for step in steps:
                first = step.done if first is None else first
                worked = fresh + step.done - first
                rate = worked / max(time.monotonic() - start, 1e-9)
                left = (total - before - step.done) / rate if worked else float("inf")
                yield Step(label, before + step.done, total, rate, left, step.by)
        before, fresh = before + len(data), fresh + len(data) - (first or 0)


def extraction(
    entry: "ModelEntry", who: BankIdentity, data: ImageSet, epsilon: Perturbation = 0.0
) -> "Generator[Progress, None, None]":
    """The steps of extracting one bank, the same for all who follow it at the same time: take them on the device."""
    from ash.extraction import extract_steps

    more = {"dtype": who.dtype, "precision": who.precision, "epsilon": epsilon, "sleep": semaphore.sleep}
    yield from shared(who, lambda: extract_steps(entry, who.placement, data, **more))  # type: ignore[arg-type]


def cost(at: Setup, images: int) -> "Cost":
    """Bytes and seconds of a bank of so many images on this device; the rate is measured once and kept."""
    from ash.extracting.cost import cost as measure

    with semaphore:
        return measure(at.entry, at.placement, images, at.dtype)


@cache_resource(max_entries=64)
def bank_of(who: BankIdentity) -> Bank:
    """A bank; AshError when it is missing or damaged."""
    return open_bank(who)


@once_a_run
def bank(at: Setup, name: str) -> Bank:
    """The bank of a data set; AshError when it is missing or damaged."""
    return bank_of(identity(at, name))


def id_labels(at: Setup) -> NDArray[np.int64]:
    """The class of every row of the ID set's bank, as the network reads it; LabelError for labels that are not its."""
    data, labels = images(at, at.id_set), reading(at.model, at.id_set).checked()
    return without_skipped(labels[data.rows] if isinstance(data, Subset) else labels, bank(at, at.id_set))


MOST_VALUES = 2**25  # of a bank that are held in memory for the pictures of whole sets: 128 MiB of float32


@cache_resource(max_entries=24)
def _read(who: BankIdentity) -> NDArray[np.floating]:
    one = bank_of(who)
    step = -(-int(np.prod(one.shape)) // MOST_VALUES)
    values = one.read() if step == 1 else np.stack([one[row] for row in range(0, len(one), step)])
    values = values.astype(np.float32, copy=False)
    values.flags.writeable = False
    return values


def forget() -> None:
    """Close all banks, so that deleted files are let go."""
    bank_of.clear()
    _read.clear()


@once_a_run
def activations(at: Setup, name: str) -> NDArray[np.floating]:
    """The activations of a data set (n, ...), read-only; every n-th image where all would not fit in memory."""
    return _read(identity(at, name))
