"""What the pictures of one sample share: its data, its decision, the lines it is measured against, the verdict."""

from dataclasses import dataclass

import streamlit as st

from app.backend import decisions, registry, samples, setups
from app.backend.decisions import Decision
from app.backend.evaluations import Evaluation, evaluation, unshaped
from app.backend.samples import Sample
from app.backend.setups import Setup
from app.charts import bins, sample_summary
from app.charts.verdict_words import margin, verdict
from app.errors import plain
from app.link.spec import RunSpec
from app.ui import sample_picker, share
from ash.metrics import threshold_at_tpr


@dataclass(frozen=True)
class Facts:
    """One sample under the method of a spec. Pairs are (before, after); `margins` in IQRs of ID above the threshold.

    `scores` are those of the evaluations, as in the grid; only an image that a bank leaves out is scored by itself.

    `suffix` tells the widgets of two samples on one page apart. `truth`: the class of an ID image, None elsewhere.
    """

    spec: RunSpec
    suffix: str
    at: Setup
    data: str
    number: int
    one: Sample
    decision: Decision
    evaluations: tuple[Evaluation, Evaluation]
    scores: tuple[float, float]
    thresholds: tuple[float, float]
    margins: tuple[float, float]
    classes: tuple[str, ...]
    truth: str | None

    @property
    def predicted(self) -> tuple[str, str]:
        """The class with the largest logit before and after."""
        return self.classes[self.decision.before.winner], self.classes[self.decision.after.winner]

    @property
    def shaped(self) -> bool:
        """Whether the method does anything to activations."""
        return bool(self.spec.method.steps)

    @property
    def noun(self) -> str:
        """The score in words."""
        return sample_summary.score_noun(self.spec.score)

    def words(self, side: int) -> str:
        """The verdict before (0) or after (1) in markdown."""
        return verdict(self.predicted[side], self.margins[side], self.spec.tpr, lambda name: f"*{plain(name)}*")

    def key(self, what: str) -> str:
        """The widget key of a picture."""
        return f"one_{what}{self.suffix}"

    def file(self, what: str) -> str:
        """A file name for a download."""
        return share.file_name(what, self.spec.method, self.spec.source, self.number)


def facts(spec: RunSpec, suffix: str = "") -> Facts:
    """Gather them; warns where a link asks for a number beyond the end of the set."""
    at, data, number = setups.setup(spec), sample_picker.data_set(spec), sample_picker.index(spec)
    if number != spec.sample:
        label = setups.whole_set(data).label
        st.warning(plain(f"{label} has no number {spec.sample:,}; showing its last image, {number:,}."))
    with st.spinner("Taking the decision apart", show_time=True):
        one = samples.sample(at, str(spec.method), data, number)
        decided = decisions.decision(at, str(spec.method), data, number)
        before, after = (evaluation(at, str(some.method)) for some in (unshaped(spec), spec))
    pair = (before, after)
    lines = [threshold_at_tpr(some.id_scores, spec.tpr / 100) for some in pair]
    stored = [samples.stored_score(at, some, data, number) for some in pair]
    sides = zip((decided.before, decided.after), stored, strict=True)
    scores = [side.score if one_score is None else one_score for side, one_score in sides]
    found = [
        margin(score, line, bins.spread(some.id_scores)) for score, line, some in zip(scores, lines, pair, strict=True)
    ]
    classes = registry.entry(spec.model).classes
    truth = classes[one.label] if spec.source == "id" and 0 <= one.label < len(classes) else None
    return Facts(
        *(spec, suffix, at, data, number, one, decided, pair),
        *((scores[0], scores[1]), (lines[0], lines[1]), (found[0], found[1]), tuple(classes), truth),
    )
