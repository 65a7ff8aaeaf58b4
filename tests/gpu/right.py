"""Right: shaping, sweeps, the authors' numbers and a bank on the device, against the CPU: largest differences."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from gpu.runner import Check, Figures, Where
from torch import Tensor
from torch.export.passes import move_to_device_pass

from ash import shaping
from ash.bank import Bank, open_bank
from ash.data import evenly, get_dataset, set_or_list
from ash.detector import detector, exported, read
from ash.engine import grouped
from ash.engine.activations import Reader
from ash.engine.masked import MaskedProducts
from ash.engine.ranking import metrics_at_once
from ash.engine.tails import EXACT
from ash.errors import AshError
from ash.extraction import extract, identity
from ash.fitting import fit
from ash.methods import Method, parse_methods
from ash.models import get_model
from ash.networks.entries import ModelEntry
from ash.results import every_method
from ash.splitting import LinearTail, split
from ash.sweeping import Sweep, sweep
from ash.tables import RankedID

METRICS = ["auroc", "fpr95", "aupr", "id_accuracy"]
EVERY = (
    "energy,msp,max_logit,ash_p@0:95:5,ash_b@0:95:5,ash_s@0:95:5,ash_rand@65,ash_p@99.9,ash_b@99.9,react@0.5,"
    "ash_s@0:90:15:msp,ash_b@65:msp,ash_s@90:max_logit,react@1.0+ash_s@80"
)
POINTS = 0.05  # metrics may differ by so many points: a few of thousands of samples change their rank by rounding


def _samples(shape: tuple[int, ...], seed: int, tied: bool = False) -> Tensor:
    """Like activations after a ReLU: half zeros, a long tail; `tied`: in steps of a quarter, so that many are equal."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).mul(1.5).clamp(min=0)
    return (x * 4).round() / 4 if tied else x


def _apart(one: Tensor, other: Tensor) -> float:
    """The largest difference, as a share of the largest value."""
    one, other = one.double().cpu(), other.double().cpu()
    return float((one - other).abs().max() / one.abs().max().clamp(min=1e-30))


def functions(at: Where) -> Figures:
    """Every operation of ash.shaping: the same entries survive, the values agree to rounding."""
    worst: dict[str, float] = {}
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        for shape in at.pick(((64, 2048), (64, 342), (16, 96, 7, 7)), ((8, 342), (4, 24, 3, 3))):
            for tied in (False, True):
                x = _samples(shape, 0, tied).to(dtype)
                y = x.to(at.device)
                if y.dim() == 4:
                    y = y.contiguous(memory_format=torch.channels_last)
                for p in (0, 5, 50, 65, 90, 97.5):
                    names = ("ash_p", "ash_b", "ash_s", "ash_rand")
                    pairs = {name: [getattr(shaping, name)(v, p) for v in (x, y)] for name in names}
                    pairs["react"] = [shaping.react(v, 0.5) for v in (x, y)]
                    for name, (one, other) in pairs.items():
                        assert torch.equal(one != 0, other.cpu() != 0), (
                            f"{name} @ {p} keeps other entries, {dtype} {shape}"
                        )
                        key = str(dtype).removeprefix("torch.")
                        worst[key] = max(worst.get(key, 0.0), _apart(one, other))
    for name, value in worst.items():
        assert value <= 4 * torch.finfo(getattr(torch, name)).eps, f"{name}: {value:.2g}"
    return {name: f"{value:.1e}" for name, value in worst.items()}


def _compared(ours: Sweep, other: Sweep) -> Figures:
    """How far two sweeps of the same samples are: scores relative to their spread, predictions, metrics in points."""
    scores = []
    pairs = [(ours.id_scores, other.id_scores), *zip(ours.ood_scores.values(), other.ood_scores.values(), strict=True)]
    for one, two in pairs:
        spread = np.maximum(np.ptp(one, axis=1), np.abs(one).max(axis=1) * 1e-3)
        scores.append(float((np.abs(one - two).max(axis=1) / spread).max()))
    classes = float(np.mean(ours.id_predictions != other.id_predictions))
    tables = [one.table()[METRICS].to_numpy() for one in (ours, other)]
    points = float(np.nanmax(np.abs(tables[0] - tables[1])))
    return {"scores": max(scores), "other class": classes, "points": points}


def _both(
    at: Where,
    tail: Any,
    banks: Sequence[np.ndarray],
    methods: Sequence[Method],
    classes: int,
    here: Mapping[str, Any] | None = None,
    **options: Any,
) -> Figures:
    """The same sweep on the CPU and on the device."""
    ood = {f"set {i}": bank for i, bank in enumerate(banks[1:])}
    options["id_labels"] = np.arange(len(banks[0])) % classes
    cpu = sweep(tail, banks[0], ood, methods, device="cpu", **options)
    with _as_on_a_gpu(at):
        return _compared(cpu, sweep(tail, banks[0], ood, methods, device=at.device, **options, **(here or {})))


def _as_on_a_gpu(at: Where) -> AbstractContextManager[Any]:
    """In a rehearsal: linear tails are evaluated as on a GPU, by masked products, so that these are not idle."""
    return patch.object(grouped, "_way", lambda *_, **__: MaskedProducts) if at.small else nullcontext()


def _worst(found: Mapping[str, Figures], points: float = POINTS) -> Figures:
    """The largest of all differences; AssertionError where one is more than rounding."""
    scores, classes = 1e-4, 1e-3
    for name, one in found.items():
        assert one["scores"] <= scores, f"{name}: scores differ by {one['scores']:.2g}"
        assert one["other class"] <= classes, f"{name}: {one['other class']:.2%} of the predictions differ"
        assert one["points"] <= points, f"{name}: metrics differ by {one['points']:.3f} points"
    keys = ("scores", "other class", "points")
    return {key: f"{max(one[key] for one in found.values()):.1e}" for key in keys}


def reading(at: Where) -> Figures:
    """Banks of every dtype, byte order and layout arrive as they are; NaN is named by its sample."""
    whole = _samples((5000, 96, 7, 7), 3).numpy()  # six pieces
    read = Reader(at.device, torch.float32)
    layouts = {
        "float32": whole,
        "big-endian": whole.astype(">f4"),
        "float16": whole.astype("f2"),
        "double": whole.astype("f8"),
    }
    layouts |= {
        "Fortran": np.asfortranarray(whole),
        "strided": np.repeat(whole, 2, 0)[::2],
        "backwards": whole[::-1].copy()[::-1],
    }
    for name, bank in layouts.items():
        assert torch.equal(read(bank, 0, "set").cpu(), torch.from_numpy(bank.astype("f4"))), name
    path = at.work / "bank.npy"
    np.save(path, whole)
    assert torch.equal(read(np.load(path, mmap_mode="r"), 0, "set").cpu(), torch.from_numpy(whole)), "memory map"
    whole[4321, 5] = np.nan
    said = ""
    try:
        read(whole, 100, "holes")
    except AshError as error:
        said = str(error)
    assert "4421" in said, said
    assert "holes" in said, said
    return {"layouts": len(layouts) + 1, "refused": "NaN"}


def metrics(at: Where) -> Figures:
    """AUROC, FPR95 and AUPR of many methods at once, ties and infinities too, against one at a time on the CPU."""
    rng = np.random.default_rng(0)
    ids = rng.standard_normal((100, at.pick(20_000, 2000)), np.float32)
    sets = [rng.standard_normal((100, n), np.float32) - 1 for n in (1, 3000, 777)]
    for scores in (ids, *sets):
        scores[:50] = scores[:50].round(1)
        scores[7, ::9], scores[8, ::5] = np.inf, -np.inf
    found = metrics_at_once(ids, sets, at.device)
    one = np.array([[RankedID(row).metrics(scores[i]) for scores in sets] for i, row in enumerate(ids)])
    apart = float(np.abs(found - one).max())
    assert apart <= 1e-12, apart
    return {"methods": len(ids), "difference": f"{apart:.1e}"}


def _linear(inputs: int, classes: int, pooled: bool = False) -> LinearTail:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(classes, inputs, generator=generator) / inputs**0.5
    return LinearTail(weight, torch.randn(classes, generator=generator), pooled)


def linear_sweeps(at: Where) -> Figures:
    """The one-pass path: plain, tied, float16 and float64 banks."""
    methods, rows = parse_methods(EVERY), at.pick(2000, 100)
    tail, found = _linear(512, 100), {}
    kinds = (("float32", False, "f4"), ("tied", True, "f4"), ("float16", False, "f2"), ("float64", True, "f8"))
    for name, tied, dtype in kinds:
        banks = [(_samples((rows, 512), seed, tied) * (1, 0.8)[seed]).numpy().astype(dtype) for seed in (0, 1)]
        found[name] = _both(at, tail, banks, methods, 100)
    return {"configurations": len(methods), **_worst(found)}


def pooled_sweeps(at: Where) -> Figures:
    """Maps that are pooled before the last layer."""
    rows = at.pick(300, 30)
    found = {}
    for name, tied in (("plain", False), ("tied", True)):
        banks = [(_samples((rows, 64, 7, 7), seed, tied) * (1, 0.8)[seed]).numpy() for seed in (0, 1)]
        found[name] = _both(at, _linear(64, 100, pooled=True), banks, parse_methods(EVERY), 100)
    return _worst(found, points=0.5)  # one sample of 300 is 0.33 points


def deep_sweeps(at: Where) -> Figures:
    """A tail that is not linear, in float32 and under bfloat16 autocast on the device."""
    entry, rows = get_model("demo"), at.pick(400, 80)
    place = next(iter(entry.deep_placements))
    model = entry.build()
    stem, tail = split(model, place)
    sets = [evenly(get_dataset(name), rows) for name in ("fashion_mnist", "digits")]
    prepare = entry.preprocess.build()
    with torch.inference_mode():
        banks = [stem(torch.stack([prepare(data.image(i)) for i in range(rows)])).numpy() for data in sets]
    methods = parse_methods("energy,ash_p@50:90:20,ash_b@50:90:20,ash_s@50:90:20,react@0.5,ash_s@65:msp")
    exact = _worst({"float32": _both(at, tail, banks, methods, 10)}, points=1)
    half = _both(at, tail, banks, methods, 10, here={"precision": "bfloat16"})
    assert half["points"] <= 5, f"bfloat16 moves a metric by {half['points']:.2f} points"
    return {"placement": place, **exact, "bfloat16, points": f"{half['points']:.2f}"}


def bank_of(entry: ModelEntry, name: str) -> Bank:
    """The penultimate bank of a set that ships, with its images or without."""
    return open_bank(identity(entry, "penultimate", set_or_list(name)))


def every_method_of_the_demo(at: Where) -> Figures:
    """Every method that ships, fitted ones too, on the bundled banks."""
    entry = get_model("demo")
    fitted = fit(bank_of(entry, entry.train_set))
    methods = [method for method in every_method(entry) if method.score not in ("odin", "godin")]
    tail = split(entry.build(), "penultimate")[1]
    ids, ood = bank_of(entry, entry.id_set), {name: bank_of(entry, name) for name in entry.ood_sets[: at.pick(9, 2)]}
    cpu = sweep(tail, ids, ood, methods, device="cpu", fit=fitted)
    with _as_on_a_gpu(at):
        here = sweep(tail, ids, ood, methods, device=at.device, fit=fitted)
    points = 100 * 2 / min(bank.shape[0] for bank in ood.values())  # two samples that change their rank by rounding
    return {"methods": len(methods), **_worst({"demo": _compared(cpu, here)}, points)}


def oracle(at: Where) -> Figures:
    """The authors' numbers of the CIFAR-10 DenseNet, 52 configurations without ties, from the same activations."""
    published = pd.read_csv(at.reference / "reference/densenet_cifar10_isun.csv")
    published = published[published.score == "energy"].rename(columns={"id_acc": "id_accuracy"})
    published = published.assign(method=[str(Method.parse(m if m != "none" else "energy")) for m in published.method])
    tied = [m.variant == "ash_b" and (m.percentile or 0) < 55 for m in map(Method.parse, published.method)]
    published = published[~np.array(tied)].set_index("method")
    entry = get_model("densenet101_cifar10")
    ids, ood = (bank_of(entry, name) for name in ("cifar10", "isun"))
    methods = [Method.parse(method) for method in published.index]
    tail = split(entry.build(), "penultimate")[1]
    table = sweep(tail, ids, {"isun": ood}, methods, device=at.device).table()
    ours = table[table.ood == "isun"].set_index("method").loc[published.index, METRICS]
    apart = (ours - published[METRICS]).abs().max()
    assert apart.max() <= 0.05, apart.to_dict()
    return {"configurations": len(published), **{name: f"{value:.4f}" for name, value in apart.items()}}


DETECTORS = ("energy", "ash_s@90", "ash_b@65:msp", "scale@85:knn", "vim", "dice@50")


def detectors(at: Where) -> Figures:
    """A detector, and the program of its file, on the device: classes and scores as on the CPU."""
    entry, data = get_model("demo"), get_dataset("digits")
    ids, fitted = bank_of(entry, entry.id_set), fit(bank_of(entry, entry.train_set))
    tail, prepare = split(entry.build(), "penultimate")[1], entry.preprocess.build()
    images = torch.stack([prepare(data.image(i)) for i in range(at.pick(256, 16))])
    apart: dict[str, float] = {"module": 0.0, "file": 0.0}
    for text in DETECTORS:
        method = Method.parse(text)
        scores = sweep(tail, ids, {}, [method], fit=fitted).id_scores[0]
        made = detector(entry, "penultimate", method, scores, entry.id_set, id_bank=ids, fit=fitted)
        program = read(exported(made).to_bytes(), text).program
        with torch.inference_mode(), torch.backends.cudnn.flags(**EXACT):
            classes, wanted, _ = made(images)
            moved = {"module": made.to(at.device), "file": move_to_device_pass(program, at.device).module()}
            for name, one in moved.items():
                again, found, _ = one(images.to(at.device))
                same = float((again.cpu() == classes).double().mean())
                assert same >= 0.99, f"{text}, {name}: {1 - same:.1%} of the classes differ"
                assert found.device.type == at.device.type, f"{text}, {name} stayed on {found.device}"
                apart[name] = max(apart[name], float((found.cpu() - wanted).abs().max() / np.ptp(scores)))
    assert max(apart.values()) <= 1e-3, apart
    return {"methods": len(DETECTORS), **{name: f"{value:.1e}" for name, value in apart.items()}}


def extracted_bank(at: Where) -> Figures:
    """A bundled network's activations, made on the device, against those that ship; perturbed ones, bfloat16."""
    entry, data = get_model("demo"), get_dataset("digits")
    some = evenly(data, at.pick(len(data), 100))
    shipped = open_bank(identity(entry, "penultimate", data)).read()[:: len(data) // len(some)][: len(some)]
    fresh = extract(entry, "penultimate", some, device=at.device, root=at.work / "banks").read()
    figures: Figures = {"images": len(some), "relative": _apart(torch.tensor(shipped), torch.tensor(fresh))}
    assert figures["relative"] <= 1e-4, figures
    few = evenly(data, 50)
    for name, options in (("perturbed", {"epsilon": 0.01}), ("bfloat16", {"precision": "bfloat16"})):
        places = {f"{name}-cpu": torch.device("cpu"), name: at.device}
        pair = [
            extract(entry, "penultimate", few, device=device, root=at.work / folder, **options).read()
            for folder, device in places.items()
        ]
        figures[name] = float(np.abs(pair[0] - pair[1]).mean() / np.abs(pair[0]).mean())
        assert figures[name] <= 0.02, figures
    return {key: value if isinstance(value, int) else f"{value:.1e}" for key, value in figures.items()}


CHECKS: dict[str, tuple[Check, int]] = {
    "right: functions": (functions, 60),
    "right: reading": (reading, 40),
    "right: metrics": (metrics, 40),
    "right: linear tails": (linear_sweeps, 60),
    "right: pooled tails": (pooled_sweeps, 60),
    "right: deep tails": (deep_sweeps, 90),
    "right: every method": (every_method_of_the_demo, 60),
    "right: authors' numbers": (oracle, 40),
    "right: extracted bank": (extracted_bank, 60),
    "right: detectors": (detectors, 90),
}
