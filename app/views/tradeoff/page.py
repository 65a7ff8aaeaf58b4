"""Trade-off page, the home page: what every setting costs in accuracy and gains in detection."""

import math
from collections.abc import Iterator
from dataclasses import replace

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.backend import engine, evaluations, protocol, setups
from app.charts import film, pareto
from app.charts.front import Setting, as_good, settings_over
from app.charts.plain import Figure
from app.charts.tradeoff_words import (
    advice,
    best_of_ash,
    headline,
    method_words,
    noise_words,
    opening,
    without_data,
)
from app.errors import plain
from app.link.picks import Pick
from app.link.spec import RunSpec
from app.link.state import bind, dispatch, page_link
from app.theme import ALGORITHMS, LOWER_IS_BETTER, OBJECTIVE_LABELS, variant_label
from app.ui import code, controls, deep_progress, detector, live, plot, prepare, shipped, split, strip
from app.views.tradeoff import first_look, ranking
from app.views.tradeoff.choosing import Choice, budget_of, choice_of
from app.views.tradeoff.measured import View, checkpoints_of, deep_rows, others_of, view_of
from ash.methods import VARIANTS
from ash.tables import METRICS

_DELTAS = {"AUROC": "auroc", "FPR95": "fpr95", "accuracy": "id_accuracy"}
_DEVIATION = "Sample standard deviation (n - 1) over the checkpoints: trainings of one network with other seeds."
_INTERVAL = "95 % bootstrap interval over the ID and OOD images, 200 resamples."
_STYLE = """<style>
.st-key-opening {flex-flow: row wrap; align-items: end; gap: 0.5rem 1.5rem}
.st-key-opening > div {flex: 1 1 28rem; width: auto}
.st-key-opening > div + div {flex: 0 1 26rem}
.st-key-story {gap: 0.5rem}
.st-key-story h1 {padding: 0.75rem 0 0.25rem}
.st-key-cards [data-testid="stVerticalBlock"] {padding-block: 0.5rem}
.st-key-doubts [data-testid="stAlertContainer"] {padding: 0.375rem 0.75rem}
.st-key-doubts p {font-size: 0.8125rem; line-height: 1.35}
.st-key-cards {display: grid; grid-template-columns: repeat(auto-fit, minmax(120px, 1fr)); align-items: stretch;
  gap: 0.75rem}
.st-key-cards > div {width: auto}
.st-key-choice {gap: 0.25rem}
@media (min-width: 641px) {
  .st-key-advice, .st-key-split {flex-wrap: nowrap}
  .st-key-advice > :first-child, .st-key-split > :last-child {flex: 0 1 auto; width: auto; min-width: 0}
  .st-key-advice p {text-wrap: pretty}
}
@media (min-width: 641px) and (max-width: 1150px) {.st-key-cards {grid-template-columns: 1fr 1fr}}
</style>"""  # equal cards in one row or two


def render(spec: RunSpec) -> None:
    """Draw the page for this spec."""
    st.html(_STYLE)
    top = st.container(key="opening")
    story = top.container(key="story")
    with story.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        st.title("Trade-off", width="content")
        page_link("start", "New here? Start")
    linear = engine.is_linear(setups.setup(spec))
    every = checkpoints_of(spec, linear)
    if not prepare.ready(spec, every):
        shipped.draw(spec)
        return
    if not linear and not deep_progress.progress(spec):
        return
    if linear and (long := [at for at in every if evaluations.grid_takes_long(at, spec.score)]):
        first_look.draw(spec, long[0])
        return
    part = protocol.usable(setups.setup(spec), spec.split)
    view = view_of(spec, linear, part)
    with story:
        _line(spec)
        st.markdown(f"**{plain(headline(view.current, view.baseline, view.where))}**")
    doubts = st.empty()
    shown = _record(spec, view)
    drawable = not math.isnan(view.current[spec.tradeoff.x] + view.current[spec.tradeoff.y])
    if drawable:
        _chart(spec, shown, view)
    else:
        st.info("No label of the ID set is known, so ID accuracy is not defined: under Axes, two others can be drawn.")
    with top:  # after the chart, which a step waits for
        strip.draw(spec)
    with doubts:
        controls.doubts(spec)
    controls.percentile_here(spec)
    choice = choice_of(spec, linear, part)
    _controls(spec)
    noise = _advice(spec, view, choice)
    interval = _cards(view)
    if drawable:
        _explain(shown, len(every))
    with interval:  # after the chart, which does not wait for it
        if view.current.deviations:
            st.caption(f"± over {len(every)} checkpoints", help=_DEVIATION)
        else:
            st.caption(_span(spec, view, part), help=_INTERVAL)
    noise.caption(_noise(spec, view, choice, part))
    st.subheader("The Pareto front")
    plot.rows(
        _table(view, shown.front), "front_rows", on_pick=Pick.method, selected=view.current.id, columns=_columns()
    )
    ranking.draw(spec)
    code.show("tradeoff_code", lambda: program(spec, linear, choice.goal))
    detector.export(spec)
    if not linear:
        deep_progress.step(spec)


def _record(spec: RunSpec, view: View) -> pareto.Pareto:
    return pareto.record(
        view.settings,
        current=view.current.method,
        baseline=view.baseline.method,
        paper=view.paper,
        x=spec.tradeoff.x,
        y=spec.tradeoff.y,
        budget=budget_of(spec),
        show_all=spec.show_all,
    )


# Drawing


def _line(spec: RunSpec) -> None:
    """What is going on here, in one line for newcomers."""
    at = setups.setup(spec)
    one = evaluations.evaluation(at, str(spec.method))
    unknown = sum(len(one.ood_scores[name]) for name in setups.sets_on(spec))
    st.markdown(plain(opening(at.id_set, len(one.id_scores), unknown, pictures=not setups.is_features(at.model))))


def _cards(view: View) -> DeltaGenerator:
    """The four metrics; returns the place for the interval of the first."""
    notes = {
        "fpr95": "lower is better",
        "id_accuracy": "no label is known" if math.isnan(view.current.id_accuracy) else "of the shaped network",
        "aupr": "ID is the positive class",
    }
    with st.container(key="cards"):
        for name in ("auroc", *notes):
            with st.container(border=True, height="stretch", gap="xxsmall", key=f"card_{name}"):
                st.metric(
                    OBJECTIVE_LABELS[name],
                    "not defined" if math.isnan(view.current[name]) else view.current.shown(name),
                    _delta(view, name),
                    delta_color="inverse" if name in LOWER_IS_BETTER else "normal",
                    delta_description=_against(view, name),
                )
                if name in notes:
                    st.caption(notes[name])
                else:
                    interval = st.container()
    return interval


def _span(spec: RunSpec, view: View, part: str) -> str:
    """The interval of the AUROC, or why there is none."""
    about = (setups.setup(spec), view.current.id, setups.sets_on(spec), part)
    spans = evaluations.intervals(*about)
    if spans is None:
        return f"no interval: {evaluations.no_interval(*about)}"
    return "95 %: {:.1f} to {:.1f}".format(*spans["auroc"])


def _delta(view: View, name: str) -> str | None:
    """The difference with an ASCII minus, which is how a metric card knows its direction; None for no difference."""
    difference = view.current[name] - view.baseline[name]
    return f"{difference:+.1f}" if float(f"{difference:.1f}") and not math.isnan(difference) else None


def _against(view: View, name: str) -> str:
    if view.current.method == view.baseline.method:
        return "the reference"
    return f"vs {view.baseline.label}" if _delta(view, name) else f"as {view.baseline.label}"


def _controls(spec: RunSpec) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="controls", gap="small"):
        controls.ood_set(spec)
        controls.budget(spec)
        with st.popover("Axes", icon=":material/swap_vert:"):
            for label, field in (("Across", "x"), ("Upward", "y")):
                st.selectbox(
                    label, list(OBJECTIVE_LABELS), format_func=lambda name: OBJECTIVE_LABELS[name], **bind(field)
                )
        controls.show_all()
        st.toggle(
            "Other methods",
            help="ODIN, AdaSCALE, Mahalanobis, ReAct, DICE and combinations at this network's settings, as far as they "
            "are measured: the page Paper says what is missing for the rest.",
            **bind("others"),
        )


def _advice(spec: RunSpec, view: View, choice: Choice) -> DeltaGenerator:
    """The best setting within the budget, on which images it was chosen, and how far a choice without them lies.

    Returns the place for what is as good.
    """
    by_method = {one.id: one for one in view.settings}
    found = by_method.get(choice.method or "")
    budget, validated = budget_of(spec), choice.part == protocol.VALIDATION
    place = st.container(key="choice")
    with place.container(horizontal=True, vertical_alignment="center", key="advice"):
        st.markdown(advice(found, view.baseline, view.current, choice.goal, budget, validated), width="content")
        if found is not None and found.method != view.current.method:
            st.button("Load it", key="load_best", on_click=dispatch, args=(Pick.method(found.id),))
    as_good = place.empty()
    more = ""
    if found is not None and validated:
        said = [
            without_data(label, by_method[method], found, view.baseline, choice.goal, budget)
            for label, method in choice.without_data.items()
        ]
        more = " ".join(said) or "Choosing without OOD data: no set of noise is measured here."
    with place.container(horizontal=True, vertical_alignment="center", gap="small", key="split"):
        split.control()
        split.line(spec, setups.sets_on(spec), more)
    return as_good


def _noise(spec: RunSpec, view: View, choice: Choice, part: str) -> str:
    """Which settings around the best one are as good as far as these images can tell, and which is the best of ASH."""
    by_method = {one.id: one for one in view.settings}
    found, of_ash = by_method.get(choice.method or ""), by_method.get(choice.of_ash or "")
    if found is None:
        return ""
    about = (setups.setup(spec), found.id, setups.sets_on(spec), part)
    spans = None if found.deviations else evaluations.intervals(*about)  # which is of one checkpoint's images
    said = (
        [
            noise_words(
                found, as_good(found, view.settings, choice.goal, spans[choice.goal]), choice.goal, spans[choice.goal]
            )
        ]
        if spans and choice.goal in spans and found != view.baseline
        else []
    )
    if of_ash is not None and found.variant not in ALGORITHMS:
        validated, budget = choice.part == protocol.VALIDATION, budget_of(spec)
        said.append(best_of_ash(of_ash, view.baseline, choice.goal, validated, budget))
    return " ".join(said)


def _chart(spec: RunSpec, shown: pareto.Pareto, view: View) -> None:
    plot.show(
        pareto.figure(shown, plot.dark()),
        "pareto",
        headline(view.current, view.baseline, view.where),
        on_pick=Pick.method,
        selected=view.current.id,
        table=lambda: _table(view, shown.front, whole=True),
        filename="ash-trade-off",
        columns=_columns(),
        images=split.words(spec, setups.sets_on(spec)),
        live=live.steps("pareto", spec, _charts_of_steps),
    )


def _charts_of_steps(spec: RunSpec, dark: bool) -> Iterator[Figure]:
    at, sets = setups.setup(spec), setups.sets_on(spec)
    part = protocol.usable(at, spec.split)
    tables = {
        one.checkpoint: protocol.part_of(evaluations.scrub(one, spec.variant, spec.score), one, part).table()
        for one in setups.each_checkpoint(spec)
    }
    measured = {one.id: one for one in (*view_of(spec, True, part).settings, *settings_over(tables, sets))}
    for p in film.PERCENTILES:
        moved = replace(spec, p=float(p))
        yield pareto.figure(_record(moved, view_of(moved, True, part, measured)), dark)


def _table(view: View, front: tuple[Setting, ...], whole: bool = False) -> pd.DataFrame:
    """The front, and below it every other setting where `whole`; the index is the method."""
    members = set(front)
    order = sorted(front, key=lambda one: -one.auroc)
    if whole:
        order += [one for one in view.settings if one not in members]
    base, several = view.baseline, bool(view.baseline.deviations)
    rows = [
        {
            "Method": variant_label(one.variant) if one.parameter is not None else one.label,
            "p or c": one.short,
            **{OBJECTIVE_LABELS[name]: one[name] for name in METRICS},
            **{f"Δ {short}": round(one[name] - base[name], 2) + 0.0 for short, name in _DELTAS.items()},  # no -0.00
            **({f"± {OBJECTIVE_LABELS[name]}": one.deviation(name) for name in METRICS} if several else {}),
            **({"Front": one in members} if whole else {}),
        }
        for one in order
    ]
    return pd.DataFrame(rows, index=pd.Index([one.id for one in order], name="method"))


def _columns() -> dict[str, object]:
    plus = {f"Δ {name}": st.column_config.NumberColumn(format="%+.2f") for name in _DELTAS}
    return {
        "Method": st.column_config.TextColumn(pinned=True),
        **plot.metric_columns(),
        **plus,
        **{f"± {label}": st.column_config.NumberColumn(format="%.2f") for label in OBJECTIVE_LABELS.values()},
        "Front": st.column_config.CheckboxColumn(help="No other setting beats it on both axes."),
    }


def _explain(shown: pareto.Pareto, checkpoints: int) -> None:
    """How to read the chart, and what it leaves out."""
    if checkpoints > 1:
        st.caption(
            f"Marks are means over {checkpoints} checkpoints. Bars: the sample standard deviation over them (n - 1), "
            "of the front, the unshaped score and the loaded setting. What is best is chosen by the mean, one setting "
            "for all. Warnings, the images above and the program below are of the first checkpoint."
        )
    hidden = [one for one in dict.fromkeys((shown.current, *shown.paper, *shown.others)) if shown.beyond(one)]
    if hidden:
        names = "; ".join(f"{method_words(one)} ({one[shown.x]:.1f}, {one[shown.y]:.1f})" for one in hidden)
        edge = " The arrow at the edge points to the loaded one." if shown.current in hidden else ""
        them = "it" if len(hidden) == 1 else "them"
        st.caption(f"Outside the picture: {names}.{edge} Turn on Show all to see {them}.")
    st.markdown(
        "**How to read it.** Each mark is one setting of a variant; better is up and to the right. The grey steps are "
        "the Pareto front: no setting is better on both axes, and each setting off the steps is beaten by one on them. "
        "The dotted lines cross at the unshaped score. Click a mark, or a row of the table, to load it on every page."
    )
    if shown.paper:
        names = ", ".join(f"{VARIANTS[one.variant].label} at {one.short}" for one in shown.paper)
        st.caption(
            f"Large hollow marks round a setting are the paper's ({names}), measured on this network and these images. "
            "The paper's own numbers are not drawn in this picture."
        )


def program(spec: RunSpec, linear: bool, goal: str) -> str:
    """Python for this view: among the settings that the page chooses from, those of the literature where shown."""
    at = setups.setup(spec)
    rows = evaluations.table(at, spec.score) if linear else deep_rows(at, spec.score, protocol.ALL)
    return code.program(spec, tuple(dict.fromkeys((*rows["method"], *others_of(spec)))), goal)
