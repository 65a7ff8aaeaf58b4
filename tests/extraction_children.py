"""What the tests of extraction by several processes run in their children: one extraction that keeps a log.

Children come from a server process that has imported torch once, so that starting one takes no seconds.
"""

import multiprocessing
import os
import resource
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image

from ash.bank import Bank
from ash.data import FolderImages
from ash.extracting import distributed, shards
from ash.extraction import extract_steps
from ash.models import get_model
from ash.networks.entries import ModelEntry
from ash.networks.own import DemoNet

SHARD_ROWS = 20
_children = multiprocessing.get_context("forkserver")
PRELOADED = ["pytest", "torch.distributed", "ash.extraction"]
_children.set_forkserver_preload(PRELOADED)


def random_demo(path: Path) -> ModelEntry:
    """The demo network with random weights, saved at `path`."""
    torch.manual_seed(0)
    torch.save(DemoNet().state_dict(), path)
    return replace(get_model("demo"), checkpoint=path)


def images(root: Path, count: int, side: int = 28, broken: Sequence[int] = ()) -> FolderImages:
    """A folder of `count` images in two classes, some of them broken."""
    rng = np.random.default_rng(0)
    for i in range(count):
        path = root / ("cat", "dog")[i % 2] / f"{i:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (side, side), dtype=np.uint8)).save(path)
        if i in broken:
            path.write_bytes(path.read_bytes()[:200])
    return FolderImages(root, "pets")


def content(folder: Path) -> dict[str, bytes]:
    """All files of a bank but the one with the date."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "provenance.json"}


def _started(work: Callable[..., None], *arguments: Any) -> BaseProcess:
    """A process of its own. A child loads what `__main__` is, and Streamlit's AppTest leaves the app's entry there."""
    child, main = _children.Process(target=work, args=arguments), sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        child.start()
    finally:
        sys.modules["__main__"] = main
    return child


def start(checkpoint: Path, data: Path, root: Path, log: Path, **options: Any) -> BaseProcess:
    """An extraction into `root` in a process of its own. The log gets a line for each step and each written shard."""
    return _started(_extract, checkpoint, data, root, log, options)


def _extract(checkpoint: Path, data: Path, root: Path, log: Path, options: dict[str, Any]) -> None:
    multiprocessing.set_start_method("fork", force=True)  # its decoding workers end when it is killed
    torch.set_num_threads(1)
    shards.SHARD_ROWS = SHARD_ROWS
    file_limit = options.pop("file_limit", None)
    written = shards.Shards.write
    with log.open("a", buffering=1) as lines:

        def write(self: shards.Shards, shard: int, *rest: Any) -> None:
            written(self, shard, *rest)
            lines.write(f"shard {shard}\n")

        shards.Shards.write = write  # type: ignore[method-assign]
        if file_limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
        entry = replace(get_model("demo"), checkpoint=checkpoint)
        steps = extract_steps(entry, "avgpool", FolderImages(data, "pets"), root=root, **options)
        try:
            for step in steps:
                lines.write(f"done {step.done}\n")
        except Exception as error:
            lines.write(f"{type(error).__name__}: {error}\n")
            os._exit(1)


def agree(number: int, port: int, root: Path, log: Path, key: str) -> BaseProcess:
    """One of two ranks that agree on a folder and a bank; what it has to say goes into the log."""
    return _started(_agree, number, port, root, log, key)


def _agree(number: int, port: int, root: Path, log: Path, key: str) -> None:
    names = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": 2, "MASTER_PORT": port, "MASTER_ADDR": "127.0.0.1"}
    os.environ.update({name: str(value) for name, value in names.items()})
    distributed.VISIBLE_SECONDS = 0.5
    rank = distributed.current_rank()
    assert rank is not None
    try:
        distributed.agree(rank, torch.device("cpu"), root, [key])
        log.write_text("agreed")
    except Exception as error:
        log.write_text(f"{type(error).__name__}: {error}")


def only_bank(root: Path) -> Bank:
    """The one complete bank below a folder."""
    (manifest,) = root.rglob("manifest.json")
    return Bank(manifest.parent)
