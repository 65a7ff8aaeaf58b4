"""Extraction against the bare forward pass, two ranks against one, resuming after a kill, and reduced precision.

    python tests/benchmarks/extraction.py DATA [speed] [ranks] [resume] [precision]

DATA has the folders `textures` (JPEG) and, for `precision`, `cifar10`, `isun` and `checkpoints`. What is compared is
run in turns in one process, so that other work on the machine meets all of it; networks other than the DenseNet have
random weights, which changes no time. Times are from the first image on: without imports and building the model.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import ash
from ash.bank import Bank
from ash.data import FolderImages, Subset
from ash.device import best_device, describe
from ash.extracting.stems import Stem, best_batch
from ash.extraction import extract, extract_steps
from ash.models import get_model
from ash.networks.entries import ModelEntry

ROUNDS = 10
SIZE = (500, 375)


def jpegs(data: Path, folder: Path, count: int) -> FolderImages:
    """`count` JPEG files of a usual size, made from the textures (again from the first when there are too few)."""
    sources = sorted((data / "textures").rglob("*.jpg"))
    folder.mkdir()
    for i in range(count):
        with Image.open(sources[i % len(sources)]) as image:
            image.convert("RGB").resize(SIZE, Image.Resampling.BICUBIC).save(folder / f"{i:05}.jpg", quality=92)
    return FolderImages(folder, "jpegs")


def with_random_weights(name: str, folder: Path) -> ModelEntry:
    """A model with a checkpoint of random weights."""
    torch.manual_seed(0)
    entry, path = get_model(name), folder / f"{name}.pth"
    torch.save(entry.architecture().state_dict(), path)
    return get_model(name, path)


def extraction_seconds(entry: ModelEntry, data: FolderImages | Subset, root: Path, batch: int, workers: int) -> float:
    """From the first image to the finished bank."""
    steps = extract_steps(entry, "penultimate", data, root=root, batch_size=batch, workers=workers)
    next(steps)
    start = time.perf_counter()
    for _ in steps:
        pass
    return time.perf_counter() - start


def bare_seconds(model: nn.Module, batches: list[torch.Tensor]) -> float:
    """The model's forward pass alone, on tensors in memory."""
    device, start = best_device(), time.perf_counter()
    with torch.inference_mode():
        for x in batches:
            model(x)
        if device.type == "cuda":
            torch.cuda.synchronize()
    return time.perf_counter() - start


def speed(data: Path, work: Path) -> None:
    """Images/s from JPEG files, against the bare forward pass in the default memory layout and in channels_last."""
    device = best_device()
    for name, count in (("resnet50", 32), ("mobilenet_v2", 96)):
        entry, files = with_random_weights(name, work), jpegs(data, work / name, count)
        batch = best_batch(Stem(entry, entry.penultimate, device), 64)
        x = torch.randn(count, *entry.preprocess.shape, device=device)
        plain, last = entry.build().to(device), entry.build().to(device, memory_format=torch.channels_last)
        plain_batches = list(x.split(batch))
        last_batches = [part.contiguous(memory_format=torch.channels_last) for part in plain_batches]
        runs: dict[str, Callable[[int], float]] = {
            "bare": lambda _, m=plain, b=plain_batches: bare_seconds(m, b),
            "bare, channels_last": lambda _, m=last, b=last_batches: bare_seconds(m, b),
            **{
                f"extraction, {workers} workers": lambda turn, w=workers, e=entry, f=files, b=batch: extraction_seconds(
                    e, f, work / f"{e.name}-{w}-{turn}", b, w
                )
                for workers in (0, 1, 2)
            },
        }
        rates = {kind: [] for kind in runs}
        for turn in range(ROUNDS):
            for kind, run in runs.items():
                rates[kind].append(count / run(turn))
        print(f"\n{name}, batch {batch}, {count} images, {ROUNDS} rounds; images/s of the fastest, median in brackets:")
        for kind, found in rates.items():
            against = [max(found) / max(rates[bare]) for bare in list(runs)[:2]]
            line = f"  {kind:<24} {max(found):6.1f} ({median(found):6.1f})"
            print(f"{line}   {against[0]:5.2f} of bare, {against[1]:5.2f} of channels_last")


def child(checkpoint: str, folder: str, root: str, log: str) -> None:
    """One process with one thread that extracts and logs its steps with the time."""
    torch.set_num_threads(1)
    entry = get_model("resnet50", checkpoint)
    with Path(log).open("w", buffering=1) as lines:
        for step in extract_steps(
            entry, "penultimate", FolderImages(Path(folder), "jpegs"), root=Path(root), batch_size=8
        ):
            lines.write(f"{time.time()} {step.done}\n")
        lines.write(f"{time.time()} {step.total}\n")


def launch(entry: ModelEntry, files: FolderImages, root: Path, log: Path) -> "subprocess.Popen[bytes]":
    arguments = [str(argument) for argument in (entry.weights, files.path, root, log)]
    here = Path(__file__).resolve()
    settings = {**os.environ, "PYTHONPATH": str(here.parents[2]), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, str(here), "child", *arguments], env=settings)


def steps_of(log: Path) -> list[tuple[float, int]]:
    lines = log.read_text().splitlines() if log.exists() else []
    return [(float(when), int(done)) for when, done in (line.split() for line in lines)]


def ranks(data: Path, work: Path) -> None:
    """Two processes with a thread each on one bank, against one process with one thread."""
    entry, files = with_random_weights("resnet50", work), jpegs(data, work / "ranks", 256)
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for turn in range(2):
        for count in (1, 2):
            logs = [work / f"log{turn}{count}{i}" for i in range(count)]
            for process in [launch(entry, files, work / f"ranks{turn}{count}", log) for log in logs]:
                process.wait()
            moments = [when for log in logs for when, _ in steps_of(log)]
            seconds[count].append(max(moments) - min(moments))
    banks = [Bank(next((work / f"ranks0{count}").rglob("manifest.json")).parent) for count in (1, 2)]
    same = all((banks[0].folder / one.name).read_bytes() == one.read_bytes() for one in banks[1].folder.glob("[ms]*"))
    print(f"\n256 images, one thread each: 1 process {seconds[1]} s, 2 processes {seconds[2]} s")
    print(f"  {median(seconds[1]) / median(seconds[2]):.2f} x; banks {'equal' if same else 'DIFFERENT'} to the byte")


def resume(data: Path, work: Path) -> None:
    """Work that is done twice when an extraction is killed half-way."""
    entry, files = with_random_weights("resnet50", work), jpegs(data, work / "resume", 192)
    process = launch(entry, files, work / "banks", work / "log")
    while not (steps := steps_of(work / "log")) or steps[-1][1] < 100:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    reached = steps_of(work / "log")[-1][1]
    again = next(extract_steps(entry, "penultimate", files, root=work / "banks")).done
    print(f"\nkilled at {reached} of 192 images, resumed at {again}: {reached - again} done twice, a shard has 64")


def precision(data: Path, work: Path) -> None:
    """What float16 storage, bfloat16 autocast and other batches do to the DenseNet's numbers, 1,000 + 1,000 images."""
    entry = get_model("densenet101_cifar10", data / "checkpoints" / "densenet_cifar10.pth")
    sets = [FolderImages(data / "cifar10" / "test", "cifar10"), FolderImages(data / "isun" / "iSUN_patches", "isun")]
    inliers, outliers = (Subset(one, 1000) for one in sets)
    methods = ash.parse_methods("energy,ash_p@90,ash_b@95,ash_s@95")
    tail = ash.split(entry.build(), "avgpool")[1]
    tables, values = {}, {}
    kinds = {
        "float32": {},
        "stored in float16": {"dtype": "float16"},
        "bfloat16 autocast": {"precision": "bfloat16"},
        "batches of 50": {"batch_size": 50},
    }
    for kind, options in kinds.items():
        banks = [
            extract(entry, "avgpool", one, root=work / kind, **{"batch_size": 8, **options})
            for one in (inliers, outliers)
        ]
        x = [bank.read().astype(np.float32) for bank in banks]
        result = ash.sweep(tail, x[0], {"isun": x[1]}, methods, id_labels=banks[0].labels)
        tables[kind], values[kind] = result.table().query("ood == 'isun'").set_index("method"), x[0]
    print("\nDenseNet, CIFAR-10 (1,000) against iSUN (1,000); differences to float32 in points")
    print(tables["float32"][["auroc", "fpr95", "id_accuracy"]].round(3).to_string())
    for kind in list(kinds)[1:]:
        difference = (
            tables[kind][["auroc", "fpr95", "id_accuracy"]] - tables["float32"][["auroc", "fpr95", "id_accuracy"]]
        )
        largest = np.abs(values[kind] - values["float32"]).max() / values["float32"].max()
        print(f"{kind}: activations differ by at most {largest:.1e} of the largest")
        print(difference.round(4).to_string())
    network, files = with_random_weights("resnet50", work), jpegs(data, work / "tolerance", 32)
    found = {n: extract(network, "avgpool", files, root=work / f"t{n}", batch_size=n).read() for n in (1, 8, 13, 32)}
    for size in (1, 8, 13):
        largest = np.abs(found[size] - found[32]).max() / found[32].max()
        print(f"ResNet-50, batches of {size} against 32: at most {largest:.1e} of the largest activation")


PARTS = {"speed": speed, "ranks": ranks, "resume": resume, "precision": precision}


def main() -> None:
    if sys.argv[1:2] == ["child"]:
        child(*sys.argv[2:])
        return
    data = Path(sys.argv[1])
    print(f"{describe(best_device())}, torch {torch.__version__}, load {os.getloadavg()[0]:.1f}")
    for name in sys.argv[2:] or PARTS:
        with tempfile.TemporaryDirectory() as work:
            PARTS[name](data, Path(work))
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
