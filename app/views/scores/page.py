"""Scores page: how far ID and OOD scores lie apart, what one threshold accepts, ROC, PR, and the live scrub."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
import streamlit as st

from app.backend import banks, evaluations, protocol, registry, setups
from app.backend.evaluations import Evaluation
from app.charts import bins, score_words, scores
from app.charts.plain import Figure
from app.errors import plain
from app.link.picks import Pick
from app.link.spec import RunSpec
from app.link.state import bind
from app.ui import code, controls, deep_progress, detector, live, plot, prepare, share, split
from app.views.scores import curves, roc_pr
from app.views.scores.parts import CHOSEN, bar_images, player, shown_sets
from ash.metrics import accepts, threshold_at_tpr

PICTURES = {"hist": "Histograms", "scrub": "Scrub p", "roc": "ROC", "pr": "PR"}
AXES = {"relative": "Relative", "raw": "Raw", "rank": "Rank"}
AXIS_HELP = (
    "Relative: score minus threshold, in inter-quartile ranges of the ID scores, so methods can be compared. "
    "Raw: the score itself. Rank: share of ID images below, so ID is flat and good OOD scores pile up at the left."
)
LEAST_TPR, MOST_TPR = 50.0, 99.9


def render(spec: RunSpec) -> None:
    """Draw the page for this spec."""
    st.title("Scores")
    if not (prepare.ready(spec) and deep_progress.ready(spec)):
        return
    part = protocol.usable(setups.setup(spec), spec.split)
    after = evaluations.evaluation(setups.setup(spec), str(spec.method), part)
    before = None
    if spec.method != evaluations.unshaped(spec).method:
        before = evaluations.evaluation(setups.setup(spec), str(evaluations.unshaped(spec).method), part)
    labels = shown_sets(spec)
    record = _record(spec, after, before)
    reference = evaluations.unshaped(spec).method.label
    st.markdown(f"**{plain(score_words.finding(record, reference))}**")
    controls.doubts(spec)
    _controls(spec)
    if spec.scores.curve == "hist":
        _histograms(spec, record, after)
    elif spec.scores.curve == "scrub":
        player(spec)
    else:
        _curves(spec, after, before, labels)
    if spec.scores.curve != "scrub":  # which has a slider of its own
        controls.percentile_here(spec)
    st.markdown("##### What the threshold does")
    st.table(score_words.counts(record, reference), width="content")
    split.measured_line(spec, list(labels)[1:])
    _reading(spec)
    _export(spec, after, before)
    code.show("scores_code", lambda: code.counts_program(spec, list(labels)[1:]))
    detector.export(spec)


def _record(spec: RunSpec, after: Evaluation, before: Evaluation | None) -> bins.Histograms:
    old = _scores(before) if before else None
    return bins.histograms(after.method.label, shown_sets(spec), _scores(after), old, spec.scores.axis, spec.tpr)


def _scores(one: Evaluation) -> tuple[bins.Scores, Mapping[str, bins.Scores]]:
    return one.id_scores, one.ood_scores


def _controls(spec: RunSpec) -> None:
    sets = setups.chosen_sets(spec)
    names = {"all": "All, one panel each", **sets}
    with st.container(horizontal=True, vertical_alignment="top"):
        st.segmented_control(
            "Picture", list(PICTURES), format_func=PICTURES.__getitem__, required=True, **bind("curve")
        )
        if spec.scores.curve in ("hist", "scrub"):
            axis = bind("axis")
            st.segmented_control(
                "Axis", list(AXES), format_func=AXES.__getitem__, required=True, help=AXIS_HELP, **axis
            )
        st.selectbox("OOD set", list(names), format_func=lambda name: names.get(name, name), width=185, **bind("set"))
        st.slider(
            "ID accepted (TPR)",
            LEAST_TPR,
            MOST_TPR,
            step=0.1,
            format="%.1f %%",
            width=190,
            help="Moves the threshold: the highest score that still accepts this share of the ID images.",
            **bind("tpr", to_widget=lambda tpr: min(max(round(tpr, 1), LEAST_TPR), MOST_TPR)),
        )
        split.control()


def _histograms(spec: RunSpec, record: bins.Histograms, after: Evaluation) -> None:
    if record.before and record.before_scale is None:
        st.caption("The unshaped scores lie outside this window of raw scores; the relative axis shows both.")

    def pick(marker: str) -> Pick:
        st.session_state[CHOSEN] = (_source(spec), marker)
        return Pick.field("set", spec.set)  # the bar is no part of the link: nothing else changes

    source, marker = st.session_state.get(CHOSEN, (None, None))
    chosen = bins.parse_bar(marker) if source == _source(spec) else None
    plot.show(
        scores.figure(record, spec.method.score, plot.dark()),
        "scores_hist",
        score_words.finding(record, evaluations.unshaped(spec).method.label),
        on_pick=pick,
        selected=marker if chosen else None,
        table=lambda: score_words.table(record, spec.method.score),
        filename=share.file_name("scores", spec.method),
        images=split.measured_words(spec, shown_sets(spec)),
        live=live.steps("scores_hist", spec, _histograms_of_steps),
    )
    if chosen:
        bar_images(spec, after, *chosen)
    else:
        st.caption("Click a bar to see its images.")


def _histograms_of_steps(spec: RunSpec, dark: bool) -> Iterator[Figure]:
    at = setups.setup(spec)
    part = protocol.usable(at, spec.split)
    before = evaluations.evaluation(at, str(evaluations.unshaped(spec).method), part)
    for after in evaluations.at_every_percentile(at, spec.variant, spec.score, part):
        yield scores.figure(_record(spec, after, before), spec.score, dark)


def _source(spec: RunSpec) -> tuple[setups.Setup, str]:
    """What the scores of a bar belong to."""
    return setups.setup(spec), str(spec.method)


def _curves(spec: RunSpec, after: Evaluation, before: Evaluation | None, labels: Mapping[str, str]) -> None:
    kind: roc_pr.Kind = "roc" if spec.scores.curve == "roc" else "pr"
    sets = dict(list(labels.items())[1:])
    new = (after.method.label, *_scores(after))
    old = None if before is None else (before.method.label, *_scores(before))
    record = roc_pr.curves(kind, sets, new, old, spec.tpr)
    plot.show(
        curves.figure(record, "none" if spec.other else spec.variant, spec.method.score, spec.tpr, plot.dark()),
        f"scores_{kind}",
        roc_pr.finding(record),
        table=lambda: roc_pr.table(record),
        filename=share.file_name(kind, spec.method),
        images=split.measured_words(spec, sets),
    )


def _reading(spec: RunSpec) -> None:
    """How to read the pictures, and the convention behind every number."""
    text = (
        "A higher score means more in-distribution. The threshold is the highest score that still accepts "
        f"{spec.tpr:g} % of the ID images (score >= threshold); ID is the positive class."
    )
    if spec.scores.curve == "hist":
        text += " The hatched OOD images lie on the accepted side: the less of them, the better."
        if spec.method != evaluations.unshaped(spec).method:
            text += " The outlines are the same images without shaping."
    elif spec.scores.curve == "scrub":
        text += " The slider under the picture plays in your browser, without waiting for the server."
    else:
        text += " The filled mark is this threshold; moving it moves along the curve."
    if spec.method.score == "msp":
        text += " The softmax score is ranked by its log-odds, which do not saturate; texts show the probability."
    st.caption(plain(text))


def _export(spec: RunSpec, after: Evaluation, before: Evaluation | None) -> None:
    every = shown_sets(replace(spec, set="all"))
    origin = {**share.provenance(spec), "images": split.measured_words(spec, list(every)[1:])}

    def make() -> str:
        names = {name: _named(spec, name) for name in every}
        return plot.csv_text(samples(names, after, before, spec.tpr), share.dated(origin))

    share.download(
        "Scores of every image (CSV)",
        make,
        share.file_name("scores", f"{spec.method}.csv"),
        "scores_samples",
    )


def _named(spec: RunSpec, name: str) -> pd.DataFrame:
    """Columns sample and label of a set: class names for the ID set, numbers elsewhere, empty where unknown."""
    at = setups.setup(spec)
    bank, is_id = banks.bank(at, name), name == at.id_set
    classes, labels = registry.entry(spec.model).classes, banks.id_labels(at) if is_id else bank.labels
    words = [(classes[label] if is_id else label) if label >= 0 else "" for label in labels.tolist()]
    whole = pd.DataFrame({"set": name, "sample": bank.names, "label": words})
    return whole.iloc[protocol.rows(at, name, protocol.usable(at, spec.split))].reset_index(drop=True)


def samples(
    names: Mapping[str, pd.DataFrame], after: Evaluation, before: Evaluation | None, tpr: float
) -> pd.DataFrame:
    """One row per image: its columns of `names` (ID set first), score and verdict without shaping and with it."""
    frames = []
    for position, (name, known) in enumerate(names.items()):
        columns: dict[str, Any] = {}
        for when, one in (("before", before or after), ("after", after)):
            values = one.id_scores if position == 0 else one.ood_scores[name]
            columns[f"score_{when}"] = values
            columns[f"accepted_{when}"] = accepts(values, threshold_at_tpr(one.id_scores, tpr / 100))
        frames.append(known.assign(**columns))
    return pd.concat(frames, ignore_index=True)
