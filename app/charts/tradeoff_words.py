"""The computed sentences of the Trade-off page. Pure: settings in, text out, true for every sign."""

import math
from collections.abc import Sequence

from app.charts.front import Setting
from app.theme import LOWER_IS_BETTER, OBJECTIVE_LABELS, count, percent, points
from ash.methods import STEPS
from ash.protocol import loss_in_words
from ash.tables import MEANS

_DIGITS = 1
_KINDS = {"photos": "photographs", "cifar10": "small photographs", "fashion_mnist": "small grey pictures"}


def _size(difference: float) -> str:
    """The size of a difference as it is shown; '' when it rounds to nothing."""
    text = f"{abs(difference):.{_DIGITS}f}"
    return text if float(text) else ""


def change(difference: float, what: str, unchanged: str) -> str:
    """`gains 0.4 points of accuracy`, `loses 8.7 ...`, or what is said of a difference that rounds to nothing."""
    size = _size(difference)
    return f"{'gains' if difference > 0 else 'loses'} {size} {what}" if size else unchanged


def opening(id_set: str, known: int, unknown: int, pictures: bool) -> str:
    """The line for those who come without any knowledge: how many images there are of either kind, and the question.

    `id_set`: the name of the set, whose kind of images it says where that is known. Not `pictures`: rows of features.
    """
    kind, others = (_KINDS.get(id_set, "images"), "pictures") if pictures else ("samples", "samples")
    return (
        f"{count(known)} {kind} of what the network knows, "
        f"{count(unknown)} {others} of kinds it was never taught. Which does it accept?"
    )


def headline(current: Setting, baseline: Setting, where: str) -> str:
    """What the current method gains and loses against the unshaped score: the sentence on top of the page."""
    if current.method == baseline.method:
        return (
            f"{baseline.label}, unshaped, reaches {percent(current.auroc)} AUROC at "
            f"{percent(current.id_accuracy)} ID accuracy ({where}): everything else is measured against it."
        )
    auroc, accuracy = current.auroc - baseline.auroc, current.id_accuracy - baseline.id_accuracy
    preposition = "over" if auroc > 0 else "against"
    first = change(auroc, f"AUROC points {preposition} {baseline.label}", f"has the AUROC of {baseline.label}")
    second = change(accuracy, "points of accuracy", "keeps its accuracy")
    joint = "and" if (auroc < 0) == (accuracy < 0) or not _size(accuracy) or not _size(auroc) else "but"
    return f"{method_words(current)} {first} {joint} {second} ({where})."


def method_words(one: Setting) -> str:
    """`ASH-B at p = 65`, `ReAct at c = 1.2`, `Energy`, with the score where it is not energy."""
    name, _, rest = one.label.partition(" @ ")
    if one.variant not in STEPS or "@" in rest.partition(", ")[0]:  # no step, or several
        return one.label
    value, comma, score = rest.partition(", ")
    return f"{name} at {STEPS[one.variant].letter} = {value}{comma}{score}"


def advice(
    found: Setting | None, baseline: Setting, current: Setting, goal: str, budget: float | None, validated: bool = False
) -> str:
    """Which setting is best on an objective within the budget (points of accuracy, None for any).

    `validated`: it was chosen on validation images, and its numbers here are of others, where another may be better.
    """
    limit = (
        "With no limit on accuracy"
        if budget is None
        else f"At most {amount(budget)} of accuracy below {baseline.label}"
    )
    where = " on the validation images" if validated else ""
    if found is None:
        return f"{limit}, no setting of this sweep is left{where}."
    if found.method == baseline.method:
        return f"{limit}, nothing here beats {baseline.label} itself on {OBJECTIVE_LABELS[goal]}{where}."
    word = "lowest" if goal in LOWER_IS_BETTER else "highest"
    end = over_budget(found, baseline, budget) + (" It is the one loaded." if found.method == current.method else "")
    best = f"{limit}, **{method_words(found)}** has the {word} {OBJECTIVE_LABELS[goal]}{where}"
    return f"{best}{'; on the others it has' if validated else ':'} {numbers(found, baseline, goal)}.{end}"


def numbers(found: Setting, baseline: Setting, goal: str) -> str:
    """`94.9 % (+9.0), accuracy 74.2 % (\N{MINUS SIGN}4.1)`: what a choice has, on the images that it is measured on.

    No accuracy where no label is known.
    """
    value = f"{percent(found[goal])} ({_gain(found, baseline, goal)})"
    if math.isnan(found.id_accuracy):
        return value
    return f"{value}, accuracy {percent(found.id_accuracy)} ({_gain(found, baseline, 'id_accuracy')})"


def _gain(found: Setting, baseline: Setting, name: str) -> str:
    return points(found[name] - baseline[name]).removesuffix(" points")


def over_budget(found: Setting, baseline: Setting, budget: float | None) -> str:
    """A sentence where a choice loses more than the budget on images that it was not chosen on; "" where it does not.

    `budget`: points of accuracy, None for any.
    """
    loss = baseline.id_accuracy - found.id_accuracy
    if budget is None or not loss > budget + 1e-9:
        return ""
    return f" That is {loss_in_words(loss, budget)} less, more than the budget there: few images decide it."


def noise_words(found: Setting, good: Sequence[Setting], goal: str, interval: tuple[float, float]) -> str:
    """Which settings around the best one (`app.charts.front.as_good`) these images cannot tell from it."""
    name = OBJECTIVE_LABELS[goal]
    span = f"95 %: {interval[0]:.{_DIGITS}f} to {interval[1]:.{_DIGITS}f}"
    if len(good) < 2:
        return f"No other setting of that kind lies within the noise of its {name} ({span})."
    letter = STEPS[found.variant].letter
    return (
        f"Within the noise of its {name} ({span}): every {letter} from {good[0].parameter:g} to {good[-1].parameter:g}."
    )


def best_of_ash(found: Setting, baseline: Setting, goal: str, validated: bool, budget: float | None) -> str:
    """Which setting of the paper's variants was chosen, where another method is better; none that gains nothing.

    `validated`: on validation images; `budget`: the points of accuracy it may lose, None for any.
    """
    ash, within = "ASH-P, ASH-B and ASH-S", "" if budget is None else "within the budget "
    if found.merit(goal) <= baseline.merit(goal):
        return f"Of {ash} none is better {within}than {baseline.label}."
    chosen = ", chosen likewise," if validated else ""
    has = f"{OBJECTIVE_LABELS[goal]} {numbers(found, baseline, goal)}"
    return f"The best of {ash}{chosen} is {method_words(found)}: {has}.{over_budget(found, baseline, budget)}"


def without_data(label: str, found: Setting, usual: Setting, baseline: Setting, goal: str, budget: float | None) -> str:
    """How far a setting that was chosen with one OOD set alone lies from the usual choice, on the same test images.

    `budget`: the points of accuracy that either may lose against the baseline, None for any.
    """
    start = f"With {label} alone for validation, {method_words(found)} is chosen"
    if found.method == usual.method:
        return f"{start} as well."
    size = _size(found.merit(goal) - usual.merit(goal))
    over = over_budget(found, baseline, budget)
    accuracy = f", its accuracy {percent(found.id_accuracy)} ({_gain(found, baseline, 'id_accuracy')})" if over else ""
    if not size:
        return f"{start}: its test {OBJECTIVE_LABELS[goal]} is the same{accuracy}.{over}"
    better = f"{amount(float(size))} {'better' if found.merit(goal) > usual.merit(goal) else 'worse'}"
    return f"{start}: its test {OBJECTIVE_LABELS[goal]} is {percent(found[goal])}, {better}{accuracy}.{over}"


def amount(size: float) -> str:
    """`1 point`, `0.5 points`."""
    return f"{size:g} point" if size == 1 else f"{size:g} points"


def place_words(id_label: str, sets: dict[str, str], on: str) -> str:
    """`Fashion-MNIST, mean of 6 OOD sets`, of so many near or far ones, or the one set that the numbers are on."""
    if on not in MEANS:
        return f"{id_label} against {sets.get(on, on)}"
    if len(sets) == 1:
        return f"{id_label} against {next(iter(sets.values()))}"
    kind = "" if on == "mean" else f"{on} "
    return f"{id_label}, mean of {len(sets)} {kind}OOD sets"


def images_words(chosen: tuple[int, int] | None, measured: tuple[int, int]) -> str:
    """On how many ID and OOD images the best setting was chosen, and on how many others all are measured.

    `chosen` None: on the same images.
    """
    if chosen is None:
        return f"Chosen and measured on all {_sizes(measured)} images, where a choice looks better than it is."
    return f"Chosen on {_sizes(chosen)} validation images, measured on the other {_sizes(measured)}."


def measured_on(measured: tuple[int, int], whole: bool) -> str:
    """On how many ID and OOD images the numbers of a page are."""
    return f"Measured on all {_sizes(measured)} images." if whole else f"Measured on {_sizes(measured)} test images."


def _sizes(images: tuple[int, int]) -> str:
    return f"{count(images[0])} ID + {count(images[1])} OOD"
