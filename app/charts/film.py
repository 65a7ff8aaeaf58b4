"""A film: a figure at every percentile as one small block, of which the browser applies what differs.

The figures are those that the page draws, so what moves under a held key is what the server would send. Only what is
not the same in all of them is kept, as numbers where it is numbers. Pure: no streamlit.

    4 bytes, the length of the header | header: JSON, padded with spaces to a multiple of 4 | numbers: float32

All is little-endian. The header is a list of parts: `path`, where it is in the figure, and either `start` and `ends`,
the places in the block of numbers before the first percentile and after each (NaN is null), or `values` with `index`,
which of them it is at each.
"""

import json
import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from app.charts.plain import Figure

PERCENTILES = tuple(range(100))
# What only a pointer reads: it comes with the figure that the server draws where the movement ends.
_READ_BY_POINTER = frozenset({"customdata", "hovertext", "hovertemplate"})
Path = tuple[str | int, ...]


def film(figures: Sequence[Figure]) -> bytes:
    """The block for the figures at `PERCENTILES`, in this order."""
    numbers: list[float] = []
    parts: list[dict[str, Any]] = []
    for path, found in _differences([{"data": one.data, "layout": one.layout} for one in figures], ()):
        if all(_is_numbers(one) for one in found):
            start, ends = len(numbers), []
            for one in found:
                numbers.extend(math.nan if value is None else float(value) for value in one)
                ends.append(len(numbers))
            parts.append({"path": path, "start": start, "ends": ends})
        else:
            texts = [json.dumps(_listed(one), allow_nan=False) for one in found]
            values = list(dict.fromkeys(texts))
            known = {text: place for place, text in enumerate(values)}
            index = [known[text] for text in texts]
            parts.append({"path": path, "values": [json.loads(text) for text in values], "index": index})
    header = json.dumps(parts, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 4)
    return struct.pack("<I", len(header)) + header + np.array(numbers, "<f4").tobytes()


def _differences(found: Sequence[Any], path: Path) -> list[tuple[Path, Sequence[Any]]]:
    """Where the figures differ: paths to the smallest parts that do, with the value in each figure."""
    first = found[0]
    if all(isinstance(one, dict) and one.keys() == first.keys() for one in found):
        inner = [(name, [one[name] for one in found]) for name in first if name not in _READ_BY_POINTER]
        return [part for name, values in inner for part in _differences(values, (*path, name))]
    if all(_is_parts(one) and len(one) == len(first) for one in found):
        return [part for i in range(len(first)) for part in _differences([one[i] for one in found], (*path, i))]
    if all(_same(one, first) for one in found[1:]):
        return []
    return [(path, found)]


def _is_parts(value: Any) -> bool:
    """Whether it is a list of traces, shapes and the like."""
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(one, dict) for one in value)


def _is_numbers(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim == 1 and value.dtype.kind in "fiu"
    return isinstance(value, (list, tuple)) and all(
        one is None or (isinstance(one, (int, float, np.number)) and not isinstance(one, bool)) for one in value
    )


def _same(one: Any, two: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(two, np.ndarray):
        return np.array_equal(one, two)
    return bool(one == two)


def _listed(value: Any) -> Any:
    """As JSON takes it; what is not finite is null, as in a figure."""
    return json.loads(Figure([], {"value": value}).to_json())["layout"]["value"]
