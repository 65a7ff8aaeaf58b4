"""Activations as a sweep reads them: banks or arrays, checked, chunk by chunk, never as a whole."""

import warnings
from collections import deque
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

PIECE = 2**24  # bytes that are sent to a GPU at once
PIECES = 4  # so many are under way: one is filled while others are copied

warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)  # pieces are only read


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


def pooled(x: Tensor) -> Tensor:
    """(R, F) of activations x (R, ...): maps averaged over H and W, as in a fit, anything else side by side."""
    return x.mean((2, 3)) if x.dim() == 4 else x.flatten(1)


def _native(dtype: np.dtype) -> np.dtype:
    """The dtype that activations of this one are taken over in: what torch knows, in the machine's byte order."""
    return np.dtype(np.float64) if dtype.itemsize > 4 else dtype.newbyteorder("=")


def tensor_of(part: NDArray[np.floating], first: int, who: str) -> Tensor:
    """A writable copy in row-major order, in its own dtype; SweepError for what `check_finite` refuses."""
    x = torch.from_numpy(np.array(part, dtype=_native(part.dtype), order="C"))
    _check(x, first, who)
    return x


def _check(x: Tensor, first: int, who: str) -> None:
    try:
        check_finite(x, first, who)
    except AshError as error:
        raise SweepError(str(error)) from error


class Reader:
    """Brings chunks to a device in a dtype, checked. One thread at a time may use one for a GPU.

    A GPU gets them in pieces through memory that it reads by itself, so that the next one is read from the disk and
    checked while it copies and computes; from usual memory it takes ten times as long, and waits.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self._under_way: deque[tuple[Tensor, torch.cuda.Event]] = deque()

    def __call__(self, part: NDArray[np.floating], first: int, who: str) -> Tensor:
        """The activations (R, ...) of a chunk that begins with sample `first` of its set; SweepError as `tensor_of`."""
        if self.device.type != "cuda":
            return tensor_of(part, first, who).to(self.device, self.dtype)
        dtype = _native(part.dtype)
        x = torch.empty(part.shape, dtype=torch.from_numpy(np.empty(0, dtype)).dtype, device=self.device)
        rows = max(1, PIECE // max(1, x[0].nbytes))
        for at in range(0, len(part), rows):
            piece = torch.from_numpy(np.ascontiguousarray(part[at : at + rows], dtype))
            _check(piece, first + at, who)
            self._send(piece, x[at : at + rows])
        return x.to(self.dtype)

    def _send(self, piece: Tensor, to: Tensor) -> None:
        """Copy a piece to the device without waiting for it, through the pinned memory that was used longest ago."""
        if len(self._under_way) < PIECES:
            pinned = torch.empty(max(PIECE, piece.nbytes), dtype=torch.uint8, pin_memory=True)
        else:
            pinned, copied = self._under_way.popleft()
            copied.synchronize()
            if pinned.nbytes < piece.nbytes:
                pinned = torch.empty(piece.nbytes, dtype=torch.uint8, pin_memory=True)
        staged = pinned[: piece.nbytes].view(piece.dtype).view(piece.shape)
        to.copy_(staged.copy_(piece), non_blocking=True)
        copied = torch.cuda.Event()
        copied.record()
        self._under_way.append((pinned, copied))
