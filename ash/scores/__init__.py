"""Scores: one number a sample, *higher = more in-distribution*, everywhere and always. One file each, or each family.

To add one, write such a file with its `register_score` and import it below; `registry` says what a score is.
"""

from ash.scores.of_logits import ODIN_TEMPERATURE, energy, max_logit, msp, odin, probability

# isort: split
from ash.scores import adascale, fdbd, gen, gradnorm, klm, knn, mahalanobis, nci, nnguide, she, vim
from ash.scores.registry import (
    ALL_SCORES,
    SCORE_LABELS,
    SCORES,
    Given,
    Parameter,
    Score,
    ScoreError,
    Scorer,
    Scoring,
    parse_score,
    register_score,
)

__all__ = [
    "ALL_SCORES",
    "ODIN_TEMPERATURE",
    "SCORES",
    "SCORE_LABELS",
    "Given",
    "Parameter",
    "Score",
    "ScoreError",
    "Scorer",
    "Scoring",
    "adascale",
    "energy",
    "fdbd",
    "gen",
    "gradnorm",
    "klm",
    "knn",
    "mahalanobis",
    "max_logit",
    "msp",
    "nci",
    "nnguide",
    "odin",
    "parse_score",
    "probability",
    "register_score",
    "she",
    "vim",
]

SCORES.seal()
