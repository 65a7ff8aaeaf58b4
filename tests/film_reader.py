"""What the browser does with a film (`app/ui/live.js`), in Python: the figure at a percentile from that of another."""

import base64
import copy
import json
import struct
from typing import Any

import numpy as np


def read(block: bytes) -> tuple[list[dict[str, Any]], np.ndarray]:
    """The header's parts and the block of numbers."""
    (length,) = struct.unpack_from("<I", block)
    return json.loads(block[4 : 4 + length]), np.frombuffer(block, "<f4", offset=4 + length)


def moved(figure: dict[str, Any], block: bytes, p: int) -> dict[str, Any]:
    """A figure (`data`, `layout`) at percentile p."""
    parts, numbers = read(block)
    made = copy.deepcopy(figure)
    for part in parts:
        *where, last = part["path"]
        inner: Any = made
        for key in where:
            inner = inner[key]
        if "values" in part:
            inner[last] = part["values"][part["index"][p]]
        else:
            begin = part["ends"][p - 1] if p else part["start"]
            inner[last] = [None if np.isnan(one) else float(one) for one in numbers[begin : part["ends"][p]]]
    return made


def plain(value: Any) -> Any:
    """A figure as the film knows it: without what only a pointer reads, arrays as lists of numbers."""
    if isinstance(value, dict) and "bdata" in value:
        return np.frombuffer(base64.b64decode(value["bdata"]), f"<{value['dtype']}").tolist()
    if isinstance(value, dict):
        pointer = ("customdata", "hovertext", "hovertemplate")
        return {name: plain(one) for name, one in value.items() if name not in pointer}
    return [plain(one) for one in value] if isinstance(value, list) else value


def differences(one: Any, two: Any, path: str = "") -> list[str]:
    """Where two plain figures differ by more than what a float32 rounds."""
    if isinstance(one, dict) and isinstance(two, dict) and one.keys() == two.keys():
        return [found for name in one for found in differences(one[name], two[name], f"{path}.{name}")]
    if isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        return [
            found for i, pair in enumerate(zip(one, two, strict=True)) for found in differences(*pair, f"{path}.{i}")
        ]
    if isinstance(one, (int, float)) and isinstance(two, (int, float)):
        return [] if abs(one - two) <= 1e-6 * max(1.0, abs(two)) else [f"{path}: {one} {two}"]
    return [] if one == two else [f"{path}: {one} {two}"]
