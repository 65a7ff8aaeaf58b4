"""What a bank would cost before it is extracted: bytes from its shape, seconds from timing the stem once."""

import contextlib
import hashlib
import json
import math
import os
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ash.bank import BankError, cache_root
from ash.files import read_json, write_json

if TYPE_CHECKING:
    import torch

    from ash.networks.entries import ModelEntry

BATCH = 8  # images that are timed at once
COPIED = 2**24  # bytes that are copied to time a set of features


@dataclass(frozen=True)
class Cost:
    """Bytes of the activations, seconds of the stem at `rate` images a second, and the device in words.

    Of features, which go through no stem, `rate` is that of copying rows.
    """

    bytes: int
    seconds: float
    rate: float
    device: str


def cost(
    entry: "ModelEntry",
    placement: str,
    count: int,
    dtype: str = "float32",
    device: "torch.device | None" = None,
    precision: str = "float32",
) -> Cost:
    """What the bank of `count` images would take. The rate is the stem's alone: decoding large files adds to it.

    Times the stem the first time, which builds the model; afterwards the answer is read from the cache folder and needs
    only the device's name. ModelError when the weights are missing, SplitError for a placement that there is not.
    """
    from ash.device import best_device, describe

    device = device or best_device()
    key = [entry.name, entry.weights_hash(), placement, repr(entry.preprocess), precision, describe(device)]
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    path = cache_root().parent / "rates" / f"{digest}.json"
    known: dict[str, Any] = {}
    with contextlib.suppress(BankError):
        known = read_json(path)
    if not {"features", "rate"} <= known.keys():
        known = _measure(entry, placement, device, precision)
        with contextlib.suppress(OSError):  # a cache that cannot be written costs the time again
            write_json(path, known)
    size = math.prod(known["features"]) * np.dtype(dtype).itemsize
    return Cost(count * size, count / known["rate"], known["rate"], describe(device))


def _measure(entry: "ModelEntry", placement: str, device: "torch.device", precision: str) -> dict[str, Any]:
    if entry.features is not None:
        (width,) = entry.preprocess.shape
        return {"features": [width], "rate": _copied_rows(4 * width)}
    from ash.extracting.stems import Stem

    stem = Stem(entry, placement, device, precision)
    return {"features": list(stem.features()), "rate": BATCH / stem.seconds(BATCH)}


def _copied_rows(row_bytes: int) -> float:
    """Rows of features a second that are hashed and written to the cache's disk, from one file of COPIED bytes."""
    content = bytes(COPIED)
    cache_root().mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    hashlib.sha256(content)
    with tempfile.TemporaryFile(dir=cache_root()) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return COPIED / row_bytes / (time.perf_counter() - start)
