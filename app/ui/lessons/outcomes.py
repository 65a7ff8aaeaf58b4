"""Predict, then reveal: which answer is right for the chosen network, computed from its measured curves."""

from collections.abc import Callable
from dataclasses import dataclass

from app.backend import lessons, registry
from app.charts.front import best as best_setting
from app.charts.front import within
from app.charts.line_chart import Against, Line
from app.charts.placements import Placements
from app.charts.tradeoff_words import amount
from app.theme import ALGORITHMS, count, listed, percent
from app.ui.lessons.facts import LOSS, Here, against, best, favours, line, number, spot
from app.ui.lessons.facts_choice import (
    budget,
    chosen_by,
    front_picture,
    grid,
    losses,
    placement_values,
    placements_picture,
    thresholds,
    tried_on,
)
from app.ui.lessons.words import SAME, difference, gap, order
from ash.methods import STEPS, VARIANTS, Method
from ash.variants import PRUNING

P, B, S = ALGORITHMS  # the variants of Algorithms 1 to 3
RANDOM_P = 65.0  # of the first row of Table 4
PRUNED_P = 90.0
HALF, NEARLY_ALL = 50.0, 90.0  # percent: of the softmax shares, where an answer about them ends


@dataclass(frozen=True)
class Outcome:
    """What is measured: the id of the right answer, what fills the texts, and the picture."""

    right: str
    values: dict[str, str]
    facts: dict[str, bool]
    picture: Against


def sure(here: Here) -> Outcome:
    """The largest softmax share of the median OOD image: doubts, leans or certain."""
    found = lessons.sure(here.at, here.sets)
    right = "doubts" if found.ood < HALF else "leans" if found.ood < NEARLY_ALL else "certain"
    known, unknown = lessons.confident(here.at, here.sets)
    lines = (Line("ID images", "id", known), Line("OOD images", "ood", unknown))
    picture = Against(
        "largest softmax share (%)",
        "images that reach it (%)",
        lines,
        at=found.ood,
        says=f"The largest share is {percent(found.ood)} or more on half of the OOD images, and {percent(found.id)} or "
        "more on half of the ID images.",
        rings=((found.ood, HALF),),
    )
    values = {"sure_id": percent(found.id), "sure_ood": percent(found.ood)}
    return Outcome(right, values, {"ood_is_sure": found.ood >= HALF}, picture)


def pruned(here: Here) -> Outcome:
    """Accuracy of ASH-P at one large p: keeps it, loses some, or most."""
    from ash.shaping import kept_count

    curve = here.curve(P)
    one = next(point for point in curve if point.p == PRUNED_P)
    lost = here.base.accuracy - one.accuracy
    right = "keeps" if lost < LOSS else "some" if one.accuracy > here.base.accuracy / 2 else "most"
    values = {
        "pruned_p": number(PRUNED_P),
        "pruned_kept": count(kept_count(lessons.units(here.at), PRUNED_P)),
        "pruned_accuracy": percent(one.accuracy),
        "pruned_gap": gap(difference(one.accuracy, here.base.accuracy), "with all of them"),
    }
    lines, level = [here.line(P, "accuracy")], ("Unshaped", here.base.accuracy)
    picture = against(lines, "ID accuracy (%)", level, PRUNED_P, [spot(one, "accuracy")])
    return Outcome(right, values, {"small_loss": right == "keeps"}, picture)


def zero(here: Here) -> Outcome:
    """ASH-B at p = 0: keeps, loses or guesses."""
    curve = here.curve(B)
    first, guess = curve[0], 100 / len(registry.entry(here.spec.model).classes)
    lost = here.base.accuracy - first.accuracy
    right = "keeps" if lost <= SAME else "guesses" if first.accuracy <= 2 * guess else "loses"
    word, share = lessons.commonest_class(here.at, "ash_b@0")
    top = max(curve, key=lambda one: one.accuracy)
    values = {
        "zero_accuracy": percent(first.accuracy),
        "common": word,
        "common_share": percent(share),
        "top_p": number(top.p),
        "top_accuracy": percent(top.accuracy),
    }
    picture = against(
        [here.line(name, "accuracy") for name in (B, P)],
        "ID accuracy (%)",
        ("Unshaped", here.base.accuracy),
        rings=[spot(first, "accuracy")],
    )
    return Outcome(right, values, {"one_class": share > 50}, picture)


def scaled(here: Here) -> Outcome:
    """Accuracy of ASH-S against ASH-P at the largest p: same, higher or lower."""
    pair = P, S
    pruned, kept = map(here.curve, pair)
    widest = max(
        ((s.accuracy - p.accuracy, s.p) for s, p in zip(kept, pruned, strict=True)), key=lambda one: abs(one[0])
    )
    last, right = number(kept[-1].p), order(kept[-1].accuracy - pruned[-1].accuracy)
    values = {
        "scaled_accuracy": percent(kept[-1].accuracy),
        "pruned_accuracy": percent(pruned[-1].accuracy),
        "widest": gap(widest[0], "that of ASH-P"),
        "widest_p": number(widest[1]),
        "last_p": last,
        "agreement": percent(lessons.same_class(here.at, f"ash_p@{last}", f"ash_s@{last}")),
        "last_auroc_p": percent(pruned[-1].auroc),
        "last_auroc_s": percent(kept[-1].auroc),
    }
    picture = against(
        [here.line(name, "accuracy") for name in pair],
        "ID accuracy (%)",
        ("Unshaped", here.base.accuracy),
        rings=[spot(one, "accuracy") for one in (pruned[-1], kept[-1])],
    )
    return Outcome(right, values, {"same": right == "same"}, picture)


def random_values(here: Here) -> Outcome:
    """AUROC of ASH-RAND at one p: little is left, most of it, or as good as the unshaped score."""
    curve = here.curve("ash_rand")
    one, top = next(one for one in curve if one.p == RANDOM_P), best(curve)
    lead, kept = here.base.auroc - 50, one.auroc - 50
    right = "good" if one.auroc >= here.base.auroc - SAME else "most" if kept >= lead / 2 else "little"
    values = {
        "random_p": number(RANDOM_P),
        "rand_auroc": percent(one.auroc),
        "rand_gap": gap(difference(one.auroc, here.base.auroc), "unshaped"),
        "rand_accuracy": percent(one.accuracy),
        "rand_top": percent(top.auroc),
        "rand_top_p": number(top.p),
        "rand_last": percent(curve[0].auroc),
    }
    lines = [here.line(name, "auroc") for name in ("ash_rand", P)]
    facts = {"works_here": right != "little"}
    picture = against(lines, *_auroc(here), RANDOM_P, [spot(one, "auroc")])
    return Outcome(right, values, facts, picture)


def exponent(here: Here) -> Outcome:
    """The factor exp(s1/s2) against s1/s2, each at its best p: higher, same or lower."""
    powers, plain = here.curve(S), lessons.linear_curve(here.at, here.sets)
    one, two = best(powers), best(plain)
    ratio = lessons.ratio(here.at, one.p or 0.0, here.sets)
    values = {
        "exp_p": number(one.p),
        "exp_auroc": percent(one.auroc),
        "linear_p": number(two.p),
        "linear_auroc": percent(two.auroc),
        "exponent_gap": gap(difference(one.auroc, two.auroc), "the ratio"),
        "ratio_id": f"{ratio.id:.3f}",
        "ratio_ood": f"{ratio.ood:.3f}",
        "last_p": number(powers[-1].p),
        "last_exp": percent(powers[-1].auroc),
        "last_linear": percent(plain[-1].auroc),
    }
    lines = [line("factor exp(s1/s2)", S, powers, "auroc"), line("factor s1/s2", "muted", plain, "auroc")]
    lines.append(line("ASH-P, no factor", P, here.curve(P), "auroc"))
    picture = against(lines, *_auroc(here), rings=[spot(point, "auroc") for point in (one, two)])
    return Outcome(order(one.auroc - two.auroc), values, favours(ratio), picture)


def _auroc(here: Here) -> tuple[str, tuple[str, float]]:
    return "AUROC (%)", ("Energy, unshaped", here.base.auroc)


def threshold(here: Here) -> Outcome:
    """ASH-B by each image's own percentile against one threshold for all, each at its best p: higher, same, lower."""
    duel = thresholds(here)
    return Outcome(order(duel.gain), duel.values, {"counts_differ": duel.counts_differ}, duel.picture)


def chosen(here: Here) -> Outcome:
    """Which kind of setting has the highest AUROC within the budget: ASH, another shape, or none above the energy."""
    every, base, found = grid(here), Method(), chosen_by(here)
    right = "none" if found.method == base else "ash" if found.variant in PRUNING else "other"
    unshaped = next(one for one in every if one.method == base)
    floor = unshaped.id_accuracy - budget(here)
    allowed = [one for one in within(every, floor) if one.method != base]
    ours, theirs = (
        best_setting([one for one in allowed if (one.variant in PRUNING) == of_ash], "auroc")
        for of_ash in (True, False)
    )
    others = [STEPS[name].label for name in VARIANTS if name != "none" and name not in PRUNING]
    values = {
        "settings": count(len(every)),
        "budget": amount(budget(here)),
        "others": listed(others),
        "chosen": found.label,
        "chosen_auroc": percent(found.auroc),
    }
    for name, one in (("ash", ours), ("other", theirs)):
        values[f"best_{name}"] = one.label if one else "none"
        values[f"best_{name}_auroc"] = percent(one.auroc) if one else "no AUROC"
    return Outcome(right, values, {}, front_picture(every, unshaped, (found,), floor))


def harmed(here: Here) -> Outcome:
    """AUROC of a setting against the OOD set on which it does least: higher, the same or lower than unshaped."""
    method = tried_on(here)
    own, plain = (lessons.per_set(here.at, text, here.sets) for text in (str(method), "energy"))
    gains = {name: own[name].auroc - plain[name].auroc for name in here.sets}
    least, most = (pick(gains, key=gains.__getitem__) for pick in (min, max))
    values = {
        "tried": method.label,
        "tried_mean": percent(sum(one.auroc for one in own.values()) / len(own)),
        "least": here.labels[least],
        "least_auroc": percent(own[least].auroc),
        "least_plain": percent(plain[least].auroc),
        "least_gap": gap(difference(own[least].auroc, plain[least].auroc), "unshaped"),
        "most": here.labels[most],
        "most_gap": gap(difference(own[most].auroc, plain[most].auroc), "unshaped"),
    }
    curve = lessons.curve(here.at, method.variant, (least,))
    picture = against(
        [line(STEPS[method.variant].label, method.variant, curve, "auroc")],
        f"AUROC against {here.labels[least]} (%)",
        ("Energy, unshaped", plain[least].auroc),
        method.percentile,
        [(method.percentile or 0.0, own[least].auroc)],
    )
    return Outcome({"higher": "gains", "same": "even", "lower": "harms"}[order(gains[least])], values, {}, picture)


def earlier(here: Here, shown: Placements) -> Outcome:
    """Accuracy of ASH-P at the earliest computed placement against the last: sooner, same or later."""
    _, lost = losses(shown)
    difference = lost[0][1] - lost[-1][1]
    right = {"higher": "sooner", "lower": "later", "same": "same"}[order(difference)]
    ids, oods = ([place.images[kind] for place in shown.known] for kind in (0, 1))
    values = {**placement_values(shown), "id_images": _span(ids), "ood_images": _span(oods)}
    facts = {"is_missing": len(shown.known) < len(shown.places)}
    return Outcome(right, values, facts, placements_picture(shown))


def _span(numbers: list[int]) -> str:
    """`10,000`, or `2,000 to 10,000` where placements are measured on different images."""
    low, high = min(numbers), max(numbers)
    return count(low) if low == high else f"{count(low)} to {count(high)}"


OUTCOMES: dict[str, Callable[[Here], Outcome]] = {
    "sure": sure,
    "pruned": pruned,
    "chosen": chosen,
    "harmed": harmed,
    "zero": zero,
    "scaled": scaled,
    "random": random_values,
    "exponent": exponent,
    "threshold": threshold,
}
"""Question id -> what is measured; `earlier` also needs the placements."""
