"""The nearest training samples by inner product: exact, in blocks of matrix products with a running best."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 4096  # training samples at once: their products with some hundred queries stay in a core's caches
GROUP = 16  # products of which the largest is looked at first


def nearest(queries: "Tensor", bank: "Tensor", k: int, plus: "Tensor | None" = None) -> "tuple[Tensor, Tensor]":
    """The k largest <q, x_i> + plus_i of queries (R, F) over the rows of a bank (n, F), n >= k: values (R, k), rows i.

    From high to low. `plus` (n,) is added to the products.
    """
    import torch

    values, rows = queries.new_empty(len(queries), 0), torch.empty(len(queries), 0, dtype=torch.long).to(queries.device)
    for first in range(0, len(bank), BLOCK):
        part = bank[first : first + BLOCK]
        products = queries @ part.T if plus is None else plus[first : first + BLOCK].addmm(queries, part.T)
        best, where = _largest(products, min(k, len(part)))
        values, rows = torch.cat([values, best], 1), torch.cat([rows, where + first], 1)
        if values.shape[1] > k:
            values, order = values.topk(k, 1)
            rows = rows.gather(1, order)
    return values, rows


def _largest(x: "Tensor", k: int) -> "tuple[Tensor, Tensor]":
    """`x.topk(k, 1)`, of long rows faster: the k largest values lie in the k groups with the largest ones."""
    groups = x.shape[1] // GROUP
    if x.shape[1] % GROUP or groups <= 2 * k:
        return x.topk(k, 1)
    grouped = x.view(len(x), groups, GROUP)
    which = grouped.amax(2).topk(k, 1).indices  # (R, k)
    held = grouped.gather(1, which[:, :, None].expand(-1, -1, GROUP)).flatten(1)
    best, at = held.topk(k, 1)
    return best, which.gather(1, at // GROUP) * GROUP + at % GROUP
