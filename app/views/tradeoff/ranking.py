"""Every method on every network: a table to look at, and whether one method is best everywhere."""

from collections.abc import Sequence
from functools import partial

import pandas as pd
import streamlit as st

from app.backend import protocol, ranking
from app.backend.ranking import Best
from app.charts.tradeoff_words import amount
from app.errors import plain
from app.link.fields import OFF
from app.link.spec import RunSpec
from app.theme import counted, listed, points, variant_label
from app.ui import plot, share, work
from ash.methods import SCORE_LABELS, VARIANTS, Method

_JOB = work.Task("ranking_job")  # the score whose networks this session is evaluating


def draw(spec: RunSpec) -> None:
    """An expander; what is in it is looked up once it is open, and evaluated at a click."""
    with st.expander(
        "Every method on every network", icon=":material/leaderboard:", key="ranking", on_change="rerun"
    ) as more:
        if more.open:
            body(spec)


def body(spec: RunSpec) -> None:
    """The table of the networks that are evaluated, and a button for the others."""
    if left := ranking.left(spec.score):
        _evaluate(spec, len(left))
    budget = None if spec.budget == OFF else spec.budget
    found = ranking.best(spec.score, budget, spec.split)
    if not found:
        return
    st.markdown(plain(sentence(found)))
    plot.rows(table(found), "ranking_rows")
    limit = "any accuracy" if budget is None else f"at most {amount(budget)} of accuracy below the unshaped network"
    chosen = "" if spec.split == protocol.ALL else ", chosen on validation images and measured on the others"
    st.caption(
        plain(
            f"AUROC / FPR95 / ID accuracy in % of each method's best setting by AUROC with {limit}{chosen}. "
            f"Penultimate layer, {SCORE_LABELS[spec.score]}, mean over each network's usual OOD sets. Gain: points of "
            "AUROC over the unshaped score, from the network where it is least to the one where it is largest."
        )
    )
    origin = {"score": spec.score, "budget": "any" if budget is None else f"{budget:g}", "images": spec.split}
    share.download(
        "Table (CSV)",
        lambda: plot.csv_text(ranking.frame(found), share.dated(origin)),
        "ash-ranking.csv",
        "ranking_csv",
    )


def _evaluate(spec: RunSpec, number: int) -> None:
    """A button that evaluates the networks that are not yet, with progress."""
    busy = _JOB.what == spec.score
    start = (f"Measure {counted(number, 'more network')}", "play_arrow", partial(_JOB.start, spec.score))
    work.button("ranking_button", busy, start, ("Cancel", "stop", _JOB.stop))
    if busy and _JOB.take(ranking.steps(spec.score), work.shower(st.progress(0.0), "networks")):
        st.rerun()


def sentence(found: Sequence[Best]) -> str:
    """Which method is best on which network: of those with shaping, by the AUROC that was measured."""
    winners: dict[str, list[str]] = {}
    for network in dict.fromkeys(one.network for one in found):
        here = [one for one in found if one.network == network]
        winners.setdefault(max(here, key=lambda one: one.auroc).variant, []).append(network)
    if len({one.network for one in found}) == 1:
        (winner,), (network,) = winners, *winners.values()
        return f"On the one network that is evaluated, {network[0]}, {_name(winner)} is best."
    if len(winners) == 1:
        return f"{_name(next(iter(winners)))} is best on all {counted(len({one.network for one in found}), 'network')}."
    parts = [f"{_name(variant)} on {listed(names)}" for variant, names in winners.items()]
    return f"The best method differs by network: {'; '.join(parts)}."


def _name(variant: str) -> str:
    return "no shaping" if variant == "none" else variant_label(variant)


def table(found: Sequence[Best]) -> pd.DataFrame:
    """Method x network: its setting there and what it measures, and the spread of its gain over the networks."""
    networks = dict.fromkeys(one.network for one in found)
    rows = []
    for variant in (name for name in VARIANTS if any(one.variant == name for one in found)):
        mine = {one.network: one for one in found if one.variant == variant}
        cells = {name: _cell(mine[name]) if name in mine else "none in the budget" for name in networks}
        least, most = (points(pick(one.gain for one in mine.values())).removesuffix(" points") for pick in (min, max))
        rows.append({"Method": _name(variant), **cells, "Gain": None if variant == "none" else f"{least} to {most}"})
    return pd.DataFrame(rows)


def _cell(one: Best) -> str:
    parameter = Method.parse(one.method).parameter
    numbers = f"{one.auroc:.1f} / {one.fpr95:.1f} / {one.id_accuracy:.1f}"
    return numbers if parameter is None else f"@ {parameter:g}: {numbers}"
