"""Tails that need one pass for each setting: computed one by one, drawn as they come, stopped and resumed any time."""

import math
from functools import partial

import streamlit as st

from app.backend import banks, deep, engine, evaluations, sample_rows, setups
from app.link.spec import RunSpec
from app.ui import work
from app.ui.work import SLICE
from ash.methods import Method

_STOPPED = work.Task("deep_stopped")  # (setup, score) that this session does not want computed for now
_LAST = "deep_last"  # progress in words, from the last slice


def progress(spec: RunSpec) -> bool:
    """How far the settings of this placement are, with a button to stop or go on; whether there is one to draw."""
    table = deep.deep_table(*_key(spec))
    have = set() if table is None else set(table["method"])
    wanted = {*_wanted(spec)}
    share = len(wanted & have) / len(wanted)
    if share < 1:
        text = (
            f"{len(wanted & have)} of {len(wanted)} settings: this placement needs a pass through the network for each."
        )
        stopped = _STOPPED.what == _key(spec)
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
    at = setups.setup(spec)
    if engine.is_linear(at):
        return True
    asked = tuple(dict.fromkeys((spec.method.score, str(spec.method))))
    first, unit = _ahead(at, spec.score, asked, classes)
    if first is None:
        return True
    stopped = _STOPPED.what == _key(spec)
    place, before = st.empty(), "This placement needs passes of its own. "
    with place.container():
        bar = st.progress(0.0)
        _button(spec, stopped)
    work.shower(bar, unit, before)(first)
    if stopped:
        return False
    failed = partial(_STOPPED.start, _key(spec))
    work.take(deep.deep_steps(at, spec.score, asked), work.shower(bar, "settings", before), failed)
    if classes:
        work.take(sample_rows.class_steps(at, asked), work.shower(bar, "images", before), failed)
    place.empty()
    return True


def _ahead(at: setups.Setup, score: str, asked: tuple[str, ...], classes: bool) -> tuple[banks.Step | None, str]:
    """What is to be done first, before any of it is, and its unit; None where all is there."""
    if left := deep.deep_left(at, score, asked):
        done = len(asked) - len(left)
        return banks.Step(Method.parse(left[0]).label, done, len(asked), 0.0, math.inf), "settings"
    return next(sample_rows.class_steps(at, asked), None) if classes else None, "images"


def step(spec: RunSpec) -> None:
    """Compute settings for a moment, then draw the page again with them; nothing if all are there or it was stopped."""
    if _STOPPED.what == _key(spec) or not deep.deep_left(*_key(spec), _wanted(spec)):
        return
    steps = deep.deep_steps(*_key(spec), _wanted(spec))
    work.take(steps, _remember, partial(_STOPPED.start, _key(spec)), SLICE)
    st.rerun()


def _remember(one: banks.Step) -> None:
    st.session_state[_LAST] = work.words(one, "settings")


def _button(spec: RunSpec, stopped: bool) -> None:
    start, stop = ("Go on", "play_arrow", _STOPPED.stop), ("Cancel", "stop", partial(_stop, spec))
    work.button("deep_button", not stopped, start, stop)


def _key(spec: RunSpec) -> tuple[setups.Setup, str]:
    return setups.setup(spec), spec.score


def _also(spec: RunSpec) -> tuple[str, ...]:
    """What the page cannot do without: the unshaped score and the method of the spec."""
    return tuple(dict.fromkeys((str(evaluations.unshaped(spec).method), str(spec.method))))


def _wanted(spec: RunSpec) -> tuple[str, ...]:
    """The settings of the page, what it cannot do without first."""
    return tuple(dict.fromkeys((*_also(spec), *deep.deep_methods(*_key(spec)))))


def _stop(spec: RunSpec) -> None:
    _STOPPED.start(_key(spec))
    st.session_state.pop(_LAST, None)
