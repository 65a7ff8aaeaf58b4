"""The secondary pictures of one sample: its way through the percentiles, its leading classes, the evidence over it."""

from collections.abc import Callable, Sequence

import streamlit as st

from app.backend import decisions, samples
from app.errors import plain
from app.link.picks import Pick
from app.ui import plot
from app.views.samples import class_activation_map, one_lines, percentile_path, slope
from app.views.samples.one_facts import Facts
from ash.methods import VARIANTS


def _percentiles(one: Facts, shown: Sequence[Facts]) -> None:
    """When the verdict and the class flip, on one scale for all that are `shown`; a point is a pick of its p."""
    spec = one.spec
    if VARIANTS[spec.variant].parameter != "percentile":
        name = VARIANTS[spec.variant].label if spec.method.steps else "The score without shaping"
        st.caption(plain(f"{name} has no percentile; choose an ASH variant in the sidebar."))
        return
    record = _path(one)
    text = percentile_path.finding(record)
    st.markdown(f"**At every percentile.** {plain(text)}")
    plot.show(
        percentile_path.figure(record, plot.dark(), [_path(other) for other in shown if other is not one]),
        one.key("percentiles"),
        text,
        on_pick=lambda marker: Pick.field("p", float(marker)),
        selected=f"{spec.p:g}",
        table=lambda: percentile_path.table(record),
        filename=one.file("percentiles"),
    )
    st.caption("How to read it: filled marks are accepted, hollow ones rejected; a click on one loads its p.")


def _path(one: Facts) -> percentile_path.Path:
    spec = one.spec
    with st.spinner("Following the image through the percentiles", show_time=True):
        found = decisions.percentile_path(one.at, spec.variant, spec.score, one.data, one.number, spec.p)
        known = [decisions.known_evaluation(one.at, method) for method in one_lines.methods(spec, found.p)]
    scores, ids = found.scores.tolist(), [None if some is None else some.id_scores for some in known]
    for i, some in enumerate(known):
        stored = None if some is None else samples.stored_score(one.at, some, one.data, one.number)
        scores[i] = scores[i] if stored is None else stored
    predicted = [one.classes[index] for index in found.predicted.tolist()]
    names = (spec.variant, VARIANTS[spec.variant].label)
    return percentile_path.path(names, found.p, scores, predicted, ids, spec.p, spec.tpr)


def _top(one: Facts, _: Sequence[Facts]) -> None:
    """The leading classes before and after."""
    record = slope.record(one.decision.before.logits, one.decision.after.logits, one.classes)
    text = slope.finding(record)
    st.markdown(f"**Top {slope.TOP} before and after.** {plain(text)}")
    plot.show(
        slope.figure(record, one.spec.variant, plot.dark()),
        one.key("top5"),
        text,
        table=lambda: slope.table(record),
        filename=one.file("top5"),
    )
    st.caption(
        "How to read it: the numbers are softmax probabilities. They saturate, most of all after ASH-S, so the height "
        "is the logit instead, centred and scaled on each side by itself: compare the order and the gaps."
    )


def _where(one: Facts, _: Sequence[Facts]) -> None:
    """What is kept and what speaks for the class, over the image."""
    found = one.decision
    picture = one.one.picture
    if picture is None or found.share is None or found.before.evidence is None or found.after.evidence is None:
        return
    record = class_activation_map.Evidence(found.share, found.before.evidence, found.after.evidence, one.predicted)
    text = class_activation_map.finding(record)
    st.markdown(f"**Over the image.** {plain(text)}")
    plot.show(
        class_activation_map.figure(record, picture, plot.dark()),
        one.key("where"),
        text,
        table=lambda: class_activation_map.table(record),
        filename=one.file("evidence"),
    )
    how = "weight times activation" if found.exact else "gradient times activation, exact to first order"
    st.caption(
        plain(
            f"How to read it: evidence is the sum over the channels of what they add to the logit there ({how}). "
            "Orange speaks for the class, blue against it; each picture has its own scale, its ends are under it."
        )
    )


DRAW: dict[str, Callable[[Facts, Sequence[Facts]], None]] = {"percentiles": _percentiles, "top5": _top, "where": _where}
