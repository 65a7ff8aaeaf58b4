"""A detector at work: what it says of the images of a folder, and how they lie against those it was calibrated on."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ash.detector import About, DetectorFile
from ash.drift import Drift, compared
from ash.extracting.decoding import decoded, default_workers
from ash.extracting.stems import two_parts
from ash.images import ImageSet


@dataclass(frozen=True)
class Batch:
    """What a detector says of some images of a set, by their indices, and what is wrong with the unreadable ones."""

    rows: Sequence[int]
    classes: NDArray[np.int64]
    scores: NDArray[np.floating]
    accepted: NDArray[np.bool_]
    skipped: Sequence[Mapping[str, Any]]


def score(detector: DetectorFile, data: ImageSet) -> Iterator[Batch]:
    """A detector on all images of a set, batch by batch, in their order. DataError when the set cannot be read."""
    module, transform = detector.module(), detector.about.transform
    geometry, arithmetic = two_parts(transform)
    channels, height, width = transform.shape
    size, where = (height, width, channels), torch.device("cpu")
    decoding = decoded(data, geometry, size, [range(len(data))], workers=default_workers(where), device=where)
    with closing(decoding) as chunks:
        for chunk in chunks:
            broken = {one["index"] for one in chunk.skipped}
            rows = [row for row in chunk.images if row not in broken]
            if not rows:
                yield Batch([], np.empty(0, np.int64), np.empty(0), np.empty(0, bool), chunk.skipped)
                continue
            with torch.inference_mode():
                pixels = arithmetic(chunk.pixels.permute(0, 3, 1, 2).float().div_(255))
                classes, scores, accepted = (one.numpy() for one in module(pixels))
            yield Batch(rows, classes, scores, accepted, chunk.skipped)


def drift(about: About, scores: ArrayLike) -> Drift:
    """How scores (n,) of one detector lie against those it was calibrated on."""
    return compared(scores, about.quantiles, about.count, about.share, about.threshold)
