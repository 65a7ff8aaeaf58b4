"""Trade-off page, the home page: what every setting costs in accuracy and gains in detection."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.backend import deep, engine, evaluations, protocol, registry, requirements, setups
from app.backend.caches import cache_data, cache_resource
from app.charts import film, pareto
from app.charts.front import Setting, as_good, settings, settings_over
from app.charts.plain import Figure
from app.charts.tradeoff_words import (
    advice,
    best_of_ash,
    headline,
    method_words,
    noise_words,
    opening,
    place_words,
    without_data,
)
from app.errors import plain
from app.link.fields import OFF
from app.link.picks import Pick
from app.link.spec import RunSpec
from app.link.state import bind, dispatch, page_link
from app.theme import ALGORITHMS, LOWER_IS_BETTER, OBJECTIVE_LABELS, variant_label
from app.ui import code, controls, deep_progress, detector, live, plot, prepare, shipped, split, strip
from app.views.tradeoff import first_look, ranking
from ash.methods import VARIANTS, Method
from ash.protocol import choose
from ash.tables import METRICS, over_checkpoints

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


@dataclass(frozen=True)
class View:
    """What the page is about: all settings, the current and the unshaped one among them, and on which sets."""

    settings: tuple[Setting, ...]
    current: Setting
    baseline: Setting
    paper: tuple[Method, ...]
    where: str


def render(spec: RunSpec) -> None:
    """Draw the page for this spec."""
    st.html(_STYLE)
    top = st.container(key="opening")
    story = top.container(key="story")
    with story.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        st.title("Trade-off", width="content")
        page_link("start", "New here? Start")
    linear = engine.is_linear(setups.setup(spec))
    every = _checkpoints(spec, linear)
    if not prepare.ready(spec, every):
        shipped.draw(spec)
        return
    if not linear and not deep_progress.progress(spec):
        return
    if linear and (long := [at for at in every if evaluations.grid_takes_long(at, spec.score)]):
        first_look.draw(spec, long[0])
        return
    part = protocol.usable(setups.setup(spec), spec.split)
    view = _view(spec, linear, part)
    with story:
        _line(spec)
        st.markdown(f"**{plain(headline(view.current, view.baseline, view.where))}**")
    with top:
        strip.draw(spec)
    with st.container(key="doubts"):
        controls.doubts(spec)
    shown = _record(spec, view)
    drawable = not math.isnan(view.current[spec.tradeoff.x] + view.current[spec.tradeoff.y])
    if drawable:
        _chart(spec, shown, view)
    else:
        st.info("No label of the ID set is known, so ID accuracy is not defined: under Axes, two others can be drawn.")
    controls.percentile_here(spec)
    choice = _choice(spec, linear, part)
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


# Data


def _checkpoints(spec: RunSpec, linear: bool) -> tuple[setups.Setup, ...]:
    """The setups that the numbers are means over. At a deep tail, with a pass for each setting, it is one alone."""
    return setups.each_checkpoint(spec) if linear else (setups.setup(spec),)


def _view(spec: RunSpec, linear: bool, part: str, measured: Mapping[str, Setting] = MappingProxyType({})) -> View:
    """All settings of the sweep with those of the page that lie between its marks, on a part of the images.

    `measured`: by id, what is known of those.
    """
    current, unshaped = spec.method, evaluations.unshaped(spec).method
    printed = (Method.parse(text) for label, text in registry.presets(spec.model).items() if label.startswith("Paper"))
    paper = tuple(replace(one, score=spec.score) for one in printed)
    at, every = setups.setup(spec), _checkpoints(spec, linear)
    # At a deep tail a setting that is not there yet comes with the next step, it does not hold up the page.
    wanted = map(str, (current, unshaped, *(paper if linear else ())))
    sets = setups.sets_on(spec)
    deep_rows = None if linear else _deep_rows(at, spec.score, part)
    swept = _swept(every, spec.score, sets, part) if deep_rows is None else settings(deep_rows, "mean", sets)
    known = {one.id for one in swept}
    between = [one for one in dict.fromkeys((*wanted, *_others(spec))) if one not in known]
    more = [one for one in between if one not in measured]
    rows = (*swept, *(measured[one] for one in between if one in measured))
    rows += settings_over({one.checkpoint: _measured(one, more, part) for one in every}, sets) if more else ()
    by_method = {one.method: one for one in rows}
    labels = setups.chosen_sets(spec)
    where = place_words(setups.set_label(at.id_set), {name: labels[name] for name in sets}, spec.on)
    if at.checkpoint:
        where += f", over {len(every)} checkpoints" if len(every) > 1 else f", checkpoint {at.checkpoint}"
    return View(rows, by_method[current], by_method[unshaped], tuple(one for one in paper if one in by_method), where)


def _others(spec: RunSpec) -> tuple[str, ...]:
    """What stands beside the sweep: the literature's methods, where they are asked for; and a method of another score
    than the sweep's with that score alone, so that what is best is none that they beat."""
    others = _baselines(spec) if spec.tradeoff.others else ()
    alone = evaluations.unshaped(spec).method
    return others if alone.score == spec.score else tuple(dict.fromkeys((*others, str(spec.method), str(alone))))


def _baselines(spec: RunSpec) -> tuple[str, ...]:
    """What the literature compares with, as far as it is measured with every checkpoint."""
    every = _checkpoints(spec, engine.is_linear(setups.setup(spec)))
    first, *others = (requirements.baselines_here(replace(spec, checkpoint=at.checkpoint)) for at in every)
    return tuple(one for one in first if all(one in here for here in others))


def _measured(at: setups.Setup, methods: Iterable[str], part: str) -> pd.DataFrame:
    """The rows of some methods beside the sweep's."""
    return pd.concat([evaluations.measure(at, one, part) for one in methods], ignore_index=True)


@cache_resource(max_entries=64)
def _swept(every: tuple[setups.Setup, ...], score: str, sets: tuple[str, ...], part: str) -> tuple[Setting, ...]:
    """The settings of the sweep of a linear tail, over all checkpoints, which no step of the percentile changes."""
    return settings_over({at.checkpoint: evaluations.table(at, score, part) for at in every}, sets)


def _deep_rows(at: setups.Setup, score: str, part: str) -> pd.DataFrame:
    """The rows of a deep tail's settings that are there so far: the page is drawn once there are some."""
    found = deep.deep_table(at, score, part)
    assert found is not None
    return found


# Choosing


@dataclass(frozen=True)
class Choice:
    """What is best within the budget: on which metric, chosen on which part of the images, which method (None: none).

    `of_ash`: the best of the paper's variants. `without_data`: noise or a set of the user's, in words -> the choice
    with that alone for validation.
    """

    goal: str
    part: str
    method: str | None
    of_ash: str | None
    without_data: dict[str, str]


def _budget(spec: RunSpec) -> float | None:
    """The points of accuracy that a choice may lose, None for any."""
    return None if spec.budget == OFF else spec.budget


def _choice(spec: RunSpec, linear: bool, part: str) -> Choice:
    """The best setting of the sweep and of the other methods that are shown, chosen on validation images."""
    at, sets = setups.setup(spec), setups.sets_on(spec)
    goal = next((name for name in (spec.tradeoff.y, spec.tradeoff.x) if name != "id_accuracy"), "auroc")
    budget = _budget(spec)
    where = protocol.ALL if part == protocol.ALL else protocol.VALIDATION
    alone = {name: f"noise ({setups.set_label(name)})" for name in protocol.noise_sets(at)}
    alone |= {name: setups.set_label(name) for name in protocol.own_sets(at)}
    on = (sets, *((name,) for name in alone))
    if linear:
        first, of_ash, *rest = _chosen(setups.each_checkpoint(spec), spec.score, _others(spec), where, budget, goal, on)
    else:
        rows = [_deep_rows(at, spec.score, where), *(evaluations.measure(at, one, where) for one in _others(spec))]
        first, of_ash, *rest = _choices(
            pd.concat(rows, ignore_index=True).drop_duplicates(["method", "ood"]), budget, goal, on
        )
    return Choice(
        goal, where, first, of_ash, {words: one for words, one in zip(alone.values(), rest, strict=True) if one}
    )


@cache_data(max_entries=256)
def _chosen(
    every: tuple[setups.Setup, ...],
    score: str,
    others: tuple[str, ...],
    part: str,
    budget: float | None,
    goal: str,
    on: tuple[tuple[str, ...], ...],
) -> list[str | None]:
    """`_choices` among the settings of a linear tail's sweep and other methods, by the mean over the checkpoints."""
    tables = {}
    for at in every:
        more = [evaluations.measure(at, one, part) for one in others]
        tables[at.checkpoint] = pd.concat([evaluations.table(at, score, part), *more], ignore_index=True)
    return _choices(over_checkpoints(tables), budget, goal, on)


def _choices(rows: pd.DataFrame, budget: float | None, goal: str, on: tuple[tuple[str, ...], ...]) -> list[str | None]:
    """The best method on the first of some groups of OOD sets, the best of ASH there, the best on the other groups."""
    ash = [str(one) for one in rows["method"].unique() if Method.parse(one).variant in ALGORITHMS]
    first, *rest = (choose(rows, budget, goal, sets) for sets in on)
    return [first, choose(rows, budget, goal, on[0], among=ash), *rest]


def _record(spec: RunSpec, view: View) -> pareto.Pareto:
    return pareto.record(
        view.settings,
        current=view.current.method,
        baseline=view.baseline.method,
        paper=view.paper,
        x=spec.tradeoff.x,
        y=spec.tradeoff.y,
        budget=_budget(spec),
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
    places: dict[str, DeltaGenerator] = {}
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
                places[name] = st.container()
    for name, note in notes.items():
        places[name].caption(note)
    return places["auroc"]


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
    budget, validated = _budget(spec), choice.part == protocol.VALIDATION
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
        validated, budget = choice.part == protocol.VALIDATION, _budget(spec)
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
    measured = {one.id: one for one in (*_view(spec, True, part).settings, *settings_over(tables, sets))}
    for p in film.PERCENTILES:
        moved = replace(spec, p=float(p))
        yield pareto.figure(_record(moved, _view(moved, True, part, measured)), dark)


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
    rows = evaluations.table(at, spec.score) if linear else _deep_rows(at, spec.score, protocol.ALL)
    return code.program(spec, tuple(dict.fromkeys((*rows["method"], *_others(spec)))), goal)
