"""The nearest training samples by inner product: exact, in blocks of matrix products with a running best.

Where the processor multiplies bfloat16 in a fraction of the time, a first look in bfloat16 tells which few samples can
be among the nearest, and only those are compared in full. What rounding can change is bounded, not guessed: a query
whose few are not surely all of them is compared with the whole bank.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

from ash.scores.registry import product

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 2**15  # training samples at once: memory for their products alone, which is where the time goes
GROUP = 32  # products of which only the largest is looked at first
SPARE = 128  # candidates of the first look beside 2 k
SHARE = 400  # training samples for each of the k, from which on a first look is quicker
LEAST, WIDE = 64, 512  # queries and features below which it is not
PAYS = 0.8  # the share of queries that a first look must be sure of: where samples are too much alike it does not pay
TOGETHER = 8  # queries whose candidates are compared at once: what they read stays in the processor's cache


@dataclass(eq=False)
class Neighbours:
    """Training samples (n, F) to look among; `plus` (n,) is added to their products."""

    samples: "Tensor"
    plus: "Tensor | None" = None
    unpaid: set[int] = field(default_factory=set, init=False)  # the k for which a first look has not paid

    def nearest(self, queries: "Tensor", k: int) -> "tuple[Tensor, Tensor]":
        """The k largest <q, x_i> + plus_i of queries (R, F), n >= k, from high to low: values (R, k), rows i (R, k)."""
        import torch

        if not self._looks_first(queries, k):
            return self._among_all(queries, k)
        with torch.autocast("cpu", enabled=False):  # what is compared in full is, whatever the caller's tail does
            values, rows, sure = self._looked(queries, k)
        if sure.float().mean() < PAYS:
            self.unpaid.add(k)
        if not sure.all():
            values[~sure], rows[~sure] = self._among_all(queries[~sure], k)
        return values, rows

    def _looks_first(self, queries: "Tensor", k: int) -> bool:
        import torch

        if torch.compiler.is_compiling() or self.plus is not None or queries.device.type != "cpu" or k in self.unpaid:
            return False
        enough = len(queries) >= LEAST and queries.shape[1] >= WIDE and len(self.samples) >= SHARE * k
        return enough and queries.dtype == torch.float32 and multiplies_bfloat16()

    def _among_all(self, queries: "Tensor", k: int) -> "tuple[Tensor, Tensor]":
        def products(first: int, end: int) -> "Tensor":
            found = product(queries, self.samples[first:end].T)
            return found if self.plus is None else found.add_(self.plus[first:end])

        return best(queries, len(self.samples), products, k)

    @cached_property
    def _rounded(self) -> "tuple[Tensor, Tensor, float, float]":
        """Mean m (F,), x - m in bfloat16 (n, F), the length of the longest, and of the largest difference to x - m."""
        import torch

        mean, half = self.samples.mean(0), torch.empty_like(self.samples, dtype=torch.bfloat16)
        longest = lost = 0.0
        for samples, rounded in zip(self.samples.split(256), half.split(256), strict=True):
            moved = samples - mean
            rounded.copy_(moved)
            longest = max(longest, float(length(moved).max()))
            lost = max(lost, float(length(moved - rounded).max()))
        return mean, half, longest, lost

    def _looked(self, queries: "Tensor", k: int) -> "tuple[Tensor, Tensor, Tensor]":
        """As `nearest`, by a first look in bfloat16, and of which queries (R,) it is sure.

        <q, x - m> has the order of <q, x>, and less of it is lost to rounding. What q' and x' of bfloat16 give is off
        by |<q, x - m> - <q', x'>| <= |q - q'| |x - m| + |q'| |x - m - x'|, by the sum in float32, and by half a step
        of bfloat16.
        """
        import torch

        mean, half, longest, lost = self._rounded
        rounded = queries.to(torch.bfloat16)
        about, rows = best(rounded, len(half), lambda first, end: rounded @ half[first:end].T, 2 * k + SPARE)
        about = about.float()
        long = length(rounded.float())
        off = length(queries - rounded) * longest + long * lost
        off += long * queries.shape[1] * 2.0**-23 * (longest + lost + mean.norm())
        off += 2.0 ** (torch.frexp(about.abs().amax(1)).exponent - 9)
        least, sure = queries @ mean + off, torch.zeros(len(queries), dtype=torch.bool)
        values, found = queries.new_empty(len(queries), k), rows.new_empty(len(queries), k)
        for begin in range(0, len(queries), TOGETHER):
            few = slice(begin, begin + TOGETHER)
            first = self._products(queries[few], rows[few, :k])
            floor = first.amin(1) - least[few]  # what is below it in the first look is below k others in full
            sure[few] = about[few, -1] < floor
            others = int((about[few] >= floor[:, None]).sum(1).max())
            exact = torch.cat([first, self._products(queries[few], rows[few, k:others])], 1)
            values[few], order = exact.topk(k, 1)
            found[few] = rows[few].gather(1, order)
        return values, found, sure

    def _products(self, queries: "Tensor", rows: "Tensor") -> "Tensor":
        """<q, x_i> of each query (R, F) and its own rows i (R, m): (R, m)."""
        samples = self.samples.index_select(0, rows.flatten()).view(*rows.shape, self.samples.shape[1])
        return (queries[:, None] @ samples.mT)[:, 0]  # a row times a matrix: the other way takes three times as long


def length(x: "Tensor") -> "Tensor":
    """The length of rows (R, F), or a little more: no less where squares, or products, are too small for float32."""
    tiny: float = x.shape[1] ** 0.5 * 2.0**-60
    return x.norm(dim=1) + tiny


@cache
def multiplies_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself; without that it is slower than float32."""
    import torch

    known: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # older versions of torch do not say
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))


def best(queries: "Tensor", count: int, products: "Callable[[int, int], Tensor]", k: int) -> "tuple[Tensor, Tensor]":
    """The k largest products (R, count) of queries (R, F), and where; `products(first, end)` gives those of a block."""
    import torch

    asked = queries.shape[0]  # not len, which would make of it a constant of an exported graph
    values, rows = queries.new_empty(asked, 0), torch.empty(asked, 0, dtype=torch.long).to(queries.device)
    whole = count - count % GROUP  # a rest that is no whole group is a block of its own
    for first, end in pairwise(sorted({*range(0, whole, BLOCK), whole, count, 0})):
        found, where = largest(products(first, end), min(k, end - first))
        values, rows = torch.cat([values, found], 1), torch.cat([rows, where + first], 1)
        values, order = values.topk(min(k, values.shape[1]), 1)
        rows = rows.gather(1, order)
    return values, rows


def largest(x: "Tensor", k: int) -> "tuple[Tensor, Tensor]":
    """`x.topk(k, 1)` of x (R, n), for small k of a large n in half the time.

    The k largest lie in the k groups of neighbours whose largest are the largest: of all others a maximum is enough.
    Of bfloat16 torch takes no quick maxima.
    """
    import torch

    count, width = x.shape
    groups = width // GROUP
    if groups < 4 * k or width % GROUP or x.dtype == torch.bfloat16:
        return x.topk(k, 1)
    chosen = x.view(count, groups, GROUP).amax(2).topk(k, 1).indices  # (R, k)
    first = torch.arange(count, device=x.device)[:, None] * groups
    values, order = x.view(-1, GROUP).index_select(0, (first + chosen).flatten()).view(count, -1).topk(k, 1)
    return values, chosen.gather(1, order // GROUP) * GROUP + order % GROUP
