"""AdaSCALE: SCALE (A), LTS (L) at a percentile of each sample's own, from how its activation answers a small change."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ash.scores.registry import Given, Parameter, Reads, Scorer, register_score

if TYPE_CHECKING:
    from torch import Tensor

WIDTH = 5.0  # p_max - p_min, as the authors' 80 .. 85 on ResNet-50
LARGEST, MOVED = 95.0, 99.0  # percentiles: the values of Q' are the 5 % and the 1 % largest
WEIGHT = 10.0  # of the shift in Q'
_READS: tuple[Reads, ...] = ("logits", "activation", "head", "shifted")
_PERCENTILE = Parameter("p", 85, WIDTH, 99)
_PAPER = "Regmi, AdaSCALE: Adaptive Scaling for OOD Detection"


@register_score("adascale", "AdaSCALE", reads=_READS, parameter=_PERCENTILE, paper=_PAPER, year=2025)
def adascale(given: Given, p: float = 85) -> Scorer:
    """AdaSCALE-A: the energy of W (z e^r) + b, r = s1/s2 of z as in SCALE at a percentile between p - 5 and p.

    That is p - 5 F(Q), for Q (`shift`) of the sample and its share F among the ID set's: the less an image's activation
    moves, the more it is scaled. Ours is the set F is of, the whole ID set that is evaluated, as for `ash_s_global`:
    the authors take 5,000 training images, which would have to be perturbed too. It hangs on no OOD image. Ours is also
    the one number: p is the authors' p_max, p_min lies 5 below. The class is that of the unscaled network.
    """
    import ash

    bias, kept_of = given.head[1].to(given.dtype), own_counts(given, p)

    def score(pairs: "Tensor", logits: "Tensor") -> "Tensor":
        z, kept = kept_of(pairs)
        exponent = ash.shaping.scale_exponent(*sums(z, kept), z.abs().amax(1), z.dtype)
        return ash.energy((logits - bias) * exponent.exp().to(z.dtype)[:, None] + bias)

    return score


@register_score("adascale_l", "AdaSCALE-L", reads=_READS, parameter=_PERCENTILE, paper=_PAPER, year=2025)
def adascale_l(given: Given, p: float = 85) -> Scorer:
    """AdaSCALE-L: the energy of the logits times r^2, r = s1/s2 of max(z, 0) as in LTS at AdaSCALE-A's percentile.

    F and p are as in `adascale`. Ours is also the default: the 80 .. 85 of ResNet-50, which no source that we read
    gives for L apart.
    """
    import ash

    kept_of = own_counts(given, p)

    def score(pairs: "Tensor", logits: "Tensor") -> "Tensor":
        z, kept = kept_of(pairs)
        ratio = ash.shaping.sum_ratio(*sums(z.clamp(min=0), kept))
        return ash.energy(logits * ratio.square().to(logits.dtype)[:, None])

    return score


def own_counts(given: Given, p: float) -> "Callable[[Tensor], tuple[Tensor, Tensor]]":
    """What makes of pairs (R, 2 F) the activations z (R, F) and of how many values (R,) s2 is the sum in each.

    That is SCALE's count at the percentile p - WIDTH F(Q') of the sample's own, F among the ID set's.
    """
    import torch

    size = given.size // 2  # the second half is the perturbed image's
    known = torch.cat([shift(*pairs.split(size, 1)) for pairs in given.pairs()]).sort().values

    def kept_of(pairs: "Tensor") -> "tuple[Tensor, Tensor]":
        z, moved = pairs.split(size, 1)
        share = torch.searchsorted(known, shift(z, moved), right=True) / len(known)
        return z, (size - (size * (p - WIDTH * share.double()) / 100).round()).clamp(min=1).long()

    return kept_of


def sums(z: "Tensor", kept: "Tensor") -> "tuple[Tensor, Tensor]":
    """s1 and s2 (R,) in float64: the sum of all values of z (R, F), and of the `kept` (R,) largest."""
    z = z.double()
    return z.sum(1), z.sort(1, descending=True).values.cumsum(1).gather(1, kept[:, None] - 1)[:, 0]


def shift(z: "Tensor", moved: "Tensor") -> "Tensor":
    """(R,) Q' of activations z (R, F) and those of the perturbed images, in float64.

    The sum of the 5 % largest of max(moved, 0), and ten times that of |z - moved| where z has its 1 % largest values.
    """
    from ash.shapes.scale import top_count

    z, moved, size = z.double(), moved.double(), z.shape[1]
    top, where = top_count(size, LARGEST), top_count(size, MOVED)
    moves = (z - moved).abs().gather(1, z.topk(where, 1).indices).sum(1)
    return moved.topk(top, 1).values.clamp(min=0).sum(1) + WEIGHT * moves
