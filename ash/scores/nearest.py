"""The nearest training samples by inner product: exact, in blocks of matrix products with a running best."""

from itertools import pairwise
from typing import TYPE_CHECKING

from ash.scores.registry import product

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 2**15  # training samples at once: memory for their products alone, which is where the time goes
GROUP = 32  # products of which only the largest is looked at first


def nearest(queries: "Tensor", bank: "Tensor", k: int, plus: "Tensor | None" = None) -> "tuple[Tensor, Tensor]":
    """The k largest <q, x_i> + plus_i of queries (R, F) over the rows of a bank (n, F), n >= k: values (R, k), rows i.

    From high to low. `plus` (n,) is added to the products.
    """
    import torch

    count = queries.shape[0]  # not len, which would make of it a constant of an exported graph
    values, rows = queries.new_empty(count, 0), torch.empty(count, 0, dtype=torch.long).to(queries.device)
    whole = len(bank) - len(bank) % GROUP  # a rest that is no whole group is a block of its own
    for first, end in pairwise(sorted({*range(0, whole, BLOCK), whole, len(bank), 0})):
        products = product(queries, bank[first:end].T)
        if plus is not None:
            products += plus[first:end]
        best, where = largest(products, min(k, end - first))
        values, rows = torch.cat([values, best], 1), torch.cat([rows, where + first], 1)
        values, order = values.topk(min(k, values.shape[1]), 1)
        rows = rows.gather(1, order)
    return values, rows


def largest(x: "Tensor", k: int) -> "tuple[Tensor, Tensor]":
    """`x.topk(k, 1)` of x (R, n), for small k of a large n in half the time.

    The k largest lie in the k groups of neighbours whose largest are the largest: of all others a maximum is enough.
    """
    import torch

    count, width = x.shape
    groups = width // GROUP
    if groups < 4 * k or width % GROUP:
        return x.topk(k, 1)
    chosen = x.view(count, groups, GROUP).amax(2).topk(k, 1).indices  # (R, k)
    first = torch.arange(count, device=x.device)[:, None] * groups
    values, order = x.view(-1, GROUP).index_select(0, (first + chosen).flatten()).view(count, -1).topk(k, 1)
    return values, chosen.gather(1, order // GROUP) * GROUP + order % GROUP
