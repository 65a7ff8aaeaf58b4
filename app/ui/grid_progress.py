"""The settings of a large set-up: measured once, with progress, stopped and resumed any time."""

import math
from dataclasses import replace
from functools import partial

import streamlit as st

from app.backend import grids, setups
from app.ui import work

_STOPPED = work.Task("grid_stopped")  # (setup, score) that this session does not want measured for now


def measure(at: setups.Setup, score: str) -> None:
    """How far they are, with a button to stop or go on; they are measured in this run, which then begins anew."""
    key = at, score
    stopped, bar = _STOPPED.what == key, st.empty()
    show = work.shower(bar, "evaluations")
    now = grids.progress(*key)
    show(replace(now, rate=0.0, left=math.inf) if stopped else now)
    start, stop = ("Go on", "play_arrow", _STOPPED.stop), ("Cancel", "stop", partial(_STOPPED.start, key))
    work.button("grid_button", not stopped, start, stop)
    if not stopped:
        work.take(grids.steps(*key), show, partial(_STOPPED.start, key))
        st.rerun()
