"""The first view of the page Samples: six images that tell what the method in use does."""

import numpy as np
import streamlit as st

from app.charts.sample_table import Filters, Ints, SampleTable
from app.errors import plain
from app.link.spec import RunSpec
from app.ui import code
from app.ui import pictures as images
from app.views.samples import cards, filters, pairs
from ash.methods import Method


def draw(spec: RunSpec) -> None:
    """The sentence and the cards."""
    found = cards.table(spec)
    scenes = pairs.story(found)
    st.markdown(f"**{plain(finding(spec, found, np.arange(len(found))))}**")
    pictures = cards.pictures(found, [scene.row for scene in scenes])
    with st.container(horizontal=True, gap="small", key="story"):
        for scene, picture in zip(scenes, pictures, strict=True):
            cards.large(spec, found, scene, picture)
    images.how_to_get(cards.sets(found, [scene.row for scene in scenes]))
    st.caption(
        plain(
            f"How to read it: the {spec.tpr:g} % line is the highest score that still accepts {spec.tpr:g} % of the ID "
            "images. Distances are in inter-quartile ranges (IQR) of the ID scores, so that methods can be compared. "
            "Rescued: on the wrong side of the line without shaping, on the right side now. Broken: the reverse."
        )
    )
    filters.shortcuts(found)
    code.show("samples_code", lambda: code.samples_program(spec, Filters()))


def finding(spec: RunSpec, found: SampleTable, rows: Ints) -> str:
    """The sentence about some rows."""
    reference = Method(score=spec.method.score).label
    return pairs.finding(found, rows, spec.method.label, reference, spec.tpr)
