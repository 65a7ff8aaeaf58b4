"""KNN: how far the direction of an activation is from its K-th nearest training sample's (Sun et al. 2022)."""

from typing import TYPE_CHECKING

from ash.scores.registry import Given, Parameter, ScoreError, Scorer, register_score, unit

if TYPE_CHECKING:
    from torch import Tensor


@register_score(
    "knn",
    "KNN",
    reads=("activation", "training"),
    parameter=Parameter("K", 50, 1, 100_000, whole=True),
    paper="Sun et al., Out-of-Distribution Detection with Deep Nearest Neighbors, ICML",
    year=2022,
)
def knn(given: Given, k: float = 50) -> Scorer:
    """-squared distance of z to its K-th nearest training activation (unshaped), both of length 1. The search is exact.

    The authors' K is 50 on CIFAR-10, 200 on CIFAR-100, 1,000 on ImageNet; OpenOOD and pytorch-ood take 50. Squared as
    the authors' faiss index and OpenOOD give it; pytorch-ood's is its root, in the same order. ScoreError where the
    training set is smaller than K.
    """
    among = given.neighbours
    bank = among.samples
    if k > len(bank):
        raise ScoreError(
            f"knn@{k:g} looks at the {k:g}-th nearest training sample, and the fit on "
            f"{given.trained.identity.dataset} has {len(bank):,}: write knn@{len(bank)} or less."
        )

    def score(z: "Tensor", logits: "Tensor") -> "Tensor":
        query = unit(z)
        _, rows = among.nearest(query, int(k))
        return -(query - bank[rows[:, -1]]).square().sum(1)  # anew: 2 - 2 <q, x> would lose digits to rounding

    return score
