"""Banks as they ship: float32 rounded to 14 bits behind the point, about half the size, in one file a bank.

The order of a sample's values stays, so every percentile prunes what it pruned before. On the DenseNet's 52 settings
that moves AUROC by 0.0002 points and FPR95 by one of 8,925 images; float16, whose 10 bits take as much room, by 0.007
and six.
"""

import hashlib
import io
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ash.files import DamagedError, parse_npz, read_bytes, read_json, write_atomically, write_json

SUFFIX = ".npz"  # of a packed shard
BITS = 14  # of the 23 behind the point of a float32
_DROPPED = 23 - BITS


def rounded(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rows of float32 with BITS bits behind the point: off by 2^-15 of each value, and where that would make two values
    of a row equal that are not, by as little more as keeps them apart in their order. So every percentile prunes the
    same units as before, and there are no more ties than there were. 0 stays 0.
    """
    exact = np.ascontiguousarray(values, "<f4").reshape(len(values), math.prod(values.shape[1:]))
    return (_on_grid(np.maximum(exact, 0)) - _on_grid(np.maximum(-exact, 0))).reshape(values.shape)


def _on_grid(exact: NDArray[np.float32]) -> NDArray[np.float32]:
    """`rounded` for rows (n, d) without negative values."""
    place = (exact.view("<u4").astype(np.int64) + (1 << (_DROPPED - 1))) >> _DROPPED
    order = np.argsort(exact, axis=1, kind="stable")
    ordered, at = np.take_along_axis(exact, order, 1), np.take_along_axis(place, order, 1)
    apart = np.zeros_like(at)  # how many other values are below each
    apart[:, 1:] = np.cumsum(ordered[:, 1:] != ordered[:, :-1], axis=1)
    np.put_along_axis(place, order, np.maximum.accumulate(at - apart, axis=1) + apart, 1)
    return (place << _DROPPED).astype("<u4").view("<f4")


def packed(values: NDArray[np.floating]) -> bytes:
    """An .npz of these values, rounded: first bytes with first bytes, second with second, since like deflates well."""
    planes = np.ascontiguousarray(rounded(values).reshape(-1).view(np.uint8).reshape(-1, 4).T)
    file = io.BytesIO()
    np.savez_compressed(file, planes=planes, shape=np.array(values.shape, np.int64))
    return file.getvalue()


def unpacked(path: Path, sha256: str) -> NDArray[np.float32]:
    """The activations of a packed shard, whose bytes were compared with the checksum; DamagedError, OSError."""
    content = read_bytes(path)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise DamagedError("it does not match its checksum")
    try:
        found = parse_npz(content)
        return np.ascontiguousarray(found["planes"].T).view("<f4").reshape(found["shape"].tolist())
    except (KeyError, ValueError, TypeError) as error:
        raise DamagedError(f"it is no packed shard ({error})") from error


def pack(values: NDArray[np.floating], bank: Path, to: Path) -> None:
    """Write the complete bank in the folder `bank`, whose activations are `values`, in one packed shard to `to`."""
    content, name = packed(values), f"shard-00000{SUFFIX}"
    to.mkdir(parents=True, exist_ok=True)
    write_atomically(to / name, content)
    for beside in ("samples.csv", "provenance.json"):
        shutil.copyfile(bank / beside, to / beside)
    about: dict[str, Any] = read_json(bank / "manifest.json")
    digest = hashlib.sha256(content).hexdigest()
    shard = {"file": name, "rows": len(values), "sha256": digest}
    write_json(to / "manifest.json", {**about, "shards": [shard], "bits": BITS})
