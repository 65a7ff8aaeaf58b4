"""Fitted scores against pytorch-ood on the same activations: seconds, peak memory, largest difference. By hand.

    OMP_NUM_THREADS=2 python tests/benchmarks/scores.py [--samples 10000 --bank 50000 --features 2048 --classes 1000]

Every line is a process of its own, one after another. Ours has its fit on the disk, as it is after `python -m ash fit`
(its time is printed by itself), and sweeps twice: `first` works out what a score takes from the fit, `again` has it.
Theirs is `fit_features`, which is `fit`, and `predict_features`, in one batch. `CPU` are seconds of all threads, which
other programs on the machine change less than the time that passes; ratios are of both, (fit + predict) / first and
predict / again. Memory is the peak of the process, with the activations, which both hold.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from training import WHO, ArrayBank, relu_like  # noqa: E402

from ash.fitting import fit, load_fit, save_fit  # noqa: E402
from ash.methods import parse_methods  # noqa: E402
from ash.scores.nnguide import subset  # noqa: E402
from ash.sweeping import sweep  # noqa: E402

CASES = {"knn": "knn", "nnguide": "nnguide", "nnguide, whole bank there": "nnguide", "vim": "vim"}


def timed(what: Callable[[], Any]) -> tuple[Any, list[float]]:
    """What it gives, and the seconds that passed and those of all threads."""
    begun, worked = time.perf_counter(), time.process_time()
    result = what()
    return result, [time.perf_counter() - begun, time.process_time() - worked]


def head(features: int, classes: int) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(features, classes).requires_grad_(False)


def ours(case: str, x: np.ndarray, folder: Path, layer: nn.Linear) -> tuple[np.ndarray, dict[str, list[float]]]:
    one, methods = load_fit(WHO, folder), parse_methods(CASES[case])
    found, first = timed(lambda: sweep(layer, x, {}, methods, fit=one))
    _, again = timed(lambda: sweep(layer, x, {}, methods, fit=one))
    return found.id_scores[0], {"first": first, "again": again}


def theirs(case: str, x: np.ndarray, folder: Path, layer: nn.Linear) -> tuple[np.ndarray, dict[str, list[float]]]:
    from pytorch_ood import detector

    train, features = torch.from_numpy(np.load(folder / "train.npy")), x.shape[1]
    if case == "nnguide":
        train = train[torch.from_numpy(subset(len(train), len(train)))]
    made: Any = {
        "knn": lambda: detector.KNN(None, 50),
        "nnguide": lambda: detector.NNGuide(None, layer, 10),
        "vim": lambda: detector.ViM(None, 1000 if features >= 2048 else features // 2, layer.weight, layer.bias),
    }[CASES[case]]  # made inside what is timed: ViM's pseudo-inverse is there

    def fitted() -> Any:
        return made().fit_features(train, torch.zeros(len(train), dtype=torch.long))

    one, fitting = timed(fitted)
    found, predicting = timed(lambda: -one.predict_features(torch.from_numpy(x)))
    scores: Tensor = -(found**2) if case == "knn" else found
    return scores.numpy(), {"fit": fitting, "predict": predicting}


def child(side: str, case: str, folder: Path, asked: argparse.Namespace) -> None:
    x, layer = np.load(folder / "x.npy"), head(asked.features, asked.classes)
    scores, seconds = {"ours": ours, "theirs": theirs}[side](case, x, folder, layer)
    np.save(folder / f"{side}.npy", scores)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"seconds": seconds, "peak": peak, "load": os.getloadavg()[0]}))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("samples", 10_000), ("bank", 50_000), ("features", 2048), ("classes", 1000)):
        options.add_argument(f"--{name}", type=int, default=value)
    options.add_argument("--cases", default="; ".join(CASES), help="separated by ;")
    options.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.child:
        side, case, folder = asked.child
        child(side, case, Path(folder), asked)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "x.npy", relu_like(asked.samples, (asked.features,)))
        np.save(folder / "train.npy", relu_like(asked.bank, (asked.features,), 1))
        bank = ArrayBank(np.load(folder / "train.npy", mmap_mode="r"), np.arange(asked.bank) % asked.classes)
        one, seconds = timed(lambda: fit(bank))  # type: ignore[arg-type]
        save_fit(one, folder)
        del one
        print(
            f"{asked.samples:,} x {asked.features:,} against {asked.bank:,}, {torch.get_num_threads()} threads, "
            f"fit {seconds[0]:.1f} s (CPU {seconds[1]:.1f})"
        )
        for case in asked.cases.split(";"):
            compare(case.strip(), folder)


def compare(case: str, folder: Path) -> None:
    """Both sides of one case, each in its process, printed."""
    told = {}
    for side in ("ours", "theirs"):
        command = [sys.executable, __file__, *sys.argv[1:], "--child", side, case, str(folder)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        told[side] = one = json.loads(done.stdout.splitlines()[-1])
        times = ", ".join(f"{what} {wall:.2f} s (CPU {cpu:.2f})" for what, (wall, cpu) in one["seconds"].items())
        print(f"{case:26} {side:6} {times}, peak {one['peak']:.1f} GiB, load {one['load']:.1f}", flush=True)
    mine, other = (np.array(list(told[side]["seconds"].values())) for side in ("ours", "theirs"))
    got, want = (np.load(folder / f"{side}.npy") for side in ("ours", "theirs"))
    whole, alone = other.sum(0) / mine[0], other[1] / mine[1]
    difference = "-" if "whole" in case else f"{np.abs(got - want).max() / np.abs(want).max():.1e}"
    print(
        f"{case:26} ratio  first {whole[0]:.1f} x (CPU {whole[1]:.1f}), again {alone[0]:.1f} x (CPU {alone[1]:.1f}), "
        f"difference {difference}",
        flush=True,
    )


if __name__ == "__main__":
    main()
