"""What a method did to one image, in a sentence and a small table: class, score, threshold, verdict."""

from dataclasses import dataclass

from app import theme
from app.charts.sample import Curve, done_to
from app.charts.score_words import score_text
from app.charts.verdict_words import rightly
from ash.methods import SCORE_LABELS
from ash.metrics import accepts

_NOUNS = {"energy": "energy", "msp": "max softmax", "max_logit": "max logit"}


def score_noun(score: str) -> str:
    """What a score of logits is called within a sentence."""
    return _NOUNS.get(score) or f"{SCORE_LABELS[score]} score"


@dataclass(frozen=True)
class Verdict:
    """Pairs are (before, after). `noun` names the image; no thresholds where the ID scores are not computed yet.

    `is_id`: whether it is of the ID set, None where nobody knows; `truth`: its class, where that is known.
    """

    noun: str
    unit: str
    score: str
    scores: tuple[float, float]
    thresholds: tuple[float, float] | None
    predicted: tuple[str, str]
    truth: str | None
    is_id: bool | None

    @property
    def accepted(self) -> tuple[bool, bool] | None:
        """Whether the score reaches the threshold."""
        if self.thresholds is None:
            return None
        before, after = (bool(accepts(*pair)) for pair in zip(self.scores, self.thresholds, strict=True))
        return before, after


def sentence(verdict: Verdict, curve: Curve) -> str:
    """What was kept, what was done to it, where the score went, and the verdict."""
    method = curve.method
    noun, quantity = verdict.noun, score_noun(verdict.score)
    before, after = (score_text(score, verdict.score) for score in verdict.scores)
    words = None if verdict.accepted is None else ["accepted" if one else "rejected" for one in verdict.accepted]
    if not method.steps:
        end = f": {words[1]} as in-distribution" if words else ""
        return f"Without shaping, {noun} has the {quantity} {after}{end}."
    moved = (
        f"moves its {quantity} from {before} to {after}" if before != after else f"leaves its {quantity} at {before}"
    )
    end = f": {words[0]} before, {words[1]} after" if words else ""
    return f"{_action(curve, noun, verdict.unit)} and {moved}{end}."


def _action(curve: Curve, noun: str, unit: str) -> str:
    number, (step,) = theme.number, curve.method.steps
    name = f"{step.variant.label} at {step.variant.letter} = {step.parameter:g}"
    things = f"{unit} of {noun}"
    if not curve.prunes:
        return f"{name} {done_to(curve, things)}"
    kept = f"{name} keeps {theme.count(curve.k)} of {theme.count(curve.n)} {things}"
    if curve.factor is not None:
        return f"{kept}, multiplies them by {number(curve.factor)}"
    if curve.level is not None:
        return f"{kept}, sets each of them to {number(curve.level)}"
    if curve.does == "random" and curve.k:
        return f"{kept}, makes them random"
    return f"{kept}, leaves them as they are" if curve.k else kept


def rows(verdict: Verdict) -> list[tuple[str, str, str]]:
    """(name, before, after) for a small table."""
    score, noun = verdict.score, score_noun(verdict.score)
    quantity = noun[0].upper() + noun[1:]
    found = [("Class", *(_class(name, verdict.truth) for name in verdict.predicted))]
    found.append((quantity, *(score_text(value, score) for value in verdict.scores)))
    if verdict.thresholds is not None and verdict.accepted is not None:
        found.append(("Threshold", *(score_text(value, score) for value in verdict.thresholds)))
        found.append(("Verdict", *(_side(one, verdict.is_id) for one in verdict.accepted)))
    return [(name, before, after) for name, before, after in found]


def _side(accepted: bool, is_id: bool | None) -> str:
    word = "accepted" if accepted else "rejected"
    return word if is_id is None else f"{word}, {rightly(accepted, is_id)}"


def _class(name: str, truth: str | None) -> str:
    return name if truth is None else f"{'✓' if name == truth else '✕'} {name}"
