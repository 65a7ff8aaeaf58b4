"""Exact percentiles of more float32 values than fit in memory, by counting the upper and then the lower 16 bits."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

CODES = 1 << 16

Parts = Callable[[], Iterable[NDArray[np.floating]]]  # reads all values, part by part, each time it is called


def percentiles(parts: Parts, wanted: Sequence[float]) -> NDArray[np.float64]:
    """What `np.percentile` gives for all values of the parts together, interpolated in float64; two readings.

    Values are finite; what is not float32 is rounded to it.
    """
    counts = np.zeros(CODES, np.int64)
    for part in parts():
        counts += np.bincount(_ordered(part) >> 16, minlength=CODES)
    below = np.concatenate([[0], np.cumsum(counts)])  # values before each code
    at = (below[-1] - 1) * np.asarray(wanted, np.float64) / 100
    ranks = np.unique([np.floor(at), np.ceil(at)]).astype(np.int64)
    codes = np.searchsorted(below, ranks, "right") - 1
    found = dict(zip(ranks.tolist(), _values(parts, ranks - below[codes], codes), strict=True))
    low, high = (np.array([found[int(rank)] for rank in ends]) for ends in (np.floor(at), np.ceil(at)))
    return low + (high - low) * (at - np.floor(at))


def _ordered(part: NDArray[np.floating]) -> NDArray[np.uint32]:
    """(n,) integers in the order of the values: negative ones count backwards, and 0.0 and -0.0 are one."""
    bits = (part.astype(np.float32).reshape(-1) + np.float32(0)).view(np.uint32)
    return bits ^ np.where(bits >> 31, np.uint32(0xFFFFFFFF), np.uint32(0x80000000))


def _values(parts: Parts, ranks: NDArray[np.int64], codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """The values of these ranks within the values of their codes."""
    known = np.unique(codes)
    slot = np.full(CODES, -1)
    slot[known] = np.arange(len(known))
    counts = np.zeros((len(known), CODES), np.int64)
    for part in parts():
        ordered = _ordered(part)
        at = slot[ordered >> 16]
        some = at >= 0
        counts += np.bincount(at[some] * CODES + (ordered[some] & 0xFFFF), minlength=counts.size).reshape(counts.shape)
    lower = [int(np.searchsorted(np.cumsum(counts[slot[c]]), r, "right")) for r, c in zip(ranks, codes, strict=True)]
    ordered = (codes.astype(np.uint32) << np.uint32(16)) | np.array(lower, np.uint32)
    bits = ordered ^ np.where(ordered >> 31, np.uint32(0x80000000), np.uint32(0xFFFFFFFF))
    return bits.view(np.float32).astype(np.float64)
