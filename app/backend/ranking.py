"""Every variant on every network that is measured here: its best setting, chosen on validation, measured on test."""

import time
from collections.abc import Generator
from dataclasses import dataclass

import pandas as pd

from app.backend.banks import Step, missing_sets
from app.backend.caches import cache_data
from app.backend.engine import is_linear
from app.backend.evaluations import has_grid, table
from app.backend.protocol import ALL, VALIDATION, usable
from app.backend.registry import entry, models
from app.backend.requirements import unready
from app.backend.setups import Setup, once_a_run, setup
from app.link.spec import RunSpec
from ash.protocol import choose


@dataclass(frozen=True)
class Best:
    """The best setting of a variant on a network, its metrics there in percent, mean over the OOD sets.

    `gain`: points of AUROC above the same score without shaping.
    """

    network: str
    variant: str
    method: str
    auroc: float
    fpr95: float
    id_accuracy: float
    gain: float


@once_a_run
def networks(score: str) -> dict[str, Setup]:
    """Label -> setup of the networks whose activations are here, at the penultimate layer on their usual sets."""
    specs = {entry(name).label: RunSpec(model=name, score=score) for name in models()}
    ready = {label: setup(spec) for label, spec in specs.items() if not unready(spec)}
    return {label: at for label, at in ready.items() if is_linear(at) and not missing_sets(at)}


def left(score: str) -> dict[str, Setup]:
    """Those of the `networks` that are still to be evaluated."""
    return {label: at for label, at in networks(score).items() if not has_grid(at, score)}


def steps(score: str) -> Generator[Step, None, None]:
    """Evaluate what is `left`, network by network. Stop to cancel; what is finished is kept."""
    todo, begun = left(score), time.monotonic()
    for done, (label, at) in enumerate(todo.items()):
        spent = time.monotonic() - begun
        yield Step(label, done, len(todo), done / spent if done else 0.0, (len(todo) - done) * spent / max(done, 1))
        table(at, score)


def best(score: str, budget: float | None, split: str) -> tuple[Best, ...]:
    """The best setting of every variant on every network that is evaluated, and the score without shaping.

    A variant that has no setting within the budget (points of accuracy, None for any) on a network is left out there.
    """
    ready = {label: at for label, at in networks(score).items() if has_grid(at, score)}
    return tuple(one for label, at in ready.items() for one in _best(label, at, score, budget, usable(at, split)))


@cache_data(max_entries=64)
def _best(label: str, at: Setup, score: str, budget: float | None, part: str) -> list[Best]:
    chosen_on = table(at, score, part if part == ALL else VALIDATION)
    shown = table(at, score, part)
    means = shown[shown["ood"] == "mean"].set_index("method")
    found = []
    for variant, rows in means.groupby("variant", sort=False):
        method = choose(chosen_on, budget, among=list(rows.index))
        if method is not None:
            one, gain = rows.loc[method], rows.loc[method, "auroc"] - means.loc[score, "auroc"]
            numbers = (float(value) for value in (one.auroc, one.fpr95, one.id_accuracy, gain))
            found.append(Best(label, str(variant), method, *numbers))
    return found


def frame(found: tuple[Best, ...]) -> pd.DataFrame:
    """One row for each network and variant."""
    return pd.DataFrame([vars(one) for one in found])
