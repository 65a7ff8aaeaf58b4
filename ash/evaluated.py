"""Sweeps that ship beside the banks they are of: the first chart of a fresh copy waits for no network and no sweep.

`assets/demo/sweeps/<model>.npz` (`ash.sweep_files`) holds the methods of that chart on all sets of a network that
ships. It says of which banks it is, by the checksums of their manifests: with other banks, weights or sets it is not
used. `python -m ash demo check` makes it again and compares. Imports no torch.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ash import results, shipped, sweep_files
from ash.bank import BUNDLED, Bank
from ash.data import file_hash
from ash.files import read_bytes
from ash.methods import Method, parse_methods
from ash.tables import Sweep

if TYPE_CHECKING:
    from ash.networks.entries import ModelEntry

SCORE = "energy"  # of the first chart
MODELS = ("mobilenet_v2_photos",)  # with a sweep that ships: the network that a fresh copy opens with


def path_in(folder: Path, model: str) -> Path:
    """Where the sweep of a network is, under the folder of what ships."""
    return folder / "sweeps" / f"{model}.npz"


def compute(entry: "ModelEntry", banks: Mapping[str, Bank]) -> Sweep:
    """The first chart's methods on a network's penultimate banks, the ID set first, on the CPU."""
    from ash.splitting import split
    from ash.sweeping import sweep

    ids, *others = banks
    clips = results.clip_thresholds(banks[ids].read(), entry.react_threshold)
    methods = parse_methods(",".join(results.front_methods(SCORE, clips)))
    tail = split(entry.build(), entry.penultimate)[1]
    return sweep(tail, banks[ids], {name: banks[name] for name in others}, methods, device="cpu")


def to_bytes(done: Sweep, banks: Mapping[str, Bank], device: str) -> bytes:
    """The file of a sweep of these banks."""
    named = {name: _checksum(bank.folder) for name, bank in banks.items()}
    origin = {"device": device, "date": datetime.now(UTC).isoformat(timespec="seconds"), "banks": json.dumps(named)}
    return sweep_files.to_bytes(done, origin, pack=True)


def _checksum(bank: Path) -> str:
    return file_hash(bank / "manifest.json")


def find(model: str, banks: Mapping[str, Path], methods: Sequence[str]) -> tuple[Sweep, dict[str, str]] | None:
    """The part of a sweep that ships which is of these banks (folders, the ID set first) and methods, and its origin.

    None where none ships, or it is of other banks or methods, or its file is not as it shipped.
    """
    path = path_in(shipped.FOLDER, model)
    if not banks or not path.is_file() or not all(folder.is_relative_to(BUNDLED) for folder in banks.values()):
        return None
    try:
        content = read_bytes(path)
        if shipped.complaint(path, hashlib.sha256(content).hexdigest()):
            return None
        done, origin = sweep_files.from_bytes(content)
        named = json.loads(origin.pop("banks"))
    except (OSError, *sweep_files.UNREADABLE):
        return None
    known, asked = list(done.methods), [Method.parse(method) for method in methods]
    ids, *others = banks
    if next(iter(named)) != ids or any(named.get(name) != _checksum(folder) for name, folder in banks.items()):
        return None
    if not set(asked) <= set(known):
        return None
    some = done.part([known.index(method) for method in asked], others)
    return replace(some, ood_scores={name: some.ood_scores[name] for name in others}), origin


def largest_difference(one: Sweep, other: Sweep) -> float:
    """How far the scores of two sweeps of the same methods and sets are apart, as a share of each one's largest.

    Infinite where they are not of the same methods and sets, or predict other classes.
    """
    same = one.methods == other.methods and list(one.ood_scores) == list(other.ood_scores)
    if not same or not np.array_equal(one.id_predictions, other.id_predictions):
        return np.inf
    pairs = [(one.id_scores, other.id_scores)]
    pairs += [(scores, other.ood_scores[name]) for name, scores in one.ood_scores.items()]
    return float(max((np.abs(a - b).max(1) / np.abs(a).max(1)).max() for a, b in pairs))
