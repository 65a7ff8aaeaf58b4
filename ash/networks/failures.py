"""What a network's own code says of a failure, and where in that code it is."""

import traceback
from collections.abc import Iterable
from pathlib import Path
from types import FrameType

import torch
from torch import nn

from ash.errors import AshError

_TORCH = str(Path(torch.__file__).parent)


class SplitError(AshError):
    """The model cannot be traced, or has no such placement; the message says which and why."""


def place_of(frames: Iterable[tuple[FrameType, int]]) -> str:
    """`file.py:12`, the line of a network's own code among frames that are given innermost first; "" for none."""
    for frame, line in frames:
        file = frame.f_code.co_filename
        if file.startswith((_TORCH, "<")):
            continue
        if isinstance(frame.f_locals.get("self"), nn.Module):
            return f"{Path(file).name}:{line}"
    return ""


def reason_of(error: Exception) -> str:
    """What a network's own code, or a layer in it, says of a failure: its first line, and where in that code it is."""
    place = place_of(reversed(list(traceback.walk_tb(error.__traceback__))))
    text = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return f"{text} ({place})" if place else text
