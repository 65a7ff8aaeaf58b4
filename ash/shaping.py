"""Activation shaping: Algorithms 1-3 of the ASH paper, its random ablation, and ReAct.

Every function takes a tensor of shape (N, ...) and returns a new one of the same shape, dtype and device. A sample is
shaped on its own, over all its C*H*W values, so batching and memory layout change nothing. Nothing works in place.

NaN and infinity are refused. Sums are float64 whatever the dtype; what a dtype cannot hold becomes its largest number.
"""

import math

import numpy as np
import torch
from torch import Tensor

from ash.errors import AshError

LOWEST_EXPONENT = -746.0  # e^-746 is 0 in float64
RANDOM_HIGH = 10.0  # ASH-RAND draws from [0, 10), section 4 of the paper


def check_percentile(percentile: float) -> float:
    """The percentile as a float; ValueError unless it lies in [0, 100)."""
    p = float(percentile)
    if not 0 <= p < 100:
        raise AshError(f"p must lie in [0, 100), got {percentile:g}: it is the share of the activation to remove.")
    return p


def kept_count(n: int, percentile: float) -> int:
    """How many of n values stay at this percentile: n - round(n * p / 100), half to even, as in the authors' code."""
    return n - round(n * check_percentile(percentile) / 100)


def check_finite(x: Tensor, first: int = 0, who: str = "") -> None:
    """AshError when a value of x (N, ...) is NaN or infinite, or a sample's values are too large to be added up.

    It names the sample by its index, `first` + its row, and `who`: the set that it is of. An exported detector does
    not look: what it is given it cannot refuse.
    """
    if torch.compiler.is_compiling():
        return
    total = x.sum(dtype=torch.float64 if x.dtype == torch.float64 else torch.float32)
    if torch.isfinite(total):  # one cheap number tells that all is well; it may overflow, so look closer
        return
    flat = x.flatten(1)
    of = f" of {who}" if who else ""
    bad = ~torch.isfinite(flat).all(1)
    if bad.any():
        raise AshError(f"The activation of sample {first + int(bad.int().argmax())}{of} holds NaN or infinity.")
    large = ~torch.isfinite(flat.sum(1, dtype=torch.float64))
    if large.any():
        sample = first + int(large.int().argmax())
        raise AshError(f"The values of sample {sample}{of} are too large to be added up in float64: scale them down.")


def _rows(x: Tensor) -> Tensor:
    """x as (N, D) in logical order, whatever its memory layout; AshError for what is not an activation."""
    if not x.is_floating_point():
        raise AshError(f"Activations must be floating point, got {x.dtype}.")
    if x.dim() < 2:
        raise AshError(f"Activations have the shape (N, ...), got {tuple(x.shape)}: add a batch dimension.")
    check_finite(x)
    return x.flatten(1)


def kept_mask(x: Tensor, percentile: float) -> Tensor:
    """True where a value survives, shape of x: the top k of each sample, the lowest index first among equals."""
    return top_mask(x, kept_count(math.prod(x.shape[1:]), percentile))


def top_mask(x: Tensor, k: int) -> Tensor:
    """True at the k largest values of each sample, shape of x; the lowest index first among equals."""
    rows = _rows(x)
    n = rows.shape[1]
    if k == n or k == 0 or rows.shape[0] == 0:
        return torch.full_like(x, k > 0, dtype=torch.bool)
    below = n - k + 1  # the smallest kept value is the largest of the lowest `below`: select on the shorter side
    if k <= below:
        threshold = rows.topk(k, dim=1, sorted=False).values.amin(1, keepdim=True)  # (N, 1)
    else:
        threshold = rows.topk(below, dim=1, largest=False, sorted=False).values.amax(1, keepdim=True)
    if torch.compiler.is_compiling():  # an exported graph has no branches: it always takes the longer way
        return _lowest_first(rows, threshold, k).reshape(x.shape)
    mask = rows >= threshold
    surplus = mask.sum(1, dtype=torch.int32) > k  # (N,) more ties than room
    if surplus.any():
        mask[surplus] = _lowest_first(rows[surplus], threshold[surplus], k)
    return mask.reshape(x.shape)


def _lowest_first(rows: Tensor, threshold: Tensor, k: int) -> Tensor:
    """`rows >= threshold` (N, 1), of the equal ones those of the lowest index, so that k of each row are left."""
    above, tied = rows > threshold, rows == threshold
    room = k - above.sum(1, keepdim=True, dtype=torch.int32)
    return above | (tied & (tied.cumsum(1, dtype=torch.int32) <= room))


def per_sample(values: Tensor, like: Tensor) -> Tensor:
    """(N,) values as (N, 1, ..., 1), ready to broadcast over `like`."""
    return values.view(-1, *[1] * (like.dim() - 1))


def sums(x: Tensor) -> Tensor:
    """(N,) sums of each sample in float64."""
    return x.flatten(1).sum(1, dtype=torch.float64)


NO_TIE, ZEROS, VALUES = 0, 1, 2  # what lies on both sides of a cut: nothing equal, zeros, other equal values


def ties_at_cut(x: Tensor, mask: Tensor) -> Tensor:
    """(N,) uint8 of NO_TIE, ZEROS, VALUES: whether a sample's smallest kept value has equals that are not kept.

    `mask` from `kept_mask`. Which of the equals stay is then a matter of their order and nothing in the paper.
    """
    flat, kept = x.flatten(1), mask.flatten(1)
    if flat.shape[1] == 0:
        return torch.zeros(len(x), dtype=torch.uint8, device=x.device)
    least = flat.masked_fill(~kept, math.inf).amin(1, keepdim=True)  # infinite, and equal to nothing, if none is kept
    return tie_kinds(((flat == least) & ~kept).any(1), least[:, 0])


def tie_kinds(tied: Tensor, least: Tensor) -> Tensor:
    """uint8 of NO_TIE, ZEROS, VALUES for cuts that are `tied` or not (bool), at the smallest kept value `least`."""
    return torch.where(tied, torch.where(least == 0, ZEROS, VALUES), NO_TIE).to(torch.uint8)


def prune(x: Tensor, mask: Tensor) -> Tensor:
    """ASH-P for a mask of what survives, from `kept_mask`."""
    return torch.where(mask, x, 0.0)


def ash_p(x: Tensor, percentile: float) -> Tensor:
    """ASH-P (Algorithm 1): keep the top (100 - p) % of each sample, set the rest to 0. At p = 0 the identity."""
    return prune(x, kept_mask(x, percentile))


def fill(x: Tensor, mask: Tensor, k: "int | Tensor") -> Tensor:
    """ASH-B for a mask with k survivors a sample, one number for all or (N,)."""
    limit = torch.finfo(x.dtype).max  # float16 ends at 65504
    level = (sums(x) / (max(k, 1) if isinstance(k, int) else k.clamp(min=1))).clamp(-limit, limit).to(x.dtype)
    return torch.where(mask, per_sample(level, x), 0.0)


def ash_b(x: Tensor, percentile: float) -> Tensor:
    """ASH-B (Algorithm 2): set all k kept entries to s1/k, so the total stays the same.

    The authors' code fills kept zeros too, while Algorithm 2 counts only the non-zero ones. The code's reading is used:
    it is what Figure 3 shows (at p = 0 every entry becomes the mean).
    """
    return fill(x, kept_mask(x, percentile), kept_count(x[0].numel(), percentile) if len(x) else 1)


def ash_b_nonzero(x: Tensor, percentile: float) -> Tensor:
    """ASH-B as Algorithm 2 is written: only the m non-zero ones among the kept entries become s1/m, zeros stay zero.

    So it does not hang on which zeros are kept, where more values are zero than p removes.
    """
    mask = kept_mask(x, percentile) & (x != 0)
    return fill(x, mask, mask.flatten(1).sum(1))


def scale_exponent(s1: Tensor, s2: Tensor, peak: Tensor, dtype: torch.dtype) -> Tensor:
    """The exponent s1/s2 of ASH-S in float64, clamped so that exp(exponent) * peak is finite in `dtype`.

    `peak` is the largest magnitude among the kept values (any shape that broadcasts). 0/0, a sample with nothing left
    to scale, counts as 1, the value at p = 0. Where s2 alone is 0, s1 is negative: the exponent is LOWEST_EXPONENT, and
    what is left becomes 0. For x >= 0 the exponent lies in [1, n/k], so the clamp acts in float32 only beyond p = 98.8
    and in float16 beyond p = 91; `beyond_range` tells where.
    """
    return torch.minimum(sum_ratio(s1, s2).clamp(min=LOWEST_EXPONENT), _ceiling(peak, dtype))


def beyond_range(s1: Tensor, s2: Tensor, peak: Tensor, dtype: torch.dtype) -> Tensor:
    """Where `scale_exponent` clamps what is left (bool): such samples are no longer told apart by their exponents."""
    return (sum_ratio(s1, s2) > _ceiling(peak, dtype)) & (s2 != 0)  # an infinite ratio: nothing is kept


def sum_ratio(s1: Tensor, s2: Tensor) -> Tensor:
    """s1/s2 in float64, with 1 for 0/0."""
    return torch.where((s1 == 0) & (s2 == 0), 1.0, s1.double() / s2.double())


def _ceiling(peak: Tensor, dtype: torch.dtype) -> Tensor:
    room = 1e-3 if dtype == torch.float16 else 1.0  # for the sums behind; float16 has none to give away
    return math.log(torch.finfo(dtype).max) - room - peak.double().abs().clamp(min=1).log()


def range_exceeded(x: Tensor, mask: Tensor, everything: bool = False) -> Tensor:
    """(N,) bool: the samples whose ASH-S is clamped, for a mask of what survives; SCALE multiplies `everything`."""
    if x.numel() == 0:
        return torch.zeros(len(x), dtype=torch.bool, device=x.device)
    pruned = prune(x, mask)
    multiplied = x if everything else pruned
    return beyond_range(sums(x), sums(pruned), multiplied.flatten(1).abs().amax(1), x.dtype)


def amplify(x: Tensor, mask: Tensor) -> Tensor:
    """ASH-S for a mask of what survives."""
    pruned = prune(x, mask)
    if x.numel() == 0:
        return pruned
    low, high = torch.aminmax(pruned.flatten(1), dim=1)
    exponent = scale_exponent(sums(x), sums(pruned), torch.maximum(low.abs(), high.abs()), x.dtype)
    # In float64 up to the last step: e^r alone may exceed float16 where e^r * x does not.
    return (pruned.double() * per_sample(exponent.exp(), x)).to(x.dtype)


def ash_s(x: Tensor, percentile: float) -> Tensor:
    """ASH-S (Algorithm 3): prune as ASH-P, then multiply what is left by exp(s1/s2), the sums before and after."""
    return amplify(x, kept_mask(x, percentile))


def uniform_noise(indices: np.ndarray, features: int, seed: int) -> np.ndarray:
    """(len(indices), features) float32 in [0, 10), one generator per (seed, sample index): no batch dependence."""
    out = np.empty((len(indices), features), dtype=np.float32)
    for row, index in zip(out, indices, strict=True):
        np.random.Generator(np.random.SFC64((seed, int(index)))).random(out=row, dtype=np.float32)
    return out * np.float32(RANDOM_HIGH)


def randomise(x: Tensor, mask: Tensor, seed: int = 0, first_index: int = 0) -> Tensor:
    """ASH-RAND for a mask of what survives."""
    if len(x) == 0:
        return x.clone()
    noise = uniform_noise(np.arange(first_index, first_index + len(x)), x[0].numel(), seed)
    return torch.where(mask, torch.from_numpy(noise).to(x.device, x.dtype).reshape(x.shape), 0.0)


def ash_rand(x: Tensor, percentile: float, seed: int = 0, first_index: int = 0) -> Tensor:
    """ASH-RAND (section 4): set the kept entries to uniform random values in [0, 10).

    The noise is keyed by `seed` and the sample's index (`first_index` + its row), so a sample gets the same values in
    every batch and on every device.
    """
    return randomise(x, kept_mask(x, percentile), seed, first_index)


def _reached(x: Tensor, threshold: float) -> Tensor:
    """True where a value is at least the threshold; AshError where that cannot be told."""
    _rows(x)
    if math.isnan(threshold):
        raise AshError("The threshold is NaN: it must be a number.")
    return x >= threshold


def ash_p_global(x: Tensor, threshold: float) -> Tensor:
    """ASH-P with one threshold for all samples (Table 5): what lies below it is set to 0."""
    return prune(x, _reached(x, threshold))


def ash_b_global(x: Tensor, threshold: float) -> Tensor:
    """ASH-B with one threshold for all samples: the k values of a sample that reach it become s1/k."""
    mask = _reached(x, threshold)
    return fill(x, mask, mask.flatten(1).sum(1))


def ash_s_global(x: Tensor, threshold: float) -> Tensor:
    """ASH-S with one threshold for all samples."""
    return amplify(x, _reached(x, threshold))


def react(x: Tensor, threshold: float) -> Tensor:
    """ReAct (Sun et al. 2021): clip every value from above at the constant `threshold` > 0."""
    if not threshold > 0 or math.isinf(threshold):
        raise AshError(f"The ReAct threshold must be a positive number, got {threshold:g}.")
    _rows(x)
    return x.clamp(max=float(threshold))
