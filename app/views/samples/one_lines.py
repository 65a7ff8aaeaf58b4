"""The thresholds along the percentiles where each needs a pass of all images through the network: computed on request.

They are computed for a moment at a time, after everything is drawn; a click anywhere interrupts, what is there stays.
"""

import streamlit as st

from app.backend import banks, decisions, deep, evaluations, setups
from app.backend.setups import Setup
from app.errors import plain
from app.link.spec import RunSpec
from app.ui import work
from app.ui.work import SLICE
from ash.methods import VARIANTS, Method

_JOB = work.Task("one_lines_job")  # (what it was asked for, variant, score) whose thresholds are being computed
_WORDS = "one_lines_job_words"  # progress in words, from the last slice


def methods(spec: RunSpec, percentiles: tuple[float, ...]) -> list[str]:
    """The variant of a spec at some percentiles."""
    return [str(Method(spec.variant, p, spec.score)) for p in percentiles]


def grid(spec: RunSpec) -> tuple[str, ...]:
    """The variant at the percentiles of the trade-off's grid, coarse steps first; none without a percentile."""
    if VARIANTS[spec.variant].parameter != "percentile":
        return ()
    order = sorted(range(0, 100, evaluations.STEP), key=lambda p: (p % 20 != 0, p % 10 != 0, p))
    return tuple(methods(spec, tuple(map(float, order))))


def missing(at: Setup, spec: RunSpec) -> tuple[str, ...]:
    """The settings of the grid whose scores are not known."""
    return tuple(one for one in grid(spec) if decisions.known_evaluation(at, one) is None)


def draw(spec: RunSpec) -> None:
    """A button that computes what is missing, then progress with a way to stop; nothing where nothing is missing."""
    at = setups.setup(spec)
    todo, job = missing(at, spec), (setups.asked(spec), spec.variant, spec.score)
    if not todo:
        return
    working = _JOB.what == job
    place = st.empty()
    if working:
        place.progress(1 - len(todo) / len(grid(spec)), st.session_state.get(_WORDS, "Computing the thresholds"))
    else:
        st.session_state.pop(_WORDS, None)
        text = (
            f"The threshold is not computed at {len(todo)} percentiles: the tail is not linear here, so each needs "
            "a pass of all images through it. What is computed is kept."
        )
        place.caption(plain(text))
    start = ("Compute the thresholds", "play_arrow", lambda: _JOB.start(job))
    work.button("one_lines_button", working, start, ("Cancel", "stop", _JOB.stop))
    if working:
        _JOB.take(deep.deep_steps(at, spec.score, grid(spec)), _remember, SLICE)
        st.rerun()  # with what is there


def _remember(step: banks.Step) -> None:
    st.session_state[_WORDS] = work.words(step, "settings")
