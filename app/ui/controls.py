"""Controls that several pages share, whose options say what they are so that labels need no room; and their warning."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from app.backend import evaluations, requirements, setups
from app.charts.tradeoff_words import amount
from app.errors import plain
from app.link.fields import OFF
from app.link.spec import RunSpec
from app.link.state import bind
from app.theme import counted
from ash.methods import VARIANTS, Method

REMOVED = "Share of the activation that is removed."
_HERE = """<style>
@media (min-width: 769px) {
  [data-testid="stElementContainer"]:is(.st-key-spec_p_here, .st-key-spec_other_here) {display: none}
}
</style>"""
BUDGETS = (OFF, 0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


def choice(label: str, options: Mapping[Any, str], width: int, field: str) -> None:
    """A select box over value -> text, tied to a field of the spec; the label is for screen readers."""
    st.selectbox(
        label,
        list(options),
        format_func=lambda option: options.get(option, str(option)),
        label_visibility="collapsed",
        width=width,
        **bind(field),
    )


def percentile(help: str, suffix: str = "", disabled: bool = False) -> None:
    """The percentile as a slider; `suffix` as in `bind`."""
    st.slider(
        "Percentile p",
        0,
        99,
        step=1,
        format="%d %%",
        disabled=disabled,
        help=help,
        **bind("p", to_widget=lambda p: min(round(p), 99), from_widget=float, suffix=suffix),
    )


def has_own_percentile(spec: RunSpec) -> bool:
    """Whether the method in use is AdaSCALE, which follows no variant and has a percentile itself."""
    return spec.method.scoring.score.name in requirements.OF_ADASCALE


def own_percentile(spec: RunSpec, suffix: str = "") -> None:
    """AdaSCALE's percentile as a slider; `suffix` as in `bind`."""
    scoring = spec.method.scoring
    score, parameter = scoring.score, scoring.score.parameter
    assert parameter is not None, "AdaSCALE has a percentile"
    low, high = int(parameter.low), int(parameter.high)  # low: at it the sample's own goes down to 0
    st.slider(
        "Percentile p",
        low,
        high,
        step=1,
        format="%d %%",
        help=f"{score.label} takes the sum s2 of each sample at a percentile of its own, between p - {low} and p: the "
        f"higher, the less its activation moves where the image is changed a little. {score.paper} ({score.year}).",
        **bind(
            "other",
            to_widget=lambda text: round(Method.parse(text).scoring.value or low),
            from_widget=lambda p: f"{score.name}@{p}",
            suffix=suffix,
        ),
    )


def percentile_here(spec: RunSpec) -> None:
    """The percentile under a chart on a narrow screen, where the sidebar's lies in a drawer over it."""
    if has_own_percentile(spec):
        st.html(_HERE)
        own_percentile(spec, "_here")
    elif VARIANTS[spec.variant].parameter == "percentile":
        st.html(_HERE)
        percentile(REMOVED, "_here")


def ood_set(spec: RunSpec) -> None:
    """Which OOD set the numbers are on: one, or the mean of all, of the near or of the far ones."""
    sets = setups.chosen_sets(spec)
    mean = f"Mean of {len(sets)} OOD sets" if len(sets) > 1 else "All OOD images"
    kinds = setups.near_and_far(setups.setup(spec).id_set, sets)
    some = {kind: f"{kind.capitalize()}: {counted(len(names), 'OOD set')}" for kind, names in kinds.items()}
    choice("OOD set", {"mean": mean, **some, **{name: f"OOD: {label}" for name, label in sets.items()}}, 200, "on")


def budget(spec: RunSpec) -> None:
    """How much ID accuracy a setting may lose."""
    limits = {value: f"Accuracy may drop by {amount(value)}" for value in sorted({*BUDGETS, spec.budget})}
    limits[OFF] = "Accuracy may drop by any amount"
    choice("Accuracy may drop by", limits, 285, "budget")


def show_all() -> None:
    """The full range of the axes."""
    st.toggle("Show all", help="The full range, down to settings at chance level.", **bind("show_all"))


def doubts(spec: RunSpec) -> None:
    """Every reason to doubt the current method's numbers: a warning, or a small line; nothing where there is none.

    Its container is always there: what stands below keeps its place, or Streamlit makes it anew.
    """
    found = evaluations.doubts(setups.setup(spec), str(spec.method), setups.sets_on(spec))
    with st.container(key="doubts"):
        if found.grave:
            st.warning(plain(" ".join(found.said)), icon=":material/help:")
        elif found.said:
            st.caption(f":material/help: {plain(' '.join(found.said))}")
