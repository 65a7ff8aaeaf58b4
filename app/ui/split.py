"""Which images a page measures on: the control, the line that says so, and what a download says of it."""

from collections.abc import Collection

import streamlit as st

from app.backend import protocol, setups
from app.charts.tradeoff_words import images_words, measured_on
from app.errors import plain
from app.link.spec import RunSpec
from app.link.state import bind


def control() -> None:
    """All images instead of the test images, at one click."""
    st.toggle(
        "All images",
        help="Every set has a fixed split by a hash of its images' names. What is best is chosen on the validation "
        "images, a tenth, and all that is shown is measured on the others, the test images. With this on, both are "
        "done on all images, as the paper and the page Paper do it.",
        **bind("split", to_widget=lambda split: split == "all", from_widget=lambda on: "all" if on else "test"),
    )


def words(spec: RunSpec, sets: Collection[str]) -> str:
    """On how many images a choice is made under a spec, and on how many it is measured."""
    at = setups.setup(spec)
    part = protocol.usable(at, spec.split)
    whole = part == protocol.ALL
    chosen = None if whole else protocol.sizes(at, sets, protocol.VALIDATION)
    return images_words(chosen, protocol.sizes(at, sets, part))


def measured_words(spec: RunSpec, sets: Collection[str]) -> str:
    """On how many images a page measures that chooses nothing."""
    at = setups.setup(spec)
    part = protocol.usable(at, spec.split)
    return measured_on(protocol.sizes(at, sets, part), part == protocol.ALL)


def measured_line(spec: RunSpec, sets: Collection[str]) -> None:
    """`measured_words`, and before them why there is no split, where the link asks for one."""
    _say(spec, measured_words(spec, sets))


def line(spec: RunSpec, sets: Collection[str], more: str = "") -> None:
    """`words` and what follows; before them why there is no split, where the link asks for one."""
    _say(spec, f"{words(spec, sets)} {more}".strip())


def unsplit(spec: RunSpec) -> None:
    """Why there is no split where the link asks for one, so that all images are measured; nothing where there is."""
    if why := _why_not(spec):
        st.caption(plain(f"{why} All images are measured."))


def _why_not(spec: RunSpec) -> str:
    return "" if spec.split == protocol.ALL else protocol.problem(setups.setup(spec))


def _say(spec: RunSpec, text: str) -> None:
    st.caption(plain(f"{_why_not(spec)} {text}".strip()))
