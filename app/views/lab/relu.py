"""Shape lab, modified ReLU: what a variant makes of a value, with the cuts of the chosen image and of another one."""

import streamlit as st

from app.backend import engine, setups
from app.errors import plain
from app.link.fields import write_number
from app.link.spec import RunSpec
from app.ui import code, pictures, plot, sample_code, sample_picker
from app.views.lab import relu_live, sample, steps
from ash import images
from ash.methods import Method

PICTURE = 56  # pixels of an image


def draw(spec: RunSpec) -> None:
    """The room for this spec."""
    both = sorted((spec, sample.beside(spec)), key=lambda one: one.source != "id")  # the ID image first
    try:
        ones = [sample.chosen(one) for one in both]
    except images.DataError as error:
        sample_picker.unreadable(error)
        _pickers(spec)
        return
    first, second = (sample.image(*pair) for pair in zip(both, ones, strict=True))
    record = relu_live.relu(steps.shown_variant(spec), (first, second), spec.p)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        for asked, one in zip(both, ones, strict=True):
            sample.picture(asked, one, PICTURE)
        with st.container():
            st.markdown(f"**{plain(relu_live.finding(record))}**")
    steps.stand_in(spec)
    plot.show(
        relu_live.figure(record, plot.dark()),
        "lab_relu",
        relu_live.finding(record),
        table=lambda: relu_live.table(record),
        filename=f"relu-{record.variant}-{write_number(spec.p)}",
    )
    if note := relu_live.tie_note(record):
        st.caption(plain(note))
    st.caption(
        "How to read it: across, the value of a unit before shaping; up, what becomes of it. Below its own cut t, at "
        "the jump, an image's values become 0, as below 0 in a plain ReLU (dotted). The marks at the foot are the "
        "values of the two images. Drag p under the picture: k is the same for both, t follows the values of each."
    )
    if engine.is_signed(setups.setup(spec)):
        st.caption("Values may be negative here: a ReLU that follows sets what is still negative to 0.")
    _pickers(spec)
    pictures.how_to_get([sample_picker.data_set(one) for one in both])
    method = Method(record.variant, spec.p)
    pair = [(sample_picker.data_set(one), sample_picker.index(one)) for one in both]
    code.show("relu_code", lambda: sample_code.pair_program(spec, method, pair))


def _pickers(spec: RunSpec) -> None:
    """The ways to other images, on both sides: either may be one that cannot be shown."""
    st.markdown("##### The two images")
    with st.container(horizontal=True, gap="large"):
        with st.container(width="content"):
            sample_picker.bar(spec)
        with st.container(width="content"):
            sample.beside_bar(spec)
