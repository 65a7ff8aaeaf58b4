"""The paper's figures, drawn for the sidebar's network by the charts of the explorer, with what the paper prints."""

from dataclasses import replace

import streamlit as st

from app.backend import distributions, evaluations, paper, registry, requirements, setups
from app.charts import front, pareto, placements_curves, published, relu
from app.charts import placements_words as placed
from app.charts.front import Range, Setting, settings
from app.charts.tradeoff_words import headline, place_words
from app.errors import plain
from app.link import state
from app.link.picks import Pick
from app.link.spec import PENULTIMATE, RunSpec
from app.ui import activation_sets, appearance, grid_progress, placement_values, plot, prepare, shipped
from app.views.paper import accuracy
from ash.errors import AshError
from ash.methods import Method

STAND_IN = 65.0  # percentile of Figure 4 where the method of the sidebar has none


def draw(spec: RunSpec, number: int) -> None:
    """One figure; in its place what is missing for it."""
    if number in (2, 3):
        _from_settings(spec, number)
    elif requirements.unready(replace(spec, placement=PENULTIMATE) if number == 5 else spec):
        prepare.what_is_missing(spec, "this figure cannot be drawn")
    elif number == 5:
        _where(spec)
    elif prepare.ready(spec):
        {4: _relu, 6: activation_sets.draw}[number](spec)


# Figures 2 and 3: the settings of a sweep


def _from_settings(spec: RunSpec, number: int) -> None:
    if not requirements.unready(spec) and evaluations.grid_takes_long(setups.setup(spec), "energy"):
        grid_progress.measure(setups.setup(spec), "energy")
        return
    table, source = paper.figure_table(spec)
    if table is None and not requirements.unready(spec) and not prepare.ready(spec):
        return
    if source:
        st.caption(plain(source))
    if table is None:
        prepare.what_is_missing(spec, "this figure cannot be drawn")
        if number == 3:
            _accuracy(spec, ())
        return
    sets = tuple(name for name in table["ood"].unique() if name != "mean")
    found = settings(table, "mean", sets)
    if number == 2:
        _tradeoff(spec, found, sets)
    else:
        _accuracy(spec, found)


def _tradeoff(spec: RunSpec, found: tuple[Setting, ...], sets: tuple[str, ...]) -> None:
    """Figure 2: every setting and method, the Pareto front, and what the paper prints: of another network beside it."""
    by_method = {one.method: one for one in found}
    energy = Method()
    current = spec.method if spec.method in by_method else energy
    shown = pareto.record(found, current=current, baseline=energy, paper=(), x="id_accuracy", y="auroc")
    printed, same = published.settings(both=True), _same(spec)
    if same:
        across, up = (_wider(shown.ranges[i], [point.spot[i] for point in printed]) for i in (0, 1))
        shown = replace(shown, published=printed, ranges=(across, up))
    where = place_words(setups.set_label(setups.setup(spec).id_set), {name: name for name in sets}, "mean")
    sentence = headline(by_method[current], by_method[energy], where)
    st.markdown(f"**{plain(sentence)}**")
    here, there = (st.container(), None) if same else appearance.panels("figure2", (3, 2))
    with here:
        if there:
            st.markdown(f"##### Measured: {plain(registry.entry(spec.model).label)}")
        shipped.draw_front(shown, "paper_figure2", sentence, "ash-figure2")
    if there:
        with there:
            st.markdown("##### Published: ResNet-50 on ImageNet")
            plot.show(
                published.figure(printed, plot.dark(), pareto.HEIGHT),
                "paper_figure2_published",
                f"Published: {len(printed)} settings of ResNet-50 on ImageNet.",
                filename="ash-figure2-published",
            )
    st.caption(f"{_measured_words(spec, same)} Of Figure 2 only {len(printed)} settings are printed as numbers.")
    if why := paper.without_adascale(spec):
        st.caption(plain(f"AdaSCALE is not drawn: {why}."))


def _measured_words(spec: RunSpec, same: bool) -> str:
    """What of Figure 2 is measured here, what is published, and what keeps the two apart."""
    marks = "Lines, filled marks and black hexagons are measured here; grey marks with a dot inside are published, of"
    if not same:
        return plain(
            f"{marks} ResNet-50 on ImageNet: on axes of their own, because {registry.entry(spec.model).label} is "
            "another network and these are other images."
        )
    differs = paper.differs_in(spec)
    return f"{marks} ResNet-50 on ImageNet" + (f"; what is measured here differs in {differs}." if differs else ".")


def _same(spec: RunSpec) -> bool:
    """Whether the sidebar's network is the one that the paper prints accuracies for."""
    return registry.entry(spec.model).paper_name == published.NETWORK


def _wider(span: Range, values: list[float]) -> Range:
    """A range that holds these values too, with room for their marks."""
    room = 0.04 * (max(span[1], *values) - min(span[0], *values))
    return min(span[0], min(values) - room), max(span[1], max(values) + room)


def _accuracy(spec: RunSpec, found: tuple[Setting, ...]) -> None:
    """Figure 3."""
    energy = [one for one in found if one.method.score == Method().score]
    base = next((one for one in found if one.method == Method()), None)
    shown = accuracy.record(energy, base, registry.entry(spec.model).label)
    st.markdown(f"**{plain(accuracy.finding(shown))}**")
    plot.show(
        accuracy.figure(shown, plot.dark()),
        "paper_figure3",
        accuracy.finding(shown),
        on_pick=Pick.method,
        selected=str(spec.method),
        table=(lambda: front.table(found)) if found else None,
        filename="ash-figure3",
        columns=shipped.measured_columns(),
    )
    another = (
        "" if _same(spec) else f" {registry.entry(spec.model).label} is another network; the marks are not its goal."
    )
    st.caption(
        plain(
            "Grey marks with a dot inside are published, of ResNet-50 on ImageNet: the accuracies that the text and "
            f"Table 4 print. The paper's own lines are not printed as numbers.{another}"
        )
    )


# Figures 4 and 5


def _relu(spec: RunSpec) -> None:
    """Figure 4: with the thresholds of this network's images."""
    at, sets = setups.setup(spec), setups.chosen_sets(spec)
    if not sets:
        raise AshError("No OOD set is chosen; choose one in the sidebar.")
    p = spec.method.percentile
    p = STAND_IN if p is None else p
    groups = []
    for role, names in (("id", (at.id_set,)), ("ood", tuple(sets))):
        one = distributions.cutoffs(at, p, names)
        groups.append(relu.Images(role, ", ".join(names), one.t, one.level, one.factor, one.high))
    pair = groups[0], groups[1]
    st.markdown(f"**{plain(relu.finding(pair, p))}**")
    plot.show(relu.figure(pair, plot.dark()), "paper_figure4", relu.finding(pair, p), filename="ash-figure4")
    st.caption(
        "ASH-P is the paper's Figure 4: a ReLU whose cut-off is found for every input. The lines belong to the median "
        "ID image and the median OOD image; the bands hold the cut-offs of 80 % of the images. Move p in the sidebar."
    )


def _where(spec: RunSpec) -> None:
    """Figure 5: as far as placements are computed, on all images as in the paper."""
    shown = placement_values.shown(replace(spec, split="all"), placement_values.FIGURE)
    st.markdown(f"**{plain(placed.headline(shown))}**")
    if shown.known:
        plot.show(
            placements_curves.figure(shown, plot.dark()),
            "paper_figure5",
            placed.headline(shown),
            on_pick=Pick.cell,
            selected=shown.selected,
            filename="ash-figure5",
        )
        for text in filter(None, (placed.images(shown), placed.measured(shown), placed.left_out(shown))):
            st.caption(plain(text))
    missing = [one.label for one in shown.places if not one.known]
    if missing:
        st.caption(plain(f"Not computed yet: {', '.join(missing)}."))
    st.caption("The paper prints no numbers for its Figure 5; in it, accuracy falls sooner at earlier placements.")
    state.page_link("placements", "Compute and compare more: Placements", spec.having(variant=placement_values.FIGURE))
