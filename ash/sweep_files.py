"""A sweep as one .npz: scores, predictions, labels, doubts, and where and when it was computed. Imports no torch."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ash.files import npz_bytes, parse_npz
from ash.methods import Method
from ash.tables import Sweep

UNREADABLE = (ValueError, KeyError, TypeError, RecursionError)  # what a file that is none raises; DamagedError is one


def to_bytes(sweep: Sweep, origin: Mapping[str, str], pack: bool = False) -> bytes:
    """The file of a sweep. `origin`: what is said of it, device and date at least.

    `pack` takes seconds for 10 MB and saves two fifths: for files that are carried about.
    """
    arrays: dict[str, Any] = {f"ood_{i}": scores for i, scores in enumerate(sweep.ood_scores.values())}
    arrays |= {"id_scores": sweep.id_scores, "predictions": _small(sweep.id_predictions)}
    arrays |= {"origin": np.array(json.dumps(dict(origin))), "ood": np.array(list(sweep.ood_scores))}
    arrays |= {"methods": np.array([str(method) for method in sweep.methods])}
    if sweep.id_doubts is not None:
        arrays["doubts"] = np.stack([sweep.id_doubts, *sweep.ood_doubts.values()])
    if sweep.id_labels is not None:
        arrays["labels"] = sweep.id_labels
    if pack:
        return npz_bytes(**arrays)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _small(classes: NDArray[np.integer]) -> NDArray[np.integer]:
    """Classes in 16 bits where all of them fit, else in 32."""
    return classes.astype(np.int16 if classes.max(initial=0) <= np.iinfo(np.int16).max else np.int32)


def from_bytes(content: bytes, methods: Sequence[str] = ()) -> tuple[Sweep, dict[str, str]]:
    """The sweep and its origin. UNREADABLE for what is no such file, and for one that is not of these
    methods, where any are named.
    """
    arrays = parse_npz(content)
    origin = json.loads(str(arrays["origin"]))
    if not isinstance(origin, dict) or not all(isinstance(value, str) for value in origin.values()):
        raise ValueError("it does not say where it comes from")
    ood = {str(name): arrays[f"ood_{i}"] for i, name in enumerate(arrays["ood"])}
    written = [str(method) for method in arrays["methods"]]
    chosen = tuple(Method.parse(method) for method in methods or written)
    if [str(method) for method in chosen] != written:
        raise ValueError("its methods are others")
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
