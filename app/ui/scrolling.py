"""Where a page stands on the screen."""

import streamlit as st

# A page keeps its place when its content changes; one that is turned begins at the top.
_TO_TOP = "<script>document.querySelector('[data-testid=stMain]').scrollTo(0, 0)  // {}</script>"


def to_top(page: str, leaf: str) -> None:
    """Scroll to the top where this session last saw another leaf of this page. Call it in every run of the page."""
    last = f"{page}_shown"
    with st.container(key=f"{page}_top"):  # always there, so that nothing below is drawn anew
        if st.session_state.get(last, leaf) != leaf:
            st.html(_TO_TOP.format(leaf), unsafe_allow_javascript=True)
    st.session_state[last] = leaf
