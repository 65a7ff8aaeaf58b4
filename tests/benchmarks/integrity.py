"""What verifying costs: the first use of the bundled network and of its activations, with and without checksums.

    python tests/benchmarks/integrity.py

Both take turns in one process, every caller's cache emptied before, so that each round is a first use.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ash import shipped
from ash.bank import open_bank
from ash.data import get_dataset
from ash.extraction import identity
from ash.models import get_model
from ash.networks import checkpoints

ROUNDS = 15


def build() -> None:
    """The network, as a new process would load it; its hash names banks, so it is taken either way."""
    checkpoints._hash.cache_clear()
    get_model("demo").weights_hash()
    get_model("demo").build()


def activations() -> None:
    """All rows, labels and names of the ID set's bank."""
    bank = open_bank(identity(get_model("demo"), "avgpool", get_dataset("fashion_mnist")))
    bank.read().sum()
    _ = bank.labels


def unverified(use: Callable[[], None]) -> float:
    """Seconds of a use that loads what it finds."""
    load = checkpoints.load_weights
    with (
        mock.patch.object(shipped, "complaint", return_value=""),
        mock.patch("ash.networks.entries.load_weights", lambda model, path, sha256="": load(model, path)),
    ):
        return seconds(use)


def seconds(use: Callable[[], None]) -> float:
    """Seconds of one use."""
    begun = time.perf_counter()
    use()
    return time.perf_counter() - begun


def main() -> None:
    torch.set_num_threads(1)
    for use in (build, activations):
        use()
        rounds = [(seconds(use), unverified(use)) for _ in range(ROUNDS)]
        with_, without = (1e3 * statistics.median(times) for times in zip(*rounds, strict=True))
        more = 1e3 * statistics.median(a - b for a, b in rounds)
        print(f"{use.__name__:<12} verified {with_:6.1f} ms, not {without:6.1f} ms, more {more:5.1f} ms")


if __name__ == "__main__":
    main()
