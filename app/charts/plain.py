"""Figures as plain data. Plotly's own classes check every property of every trace, which takes longer than all the rest
of a step; here nothing is checked while a page is drawn, and everything in the tests and before a download."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import plotly.graph_objects as go

Part = dict[str, Any]  # a trace, or a part of a layout


def scatter(**parts: Any) -> Part:
    """A trace of marks or lines: the properties of `plotly.graph_objects.Scatter`, as dicts where they have parts."""
    return {"type": "scatter", **parts}


def bar(**parts: Any) -> Part:
    """A trace of bars."""
    return {"type": "bar", **parts}


def heatmap(**parts: Any) -> Part:
    """A trace of coloured cells."""
    return {"type": "heatmap", **parts}


def image(**parts: Any) -> Part:
    """A trace of pixels."""
    return {"type": "image", **parts}


@dataclass
class Figure:
    """Traces, layout and frames as plotly.js takes them; values are plain or numpy's."""

    data: list[Part]
    layout: Part
    frames: list[Part] = field(default_factory=list)

    def to_json(self) -> str:
        """For the browser; what is not finite is null, which is not drawn."""
        parts = {"data": self.data, "layout": self.layout, "frames": self.frames}
        try:
            return json.dumps(parts, default=_plain, allow_nan=False, separators=(",", ":"))
        except ValueError:  # rare, so that no other figure is walked through for it
            return json.dumps(_finite(parts), separators=(",", ":"))

    def checked(self) -> "go.Figure":
        """The same as Plotly's object; ValueError where a property is none, or has no such value."""
        import plotly.graph_objects as go

        parts = json.loads(self.to_json())
        made = go.Figure(parts)
        for given, taken in zip([parts["layout"], *parts["data"]], [made.layout, *made.data], strict=True):
            if short := {name for name in given if given[name] not in (None, [], {})} - {*taken.to_plotly_json()}:
                raise ValueError(f"{', '.join(sorted(short))}: plotly.js knows no short forms of properties")
        if bare := [*_bare_titles(parts)]:
            raise ValueError(f"{', '.join(bare)}: plotly.js draws no title that is not {{'text': ...}}")
        return made


def _bare_titles(value: Any) -> Iterator[str]:
    """The titles that are a text alone, which Plotly's Python takes and its JavaScript leaves out."""
    if isinstance(value, dict):
        if isinstance(value.get("title"), str):
            yield value["title"]
        value = value.values()
    elif not isinstance(value, list):
        return
    for part in value:
        yield from _bare_titles(part)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{type(value).__name__} is no part of a figure")
    if value.dtype == np.uint8 or (value.size > 200 and value.dtype.kind in "fiu"):  # a third of the text of a list
        kind = {"f2": "f4", "i8": "f8", "u8": "f8"}.get(value.dtype.str[1:], value.dtype.str[1:])
        values = np.ascontiguousarray(value, f"<{kind}")
        shape = {"shape": ", ".join(map(str, value.shape))} if value.ndim > 1 else {}
        return {"dtype": kind, "bdata": base64.b64encode(values.tobytes()).decode(), **shape}
    return value.tolist()


def _finite(value: Any) -> Any:
    """The same with None for every number that is not finite."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_finite(one) for one in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
