"""Banks in memory for tests of fits: what `ash.fitting` and the sweep need of one."""

from collections.abc import Iterator

import numpy as np

from ash.bank import BankIdentity

WHO = BankIdentity("net", "0123456789abcdef", "fc", "Preprocess()", "train", "files")


class ArrayBank:
    """Activations (n, ...) with labels and an identity, in chunks that do not fit anybody's own."""

    def __init__(self, x: np.ndarray, labels: np.ndarray | None = None, identity: BankIdentity = WHO) -> None:
        self.x, self.shape, self.identity = x, x.shape, identity
        self.labels = np.full(len(x), -1) if labels is None else labels

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, row: int) -> np.ndarray:
        return self.x[row]

    def chunks(self, rows: int) -> Iterator[np.ndarray]:
        rows = min(rows, 97)
        yield from (self.x[i : i + rows] for i in range(0, len(self.x), rows))

    def read(self) -> np.ndarray:
        return self.x


def relu_like(n: int, features: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Activations as after a ReLU: half of them zero."""
    return np.maximum(np.random.default_rng(seed).standard_normal((n, *features), dtype=np.float32), 0)
