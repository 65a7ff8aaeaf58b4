"""What a page needs before it can draw: banks that exist, or a button that computes them, with progress and cancel."""

from typing import Literal

import streamlit as st

from app import backend
from app.errors import plain
from app.spec import RunSpec
from app.theme import count

_JOB = "prepare_job"  # (model, placement) of the banks this session is computing


def ready(spec: RunSpec) -> bool:
    """Whether all banks of the spec's placement exist. Where they do not: what they cost, a button, then progress."""
    missing = backend.missing_sets(spec.model, spec.placement)
    if not missing:
        return True
    if st.session_state.get(_JOB) != (spec.model, spec.placement):
        _offer(spec, missing)
        return False
    _compute(spec)
    return False


def _offer(spec: RunSpec, missing: dict[str, int]) -> None:
    name = backend.placements(spec.model)[spec.placement]
    sets = "1 data set" if len(missing) == 1 else f"{len(missing)} data sets"
    rate = backend.measured_rate(spec.model, spec.placement)
    images = sum(missing.values())
    cost = f", about {duration(images / rate)} at the {rate:,.0f} images a second measured here" if rate else ""
    st.info(
        f"The activations at {plain(name)} are not computed yet: {sets}, {count(images)} images{cost}. "
        "They are computed once and kept on this machine; you can stop at any time and go on later.",
        icon=":material/hourglass_empty:",
    )
    _button(spec, "Compute", "play_arrow", "primary")


def _button(spec: RunSpec, label: str, icon: str, kind: Literal["primary", "secondary"]) -> None:
    """One button under one key for Compute and Cancel: an old one would stay on the page during the computation."""
    on_click = _start if label == "Compute" else _stop
    st.button(label, type=kind, icon=f":material/{icon}:", key="prepare_button", on_click=on_click, args=(spec,))


def _start(spec: RunSpec) -> None:
    st.session_state[_JOB] = (spec.model, spec.placement)


def _stop(spec: RunSpec) -> None:
    st.session_state.pop(_JOB, None)


def _compute(spec: RunSpec) -> None:
    """Run the extraction in this script run; a click anywhere interrupts it, the next run goes on where it stopped."""
    name = backend.placements(spec.model)[spec.placement]
    bar = st.progress(0.0, f"Computing the activations at {plain(name)}")
    _button(spec, "Cancel", "stop", "secondary")
    try:
        for step in backend.compute_banks(spec.model, spec.placement):
            if step.rate > 0:
                backend.remember_rate(spec.model, spec.placement, step.rate)
            bar.progress(min(step.done / max(step.total, 1), 1.0), step_words(step))
    except Exception:
        _stop(spec)  # otherwise every run of the page would start the same failure again
        raise
    _stop(spec)
    st.rerun()


def step_words(step: backend.Step, unit: str = "images") -> str:
    """`Digits: 4,200 of 16,000 images, 310 a second, 38 s left`."""
    text = f"{plain(step.label)}: {count(step.done)} of {count(step.total)} {unit}"
    if step.rate <= 0 or step.left == float("inf"):
        return text
    rate = f"{step.rate:,.0f} a second, " if step.rate >= 2 else ""
    return f"{text}, {rate}{duration(step.left)} left"


def duration(seconds: float) -> str:
    """`38 s`, `4 min`, `2.5 h`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
