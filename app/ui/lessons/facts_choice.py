"""The numbers of the last three lessons: choosing a setting, where to shape, what to report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

from app.backend import evaluations, lessons
from app.backend.lessons import Point
from app.charts import pareto
from app.charts.front import Setting, front, settings, within
from app.charts.front import best as best_setting
from app.charts.line_chart import Against, Line
from app.charts.placements import Place, Placements
from app.charts.tradeoff_words import change
from app.link.fields import OFF
from app.theme import count, counted, listed, percent, points
from app.ui.lessons.facts import LOSS, Found, Here, against, best, extremes, line, number, outline, spot
from app.ui.lessons.words import SAME, difference, gap
from app.ui.placement_values import STAND_IN
from ash.methods import STEPS, VARIANTS, Method
from ash.variants import PRUNING


def grid(here: Here) -> tuple[Setting, ...]:
    """Every setting of the trade-off."""
    return settings(evaluations.table(here.at, "energy"), "mean", here.sets)


def budget(here: Here) -> float:
    """The points of accuracy that may be lost: the user's, or what counts as kept."""
    return LOSS if here.spec.budget == OFF else here.spec.budget


def chosen_by(here: Here) -> Setting:
    """The setting with the highest AUROC within the budget."""
    every = grid(here)
    base = next(one for one in every if one.method == Method())
    found = best_setting(within(every, base.id_accuracy - budget(here)), "auroc")
    assert found is not None  # the unshaped score is always among them
    return found


def choosing(here: Here) -> Found:
    """Accuracy against AUROC, the Pareto front, the budget."""
    every = grid(here)
    base = next(one for one in every if one.method == Method())
    allowed = within(every, base.id_accuracy - budget(here))
    top, fewest = best_setting(every, "auroc"), best_setting(allowed, "fpr95")
    chosen = chosen_by(here)
    assert top is not None  # the unshaped score is always among them
    assert fewest is not None
    members = front(every, "id_accuracy", "auroc")
    values = {
        "settings": count(len(every)),
        "front": counted(len(members), "setting"),
        "budget": points(budget(here)).removeprefix("+") if budget(here) != 1 else "1 point",
        "chosen": chosen.label,
        "chosen_auroc": percent(chosen.auroc),
        "chosen_gap": gap(difference(chosen.auroc, base.auroc), "unshaped"),
        "chosen_accuracy": percent(chosen.id_accuracy),
        "chosen_fpr": percent(chosen.fpr95),
        "top": top.label,
        "top_auroc": percent(top.auroc),
        "top_accuracy": percent(top.id_accuracy),
        "top_accuracy_gap": gap(difference(top.id_accuracy, base.id_accuracy), "unshaped"),
        "fewest": fewest.label,
        "fewest_fpr": percent(fewest.fpr95),
        "allowed": count(len(allowed)),
    }
    facts = {
        "nothing_better": chosen.method == base.method,
        "same_choice": chosen.method == fewest.method,
        "budget_binds": top.method != chosen.method,
        "chosen_is_ash": chosen.variant.startswith("ash"),
    }
    pictures = {
        "front": front_picture(every, base),
        "front_budget": front_picture(every, base, (chosen,), base.id_accuracy - budget(here)),
    }
    return Found(values, facts, pictures)


def front_picture(
    every: tuple[Setting, ...], base: Setting, ringed: Sequence[Setting] = (), floor: float | None = None
) -> Against:
    """Accuracy against AUROC: the settings that lose at most a few points, the front, and some with a ring."""
    least = base.id_accuracy - 5 * LOSS
    lines = []
    for variant in VARIANTS:
        kept = [one for one in every if one.variant == variant and one.parameter is not None]
        spots = tuple((one.id_accuracy, one.auroc) for one in kept if one.id_accuracy >= least)
        if spots:
            lines.append(Line(STEPS[variant].label, variant, spots))
    drawn = pareto.record(every, current=base.method, baseline=base.method, paper=(), x="id_accuracy", y="auroc")
    says = f"On the Pareto front of accuracy and AUROC: {listed([one.label for one in drawn.front])}."
    if ringed:
        says += f" With a ring: {listed([one.label for one in ringed])}."
    return Against(
        "ID accuracy (%)",
        "AUROC (%)",
        tuple(lines),
        ("Energy, unshaped", base.auroc),
        base.id_accuracy,
        says=f"{says} Settings that lose more are not drawn.",
        rings=tuple((one.id_accuracy, one.auroc) for one in ringed),
        front=tuple((x, y) for x, y in drawn.steps() if x >= least),
        floor=floor,
    )


@dataclass(frozen=True)
class Thresholds:
    """ASH-B by each image's own percentile against one threshold for all: the gain of the first in AUROC, and more."""

    gain: float
    values: dict[str, str]
    counts_differ: bool
    picture: Against


def thresholds(here: Here) -> Thresholds:
    """Local against global threshold, each at its best p."""
    local, whole = here.curve("ash_b"), lessons.global_curve(here.at, here.sets)
    mine, ours = best(local), best(whole)
    share = lessons.above(here.at, ours.p or 0.0, here.sets)
    gain = mine.auroc - ours.auroc
    values = {
        "local_p": number(mine.p),
        "local_auroc": percent(mine.auroc),
        "global_p": number(ours.p),
        "global_auroc": percent(ours.auroc),
        "threshold_gap": gap(difference(mine.auroc, ours.auroc), "the second"),
        "above_id": percent(share.id),
        "above_ood": percent(share.ood),
    }
    lines = (line("own percentile", "ash_b", local, "auroc"), line("one threshold for all", "muted", whole, "auroc"))
    rings = [spot(one, "auroc") for one in (mine, ours)]
    picture = against(lines, "AUROC of ASH-B (%)", ("Energy, unshaped", here.base.auroc), rings=rings)
    return Thresholds(gain, values, abs(share.id - share.ood) >= SAME, picture)


def placing(here: Here, shown: Placements) -> Found:
    """Where to shape, and with whose threshold. `shown`: ASH-P at the placements of the page Placements."""
    duel, (_, lost) = thresholds(here), losses(shown)
    facts = {
        "has_earlier": len(lost) > 1,
        "is_missing": len(shown.known) < len(shown.places),
        "earlier_costs": len(lost) > 1 and lost[0][1] - lost[-1][1] >= SAME,
        "local_wins": duel.gain >= SAME,
        "global_wins": duel.gain <= -SAME,
        "neither_wins": abs(duel.gain) < SAME,
        "counts_differ": duel.counts_differ,
    }
    pictures = {"placements": placements_picture(shown), "thresholds": duel.picture}
    return Found({**duel.values, **placement_values(shown)}, facts, pictures)


def losses(shown: Placements) -> tuple[float, list[tuple[Place, float]]]:
    """The largest percentile that all computed placements share, and what each loses of its accuracy there, in network
    order; where they share none, the last placement alone at its own largest one.
    """
    shared = set.intersection(*({one.parameter for one in place.settings} for place in shown.known))
    some = shown.known if shared else shown.known[-1:]
    p = max(one or 0.0 for one in shared or {one.parameter for one in some[0].settings})
    found = []
    for place in some:
        assert place.baseline is not None
        kept = next(one.id_accuracy for one in place.settings if one.parameter == p)
        found.append((place, place.baseline.id_accuracy - kept))
    return p, found


def placement_values(shown: Placements) -> dict[str, str]:
    """The computed placements in words; the first and the last of them by name."""
    p, lost = losses(shown)
    missing = [place.label for place in shown.places if not place.known]
    return {
        "places": counted(len(shown.places), "placement"),
        "computed": listed([place.label for place, _ in lost]),
        "missing": listed(missing) if missing else "none",
        "shared_p": number(p),
        "earliest": lost[0][0].label,
        "earliest_change": change(-lost[0][1], "points of accuracy", "keeps its accuracy"),
        "last": lost[-1][0].label,
        "last_change": change(-lost[-1][1], "points of accuracy", "keeps its accuracy"),
    }


def placements_picture(shown: Placements) -> Against:
    """Accuracy of ASH-P against p, one line per placement, each beside its own unshaped accuracy: images may differ.

    Ringed: the earliest and the last one where `losses` compares them.
    """
    roles, (p, lost) = (*PRUNING, "id", "ood", "muted"), losses(shown)
    lines = []
    for role, place in zip(cycle(roles), reversed(shown.known), strict=False):
        assert place.baseline is not None
        level = place.baseline.id_accuracy
        lines.append(
            Line(place.label, role, tuple((one.parameter or 0.0, one.id_accuracy - level) for one in place.settings))
        )
    rings = [(p, -lost[end][1]) for end in (0, -1)]
    return against(lines, "ID accuracy, points above unshaped", ("Unshaped", 0.0), p, rings)


def reported(here: Here) -> Method:
    """The setting that is reported on: the one of the session."""
    return here.spec.method


def tried_on(here: Here) -> Method:
    """The same where it has a percentile, and a variant that has one in its place where not: of it there is a curve."""
    method = reported(here)
    return Method(method.variant, method.percentile) if method.percentile is not None else Method(STAND_IN, here.spec.p)


def reporting(here: Here) -> Found:
    """What to report about a setting, and what can go wrong."""
    method = reported(here)
    own, plain = (lessons.per_set(here.at, text, here.sets) for text in (str(method), "energy"))
    mean = {name: sum(getattr(one, name) for one in own.values()) / len(own) for name in ("accuracy", "auroc", "fpr95")}
    spans = evaluations.intervals(here.at, str(method), here.sets)
    span = spans and spans["auroc"]
    worse = [here.labels[name] for name in here.sets if own[name].auroc < plain[name].auroc - SAME]
    variant = tried_on(here).variant
    cost = lessons.held_out(here.at, variant, here.sets)
    values = {
        "method": method.label,
        "method_auroc": percent(mean["auroc"]),
        "method_gap": gap(difference(mean["auroc"], here.base.auroc), "unshaped"),
        "method_fpr": percent(mean["fpr95"]),
        "method_accuracy": percent(mean["accuracy"]),
        "method_accuracy_gap": gap(difference(mean["accuracy"], here.base.accuracy), "unshaped"),
        "low": percent(span[0]) if span else "",
        "high": percent(span[1]) if span else "",
        "worse": listed(worse) if worse else "no set",
        "set_count": count(len(here.sets)),
        "held_out": "" if cost is None else points(cost).removeprefix("+"),
        "held_out_variant": STEPS[variant].label,
        **_hard_case(here, str(method), plain),
    }
    facts = {
        "interval": span is not None,
        "some_worse": bool(worse),
        "chosen_elsewhere": cost is not None,
    }
    (hardest, _), _ = extremes(here, str(method))
    return Found(values, facts, {"hardest_scores": outline(here, str(method), hardest)})


def _hard_case(here: Here, method: str, plain: Mapping[str, Point]) -> dict[str, str]:
    """The OOD set with the lowest AUROC under a method; `plain`: the metrics without shaping."""
    (hardest, hard), (_, easy) = extremes(here, method)
    return {
        "hardest": here.labels[hardest],
        "hardest_auroc": percent(hard.auroc),
        "easiest_auroc": percent(easy.auroc),
        "hardest_fpr": percent(hard.fpr95),
        "hardest_plain": percent(plain[hardest].auroc),
        "hardest_gap": gap(difference(hard.auroc, plain[hardest].auroc), "unshaped"),
    }
