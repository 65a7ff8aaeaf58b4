"""KL matching: how far a sample's softmax is from those that are typical of a class (Hendrycks et al. 2022)."""

from typing import TYPE_CHECKING

from ash.scores.registry import Given, Scorer, register_score

if TYPE_CHECKING:
    from torch import Tensor


@register_score(
    "klm",
    "KL matching",
    reads=("logits", "head", "training"),
    paper="Hendrycks et al., Scaling Out-of-Distribution Detection for Real-World Settings, ICML",
    year=2022,
)
def klm(given: Given) -> Scorer:
    """-min over classes c of KL(p, mean softmax of the training samples that are predicted as c), in float64.

    The typical softmax is that of the unshaped training activations; no label is read. A class that is predicted for
    none has no typical softmax and is left out.
    """
    p = given.training_logits.double().softmax(1)  # (n, C)
    predicted = p.argmax(1)
    typical = p.new_zeros(p.shape[1], p.shape[1]).index_add(0, predicted, p)
    counts = predicted.bincount(minlength=p.shape[1])
    there = counts > 0
    log_typical = (typical[there] / counts[there, None]).clamp(min=1e-300).log()  # (K, C); log 0 would be -inf

    def score(z: "Tensor", logits: "Tensor") -> "Tensor":
        log_p = logits.double().log_softmax(1)
        p = log_p.exp()
        return (p @ log_typical.T).amax(1) - (p * log_p.clamp(min=-1e300)).sum(1)

    return score
