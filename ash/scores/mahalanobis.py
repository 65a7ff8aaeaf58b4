"""Mahalanobis: how far an activation is from the nearest class of a training set (Lee et al. 2018)."""

from typing import TYPE_CHECKING

from ash.scores.registry import Given, ScoreError, Scorer, register_score

if TYPE_CHECKING:
    from torch import Tensor


@register_score(
    "mahalanobis",
    "Mahalanobis",
    reads=("activation", "training", "labels"),
    paper="Lee et al., A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks, "
    "NeurIPS",
    year=2018,
)
def mahalanobis(given: Given) -> Scorer:
    """-min over classes of (z - mean)^T (S + ridge)^-1 (z - mean), S the tied covariance of the fit; in float64.

    ScoreError where the fit has no covariance.
    """
    import torch

    fit = given.trained
    if not len(fit.classes):
        raise ScoreError(
            f"mahalanobis needs class means, and the fit on {fit.identity.dataset} has none: {len(fit.mean):,} "
            "features are too many for a covariance."
        )
    centre, whitening, means = (
        torch.from_numpy(part).to(given.device) for part in (fit.mean, fit.whitening, fit.class_means)
    )
    means = (means - centre) @ whitening  # (K, F)
    lengths = means.square().sum(1)

    def score(z: "Tensor", logits: "Tensor") -> "Tensor":
        y = (z.double() - centre) @ whitening
        nearest = lengths.addmm(y, means.T, alpha=-2).amin(1)
        return -(nearest + y.square().sum(1)).clamp(min=0)

    return score
