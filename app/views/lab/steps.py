"""Shape lab, step by step: Algorithms 1-3 on twelve values of the chosen sample, one line at a time."""

import numpy as np
import streamlit as st

from app.backend import registry, setups
from app.backend.samples import Sample
from app.errors import plain
from app.link import state
from app.link.fields import write_number
from app.link.picks import Pick
from app.link.spec import RunSpec
from app.link.state import dispatch, tie
from app.theme import variant_label
from app.ui import appearance, code, pictures, plot, sample_code, sample_picker
from app.views.lab import algorithm, algorithm_facts, algorithm_film, algorithm_steps, sample
from app.views.lab.algorithm_facts import VARIANTS
from app.views.lab.algorithm_steps import LINES, TEXTS, Step
from ash import images
from ash.methods import STEPS, Method

PICTURE = 64  # pixels of the image
KEYS = {"First": "Home", "Previous": "Left", "Next": "Right", "Last": "End"}


def draw(spec: RunSpec) -> None:
    """The room for this spec."""
    variant = shown_variant(spec)
    try:
        one = sample.chosen(spec)
    except images.DataError as error:
        sample_picker.broken(spec, error)
        return
    vector = twelve(one)
    line = min(spec.lab.step, len(LINES[variant]) - 1)
    steps = algorithm_steps.trace(vector.values, variant, spec.p)
    stand_in(spec)
    _buttons(line, len(steps))  # above what changes its height, so that they stay under the pointer
    _head(spec, one, steps, line)
    picture, text = appearance.panels("lab", (8, 5))
    with picture:
        _picture(spec, vector, variant, line)
    with text:
        _lines(variant, spec.p, steps, line)
    st.markdown("##### The sample")
    sample_picker.bar(spec)
    pictures.how_to_get((sample_picker.data_set(spec),))
    _which(spec, one, vector)
    code.show("lab_code", lambda: sample_code.values_program(Method(variant, spec.p), vector.values))


def shown_variant(spec: RunSpec) -> str:
    """The sidebar's variant if it is one of Algorithms 1-3, otherwise the first of them."""
    return spec.variant if spec.variant in VARIANTS else next(iter(VARIANTS))


def choose_variant(spec: RunSpec) -> None:
    """The three algorithms; the choice is the sidebar's, and stepping starts again."""

    def changed(variant: str) -> None:
        dispatch(Pick.field("variant", variant))
        dispatch(Pick.field("step", 0))

    st.segmented_control(
        "Algorithm",
        list(VARIANTS),
        format_func=variant_label,
        required=True,
        label_visibility="collapsed",
        **tie("lab_variant", shown_variant(spec), changed, "variant"),
    )


def stand_in(spec: RunSpec) -> None:
    """Says so where the sidebar's variant is none of the three."""
    if spec.variant not in VARIANTS:
        named = spec.method.label if spec.method.steps else "No shaping"
        here = VARIANTS[shown_variant(spec)]
        st.caption(plain(f"{named}, from the sidebar, is none of Algorithms 1 to 3, so {here} is shown."))


def twelve(one: Sample) -> algorithm.Vector:
    """Twelve values of a sample's activation, with the names of their units."""
    flat = one.x.ravel()
    at = algorithm_facts.chosen_units(flat)
    names = tuple(str(i) for i in at)
    values = tuple(float(flat[i]) for i in at)
    if flat.size == len(one.x):
        return algorithm.Vector(values, names, tuple(f"unit {i}" for i in at), "unit of the activation")
    places = [np.unravel_index(i, one.x.shape) for i in at]
    hints = tuple("value " + str(i) + ", at " + ", ".join(map(str, place)) for i, place in zip(at, places, strict=True))
    return algorithm.Vector(values, names, hints, "place in the flattened map")


def _head(spec: RunSpec, one: Sample, steps: tuple[Step, ...], line: int) -> None:
    """The image and the sentence of this line, in large type."""
    step = steps[line]
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        sample.picture(spec, one, PICTURE)
        with st.container(gap="xxsmall"):
            st.markdown(f"## {plain(f'Line {step.line} of {len(steps)}: {step.says}')}")
            _current(step)


def _buttons(line: int, count: int) -> None:
    """First, previous, next, last: by mouse, by keyboard, in the link."""
    targets = {"First": 0, "Previous": line - 1, "Next": line + 1, "Last": count - 1}
    with st.container(horizontal=True, gap="xxsmall"):
        for label, to in targets.items():
            st.button(
                label,
                key=f"lab_{label.lower()}",
                type="primary" if label == "Next" else "secondary",
                disabled=not 0 <= to < count or to == line,
                shortcut=KEYS[label],
                on_click=dispatch,
                args=(Pick.field("step", max(to, 0)),),
            )


def _picture(spec: RunSpec, vector: algorithm.Vector, variant: str, line: int) -> None:
    record = algorithm.bars(vector, variant, spec.p, line)
    name = f"steps-{variant}-{write_number(spec.p)}-{line + 1}"
    if record.step.kind != "out":
        plot.show(
            algorithm.figure(record, plot.dark()),
            "lab_bars",
            algorithm.finding(record),
            table=lambda: algorithm.table(record),
            filename=name,
        )
    else:
        film = algorithm_film.film(record, spec.p)
        plot.show(
            algorithm_film.figure(film, plot.dark()),
            "lab_film",
            algorithm.finding(record),
            table=lambda: algorithm_film.table(film),
            filename=name,
        )
    st.caption(
        "How to read it: filled is the value now, hollow what it was at the start. Hatched with a thick edge is what "
        "this line touches; crossed out is what it removes. The dashed line is the cut t."
    )


def _lines(variant: str, p: float, steps: tuple[Step, ...], line: int) -> None:
    """The algorithm: the lines before with their numbers, the current one framed with its arithmetic, the rest."""
    heading = f"Algorithm {list(VARIANTS).index(variant) + 1}, {VARIANTS[variant]}, at p = {write_number(p)}"
    st.markdown(f"**{plain(heading)}**")
    with st.container(gap="xsmall", key="lab_lines"):
        for step in steps:
            text = f"{step.line}. {TEXTS[step.kind]}"
            if step.line == line + 1:
                st.markdown(f"**:blue-background[▶ now]** &ensp;{text}")
                if step.note:
                    st.caption(plain(step.note))
            elif step.numbers and step.line <= line:
                results = ", ".join(f"${one.result}$" for one in step.numbers)
                st.markdown(f"{text} &ensp;→&ensp; {results}")
            else:
                st.markdown(text)
    if STEPS[variant].does == "fill":
        st.caption("In the paper, Algorithm 2 writes s for s1 and n for k.")


def _current(step: Step) -> None:
    """The arithmetic of the line that is being executed with the actual values, above the picture of what it does."""
    equations = " &emsp; ".join(f"${one.equation}$" for one in step.numbers)
    if equations or step.kind == "out":
        st.markdown(equations or "**Drag p under the picture**: the bars follow at once. Then try another algorithm.")


def _which(spec: RunSpec, one: Sample, vector: algorithm.Vector) -> None:
    """Which values these are, and that the whole activation has other numbers."""
    from ash.shaping import kept_count

    size, count = one.x.size, len(vector.values)
    label = setups.whole_set(sample_picker.data_set(spec)).label
    where = "" if size == len(one.x) else f", flattened from {' x '.join(map(str, one.x.shape))},"
    top = algorithm_facts.TOP
    chosen = (
        f"its {top} largest and {count - top} others evenly spaced by rank, in order of position"
        if size > count
        else "all there are"
    )
    st.caption(
        plain(
            f"{count} of the {size:,} values of {one.name} ({label}){where} at {_place(spec)}: {chosen}. The algorithm "
            f"runs on these {count} alone. Of the whole activation it keeps {kept_count(size, spec.p):,} of {size:,} "
            f"at p = {write_number(spec.p)}, with numbers of its own: see Activations."
        )
    )
    state.page_link("activations", "The whole activation: Activations")


def _place(spec: RunSpec) -> str:
    return registry.placement_label(spec.model, spec.placement)
