"""Shape lab: the algorithms on twelve values, predict-then-reveal, and the modified ReLU of one image."""

import streamlit as st

from app.spec import RunSpec
from app.state import bind
from app.views import lab_predict, lab_relu, lab_steps

ROOMS = {"steps": "Steps", "predict": "Predict", "relu": "Modified ReLU"}


def render(spec: RunSpec) -> None:
    """Draw the page for this spec."""
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        st.title("Shape lab", width="content")
        st.segmented_control(
            "Room",
            list(ROOMS),
            format_func=ROOMS.__getitem__,
            required=True,
            label_visibility="collapsed",
            **bind("room"),
        )
        if spec.room != "predict":
            lab_steps.choose_variant(spec)
    {"steps": lab_steps.draw, "predict": lab_predict.draw, "relu": lab_relu.draw}[spec.room](spec)
