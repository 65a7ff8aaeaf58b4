"""Banks as they ship: float32 rounded to a few bits behind the point, two fifths of the size, in one file a bank.

The order of a sample's values stays, so every percentile prunes what it pruned before. Over 66 settings on every OOD
set, 10 bits move no AUROC of the MobileNetV2 by more than 0.006 points, of the small network by 0.004; 9 bits of the
DenseNet by 0.0025, of the others by 0.03 and 0.015. 12 bits move FPR95 of the DenseNet by one image of 8,925 at most,
and by none of 1,200; 11 bits by four and by one.
"""

import gzip
import hashlib
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ash.files import DamagedError, npz_bytes, parse_npz, read_bytes, read_json, write_atomically, write_json

SUFFIX = ".npz"  # of a packed shard
BITS = 10  # of the 23 behind the point of a float32, where nothing else is said


def rounded(values: NDArray[np.floating], bits: int = BITS) -> NDArray[np.float32]:
    """Rows of float32 with so many bits behind the point: off by half of the last one, and where two values of a row
    that are not equal would be, by as little more as keeps them apart in their order. So every percentile prunes the
    same units as before, and there are no more ties than there were. 0 stays 0.
    """
    exact = np.ascontiguousarray(values, "<f4").reshape(len(values), math.prod(values.shape[1:]))
    dropped = 23 - bits
    return (_on_grid(np.maximum(exact, 0), dropped) - _on_grid(np.maximum(-exact, 0), dropped)).reshape(values.shape)


def _on_grid(exact: NDArray[np.float32], dropped: int) -> NDArray[np.float32]:
    """`rounded` for rows (n, d) without negative values, by the number of bits that go."""
    place = (exact.view("<u4").astype(np.int64) + (1 << (dropped - 1))) >> dropped
    order = np.argsort(exact, axis=1, kind="stable")
    ordered, at = np.take_along_axis(exact, order, 1), np.take_along_axis(place, order, 1)
    apart = np.zeros_like(at)  # how many other values are below each
    apart[:, 1:] = np.cumsum(ordered[:, 1:] != ordered[:, :-1], axis=1)
    np.put_along_axis(place, order, np.maximum.accumulate(at - apart, axis=1) + apart, 1)
    return (place << dropped).astype("<u4").view("<f4")


def packed(values: NDArray[np.floating], bits: int = BITS) -> bytes:
    """An .npz of these values, rounded: value by value of all samples, since like packs well, and the last eight bits,
    which are as good as random, apart from the first.
    """
    rows = rounded(values, bits).reshape(len(values), math.prod(values.shape[1:]))
    words = np.ascontiguousarray((rows.view("<u4") >> (23 - bits)).T)
    planes = words.view(np.uint8).reshape(*words.shape, 4).transpose(2, 0, 1)
    return npz_bytes(low=planes[0], high=planes[1:], shape=np.array(values.shape, np.int64), bits=np.array([bits]))


def unpacked(path: Path, sha256: str) -> NDArray[np.float32]:
    """The activations of a packed shard, whose bytes were compared with the checksum; DamagedError, OSError."""
    content = read_bytes(path)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DamagedError("it does not match its checksum")
    try:
        found = parse_npz(content)
        planes = np.concatenate([found["low"][None], found["high"]])
        words = np.ascontiguousarray(planes.transpose(2, 1, 0)).view("<u4") << (23 - found["bits"].item())
        return words.view("<f4").reshape(found["shape"].tolist())
    except (KeyError, ValueError, TypeError) as error:
        raise DamagedError(f"it is no packed shard ({error})") from error


def pack(values: NDArray[np.floating], bank: Path, to: Path, bits: int = BITS) -> None:
    """Write the complete bank in the folder `bank`, whose activations are `values`, in one packed shard to `to`."""
    content, name = packed(values, bits), f"shard-00000{SUFFIX}"
    to.mkdir(parents=True, exist_ok=True)
    write_atomically(to / name, content)
    write_atomically(to / "samples.csv.gz", gzip.compress((bank / "samples.csv").read_bytes(), mtime=0))
    shutil.copyfile(bank / "provenance.json", to / "provenance.json")
    about: dict[str, Any] = read_json(bank / "manifest.json")
    digest = hashlib.sha256(content).hexdigest()
    shard = {"file": name, "rows": len(values), "sha256": digest}
    write_json(to / "manifest.json", {**about, "shards": [shard], "bits": bits})
