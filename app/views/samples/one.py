"""One sample of the page Samples: why it was accepted or rejected, in three pictures; a pinned one beside it."""

from dataclasses import replace
from functools import partial

import streamlit as st

from app.backend import samples, setups
from app.errors import plain
from app.link import state
from app.link.picks import Pick
from app.link.spec import RunSpec
from app.link.state import bind, dispatch
from app.ui import code, pictures, sample_code, sample_picker
from app.views.samples import one_lines, one_more, one_why
from app.views.samples.one_facts import Facts, facts
from ash import images

PARTS = {"percentiles": "Percentiles", "top5": "Top 5 classes", "where": "Over the image"}


def draw(spec: RunSpec) -> None:
    """Draw the chosen sample of this spec, and the pinned one beside it."""
    if spec.other:
        spec = with_variant(spec)
    beside = _pinned(spec)
    sample_picker.bar(spec)
    _actions(spec, beside)
    try:
        first = facts(spec)
        second = facts(beside, "_pin") if beside else None
    except images.DataError as error:  # the way to another image stays
        sample_picker.unreadable(error)
        return
    pictures.how_to_get([one.data for one in (first, second) if one])
    if second is None:
        one_why.wide(first)
        more(spec, first)
        _code(spec)
        return
    for column, one in zip(st.columns(2, gap="medium"), (first, second), strict=True):
        with column:
            st.caption("The chosen sample" if one is first else "Pinned")
            one_why.narrow(one)
    more(spec, first, second)
    _code(spec)


def _code(spec: RunSpec) -> None:
    """Python for the chosen sample."""
    make = partial(sample_code.program, spec, sample_picker.data_set(spec), sample_picker.index(spec))
    code.show("sample_code", make)


def with_variant(spec: RunSpec) -> RunSpec:
    """The spec with the sidebar's variant in place of a method that cannot be taken apart, and a line that says so."""
    shown = replace(spec, other="")
    st.info(
        plain(
            f"One sample is taken apart under a variant of the sidebar, here {shown.method.label}. "
            f"{spec.method.label} judges the samples of the grid."
        ),
        icon=":material/info:",
    )
    return shown


def _pinned(spec: RunSpec) -> RunSpec | None:
    """The spec of the pinned sample; None where there is none, with a line where a link pins what is not here."""
    if not spec.pin:
        return None
    source, _, text = spec.pin.rpartition(":")
    at = setups.setup(spec)
    if source == "id" or source in at.ood:
        size = len(setups.whole_set(at.id_set if source == "id" else source))
        if text.isdecimal() and len(text) < 10 and int(text) < size:
            return replace(spec, source=source, sample=int(text))
    st.warning(
        plain(f"The link pins '{spec.pin}', which is no sample here; it should be id:0 or SET:NUMBER of a set shown."),
        icon=":material/keep_off:",
    )
    return None


def _actions(spec: RunSpec, beside: RunSpec | None) -> None:
    """Steps through the suggestions, the pin, and the ways to other pages with this sample."""
    number = sample_picker.index(spec)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        _steps(spec, number)
        if beside is not None:
            st.button("Unpin", key="one_unpin", icon=":material/keep_off:", on_click=dispatch, args=(_pin(""),))
        if beside is None or (beside.source, beside.sample) != (spec.source, number):
            label = "Pin to compare" if beside is None else "Pin this one instead"
            pick = _pin(f"{spec.source}:{number}")
            st.button(label, key="one_pin", icon=":material/keep:", on_click=dispatch, args=(pick,))
        state.page_link("activations", "Show on Activations")
        state.page_link("lab", "Send to Shape lab")
    if beside is not None and (beside.source, beside.sample) == (spec.source, number):
        st.caption("The pinned sample is this one: choose another above, and the two stand side by side.")


def _pin(text: str) -> Pick:
    return Pick.field("pin", text)


def _steps(spec: RunSpec, number: int) -> None:
    """Previous and next of the samples that explain this setting; from any other sample on to the first or the last."""
    found = samples.suggestions(setups.setup(spec), str(spec.method), tuple(setups.chosen_sets(spec)), spec.tpr / 100)
    if not found:
        return
    places = [(one.source, one.index) for one in found]
    here = places.index((spec.source, number)) if (spec.source, number) in places else None
    back = places[-1 if here is None else here - 1]
    on = places[0 if here is None else (here + 1) % len(places)]
    left, right = sample_picker.LEFT, sample_picker.RIGHT
    st.button("Suggestion", key="one_back", icon=left, help="Previous", on_click=sample_picker.go_to, args=back)
    st.button(
        "Suggestion",
        key="one_on",
        icon=right,
        icon_position="right",
        help="Next",
        on_click=sample_picker.go_to,
        args=on,
    )
    if here is not None:
        st.markdown(f"{here + 1} of {len(found)}: {plain(found[here].label)}", width="content")


def _no_map(one: Facts) -> str:
    """Why nothing can be laid over the image; "" where it can."""
    if one.decision.share is None:
        return "at this placement every channel is one number (placements before the pooling have maps)"
    return "this sample has no picture" if one.one.picture is None else ""


def more(spec: RunSpec, *shown: Facts) -> None:
    """The secondary pictures, one at a time."""
    parts = dict(PARTS)
    if why := _no_map(shown[0]):
        del parts["where"]
    if spec.samples.part not in parts:
        text = f"'{PARTS[spec.samples.part]}' is not here: {why}. '{PARTS['percentiles']}' is shown."
        st.warning(plain(text), icon=":material/link_off:")
    st.segmented_control(
        "More",
        list(parts),
        format_func=lambda name: parts.get(name, name),
        required=True,
        label_visibility="collapsed",
        **bind("part", to_widget=lambda name: name if name in parts else "percentiles"),
    )
    chosen = spec.samples.part if spec.samples.part in parts else "percentiles"
    columns = st.columns(2, gap="medium") if len(shown) == 2 else [st.container()]
    for column, one in zip(columns, shown, strict=True):
        with column:
            one_more.DRAW[chosen](one, shown)
    if chosen == "percentiles":
        one_lines.draw(spec)
