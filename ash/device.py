"""The device that networks run on (CUDA, then MPS, then CPU), and the one of evaluations."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ash.errors import AshError


def best_device() -> torch.device:
    """The fastest device there is."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def evaluation_device() -> torch.device:
    """The device for shaping and tails: CUDA, else the CPU; sums are in float64, which Apple's GPUs do not have."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def synchronize(device: torch.device) -> None:
    """Wait until a device has done what it was told; a CPU always has."""
    if device.type in ("cuda", "mps"):
        getattr(torch, device.type).synchronize()


@contextmanager
def memory(device: torch.device) -> Iterator[None]:
    """AshError, a sentence, where what the block puts on a device does not fit into its memory."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise AshError(
            f"The memory of {describe(device)} is full: close what else uses it, or take fewer methods at once."
        ) from error


def describe(device: torch.device) -> str:
    """The device in words, for provenance: `NVIDIA H100 80GB HBM3`, `CPU (x86_64, 2 threads)`."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return f"Apple GPU ({platform.machine()})"
    threads = torch.get_num_threads()
    return f"CPU ({platform.machine()}, {threads} thread{'' if threads == 1 else 's'})"
