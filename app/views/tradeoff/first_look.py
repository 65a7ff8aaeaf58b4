"""Trade-off, where its grid takes long: a first picture of a part of it, and the rest as it is measured."""

import math

import streamlit as st

from app.backend import engine, evaluations, grids, setups
from app.charts import pareto
from app.charts.front import settings
from app.charts.tradeoff_words import headline, place_words
from app.errors import plain
from app.link.spec import RunSpec
from app.theme import count
from app.ui import grid_progress, shipped
from ash.methods import Method


def draw(spec: RunSpec, at: setups.Setup) -> None:
    """The first picture and how far the whole is, which is measured in this run; drawn anew once all is there.

    `at`: the spec's setup, or that of one of several checkpoints.
    """
    sets = setups.sets_on(spec)
    current, baseline = spec.method, evaluations.unshaped(spec).method
    with st.spinner("A first look"):
        rows = grids.first_look(at, spec.score, tuple(dict.fromkeys(map(str, (baseline, current)))))
    every = settings(rows, "mean", sets)
    by_method = {one.method: one for one in every}
    current = current if current in by_method else Method(score=spec.score)
    baseline = baseline if baseline in by_method else Method(score=spec.score)
    labels = setups.chosen_sets(spec)
    where = place_words(setups.set_label(at.id_set), {name: labels[name] for name in sets}, spec.on)
    where += f", checkpoint {at.checkpoint}" if at.checkpoint else ""
    sentence = f"A first look: {headline(by_method[current], by_method[baseline], where)}"
    st.markdown(f"**{plain(sentence)}**")
    x, y = spec.tradeoff.x, spec.tradeoff.y
    if not math.isnan(by_method[current][x] + by_method[current][y]):
        record = pareto.record(every, current=current, baseline=baseline, paper=(), x=x, y=y, show_all=spec.show_all)
        shipped.draw_front(record, "first_look", sentence, "ash-first-look")
    images, kind = sum(len(setups.images(at, name)) for name in at.sets), "images"
    if setups.is_features(at.model):
        kind = "rows"
    settings_of = len(evaluations.grid_methods(at, spec.score))
    st.caption(
        f"This is every second percentile, and every threshold, on {grids.FIRST_IMAGES} {kind} of each set, evenly "
        f"spaced. All {settings_of} settings on all {count(images)} {kind} are measured once, on "
        f"{plain(engine.device())}, and kept; meanwhile the other pages measure their one setting on all {kind}."
    )
    grid_progress.measure(at, spec.score)
