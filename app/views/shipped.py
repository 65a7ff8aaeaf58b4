"""Results that ship without their activations: the trade-off of a network that cannot be measured here (yet)."""

import pandas as pd
import streamlit as st

from app import backend, plot
from app.charts import pareto
from app.charts.front import Setting, settings
from app.errors import plain
from app.links import OFF
from app.spec import Pick, RunSpec
from app.theme import OBJECTIVE_LABELS
from app.views.verdict import headline, place_words
from ash.methods import Method


def draw(spec: RunSpec) -> None:
    """The trade-off from the results that ship of the spec's network; nothing where there are none."""
    there = backend.shipped(spec.model)
    if there is None:
        return
    st.subheader("Measured before, activations not shipped")
    st.caption(plain(backend.shipped_words(there)))
    st.caption(plain(f"Made by `{there.origin['command']}`, {there.origin['versions']}."))
    found = settings(there.table, spec.on if spec.on in there.ood else "mean", there.ood)
    by_name = {one.method: one for one in found}
    unshaped = str(Method(score=spec.score))
    baseline = unshaped if unshaped in by_name else "energy"
    kept = tuple(one for one in found if _belongs(one, Method.parse(baseline).score))
    current = str(spec.method) if str(spec.method) in {one.method for one in kept} else baseline
    shown = pareto.record(
        kept,
        current=current,
        baseline=baseline,
        paper=(),
        x=spec.x,
        y=spec.y,
        budget=None if spec.budget == OFF else spec.budget,
        show_all=spec.show_all,
    )
    where = place_words(there.id_set, {name: name for name in there.ood}, "mean")
    sentence = headline(by_name[current], by_name[baseline], where)
    st.markdown(f"**{plain(sentence)}**")
    plot.show(
        pareto.figure(shown, plot.dark()),
        "shipped_pareto",
        sentence,
        on_pick=Pick.method,
        selected=current,
        table=lambda: _table(kept),
        filename=f"ash-{there.model}",
        columns={name: st.column_config.NumberColumn(format="● %.2f") for name in OBJECTIVE_LABELS.values()},
    )


def _belongs(one: Setting, score: str) -> bool:
    """Whether a setting is drawn: the variants with one score, and every method of the literature."""
    method = Method.parse(one.method)
    return method.score == score or not method.steps


def _table(found: tuple[Setting, ...]) -> pd.DataFrame:
    rows = [
        {"Method": one.label, **{label: round(one[name], 3) for name, label in OBJECTIVE_LABELS.items()}}
        for one in found
    ]
    return pd.DataFrame(rows, index=pd.Index([one.method for one in found], name="method"))


def agreement(spec: RunSpec) -> None:
    """One line on whether what ships of a network is what its activations here give; nothing where one is missing."""
    found = backend.agreement(spec.model)
    if found is None:
        return
    if found.good:
        st.caption(
            ":material/check: The results that ship of this network agree with its activations here: "
            f"{found.numbers:,} numbers, the largest difference is {found.worst:.4f} points."
        )
    else:
        st.warning(
            plain(
                f"The results that ship of this network differ from what its activations here give by up to "
                f"{found.worst:.2f} points ({found.where})."
            ),
            icon=":material/warning:",
        )
