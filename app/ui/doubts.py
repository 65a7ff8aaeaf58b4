"""What a page says below its numbers when they are not fully defined."""

import streamlit as st

from app.backend import evaluations, setups
from app.errors import plain
from app.link.spec import RunSpec


def draw(spec: RunSpec) -> None:
    """One warning with every reason to doubt the current method's numbers; nothing where there is none."""
    sets = tuple(setups.chosen_sets(spec)) if spec.on == "mean" else (spec.on,)
    said = evaluations.doubts(setups.setup(spec), str(spec.method), sets)
    if said:
        st.warning(plain(" ".join(said)), icon=":material/help:")
