"""What a method did to one image, in a sentence and a small table: class, score, threshold, verdict."""

import math
from dataclasses import dataclass

from app import theme
from app.charts.sample import Curve
from app.charts.score_words import score_text

SCORE_NOUNS = {"energy": "energy", "msp": "max softmax", "max_logit": "max logit"}


@dataclass(frozen=True)
class Verdict:
    """Pairs are (before, after). `noun` names the image; no thresholds where the ID scores are not computed yet."""

    noun: str
    unit: str
    score: str
    scores: tuple[float, float]
    thresholds: tuple[float, float] | None
    predicted: tuple[str, str]
    truth: str | None

    @property
    def accepted(self) -> tuple[bool, bool] | None:
        """Whether the score reaches the threshold; a score that equals it up to rounding does."""
        if self.thresholds is None:
            return None
        pairs = zip(self.scores, self.thresholds, strict=True)
        before, after = (score >= line or math.isclose(score, line, rel_tol=1e-6) for score, line in pairs)
        return before, after


def sentence(verdict: Verdict, curve: Curve) -> str:
    """What was kept, what was done to it, where the score went, and the verdict."""
    method = curve.method
    noun, quantity = verdict.noun, SCORE_NOUNS[verdict.score]
    before, after = (score_text(score, verdict.score) for score in verdict.scores)
    words = None if verdict.accepted is None else ["accepted" if one else "rejected" for one in verdict.accepted]
    if method.variant == "none":
        end = f": {words[1]} as in-distribution" if words else ""
        return f"Without shaping, {noun} has the {quantity} {after}{end}."
    moved = (
        f"moves its {quantity} from {before} to {after}" if before != after else f"leaves its {quantity} at {before}"
    )
    end = f": {words[0]} before, {words[1]} after" if words else ""
    return f"{_action(curve, noun, verdict.unit)} and {moved}{end}."


def _action(curve: Curve, noun: str, unit: str) -> str:
    method, number = curve.method, theme.number
    if method.variant == "react":
        name = f"ReAct at c = {number(method.parameter or 0)}"
        return f"{name} clips {theme.count(curve.clipped)} of {theme.count(curve.n)} {unit} of {noun}"
    name = f"{method.label.split(' @')[0]} at p = {method.parameter:g}"
    kept = f"{name} keeps {theme.count(curve.k)} of {theme.count(curve.n)} {unit} of {noun}"
    what = {
        "ash_s": f", multiplies them by {number(curve.factor or 1)}",
        "ash_b": f", sets each of them to {number(curve.level or 0)}",
        "ash_rand": ", makes them random",
    }.get(method.variant, ", leaves them as they are")
    return kept + (what if curve.k else "")


def rows(verdict: Verdict) -> list[tuple[str, str, str]]:
    """(name, before, after) for a small table."""
    score, quantity = verdict.score, SCORE_NOUNS[verdict.score].capitalize()
    found = [("Class", *(_class(name, verdict.truth) for name in verdict.predicted))]
    found.append((quantity, *(score_text(value, score) for value in verdict.scores)))
    if verdict.thresholds is not None and verdict.accepted is not None:
        found.append(("Threshold", *(score_text(value, score) for value in verdict.thresholds)))
        found.append(("Verdict", *("✓ accepted" if one else "✕ rejected" for one in verdict.accepted)))
    return [(name, before, after) for name, before, after in found]


def _class(name: str, truth: str | None) -> str:
    return name if truth is None else f"{'✓' if name == truth else '✕'} {name}"
