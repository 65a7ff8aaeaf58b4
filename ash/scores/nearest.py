"""The nearest training samples by inner product: exact, in blocks of matrix products with a running best."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 4096  # training samples at once: memory for their products alone, which is where the time goes


def nearest(queries: "Tensor", bank: "Tensor", k: int, plus: "Tensor | None" = None) -> "tuple[Tensor, Tensor]":
    """The k largest <q, x_i> + plus_i of queries (R, F) over the rows of a bank (n, F), n >= k: values (R, k), rows i.

    From high to low. `plus` (n,) is added to the products.
    """
    import torch

    count = queries.shape[0]  # not len, which would make of it a constant of an exported graph
    values, rows = queries.new_empty(count, 0), torch.empty(count, 0, dtype=torch.long).to(queries.device)
    for first in range(0, len(bank), BLOCK):
        part = bank[first : first + BLOCK]
        products = queries @ part.T if plus is None else plus[first : first + BLOCK].addmm(queries, part.T)
        best, where = products.topk(min(k, len(part)), 1)
        values, rows = torch.cat([values, best], 1), torch.cat([rows, where + first], 1)
        values, order = values.topk(min(k, values.shape[1]), 1)
        rows = rows.gather(1, order)
    return values, rows
