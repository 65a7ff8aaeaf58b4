"""What stands on a page whose network or images are not on this machine: which, and how they get here."""

import streamlit as st

from app.backend import provenance, setups
from app.errors import plain
from app.link import state
from app.link.spec import Pick, RunSpec
from app.link.state import dispatch


def draw(spec: RunSpec, title: str) -> None:
    """The page's title, what is missing for this spec, the command that brings it, and the way to the Library."""
    st.title(title)
    reason = provenance.unready(spec)
    st.info(plain(f"{reason[0].upper()}{reason[1:]}, so nothing can be measured here yet."), icon=":material/download:")
    for sentence in provenance.unfetchable(spec):
        st.markdown(plain(sentence))
    if names := provenance.needed(spec):
        st.markdown("Get it on the **Library** page, or where the server runs:")
        st.code("\n".join(f"python -m ash fetch {name}" for name in names), language="bash")
    own, *others = setups.id_choices(spec.model)
    if others and setups.setup(spec).id_set == own and not setups.is_present(own):
        st.markdown("Or measure on labelled images of your own:")
        for name in others:
            pick = (Pick.field("id", name),)
            st.button(f"Use {name} as ID set", key=f"use_{name}", on_click=dispatch, args=pick)
    state.page_link("library", "Open the Library")
