"""Trains the network of the bundled demo: SGD with Nesterov momentum, one-cycle rate, random shift and flip."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ash.networks.own import DemoNet

MEAN, STD = 0.2860, 0.3530  # of all pixels of the 60,000 training pictures, in [0, 1]
BATCH = 128
PEAK_RATE = 0.1
WEIGHT_DECAY = 5e-5
SHIFT = 2  # pixels, each way

Progress = Callable[[Iterable[Any], str], Iterable[Any]]  # (steps, description) -> the same steps, shown; tqdm fits


def normalise(pictures: np.ndarray) -> Tensor:
    """(n, 28, 28) uint8 -> (n, 1, 28, 28) float32, as the network expects it."""
    return (torch.from_numpy(np.array(pictures)).unsqueeze(1).float() / 255 - MEAN) / STD


def train(pictures: np.ndarray, labels: np.ndarray, epochs: int, seed: int, progress: Progress) -> DemoNet:
    """A trained network in eval mode; the same seed gives the same weights on the same kind of machine."""
    torch.manual_seed(seed)
    draw = torch.Generator().manual_seed(seed)
    x, y = normalise(pictures), torch.from_numpy(labels)
    model = DemoNet().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(model.parameters(), PEAK_RATE, momentum=0.9, nesterov=True, weight_decay=WEIGHT_DECAY)
    steps = max(1, len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK_RATE, epochs=epochs, steps_per_epoch=steps, pct_start=0.25
    )
    for epoch in range(epochs):
        order = torch.randperm(len(x), generator=draw)
        for step in progress(range(steps), f"epoch {epoch + 1} of {epochs}"):
            chosen = order[step * BATCH : (step + 1) * BATCH]
            _step(model, optimizer, _augment(x[chosen], draw), y[chosen])
            schedule.step()
    return model.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]


def _augment(x: Tensor, draw: torch.Generator) -> Tensor:
    """Shift the batch by up to SHIFT pixels, filling with black, and mirror half of it."""
    side = x.shape[-1]
    top, left = torch.randint(0, 2 * SHIFT + 1, (2,), generator=draw).tolist()
    x = F.pad(x, (SHIFT,) * 4, value=-MEAN / STD)[:, :, top : top + side, left : left + side]
    mirrored = torch.rand(len(x), generator=draw) < 0.5
    return torch.where(mirrored[:, None, None, None], x.flip(3), x)


def _step(model: DemoNet, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    model.train()
    with torch.autocast("cpu", torch.bfloat16):  # nearly halves the time; the weights stay float32
        logits = model(x.contiguous(memory_format=torch.channels_last))
    optimizer.zero_grad()
    F.cross_entropy(logits.float(), y).backward()
    optimizer.step()
