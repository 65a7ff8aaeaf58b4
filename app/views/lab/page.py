"""Shape lab: the algorithms on twelve values, predict-then-reveal, and the modified ReLU of one image."""

import streamlit as st

from app.link.spec import RunSpec
from app.link.state import bind
from app.views.lab import predict, relu, steps

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
        if spec.lab.room != "predict":
            steps.choose_variant(spec)
    {"steps": steps.draw, "predict": predict.draw, "relu": relu.draw}[spec.lab.room](spec)
