"""Robust: out of memory, two processes on one GPU, a kill and its resume, ranks of torchrun."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from gpu.runner import ROOT, Check, Figures, Where
from torch import Tensor

from ash.data import MemoryImages, evenly, get_dataset
from ash.errors import AshError
from ash.extracting.stems import Stem
from ash.extraction import extract
from ash.methods import parse_methods
from ash.models import get_model
from ash.splitting import split
from ash.sweeping import sweep

OTHER = 2**27  # bytes that cuBLAS and cuDNN may take besides tensors


def _limit(at: Where, size: int) -> None:
    """Let this process take `size` bytes of the GPU's memory and no more."""
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(size / torch.cuda.get_device_properties(at.device).total_memory)


def extraction_without_memory(at: Where) -> Figures:
    """A batch that does not fit is halved, to the same activations; where not even one image fits, a sentence."""
    entry = get_model("demo")
    pixels = np.random.default_rng(0).integers(0, 255, (at.pick(8192, 64), 28, 28), dtype=np.uint8)
    data = MemoryImages(pixels, None, "noise", "Noise")
    whole = extract(entry, "penultimate", data, device=at.device, root=at.work / "whole", batch_size=64).read()
    if at.device.type == "cuda":
        _limit(at, torch.cuda.memory_reserved() + OTHER)
        stem = Stem(entry, "avgpool", at.device)
    else:
        stem = _Small(entry, "avgpool", at.device)
    halved = stem(torch.from_numpy(pixels)[..., None]).cpu().numpy()
    assert (stem.limit or len(pixels)) < len(pixels), "the whole batch fitted: nothing was tried"
    apart = float(np.abs(halved - whole).max() / np.abs(whole).max())
    assert apart <= 1e-4, apart
    figures: Figures = {"images": len(pixels), "batch that fitted": stem.limit, "difference": f"{apart:.1e}"}
    if at.device.type == "cuda":
        _limit(at, 2**20)
        try:
            Stem(entry, "avgpool", at.device)(torch.from_numpy(pixels[:1])[..., None])
        except AshError as error:
            return figures | {"sentence": str(error)}
        raise AssertionError("one image fitted into 1 MiB")
    return figures


class _Small(Stem):
    """A stem with memory for eight images, for rehearsals."""

    def _activations(self, x: Tensor) -> Tensor:
        if len(x) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory: a rehearsal")
        return super()._activations(x)


def sweep_without_memory(at: Where) -> Figures:
    """A sweep whose chunks do not fit takes smaller ones, on linear and on deep tails, to the same scores."""
    if at.device.type != "cuda":
        return {"rehearsal": "memory cannot be limited on a CPU"}
    methods = parse_methods("energy,ash_s@50:95:15,ash_b@65")
    entry = get_model("demo")
    rng, figures = np.random.default_rng(0), {}
    for place, shape in (("penultimate", (192,)), (entry.deep_placements[0], None)):
        stem, tail = split(entry.build(), place)
        with torch.inference_mode():
            features = tuple(stem(torch.zeros(1, *entry.preprocess.shape)).shape[1:]) if shape is None else shape
        x = np.maximum(rng.standard_normal((60_000 if shape else 3000, *features), dtype=np.float32), 0)
        free = sweep(tail, x[:10], {"set": x}, methods, device=at.device).ood_scores["set"]
        torch.cuda.reset_peak_memory_stats()
        _limit(at, torch.cuda.memory_allocated() + OTHER)
        tight = sweep(tail, x[:10], {"set": x}, methods, device=at.device).ood_scores["set"]
        torch.cuda.set_per_process_memory_fraction(1.0)
        apart = float(np.abs(free - tight).max() / np.ptp(free))
        assert apart <= 1e-4, (place, apart)
        figures[place] = f"{apart:.1e}, peak {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB"
    return figures


def _command(at: Where, cache: Path, *words: str) -> subprocess.Popen[str]:
    """`python -m ash ...` on the device of the check, in the process group of the check."""
    hidden = {} if at.device.type == "cuda" else {"CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env={**os.environ, **hidden, "ASH_CACHE": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


PLACEMENT, BATCH, IMAGES = "layer4.0.relu2", 64, 300  # the images of a rehearsal


def _set(at: Where) -> str:
    return at.pick("fashion_mnist", "digits")


def _extract(at: Where, cache: Path, *runner: str) -> subprocess.Popen[str]:
    words = ["extract", "--model", "demo", "--placement", PLACEMENT, "--data", _set(at), "--batch-size", str(BATCH)]
    return _command(at, cache, *runner, "ash", *words, *at.pick([], ["--images", str(IMAGES)]))


def _undisturbed(at: Where) -> dict[str, bytes]:
    """The bank as one process makes it that nothing happens to."""
    data = get_dataset(_set(at))
    data = data if at.device.type == "cuda" else evenly(data, IMAGES)
    extract(get_model("demo"), PLACEMENT, data, device=at.device, batch_size=BATCH, root=at.work / "alone")
    return _bank(at.work / "alone")


def _done(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate()
    assert process.returncode == 0, said[-2000:]
    return said


def _bank(cache: Path) -> dict[str, bytes]:
    """The files of the one bank in a cache, but the one with the date."""
    (manifest,) = cache.rglob("manifest.json")
    return {
        path.name: path.read_bytes()
        for path in manifest.parent.iterdir()
        if path.suffix in (".npy", ".csv", ".json") and path.name != "provenance.json"
    }


def two_processes(at: Where) -> Figures:
    """Two extractions of one bank on one GPU share it, and two sweeps at once give the same table."""
    alone = _undisturbed(at)
    start = time.monotonic()
    both = [_extract(at, at.work / "both") for _ in range(2)]
    for one in both:
        _done(one)
    seconds = time.monotonic() - start
    assert _bank(at.work / "both") == alone, "the shared bank is another one"
    outs = [at.work / f"{i}.csv" for i in range(2)]
    words = ["ash", "sweep", "--model", "demo", "--id", "fashion_mnist", "--ood", "digits"]
    words += ["--methods", "energy,ash_s@5:95:5"]
    for one in [_command(at, at.work / "both", *words, "--out", str(out)) for out in outs]:
        _done(one)
    assert outs[0].read_bytes() == outs[1].read_bytes(), "two sweeps at once differ"
    return {"both, s": round(seconds, 1), "bank": "equal to the byte", "sweeps": "equal to the byte"}


def kill_and_resume(at: Where) -> Figures:
    """An extraction that was killed goes on where it stopped, to the same bytes."""
    whole, cut = _undisturbed(at), at.work / "cut"
    process = _extract(at, cut)
    while process.poll() is None and not list(cut.rglob("shard-*.json")):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = len(list(cut.rglob("shard-*.json")))
    finished = bool(list(cut.rglob("manifest.json")))
    _done(_extract(at, cut))
    assert _bank(cut) == whole, "the resumed bank is another one"
    stray = [path.name for path in cut.rglob(".*") if path.is_file()]
    assert not stray, stray
    return {"shards at the kill": kept, "finished before it": finished, "bank": "equal to the byte"}


def one_rank(at: Where) -> Figures:
    """torchrun with one rank, whose processes meet by nccl (gloo on a CPU)."""
    alone, ranks = _undisturbed(at), at.work / "ranks"
    start = time.monotonic()
    runner = ("torch.distributed.run", "--standalone", "--nproc-per-node", "1", "-m")
    said = _done(_extract(at, ranks, *runner))
    assert _bank(ranks) == alone, said
    return {"s": round(time.monotonic() - start, 1), "bank": "equal to the byte"}


CHECKS: dict[str, tuple[Check, int]] = {
    "robust: extraction, memory": (extraction_without_memory, 60),
    "robust: sweep, memory": (sweep_without_memory, 60),
    "robust: two processes": (two_processes, 90),
    "robust: kill and resume": (kill_and_resume, 90),
    "robust: torchrun": (one_rank, 90),
}
