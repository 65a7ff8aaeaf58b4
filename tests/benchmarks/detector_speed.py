"""A detector's file against the bare network, and `ash score` against a plain loop over a DataLoader. By hand.

    python tests/benchmarks/detector_speed.py [--only NAME,NAME] [--rounds 15] [--images 1024] [--threads 2]

Both sides run in turns in one process, which of them first in turns too, so that other work on the machine meets both.
Medians of the time on the clock and of the processor's seconds, which that changes less, and the middle half of the
ratios of neighbours. The plain loop is what one writes without this library: a Dataset of files, torchvision's usual
transform, the same `.pt2`, a CSV. The threshold changes no time; the shipped photographs are the images.
"""

# ruff: noqa: E402
import argparse
import csv
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from statistics import median, quantiles

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

import ash
from ash.commands.detector import score
from ash.detector import detector, exported
from ash.methods import Method
from ash.networks.entries import ModelEntry

NETWORKS = {"demo": (28, 28), "densenet101_cifar10": (32, 32), "mobilenet_v2_photos": (500, 375)}  # size of the files
BATCH = 32


class Files(Dataset[tuple[torch.Tensor, str]]):
    """Image files of a folder, as the network takes them."""

    def __init__(self, folder: Path, entry: ModelEntry) -> None:
        self.paths, self.transform = sorted(folder.iterdir()), entry.preprocess.build()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, str]:
        with Image.open(self.paths[index]) as image:
            return self.transform(image.convert("RGB")), self.paths[index].name


def loop(file: Path, folder: Path, entry: ModelEntry, out: Path) -> None:
    """What one would write: a row for every image."""
    module = torch.export.load(file).module()
    with torch.inference_mode(), out.open("w", newline="") as target:
        rows = csv.writer(target)
        rows.writerow(["image", "class", "score", "accepted"])
        for images, names in DataLoader(Files(folder, entry), batch_size=BATCH):
            classes, scores, accepted = module(images)
            rows.writerows(zip(names, classes.tolist(), scores.tolist(), accepted.tolist(), strict=True))


def scored(file: Path, folder: Path, out: Path) -> None:
    """The command."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        score.main([str(file), str(folder), "--out", str(out)], standalone_mode=False)


def write_images(folder: Path, size: tuple[int, int], count: int) -> Path:
    """So many of the shipped photographs as files of this size, again from the first when there are too few."""
    photos, suffix = ash.get_dataset("photos"), ".jpg" if size[0] > 100 else ".png"
    folder.mkdir()
    for index in range(count):
        image = photos.image(index % len(photos)).convert("RGB").resize(size, Image.Resampling.BICUBIC)
        image.save(folder / f"{index:05d}{suffix}", quality=92)
    return folder


def compare(what: str, ours: Callable[[], object], plain: Callable[[], object], rounds: int) -> None:
    """A line for either clock: medians of both, the ratio, and where the middle half of the rounds' own ratios lies."""
    clocks = {"clock": time.perf_counter, "processor": time.process_time}
    seconds: dict[tuple[str, bool], list[float]] = {(clock, mine): [] for clock in clocks for mine in (True, False)}
    for turn in range(-1, rounds):  # the first one warms up
        for mine in (True, False) if turn % 2 else (False, True):
            start = {clock: read() for clock, read in clocks.items()}
            (ours if mine else plain)()
            for clock, read in clocks.items():
                seconds[clock, mine] += [read() - start[clock]] if turn >= 0 else []
    for clock in clocks:
        a, b = seconds[clock, True], seconds[clock, False]
        low, _, high = quantiles([one / other for one, other in zip(a, b, strict=True)], n=4)
        times = f"{1000 * median(a):9.1f} ms, plain {1000 * median(b):9.1f} ms"
        print(f"  {what:<24} {clock:<9} {times}: {median(a) / median(b):.3f} ({low:.3f} to {high:.3f})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(NETWORKS))
    parser.add_argument("--rounds", type=int, default=15, help="of a folder a third")
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--method", default="ash_s@90")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(f"torch {torch.__version__}, {given.threads} threads, {given.method}, load {os.getloadavg()[0]:.1f}")
    for name in given.only.split(","):
        entry = ash.get_model(name)
        scores = np.random.default_rng(0).normal(size=1000)
        made = exported(detector(entry, "penultimate", Method.parse(given.method), scores, "noise"))
        network, module = entry.build(), made.module()
        x = torch.randn(BATCH, *entry.preprocess.shape, generator=torch.Generator().manual_seed(0))
        print(f"{name}, load {os.getloadavg()[0]:.1f}")
        with torch.inference_mode():
            compare(f".pt2, batch {BATCH}", lambda m=module, x=x: m(x), lambda m=network, x=x: m(x), 5 * given.rounds)
        with tempfile.TemporaryDirectory() as work:
            file, out = Path(work) / "detector.pt2", Path(work) / "out.csv"
            file.write_bytes(made.to_bytes())
            folder = write_images(Path(work) / "images", NETWORKS[name], given.images)
            compare(
                f"ash score, {given.images} files",
                lambda f=file, d=folder, o=out: scored(f, d, o),
                lambda f=file, d=folder, o=out, e=entry: loop(f, d, e, o),
                given.rounds // 3,
            )
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
