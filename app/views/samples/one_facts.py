"""What the pictures of one sample share: its data, its decision, the lines it is measured against, the verdict."""

from dataclasses import dataclass

import streamlit as st

from app.backend import decisions, registry, samples, setups
from app.backend.decisions import Decision
from app.backend.evaluations import Evaluation, evaluation, unshaped
from app.backend.samples import Sample
from app.backend.setups import Setup
from app.backend.uploads import Uploads
from app.charts import bins, sample_summary
from app.charts.sample_table import class_words
from app.charts.verdict_words import margin, verdict
from app.errors import plain
from app.link.spec import RunSpec
from app.ui import sample_picker, share
from ash.metrics import threshold_at_tpr


@dataclass(frozen=True)
class Facts:
    """One sample under the method of a spec. Pairs are (before, after); `margins` in IQRs of ID above the threshold.

    `scores` are those of the evaluations, as in the grid; only an image that a bank leaves out is scored by itself.

    `suffix` tells the widgets of two samples on one page apart. `data`: its data set, "" for an image of the user's,
    whose `number` is its place among them. `truth`: the class of an ID image, None elsewhere.
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

    @property
    def is_id(self) -> bool | None:
        """Whether it is of the ID set; None for an image of the user's, of which nobody knows."""
        return self.data == self.at.id_set if self.data else None

    @property
    def label(self) -> str:
        """The name of its data set."""
        return setups.whole_set(self.data).label if self.data else "Your images"

    @property
    def named(self) -> str:
        """`This sneaker`, `This image of Letters`, `Your image shoe.png`."""
        if not self.data:
            return f"Your image {self.one.name}"
        if self.truth:
            return f"This {registry.class_in_sentence(self.spec.model, self.truth)}"
        return f"This image of {self.label}"

    @property
    def caption(self) -> str:
        """Its file and its class, or that it has none."""
        file = self.one.name.rsplit("/", 1)[-1]
        return f"{file}: {class_words(self.truth, self.is_id)}" if self.data else file

    def stored(self, some: Evaluation) -> float | None:
        """Its score in an evaluation, None where that does not have it."""
        return samples.stored_score(self.at, some, self.data, self.number) if self.data else None

    def without(self, units: tuple[int, ...]) -> tuple[float, ...]:
        """Its score after shaping without each of these units."""
        if self.data:
            return decisions.scores_without(self.at, str(self.spec.method), self.data, self.number, units)
        return decisions.without(self.at, self.one.trace, units)

    def path(self) -> decisions.Path:
        """Its scores and classes at every percentile of the variant."""
        spec = self.spec
        if self.data:
            return decisions.percentile_path(self.at, spec.variant, spec.score, self.data, self.number, spec.p)
        return decisions.path(self.at, spec.variant, spec.score, self.one.x, 0, spec.p)

    def key(self, what: str) -> str:
        """The widget key of a picture."""
        return f"one_{what}{self.suffix}"

    def file(self, what: str) -> str:
        """A file name for a download."""
        return share.file_name(what, self.spec.method, self.spec.source if self.data else "own", self.number)


def facts(spec: RunSpec, suffix: str = "") -> Facts:
    """Gather them; warns where a link asks for a number beyond the end of the set."""
    at, data, number = setups.setup(spec), sample_picker.data_set(spec), sample_picker.index(spec)
    if number != spec.sample:
        label = setups.whole_set(data).label
        st.warning(plain(f"{label} has no number {spec.sample:,}; showing its last image, {number:,}."))
    with st.spinner("Taking the decision apart", show_time=True):
        one = samples.sample(at, str(spec.method), data, number)
        decided = decisions.decision(at, str(spec.method), data, number)
        pair = _evaluations(spec)
    stored = [samples.stored_score(at, some, data, number) for some in pair]
    sides = zip((decided.before, decided.after), stored, strict=True)
    first, second = (side.score if one_score is None else one_score for side, one_score in sides)
    return _facts(spec, suffix, data, number, one, decided, pair, (first, second))


def facts_of_own(spec: RunSpec, own: Uploads, digest: str, number: int) -> Facts:
    """Those of an image of the user's, the `number`-th. Nothing of it is kept beyond this run."""
    with st.spinner("Taking the decision apart", show_time=True):
        one = own.sample(setups.setup(spec), str(spec.method), digest)
        decided = decisions.taken_apart(setups.setup(spec), one.trace)
        pair = _evaluations(spec)
    return _facts(spec, "_own", "", number, one, decided, pair, (decided.before.score, decided.after.score))


def _evaluations(spec: RunSpec) -> tuple[Evaluation, Evaluation]:
    before, after = (evaluation(setups.setup(spec), str(some.method)) for some in (unshaped(spec), spec))
    return before, after


def _facts(
    spec: RunSpec,
    suffix: str,
    data: str,
    number: int,
    one: Sample,
    decided: Decision,
    pair: tuple[Evaluation, Evaluation],
    scores: tuple[float, float],
) -> Facts:
    first, second = (threshold_at_tpr(some.id_scores, spec.tpr / 100) for some in pair)
    before, after = (
        margin(score, line, bins.spread(some.id_scores))
        for score, line, some in zip(scores, (first, second), pair, strict=True)
    )
    classes = registry.entry(spec.model).classes
    of_id = bool(data) and spec.source == "id"
    truth = classes[one.label] if of_id and 0 <= one.label < len(classes) else None
    return Facts(
        *(spec, suffix, setups.setup(spec), data, number, one, decided, pair),
        *(scores, (first, second), (before, after), tuple(classes), truth),
    )
