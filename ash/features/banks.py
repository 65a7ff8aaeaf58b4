"""Features -> bank: what an extraction is to images, without a network: the rows in float32, shard by shard.

They are copied, so that a bank stays what its identity says when somebody writes the folder anew. Imports no torch.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ash.bank import Bank, BankError, BankIdentity
from ash.data import DataError, ImageSet, Subset
from ash.extracting import claims
from ash.extracting.shards import SHARD_BYTES, Plan, Progress, Shards, forget_shards, note, read_plan, write_plan
from ash.features.arrays import Rows, as_float32
from ash.features.feature_set import FeatureSet
from ash.fitting import perturbation


def feature_set(data: ImageSet) -> FeatureSet | None:
    """The set of features that these samples are of, all or some; None for images."""
    whole = data.whole if isinstance(data, Subset) else data
    return whole if isinstance(whole, FeatureSet) else None


def bank_steps(
    who: BankIdentity, folder: Path, data: ImageSet, labels: NDArray[np.int64], sleep: Callable[[float], None]
) -> Generator[Progress, None, Bank]:
    """Write the bank of a set of features, or of some of its rows, into a folder; yields after every shard.

    It may be stopped and shared as an extraction is. BankError for perturbed images, and for a precision, which
    needs a network; DataError where the file has changed since it was read; OSError.
    """
    if perturbation(who.transform):
        raise BankError(f"{data.label} is features: there are no images to perturb, so no ODIN and no AdaSCALE.")
    if who.precision != "float32":
        raise BankError(f"{data.label} is features: no network is run, so there is no precision of it.")
    whole = feature_set(data)
    assert whole is not None
    with claims.wait(folder / "extract.lock", shared=True):  # keeps the folder from being deleted
        shards = Shards(folder, _planned(who, folder, whole.width), len(data))
        with _rows(data, whole) as rows:

            def copy(shard: int) -> Iterator[tuple[int, int]]:
                images = shards.ranges[shard]
                values = as_float32(rows(images.start, images.stop)).astype(who.dtype, copy=False)
                if not np.isfinite(values).all():
                    raise BankError(f"Features of {data.label} are not finite in {who.dtype}: take float32.")
                shards.write(shard, values, [])
                yield 0, 0

            yield from shards.share(copy, sleep)
        with claims.wait(folder / "plan.lock"):
            note(folder, {}, "none: features")
            bank = shards.finish(who, data, labels, (whole.width,))
    claims.tidy(folder)
    return bank


def _planned(who: BankIdentity, folder: Path, width: int) -> Plan:
    """The plan in the bank's folder, or a new one that is fixed there."""
    with claims.wait(folder / "plan.lock"):
        plan = read_plan(folder)
        if plan is None:
            rows = max(1, SHARD_BYTES // (width * np.dtype(who.dtype).itemsize))
            plan = Plan(rows, rows)
            forget_shards(folder)
            write_plan(folder, plan, who)
    return plan


@contextmanager
def _rows(data: ImageSet, whole: FeatureSet) -> Iterator[Rows]:
    """A function that reads rows of a set of features, or of a subset of one."""
    with whole.rows() as rows:
        if not isinstance(data, Subset):
            yield rows
            return
        chosen = data.rows

        def some(start: int, stop: int) -> NDArray[np.floating]:
            first, last = int(chosen[start]), int(chosen[stop - 1])
            return rows(first, last + 1)[chosen[start:stop] - first]

        yield some


def check_belongs(data: ImageSet, network: str, folder: object) -> None:
    """DataError where features are to go through a network, or images through a folder of features."""
    whole = feature_set(data)
    if folder is None and whole is not None:
        raise DataError(f"{data.label} is features: they belong to {whole.network} alone, not to {network}.")
    if folder is not None and (whole is None or whole.network != network):
        raise DataError(f"{network} is a folder of features: it takes its own sets alone, not {data.label}.")
