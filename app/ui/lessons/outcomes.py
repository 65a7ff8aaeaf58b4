"""Predict, then reveal: which answer is right for the chosen network, computed from its measured curves."""

from collections.abc import Callable
from dataclasses import dataclass

from app.backend import lessons, registry
from app.charts.line_chart import Against
from app.charts.placements import Placements
from app.theme import count, percent
from app.ui.lessons.facts import Here, against, best, favours, line, number
from app.ui.lessons.facts_choice import mean_losses, placement_values, placements_picture, thresholds
from app.ui.lessons.words import SAME, difference, gap, order

RANDOM_P = 65.0  # of the first row of Table 4


@dataclass(frozen=True)
class Outcome:
    """What is measured: the id of the right answer, what fills the texts, and the picture."""

    right: str
    values: dict[str, str]
    facts: dict[str, bool]
    picture: Against


def zero(here: Here) -> Outcome:
    """ASH-B at p = 0: keeps, loses or guesses."""
    curve = here.curve("ash_b")
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
        [here.line(name, "accuracy") for name in ("ash_b", "ash_p")],
        "ID accuracy (%)",
        ("Unshaped", here.base.accuracy),
    )
    return Outcome(right, values, {"one_class": share > 50}, picture)


def scaled(here: Here) -> Outcome:
    """Accuracy of ASH-S against ASH-P: same, higher or lower."""
    pair = "ash_p", "ash_s"
    pruned, kept = map(here.curve, pair)
    widest = max(
        ((s.accuracy - p.accuracy, s.p) for s, p in zip(kept, pruned, strict=True)), key=lambda one: abs(one[0])
    )
    last = number(kept[-1].p)
    values = {
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
    )
    return Outcome(order(widest[0]), values, {"same": order(widest[0]) == "same"}, picture)


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
    lines = [here.line(name, "auroc") for name in ("ash_rand", "ash_p")]
    facts = {"works_here": right != "little"}
    picture = against(lines, *_auroc(here), RANDOM_P)
    return Outcome(right, values, facts, picture)


def exponent(here: Here) -> Outcome:
    """The factor exp(s1/s2) against s1/s2, each at its best p: higher, same or lower."""
    powers, plain = here.curve("ash_s"), lessons.linear_curve(here.at, here.sets)
    one, two = best(powers), best(plain)
    ratio = lessons.ratio(here.at, one.p or 0.0, here.sets)
    values = {
        "exp_p": number(one.p),
        "exp_auroc": percent(one.auroc),
        "linear_p": number(two.p),
        "linear_auroc": percent(two.auroc),
        "exponent_gap": gap(difference(one.auroc, two.auroc), "the ratio"),
        "ratio_id": f"{ratio.id:.2f}",
        "ratio_ood": f"{ratio.ood:.2f}",
        "last_p": number(powers[-1].p),
        "last_exp": percent(powers[-1].auroc),
        "last_linear": percent(plain[-1].auroc),
    }
    lines = [line("factor exp(s1/s2)", "ash_s", powers, "auroc"), line("factor s1/s2", "muted", plain, "auroc")]
    picture = against([*lines, line("ASH-P, no factor", "ash_p", here.curve("ash_p"), "auroc")], *_auroc(here))
    return Outcome(order(one.auroc - two.auroc), values, favours(ratio), picture)


def _auroc(here: Here) -> tuple[str, tuple[str, float]]:
    return "AUROC (%)", ("Energy, unshaped", here.base.auroc)


def threshold(here: Here) -> Outcome:
    """ASH-B by each image's own percentile against one threshold for all, each at its best p: higher, same, lower."""
    duel = thresholds(here)
    return Outcome(order(duel.gain), duel.values, {"counts_differ": duel.counts_differ}, duel.picture)


def earlier(here: Here, shown: Placements) -> Outcome:
    """Accuracy of ASH-P at the earliest computed placement against the last: sooner, same or later."""
    losses = mean_losses(shown)
    difference = losses[0][1] - losses[-1][1]
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
    "zero": zero,
    "scaled": scaled,
    "random": random_values,
    "exponent": exponent,
    "threshold": threshold,
}
"""Question id -> what is measured; `earlier` also needs the placements."""
