"""Tails that need one pass for each setting: computed one by one, drawn as they come, stopped and resumed any time."""

import time
from itertools import chain

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
        _button(spec, stopped)
    if not have >= set(_also(spec)):
        step(spec)
        return False
    return True


def ready(spec: RunSpec, classes: bool = False) -> bool:
    """Whether a page about one method can draw it: at once where the tail is linear, else after the passes it needs.

    They are done in this script run, with progress; a click interrupts them, and the next run goes on from there.
    `classes`: with the class of every OOD image.
    """
    at = backend.setup(spec)
    if backend.is_linear(at):
        return True
    asked = tuple(dict.fromkeys((spec.method.score, str(spec.method))))
    settings = ((one, "settings") for one in backend.deep_steps(at, spec.score, asked))
    images = ((one, "images") for one in (backend.class_steps(at, asked) if classes else ()))
    work = chain(settings, images)
    first = next(work, None)
    if first is None:
        return True
    stopped = st.session_state.get(_STOPPED) == _key(spec)
    place = st.empty()
    with place.container():
        bar = st.progress(0.0)
        _button(spec, stopped)
    for one, unit in chain([first], work):
        bar.progress(one.done / one.total, f"This placement needs passes of its own. {step_words(one, unit)}")
        if stopped:
            return False
    place.empty()
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


def _button(spec: RunSpec, stopped: bool) -> None:
    """One button for both, under one key: an old one would stay on the page while the computing goes on."""
    label, icon = ("Go on", "play_arrow") if stopped else ("Cancel", "stop")
    st.button(label, icon=f":material/{icon}:", key="deep_button", on_click=_go_on if stopped else _stop, args=(spec,))


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
