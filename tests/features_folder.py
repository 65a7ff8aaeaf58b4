"""A small folder of features: five kinds in sixteen features, against noise and against other mixtures of them."""

from pathlib import Path
from typing import Any

import numpy as np

CLASSES, WIDTH, ROWS = 5, 16, 300


def write_folder(folder: Path, *, npy: bool = False) -> dict[str, Any]:
    """Write it, as .npz or as .npy, and return what is in it: features by part, labels, weight."""
    draw = np.random.default_rng(0)
    weight = draw.normal(size=(CLASSES, WIDTH)).astype(np.float32)
    arrays: dict[str, Any] = {"weight": weight}
    (folder / "ood").mkdir(parents=True)
    classes = np.array([f"kind {number}" for number in range(CLASSES)])
    np.savez(folder / "head.npz", weight=weight, bias=np.zeros(CLASSES, np.float32), classes=classes)
    for part in ("id", "train"):
        labels = draw.integers(0, CLASSES, ROWS)
        arrays[f"{part}_labels"], arrays[part] = labels, _positive(weight[labels] + draw.normal(size=(ROWS, WIDTH)))
        if npy:
            np.save(folder / f"{part}.npy", arrays[part])
            np.save(folder / f"{part}_labels.npy", labels)
        else:
            np.savez(folder / f"{part}.npz", features=arrays[part], labels=labels)
    for part, spread in (("noise", 1.0), ("shapes", 1.3)):
        arrays[part] = _positive(draw.normal(scale=spread, size=(ROWS // 2, WIDTH)))
        if npy:
            np.save(folder / "ood" / f"{part}.npy", arrays[part])
        else:
            np.savez(folder / "ood" / f"{part}.npz", features=arrays[part])
    return arrays


def _positive(values: Any) -> Any:
    return np.maximum(values, 0).astype(np.float32)
