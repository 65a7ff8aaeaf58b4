"""The charts and controls inside a lesson, by the name that stands in its text."""

import math
from collections.abc import Callable

import pandas as pd
import streamlit as st

from app.backend import banks, engine, evaluations, layer_status, lessons, setups
from app.charts import line_chart, pareto, placements_curves, placements_words, score_words, scores
from app.charts.placements import Placements
from app.charts.tradeoff_words import amount
from app.errors import plain
from app.link.fields import OFF
from app.link.picks import Pick
from app.link.spec import PENULTIMATE, RunSpec
from app.link.state import bind, dispatch
from app.theme import OBJECTIVE_LABELS
from app.ui import controls, grid_progress, placement_values, placements, plot, prepare
from app.ui.lessons import facts, facts_choice
from app.ui.lessons.facts import Found, Here, lesson_spec
from app.ui.lessons.words import SAME
from ash.methods import Method


def ready(spec: RunSpec) -> bool:
    """Whether the penultimate layer's activations are there; where not: what they cost, and a button."""
    shown = lesson_spec(spec)
    if spec.placement != PENULTIMATE and banks.missing_sets(setups.setup(shown)):
        st.info("The penultimate layer of this network is not computed yet.", icon=":material/hourglass_empty:")
        st.button("Go to the penultimate layer", on_click=dispatch, args=(Pick.field("placement", PENULTIMATE),))
        return False
    if not prepare.ready(shown):
        return False
    if not engine.is_linear(setups.setup(shown)):
        st.info(
            "Behind the penultimate layer of this network there is more than one linear layer, so each percentile "
            "needs a pass of its own. Choose another model in the sidebar.",
            icon=":material/info:",
        )
        return False
    if evaluations.grid_takes_long(setups.setup(shown), shown.score):
        st.info("All of this is measured on every setting of this network, once.", icon=":material/hourglass_empty:")
        grid_progress.measure(setups.setup(shown), shown.score)
        return False
    if math.isnan(evaluations.evaluation(setups.setup(shown), Method().score).accuracy):
        st.info(
            "No label of the ID set is known, so there is no accuracy, which all of this weighs against detection. "
            "Choose another model or ID set in the sidebar.",
            icon=":material/info:",
        )
        return False
    return True


def found(here: Here, lesson: str) -> Found:
    """The numbers of a lesson, and those that all lessons share."""
    made = _FOUND[lesson](here)
    return Found(here.common() | made.values, here.facts() | made.facts, made.pictures)


def earlier(here: Here) -> Placements:
    """ASH-P at the placements of the page Placements, as far as their activations are there."""
    for name in layer_status.compared(here.spec)[0]:
        one = layer_status.standing(here.spec, name, placement_values.FIGURE)
        if one.pending:
            placements.evaluate(one, here.spec.score)
    return placement_values.shown(here.spec, placement_values.FIGURE)


_FOUND: dict[str, Callable[[Here], Found]] = {
    "inputs": facts.inputs,
    "pruning": facts.pruning,
    "shaping": facts.shaping,
    "choosing": facts_choice.choosing,
    "placing": lambda here: facts_choice.placing(here, earlier(here)),
    "reporting": facts_choice.reporting,
}


def draw(name: str, here: Here, numbers: Found) -> None:
    """One chart or control."""
    special = _SPECIAL.get(name)
    if special:
        special(here)
    else:
        picture(numbers.pictures[name], name)


def picture(shown: line_chart.Against, key: str) -> None:
    """Measured curves under the sentence that they say."""
    st.markdown(f"**{plain(line_chart.finding(shown))}**")
    plot.show(
        line_chart.figure(shown, plot.dark()),
        f"lesson_{key}",
        line_chart.finding(shown),
        table=lambda: line_chart.table(shown),
        filename=f"ash-{key.replace('_', '-')}",
    )


def _percentile(here: Here) -> None:
    controls.percentile(controls.REMOVED, "_lesson")


def _histogram(here: Here, method: str, key: str) -> None:
    (hardest, _), _ = facts.extremes(here, method)
    record = facts.histogram(here, method, hardest)
    text = score_words.finding(record, "Energy")
    st.markdown(f"**{plain(text)}**")
    plot.show(
        scores.figure(record, "energy", plot.dark()),
        key,
        text,
        table=lambda: score_words.table(record, "energy"),
        filename=key.replace("_", "-"),
    )


def _energy_scores(here: Here) -> None:
    _histogram(here, "energy", "lesson_energy_scores")


def _hardest_scores(here: Here) -> None:
    _histogram(here, str(facts_choice.reported(here)), "lesson_hardest_scores")


def _front(here: Here) -> None:
    """The trade-off's own chart."""
    _draw_front(here, Method(), None, "lesson_front")


def _front_budget(here: Here) -> None:
    """The same with the budget; the ring is the best setting within it."""
    limit = facts_choice.budget(here)
    _draw_front(here, facts_choice.chosen_by(here).method, limit, "lesson_front_budget")


def _draw_front(here: Here, current: Method, limit: float | None, key: str) -> None:
    every = facts_choice.grid(here)
    shown = pareto.record(every, current=current, baseline=Method(), paper=(), x="id_accuracy", y="auroc", budget=limit)
    text = f"{len(shown.front)} of {len(every)} settings are on the Pareto front."
    if limit is not None:
        text = f"With at most {amount(limit)} of accuracy lost, {shown.current.label} has the highest AUROC."
    st.markdown(f"**{plain(text)}**")
    plot.show(pareto.figure(shown, plot.dark()), key, text, table=lambda: _settings(shown), filename="ash-front")


def _settings(shown: pareto.Pareto) -> pd.DataFrame:
    rows = [
        {"Setting": one.label, "On the front": one in shown.front}
        | {label: one[name] for name, label in OBJECTIVE_LABELS.items()}
        for one in shown.settings
    ]
    return pd.DataFrame(rows)


def _budget(here: Here) -> None:
    """How much accuracy may be lost; a rule is always set here, one point where the session has none."""
    limits = sorted({*(value for value in controls.BUDGETS if value != OFF), facts_choice.budget(here)})
    st.selectbox(
        "Accuracy may drop by",
        limits,
        format_func=amount,
        width=285,
        **bind("budget", to_widget=lambda _: facts_choice.budget(here), suffix="_lesson"),
    )


def _placements(here: Here) -> None:
    shown = earlier(here)
    text = placements_words.headline(shown)
    st.markdown(f"**{plain(text)}**")
    plot.show(placements_curves.figure(shown, plot.dark()), "lesson_placements", text, filename="ash-placements")
    if before := placements_words.measured(shown):
        st.caption(plain(before))


def report(here: Here) -> pd.DataFrame:
    """The table that a report should have: every OOD set by name, the setting beside the unshaped energy."""
    method = facts_choice.reported(here)
    own, plain_ = (lessons.per_set(here.at, text, here.sets) for text in (str(method), "energy"))
    shaped = bool(method.steps)
    rows = []
    for name in here.sets:
        now, then = own[name], plain_[name]
        row = {"OOD set": here.labels[name]}
        if shaped:
            row["AUROC (unshaped), %"] = f"{now.auroc:.1f} ({then.auroc:.1f})"
            row["FPR95 (unshaped), %"] = f"{now.fpr95:.1f} ({then.fpr95:.1f})"
            row["Harmed"] = "yes" if now.auroc < then.auroc - SAME else "no"
        else:
            row |= {"AUROC, %": f"{now.auroc:.1f}", "FPR95, %": f"{now.fpr95:.1f}"}
        rows.append(row)
    return pd.DataFrame(rows)


def _report(here: Here) -> None:
    st.table(report(here).set_index("OOD set"), width="content")


_SPECIAL: dict[str, Callable[[Here], None]] = {
    "percentile": _percentile,
    "energy_scores": _energy_scores,
    "front": _front,
    "front_budget": _front_budget,
    "budget": _budget,
    "placements": _placements,
    "report": _report,
    "hardest_scores": _hardest_scores,
}
