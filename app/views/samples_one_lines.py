"""The thresholds along the percentiles where each needs a pass of all images through the network: computed on request.

They are computed for a moment at a time, after everything is drawn; a click anywhere interrupts, what is there stays.
"""

import time

import streamlit as st

from app import backend
from app.backend import Setup
from app.errors import plain
from app.spec import RunSpec
from app.views.prepare import step_words
from ash.methods import VARIANTS, Method

SLICE = 2.0  # seconds of computing between two drawings of the page
_JOB = "one_lines_job"  # (setup, variant, score) whose thresholds this session is computing


def methods(spec: RunSpec, percentiles: tuple[float, ...]) -> list[str]:
    """The variant of a spec at some percentiles."""
    return [str(Method(spec.variant, p, spec.score)) for p in percentiles]


def grid(spec: RunSpec) -> tuple[str, ...]:
    """The variant at the percentiles of the trade-off's grid, coarse steps first; none without a percentile."""
    if VARIANTS[spec.variant].parameter != "percentile":
        return ()
    order = sorted(range(0, 100, backend.STEP), key=lambda p: (p % 20 != 0, p % 10 != 0, p))
    return tuple(methods(spec, tuple(map(float, order))))


def missing(at: Setup, spec: RunSpec) -> tuple[str, ...]:
    """The settings of the grid whose scores are not known."""
    return tuple(one for one in grid(spec) if backend.known_evaluation(at, one) is None)


def draw(spec: RunSpec) -> None:
    """A button that computes what is missing, then progress with a way to stop; nothing where nothing is missing."""
    at = backend.setup(spec)
    todo, job = missing(at, spec), (at, spec.variant, spec.score)
    if not todo:
        return
    working = st.session_state.get(_JOB) == job
    place = st.empty()
    if working:
        place.progress(
            1 - len(todo) / len(grid(spec)), st.session_state.get(f"{_JOB}_words", "Computing the thresholds")
        )
    else:
        text = (
            f"The threshold is not computed at {len(todo)} percentiles: the tail is not linear here, so each needs "
            "a pass of all images through it. What is computed is kept."
        )
        place.caption(plain(text))
    label, icon = ("Cancel", "stop") if working else ("Compute the thresholds", "play_arrow")
    # one button under one key: an old one would stay on the page while the computing goes on
    on_click = _stop if working else _start
    st.button(label, icon=f":material/{icon}:", key="one_lines_button", on_click=on_click, args=(job,))
    if working:
        _compute(at, spec)


def _start(job: tuple[Setup, str, str]) -> None:
    st.session_state[_JOB] = job


def _stop(_job: tuple[Setup, str, str]) -> None:
    st.session_state.pop(_JOB, None)
    st.session_state.pop(f"{_JOB}_words", None)


def _compute(at: Setup, spec: RunSpec) -> None:
    """Compute for a moment, then draw the page again with what is there."""
    start = time.monotonic()
    try:
        for step in backend.deep_steps(at, spec.score, grid(spec)):
            st.session_state[f"{_JOB}_words"] = step_words(step, "settings")
            if time.monotonic() - start > SLICE:
                break
    except Exception:
        st.session_state.pop(_JOB, None)  # otherwise every run of the page would start the same failure again
        raise
    st.rerun()
