"""The conventions that move numbers, in one short place: what is done here, what the authors do, what it is worth."""

import pandas as pd
import streamlit as st

from app.backend import metric_rules, registry, setups, shipping
from app.errors import plain
from app.link.spec import RunSpec
from app.theme import OBJECTIVE_LABELS, percent
from ash.methods import Method

# convention -> (what, here, the authors')
CONVENTIONS = {
    "fpr95": (
        "Threshold of FPR95",
        "the highest that accepts at least 95 % of ID; an OOD image on it is accepted",
        "the ID score of rank round(0.05 n); an OOD image on it is refused, so ties at the top give 0",
    ),
    "aupr": (
        "Area under precision-recall",
        "average precision",
        "straight lines between thresholds, from a precision of 0: half of the first run of tied scores is lost",
    ),
    "msp": (
        "Max softmax",
        "ranked by its log-odds, which do not saturate",
        "the probability in float32, which is exactly 1 for many images",
    ),
    "std": (
        "Scale of CIFAR's pixels",
        "std 0.2023, 0.1994, 0.2010, as the DenseNet was trained",
        "the same; other programs divide by 0.2471, 0.2435, 0.2616",
    ),
}


def draw(spec: RunSpec) -> None:
    """The section, closed at first; its numbers are computed when it is opened."""
    label = "Conventions that move these numbers"
    with st.expander(label, icon=":material/straighten:", key="paper_rules", on_change="rerun") as more:
        if more.open:
            _draw(spec)


def _draw(spec: RunSpec) -> None:
    st.markdown(
        "The same scores give other numbers under other rules. ID is the positive class everywhere on this page, the "
        "OOD images the negative one. The published numbers of the ASH rows follow the authors' rules; **Metrics: the "
        "authors' rules**, above the table, measures by them too."
    )
    texts = [
        f"* **{what}**: here {plain(here)}; elsewhere {plain(there)}." for what, here, there in CONVENTIONS.values()
    ]
    st.markdown("\n".join(texts))
    effects, saturated = metric_rules.convention_effects(spec)
    scaled = metric_rules.scale_effects()
    rows = [
        {
            "Convention": CONVENTIONS[one.convention][0],
            "Method": _method(one),
            "Metric": OBJECTIVE_LABELS[one.metric],
            "● here": one.ours,
            "● elsewhere": one.theirs,
            "Δ": round(one.theirs - one.ours, 2) + 0.0,  # no -0.00
        }
        for one in sorted((*effects, *scaled), key=lambda one: list(CONVENTIONS).index(one.convention))
    ]
    if rows:
        number = st.column_config.NumberColumn
        columns = {"● here": number(format="● %.2f"), "● elsewhere": number(format="● %.2f")}
        columns["Δ"] = number(format="%+.2f", help="Elsewhere minus here, in points")
        st.dataframe(
            pd.DataFrame(rows), hide_index=True, column_config=columns, height="content", key="paper_rules_table"
        )
    if saturated is not None:
        sets = len(setups.chosen_sets(spec))
        text = (
            f"Measured on {registry.entry(spec.model).label}, means over {sets} OOD sets; its max softmax is exactly 1 "
            f"in float32 for {percent(saturated)} of the ID images. FPR95 and AUPR of max softmax are compared on the "
            "float32 probability, so that each row shows one convention alone."
        )
        st.caption(plain(text))
    elif effects and (there := shipping.shipped(spec.model)):
        st.caption(plain(shipping.shipped_words(there)))
    if scaled:
        st.caption("The scale of CIFAR's pixels is that of results that ship, of DenseNet-101 on CIFAR-10.")


def _method(one: metric_rules.Effect) -> str:
    label = Method.parse(one.method).label
    return f"{label}, as probability" if one.convention in ("fpr95", "aupr") and "softmax" in label else label
