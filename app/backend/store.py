"""Sweeps on disk, so that a restarted server draws its first chart before torch is even loaded.

A file is found by a hash of everything that decides its content: the banks, the methods, and the source of the library
and of the plug-ins that compute it. A damaged or outdated file is computed again.
"""

import contextlib
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ash
from ash import plugins
from ash.bank import cache_root
from ash.files import read_npz, write_atomically
from ash.methods import Method
from ash.tables import Sweep

MOST_BYTES = 2 * 10**9  # of all files; the oldest go first. A sweep of the demo takes 10 MB, one setting 0.1 MB


@cache
def _code() -> str:
    folder = Path(str(ash.__file__)).parent
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(folder.rglob("*.py")))).hexdigest()


def path_of(banks: Sequence[str], methods: Sequence[str]) -> Path:
    """The file of a sweep over banks (their keys, the ID set first) and methods."""
    text = json.dumps([_code(), sorted(plugins.texts().values()), list(banks), list(methods)])
    return cache_root().parent / "sweeps" / f"{hashlib.sha256(text.encode()).hexdigest()[:20]}.npz"


def save(path: Path, sweep: Sweep, device: str) -> dict[str, str]:
    """Keep a sweep and its origin (device, date), which is returned. A cache that cannot be written is left alone."""
    origin = {"device": device, "date": datetime.now(UTC).isoformat(timespec="seconds")}
    arrays: dict[str, Any] = {f"ood_{i}": scores for i, scores in enumerate(sweep.ood_scores.values())}
    arrays |= {"id_scores": sweep.id_scores, "predictions": _small(sweep.id_predictions)}
    arrays |= {"origin": np.array(json.dumps(origin)), "ood": np.array(list(sweep.ood_scores))}
    if sweep.id_doubts is not None:
        arrays["doubts"] = np.stack([sweep.id_doubts, *sweep.ood_doubts.values()])
    if sweep.id_labels is not None:
        arrays["labels"] = sweep.id_labels
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    try:
        write_atomically(path, buffer.getvalue())
        _forget_oldest(path.parent)
    except OSError:
        pass
    return origin


def _small(classes: NDArray[np.integer]) -> NDArray[np.integer]:
    """Classes in 16 bits where all of them fit, else in 32."""
    return classes.astype(np.int16 if classes.max(initial=0) <= np.iinfo(np.int16).max else np.int32)


def _forget_oldest(folder: Path) -> None:
    files = sorted(((file.stat(), file) for file in folder.glob("*.npz")), key=lambda one: one[0].st_mtime)
    left = sum(status.st_size for status, _ in files)
    for status, file in files[:-1]:
        if left <= MOST_BYTES:
            return
        file.unlink(missing_ok=True)
        left -= status.st_size


def load(path: Path, methods: Sequence[str]) -> tuple[Sweep, dict[str, str]] | None:
    """The sweep and its origin (device, date), or None when there is no intact file; a damaged one is removed."""
    try:
        return _read(path, methods)
    except OSError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError):
        with contextlib.suppress(OSError):
            path.unlink()
        return None


def _read(path: Path, methods: Sequence[str]) -> tuple[Sweep, dict[str, str]]:
    """`load` of an intact file; otherwise an error of the kinds that `load` knows."""
    arrays = read_npz(path)
    origin = json.loads(str(arrays["origin"]))
    if not isinstance(origin, dict) or not all(isinstance(value, str) for value in origin.values()):
        raise ValueError("it does not say where it comes from")
    ood = {str(name): arrays[f"ood_{i}"] for i, name in enumerate(arrays["ood"])}
    chosen = tuple(Method.parse(method) for method in methods)
    sweep = Sweep(chosen, arrays["id_scores"], ood, arrays["predictions"], arrays.get("labels"))
    doubts = list(arrays.get("doubts", []))  # one (M, 2) for the ID set and each OOD set; none where they are not known
    if doubts:
        sweep = replace(sweep, id_doubts=doubts[0], ood_doubts=dict(zip(ood, doubts[1:], strict=True)))
    if any(array.ndim != 2 or len(array) != len(chosen) for array in (sweep.id_scores, *ood.values(), *doubts)):
        raise ValueError("its scores are not those of these methods")
    columns = [sweep.id_predictions.shape[1:], *([] if sweep.id_labels is None else [sweep.id_labels.shape])]
    if len(sweep.id_predictions) != len(chosen) or any(shape != sweep.id_scores.shape[1:] for shape in columns):
        raise ValueError("its predictions or labels are not those of its images")
    return sweep, origin
