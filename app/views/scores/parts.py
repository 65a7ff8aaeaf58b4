"""Parts of the Scores page: the images of a bar, and the live scrub of the percentile."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import streamlit as st

from app import theme
from app.backend import engine, evaluations, protocol, samples, setups
from app.backend.evaluations import Evaluation
from app.charts import score_words
from app.errors import boundary, plain
from app.link.options import SamplesOptions
from app.link.spec import RunSpec
from app.link.state import page_link
from app.ui import pictures, plot, split
from app.views.scores import scrub
from ash.methods import VARIANTS

SHOWN = 12  # images of one bar
CHOSEN = "scores_bar"  # (what its scores belong to, id of the bar) in the session state


def shown_sets(spec: RunSpec) -> dict[str, str]:
    """The ID set, then the OOD sets on this page: name -> label."""
    id_set = setups.setup(spec).id_set
    sets = setups.chosen_sets(spec)
    if spec.set in sets:
        sets = {spec.set: sets[spec.set]}
    return {id_set: setups.images(setups.setup(spec), id_set).label, **sets}


def bar_images(spec: RunSpec, after: Evaluation, name: str, low: float, high: float) -> None:
    """Images of one bar: up to SHOWN, evenly spaced by score."""
    id_set = setups.setup(spec).id_set
    values = after.id_scores if name == id_set else after.ood_scores.get(name)
    if values is None:
        return
    at, inside = setups.setup(spec), np.flatnonzero((values >= low) & (values < high))
    part = protocol.usable(at, spec.split)
    rows = protocol.rows(at, name, part)
    inside = inside[np.argsort(values[inside], kind="stable")]
    label = setups.images(setups.setup(spec), name).label
    with st.container(horizontal=True, vertical_alignment="center"):
        text = f"{label}, {score_words.span_text(low, high, spec.method.score)}: {theme.count(len(inside))} images"
        st.markdown(plain(text + (f", {SHOWN} of them here" if len(inside) > SHOWN else "")), width="content")
        if len(inside):
            held = float(values[inside[0]]), float(values[inside[-1]])
            words = "All of them" if part == protocol.ALL else "All images with these scores"  # there nothing is split
            page_link("samples", f"{words} in Samples", _in_samples(spec, "id" if name == id_set else name, held))
        st.button("Close", key="scores_close", type="tertiary", icon=":material/close:", on_click=_close)
    chosen = inside[np.unique(np.linspace(0, len(inside) - 1, min(SHOWN, len(inside))).round().astype(int))]
    with st.container(horizontal=True):
        for index in chosen.tolist():
            title, pixels = samples.picture(at, name, int(rows[index]))
            title = title.rsplit("/", 1)[-1]
            score = score_words.score_text(float(values[index]), spec.method.score)
            pictures.show(pixels, (label,), 110, f"{title}: {score}")
    pictures.how_to_get((name,))


def _in_samples(spec: RunSpec, source: str, held: tuple[float, float]) -> RunSpec:
    """Where the images of a bar are: by the lowest and the highest score that it holds, whatever its axis."""
    return replace(spec, samples=SamplesOptions(look="grid", among=source, scores=held, part=spec.samples.part))


def _close() -> None:
    st.session_state.pop(CHOSEN, None)


def player(spec: RunSpec) -> None:
    """The live scrub, or why there is nothing to scrub."""
    if spec.other:
        st.caption(f"{plain(spec.method.label)} has no film of its percentiles; choose an ASH variant in the sidebar.")
        return
    if VARIANTS[spec.variant].parameter != "percentile":
        name = f"{VARIANTS[spec.variant].label} has" if spec.method.steps else "Unshaped scores have"
        st.caption(f"{name} no percentile, so there is nothing to scrub; choose an ASH variant in the sidebar.")
        return
    if not engine.is_linear(setups.setup(spec)):
        st.caption("At this placement the network runs once for every percentile; scrub at the penultimate layer.")
        return
    _player(spec)


@st.fragment
def _player(spec: RunSpec) -> None:
    """The live scrub, made when it is asked for; its frames play in the browser."""
    with boundary():
        sets = dict(list(shown_sets(spec).items())[1:])
        part = protocol.usable(setups.setup(spec), spec.split)
        key = (setups.setup(spec), part, spec.variant, spec.score, tuple(sets), spec.scores.axis, spec.tpr)
        if st.session_state.get("scores_frames", (None, None))[0] != key:
            st.session_state["scores_frames"] = (key, _frames(spec, sets, part))
        record: scrub.Scrub = st.session_state["scores_frames"][1]
        figure = scrub.figure(record, round(spec.p), plot.dark())
        best = max(record.frames, key=lambda frame: frame.auroc)
        alt = f"{record.label} is best at p = {best.p}: AUROC {theme.percent(best.auroc)}, {record.ood_label}."
        plot.show(
            figure,
            "scores_scrub",
            alt,
            table=lambda: scrub.table(record),
            filename=f"scrub-{spec.variant}",
            images=split.measured_words(spec, sets),
        )
        if spec.scores.axis == "raw":
            st.caption("Shown on the relative axis: raw scores of different percentiles do not fit on one axis.")


def _frames(spec: RunSpec, sets: Mapping[str, str], part: str) -> scrub.Scrub:
    with st.spinner("Counting the scores of 100 percentiles"):
        at = setups.setup(spec)
        done = protocol.part_of(evaluations.scrub(at, spec.variant, spec.score), at, part)
    id_set = setups.setup(spec).id_set
    ood = next(iter(sets.values())) if len(sets) == 1 else f"mean of {len(sets)} OOD sets"
    label = setups.images(setups.setup(spec), id_set).label
    scores_of = {name: done.ood_scores[name] for name in sets}
    labels = VARIANTS[spec.variant].label, label, ood
    return scrub.scrub(labels, done.id_scores, scores_of, done.id_accuracy(), spec.scores.axis, spec.tpr)
