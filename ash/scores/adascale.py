"""AdaSCALE: SCALE at a percentile of each sample's own, from how its activation answers a small change of the image."""

from typing import TYPE_CHECKING

from ash.scores.registry import Given, Parameter, Scorer, register_score

if TYPE_CHECKING:
    from torch import Tensor

WIDTH = 5.0  # p_max - p_min, as the authors' 80 .. 85 on ResNet-50
LARGEST, MOVED = 95.0, 99.0  # percentiles: the values of Q' are the 5 % and the 1 % largest
WEIGHT = 10.0  # of the shift in Q'


@register_score(
    "adascale",
    "AdaSCALE",
    reads=("logits", "activation", "head", "shifted"),
    parameter=Parameter("p", 85, WIDTH, 99),
    paper="Regmi, AdaSCALE: Adaptive Scaling for OOD Detection",
    year=2025,
)
def adascale(given: Given, p: float = 85) -> Scorer:
    """AdaSCALE-A: the energy of W (z e^r) + b, r = s1/s2 of z as in SCALE at a percentile between p - 5 and p.

    That is p - 5 F(Q), for Q (`shift`) of the sample and its share F among the ID set's: the less an image's activation
    moves, the more it is scaled. Ours is the set F is of, the whole ID set that is evaluated, as for `ash_s_global`:
    the authors take 5,000 training images, which would have to be perturbed too. It hangs on no OOD image. Ours is also
    the one number: p is the authors' p_max, p_min lies 5 below. The class is that of the unscaled network.
    """
    import torch

    import ash

    size = given.size // 2  # the second half is the perturbed image's
    bias = given.head[1].to(given.dtype)
    known = torch.cat([shift(*pairs.split(size, 1)) for pairs in given.pairs()]).sort().values

    def score(pairs: "Tensor", logits: "Tensor") -> "Tensor":
        z, moved = pairs.split(size, 1)
        share = torch.searchsorted(known, shift(z, moved), right=True) / len(known)
        kept = (size - (size * (p - WIDTH * share.double()) / 100).round()).clamp(min=1).long()  # of SCALE's s2
        s2 = z.double().sort(1, descending=True).values.cumsum(1).gather(1, kept[:, None] - 1)[:, 0]
        exponent = ash.shaping.scale_exponent(z.double().sum(1), s2, z.abs().amax(1), z.dtype)
        return ash.energy((logits - bias) * exponent.exp().to(z.dtype)[:, None] + bias)

    return score


def shift(z: "Tensor", moved: "Tensor") -> "Tensor":
    """(R,) Q' of activations z (R, F) and those of the perturbed images, in float64.

    The sum of the 5 % largest of max(moved, 0), and ten times that of |z - moved| where z has its 1 % largest values.
    """
    import ash

    z, moved, size = z.double(), moved.double(), z.shape[1]
    top, where = (max(1, ash.shaping.kept_count(size, percentile)) for percentile in (LARGEST, MOVED))
    moves = (z - moved).abs().gather(1, z.topk(where, 1).indices).sum(1)
    return moved.topk(top, 1).values.clamp(min=0).sum(1) + WEIGHT * moves
