"""Image files -> pixels, in this process or in workers beside it."""

import os
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ash.data import DataError, ImageError, ImageSet

CHUNK = 32  # images that a worker decodes at a time, so that shards are not claimed long before they are computed


@dataclass(frozen=True)
class Chunk:
    """Decoded neighbours: their indices, the pixels (n, H, W, C) uint8 of the readable ones, and what is wrong with
    the others; `failure` says why the set as a whole cannot be read."""

    images: range
    pixels: Tensor
    skipped: list[dict[str, Any]]
    failure: str = ""

    def pin_memory(self) -> "Chunk":
        """Called by the loader: the same with its pixels in memory that a GPU copies from by itself."""
        return replace(self, pixels=self.pixels.pin_memory())


class _Decoded(Dataset[Chunk]):
    """Chunks of a set by range of indices; what the worker processes run."""

    def __init__(self, data: ImageSet, geometry: Callable[[Image.Image], Image.Image], shape: tuple[int, ...]) -> None:
        self.data, self.geometry, self.shape = data, geometry, shape

    def __getitem__(self, images: range) -> Chunk:
        pixels, skipped = list[np.ndarray](), list[dict[str, Any]]()
        for index in images:
            try:
                pixels.append(self._prepared(index))
            except ImageError as error:
                skipped.append({"index": index, "reason": str(error)})
            except DataError as error:
                return Chunk(images, torch.empty(0), [], str(error))
        stacked = np.stack(pixels) if pixels else np.empty((0, *self.shape), np.uint8)
        return Chunk(images, torch.from_numpy(stacked), skipped)

    def _prepared(self, index: int) -> np.ndarray:
        """The pixels (H, W, C) of an image; ImageError names it."""
        image = self.data.image(index)
        try:
            return np.asarray(self.geometry(image)).reshape(self.shape)
        except ImageError as error:
            raise ImageError(f"{self.data.names[index]}: {error}") from error


def default_workers(device: torch.device) -> int:
    """Decoding processes: none beside a CPU's forward pass, which has all cores; for a GPU its rank's share of them."""
    if device.type == "cpu":
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(16, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")) - 1))


def _as_it_is(chunk: Chunk) -> Chunk:
    return chunk


def _behind(_: int) -> None:
    """In a worker: the forward pass goes first, as all its threads wait for the slowest."""
    if hasattr(os, "nice"):
        os.nice(10)


def decoded(
    data: ImageSet,
    geometry: Callable[[Image.Image], Image.Image],
    shape: tuple[int, ...],
    ranges: Iterable[range],
    *,
    workers: int,
    device: torch.device,
) -> Generator[Chunk, None, None]:
    """Chunks of a set in the order of `ranges`, which is read no further ahead than the workers need.

    `shape` is (H, W, C). DataError when the set cannot be read.
    """
    loader = DataLoader(
        _Decoded(data, geometry, shape),
        sampler=(images[i : i + CHUNK] for images in ranges for i in range(0, len(images), CHUNK)),  # type: ignore[arg-type]
        batch_size=None,
        collate_fn=_as_it_is,  # type: ignore[arg-type]
        num_workers=workers,
        pin_memory=device.type == "cuda",
        worker_init_fn=_behind if device.type == "cpu" else None,
        prefetch_factor=2 if workers else None,
    )
    for chunk in loader:
        if chunk.failure:
            raise DataError(chunk.failure)
        yield chunk


def is_killed_worker(error: RuntimeError) -> bool:
    """Whether an error is torch's report, from a signal handler and so from anywhere, that a decoding process died."""
    return "DataLoader worker" in str(error)
