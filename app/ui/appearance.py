"""Light or dark: what the server draws has the colours of the page that it is drawn on, after a switch as well."""

from pathlib import Path

import streamlit as st

from app.ui import plot
from app.ui.component import component

_watch = component("ash_appearance", Path(__file__).with_suffix(".js").read_text())


def watch() -> None:
    """At the end of a run, on every page: have it run once more when the theme is switched.

    Streamlit then paints its own parts anew and asks for no run, but figures and the wordmark are painted here.
    """
    with st.container(key="appearance"):
        st.html('<style>[data-testid="stLayoutWrapper"]:has(> .st-key-appearance) {display: none}</style>')
        _watch(data={"dark": plot.dark()}, key="appearance_watch", on_switched_change=lambda: None)
