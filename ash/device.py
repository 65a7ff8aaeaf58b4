"""The device that networks run on (CUDA, then MPS, then CPU), and the one of evaluations."""

import platform

import torch


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


def describe(device: torch.device) -> str:
    """The device in words, for provenance: `NVIDIA H100 80GB HBM3`, `CPU (x86_64, 2 threads)`."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return f"Apple GPU ({platform.machine()})"
    threads = torch.get_num_threads()
    return f"CPU ({platform.machine()}, {threads} thread{'' if threads == 1 else 's'})"
