"""The samples of the Shape lab: the chosen one, unshaped, and one of the other side of the ID / OOD line beside it."""

from dataclasses import replace

import streamlit as st

from app.backend import registry, samples, setups
from app.backend.samples import Sample
from app.errors import plain
from app.link.picks import Pick
from app.link.spec import RunSpec
from app.link.state import dispatch, tie
from app.ui import pictures, sample_picker
from app.views.lab import relu_live
from ash.errors import AshError


def chosen(spec: RunSpec) -> Sample:
    """The sample of this spec, unshaped; a warning where a link asks for one beyond the last."""
    number, data = sample_picker.index(spec), sample_picker.data_set(spec)
    if number != spec.sample:
        label = setups.whole_set(data).label
        st.warning(plain(f"{label} has no number {spec.sample:,}; showing its last image, {number:,}."))
    return samples.sample(setups.setup(spec), "energy", data, number)


def words(spec: RunSpec, one: Sample) -> str:
    """`this sneaker` for an image of a class of the network, `this image of Digits` for any other."""
    classes = registry.entry(spec.model).classes
    if spec.source == "id" and 0 <= one.label < len(classes):
        return f"this {registry.class_in_sentence(spec.model, classes[one.label])}"
    return f"this image of {setups.whole_set(sample_picker.data_set(spec)).label}"


def beside(spec: RunSpec) -> RunSpec:
    """The spec of the image beside the chosen one: the pinned one if it is of the other side, else a set's first."""
    sets = _sides(spec)
    source, _, number = spec.pin.partition(":")
    if source in sets and number.isdecimal() and len(number) < 10:
        return replace(spec, source=source, sample=int(number))
    return replace(spec, source=next(iter(sets)), sample=0)


def _sides(spec: RunSpec) -> dict[str, str]:
    """Source -> label of the data sets on the other side of the ID / OOD line."""
    if spec.source != "id":
        return {"id": setups.whole_set(setups.setup(spec).id_set).label + " (ID)"}
    sets = setups.chosen_sets(spec)
    if not sets:
        raise AshError("No OOD set is chosen; choose one in the sidebar.")
    return sets


def beside_bar(spec: RunSpec) -> None:
    """Data set and number of the image beside the chosen one; they are the link's `pin`."""
    now, sets = beside(spec), _sides(spec)
    last = len(setups.whole_set(sample_picker.data_set(now))) - 1

    def pin(source: str, number: int) -> None:
        dispatch(Pick.field("pin", f"{source}:{number}"))

    with st.container(horizontal=True, vertical_alignment="bottom", gap="xsmall"):
        st.selectbox(
            "Beside it",
            list(sets),
            format_func=lambda name: sets.get(name, name),
            width=165,
            **tie("lab_beside_set", now.source, lambda source: pin(source, 0), "pin"),
        )
        st.number_input(
            "Number",
            0,
            last,
            step=1,
            width=110,
            help=f"0 to {last:,}",
            **tie("lab_beside_number", min(now.sample, last), lambda number: pin(now.source, number), "pin"),
        )


def image(spec: RunSpec, one: Sample) -> relu_live.Image:
    """A sample as the modified ReLU takes it."""
    return relu_live.image("id" if spec.source == "id" else "ood", words(spec, one), one.x)


def picture(spec: RunSpec, one: Sample, pixels: int) -> None:
    """The image of this spec, crisp, at about this size."""
    label = setups.whole_set(sample_picker.data_set(spec)).label
    pictures.show(one.picture, (label, one.name), pixels)
