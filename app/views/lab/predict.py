"""Predict, then reveal: the questions one by one, and how many predictions were right."""

import streamlit as st

from app.backend import registry
from app.errors import plain
from app.link.picks import Pick
from app.link.spec import RunSpec
from app.link.state import dispatch
from app.ui import texts
from app.ui.lessons import charts, questions
from app.ui.lessons.facts import Here
from app.ui.lessons.outcomes import OUTCOMES
from app.ui.texts import Question

_STYLE = "<style>.st-key-predict {max-width: 60rem}</style>"


def draw(spec: RunSpec) -> None:
    """Draw this part of the Shape lab for this spec."""
    st.html(_STYLE)
    every = texts.questions()
    chosen = every.get(spec.lab.question) or next(iter(every.values()))
    with st.container(key="predict"):
        _heading(spec, chosen)
        if charts.ready(spec):
            here = Here(spec)
            questions.draw(here, chosen)
            _progress(here)
        _turn(chosen)


def _heading(spec: RunSpec, chosen: Question) -> None:
    order = list(texts.questions())
    st.subheader(chosen.title)
    st.caption(
        plain(
            f"Question {order.index(chosen.id) + 1} of {len(order)}, measured on {registry.entry(spec.model).label}"
            f"{' at the penultimate layer' if chosen.id in OUTCOMES else ''}, with the energy score"
        )
    )


def _progress(here: Here) -> None:
    """How many predictions about this network were right so far."""
    order, given = texts.questions(), questions.given_answers()
    mine = {  # of a question that was asked twice the last
        key[2]: right for key, (_, right) in given.items() if key[:2] == (here.at, here.sets) and key[2] in order
    }.values()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{sum(mine)} of {len(order)} right**, {len(mine)} answered", width="content")
        if mine:
            st.button("Start again", icon=":material/restart_alt:", key="predict_again", on_click=given.clear)


def _turn(chosen: Question) -> None:
    order = list(texts.questions())
    place = order.index(chosen.id)
    with st.container(horizontal=True):
        for label, icon, other in (
            ("Previous question", "arrow_back", place - 1),
            ("Next question", "arrow_forward", place + 1),
        ):
            if 0 <= other < len(order):
                pick = Pick.field("question", order[other])
                st.button(label, icon=f":material/{icon}:", key=f"question_{icon}", on_click=dispatch, args=(pick,))
