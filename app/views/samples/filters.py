"""The filters of the page Samples: every option says how many samples it would leave, given the other filters."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial

import streamlit as st

from app.backend import setups
from app.charts.sample_table import FILTERS, NO_CLASS, NOT_ID, Filters, SampleTable, Selection, how_many
from app.errors import plain
from app.link.options import SamplesOptions
from app.link.picks import Pick
from app.link.spec import RunSpec
from app.link.state import bind, current, dispatch, tie
from app.theme import count

NAMES = {
    "among": "data set",
    "verdict": "verdict",
    "change": "change",
    "true": "true class",
    "predicted": "predicted class",
    "scores": "score range",
    "find": "file name",
}


def filters(options: SamplesOptions) -> Filters:
    """The filters among the options of the page."""
    return Filters(**{name: getattr(options, name) for name in FILTERS})


SHORTCUTS = {
    "OOD, accepted": (Filters(among=NOT_ID, verdict="accepted"), "score", True),
    "ID, rejected": (Filters(among="id", verdict="rejected"), "score", False),
    "Rescued": (Filters(change="rescued"), "change", False),
    "Broken": (Filters(change="broken"), "change", False),
}  # what people come for -> filters, order, whether the largest come first


def shortcuts(found: SampleTable) -> None:
    """A button for each of SHORTCUTS, with how many samples it leads to in the grid."""
    with st.container(horizontal=True, gap="small", key="shortcuts"):
        for label, (asked, order, descending) in SHORTCUTS.items():
            number = how_many(found, asked)
            values = {**asdict(asked), "look": "grid", "order": order, "descending": descending}
            st.button(
                f"{label} ({count(number)})",
                key=f"only_{label}",
                icon=":material/grid_view:",
                disabled=not number,
                on_click=_set,
                args=(values,),
            )


def draw(spec: RunSpec, found: SampleTable, chosen: Selection) -> None:
    """Two rows of filters; on a narrow screen they wrap."""
    with st.container(horizontal=True, vertical_alignment="top", gap="small", key="filters"):
        sets = {"all": "All", "id": f"{_label(found.images.sets[0])} (ID)", NOT_ID: "All OOD sets"}
        sets |= {name: _label(name) for name in found.images.sets[1:]}
        _select("Data set", "among", sets, chosen, 215)
        _segments("Verdict", "verdict", {"all": "All", "accepted": "Accepted", "rejected": "Rejected"}, chosen)
        _segments("Change by shaping", "change", {"all": "Any", "rescued": "Rescued", "broken": "Broken"}, chosen)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="filters_more"):
        classes = {name: name for name in sorted(set(found.images.classes), key=str.casefold)}
        _select("True class", "true", {"": "Any", NO_CLASS: NO_CLASS} | classes, chosen, 170)
        _select("Predicted class", "predicted", {"": "Any"} | classes, chosen, 170)
        _scores(spec, found, chosen)
        used = chosen.counts["find"].get("used")
        label = "File name contains" if used is None else f"File name contains ({count(used)})"
        st.text_input(label, max_chars=80, width=170, **bind("find"))
        if filters(spec.samples).used:
            st.button(
                "Clear filters",
                icon=":material/filter_alt_off:",
                key="clear_filters",
                on_click=_set,
                args=(asdict(Filters()),),
            )


def _label(name: str) -> str:
    return setups.set_label(name)


def _counted(names: Mapping[str, str], counts: Mapping[str, int]) -> Callable[[str], str]:
    return lambda option: f"{names.get(option, option)} ({count(counts.get(option, 0))})"


def _select(label: str, name: str, names: Mapping[str, str], chosen: Selection, width: int) -> None:
    """A select box; options that would leave nothing go last, so that the useful ones are in sight."""
    counts = chosen.counts[name]
    now = current().value(name)
    options = sorted(names, key=lambda option: not counts.get(option, 0) and option not in ("", "all", now))
    st.selectbox(label, options, format_func=_counted(names, counts), width=width, **bind(name))


def _segments(label: str, name: str, names: Mapping[str, str], chosen: Selection) -> None:
    shown = _counted(names, chosen.counts[name])
    st.segmented_control(label, list(names), format_func=shown, required=True, **bind(name))


def _scores(spec: RunSpec, found: SampleTable, chosen: Selection) -> None:
    """Two number fields for one filter; an empty one is the end of the scores."""
    ends = float(found.after.score.min()), float(found.after.score.max())
    shown = spec.samples.scores or (None, None)
    unit = ", log-odds" if spec.method.score == "msp" else ""
    used = chosen.counts["scores"].get("used")
    tail = "" if used is None else f" ({count(used)})"
    names = {"scores_low": f"Score from{unit}", "scores_high": f"Score to{tail}"}
    for place, (key, label) in enumerate(names.items()):
        options = tie(key, shown[place], partial(_range, ends, place), "scores")
        st.number_input(label, value=None, format="%.6g", placeholder=f"{ends[place]:.4g}", width=130, **options)


def _range(ends: tuple[float, float], place: int, value: float | None) -> None:
    """A range of scores from two fields, of which one was moved; `ends` of all scores stand for an empty field."""
    typed = list(current().samples.scores or (None, None))
    typed[place] = value
    whole = [end if one is None else one for one, end in zip(typed, ends, strict=True)]
    dispatch(Pick.field("scores", () if typed == [None, None] else tuple(sorted(whole))))


def _set(values: Mapping[str, object]) -> None:
    """Callback: some fields of the link at once."""
    for name, value in values.items():
        dispatch(Pick.field(name, value))


def nothing(spec: RunSpec, chosen: Selection) -> str:
    """Why there is no sample, and which filter to loosen."""
    best = sorted(chosen.without.items(), key=lambda item: -item[1])
    if not best or not best[0][1]:
        names = " and ".join(NAMES[name] for name, _ in best)
        return f"No sample passes these filters, and no single one of them is to blame ({names}): clear the filters."
    ways = [f"without the {NAMES[name]} there are {count(left)}" for name, left in best[:2] if left]
    return (
        plain(f"No sample passes all {len(best)} filters: {', '.join(ways)}.")
        if len(best) > 1
        else plain(f"No sample passes the filter on the {NAMES[best[0][0]]}: {ways[0]}.")
    )
