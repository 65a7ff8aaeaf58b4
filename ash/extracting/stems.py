"""A stem at work: pixels -> activations on a device, in a precision, in batches that fit."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ash import splitting
from ash.device import describe, memory, synchronize
from ash.files import BankError
from ash.fitting import ADASCALE_SHARE, ADASCALE_STEP
from ash.identity import Recipe, check_precision
from ash.methods import ADASCALE
from ash.networks.entries import ModelEntry, Preprocess
from ash.networks.vision import transforms
from ash.scores.of_logits import ODIN_TEMPERATURE

FEWEST = 8  # images a batch is filled up to: convolutions of fewer take other algorithms, which round differently
FIRST_BATCH, LARGEST_BATCH = 8, 1024
WORTH = 1.05  # images/s that twice the batch must gain
TRIAL_SECONDS, LEAST_TRIAL_SECONDS = 2.0, 0.2
OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")


def two_parts(preprocess: Preprocess) -> tuple[transforms.Compose, transforms.Compose]:
    """A preprocessing: what is done to an image, PIL image -> PIL image, and then to pixels (N, C, H, W) in [0, 1]."""
    steps = preprocess.build().transforms
    at = next(i for i, step in enumerate(steps) if isinstance(step, transforms.ToTensor))
    return transforms.Compose(steps[:at]), transforms.Compose(steps[at + 1 :])


class Stem:
    """The part of a model before a placement: (N, H, W, C) uint8 pixels -> (N, ...) activations.

    The preprocessing is cut in two: `geometry`, PIL image -> PIL image, is for whoever decodes; the arithmetic on
    pixels is done here, on whole batches, with the bits that one image at a time would have. Batches are filled up to
    `fewest` images. `limit` is the largest batch that was found to fit, None as long as every batch did.
    """

    def __init__(self, entry: ModelEntry, placement: str, device: torch.device, precision: str = "float32") -> None:
        check_precision(precision, device)
        self.device, self.precision = device, precision
        with memory(device):
            self._load(entry, placement)
        self.geometry, self._arithmetic = two_parts(entry.preprocess)
        channels, height, width = entry.preprocess.shape
        self.pixels = (height, width, channels)
        self.limit: int | None = None
        self.fewest = 1

    def _load(self, entry: ModelEntry, placement: str) -> None:
        """Build the network and keep what is needed of it on the device."""
        module = splitting.split(entry.build(), entry.node(placement))[0]
        self._module = module.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _activations(self, x: Tensor) -> Tensor:
        """Normalised images (N, C, H, W) -> activations."""
        return self._module(x)

    def _modes(self) -> AbstractContextManager[Any]:
        modes = ExitStack()
        modes.enter_context(torch.inference_mode())
        if self.device.type == "cuda":  # the same bits in every run, and no TensorFloat-32 in what is called float32
            modes.enter_context(
                torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
            )
        if self.precision != "float32":
            modes.enter_context(torch.autocast(self.device.type, getattr(torch, self.precision)))
        return modes

    def __call__(self, pixels: Tensor) -> Tensor:
        """Activations (N, ...) on the device; a batch that does not fit in its memory is halved until it does.

        BankError when not even one image fits.
        """
        count = len(pixels)
        if count < self.fewest:
            pixels = torch.cat([pixels, pixels[:1].expand(self.fewest - count, *pixels.shape[1:])])
        with self._modes():
            return torch.cat([self._halved(part) for part in pixels.split(self.limit or len(pixels))])[:count]

    def _halved(self, pixels: Tensor) -> Tensor:
        try:
            x = pixels.to(self.device, non_blocking=True).permute(0, 3, 1, 2)  # as channels_last wants it
            return self._activations(self._arithmetic(x.float().div_(255)))
        except RuntimeError as error:  # CUDA has a class of its own for it, MPS and CPU have not
            if not any(words in str(error).lower() for words in OUT_OF_MEMORY):
                raise
            if len(pixels) == 1:
                raise BankError(f"One image does not fit into the memory of {describe(self.device)}.") from error
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.limit = (len(pixels) + 1) // 2
        return torch.cat([self._halved(part) for part in pixels.split(self.limit)])

    def features(self) -> tuple[int, ...]:
        """Shape of one image's activation."""
        return tuple(self(torch.zeros(1, *self.pixels, dtype=torch.uint8)).shape[1:])

    def seconds(self, size: int) -> float:
        """How long a batch takes: the best of two runs, or of as many as a fifth of a second has room for."""
        pixels, best, spent, runs = torch.zeros(size, *self.pixels, dtype=torch.uint8), float("inf"), 0.0, 0
        while runs < 2 or spent < LEAST_TRIAL_SECONDS:
            start = time.perf_counter()
            self(pixels)
            synchronize(self.device)
            took = time.perf_counter() - start
            best, spent, runs = min(best, took), spent + took, runs + 1
        return best


class PerturbedStem(Stem):
    """A stem that moves every image a step towards a larger softmax of its own class before it looks at it (ODIN).

    The step is epsilon times the sign of the gradient, in units of normalised pixels, not divided by their deviation;
    where the gradient is 0 there is none. It is taken in the whole network, unshaped, at ODIN's temperature.
    """

    def __init__(
        self, entry: ModelEntry, placement: str, device: torch.device, precision: str = "float32", epsilon: float = 0.0
    ) -> None:
        self.epsilon = epsilon
        super().__init__(entry, placement, device, precision)

    def _load(self, entry: ModelEntry, placement: str) -> None:
        stem, tail = splitting.split(entry.build(), entry.node(placement))
        self._module = stem.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._tail = tail.to(self.device)

    def _activations(self, x: Tensor) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            x = x.clone().requires_grad_()  # what inference mode has made has no gradient
            logits = self._tail(self._module(x)).float() / ODIN_TEMPERATURE
            gain = (logits.amax(1) - logits.logsumexp(1)).sum() * ODIN_TEMPERATURE  # its sign is the softmax's
            (gradient,) = torch.autograd.grad(gain, x)
        return self._module(x.detach() + self.epsilon * gradient.sign())


class ShiftedStem(PerturbedStem):
    """A stem that moves the twentieth of an image's values that its answer hangs on least before it looks at it.

    AdaSCALE's: half a deviation of normalised pixels, in the sign of the gradient of the largest logit; a value is one
    channel of one pixel. Where the gradient is 0 there is no step. It is taken in the whole network, unshaped.
    """

    def _activations(self, x: Tensor) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            x = x.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(self._tail(self._module(x)).float().amax(1).sum(), x)
        size = gradient.flatten(1).abs()
        last = size.kthvalue(max(1, round(size.shape[1] * ADASCALE_SHARE / 100)), 1).values
        least = gradient.abs() <= last.view(-1, *[1] * (x.dim() - 1))
        return self._module(x.detach() + ADASCALE_STEP * gradient.sign() * least)


def stem_of(recipe: Recipe, device: torch.device) -> Stem:
    """The stem at work and, with `epsilon`, the one that perturbs images first."""
    where = (recipe.entry, recipe.placement, device, recipe.precision)
    if recipe.epsilon == ADASCALE:
        return ShiftedStem(*where)
    return PerturbedStem(*where, recipe.epsilon) if recipe.epsilon else Stem(*where)


def best_batch(stem: Stem, largest: int, pause: Callable[[], None] = lambda: None) -> int:
    """The batch size to use: doubled for as long as images/s grow, memory lasts and trying takes no more than seconds.

    `pause` is called between two sizes; its time does not count. BankError when one image alone is too large.
    """
    size, best, rate, spent = FIRST_BATCH, FIRST_BATCH, 0.0, 0.0
    stem(torch.zeros(FIRST_BATCH, *stem.pixels, dtype=torch.uint8))  # the first run is a slow one
    while size <= max(FIRST_BATCH, min(largest, LARGEST_BATCH)) and stem.limit is None:
        pause()
        start = time.perf_counter()
        now = size / stem.seconds(size)
        spent += time.perf_counter() - start
        if now < WORTH * rate or stem.limit is not None:
            break
        best, rate, size = size, now, 2 * size
        if spent > TRIAL_SECONDS:
            break
    stem.limit = None
    return best


class Fetched:
    """Activations on their way to the host: the device computes the next batch while these are copied."""

    def __init__(self, values: Tensor) -> None:
        self._event: torch.cuda.Event | None = None
        values = values.contiguous()
        if values.dtype == torch.bfloat16:  # numpy has none
            values = values.float()
        if values.device.type == "cuda":
            self._values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values.copy_(values, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record()
        else:
            self._values = values.cpu()

    def numpy(self, dtype: str) -> NDArray[np.floating]:
        """The values, waited for; BankError when they are not finite in this dtype."""
        if self._event is not None:
            self._event.synchronize()
        values = self._values.numpy().astype(dtype, copy=False)
        if not np.isfinite(values).all():
            raise BankError(f"Activations are not finite in {dtype}: float16 is too small, or the weights are broken.")
        return values
