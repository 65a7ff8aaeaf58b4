"""The browser's side of a chart: a component that keeps its node, and draws a new figure into it."""

from collections.abc import Callable
from pathlib import Path

import streamlit as st
from streamlit.errors import StreamlitAPIException

from app.serving import plotly_js

_JS = Path(__file__).with_suffix(".js").read_text().replace("%ADDRESS%", plotly_js.ADDRESS)


def _component() -> Callable[..., object]:
    return st.components.v2.component("ash_chart", js=_JS, isolate_styles=False)


_mount = _component()


def mount(content: bytes, key: str, on_picked: Callable[[], None]) -> None:
    """Put a chart on the page, or another figure into the one that is there.

    `content`: JSON of `figure`, `config`, `alt` and `picks`; where that is true, `picked` of the key's state is the
    id of the mark that was clicked, when `on_picked` is called.
    """
    global _mount
    try:
        _mount(data=content, key=key, on_picked_change=on_picked)
    except StreamlitAPIException as error:
        if "not registered" not in str(error):
            raise
        _mount = _component()  # it is another server's, as in tests
        _mount(data=content, key=key, on_picked_change=on_picked)
