"""The one way to do long work on a page: steps taken in the run of the script, with progress, stop and resume.

A click anywhere interrupts between two steps. What is finished is kept by the backend, so the next run goes on, for as
long as the session says that it is doing this. What a step raises ends the work once, and is shown by the boundary.
"""

import math
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.backend.banks import Step
from app.errors import plain
from app.theme import count

SLICE = 2.0  # seconds of computing between two drawings of a page that shows what is there so far


@dataclass(frozen=True)
class Task:
    """What this session is doing for one purpose: at most one thing, kept under a key of the session state."""

    key: str

    @property
    def what(self) -> Any:
        """What it is doing; None for nothing."""
        return st.session_state.get(self.key)

    def start(self, what: Any) -> None:
        """Do this from the next run on, instead of anything else. A callback."""
        st.session_state[self.key] = what

    def stop(self) -> None:
        """Do nothing from the next run on. A callback."""
        st.session_state.pop(self.key, None)

    def take(
        self, steps: Generator[Step, None, None], show: Callable[[Step], object], seconds: float = math.inf
    ) -> bool:
        """`take`; the task is over when it is done and when it fails."""
        done = take(steps, show, self.stop, seconds)
        if done:
            self.stop()
        return done


def take(
    steps: Generator[Step, None, None],
    show: Callable[[Step], object],
    failed: Callable[[], object],
    seconds: float = math.inf,
) -> bool:
    """Take steps in this run, for some seconds; whether all are done. They are closed when this ends, however it does.

    `show` draws a step: there Streamlit ends a run that a click or a closed page interrupts. `failed` is called where
    a step raises, before that goes on to the boundary: it must see to it that the next run does not begin it again.
    """
    begun = time.monotonic()
    try:
        with closing(steps):
            for step in steps:
                show(step)
                if time.monotonic() - begun > seconds:
                    return False
    except Exception:  # an interrupted run is none
        failed()
        raise
    return True


def shower(bar: DeltaGenerator, unit: str = "images", before: str = "") -> Callable[[Step], object]:
    """What draws steps on a progress bar, in words."""
    return lambda step: bar.progress(share(step.done, step.total), before + words(step, unit))


def button(
    key: str,
    busy: bool,
    start: tuple[str, str, Callable[..., None]],
    stop: tuple[str, str, Callable[..., None]] = ("Cancel", "stop", lambda: None),
    **more: Any,
) -> None:
    """One button to start and to stop, each with its label, icon and callback.

    Under one key: an old one would stay on the page while the work goes on.
    """
    label, icon, on_click = stop if busy else start
    st.button(label, icon=f":material/{icon}:", key=key, on_click=on_click, **more)


def share(done: int, total: int | None) -> float:
    """Between 0 and 1; 0 while nobody knows the whole."""
    return min(max(done / total, 0.0), 1.0) if total else 0.0


def words(step: Step, unit: str = "images") -> str:
    """`Digits: 4,200 of 16,000 images, 310 a second, 38 s left`; and who is waited for, if anybody is."""
    text = f"{plain(step.label)}: {count(step.done)} of {count(step.total)} {unit}"
    if step.rate > 0 and math.isfinite(step.left):
        rate = f"{step.rate:,.0f} a second, " if step.rate >= 2 else ""
        text += f", {rate}{duration(step.left)} left"
    return f"{text}; {plain(step.by)} is at work on the rest" if step.by else text


def duration(seconds: float) -> str:
    """`38 s`, `4 min`, `2.5 h`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
