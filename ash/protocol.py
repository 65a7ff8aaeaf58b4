"""Choose on validation, report on test: the fixed split of every image set, and the best setting within a budget.

A percentile that is picked on the images it is reported on looks better than it is. So a set is split once and for all,
by a hash of the names of its images: on every machine, for every network, in whatever order they come. Parameters are
chosen on the validation images of the ID set and of OOD sets, as OpenOOD and pytorch-ood do it.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ash.errors import AshError
from ash.methods import SCORE_LABELS
from ash.tables import MEANS, Sweep

SHARE, LEAST = 10, 100  # one image of ten is for validation; at least so many, where they are not more than half
GOALS = {"auroc": 1.0, "fpr95": -1.0, "aupr": 1.0}  # what can be best, and the sign that makes more better
DIGITS = 9  # of a metric in percent that count in a choice: what lies beyond is rounding

Masks = Mapping[str, NDArray[np.bool_]]


class ProtocolError(AshError):
    """Images that cannot be split, or a choice that cannot be made."""


def validation_count(n: int) -> int:
    """How many of n images are for validation: a tenth, at least 100 or half of them, and never all."""
    return min(max(-(-n // SHARE), min(LEAST, -(-n // 2))), n - 1) if n else 0


def is_validation(names: Sequence[str], whole: Sequence[str] | None = None) -> NDArray[np.bool_]:
    """Which of these images (n,) are for validation: those of the smallest SHA-256 of the name.

    `whole`: the names of all images of the set, where `names` are some of them: an image is on the same side in every
    selection. ProtocolError for a name that is not among them, and for a set that cannot be split.
    """
    every = list(dict.fromkeys(names if whole is None else whole))
    if len(every) < 2:
        raise ProtocolError(f"A set of {len(every)} images cannot be split into validation and test: it takes two.")
    if missing := set(names).difference(every):
        raise ProtocolError(f"{len(missing)} images are not of the set to be split, {min(missing)!r} for one.")
    held = set(sorted(every, key=_digest)[: validation_count(len(every))])
    return np.fromiter((name in held for name in names), bool, len(names))


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode(errors="surrogateescape")).digest()


def lacking(validation: Masks) -> str:
    """Which set has no image for one of the parts, as a small selection may not; "" where all have. Masks by label."""
    for label, held in validation.items():
        if held.all() or not held.any():
            part = "test" if held.any() else "validation"
            return f"None of the {len(held)} images of {label} is for {part}: take more of them."
    return ""


def validation_and_test(sweep: Sweep, id_validation: NDArray[np.bool_], ood_validation: Masks) -> tuple[Sweep, Sweep]:
    """A sweep on the validation images alone, and on the test images. The masks: `is_validation` of each bank's names.

    ProtocolError where either part of a set has no image, as may happen to a small selection of a larger set.
    """
    if why := lacking({"the ID set": id_validation, **{name: ood_validation[name] for name in sweep.ood_scores}}):
        raise ProtocolError(why)
    test = {name: ~ood_validation[name] for name in sweep.ood_scores}
    return sweep.samples(id_validation, ood_validation), sweep.samples(~id_validation, test)


def choose(
    table: pd.DataFrame,
    budget: float | None = None,
    goal: str = "auroc",
    sets: Collection[str] | None = None,
    among: Collection[str] | None = None,
) -> str | None:
    """The best method of a sweep's table, which is that of validation images; None where none is left.

    Best is what has the best mean of `goal` (auroc, fpr95 or aupr) over these OOD sets, None for all; among equals the
    most accurate, then the first. `budget`: how many points of ID accuracy may be lost against the unshaped network,
    None for any number. `among`: the methods that may be chosen, None for all. ProtocolError for an unknown goal or
    set, and where a budget has nothing to be compared with.
    """
    if goal not in GOALS:
        raise ProtocolError(f"The best {goal!r} cannot be chosen; what can: {', '.join(GOALS)}.")
    known = [name for name in dict.fromkeys(table["ood"]) if name not in MEANS]
    wanted = known if sets is None else list(sets)
    if not wanted or (missing := set(wanted).difference(known)):
        raise ProtocolError(f"The table has no rows for {', '.join(sorted(missing)) if wanted else 'any OOD set'}.")
    rows = table[table["ood"].isin(wanted)]
    columns = ["id_accuracy", goal]
    means = rows.groupby("method", sort=False)[columns].mean().round(DIGITS)
    if budget is not None:
        means = means[losses(rows) <= budget]
    means = means[np.isfinite(means[goal]) & (True if among is None else means.index.isin(list(among)))]
    if means.empty:
        return None
    means[goal] *= GOALS[goal]
    ranked = means.sort_values([goal, "id_accuracy"], ascending=False, kind="stable", na_position="last")
    return str(ranked.index[0])


def losses(table: pd.DataFrame) -> "pd.Series[float]":
    """How many points of ID accuracy every method of a sweep's table loses against the unshaped network, by method.

    NaN where no label is known. ProtocolError where the unshaped network is not in the table.
    """
    unshaped = table[(table["variant"] == "none") & table["score"].isin(list(SCORE_LABELS))]
    if unshaped.empty:
        raise ProtocolError("A budget of accuracy needs the unshaped network among the methods, energy for one.")
    accuracy = table.groupby("method", sort=False)["id_accuracy"].mean()
    return (unshaped["id_accuracy"].iloc[0] - accuracy).round(DIGITS)


def loss_in_words(loss: float, budget: float) -> str:
    """A loss of more points than the budget, in as few digits as show that it is more: `0.4 points`, `0.02 points`."""
    texts = (f"{loss:.{digits}f}" for digits in range(1, DIGITS + 2))
    return f"{next(text for text in texts if float(text) > budget)} points"
