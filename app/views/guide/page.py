"""Guide page: the README and the guides beside it, one at a time, as they are written."""

from urllib.parse import urlencode

import streamlit as st

from app.link.options import GUIDES
from app.link.picks import Pick
from app.link.spec import RunSpec, to_query
from app.link.state import bind, dispatch
from app.ui import scrolling
from app.views.guide import text

TITLES = {
    "start": "Start",
    "tour": "Tour",
    "methods": "Methods",
    "library": "Library",
    "detector": "Detector",
    "own-network": "Your own network",
    "own-data": "Your own data",
    "extraction": "Extraction",
    "speed": "Speed",
    "serving": "Serving a team",
    "architecture": "Architecture",
}
_STYLE = """<style>
.st-key-guide {max-width: 54rem}
.st-key-guide [data-testid="stMarkdownContainer"] {line-height: 1.6; overflow-x: auto}
.st-key-guide td code {overflow-wrap: anywhere; white-space: normal}
.st-key-guide_choice [data-testid="stButtonGroup"] > div {flex-wrap: wrap; row-gap: 0.25rem}
</style>"""
_LONG = 3  # sections, from which on they are listed on top


def render(spec: RunSpec) -> None:
    """Draw the guide that the spec names."""
    st.html(_STYLE)
    scrolling.to_top("guide", spec.guide.guide)
    st.title("Guide")
    with st.container(key="guide_choice"):
        st.segmented_control(
            "Which guide",
            GUIDES,
            format_func=TITLES.__getitem__,
            required=True,
            label_visibility="collapsed",
            **bind("guide"),
        )
    with st.container(key="guide"):
        _guide(spec)
        _turn(spec.guide.guide)
    scrolling.to_anchor("guide")


def _guide(spec: RunSpec) -> None:
    guide = text.read(spec.guide.guide)
    st.header(guide.title, anchor="top")
    _markdown(guide.intro, spec)
    if len(guide.sections) >= _LONG:
        st.markdown(
            "On this page: " + ", ".join(f"[{section.heading}](#{section.anchor})" for section in guide.sections)
        )
    for section in guide.sections:
        st.subheader(section.heading, anchor=section.anchor)
        _markdown(section.text, spec)


def _markdown(written: str, spec: RunSpec) -> None:
    """A text with links that carry the spec. They open beside this page: a reader keeps the place."""

    def address(guide: str, place: str) -> str:
        return f"?{urlencode(to_query(spec.having(guide=guide)))}" + (f"#{place}" if place else "")

    st.markdown(text.with_links(written, spec.guide.guide, GUIDES, address))


def _turn(shown: str) -> None:
    """The guides before and after this one."""
    place = GUIDES.index(shown)
    with st.container(horizontal=True):
        for word, icon, other in (("Previous", "arrow_back", place - 1), ("Next", "arrow_forward", place + 1)):
            if 0 <= other < len(GUIDES):
                name = GUIDES[other]
                pick = Pick.field("guide", name)
                label = f"{word}: {TITLES[name]}"
                st.button(label, key=f"guide_{word}", icon=f":material/{icon}:", on_click=dispatch, args=(pick,))
