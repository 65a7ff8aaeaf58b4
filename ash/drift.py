"""How the scores of some images lie against those of the ID images that a threshold is from: whether they drift."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ash.metrics import accepts, check_scores

LEAST = 20  # images: of fewer, chance alone gives distances beyond 0.3 and nearly any share
SURE = 0.95  # of as many ID images lie within what is called usual


@dataclass(frozen=True)
class Drift:
    """How the scores of `count` images lie against those of a calibration.

    `accepted`: the share of them that is accepted. `usual`: between which shares 95 of 100 sets of as many ID images
    lie. `median`, `median_before`: of their scores, and of the calibration's. `distance`: the largest difference
    between both distributions (Kolmogorov and Smirnov), 0 for alike, 1 for apart; `chance`: what 95 of 100 sets of as
    many ID images stay below.
    """

    count: int
    accepted: float
    usual: tuple[float, float]
    median: float
    median_before: float
    distance: float
    chance: float

    @property
    def changed(self) -> bool:
        """Whether so many or so few are accepted that these are hardly images like those of the calibration."""
        return not self.usual[0] <= self.accepted <= self.usual[1]


def compared(scores: ArrayLike, before: ArrayLike, count: int, share: float, threshold: float) -> Drift:
    """Scores (n,) against those of a calibration: `before` (m,), all of them or quantiles, of `count` images.

    Of these `share` is accepted, from `threshold` on.
    """
    from scipy.stats import betabinom, kstwo

    values = np.sort(check_scores(scores, "the images").astype(np.float64))
    known = np.sort(np.asarray(before, np.float64))
    kept = round(share * count)
    law = betabinom(len(values), kept + 0.5, count - kept + 0.5)  # the share itself is known from `count` images
    tail = (1 - SURE) / 2
    at = np.concatenate([values, known])
    shares = np.searchsorted(values, at, "right") / len(values), np.searchsorted(known, at, "right") / len(known)
    return Drift(
        count=len(values),
        accepted=float(accepts(values, threshold).mean()),
        usual=(float(law.ppf(tail)) / len(values), float(law.ppf(1 - tail)) / len(values)),
        median=float(np.median(values)),
        median_before=float(np.median(known)),
        distance=float(np.abs(shares[0] - shares[1]).max()),
        chance=float(kstwo.ppf(SURE, max(1, round(len(values) * count / (len(values) + count))))),
    )


def words(found: Drift, name: str) -> tuple[str, ...]:
    """Sentences on images against those of `name`, which a threshold is from; of less than LEAST, how many it takes."""
    if found.count < LEAST:
        few = "1 image is" if found.count == 1 else f"{found.count} images are"
        return (f"{few} too few to say whether they are like those of {name}: it takes {LEAST}.",)
    low, high = (100 * share for share in found.usual)
    said = (
        f"Accepted: {100 * found.accepted:.1f} %. Of as many images like those of {name}, {low:.1f} to {high:.1f} % "
        "are.",
        f"Scores: median {found.median:.4g}, of {name} {found.median_before:.4g}; largest distance between both "
        f"distributions {found.distance:.2f} of 1, by chance up to {found.chance:.2f}.",
    )
    return (*said, f"These are other images than those of {name}.") if found.changed else said
