"""The sidebar: pages, and everything that is the same on every page."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import streamlit as st
from streamlit.navigation.page import Page

from app import backend, share
from app.errors import plain
from app.spec import LEAST_C, MOST_C, Pick, RunSpec, to_query, write_number
from app.state import bind, dispatch
from app.theme import variant_label
from ash.methods import SCORE_LABELS, VARIANTS


def known(spec: RunSpec) -> Mapping[str, Collection[str]]:
    """Field -> the names the server has, the default first."""
    models = backend.models()
    if spec.model not in models:
        return {"model": models}
    _, every = backend.datasets(spec.model)
    chosen = [name for name in every if name in spec.ood] or list(every)
    return {
        "model": models,
        "placement": tuple(reversed(backend.placements(spec.model))),  # the paper's placement is the last one
        "ood": every,
        "on": ("mean", *chosen),
        "set": ("all", *chosen),
        "source": ("id", *every),
    }


def draw(spec: RunSpec, sections: Mapping[str, Sequence[Page]]) -> None:
    """The whole sidebar for this spec."""
    with st.sidebar:
        _pages(spec, sections)
        _preset(spec)
        models, placements = backend.models(), backend.placements(spec.model)
        _select("Model", "model", models)
        _select("Placement", "placement", placements, "The point of the network whose activation is shaped.")
        _select(
            "Variant", "variant", {name: variant_label(name) for name in VARIANTS}, "What is done to the activation."
        )
        _parameter(spec)
        _score_and_sets(spec)
        with st.container(horizontal=True):
            st.button("Reset", icon=":material/restart_alt:", width="stretch", on_click=dispatch, args=(Pick.reset(),))
            share.menu(spec)
        st.caption(f":material/database: {plain(backend.badge(spec))}")


def _select(label: str, name: str, options: Mapping[str, str], help: str | None = None) -> None:
    """A select box over name -> label, tied to a field of the spec."""
    st.selectbox(label, list(options), format_func=lambda option: options.get(option, option), help=help, **bind(name))


def _pages(spec: RunSpec, sections: Mapping[str, Sequence[Page]]) -> None:
    """Links that carry the spec: Streamlit's own menu drops the query, which leaves a wrong step in the history."""
    query: Any = to_query(spec)
    with st.container(gap="xxsmall", key="pages"):
        for title, pages in sections.items():
            st.caption(title)
            for page in pages:
                st.page_link(page, query_params=query or None, width="stretch")


def _preset(spec: RunSpec) -> None:
    presets = backend.presets(spec.model)
    now = str(spec.method)
    shown = next((label for label, method in presets.items() if method == now), None)
    if st.session_state.get("preset", "") != shown:
        st.session_state["preset"] = shown

    def changed() -> None:
        label = st.session_state["preset"]
        if label in presets:
            dispatch(Pick.method(presets[label]))

    st.selectbox("Preset", list(presets), index=None, key="preset", placeholder="Own settings", on_change=changed)


def _parameter(spec: RunSpec) -> None:
    """The percentile, or the threshold when the variant is ReAct. Disabled where nothing is shaped."""
    if VARIANTS[spec.variant].parameter == "threshold":
        st.number_input(
            "Threshold c",
            LEAST_C,
            MOST_C,
            step=0.1,
            format="%g",
            help="ReAct clips every activation at c.",
            **bind("c"),
        )
        return
    st.slider(
        "Percentile p",
        0,
        99,
        step=1,
        format="%d %%",
        disabled=VARIANTS[spec.variant].parameter is None,
        help="Share of the activation that is removed.",
        **bind("p", to_widget=lambda p: min(round(p), 99), from_widget=float),
    )
    if not spec.p.is_integer() and VARIANTS[spec.variant].parameter is not None:
        st.caption(f"In use: p = {write_number(spec.p)}, from a link. Moving the slider replaces it.")


def _score_and_sets(spec: RunSpec) -> None:
    _, sets = backend.datasets(spec.model)
    used = len(spec.ood) or len(sets)
    label = f"{SCORE_LABELS[spec.score]}, {used} of {len(sets)} OOD sets"
    with st.popover(label, icon=":material/tune:", width="stretch", key="score_and_sets"):
        _select("Score", "score", SCORE_LABELS, "Turns the logits into one number; higher means more in-distribution.")
        st.multiselect(
            "OOD sets",
            list(sets),
            format_func=lambda name: sets.get(name, name),
            placeholder="All sets",
            **bind("ood", to_widget=list, from_widget=tuple),
        )
