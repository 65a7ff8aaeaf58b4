"""Why a sample was judged so, in three pictures: the verdict, its score among the others, the units that decided."""

import numpy as np
import streamlit as st
from PIL import Image

from app.backend import banks, decisions, samples, setups
from app.backend.thumbnails import thumbnail
from app.charts import sample_summary
from app.charts.sample_table import class_words
from app.charts.verdict_words import distance
from app.errors import plain
from app.theme import number
from app.ui import appearance, pictures, plot
from app.views.samples import placed_score, units_decided
from app.views.samples.one_facts import Facts

LARGE = 120  # pixels of the image
THUMBNAIL = 56  # pixels of an image beside a unit


def wide(one: Facts) -> None:
    """The three pictures in two columns."""
    _headline(one)
    left, right = appearance.panels("one", (1, 1))
    with left:
        _verdict(one)
        _scores(one)
    with right:
        _units(one)


def narrow(one: Facts) -> None:
    """The three pictures below each other, for one of two samples."""
    _headline(one)
    _verdict(one)
    _scores(one)
    _units(one)


def _headline(one: Facts) -> None:
    text = f"{plain(one.named)} is {one.words(1)}"
    if one.shaped:
        text += f"; without shaping {one.words(0)}"
    st.markdown(f"**{text}.**")


def _verdict(one: Facts) -> None:
    judged = sample_summary.Verdict(
        *(one.truth or "", "", one.spec.score, one.scores, one.thresholds, one.predicted, one.truth),
        is_id=one.is_id,
    )
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        pictures.show(one.one.picture, (one.label, class_words(one.truth, one.is_id)), LARGE, one.caption)
        lines = [f"| {name} | {before} | {after} |" for name, before, after in sample_summary.rows(judged)]
        places = [distance(above, one.spec.tpr).removesuffix(f" the {one.spec.tpr:g} % line") for above in one.margins]
        lines.append(f"| Margin | {places[0]} | {places[1]} |")
        st.markdown("\n".join(["| | before | after |", "| :--- | :--- | :--- |", *lines]), width="content")
    if one.data and (text := pictures.credit(one.data, one.number)):
        st.caption(text)


def _scores(one: Facts) -> None:
    """The score before and after against the ID set and the OOD sets."""
    sets = setups.chosen_sets(one.spec)
    names = [one.data] if one.data in one.evaluations[1].ood_scores else list(sets)
    if not names:
        st.caption("No OOD set is here to compare with; the page Library says how to get one.")
        return
    label = setups.set_label(names[0]) if len(names) == 1 else f"{len(names)} OOD sets"
    labels = {one.at.id_set: setups.whole_set(one.at.id_set).label, "ood": label}
    sides = [("before", 0), ("after", 1)] if one.shaped else [("now", 1)]
    panels = []
    for when, side in sides:
        some = one.evaluations[side]
        ood = np.concatenate([some.ood_scores[name] for name in names])
        found = placed_score.panel(
            when, some.method.label, labels, (some.id_scores, ood), one.scores[side], one.spec.tpr
        )
        panels.append(found)
    record = placed_score.Placed(tuple(panels), one.spec.score)
    text = placed_score.finding(record, one.spec.tpr)
    st.markdown(f"**Its score among the others.** {plain(text)}")
    plot.show(
        placed_score.figure(record, plot.dark()),
        one.key("scores"),
        text,
        table=lambda: placed_score.table(record),
        filename=one.file("score"),
    )


def _units(one: Facts) -> None:
    """The kept units that add most to the winning logit and to the score."""
    record = _decided(one)
    text = units_decided.finding(record)
    st.markdown(f"**Which units decided.** {plain(text)}")
    if not record.units:
        return
    plot.show(
        units_decided.figure(record, one.spec.variant, plot.dark()),
        one.key("units"),
        text,
        table=lambda: units_decided.table(record),
        filename=one.file("units"),
    )
    factor = one.one.trace.logit_factor
    more = "" if factor is None else f" The bars are multiplied as the logits are, by {number(float(factor[0]))}."
    st.caption(plain(_reading(record) + more))


def _reading(record: units_decided.Decided) -> str:
    bar = "weight times activation: all units and the bias sum to the logit"
    if not record.exact:
        bar = "gradient times activation, exact to first order: the tail here is not linear"
    return (
        f"How to read it: the bar is what a unit adds to the logit of {record.winner} after shaping ({bar}). The "
        f"diamond is the same for the {record.quantity}, by gradient times activation (exact to first order). The "
        f"cross is what the {record.quantity} loses without the unit (exact). A star marks a unit that alone decides "
        "the verdict."
    )


def _decided(one: Facts) -> units_decided.Decided:
    after = one.decision.after
    units = units_decided.leading(after.to_logit, after.to_score, one.decision.kept)
    without = one.without(units) if units else ()
    rows = decisions.exciting(one.at, units) if units else ()
    return units_decided.Decided(
        tuple(
            units_decided.Unit(
                unit,
                float(after.values[unit]),
                float(after.to_logit[unit]),
                float(after.to_score[unit]),
                _without(one, less),
                tuple(_excited(one, row) for row in images),
            )
            for unit, less, images in zip(units, without, rows, strict=True)
        ),
        one.predicted[1],
        int(np.count_nonzero(one.decision.kept)),
        len(one.decision.kept),
        units_decided.share_of(units, after.to_logit),
        one.spec.score,
        one.noun,
        one.scores[1],
        one.thresholds[1],
        one.decision.exact,
    )


def _without(one: Facts, score: float) -> float:
    """The score without a unit, on the scale of the evaluation: what it loses is computed on one path."""
    now = one.decision.after.score
    return one.scores[1] if score == now else one.scores[1] + (score - now)


def _excited(one: Facts, row: int) -> units_decided.Excited:
    """An ID image for the side of a unit."""
    name, pixels = samples.picture(one.at, one.at.id_set, row)
    label = int(banks.id_labels(one.at)[row])
    word = one.classes[label] if 0 <= label < len(one.classes) else "class unknown"
    uri = "" if pixels is None else thumbnail(Image.fromarray(pictures.enlarge(pixels, THUMBNAIL)), THUMBNAIL).uri
    return units_decided.Excited(name.rsplit("/", 1)[-1], word, uri)
