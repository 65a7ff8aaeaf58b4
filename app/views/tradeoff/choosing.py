"""What is best on the Trade-off page: chosen on validation images, within a budget of accuracy."""

from dataclasses import dataclass

import pandas as pd

from app.backend import evaluations, protocol, setups
from app.backend.caches import cache_data
from app.link.fields import OFF
from app.link.spec import RunSpec
from app.theme import ALGORITHMS
from app.views.tradeoff.measured import beside, deep_rows, others_of
from ash.methods import Method
from ash.protocol import choose
from ash.tables import over_checkpoints


@dataclass(frozen=True)
class Choice:
    """What is best within the budget: on which metric, chosen on which part of the images, which method (None: none).

    `of_ash`: the best of the paper's variants. `without_data`: noise or a set of the user's, in words -> the choice
    with that alone for validation.
    """

    goal: str
    part: str
    method: str | None
    of_ash: str | None
    without_data: dict[str, str]


def budget_of(spec: RunSpec) -> float | None:
    """The points of accuracy that a choice may lose, None for any."""
    return None if spec.budget == OFF else spec.budget


def choice_of(spec: RunSpec, linear: bool, part: str) -> Choice:
    """The best setting of the sweep and of the other methods that are shown, chosen on validation images."""
    at, sets = setups.setup(spec), setups.sets_on(spec)
    goal = next((name for name in (spec.tradeoff.y, spec.tradeoff.x) if name != "id_accuracy"), "auroc")
    budget = budget_of(spec)
    where = protocol.ALL if part == protocol.ALL else protocol.VALIDATION
    alone = {name: f"noise ({setups.set_label(name)})" for name in protocol.noise_sets(at)}
    alone |= {name: setups.set_label(name) for name in protocol.own_sets(at)}
    on = (sets, *((name,) for name in alone))
    others = others_of(spec)
    if linear:
        found = _chosen(setups.each_checkpoint(spec), spec.score, others, spec.ood, where, budget, goal, on)
    else:
        rows = [deep_rows(at, spec.score, where), *beside(at, others, where, spec.ood)]
        found = _choices(pd.concat(rows, ignore_index=True).drop_duplicates(["method", "ood"]), budget, goal, on)
    first, of_ash, *rest = found
    return Choice(
        goal, where, first, of_ash, {words: one for words, one in zip(alone.values(), rest, strict=True) if one}
    )


@cache_data(max_entries=256)
def _chosen(
    every: tuple[setups.Setup, ...],
    score: str,
    others: tuple[str, ...],
    chosen: tuple[str, ...],
    part: str,
    budget: float | None,
    goal: str,
    on: tuple[tuple[str, ...], ...],
) -> list[str | None]:
    """`_choices` among the settings of a linear tail's sweep and other methods, by the mean over the checkpoints."""
    tables = {}
    for at in every:
        rows = [evaluations.table(at, score, part), *beside(at, others, part, chosen)]
        tables[at.checkpoint] = pd.concat(rows, ignore_index=True)
    return _choices(over_checkpoints(tables), budget, goal, on)


def _choices(rows: pd.DataFrame, budget: float | None, goal: str, on: tuple[tuple[str, ...], ...]) -> list[str | None]:
    """The best method on the first of some groups of OOD sets, the best of ASH there, the best on the other groups."""
    ash = [str(one) for one in rows["method"].unique() if Method.parse(one).variant in ALGORITHMS]
    first, *rest = (choose(rows, budget, goal, sets) for sets in on)
    return [first, choose(rows, budget, goal, on[0], among=ash), *rest]
