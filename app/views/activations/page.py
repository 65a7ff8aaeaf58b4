"""Activations page: what shaping does to one activation, unit by unit, and to the values of whole sets."""

from collections.abc import Iterator

import numpy as np
import streamlit as st

from app.backend import banks, evaluations, registry, samples, setups
from app.backend.samples import Sample
from app.charts import film, logits, mosaic, sample, sample_summary
from app.charts.plain import Figure
from app.charts.sample_table import class_words
from app.errors import plain
from app.link import state
from app.link.picks import Pick
from app.link.spec import RunSpec
from app.link.state import bind, dispatch
from app.ui import (
    activation_sets,
    appearance,
    code,
    controls,
    deep_progress,
    live,
    pictures,
    plot,
    sample_code,
    sample_picker,
    share,
)
from ash import images
from ash.methods import VARIANTS, Method

VIEWS = {"units": "Sorted units", "maps": "Channel maps", "logits": "Logits"}
LARGE = 140  # pixels of the image


def render(spec: RunSpec) -> None:
    """Draw the page for this spec."""
    st.title("Activations")
    computed = False
    try:
        computed = not banks.missing_sets(setups.setup(spec)) and deep_progress.ready(spec)
        one = _sample(spec)
    except images.DataError as error:
        sample_picker.broken(spec, error)
        if computed:
            sample_picker.quick(spec)
        return
    curve = sample.curve(one.trace)
    judged = _verdict(spec, one, computed)
    st.markdown(f"**{plain(sample_summary.sentence(judged, curve))}**")
    if computed:
        controls.doubts(spec)
        sample_picker.quick(spec)
    left, right = appearance.panels("activations", (6, 5), gap="large")
    with left:
        _one_image(spec, one, curve, judged)
    if spec.activations.view == "maps" and _spatial(one):
        _mosaics(spec, one)
    code.show("activations_code", lambda: _program(spec))
    with right:  # last: what it needs may have to be computed first
        activation_sets.draw(spec)


def _program(spec: RunSpec) -> str:
    return sample_code.program(spec, sample_picker.data_set(spec), sample_picker.index(spec))


def _spatial(one: Sample) -> bool:
    """Whether the activation is C maps of more than one position."""
    return one.x.ndim == 3 and one.x[0].size > 1


def _sample(spec: RunSpec) -> Sample:
    number = sample_picker.index(spec)
    if number != spec.sample:
        label = setups.whole_set(sample_picker.data_set(spec)).label
        st.warning(plain(f"{label} has no number {spec.sample:,}; showing its last image, {number:,}."))
    return samples.sample(setups.setup(spec), str(spec.method), sample_picker.data_set(spec), number)


def _verdict(spec: RunSpec, one: Sample, computed: bool) -> sample_summary.Verdict:
    import torch

    from ash.metrics import threshold_at_tpr
    from ash.scores import SCORES

    at, classes = setups.setup(spec), registry.entry(spec.model).classes
    pairs = (one.logits, one.shaped_logits)
    before, after = (float(SCORES[spec.score](torch.from_numpy(np.array(values))[None])) for values in pairs)
    lines = None
    if computed:
        name, number = sample_picker.data_set(spec), sample_picker.index(spec)
        first, second = (evaluations.evaluation(at, str(some.method)) for some in (evaluations.unshaped(spec), spec))
        lines = threshold_at_tpr(first.id_scores, spec.tpr / 100), threshold_at_tpr(second.id_scores, spec.tpr / 100)
        stored = [samples.stored_score(at, some, name, number) for some in (first, second)]
        before, after = (new if old is None else old for old, new in zip(stored, (before, after), strict=True))
    known = spec.source == "id" and 0 <= one.label < len(classes)
    truth = classes[one.label] if known else None
    label = setups.whole_set(sample_picker.data_set(spec)).label
    noun = f"this {registry.class_in_sentence(spec.model, truth)}" if truth else f"this image of {label}"
    unit = "units" if one.x.size == one.x.shape[0] else "values"
    predicted = classes[pairs[0].argmax()], classes[pairs[1].argmax()]
    return sample_summary.Verdict(
        noun, unit, spec.score, (before, after), lines, predicted, truth, is_id=spec.source == "id"
    )


def _one_image(spec: RunSpec, one: Sample, curve: sample.Curve, judged: sample_summary.Verdict) -> None:
    st.markdown("##### One image")
    sample_picker.bar(spec)
    state.page_link("lab", "Open in Shape lab")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        data, known = sample_picker.data_set(spec), class_words(judged.truth, judged.is_id)
        pictures.show(one.picture, (setups.whole_set(data).label, known), LARGE, f"{one.name}: {known}")
        lines = [f"| {name} | {before} | {after} |" for name, before, after in sample_summary.rows(judged)]
        st.markdown("\n".join(["| | before | after |", "| :--- | :--- | :--- |", *lines]), width="content")
    if text := pictures.credit(data, sample_picker.index(spec)):
        st.caption(text)
    pictures.how_to_get((data,))
    if judged.thresholds is not None:
        st.caption(f"Threshold: the highest score that still accepts {spec.tpr:g} % of the ID images.")
    st.segmented_control(
        "Picture",
        list(VIEWS),
        format_func=VIEWS.__getitem__,
        required=True,
        label_visibility="collapsed",
        **bind("view"),
    )
    if (one.x < 0).any():
        why = "" if setups.is_features(spec.model) else " (it lies before a ReLU)"
        text = f"This placement has negative values{why}."
        if curve.prunes:
            text += (
                " The largest values are kept, not the largest magnitudes. Where s1 is negative, ASH-B writes a "
                "negative constant; where s1 is below s2, ASH-S multiplies by less than e."
            )
        elif signed := VARIANTS[spec.variant].signed:
            text = signed
        st.info(text, icon=":material/info:")
    {"units": _units, "maps": _maps, "logits": _logits}[spec.activations.view](spec, one, curve)


def _name(spec: RunSpec, what: str) -> str:
    """A file name for a download."""
    return share.file_name(what, spec.method, spec.source, sample_picker.index(spec))


def _units(spec: RunSpec, one: Sample, curve: sample.Curve) -> None:
    about = sample_picker.data_set(spec), sample_picker.index(spec)
    plot.show(
        sample.curve_figure(curve, plot.dark()),
        "activations_curve",
        sample.curve_finding(curve),
        table=lambda: sample.curve_table(curve),
        filename=_name(spec, "sorted"),
        live=live.steps("activations_curve", spec, _curves_of_steps, *about),
    )
    controls.percentile_here(spec)
    st.markdown(f"**{sample.algorithm(spec.method)}, with the numbers of this image**")
    st.markdown("\n".join(f"{i}. {step}" for i, step in enumerate(sample.steps(curve), start=1)))
    st.caption(sample.reading(curve))


def _curves_of_steps(spec: RunSpec, dark: bool, name: str, number: int) -> Iterator[Figure]:
    for p in film.PERCENTILES:
        done = samples.traced(setups.setup(spec), Method(spec.variant, float(p)), name, number)
        yield sample.curve_figure(sample.curve(done), dark)


def _logits(spec: RunSpec, one: Sample, curve: sample.Curve) -> None:
    shown = st.segmented_control(
        "Scale",
        ["raw", "relative"],
        default="raw",
        format_func=str.capitalize,
        required=True,
        key="logits_scale",
        persist_state="session",
    )
    record = logits.record(one.logits, one.shaped_logits, registry.entry(spec.model).classes)
    plot.show(
        logits.figure(record, spec.variant, shown == "relative", plot.dark()),
        "activations_logits",
        logits.finding(record),
        table=lambda: logits.table(record),
        filename=_name(spec, "logits"),
    )
    st.markdown(plain(logits.finding(record)))
    st.caption(
        "How to read it: outline before, filled after, a star at the largest. Raw shows how far shaping moves the "
        "scale, which the energy sees; relative takes the scale out and shows what changed between the classes."
    )


def _maps(spec: RunSpec, one: Sample, curve: sample.Curve) -> None:
    if one.picture is None or not _spatial(one):
        _no_maps(spec, one)
        return
    where = mosaic.positions(one.x, one.shaped, one.trace.kept[0].numpy())
    key = "activations_overlay"
    shown = st.segmented_control(
        "Over the image",
        list(mosaic.QUANTITIES),
        default="share",
        format_func=mosaic.QUANTITIES.__getitem__,
        required=True,
        key=f"{key}_what",
        persist_state="session",
    )
    figure = mosaic.overlay_figure(where, shown or "share", one.picture, plot.dark())
    plot.show(
        figure,
        key,
        mosaic.positions_finding(where),
        table=lambda: mosaic.positions_table(where),
        filename=_name(spec, "kept"),
    )
    st.caption(plain(mosaic.positions_finding(where)))
    st.caption(
        "How to read it: the stronger the orange over the image, the more is kept there. The channels are further down."
    )


def _mosaics(spec: RunSpec, one: Sample) -> None:
    st.markdown("##### Channels of this image")
    scales = {"channel": "Per channel", "global": "Global"}
    own = st.segmented_control(
        "Colour scale",
        list(scales),
        default="channel",
        format_func=scales.__getitem__,
        required=True,
        key="mosaic_scale",
        persist_state="session",
    )
    channels = mosaic.strongest(one.x)
    columns = st.columns(2)
    for column, maps, when in zip(columns, (one.x, one.shaped), ("before", "after"), strict=True):
        record = mosaic.mosaic(maps, channels, own == "channel")
        with column:
            st.markdown(f"**{when.capitalize()}**")
            plot.show(
                mosaic.mosaic_figure(record, spec.variant, plot.dark()),
                f"activations_mosaic_{when}",
                mosaic.mosaic_finding(record, when == "after"),
                table=lambda: mosaic.mosaic_table(one.x, one.shaped, channels),
                filename=_name(spec, f"channels-{when}"),
            )
    st.caption(
        f"How to read it: one tile a channel, the {len(channels)} strongest of {len(one.x)} before shaping, in the "
        "same order in both pictures. Grey is exactly 0. Per channel, every tile has its own scale; global, all tiles "
        "share one."
    )


def _no_maps(spec: RunSpec, one: Sample) -> None:
    st.markdown("At this placement every channel is one number. Maps exist at placements before the pooling.")
    names = registry.placements(spec.model)
    if len(names) > 1:
        last = list(names)[-2]
        pick = Pick.field("placement", last)
        st.button(f"Go to: {names[last]}", key="to_maps", icon=":material/grid_view:", on_click=dispatch, args=(pick,))
