"""Samples page: single images and the verdict on each: a story of six, all of them in a grid, one, or your own."""

import streamlit as st

from app.link.spec import RunSpec
from app.link.state import bind
from app.ui import deep_progress, prepare
from app.views.samples import cards

LOOKS = {"story": "Six that tell it", "grid": "All samples", "one": "One sample", "own": "Your own images"}


def render(spec: RunSpec) -> None:
    """Draw the page for this spec. Every look is a module of its own, loaded when it is first asked for."""
    st.title("Samples")
    asked = spec.samples.look
    if asked != "own" and not prepare.ready(spec):  # your own images have classes before there is a threshold
        return
    if asked != "own" and not deep_progress.ready(spec, classes=asked != "one"):
        return
    st.html(cards.STYLE)
    st.segmented_control(
        "Look at",
        list(LOOKS),
        format_func=LOOKS.__getitem__,
        required=True,
        label_visibility="collapsed",
        **bind("look"),
    )
    match asked:
        case "grid":
            from app.views.samples import grid as look
        case "one":
            from app.views.samples import one as look  # type: ignore[no-redef]
        case "own":
            from app.views.samples import own as look  # type: ignore[no-redef]
        case _:
            from app.views.samples import story as look  # type: ignore[no-redef]
    look.draw(spec)
