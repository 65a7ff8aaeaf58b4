"""The Mahalanobis score (Lee et al. 2018): how far an activation is from the nearest class of a training set."""

from collections.abc import Callable

import torch
from torch import Tensor

from ash.engine.plan import SweepError
from ash.fitting import Fit


def mahalanobis(fit: Fit | None, features: tuple[int, ...], device: torch.device) -> Callable[[Tensor], Tensor]:
    """x (R, *features) -> scores (R,), in float64: -min over classes of (x - mean)^T (S + ridge)^-1 (x - mean).

    Maps (F, H, W) are averaged over H and W first, as in the fit. SweepError where the fit has no covariance for them.
    """
    if fit is None:
        raise SweepError("mahalanobis needs a fit on training activations: give `fit`, from ash.load_fit or ash.fit.")
    if not len(fit.classes):
        raise SweepError(
            f"mahalanobis needs class means, and the fit on {fit.identity.dataset} has none: it has no labels, or "
            f"{len(fit.mean):,} features are too many for a covariance."
        )
    pooled = len(features) == 3
    size = features[0] if pooled else torch.Size(features).numel()
    if size != len(fit.mean):
        raise SweepError(f"The fit has {len(fit.mean)} features, the activations have {size}.")
    centre, whitening = (torch.from_numpy(a).to(device) for a in (fit.mean, fit.whitening))
    means = (torch.from_numpy(fit.class_means).to(device) - centre) @ whitening  # (K, F)
    lengths = means.square().sum(1)

    def score(x: Tensor) -> Tensor:
        x = x.double()
        y = ((x.mean((2, 3)) if pooled else x.flatten(1)) - centre) @ whitening
        nearest = torch.addmm(lengths, y, means.T, alpha=-2).amin(1)
        return -(nearest + y.square().sum(1)).clamp(min=0)

    return score
