"""Placements page: the same variant at every point of the network, percentile by percentile (Figures 3 and 5)."""

from collections.abc import Collection
from dataclasses import replace

import streamlit as st

from app.backend import layer_status, protocol
from app.charts import placements_curves
from app.charts import placements_words as words
from app.charts.placements import Cell, Placements, best_cell, ranking, table
from app.errors import plain
from app.link.picks import Pick
from app.link.spec import PENULTIMATE, RunSpec
from app.link.state import bind, dispatch
from app.theme import OBJECTIVE_LABELS, variant_label
from app.ui import appearance, code, controls, placement_values, placements, plot, prepare, split
from app.views.placements import cuts, grid
from ash.methods import VARIANTS

_TOGETHER = (
    "What was measured before is of validation and test images together. So all placements are here, and the best is "
    "chosen on the images that it is measured on, where a choice looks better than it is."
)
_STYLE = """<style>
@media (max-width: 640px) {
    .st-key-placements_grid .xtick text, .st-key-placements_grid .bars text {font-size: 11px !important}
}
</style>"""  # ten cells fit side by side on a phone


def _with_percentile() -> list[str]:
    """The variants that the page can draw, plug-ins too."""
    return [name for name, one in VARIANTS.items() if one.parameter == "percentile"]


def render(spec: RunSpec) -> None:
    """Draw the page for this spec, then go on with what is being computed."""
    st.title("Placements")
    st.html(_STYLE)
    names, unknown = layer_status.compared(spec)
    variant = spec.variant if spec.variant in _with_percentile() else placement_values.STAND_IN
    standings = placement_values.standings(spec, names, variant)
    shown = placement_values.record(spec, standings, variant)
    chosen = best_cell(shown)
    if chosen is not None and not all(protocol.whole(one.part) for one in standings):
        chosen = best_cell(placement_values.shown(replace(spec, split=protocol.VALIDATION), variant))
    st.markdown(f"**{plain(words.headline(shown))}**")
    if unknown:
        st.warning(
            plain(f"{spec.model} has no placement {', '.join(unknown)}; it is left out."), icon=":material/link_off:"
        )
    _stand_in(shown)
    _controls(spec)
    _advice(shown, chosen, {one.name for one in standings if not protocol.whole(one.part)})
    split.unsplit(spec)
    if spec.split != protocol.ALL and any(one.shipped for one in standings):
        st.caption(_TOGETHER)
    left, right = appearance.panels("placements", (1, 1))
    with left:
        _curves(spec, shown)
    with right:
        _grid(shown)
        slots = placements.draw(spec, standings)
        notice = st.empty()
    cuts.draw(spec)
    _explain()
    if shown.known:
        code.show("placements_code", lambda: placement_values.program(spec, standings, shown))
    placements.price(slots, notice)
    placements.go_on(spec, slots, standings, notice)


def _stand_in(shown: Placements) -> None:
    """Where the spec's variant has no percentile: which one stands in, and a choice of the others."""
    if reason := words.method_here(shown):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(plain(reason), width="content")
            st.segmented_control(
                "Variant",
                _with_percentile(),
                format_func=variant_label,
                label_visibility="collapsed",
                **bind("variant", to_widget=lambda name: name if name in _with_percentile() else None, suffix="_here"),
            )


def _controls(spec: RunSpec) -> None:
    cells = {name: f"Grid: {label}" for name, label in OBJECTIVE_LABELS.items()}
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        controls.choice("Objective of the grid", cells, 180, "cells")
        controls.ood_set(replace(spec, placement=PENULTIMATE))
        controls.budget(spec)
        with st.popover("Images", icon=":material/photo_library:", key="placements_images"):
            st.markdown("A number of images here holds for every placement, so that all see the same ones.")
            prepare.amount(spec)
        controls.show_all()
        split.control()


def _advice(shown: Placements, chosen: Cell | None, split_places: Collection[str]) -> None:
    """The best cell as it was chosen, with its numbers on the images that are shown, and a button that loads it."""
    found = next((cell for cell in shown.every() if chosen is not None and cell.id == chosen.id), None)
    with st.container(horizontal=True, vertical_alignment="center"):
        if text := words.advice(shown, found, found is not None and found.place.name in split_places):
            st.markdown(text, width="content")
        if found is not None and found.id != shown.selected:
            st.button("Load it", key="load_best_cell", on_click=dispatch, args=(Pick.cell(found.id),))


def _curves(spec: RunSpec, shown: Placements) -> None:
    if not shown.known:
        st.info("The curves appear here as soon as a placement is computed.", icon=":material/show_chart:")
        return
    plot.show(
        placements_curves.figure(shown, plot.dark()),
        "placements_curves",
        words.headline(shown),
        on_pick=Pick.cell,
        selected=shown.selected,
        table=lambda: table(shown),
        filename="ash-placements",
        columns=plot.metric_columns(),
    )
    controls.percentile_here(spec)
    for text in filter(None, (words.images(shown), words.measured(shown), words.left_out(shown))):
        st.caption(plain(text))


def _grid(shown: Placements) -> None:
    plot.show(
        grid.figure(shown, plot.dark()),
        "placements_grid",
        grid.finding(shown),
        on_pick=Pick.cell,
        selected=shown.selected,
        table=(lambda: ranking(shown)) if shown.known else None,
        filename="ash-placements-grid",
        columns=plot.metric_columns(),
    )
    st.caption(plain(grid.legend(shown)))


def _explain() -> None:
    st.markdown(
        "**How to read it.** Each line, and each row of the grid, is one placement; the grid runs from the input to "
        "the output. The dotted line is the network without shaping on the same images, `none` in the grid. In the "
        "paper's Figure 5, accuracy falls sooner the earlier the placement. Click a mark, a cell, or a table row to "
        "load that method at that placement on every page."
    )
