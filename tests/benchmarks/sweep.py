"""The sweep and its metrics against doing the same one by one, side by side in one run. By hand: see README.md here.

    python tests/benchmarks/sweep.py [--samples 10000 20000] [--images 256] [--only PART] [--rounds 3]

Each contender is timed alternately with the others, `rounds` times; the ratio of the fastest rounds is printed. One
setting at a time is the same work for each percentile, so the slow contenders run a few settings and are scaled up.
"""

import argparse
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ash.device import synchronize

PERCENTILES = [float(p) for p in range(5, 100, 5)]
BATCH = 200


def authors_rule(variant: str, x: Tensor, percentile: float) -> Tensor:
    """ASH as its authors' code does it, batch by batch: topk of the flattened activation, zero, scatter, in place."""
    n = x[0].numel()
    k = n - int(np.round(n * percentile / 100.0))
    flat = x.view(len(x), n)
    s1 = flat.sum(dim=1)
    values, index = torch.topk(flat, k, dim=1)
    if variant == "ash_b":
        values = (s1 / k)[:, None].expand(values.shape)
    flat.zero_().scatter_(dim=1, index=index, src=values)
    if variant == "ash_s":
        flat.mul_(torch.exp(s1 / flat.sum(dim=1))[:, None])
    return x


def pytorch_ood_rule(variant: str, x: Tensor, percentile: float) -> Tensor:
    """The shaping functions of pytorch-ood, which want (N, C, H, W) and a fraction."""
    from pytorch_ood.detector import ash

    rule = {"ash_p": ash.ash_p, "ash_b": ash.ash_b, "ash_s": ash.ash_s}[variant]
    return rule(x[:, :, None, None], percentile / 100)[:, :, 0, 0]


def one_by_one(
    shape: Callable[[str, Tensor, float], Tensor], x: Tensor, tail: torch.nn.Module, settings: list, batch: int
) -> float:
    """Seconds a setting: shape, tail, logsumexp, batch by batch. Both rules work in place, so they get a copy."""
    start = time.perf_counter()
    with torch.inference_mode():
        for variant, percentile in settings:
            parts = (shape(variant, part.clone(), percentile) for part in x.split(batch))
            torch.cat([torch.logsumexp(tail(part), dim=1) for part in parts])
    synchronize(x.device)
    return (time.perf_counter() - start) / len(settings)


def relu_like(samples: int, features: int) -> np.ndarray:
    """Activations as after a ReLU and a pool: non-negative, heavy-tailed, half of them zero."""
    noise = np.random.default_rng(0).standard_normal((samples, features), dtype=np.float32)
    return np.maximum(np.abs(noise) - 0.6745, 0)


def densenet(samples: int) -> tuple[np.ndarray, torch.nn.Linear]:
    """Real CIFAR-10 and iSUN activations (342 a sample) and the last layer of their network, from ASH_TEST_DATA."""
    root = Path(os.environ["ASH_TEST_DATA"])
    names = ("test", "isun", "test")
    parts = [np.load(root / "reference" / f"densenet_cifar10_{name}_features.npy") for name in names]
    state = torch.load(root / "data/checkpoints/densenet_cifar10.pth", map_location="cpu", weights_only=True)[
        "state_dict"
    ]
    linear = torch.nn.Linear(342, 10)
    linear.load_state_dict({"weight": state["fc.weight"], "bias": state["fc.bias"]})
    return np.concatenate(parts)[:samples], linear


def compare_sweep(
    name: str, x: np.ndarray, tail: torch.nn.Module, rounds: int, batch: int = 200, step: int = 1
) -> None:
    """Print milliseconds a setting and ratios for P, S and B at every `step`-th percentile of one set."""
    from ash.methods import Method
    from ash.sweeping import sweep

    settings = [(variant, p) for variant in ("ash_p", "ash_s", "ash_b") for p in PERCENTILES[::step]]
    few = [setting for setting in settings if setting[1] in (5.0, 50.0, 95.0)]
    methods = [Method(*setting) for setting in settings]
    tensor = torch.from_numpy(x)

    def ours() -> float:
        start = time.perf_counter()
        sweep(tail, x[:1], {"scores only, as the others": x}, methods)  # predictions are made for ID alone
        return (time.perf_counter() - start) / len(settings)

    contenders: dict[str, Callable[[], float]] = {
        "authors' rule": lambda: one_by_one(authors_rule, tensor, tail, few, batch),
        "pytorch-ood": lambda: one_by_one(pytorch_ood_rule, tensor, tail, few, batch),
        "ash.sweep": ours,
    }
    if x.ndim > 2 or importlib.util.find_spec("pytorch_ood") is None:
        del contenders["pytorch-ood"]
    sweep(tail, x[: min(len(x), 1000)][:: 1 if x.ndim == 2 else 8], {}, methods)  # threads and code paths warm
    times: dict[str, list[float]] = {label: [] for label in contenders}
    for _ in range(rounds):
        for label, run in contenders.items():
            times[label].append(run())
    base = min(times["authors' rule"])
    print(
        f"{name}: {' x '.join(map(str, x.shape))}, {np.mean(x == 0):.0%} zeros, {len(settings)} settings, "
        f"{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}"
    )
    for label, seconds in times.items():
        spread = ", ".join(f"{a / b:.1f}" for a, b in zip(times["authors' rule"], seconds, strict=True))
        print(
            f"  {label:14} {1e3 * min(seconds):8.2f} ms a setting   {base / min(seconds):6.1f} x   (rounds: {spread})",
            flush=True,
        )


def compare_scaling(samples: int, rounds: int) -> None:
    """Print what SCALE and LTS at every percentile add to one pass of ASH-P, S and B, ImageNet-like, in alternation."""
    from ash.methods import Method
    from ash.sweeping import sweep

    x, tail = relu_like(samples, 2048), torch.nn.Linear(2048, 1000)
    few = [Method(variant, p) for variant in ("ash_p", "ash_s", "ash_b") for p in PERCENTILES]
    all_five = few + [Method(variant, p) for variant in ("scale", "lts") for p in PERCENTILES]
    sweep(tail, x[:1000], {}, all_five)  # threads and code paths warm

    def timed(methods: list) -> float:
        start = time.perf_counter()
        sweep(tail, x[:1], {"scores only": x}, methods)
        return time.perf_counter() - start

    times = [(timed(few), timed(all_five)) for _ in range(rounds)]
    alone, together = (min(column) for column in zip(*times, strict=True))
    spread = ", ".join(f"{b / a:.2f}" for a, b in times)
    print(
        f"SCALE and LTS beside P, S and B, {samples} x 2048 -> 1000: {together:.2f} s, without them {alone:.2f} s: "
        f"{together / alone:.2f} x   (rounds: {spread}; load {os.getloadavg()[0]:.1f})"
    )


def maps(shape: tuple[int, ...], floor: float | None) -> np.ndarray:
    """Maps (n, C, H, W): gaussians, wider in some channels, less `floor` and rectified; without it, magnitudes."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape, dtype=np.float32) * rng.gamma(2, 0.5, (*shape[:2], 1, 1)).astype(np.float32)
    return np.abs(x) if floor is None else np.maximum(x - np.float32(floor), 0)


def compare_placements(images: int, rounds: int) -> None:
    """layer4 of a ResNet-50 (pool and linear behind it), and layer3.5, where the last stage follows; random weights."""
    from torchvision.models import resnet50

    from ash.splitting import split

    model = resnet50(weights=None).eval().requires_grad_(False)
    last, deep = (split(model, name)[1] for name in ("layer4.2.relu_2", "layer3.5.relu_2"))
    for floor in (None, 0.0, 0.9):
        compare_sweep("ResNet-50 layer4", maps((images, 2048, 7, 7), floor), last, rounds, batch=64)
    for floor in (0.0, 0.9):
        compare_sweep("ResNet-50 layer3.5", maps((images // 8, 1024, 14, 14), floor), deep, rounds, batch=32, step=3)


def compare_kept_mask(rounds: int) -> None:
    """Print the time of one mask of survivors beside the sorted topk of the authors' rule."""
    from ash.shaping import kept_count, kept_mask

    for shape in ((32, 2048, 7, 7), (256, 2048)):
        x = torch.from_numpy(np.maximum(np.random.default_rng(0).standard_normal(shape, dtype=np.float32), 0))
        for p in (5, 65, 90):
            flat = x.flatten(1)
            k = kept_count(flat.shape[1], p)
            times = []
            for _ in range(rounds):
                start = time.perf_counter()
                torch.topk(flat, k, dim=1)
                middle = time.perf_counter()
                kept_mask(x, p)
                times.append((middle - start, time.perf_counter() - middle))
            slow, fast = (1e3 * min(column) for column in zip(*times, strict=True))
            print(f"kept_mask of {shape} at p = {p}: {fast:.1f} ms; topk alone {slow:.1f} ms")


def compare_metrics(rounds: int) -> None:
    """Print the time of a table of 57 methods x 4 OOD sets at 50,000 + 10,000 scores against scikit-learn."""
    from sklearn.metrics import roc_auc_score, roc_curve

    from ash.methods import Method
    from ash.metrics import intervals
    from ash.sweeping import Sweep

    rng = np.random.default_rng(0)
    methods = tuple(Method("ash_p", p) for p in range(57))
    ids = rng.standard_normal((57, 50_000), dtype=np.float32)
    oods = {f"set {i}": rng.standard_normal((57, 10_000), dtype=np.float32) - 1 for i in range(4)}
    result = Sweep(methods, ids, oods, np.zeros(ids.shape, np.int32), np.zeros(50_000, np.int64))

    def ours() -> float:
        start = time.perf_counter()
        result.table()
        return time.perf_counter() - start

    def sklearn(cells: int = 6) -> float:
        start = time.perf_counter()
        for i in range(cells):
            truth = np.repeat([1, 0], [50_000, 10_000])
            scores = np.concatenate([ids[i], oods["set 0"][i]])
            roc_auc_score(truth, scores)
            fpr, tpr, _ = roc_curve(truth, scores)
            fpr[np.searchsorted(tpr, 0.95)]
        return (time.perf_counter() - start) / cells * 57 * 4

    ours()
    times = [(ours(), sklearn()) for _ in range(rounds)]
    fast, slow = (min(column) for column in zip(*times, strict=True))
    print("57 methods x 4 OOD sets, 50,000 + 10,000 scores")
    print(f"  scikit-learn, AUROC + FPR95        {slow:6.2f} s")
    print(f"  Sweep.table, with AUPR, accuracy   {fast:6.2f} s   {slow / fast:6.1f} x")
    times = []
    for _ in range(5):
        start = time.perf_counter()
        intervals(ids[0][:2000], oods["set 0"][0][:2000], resamples=200)
        times.append(time.perf_counter() - start)
    print(f"bootstrap intervals of AUROC, FPR95, AUPR, 2,000 + 2,000 scores, 200 resamples: {1000 * min(times):.0f} ms")


def compare_flat(samples: Sequence[int], rounds: int) -> None:
    """The last layer of a network for ImageNet, on made-up activations, and for CIFAR-10, on real ones."""
    compare_sweep("ImageNet-like", relu_like(samples[0], 2048), torch.nn.Linear(2048, 1000), rounds)
    if "ASH_TEST_DATA" in os.environ:
        compare_sweep("CIFAR-10 and iSUN", *densenet(samples[1]), rounds)
    else:
        print("CIFAR-10 and iSUN: skipped, set ASH_TEST_DATA to the folder with reference/ and data/")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, nargs=2, default=(10_000, 20_000), help="of the two shapes")
    parser.add_argument("--images", type=int, default=256, help="of the maps at layer4; an eighth of it at layer3.5")
    parser.add_argument("--only", choices=("flat", "scaling", "maps", "masks", "metrics"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    parts = {
        "flat": lambda: compare_flat(args.samples, args.rounds),
        "scaling": lambda: compare_scaling(args.samples[0], args.rounds),
        "maps": lambda: compare_placements(args.images, args.rounds),
        "masks": lambda: compare_kept_mask(args.rounds),
        "metrics": lambda: compare_metrics(args.rounds),
    }
    for name, part in parts.items():
        if args.only in (None, name):
            part()


if __name__ == "__main__":
    main()
