"""Results that ship without their activations: the trade-off of a network that cannot be measured here (yet)."""

from typing import TYPE_CHECKING

import streamlit as st

from app.backend import layer_status, registry, setups, shipping
from app.charts import pareto
from app.charts.front import settings, table
from app.charts.tradeoff_words import headline, place_words
from app.errors import plain
from app.link.fields import OFF
from app.link.picks import Pick
from app.link.spec import RunSpec
from app.theme import count
from app.ui import plot
from ash.methods import Method

if TYPE_CHECKING:
    from ash.results import Results


def draw(spec: RunSpec) -> None:
    """The trade-off from the results that ship of the spec's network; nothing where there are none.

    Those of the spec's placement where they fit, else those of the penultimate layer.
    """
    fitting, unlike = shipping.elsewhere(setups.setup(spec), layer_status.compared_sets(spec))
    there = shipping.shipped(spec.model) if fitting is None or unlike else fitting
    if there is None or Method(score=spec.score) not in map(Method.parse, there.table["method"]):
        return
    st.subheader("Measured before, activations not shipped")
    st.caption(plain(shipping.shipped_words(there)))
    st.caption(f"Made by `{there.origin['command']}`, {plain(there.origin['versions'])}.")
    on = spec.on if spec.on in there.ood else "mean"
    kept = settings(shipping.drawn(there, spec.score), on, there.ood)
    by_method = {one.method: one for one in kept}
    baseline = Method(score=spec.score)
    current = spec.method if spec.method in by_method else baseline
    shown = pareto.record(
        kept,
        current=current,
        baseline=baseline,
        paper=(),
        x=spec.tradeoff.x,
        y=spec.tradeoff.y,
        budget=None if spec.budget == OFF else spec.budget,
        show_all=spec.show_all,
    )
    where = place_words(there.id_set, {name: name for name in there.ood}, on)
    sentence = headline(by_method[current], by_method[baseline], where)
    st.markdown(f"**{plain(sentence)}**")
    draw_front(shown, "shipped_pareto", sentence, f"ash-{there.model}")


def draw_front(shown: pareto.Pareto, key: str, sentence: str, filename: str) -> None:
    """The trade-off of a table's settings, with that table: a click on a mark or a row loads its method."""
    plot.show(
        pareto.figure(shown, plot.dark()),
        key,
        sentence,
        on_pick=Pick.method,
        selected=shown.current.id,
        table=lambda: table(shown.settings),
        filename=filename,
        columns=measured_columns(),
    )


def measured_columns() -> dict[str, object]:
    """How the columns of `front.table` are shown: filled dots mark what is measured, as everywhere beside the paper."""
    return plot.metric_columns("● %.2f")


def section() -> None:
    """The results that ship, closed at first; opened, they are compared with the activations that are here."""
    label = "Results that ship, without their activations"
    with st.expander(label, icon=":material/inventory_2:", key="paper_shipped", on_change="rerun") as more:
        if more.open:
            for there in shipping.all_shipped():
                _one(there)


def _one(there: "Results") -> None:
    """What a file holds, where it comes from, and whether the activations here give the same numbers."""
    origin, methods = there.origin, there.table["method"].nunique()
    usual = shipping.at_penultimate(there) and "variant" not in origin
    variant = f", {origin['variant']}" if "variant" in origin else ""
    if not shipping.at_penultimate(there):
        variant = f", {registry.placement_label(there.model, there.placement)}{variant}"
    st.markdown(f"**{plain(registry.entry(there.model).label + variant)}**: {count(methods)} methods.")
    st.caption(plain(shipping.shipped_words(there)))
    if "weights_note" in origin:
        st.caption(plain(f"Weights: {origin['weights_note']}."))
    if "left_out" in origin:
        st.caption(plain(f"Left out: {origin['left_out']}."))
    st.caption(f"Made by `{origin['command']}`, {plain(origin['versions'])}.")
    if usual:
        _agreement(there)


def _agreement(there: "Results") -> None:
    """Whether a file agrees with what its activations here give; that they are not here, where they are not."""
    with st.spinner("Measuring again"):
        found = shipping.agreement(there.model)
    if found is None:
        st.caption("Its activations are not on this machine, so it cannot be measured again.")
    elif found.good:
        st.success(
            f"Measured again from the activations here: {count(found.numbers)} numbers agree, the largest difference "
            f"is {found.worst:.4f} points.",
            icon=":material/check:",
        )
    else:
        st.warning(
            plain(
                f"Measured again from the activations here, {found.where} differs by {found.worst:.2f} points, more "
                f"than {shipping.TOLERANCE:g}."
            ),
            icon=":material/warning:",
        )
