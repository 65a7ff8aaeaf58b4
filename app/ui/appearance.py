"""How every page looks: what Streamlit's theme cannot say, and colours that follow a switch of the theme."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.theme import colours
from app.ui import plot
from app.ui.component import component

_ASSETS = Path(__file__).parents[2] / "assets"
# Within the page: a file of Streamlit's is gone once another run has begun.
ICON = (_ASSETS / "icon.svg").read_text()
FAVICON = f"data:image/png;base64,{base64.b64encode((_ASSETS / 'icon.png').read_bytes()).decode()}"
_watch = component("ash_appearance", Path(__file__).with_suffix(".js").read_text())
_STYLE = """<style>
:is(a, button, input, summary, textarea, [role], [tabindex]):focus-visible,
label:has(input:focus-visible), [data-baseweb="select"]:has(input:focus-visible) {
  outline: 3px solid %(ring)s; outline-offset: 2px}
[data-testid="stBaseButton-primary"]:not(:disabled),
[data-testid="stBaseButton-primary"]:not(:disabled) * {color: %(on_primary)s}
body:has([data-testid="stSidebar"] [data-testid="stPageLink"] :is(:hover, :focus-visible)) [role="tooltip"] {
  left: 17rem !important; margin-top: 2.25rem}
[data-testid="stBaseButton-primary"] kbd {opacity: 1}
@media (pointer: coarse) {
  button kbd {display: none !important}
  [data-testid="stElementContainer"]:has(> * > [data-testid="stDataFrame"]),
  [data-testid="stElementContainer"]:has(> [data-testid="stDataFrame"]) {margin-top: 2rem}
}
[class*="st-key-panels_"] > * > [data-testid="stHorizontalBlock"] {flex-wrap: wrap}
[class*="st-key-panels_"] > * > * > [data-testid="stColumn"] {min-width: min(100%%, 22rem)}
</style>"""


def on_primary(dark: bool) -> str:
    """The colour of words on the theme's primary colour: white would be too pale on the dark theme's."""
    return colours(dark)["background"]


def style() -> None:
    """At the start of a run, on every page: what has the keyboard's focus wears a ring; on touch no key is
    offered, and the buttons of a table, which always show there, have room;
    `panels` wrap."""
    dark = plot.dark()
    st.html(_STYLE % {"ring": colours(dark)["id"], "on_primary": on_primary(dark)})


def panels(key: str, shares: Sequence[int], gap: Literal["medium", "large"] = "medium") -> list[DeltaGenerator]:
    """Columns of charts, of these shares of the width; below each other where one were too narrow for its labels."""
    with st.container(key=f"panels_{key}"):
        return st.columns(shares, gap=gap)


def watch() -> None:
    """At the end of a run, on every page: have it run once more when the theme is switched.

    Streamlit then paints its own parts anew and asks for no run, but figures and the wordmark are painted here.
    """
    with st.container(key="appearance"):
        st.html('<style>[data-testid="stLayoutWrapper"]:has(> .st-key-appearance) {display: none}</style>')
        _watch(data={"dark": plot.dark()}, key="appearance_watch", on_switched_change=lambda: None)
