"""What the conventions of the paper's metrics are worth, measured: FPR95, AUPR, max softmax, the scale of pixels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.backend.caches import cache_data
from app.backend.engine import run
from app.backend.requirements import lack_of_each
from app.backend.setups import Setup, chosen_sets, setup
from app.backend.shipping import all_shipped, shipped
from app.link.spec import RunSpec


@dataclass(frozen=True)
class Effect:
    """One metric of one method by two conventions, percent: `convention` is a key of the page's table."""

    convention: str
    method: str
    metric: str
    ours: float
    theirs: float


def convention_effects(spec: RunSpec) -> tuple[tuple[Effect, ...], float | None]:
    """What each convention is worth under a spec, means over its OOD sets; and the share of ID images, percent, whose
    max softmax is exactly 1 in float32. Where nothing can be measured: from results that ship, with no share."""
    methods = ("energy", "msp", f"{SATURATING}:msp", TIED)
    if any(lack_of_each(spec, methods).values()):
        return _shipped_effects(spec.model), None
    return _effects(setup(spec), methods, tuple(chosen_sets(spec)))


SATURATING = "ash_s@95"
TIED = "ash_b_global@95"  # many images have nothing above the one threshold, and so one score


@cache_data(max_entries=16)
def _effects(at: Setup, methods: tuple[str, ...], ood: tuple[str, ...]) -> tuple[tuple[Effect, ...], float | None]:
    from ash import authors, metrics

    some, found = run(at, methods)[0], []

    def mean(row: int, rule: Callable[..., float], change: Callable[..., Any] = np.asarray) -> float:
        known = change(some.id_scores[row])
        return 100 * float(np.mean([rule(known, change(some.ood_scores[name][row])) for name in ood]))

    for row, method in enumerate(methods):
        soft = authors.softmax if method.endswith("msp") else np.asarray
        rules = (metrics.fpr_at_tpr, authors.fpr95), (metrics.aupr, authors.aupr)
        for convention, metric, (ours, theirs) in zip(("fpr95", "aupr"), ("fpr95", "aupr"), rules, strict=True):
            found.append(Effect(convention, method, metric, mean(row, ours, soft), mean(row, theirs, soft)))
        if soft is authors.softmax:
            pair = mean(row, metrics.auroc), mean(row, metrics.auroc, soft)
            found.append(Effect("msp", method, "auroc", *pair))
    saturated = 100 * float(np.mean(authors.softmax(some.id_scores[1]) == 1))
    return tuple(found), saturated


def _shipped_effects(model: str) -> tuple[Effect, ...]:
    """Effects that the two sets of rules in a file of results show, each of one convention alone."""
    there = shipped(model)
    if there is None:
        return ()
    means = there.table[there.table["ood"] == "mean"].set_index("method")
    wanted = [("fpr95", method, "fpr95") for method in ("energy", TIED)]
    wanted += [("aupr", method, "aupr") for method in ("energy", TIED)]
    wanted += [("msp", method, "auroc") for method in ("msp", f"{SATURATING}:msp")]
    return tuple(
        Effect(convention, method, name, float(means[name][method]), float(means[f"{name}_authors"][method]))
        for convention, method, name in wanted
        if method in means.index
    )


def scale_effects() -> tuple[Effect, ...]:
    """What another scale of the pixels does to the CIFAR-10 DenseNet: from results that ship, where both are there."""
    usual = shipped("densenet101_cifar10")
    other = next((one for one in all_shipped() if one.origin.get("variant", "").startswith("std")), None)
    if usual is None or other is None:
        return ()
    rows = [one.table.set_index(["method", "ood"]).loc[("energy", "mean")] for one in (usual, other)]
    return tuple(Effect("std", "energy", name, float(rows[0][name]), float(rows[1][name])) for name in SCALED)


SCALED = ("id_accuracy", "auroc", "fpr95")
