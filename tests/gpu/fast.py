"""Fast: seconds of the work that users wait for, beside the authors' rule one setting at a time on the same device."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.sweep import PERCENTILES, authors_rule, maps, one_by_one, relu_like
from gpu.right import bank_of
from gpu.runner import Check, Figures, Where
from PIL import Image
from torch import Tensor, nn
from training import ArrayBank

from ash.data import FolderImages, ImageSet, MemoryImages, Subset
from ash.demo import PARTS
from ash.detector import detector
from ash.device import synchronize
from ash.engine.tails import EXACT
from ash.extracting.decoding import decoded, default_workers
from ash.extracting.stems import Stem, best_batch
from ash.extraction import extract_steps
from ash.fitting import fit
from ash.methods import Method
from ash.models import get_model
from ash.networks.entries import ModelEntry
from ash.results import every_method
from ash.splitting import split
from ash.sweeping import sweep

SETTINGS = [(variant, p) for variant in ("ash_p", "ash_s", "ash_b") for p in PERCENTILES]
SIZE = (500, 375)  # of a usual photograph


def _seconds(at: Where, work: Callable[[], object], rounds: int = 2) -> float:
    """The fastest of some rounds, after one that warms up."""
    times = []
    for _ in range(rounds + 1):
        synchronize(at.device)
        start = time.perf_counter()
        work()
        synchronize(at.device)
        times.append(time.perf_counter() - start)
    return min(times[1:])


def _peak(at: Where) -> str:
    return f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB" if at.device.type == "cuda" else "not measured"


def _authors(at: Where, x: Tensor, tail: nn.Module, batch: int, precision: str = "float32") -> float:
    """Seconds a setting by the authors' rule, with the activations on the device already; mean of three percentiles.

    In the same precision: float32 without TF32 in convolutions either, or under autocast.
    """
    few = [(variant, p) for variant, p in SETTINGS if p in (5.0, 50.0, 95.0)]
    with ExitStack() as modes:
        if precision != "float32":
            modes.enter_context(torch.autocast(at.device.type, torch.bfloat16))
        elif at.device.type == "cuda":
            modes.enter_context(torch.backends.cudnn.flags(**EXACT))
        return min(one_by_one(authors_rule, x, tail, few, batch) for _ in range(2))


def _beside_the_authors(
    at: Where, x: np.ndarray, tail: nn.Module, batch: int, settings: list[tuple[str, float]], **options: Any
) -> Figures:
    """A sweep of one bank, scores alone, and the authors' rule on the same activations."""
    methods = [Method(*setting) for setting in settings]
    if at.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    ours = _seconds(at, lambda: sweep(tail, x[:1], {"set": x}, methods, device=at.device, **options)) / len(methods)
    peak = _peak(at)
    precision = options.get("precision", "float32")
    theirs = _authors(at, torch.from_numpy(x).to(at.device), tail.to(at.device), batch, precision)
    return {
        "samples": len(x),
        "configurations": len(methods),
        "ms a configuration": round(1e3 * ours, 3),
        "authors' rule": round(1e3 * theirs, 3),
        "ratio": round(theirs / ours, 1),
        "peak": peak,
    }


def imagenet_size(at: Where) -> Figures:
    """85,000 x 2048 -> 1000, 57 configurations with all metrics: the paper's evaluation of an ImageNet network."""
    ids, others = at.pick((50_000, 35_000), (600, 400))
    width, classes = at.pick((2048, 1000), (256, 100))
    x = relu_like(ids + others, width)
    torch.manual_seed(0)
    tail = nn.Linear(width, classes).requires_grad_(False)
    methods, labels = [Method(*setting) for setting in SETTINGS], np.arange(ids) % classes
    ood = {f"set {i}": part for i, part in enumerate(np.array_split(x[ids:], 4))}
    if at.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    done: list[Any] = []

    def scores() -> None:
        done[:] = [sweep(tail, x[:ids], ood, methods, id_labels=labels, device=at.device)]

    swept = _seconds(at, scores)
    table = _seconds(at, lambda: done[0].table())
    peak = _peak(at)
    theirs = _authors(at, torch.from_numpy(x).to(at.device), tail.to(at.device), 1000)
    return {
        "samples": len(x),
        "configurations": len(methods),
        "scores, s": round(swept, 3),
        "metrics, s": round(table, 3),
        "together, s": round(swept + table, 3),
        "ms a configuration": round(1e3 * swept / len(methods), 2),
        "authors' rule": round(1e3 * theirs, 2),
        "ratio": round(theirs * len(methods) / swept, 1),
        "peak": peak,
    }


def cifar_size(at: Where) -> Figures:
    """20,000 x 342 -> 10."""
    torch.manual_seed(0)
    tail = nn.Linear(342, 10).requires_grad_(False)
    return _beside_the_authors(at, relu_like(at.pick(20_000, 1000), 342), tail, 200, SETTINGS)


def pooled_maps(at: Where) -> Figures:
    """4,000 maps of 2048 x 7 x 7 before pool and last layer."""
    model = get_model("resnet50").architecture().eval().requires_grad_(False)
    x = maps((at.pick(4000, 16), 2048, 7, 7), 0.0)
    return _beside_the_authors(at, x, split(model, "layer4.2.relu_2")[1], 64, SETTINGS)


def deep_tail(at: Where) -> Figures:
    """The last stage of a ResNet-50 behind the placement, which runs once for each configuration."""
    model = get_model("resnet50").architecture().eval().requires_grad_(False)
    tail = split(model, "layer3.5.relu_2")[1]
    x, few = maps((at.pick(1000, 4), 1024, 14, 14), 0.0), SETTINGS[::6]
    exact = _beside_the_authors(at, x, tail, 64, few)
    half = _beside_the_authors(at, x, tail, 64, few, precision="bfloat16") if at.device.type == "cuda" else {}
    return exact | {f"bfloat16, {name}": half[name] for name in half if name[:2] in ("ms", "au", "ra")}


def _random_weights(name: str, folder: Path) -> ModelEntry:
    """A network with a checkpoint of random weights, which changes no time."""
    torch.manual_seed(0)
    path = folder / f"{name}.pth"
    torch.save(get_model(name).architecture().state_dict(), path)
    return get_model(name, path)


def _jpegs(folder: Path, count: int, different: int = 200) -> FolderImages:
    """`count` JPEG files with as much detail as photographs have; after `different` ones the same again, by links."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        path = folder / f"{i:05}.jpg"
        if i >= different:
            path.hardlink_to(folder / f"{i % different:05}.jpg")
            continue
        coarse = Image.fromarray(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8))
        coarse = coarse.resize(SIZE, Image.Resampling.BICUBIC)
        grain = rng.integers(-12, 13, (SIZE[1], SIZE[0], 1))
        Image.fromarray((np.asarray(coarse) + grain).clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return FolderImages(folder, "jpegs")


def _extraction(
    at: Where, entry: ModelEntry, data: ImageSet, root: str, batch: int, workers: int
) -> tuple[float, float]:
    """Images a second from the first finished batch to the finished bank, and seconds until that batch."""
    steps = extract_steps(
        entry, "penultimate", data, root=at.work / root, device=at.device, batch_size=batch, workers=workers
    )
    next(steps)
    start = time.perf_counter()
    done = next(step.done for step in steps if step.done)
    begun = time.perf_counter()
    for _ in steps:
        pass
    return round((len(data) - done) / (time.perf_counter() - begun), 1), round(begun - start, 2)


def _bare(at: Where, entry: ModelEntry, batch: int, exact: bool) -> float:
    """Images a second of the network's forward pass alone on tensors on the device, channels last."""
    model = entry.build().to(at.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.randn(batch, *entry.preprocess.shape, device=at.device).contiguous(memory_format=torch.channels_last)
    times = at.pick(20, 1)

    def work() -> None:
        for _ in range(times):
            model(x)

    with (
        torch.inference_mode(),
        torch.backends.cudnn.flags(**(EXACT if exact else {"enabled": True, "allow_tf32": True})),
    ):
        return times * batch / _seconds(at, work)


def _decoding(at: Where, entry: ModelEntry, data: ImageSet, workers: int) -> float:
    """Images a second of reading, decoding and resizing alone: no network."""
    stem, ranges = Stem(entry, entry.penultimate, at.device), [range(len(data))]
    chunks = decoded(data, stem.geometry, stem.pixels, ranges, workers=workers, device=at.device)
    first = len(next(chunks).images)
    start = time.perf_counter()
    return sum(len(chunk.images) for chunk in chunks) / (time.perf_counter() - start) if first < len(data) else 0.0


def extraction(at: Where) -> Figures:
    """ResNet-50 from JPEG files and from pixels in memory, images a second, against the bare forward pass and against
    what the processors decode without a network."""
    entry = _random_weights("resnet50", at.work)
    batch, most = best_batch(Stem(entry, entry.penultimate, at.device), at.pick(1024, 8)), default_workers(at.device)
    figures: Figures = {"batch": batch}
    figures["bare, float32"] = bare = round(_bare(at, entry, batch, exact=True), 1)
    figures["bare, TF32"] = round(_bare(at, entry, batch, exact=False), 1)
    files = _jpegs(at.work / "jpegs", at.pick(16_000, 40))
    figures[f"decoding alone, {most} workers"] = alone = round(_decoding(at, entry, files, most), 1)
    for workers, count in at.pick(((most, 16_000), (4, 4000), (0, 1000)), ((0, 40),)):
        some = files if count == len(files) else Subset(files, count)
        rate, begun = _extraction(at, entry, some, f"w{workers}", batch, workers)
        figures |= {f"JPEG, {workers} workers": rate, f"first batch, {workers} workers, s": begun}
    memory = MemoryImages(np.zeros((at.pick(12_000, 24), 224, 224, 3), np.uint8), None, "pixels", "Pixels")
    figures[f"from memory, {most} workers"] = pixels = _extraction(at, entry, memory, "memory", batch, most)[0]
    best = figures[f"JPEG, {most} workers"]
    shares = {"JPEG / the slower of both alone": best / min(bare, alone), "from memory / bare": pixels / bare}
    return {**figures, **{name: round(share, 2) for name, share in shares.items()}, "peak": _peak(at)}


def shipped_networks(at: Where) -> Figures:
    """Every method on every shipped network, from its banks to the table: what all pages together can ask for."""
    figures: Figures = {}
    for name, part in PARTS.items():
        entry = get_model(name)
        ids, ood = (
            bank_of(entry, entry.id_set),
            {one: bank_of(entry, one) for one in entry.ood_sets if one in part.sets},
        )
        fitted = fit(bank_of(entry, entry.train_set)) if entry.train_set in part.sets else None
        methods = [
            method
            for method in every_method(entry)
            if method.score not in ("odin", "godin") and (fitted or not method.needs_fit)
        ]
        tail, some = split(entry.build(), "penultimate")[1], methods[:: at.pick(1, 40)]
        swept = partial(sweep, tail, ids, ood, some, device=at.device, fit=fitted)
        figures[f"{name}, methods"] = len(some)
        figures[f"{name}, scores, s"] = round(_seconds(at, swept, 1), 2)
        figures[f"{name}, table, s"] = round(_seconds(at, swept().table, 1), 2)
    return figures


def fitted_scores(at: Where) -> Figures:
    """Scores that read 50,000 x 2048 training activations, on 10,000 samples: the first sweep and a later, seconds."""
    samples, rows, width, classes = at.pick((10_000, 50_000, 2048, 1000), (200, 600, 64, 10))
    x, train = relu_like(samples, width), relu_like(rows, width)
    torch.manual_seed(0)
    tail = nn.Linear(width, classes).requires_grad_(False)
    start = time.perf_counter()
    fitted = fit(ArrayBank(train, np.arange(rows) % classes))  # type: ignore[arg-type]  # all that a fit needs of one
    figures: Figures = {"fit, s": round(time.perf_counter() - start, 1)}
    few = x[: at.pick(200, 50)]
    for score in ("knn", "nnguide", "vim"):
        methods = [Method.parse(score)]
        for when in ("first", "again"):
            synchronize(at.device)
            start = time.perf_counter()
            sweep(tail, x, {}, methods, device=at.device, fit=fitted)
            figures[f"{score}, {when}, s"] = round(time.perf_counter() - start, 2)
        here, there = (sweep(tail, few, {}, methods, device=one, fit=fitted).id_scores for one in (at.device, "cpu"))
        figures[f"{score}, difference"] = f"{float(np.abs(here - there).max() / np.abs(there).max()):.1e}"
    return {**figures, "peak": _peak(at)}


def _repeated(module: nn.Module, x: Tensor, times: int) -> None:
    with torch.inference_mode():
        for _ in range(times):
            module(x)


def detector_speed(at: Where) -> Figures:
    """A ResNet-50 as a detector (ASH-S) beside the bare network, images a second at two batch sizes."""
    entry = _random_weights("resnet50", at.work)
    made = detector(entry, "penultimate", Method("ash_s", 90.0), np.linspace(0, 1, 1000), "made up").to(at.device)
    both, figures = (("detector", made), ("bare", entry.build().to(at.device))), Figures()
    for batch in at.pick((32, 256), (2,)):
        x, times = torch.randn(batch, *entry.preprocess.shape, device=at.device), at.pick(20, 1)
        rates = {name: times * batch / _seconds(at, partial(_repeated, module, x, times), 3) for name, module in both}
        ours, plain = rates.values()
        figures[f"batch {batch}, images/s"] = round(ours, 1)
        figures[f"batch {batch}, bare"] = round(plain, 1)
        figures[f"batch {batch}, time / bare"] = round(plain / ours, 3)
    return figures


CHECKS: dict[str, tuple[Check, int]] = {
    "fast: 85,000 x 2048 -> 1000": (imagenet_size, 90),
    "fast: 20,000 x 342 -> 10": (cifar_size, 40),
    "fast: maps 2048 x 7 x 7": (pooled_maps, 70),
    "fast: deep tail": (deep_tail, 70),
    "fast: shipped networks": (shipped_networks, 90),
    "fast: fitted scores": (fitted_scores, 90),
    "fast: detector": (detector_speed, 60),
    "fast: extraction": (extraction, 120),
}
