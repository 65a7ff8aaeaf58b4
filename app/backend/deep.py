"""Tails that need one pass for each setting: coarse settings, computed one by one."""

import time
from collections.abc import Iterator

import pandas as pd
import streamlit as st

from app.backend.banks import Step
from app.backend.evaluations import measure, react_thresholds
from app.backend.names import presets
from ash.methods import Method

DEEP_PERCENTILES = (65, 90, 80, 50)  # in the order in which they are computed


@st.cache_resource(max_entries=12, show_spinner=False)
def _deep_tables(model: str, placement: str, score: str) -> dict[str, pd.DataFrame]:
    """Method -> its rows: what `deep_grid` has computed so far, shared by all users."""
    return {}


def deep_methods(model: str, placement: str, score: str) -> tuple[str, ...]:
    """The coarse settings of a deep tail, the most telling first."""
    shaped = [f"{variant}@{p}:{score}" for p in DEEP_PERCENTILES for variant in ("ash_b", "ash_s", "ash_p")]
    preset = [text for text in presets(model).values() if Method.parse(text).score == score]
    clipped = [f"react@{c}:{score}" for c in react_thresholds(model, placement)[1::2]]
    return tuple(dict.fromkeys(str(Method.parse(text)) for text in (score, *preset, *shaped, *clipped)))


def deep_table(model: str, placement: str, score: str) -> pd.DataFrame | None:
    """The rows of the settings computed so far, None before the first."""
    done = _deep_tables(model, placement, score)
    return pd.concat(list(done.values()), ignore_index=True) if done else None


def deep_grid(model: str, placement: str, score: str, also: tuple[str, ...] = ()) -> Iterator[Step]:
    """Evaluate a deep tail's settings that are missing, yielding after each. Stop to cancel; call to resume."""
    done, start = _deep_tables(model, placement, score), time.monotonic()
    wanted = dict.fromkeys((*also, *deep_methods(model, placement, score)))
    todo = [method for method in wanted if method not in done]
    for fresh, method in enumerate(todo, start=1):
        done[method] = measure(model, placement, method)
        rate, left = fresh / max(time.monotonic() - start, 1e-9), len(todo) - fresh
        yield Step(Method.parse(method).label, len(wanted) - left, len(wanted), rate, left / rate)
