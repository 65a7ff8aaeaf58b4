"""Components of the explorer's own: a JavaScript file beside the module that uses it, mounted under a key."""

from collections.abc import Callable
from typing import Any

import streamlit as st
from streamlit.errors import StreamlitAPIException


def component(name: str, js: str, css: str | None = None) -> Callable[..., None]:
    """A component (`st.components.v2`) without a frame; call what comes back to put it on the page."""

    def register() -> Callable[..., Any]:
        return st.components.v2.component(name, js=js, css=css, isolate_styles=False)

    made = register()

    def mount(**how: Any) -> None:
        nonlocal made
        try:
            made(**how)
        except StreamlitAPIException as error:
            if "not registered" not in str(error):
                raise
            made = register()  # it is another server's, as in tests
            made(**how)

    return mount
