"""Scores -> AUROC, FPR at a TPR, AUPR, accuracy; fractions in [0, 1]. ID is the positive class, higher = more ID.

FPR95 takes the highest threshold that still accepts 95 % of the ID samples and counts OOD scores >= it. AUPR is average
precision. Ties are exact everywhere. scikit-learn gives the same numbers (to 1e-12), more slowly. Infinite scores are
ordered like any others, equal ones are ties; NaN has no place in an order and is refused.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ash.errors import AshError
from ash.labels import check_labels

Interval = tuple[float, float]


def check_scores(scores: ArrayLike, who: str) -> NDArray[np.floating]:
    """The scores as a flat float array, tensors of any kind included; AshError when empty or when a score is NaN."""
    array = _array(scores, f"The {who} scores")
    if array.dtype.kind != "f":
        array = array.astype(np.float64)
    if array.ndim != 1 or array.size == 0:
        raise AshError(f"The {who} scores must be a non-empty list of numbers, got the shape {array.shape}.")
    bad = np.isnan(array)
    if bad.any():
        raise AshError(f"{bad.sum()} of {array.size} {who} scores are NaN, the first at index {bad.argmax()}.")
    return array


def _array(values: Any, what: str) -> NDArray[Any]:
    """Real numbers as an array; AshError for anything else."""
    try:
        if hasattr(values, "detach"):  # a tensor: numpy knows neither bfloat16 nor other devices
            values = values.detach().cpu()
            values = values.double() if values.is_floating_point() else values
        array = np.asarray(values)
    except ValueError as error:
        raise AshError(f"{what} are not an array of numbers: {error}") from error
    if array.dtype.kind not in "biuf":
        raise AshError(f"{what} must be real numbers, got {array.dtype}.")
    return array


def _check_tpr(tpr: float) -> float:
    if not 0 < tpr <= 1:
        raise AshError(f"The true positive rate must lie in (0, 1], got {tpr:g}.")
    return tpr


def threshold_rank(n: int, tpr: float) -> int:
    """Index, in ascending order, of the highest threshold that accepts at least tpr of n scores."""
    return n - math.ceil(round(_check_tpr(tpr) * n, 9))


def auroc(id_scores: ArrayLike, ood_scores: ArrayLike) -> float:
    """Probability that a random ID score exceeds a random OOD score, ties counted half."""
    return auroc_sorted(np.sort(check_scores(id_scores, "ID")), check_scores(ood_scores, "OOD"))


def auroc_sorted(id_sorted: NDArray[np.floating], ood_scores: NDArray[np.floating]) -> float:
    """`auroc` for ID scores already in ascending order and checked; exact, since ranks are summed as integers."""
    below = np.searchsorted(id_sorted, ood_scores, "left").sum() + np.searchsorted(id_sorted, ood_scores, "right").sum()
    return 1.0 - int(below) / (2 * len(id_sorted) * len(ood_scores))


def threshold_at_tpr(id_scores: ArrayLike, tpr: float = 0.95) -> float:
    """The highest threshold t with share(ID score >= t) >= tpr: the line between accepted and rejected."""
    scores = check_scores(id_scores, "ID")
    rank = threshold_rank(len(scores), tpr)
    return float(np.partition(scores, rank)[rank])


def accepts(scores: ArrayLike, threshold: float) -> NDArray[np.bool_]:
    """Which scores are accepted as in-distribution: those that reach the threshold. The one rule, for every page."""
    return np.asarray(scores, np.float64) >= threshold


def fpr_at_tpr(id_scores: ArrayLike, ood_scores: ArrayLike, tpr: float = 0.95) -> float:
    """Share of OOD samples accepted (score >= threshold) when at least `tpr` of the ID samples are."""
    return float(np.mean(accepts(check_scores(ood_scores, "OOD"), threshold_at_tpr(id_scores, tpr))))


def _group_ends(descending: NDArray[np.floating]) -> NDArray[np.intp]:
    """Last index of every run of equal scores: only there is a threshold."""
    return np.append(np.flatnonzero(descending[1:] != descending[:-1]), len(descending) - 1)


def aupr(id_scores: ArrayLike, ood_scores: ArrayLike) -> float:
    """Area under precision-recall as average precision, ID positive: sum of precision times gain in recall."""
    positive, negative = check_scores(id_scores, "ID"), check_scores(ood_scores, "OOD")
    scores = np.concatenate([positive, negative])
    order = np.argsort(-scores, kind="stable")
    ends = _group_ends(scores[order])
    hits = np.cumsum(order < len(positive))[ends]
    return float(np.sum(np.diff(hits, prepend=0) * (hits / (ends + 1.0))) / len(positive))


def accuracy(logits: ArrayLike, labels: ArrayLike) -> float:
    """Share of rows of logits (N, C) whose argmax is the label (N,), 0 to C - 1; unknown labels, -1, are left out."""
    values, truth = _array(logits, "Logits"), _array(labels, "Labels")
    if values.ndim != 2 or truth.shape != values.shape[:1] or not len(truth):
        raise AshError(f"Logits (N, C) and labels (N,) do not fit: {values.shape} and {truth.shape}.")
    if np.isnan(values).any():
        raise AshError(f"The logits of sample {np.isnan(values).any(1).argmax()} hold NaN.")
    truth = check_labels(truth, values.shape[1], "accuracy")
    known = truth >= 0
    if not known.any():
        raise AshError("No label is known: accuracy is not defined.")
    return float(np.mean(values.argmax(1)[known] == truth[known]))


def intervals(
    id_scores: ArrayLike, ood_scores: ArrayLike, resamples: int = 200, seed: int = 0, tpr: float = 0.95
) -> dict[str, Interval]:
    """95 % bootstrap intervals of `auroc`, `fpr95` (at `tpr`) and `aupr`: percentiles 2.5 and 97.5 over resamples.

    ID and OOD samples are drawn with replacement, each among themselves. Scores are sorted once; a resample is a vector
    of counts over either order, so it costs two cumulative sums. AshError for a single sample, which says nothing of
    how much others vary.
    """
    rng = np.random.default_rng(seed)
    return _percentiles(_draws(id_scores, [ood_scores], resamples, tpr, rng, [rng])[0])


def mean_intervals(
    id_scores: ArrayLike, ood_scores: Sequence[ArrayLike], resamples: int = 200, seed: int = 0, tpr: float = 0.95
) -> dict[str, Interval]:
    """`intervals` of the means over several OOD sets, of whatever sizes.

    Every set is drawn with replacement among itself; the ID samples of a resample are the same for all sets.
    """
    of_id, *of_sets = (np.random.default_rng([seed, number]) for number in range(len(ood_scores) + 1))
    return _percentiles(_draws(id_scores, ood_scores, resamples, tpr, of_id, of_sets).mean(0))


class _Ranks:
    """Where the scores of an OOD set stand among those of the ID set (n,), both from the highest to the lowest."""

    def __init__(self, ids: NDArray[np.floating], ood_scores: ArrayLike) -> None:
        scores = check_scores(ood_scores, "OOD")
        if min(len(ids), len(scores)) < 2:
            raise AshError(f"An interval needs at least two ID and two OOD scores, got {len(ids)} and {len(scores)}.")
        self.order = np.argsort(-scores, kind="stable")
        oods = scores[self.order]
        self.from_ids = np.searchsorted(-oods, -ids, "right")  # OOD scores that are not below each ID score
        self.above = np.searchsorted(-ids, -oods, "left")  # ID scores above each OOD score
        self.not_below = np.searchsorted(-ids, -oods, "right")


def _draws(
    id_scores: ArrayLike,
    ood_scores: Sequence[ArrayLike],
    resamples: int,
    tpr: float,
    of_id: np.random.Generator,
    of_sets: Sequence[np.random.Generator],
) -> NDArray[np.float64]:
    """(sets, resamples, 3): `auroc`, `fpr95` and `aupr` of each resample, by a generator for each side."""
    positive = check_scores(id_scores, "ID")
    n, order = len(positive), np.argsort(-positive, kind="stable")
    ids = positive[order]
    ranks = [_Ranks(ids, scores) for scores in ood_scores]
    of_equals, reached = np.searchsorted(-ids, -ids, "right"), n - threshold_rank(n, tpr)
    draws = np.empty((len(ranks), resamples, 3))
    for resample in range(resamples):
        drawn = np.bincount(of_id.integers(0, n, n), minlength=n)[order]
        hits = np.append(0, np.cumsum(drawn))  # by the number of scores from the highest
        accepted, last = hits[of_equals], np.searchsorted(hits[1:], reached, "left")
        for draw, one, of_set in zip(draws[:, resample], ranks, of_sets, strict=True):
            m = len(one.order)
            others = np.bincount(of_set.integers(0, m, m), minlength=m)[one.order]
            alarms = np.append(0, np.cumsum(others))[one.from_ids]
            precision = accepted / np.maximum(accepted + alarms, 1)
            won = others @ (hits[one.above] + hits[one.not_below])
            draw[:] = won / (2 * n * m), alarms[last] / m, drawn @ precision / n
    return draws


def _percentiles(draws: NDArray[np.float64]) -> dict[str, Interval]:
    low, high = np.percentile(draws, [2.5, 97.5], axis=0)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(("auroc", "fpr95", "aupr"))}
