"""SHE: simplified Hopfield energy, the likeness to what a class stores as its pattern (Zhang et al. 2023)."""

from typing import TYPE_CHECKING

from ash.scores.registry import Given, ScoreError, Scorer, register_score

if TYPE_CHECKING:
    from torch import Tensor


@register_score(
    "she",
    "SHE",
    reads=("logits", "activation", "head", "training", "labels"),
    paper="Zhang et al., Out-of-Distribution Detection based on In-Distribution Data Patterns Memorization with Modern "
    "Hopfield Energy, ICLR",
    year=2023,
)
def she(given: Given) -> Scorer:
    """<z, mean of the correctly classified training activations of the predicted class>; the training ones unshaped.

    ScoreError where a class has no correctly classified training sample: it has no pattern, as in pytorch-ood.
    """
    import torch

    logits = given.training_logits
    labels, predicted = torch.from_numpy(given.trained.labels).to(given.device), logits.argmax(1)
    right = labels == predicted
    counts = predicted[right].bincount(minlength=logits.shape[1])
    if not counts.all():
        raise ScoreError(
            "she needs a correctly classified training sample of every class, and the fit on "
            f"{given.trained.identity.dataset} has none of class {int((counts == 0).int().argmax())}."
        )
    sums = given.training.new_zeros(len(counts), given.size, dtype=torch.float64)
    patterns = sums.index_add(0, predicted[right], given.training[right].double()) / counts[:, None]
    patterns = patterns.to(given.dtype)  # (C, F)

    def score(z: "Tensor", logits: "Tensor") -> "Tensor":
        return (z * patterns[logits.argmax(1)]).sum(1)

    return score
