"""Work in a process of its own that kills itself just before its n-th step on the disk, for every n that there is.

A step is whatever Python tells an audit hook about a path below the given folder (open for writing, rename, remove,
mkdir, lock, chmod) and every fsync, in any thread.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from extraction_children import PRELOADED, _children, _started

from app.backend import library_work, store
from app.backend.jobs import Jobs, Work
from ash import demo
from ash.data import FolderImages
from ash.datasets import content
from ash.demo import sets as demo_sets
from ash.extraction import identity
from ash.methods import Method
from ash.models import get_model
from ash.networks.own import DemoNet
from ash.tables import Sweep

USED = ("app.backend.library_work", "ash.demo", "sklearn.datasets", "skimage.data", "torchvision.transforms.v2")
_children.set_forkserver_preload([*PRELOADED, *USED])  # where no child was started yet
CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.truncate", "shutil.rmtree")


def after(number: int, work: Callable[..., None], root: Path, *arguments: Any) -> int:
    """Do work in a child that dies before step `number` (0: never); the steps it took on the disk, -1 if it died."""
    log = root.with_name(f"{root.name}.steps")
    child = _started(_run, number, work, root, log, arguments)
    child.join()
    if child.exitcode == -signal.SIGKILL:
        return -1
    assert child.exitcode == 0, "it failed"
    return int(log.read_text())


def _run(number: int, work: Callable[..., None], root: Path, log: Path, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    taken, inside = [0], str(root)

    def step() -> None:
        taken[0] += 1
        if taken[0] == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, found: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = found
            writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) if isinstance(flags, int) else False
            if isinstance(path, str | bytes | os.PathLike) and os.fsdecode(path).startswith(inside) and writes:
                step()
        elif event == "fcntl.flock" or (event in CHANGES and str(found[0]).startswith(inside)):
            step()

    real = os.fsync

    def fsync(handle: int) -> None:
        step()
        real(handle)

    os.environ["ASH_CACHE"] = str(root)
    content.SETTLED_NS = 0  # digests of images that were made just now are kept, as those of older ones
    os.fsync = fsync  # type: ignore[assignment]
    sys.addaudithook(hook)
    work(root, *arguments)
    log.with_suffix(".tmp").write_text(str(taken[0]))
    os.replace(log.with_suffix(".tmp"), log)
    os._exit(0)


def library_job(root: Path, data: Path) -> None:
    """The Library's extraction of a folder of images, as a job in its thread."""
    entry, images = get_model("demo"), FolderImages(data, "pets")
    who = identity(entry, "avgpool", images)

    def steps() -> Any:
        return library_work._extract(entry, images, who)

    jobs, work = Jobs(), Work("extract", f"bank {who.folder}", "Extract", steps, on_device=True)
    jobs.start(work)
    while jobs.busy:
        time.sleep(0.005)
    (job,) = jobs.all()
    assert job.state == "done", job.note


def demo_build(root: Path, source: Path) -> None:
    """`python -m ash demo build` with few pictures and a network that is not trained: training writes nothing."""
    demo_sets.OOD_COUNT, demo_sets.TRAIN_COUNT = 20, 50

    def untrained(*_: Any) -> DemoNet:
        torch.manual_seed(0)
        return DemoNet().eval()

    demo.train = untrained  # type: ignore[assignment]
    demo.build(source, root, epochs=1, progress=lambda steps, _: steps)


def kept_sweep(root: Path) -> None:
    """The app's store: two sweeps, one after the other, of which the first must not be lost."""
    scores = np.arange(6, dtype=np.float32).reshape(1, 6)
    predictions, doubts = scores.astype(np.int32), np.zeros((1, 2), np.int32)
    sweep = Sweep((Method.parse("energy"),), scores, {"digits": scores}, predictions, None, doubts, {"digits": doubts})
    for bank in ("one", "two"):
        path = store.path_of([bank], ["energy"])
        if store.load(path, ["energy"]) is None:
            store.save(path, sweep, "CPU")
