"""The numbers of the lessons, as values, facts and pictures; this module holds what all share, and the first three."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from app import theme
from app.backend import evaluations, lessons, registry, setups
from app.backend.lessons import Curve, Point, Share
from app.charts import bins, score_words
from app.charts.line_chart import PERCENTILE, Against, Line, Spot, outlines
from app.link.spec import PENULTIMATE, RunSpec
from app.theme import ALGORITHMS, count, counted, listed, percent, points
from app.ui.lessons.words import SAME, difference, gap, order
from ash.methods import STEPS, Method

TPR = 95.0  # of FPR95, by its definition
LOSS = 1.0  # points of accuracy that count as kept
FALL = 1.0  # points of AUROC below the best that count as falling off


@dataclass(frozen=True)
class Found:
    """What fills a text, and the pictures of its handout by name."""

    values: dict[str, str]
    facts: dict[str, bool]
    pictures: dict[str, Against]


def lesson_spec(spec: RunSpec) -> RunSpec:
    """The configuration that lessons and questions are about: the penultimate layer and the energy score."""
    return replace(spec, placement=PENULTIMATE, score="energy", other="", on="mean", split="all", set="all", tpr=TPR)


class Here:
    """One network with its ID set and its OOD sets, as the lessons ask about it."""

    def __init__(self, spec: RunSpec) -> None:
        self.spec = lesson_spec(spec)
        self.at = setups.setup(self.spec)
        self.labels = setups.chosen_sets(self.spec)
        self.sets = tuple(self.labels)

    def curve(self, variant: str) -> Curve:
        """One variant against p."""
        return lessons.curve(self.at, variant, self.sets)

    def line(self, variant: str, metric: str) -> Line:
        """The same as a line under the variant's name."""
        return line(STEPS[variant].label, variant, self.curve(variant), metric)

    @cached_property
    def base(self) -> Point:
        """The unshaped energy."""
        return lessons.unshaped_point(self.at, self.sets)

    def point(self, variant: str, p: float) -> Point:
        """One variant at one percentile, on the grid or between its marks."""
        some = lessons.per_set(self.at, str(Method(variant, p)), self.sets).values()
        means = (float(np.mean([getattr(one, name) for one in some])) for name in ("accuracy", "auroc", "fpr95"))
        return Point(p, *means)

    def common(self) -> dict[str, str]:
        """Values that every text may use."""
        evaluation = evaluations.evaluation(self.at, "energy")
        classes = len(registry.entry(self.spec.model).classes)
        return {
            "model": registry.entry(self.spec.model).label,
            "id_set": setups.set_label(self.at.id_set),
            "sets": self.labels[self.sets[0]] if len(self.sets) == 1 else f"{len(self.sets)} OOD sets",
            "set_names": listed(list(self.labels.values())),
            "id_images": count(len(evaluation.id_scores)),
            "ood_images": count(sum(len(evaluation.ood_scores[name]) for name in self.sets)),
            "classes": count(classes),
            "guess": percent(100 / classes),
            "units": count(lessons.units(self.at)),
            "accuracy": percent(self.base.accuracy),
            "auroc": percent(self.base.auroc),
            "fpr": percent(self.base.fpr95),
            "same": f"{SAME:g} points",
            "loss": counted(int(LOSS), "point"),
        }

    def facts(self) -> dict[str, bool]:
        """Facts that every text may use."""
        return {"several_sets": len(self.sets) > 1}


def best(curve: Curve) -> Point:
    """The point with the highest AUROC; among equals the most accurate."""
    return max(curve, key=lambda one: (round(one.auroc, 9), one.accuracy))


def reach(curve: Curve, accuracy: float, loss: float = LOSS) -> float | None:
    """The largest p up to which every point stays within `loss` of an accuracy; None where the first one does not."""
    kept = None
    for one in curve:
        if one.accuracy < accuracy - loss - 1e-9:
            break
        kept = one.p
    return kept


def number(p: float | None) -> str:
    """A percentile as it is written."""
    return f"{0.0 if p is None else p:g}"


def line(name: str, role: str, curve: Curve, metric: str) -> Line:
    """A curve as a line against p."""
    return Line(name, role, tuple((one.p or 0.0, getattr(one, metric)) for one in curve))


def against(
    lines: Sequence[Line], y: str, level: tuple[str, float] | None, at: float | None = None, rings: Sequence[Spot] = ()
) -> Against:
    """A picture of some lines against p; `rings`: the points by which a question is judged."""
    return Against(PERCENTILE, y, tuple(lines), level, at, rings=tuple(rings))


def spot(point: Point, metric: str) -> Spot:
    """Where a point stands in a picture of a metric against p."""
    return point.p or 0.0, getattr(point, metric)


def histogram(here: Here, method: str, name: str) -> bins.Histograms:
    """Scores of one method, the ID set against one OOD set."""
    one = evaluations.evaluation(here.at, method)
    plain = evaluations.evaluation(here.at, "energy")
    labels = {here.at.id_set: setups.set_label(here.at.id_set), name: here.labels[name]}
    before = None if method == "energy" else (plain.id_scores, plain.ood_scores)
    return bins.histograms(one.method.label, labels, (one.id_scores, one.ood_scores), before, "relative", TPR)


def outline(here: Here, method: str, name: str) -> Against:
    """The same for a handout."""
    record = histogram(here, method, name)
    return outlines(record, record.ood[0], score_words.finding(record, "Energy"))


def extremes(here: Here, method: str) -> tuple[tuple[str, Point], tuple[str, Point]]:
    """The OOD set with the lowest AUROC and the one with the highest, each with its metrics."""
    found = lessons.per_set(here.at, method, here.sets)
    ranked = sorted(found.items(), key=lambda one: one[1].auroc)
    return ranked[0], ranked[-1]


def floored(value: float) -> float:
    """A percentage cut to one digit, for `more than`: it never reaches the next number by rounding."""
    return float(np.floor(10 * value) / 10)


def favours(ratio: Share) -> dict[str, bool]:
    """Whose ratio s1/s2 is the larger, in the digits that are shown."""
    difference = round(ratio.id, 3) - round(ratio.ood, 3)
    return {"favours_id": difference > 0, "favours_ood": difference < 0, "even": difference == 0}


# Lesson by lesson


def inputs(here: Here) -> Found:
    """What an OOD input does to a classifier."""
    (hardest, hard), (easiest, easy) = extremes(here, "energy")
    sure = lessons.sure(here.at, here.sets)
    values = {
        "hardest": here.labels[hardest],
        "hardest_auroc": percent(hard.auroc),
        "hardest_fpr": percent(hard.fpr95),
        "easiest": here.labels[easiest],
        "easiest_auroc": percent(easy.auroc),
        "sure_id": percent(floored(sure.id)),
        "sure_ood": percent(floored(sure.ood)),
    }
    facts = {"ood_is_sure": sure.ood >= 50, "useful": here.base.auroc > 50 + SAME}
    return Found(values, facts, {"energy_scores": outline(here, "energy", hardest)})


def pruning(here: Here) -> Found:
    """ASH-P, and what p does."""
    from ash.shaping import kept_count

    p, curve = here.spec.p, here.curve("ash_p")
    one, top, last, units = here.point("ash_p", p), best(curve), curve[-1], lessons.units(here.at)
    mass, kept = lessons.mass(here.at, p, here.sets), kept_count(units, p)
    limit = reach(curve, here.base.accuracy)
    values = {
        "p": number(p),
        "kept": count(kept),
        "removed": count(units - kept),
        "mass_id": percent(mass.id),
        "mass_ood": percent(mass.ood),
        "accuracy_p": percent(one.accuracy),
        "accuracy_gap": gap(difference(one.accuracy, here.base.accuracy), "without pruning"),
        "auroc_p": percent(one.auroc),
        "auroc_gap": gap(difference(one.auroc, here.base.auroc), "without pruning"),
        "reach": number(limit),
        "best_p": number(top.p),
        "best_auroc": percent(top.auroc),
        "best_gain": points(difference(top.auroc, here.base.auroc)).removeprefix("+"),
        "last_p": number(last.p),
        "last_auroc": percent(last.auroc),
        "last_accuracy": percent(last.accuracy),
    }
    facts = {
        "keeps_accuracy": limit is not None,
        "helps": top.auroc - here.base.auroc >= SAME,
        "falls_off": top.auroc - last.auroc >= FALL,
        "id_concentrated": mass.id - mass.ood >= SAME,
        "ood_concentrated": mass.ood - mass.id >= SAME,
        "alike": abs(mass.id - mass.ood) < SAME,
    }
    lines = (line("ID accuracy", "muted", curve, "accuracy"), line("AUROC", "ash_p", curve, "auroc"))
    picture = against(lines, "ASH-P (%)", ("AUROC without shaping", here.base.auroc), p)
    return Found(values, facts, {"pruning_curve": picture})


def shaping(here: Here) -> Found:
    """What is done with the values that remain."""
    p, curves = here.spec.p, {name: here.curve(name) for name in ALGORITHMS}
    tops = {name: best(curve) for name, curve in curves.items()}
    winner = max(ALGORITHMS, key=lambda name: tops[name].auroc)
    ratio, zero, last = lessons.ratio(here.at, p, here.sets), curves["ash_b"][0], curves["ash_s"][-1]
    values = {
        "p": number(p),
        **_each(here, tops),
        "ratio_id": f"{ratio.id:.3f}",
        "ratio_ood": f"{ratio.ood:.3f}",
        "factor_id": theme.number(np.exp(ratio.id)),
        "factor_ood": theme.number(np.exp(ratio.ood)),
        "agreement": percent(lessons.same_class(here.at, f"ash_p@{p!r}", f"ash_s@{p!r}")),
        "zero_accuracy": percent(zero.accuracy),
        "winner": STEPS[winner].label,
        "winner_p": number(tops[winner].p),
        "winner_auroc": percent(tops[winner].auroc),
        "winner_gap": gap(difference(tops[winner].auroc, here.base.auroc), "unshaped"),
        "last_p": number(last.p),
        "last_s": percent(last.auroc),
    }
    facts = {
        **favours(ratio),
        "s_falls": last.auroc < here.base.auroc - SAME,
        "b_collapses": zero.accuracy <= 2 * 100 / len(registry.entry(here.spec.model).classes),
        "winner_helps": order(tops[winner].auroc - here.base.auroc) == "higher",
    }
    found, right = ([here.line(name, metric) for name in ALGORITHMS] for metric in ("auroc", "accuracy"))
    pictures = {
        "variants_auroc": against(found, "AUROC (%)", ("Energy, unshaped", here.base.auroc), p),
        "variants_accuracy": against(right, "ID accuracy (%)", ("Unshaped", here.base.accuracy), p),
    }
    return Found(values, facts, pictures)


def _each(here: Here, tops: Mapping[str, Point]) -> dict[str, str]:
    """Every variant at the session's p, and at its own best one."""
    values = {}
    for name, top in tops.items():
        letter = name[-1]
        values[f"auroc_{letter}"] = percent(here.point(name, here.spec.p).auroc)
        values[f"best_{letter}"] = percent(top.auroc)
        values[f"best_p_{letter}"] = number(top.p)
    return values
