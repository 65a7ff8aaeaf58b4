"""Fitted scores against pytorch-ood on the same activations: CPU seconds, peak memory, largest difference.

    python tests/benchmarks/scores.py --samples 2000 --bank 50000 --features 2048 --threads 2

Ours is one sweep of one method, with its fit already there, as it is after `python -m ash fit`; the time of the fit is
printed by itself. Theirs is `fit_features` and `predict_features`, printed apart. CPU seconds of all threads, which
other programs on the machine change less than the time that passes.
"""

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path
from sys import path

import numpy as np
import torch

path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from pytorch_ood import detector  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from training import ArrayBank, relu_like  # noqa: E402

from ash.fitting import fit  # noqa: E402
from ash.methods import parse_methods  # noqa: E402
from ash.scores.nnguide import subset  # noqa: E402
from ash.sweeping import sweep  # noqa: E402


def timed(what: Callable[[], object]) -> tuple[object, float]:
    begun = time.process_time()
    return what(), time.process_time() - begun


def main() -> None:
    options = argparse.ArgumentParser()
    for name, value in (("samples", 2000), ("bank", 50_000), ("features", 2048), ("classes", 1000), ("threads", 2)):
        options.add_argument(f"--{name}", type=int, default=value)
    options.add_argument("--scores", default="knn,nnguide,vim")
    asked = options.parse_args()
    torch.set_num_threads(asked.threads)
    shape = (asked.features,)
    x, train = relu_like(asked.samples, shape), relu_like(asked.bank, shape, 1)
    layer = nn.Linear(asked.features, asked.classes).requires_grad_(False)
    labels = np.zeros(len(train), np.int64)
    one, seconds = timed(lambda: fit(ArrayBank(train)))  # type: ignore[arg-type]
    print(
        f"fit {seconds:.1f} s, {asked.samples:,} x {asked.features:,} against {asked.bank:,}, {asked.threads} threads"
    )
    z, rows, w, b = torch.from_numpy(x), torch.from_numpy(train), layer.weight, layer.bias
    few = torch.from_numpy(subset(len(train), len(train)))

    def theirs(name: str) -> tuple[Tensor, float, float]:
        made = {
            "knn": lambda: detector.KNN(None, 50),
            "nnguide": lambda: detector.NNGuide(None, layer, 10),
            "vim": lambda: detector.ViM(None, 1000 if asked.features >= 2048 else asked.features // 2, w, b),
        }[name]()
        some = few if name == "nnguide" else slice(None)
        _, fitting = timed(lambda: made.fit_features(rows[some], torch.from_numpy(labels)[some]))
        found, scoring = timed(lambda: -made.predict_features(z))
        return -(found**2) if name == "knn" else found, fitting, scoring  # type: ignore[return-value,operator]

    for name in asked.scores.split(","):
        method = parse_methods(name)
        first, seconds = timed(lambda: sweep(layer, x, {}, method, fit=one))  # noqa: B023
        _, again = timed(lambda: sweep(layer, x, {}, method, fit=one))  # noqa: B023
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        found, fitting, scoring = theirs(name)
        got = first.id_scores[0]  # type: ignore[attr-defined]
        difference = float(np.abs(got - found.numpy()).max() / np.abs(found.numpy()).max())
        print(
            f"{name:8} ours {seconds:6.2f} s, again {again:6.2f} s, peak so far {peak:.1f} GiB; pytorch-ood fit "
            f"{fitting:6.2f} s, predict {scoring:6.2f} s; difference {difference:.1e}"
        )


if __name__ == "__main__":
    main()
