"""The rules by which the paper's authors compute FPR95 and AUPR, for comparison alone; fractions in [0, 1].

Ours are in `ash.metrics`. The two differ where scores tie: by nothing on scores without ties, but for one rank in the
threshold of FPR95 and for the shape of a curve between its points; by much on max softmax, which saturates.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ash.metrics import check_scores

REJECTED = 0.05  # share of ID scores below the threshold


def fpr95(id_scores: ArrayLike, ood_scores: ArrayLike) -> float:
    """Share of OOD scores strictly above the ID score of rank round(0.05 n), counted from 0.

    Where the highest ID scores tie at that rank, no OOD score is above it, and the rate is 0 however many are equal.
    """
    ordered = np.sort(check_scores(id_scores, "ID"))
    rank = min(round(REJECTED * len(ordered)), len(ordered) - 1)
    return float(np.mean(check_scores(ood_scores, "OOD") > ordered[rank]))


def aupr(id_scores: ArrayLike, ood_scores: ArrayLike) -> float:
    """Area under the straight lines between the points of precision and recall, ID positive, that starts at (0, 0).

    Between two thresholds precision does not move along a straight line, so a run of tied scores counts wrongly; the
    first run, of the highest scores, loses half of its mass because its line starts at a precision of 0.
    """
    positive, negative = check_scores(id_scores, "ID"), check_scores(ood_scores, "OOD")
    scores = np.concatenate([positive, negative])
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # of every run of equal scores
    hits = np.cumsum(order < len(positive))[ends]
    recall = np.concatenate([[0.0], hits / len(positive)])
    precision = np.concatenate([[0.0], hits / (ends + 1.0)])
    return float(np.sum(np.diff(recall) * (precision[1:] + precision[:-1]) / 2))


def softmax(log_odds: ArrayLike) -> NDArray[np.float32]:
    """The max softmax probability in float32, from its log-odds: exactly 1 for all log-odds above about 17.

    Softmax over logits rounds a sum of small terms, which saturates a little earlier still.
    """
    odds = np.exp(np.minimum(-np.asarray(log_odds, np.float32), np.float32(88)))
    return (np.float32(1) / (np.float32(1) + odds)).astype(np.float32)
