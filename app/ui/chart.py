"""The browser's side of a chart: a component that keeps its node, and draws a new figure into it."""

from collections.abc import Callable
from pathlib import Path

from app.serving import plotly_js
from app.ui.component import component

_FOLDER = Path(__file__).parent
_PARTS = ("live_paint.js", "live.js", "chart.js")  # one program: a component cannot import
_JS = "".join((_FOLDER / name).read_text() for name in _PARTS).replace("%ADDRESS%", plotly_js.ADDRESS)
_mount = component("ash_chart", _JS, (_FOLDER / "chart.css").read_text())


def mount(content: bytes, key: str, on_picked: Callable[[], None]) -> None:
    """Put a chart on the page, or another figure into the one that is there.

    `content`: JSON of `figure`, `config`, `alt`, `live` (`film` and `p`, or null) and `picks`; where that is true,
    `picked` of the key's state is the id of the mark that was clicked, when `on_picked` is called. AshError
    where the program that draws charts is missing or damaged, as a browser could not say what to do about it.
    """
    plotly_js.packed()
    _mount(data=content, key=key, on_picked_change=on_picked)
