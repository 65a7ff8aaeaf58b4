"""All methods, side by side with pytorch-ood 0.4 on the same activations, and all of them on the demo. By hand.

    python tests/benchmarks/methods.py [--samples 20000] [--rounds 3] [--only library|demo]

The library's part needs ASH_TEST_DATA (CIFAR-10 and iSUN activations of the DenseNet, 342 -> 10). Both sides evaluate
the same methods on the same activations, fitted on the same half of the test images; scores must agree, or it stops.
"""

# ruff: noqa: E402
import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]

from benchmarks.sweep import densenet
from training import ArrayBank

from ash.fitting import Fit, fit
from ash.methods import Method, baselines, parse_methods
from ash.scores import ODIN_TEMPERATURE
from ash.shaping import kept_count
from ash.sweeping import sweep

P = "5:95:5"
SHARED = (
    f"msp,max_logit,energy,odin,mahalanobis,react@0.5,react@1.0,react@85:95:5%,dice@{P},react@1.0+dice@{P},"
    f"ash_p@{P},ash_b@{P},ash_s@{P},react@1.0+ash_s@{P}"
)
BATCH = 500


def theirs(methods: list[Method], x: Tensor, train: Tensor, labels: Tensor, layer: torch.nn.Linear) -> list[Tensor]:
    """Scores by pytorch-ood's detectors, batch by batch, higher = more in-distribution; fitting is included."""
    from pytorch_ood import detector

    def head(z: Tensor) -> Tensor:
        return layer(z.flatten(1))

    def one(method: Method) -> Callable[[Tensor], Tensor]:
        names = [step.name for step in method.steps]
        values = [step.parameter for step in method.steps]
        clip = values[0] if names and names[0] == "react" else float("inf")
        if not names and method.score == "mahalanobis":
            return detector.Mahalanobis(None).fit_features(train, labels).predict_features
        if not names:
            score = {
                "msp": detector.MaxSoftmax.score,
                "max_logit": detector.MaxLogit.score,
                "energy": detector.EnergyBased.score,
                "odin": lambda logits: detector.MaxSoftmax.score(logits, ODIN_TEMPERATURE),
            }[method.score]
            return lambda z: score(head(z))
        if names[-1] == "dice":
            found = detector.DICE(None, layer.weight, layer.bias, values[-1] / 100).fit_features(train, labels)
            return lambda z: found.predict_features(z.clamp(max=clip))
        if names[-1].startswith("ash"):
            shaper = detector.ASH(lambda z: z, head, names[-1].replace("_", "-"), values[-1] / 100)
            return lambda z: shaper.predict_feature_maps(z.clamp(max=clip)[:, :, None, None])
        if names[0] == "react%":
            clipper = detector.ReAct(lambda z: z, head, percentile=values[0] / 100)
            return clipper.fit_feature_maps(train, labels).predict_feature_maps
        return detector.ReAct(lambda z: z, head, threshold=clip).predict_feature_maps

    scores = []
    with torch.no_grad():
        for method in methods:
            outlier = one(method)
            scores.append(-torch.cat([outlier(part) for part in x.split(BATCH)]))
    return scores


def compare(methods: list[Method], ours: np.ndarray, other: list[Tensor], x: np.ndarray, classes: int) -> None:
    """Print the largest difference relative to the largest score; AssertionError where it is not rounding.

    Samples are left out where equal values stand at the cut of an ASH step: their topk takes any of them.
    """
    worst: dict[str, float] = {}
    tied = 0.0
    for method, got, want in zip(methods, ours, other, strict=True):
        got, reference = got.astype(np.float64), want.double().numpy()
        if method.score == "msp":
            got = 1 / (1 + np.exp(-got))
        if method.score == "odin":
            got = np.exp(got / ODIN_TEMPERATURE) / classes
        if method.score == "mahalanobis":
            print(
                f"  mahalanobis: float32, another ridge there; ranks correlate {rank_correlation(got, reference):.4f}"
            )
            continue
        clear = ~ties(x, method)
        tied = max(tied, 1 - clear.mean())
        if clear.any():
            difference = np.abs(got - reference)[clear].max() / np.abs(reference[clear]).max()
            name = method.variant if method.steps else method.score
            worst[name] = max(worst.get(name, 0.0), float(difference))
    print("  largest relative differences:", ", ".join(f"{name} {value:.0e}" for name, value in worst.items()))
    print(f"  (samples with ties at a cut left out: up to {tied:.0%} of a method's)")
    assert max(worst.values()) < 1e-5


def ties(x: np.ndarray, method: Method) -> np.ndarray:
    """(n,) whether the choice among equal values changes what ASH makes of a sample."""
    if not method.steps or not method.steps[-1].name.startswith("ash"):
        return np.zeros(len(x), bool)
    shaped = np.minimum(x, method.steps[0].parameter) if method.steps[0].name == "react" else x
    k = kept_count(x.shape[1], method.steps[-1].parameter)
    ordered = -np.sort(-shaped, axis=1)
    equal = ordered[:, k - 1] == ordered[:, min(k, x.shape[1] - 1)]
    return equal & ((ordered[:, k - 1] != 0) | (method.steps[-1].name == "ash_b"))


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    ranks = (np.argsort(np.argsort(values)).astype(np.float64) for values in (a, b))
    return float(np.corrcoef(*ranks)[0, 1])


def library(samples: int, rounds: int) -> None:
    """20,000 real activations: fit and score every method of SHARED, here and there."""
    x, layer = densenet(samples)
    layer.requires_grad_(False)
    root = Path(os.environ["ASH_TEST_DATA"]) / "reference"
    labels = np.load(root / "densenet_cifar10_test_labels.npy").astype(np.int64)[::2]
    train = np.load(root / "densenet_cifar10_test_features.npy")[::2]
    methods = parse_methods(SHARED)
    tensors = torch.from_numpy(x), torch.from_numpy(train), torch.from_numpy(labels)

    def run_ours() -> np.ndarray:
        one: Fit = fit(ArrayBank(train, labels))  # type: ignore[arg-type]
        return sweep(layer, x[:1], {"x": x}, methods, fit=one, perturbed=(x[:1], {"x": x})).ood_scores["x"]

    sweep(layer, x[:500], {}, parse_methods("energy"))  # threads are there
    times: dict[str, list[float]] = {"here": [], "pytorch-ood": []}
    for _ in range(rounds):
        start = time.perf_counter()
        ours = run_ours()
        times["here"].append(time.perf_counter() - start)
        start = time.perf_counter()
        other = theirs(methods, *tensors, layer)
        times["pytorch-ood"].append(time.perf_counter() - start)
    shape = " x ".join(map(str, x.shape))
    print(f"{shape} -> {layer.out_features}, {len(methods)} methods, {torch.get_num_threads()} threads, "
          f"load {os.getloadavg()[0]:.1f}")  # fmt: skip
    for name, seconds in times.items():
        print(f"  {name:12} {min(seconds):7.2f} s   rounds {', '.join(f'{value:.2f}' for value in seconds)}")
    print(f"  ratio of the fastest rounds: {min(times['pytorch-ood']) / min(times['here']):.1f} x")
    compare(methods, ours, other, x, layer.out_features)


def demo(rounds: int) -> None:
    """Every method at 19 percentiles on all OOD sets of the demo, from its banks to the table of metrics."""
    import ash
    from ash.bank import open_bank
    from ash.extraction import extract, identity

    entry = ash.get_model("demo")
    _, tail = ash.split(entry.build(), "penultimate")
    names = (entry.id_set, *entry.ood_sets)
    banks = [open_bank(identity(entry, "penultimate", ash.get_dataset(name))) for name in names]
    moved = [extract(entry, "penultimate", ash.get_dataset(name), epsilon=entry.odin_epsilon) for name in names]
    one = fit(open_bank(identity(entry, "penultimate", ash.get_dataset(entry.train_set))))
    pruned = [f"{variant}@{P}" for variant in ("ash_p", "ash_b", "ash_s", "ash_rand")]
    texts = [f"{text}:{score}" for text in pruned for score in ("energy", "msp", "odin")]
    texts += [f"{variant}_global@{P}" for variant in ("ash_p", "ash_b", "ash_s")]
    texts += [f"dice@{P}", f"react@1.0+dice@{P}", f"react@1.0+ash_s@{P}", "react@50:95:5%"]
    methods = list(dict.fromkeys([*baselines(entry), *parse_methods(",".join(texts))]))
    ood = dict(zip(names[1:], banks[1:], strict=True))
    perturbed = (moved[0], dict(zip(names[1:], moved[1:], strict=True)))
    for _ in range(rounds):
        start = time.perf_counter()
        sweep(tail, banks[0], ood, baselines(entry), fit=one, perturbed=perturbed).table()
        first = time.perf_counter() - start
        start = time.perf_counter()
        result = sweep(tail, banks[0], ood, methods, fit=one, perturbed=perturbed)
        middle = time.perf_counter() - start
        table = result.table()
        whole = time.perf_counter() - start
        print(
            f"demo: {len(methods)} methods x {len(ood)} OOD sets, {len(table)} rows in {whole:.2f} s "
            f"(sweep {middle:.2f}, metrics {whole - middle:.2f}); "
            f"the literature's {len(baselines(entry))} methods in {first:.2f} s; "
            f"load {os.getloadavg()[0]:.1f}",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["library", "demo"])
    arguments = parser.parse_args()
    if arguments.only != "demo":
        library(arguments.samples, arguments.rounds)
    if arguments.only != "library":
        demo(arguments.rounds)
