"""Activations as a sweep reads them: banks or arrays, checked, chunk by chunk, never as a whole."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ash.engine.plan import SweepError
from ash.errors import AshError
from ash.labels import check_labels
from ash.shaping import check_finite


def checked(name: str, bank: Any) -> Any:
    """A bank as it is, anything else as a float array (n, ...)."""
    if not hasattr(bank, "chunks"):
        bank = np.asarray(bank)
        if bank.dtype.kind != "f":
            raise SweepError(f"The activations of {name} must be floating point, got {bank.dtype}.")
    if len(bank.shape) < 2 or 0 in bank.shape:
        raise SweepError(f"The activations of {name} have the shape {bank.shape}, not (n, ...) with n > 0.")
    return bank


def checked_labels(id_bank: Any, labels: Any) -> NDArray[np.int64] | None:
    """The labels (N,) of the ID set: those given, or else the bank's, if any; SweepError when their number differs.

    Whether they are classes of the network, `ash.labels.check_labels` says.
    """
    labels = getattr(id_bank, "labels", None) if labels is None else labels
    if labels is None:
        return None
    labels = np.asarray(labels)
    if labels.shape != id_bank.shape[:1]:
        raise SweepError(f"There are {labels.size} labels for {id_bank.shape[0]} ID samples.")
    return check_labels(labels, np.iinfo(np.int32).max)


def chunks_of(bank: Any, rows: int) -> Iterator[tuple[int, NDArray[np.floating]]]:
    """Index of the first sample and activations (at most rows, ...), one chunk after another."""
    first = 0
    slices = bank.chunks(rows) if hasattr(bank, "chunks") else (bank[i : i + rows] for i in range(0, len(bank), rows))
    for part in slices:
        yield first, part
        first += len(part)


def tensor_of(part: NDArray[np.floating], first: int, who: str) -> Tensor:
    """A writable copy in row-major order, in its own dtype; SweepError for what `check_finite` refuses."""
    dtype = np.float64 if part.dtype.itemsize > 4 else part.dtype.newbyteorder("=")
    x = torch.from_numpy(np.array(part, dtype=dtype, order="C"))
    try:
        check_finite(x, first, who)
    except AshError as error:
        raise SweepError(str(error)) from error
    return x
