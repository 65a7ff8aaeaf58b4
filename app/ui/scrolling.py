"""Where a page stands on the screen."""

import streamlit as st

# A page keeps its place when its content changes; one that is turned begins at the top.
_TO_TOP = "<script>document.querySelector('[data-testid=stMain]').scrollTo(0, 0)  // {}</script>"
# What stands above a heading is drawn piece by piece, code last: it is followed until the reader does something.
_TO_ANCHOR = """<script>{
    const heading = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const follow = new ResizeObserver(() => heading.scrollIntoView());
    if (heading) follow.observe(heading.closest('[data-testid=stVerticalBlock]'));
    for (const kind of ['wheel', 'keydown', 'pointerdown', 'touchstart'])
        window.addEventListener(kind, () => follow.disconnect(), {once: true, capture: true});
}</script>"""


def to_top(page: str, leaf: str) -> None:
    """Scroll to the top where this session last saw another leaf of this page. Call it in every run of the page."""
    last = f"{page}_shown"
    with st.container(key=f"{page}_top"):  # always there, so that nothing below is drawn anew
        if st.session_state.get(last, leaf) != leaf:
            st.html(_TO_TOP.format(leaf), unsafe_allow_javascript=True)
    st.session_state[last] = leaf


def to_anchor(page: str) -> None:
    """Scroll to the heading that the address names, where a session begins with it. Call it last on the page."""
    begun = f"{page}_begun"
    if not st.session_state.get(begun, False):
        st.html(_TO_ANCHOR, unsafe_allow_javascript=True)
    st.session_state[begun] = True
