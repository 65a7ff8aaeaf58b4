"""The browser's side of a chart: a component that keeps its node, and draws a new figure into it."""

from collections.abc import Callable
from pathlib import Path

from app.serving import plotly_js
from app.ui.component import component

_mount = component("ash_chart", Path(__file__).with_suffix(".js").read_text().replace("%ADDRESS%", plotly_js.ADDRESS))


def mount(content: bytes, key: str, on_picked: Callable[[], None]) -> None:
    """Put a chart on the page, or another figure into the one that is there.

    `content`: JSON of `figure`, `config`, `alt` and `picks`; where that is true, `picked` of the key's state is the
    id of the mark that was clicked, when `on_picked` is called.
    """
    _mount(data=content, key=key, on_picked_change=on_picked)
