"""Activations of images beside those of the same images, perturbed: what AdaSCALE looks at, as one bank."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ash.engine.activations import chunks_of
from ash.splitting import LinearTail


class Pairs:
    """A bank of 2 F features (n, 2 F, ...): those of the plain image first, then those of the perturbed one."""

    def __init__(self, plain: Any, moved: Any) -> None:
        self._plain, self._moved = plain, moved
        count, features, *area = plain.shape
        self.shape = (count, 2 * features, *area)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, row: int) -> NDArray[np.floating]:
        return np.concatenate([self._plain[row], self._moved[row]])

    def chunks(self, rows: int) -> Iterator[NDArray[np.floating]]:
        """In order, at most `rows` samples at a time; the two banks may be cut into shards in different places."""
        moved = (one for _, part in chunks_of(self._moved, rows) for one in part)
        for _, part in chunks_of(self._plain, rows):
            yield np.concatenate([part, np.stack(list(islice(moved, len(part))))], axis=1)


def of_the_first(tail: LinearTail) -> LinearTail:
    """The tail that answers for pairs as `tail` does for the plain one of them."""
    return LinearTail(torch.cat([tail.weight, torch.zeros_like(tail.weight)], 1), tail.bias, tail.pooled)
