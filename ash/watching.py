"""A detector at work: what it says of the images of a folder, and how they lie against those it was calibrated on."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ash.detector import About, DetectorFile
from ash.extracting.decoding import decoded, default_workers
from ash.extracting.stems import two_parts
from ash.images import ImageSet
from ash.metrics import accepts, check_scores


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


@dataclass(frozen=True)
class Drift:
    """How the scores of some images lie against those that a detector was calibrated on.

    `accepted`: the share of them that is accepted. `usual`: between which shares 95 of 100 sets of as many ID images
    lie. `median`, `median_before`: of their scores, and of the calibration's. `distance`: the largest difference
    between both distributions (Kolmogorov and Smirnov), 0 for alike, 1 for apart.
    """

    count: int
    accepted: float
    usual: tuple[float, float]
    median: float
    median_before: float
    distance: float

    @property
    def changed(self) -> bool:
        """Whether so many or so few are accepted that these are hardly images like those of the calibration."""
        return not self.usual[0] <= self.accepted <= self.usual[1]


def drift(about: About, scores: ArrayLike) -> Drift:
    """How scores (n,) of one detector lie against those it was calibrated on."""
    from scipy.stats import betabinom

    values = np.sort(check_scores(scores, "the images").astype(np.float64))
    kept = round(about.share * about.count)
    law = betabinom(len(values), kept + 0.5, about.count - kept + 0.5)  # the share itself is known from `count` images
    usual = (float(law.ppf(0.025)) / len(values), float(law.ppf(0.975)) / len(values))
    before = np.asarray(about.quantiles)
    at = np.concatenate([values, before])
    shares = np.searchsorted(values, at, "right") / len(values), np.searchsorted(before, at, "right") / len(before)
    return Drift(
        count=len(values),
        accepted=float(accepts(values, about.threshold).mean()),
        usual=usual,
        median=float(np.median(values)),
        median_before=float(np.median(before)),
        distance=float(np.abs(shares[0] - shares[1]).max()),
    )
