"""Tails that need one pass for each setting: computed one by one, drawn as they come, stopped and resumed any time."""

import time

import streamlit as st

from app import backend
from app.spec import RunSpec
from app.views.prepare import step_words
from ash.methods import Method

SLICE = 2.0  # seconds of computing between two drawings of the page
_STOPPED = "deep_stopped"  # (setup, score) that this session does not want computed for now
_LAST = "deep_last"  # progress in words, from the last slice


def progress(spec: RunSpec) -> bool:
    """How far the settings of this placement are, with a button to stop or go on; whether there is one to draw."""
    table = backend.deep_table(*_key(spec))
    have = set() if table is None else set(table["method"])
    wanted = {*_wanted(spec)}
    share = len(wanted & have) / len(wanted)
    if share < 1:
        text = (
            f"{len(wanted & have)} of {len(wanted)} settings: this placement needs a pass through the network for each."
        )
        stopped = st.session_state.get(_STOPPED) == _key(spec)
        st.progress(share, text if stopped else st.session_state.get(_LAST, text))
        # one button for both, under one key: an old one would stay on the page while the computing goes on
        label, icon = ("Go on", "play_arrow") if stopped else ("Cancel", "stop")
        st.button(
            label, icon=f":material/{icon}:", key="deep_button", on_click=_go_on if stopped else _stop, args=(spec,)
        )
    if not have >= set(_also(spec)):
        step(spec)
        return False
    return True


def step(spec: RunSpec) -> None:
    """Compute settings for a moment, then draw the page again with them; nothing if all are there or it was stopped."""
    if st.session_state.get(_STOPPED) == _key(spec):
        return
    start, words = time.monotonic(), ""
    for one in backend.deep_steps(*_key(spec), _wanted(spec)):
        words = step_words(one, "settings")
        if time.monotonic() - start > SLICE:
            break
    if words:
        st.session_state[_LAST] = words
        st.rerun()


def _key(spec: RunSpec) -> tuple[backend.Setup, str]:
    return backend.setup(spec), spec.score


def _also(spec: RunSpec) -> tuple[str, ...]:
    """What the page cannot do without: the unshaped score and the method of the spec."""
    return tuple(dict.fromkeys((str(Method(score=spec.score)), str(spec.method))))


def _wanted(spec: RunSpec) -> tuple[str, ...]:
    """The settings of the page, what it cannot do without first."""
    return tuple(dict.fromkeys((*_also(spec), *backend.deep_methods(*_key(spec)))))


def _stop(spec: RunSpec) -> None:
    st.session_state[_STOPPED] = _key(spec)
    st.session_state.pop(_LAST, None)


def _go_on(spec: RunSpec) -> None:
    st.session_state.pop(_STOPPED, None)
