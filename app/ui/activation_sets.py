"""The part of the Activations page over whole sets: distributions of the values, and one number of every image."""

from collections.abc import Iterator

import streamlit as st

from app.backend import banks, distributions, setups
from app.charts import distribution
from app.charts.plain import Figure
from app.errors import plain
from app.link.spec import RunSpec
from app.link.state import bind
from app.ui import live, plot, prepare, share
from ash.errors import AshError
from ash.methods import Method


def draw(spec: RunSpec) -> None:
    """The right column: values before and after, and one number of every image."""
    st.markdown("##### All images")
    if not prepare.ready(spec):
        return
    sets = {"all": "All OOD sets", **setups.chosen_sets(spec)}
    with st.container(horizontal=True, vertical_alignment="top"):
        st.selectbox(
            "Compared with",
            list(sets),
            format_func=lambda name: sets.get(name, name),
            width=200,
            **bind("set", suffix="_activations"),
        )
        scale = st.segmented_control(
            "Value axis",
            ["log", "linear"],
            default="log",
            format_func=str.capitalize,
            required=True,
            key="value_axis",
            persist_state="session",
        )
    chosen = tuple(name for name in setups.chosen_sets(spec) if spec.set in ("all", name))
    if not chosen:
        raise AshError("No OOD set is chosen; choose one in the sidebar.")
    found = distributions.spread(
        setups.setup(spec), str(Method(spec.variant, spec.method.parameter)), chosen, scale != "linear"
    )
    label = sets[spec.set] if spec.set in sets else sets["all"]
    labels = setups.whole_set(setups.setup(spec).id_set).label, label
    record = distribution.distribution(found.within, labels, found.before, found.after)
    plot.show(
        distribution.values_figure(record, bool(spec.method.steps), plot.dark()),
        "activations_values",
        distribution.values_finding(record, spec.method),
        table=lambda: distribution.values_table(record),
        filename=share.file_name("values", spec.method),
        live=live.steps("activations_values", spec, _values_of_steps, labels, chosen, scale != "linear"),
    )
    st.caption(
        "How to read it: line before, filled after, over every value of every image. Exact zeros are left out and "
        "stated above each panel; the outer bars also hold what lies beyond them."
    )
    _partly(spec, found)
    _quantities(spec, found, chosen)


def _values_of_steps(
    spec: RunSpec, dark: bool, labels: tuple[str, str], chosen: tuple[str, ...], log: bool
) -> Iterator[Figure]:
    for found in distributions.spreads(setups.setup(spec), spec.variant, chosen, log):
        record = distribution.distribution(found.within, labels, found.before, found.after)
        yield distribution.values_figure(record, True, dark)


def _quantities_of_steps(spec: RunSpec, dark: bool, chosen: tuple[str, ...]) -> Iterator[Figure]:
    name = distribution.explained(Method(spec.variant, 0.0))
    for pair in distributions.explaining(setups.setup(spec), spec.variant, chosen):
        yield distribution.quantity_figure(distribution.quantity(name, *pair), dark)


def _partly(spec: RunSpec, found: distributions.Spread) -> None:
    """Says so where banks are too large to be shown whole."""
    at = setups.setup(spec)
    whole, shown = len(banks.bank(at, at.id_set)), len(found.s1[0])
    if shown < whole:
        st.caption(f"Of these large activations, {shown:,} of {whole:,} ID images are shown, evenly spaced.")


def _quantities(spec: RunSpec, found: distributions.Spread, chosen: tuple[str, ...]) -> None:
    ratios = dict.fromkeys(("scale", "multiply", "logits"), found.exponent)
    values = {**ratios, "prune": found.s2, "random": found.s2}.get(spec.method.does)
    choices, name = {"s1": "Sum s1"}, distribution.explained(spec.method)
    if values is not None:
        choices = {"explained": name[0].upper() + name[1:] if found.exponent is not None else "Kept sum s2", **choices}
    shown = "s1"
    if len(choices) > 1:
        shown = st.segmented_control(
            "One number an image",
            list(choices),
            default="explained",
            format_func=choices.__getitem__,
            required=True,
            key="quantity",
            persist_state="session",
        )
    explained = shown == "explained" and values is not None
    pair = values if explained and values is not None else found.s1
    name = distribution.explained(spec.method) if explained else distribution.SUM
    record = distribution.quantity(name, *pair)
    plot.show(
        distribution.quantity_figure(record, plot.dark()),
        "activations_quantity",
        distribution.quantity_finding(record),
        table=lambda: distribution.quantity_table(record),
        filename=share.file_name("sums", spec.method),
        live=live.steps("activations_quantity", spec, _quantities_of_steps, chosen) if explained else None,
    )
    st.caption(plain(distribution.quantity_finding(record)))
