"""All methods: side by side with pytorch-ood 0.4 on the same activations, and on each bundled network. By hand.

    python tests/benchmarks/methods.py [--samples 20000] [--rounds 3] [--only library|demo|...]

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
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]

from benchmarks.sweep import densenet
from training import ArrayBank

from ash.fitting import Fit, fit
from ash.methods import ADASCALE, Method, Perturbation, baselines, parse_methods
from ash.scores import ODIN_TEMPERATURE
from ash.shaping import kept_count
from ash.sweeping import sweep

P = "5:95:5"
SHARED = (
    f"msp,max_logit,energy,odin,mahalanobis,react@0.5,react@1.0,react@85:95:5%,dice@{P},react@1.0+dice@{P},"
    f"ash_p@{P},ash_b@{P},ash_s@{P},react@1.0+ash_s@{P}"
)
BATCH = 500
BUNDLED = ("demo", "mobilenet_v2_photos", "densenet101_cifar10")


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


def of_a_bundled_network(name: str, rounds: int) -> None:
    """Every method at every percentile on all sets of a network, from the banks that ship to the table of metrics.

    That is every step at 5 to 95 % (thresholds: the front's), every score alone, after ASH-S, SCALE and ReAct, and what
    the paper compares with. Fits, and the perturbed images of ODIN and AdaSCALE, are there where a training set or the
    images ship, and are not timed; what lacks them is said. `first` is the front of Trade-off.
    """
    import ash
    from app.backend.banks import bank, id_labels
    from app.backend.setups import setup
    from app.link.spec import RunSpec
    from ash.bank import open_bank
    from ash.extraction import extract, identity
    from ash.results import clip_thresholds, front_methods
    from ash.scores.registry import SCORES

    at = setup(RunSpec(model=name))
    entry, names = at.entry, at.sets
    _, tail = ash.split(entry.build(), "penultimate")
    id_bank, ood = bank(at, at.id_set), {data: bank(at, data) for data in names[1:]}
    more: dict[str, Any] = {}
    lacking = set()
    if entry.train_set:
        more["fit"] = fit(open_bank(identity(entry, "penultimate", ash.get_dataset(entry.train_set))))
    else:
        lacking.add("a training bank")
    ways: dict[str, Perturbation] = {"perturbed": entry.odin_epsilon, "shifted": ADASCALE}
    for what, way in ways.items():
        if not way:
            more[what] = (id_bank, ood)
        elif name == "demo":
            moved, *rest = (extract(entry, "penultimate", ash.get_dataset(data), epsilon=way) for data in names)
            more[what] = (moved, dict(zip(names[1:], rest, strict=True)))
        else:
            lacking.add("perturbed images")
    labels = id_labels(at)

    thresholds = clip_thresholds(np.concatenate(list(id_bank.chunks(4096))), entry.react_threshold)
    front = parse_methods(",".join(front_methods("energy", thresholds)))
    ranked = ("ash_p", "ash_b", "ash_s", "ash_rand", "scale", "lts", "ash_p_global", "ash_b_global", "ash_s_global")
    texts = [f"{step}@{P}" for step in ranked] + [f"bfact@{c}" for c in thresholds]
    texts += ["ras", "vra@0.5,1.0", f"dice@{P}", f"react@1.0+dice@{P}", f"react@{P}%", f"react@1.0+ash_s@{P}"]
    after = ("", "ash_s@90:", "scale@85:", "react@1.0:")
    texts += [f"{shape}{score}" for score, one in SCORES.items() for shape in after if one.follows or not shape]
    wanted = dict.fromkeys([*front, *baselines(entry), *parse_methods(",".join(texts))])
    methods = [one for one in wanted if one.score != "godin" and possible(one, more)]

    for _ in range(rounds):
        begun, worked = time.perf_counter(), time.process_time()
        sweep(tail, id_bank, ood, front, id_labels=labels).table()
        first = time.perf_counter() - begun, time.process_time() - worked
        begun, worked = time.perf_counter(), time.process_time()
        result = sweep(tail, id_bank, ood, methods, id_labels=labels, **more)
        middle = time.perf_counter() - begun
        table = result.table()
        whole = time.perf_counter() - begun, time.process_time() - worked
        print(
            f"{name}: {len(methods)} methods x {len(ood)} OOD sets, {len(table)} rows in {whole[0]:.2f} s "
            f"(CPU {whole[1]:.2f}; sweep {middle:.2f}, metrics {whole[0] - middle:.2f}); first {len(front)} in "
            f"{first[0]:.2f} s (CPU {first[1]:.2f}); {len(wanted) - len(methods)} left out"
            f"{' for want of ' + ' and '.join(sorted(lacking)) if lacking else ''}; load {os.getloadavg()[0]:.1f}",
            flush=True,
        )


def possible(method: Method, more: dict[str, Any]) -> bool:
    """Whether a sweep has what the method reads: a fit, perturbed images."""
    images = {"perturbed", "shifted"}.intersection(method.scoring.score.reads)
    return images <= more.keys() and ("fit" in more or not method.needs_fit)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["library", *BUNDLED])
    arguments = parser.parse_args()
    if arguments.only in (None, "library"):
        library(arguments.samples, arguments.rounds)
    for name in BUNDLED:
        if arguments.only in (None, name):
            of_a_bundled_network(name, arguments.rounds)
