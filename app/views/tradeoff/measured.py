"""What the Trade-off page is about: every setting of the sweep and of what stands beside it, measured."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import pandas as pd

from app.backend import deep, engine, evaluations, registry, requirements, setups
from app.backend.caches import cache_resource
from app.charts.front import Setting, settings, settings_over
from app.charts.tradeoff_words import place_words
from app.link.spec import RunSpec
from ash.methods import Method


@dataclass(frozen=True)
class View:
    """What the page is about: all settings, the current and the unshaped one among them, and on which sets."""

    settings: tuple[Setting, ...]
    current: Setting
    baseline: Setting
    paper: tuple[Method, ...]
    where: str


def checkpoints_of(spec: RunSpec, linear: bool) -> tuple[setups.Setup, ...]:
    """The setups that the numbers are means over. At a deep tail, with a pass for each setting, it is one alone."""
    return setups.each_checkpoint(spec) if linear else (setups.setup(spec),)


def view_of(spec: RunSpec, linear: bool, part: str, measured: Mapping[str, Setting] = MappingProxyType({})) -> View:
    """All settings of the sweep with those of the page that lie between its marks, on a part of the images.

    `measured`: by id, what is known of those.
    """
    current, unshaped = spec.method, evaluations.unshaped(spec).method
    printed = (Method.parse(text) for label, text in registry.presets(spec.model).items() if label.startswith("Paper"))
    paper = tuple(replace(one, score=spec.score) for one in printed)
    at, every = setups.setup(spec), checkpoints_of(spec, linear)
    # At a deep tail a setting that is not there yet comes with the next step, it does not hold up the page.
    wanted = map(str, (current, unshaped, *(paper if linear else ())))
    sets = setups.sets_on(spec)
    swept = _swept(every, spec.score, sets, part) if linear else settings(deep_rows(at, spec.score, part), "mean", sets)
    known = {one.id for one in swept}
    between = [one for one in dict.fromkeys((*wanted, *others_of(spec))) if one not in known]
    more = [one for one in between if one not in measured]
    rows = (*swept, *(measured[one] for one in between if one in measured))
    if more:
        rows += settings_over({one.checkpoint: pd.concat(beside(one, more, part, spec.ood)) for one in every}, sets)
    by_method = {one.method: one for one in rows}
    labels = setups.chosen_sets(spec)
    where = place_words(setups.set_label(at.id_set), {name: labels[name] for name in sets}, spec.on)
    if at.checkpoint:
        where += f", over {len(every)} checkpoints" if len(every) > 1 else f", checkpoint {at.checkpoint}"
    return View(rows, by_method[current], by_method[unshaped], tuple(one for one in paper if one in by_method), where)


def others_of(spec: RunSpec) -> tuple[str, ...]:
    """What stands beside the sweep: the literature's methods, where they are asked for; and a method of another score
    than the sweep's with that score alone, so that what is best is none that they beat."""
    others = _baselines(spec) if spec.tradeoff.others else ()
    alone = evaluations.unshaped(spec).method
    return others if alone.score == spec.score else tuple(dict.fromkeys((*others, str(spec.method), str(alone))))


def _baselines(spec: RunSpec) -> tuple[str, ...]:
    """What the literature compares with, as far as it is measured with every checkpoint."""
    every = checkpoints_of(spec, engine.is_linear(setups.setup(spec)))
    first, *others = (requirements.baselines_here(replace(spec, checkpoint=at.checkpoint)) for at in every)
    return tuple(one for one in first if all(one in here for here in others))


def beside(at: setups.Setup, methods: Iterable[str], part: str, chosen: tuple[str, ...]) -> list[pd.DataFrame]:
    """The rows of methods beside the sweep's, a table each, on the chosen OOD sets at least."""
    return [evaluations.measure(setups.for_method(at, one, chosen), one, part) for one in methods]


@cache_resource(max_entries=64)
def _swept(every: tuple[setups.Setup, ...], score: str, sets: tuple[str, ...], part: str) -> tuple[Setting, ...]:
    """The settings of the sweep of a linear tail, over all checkpoints, which no step of the percentile changes."""
    return settings_over({at.checkpoint: evaluations.table(at, score, part) for at in every}, sets)


def deep_rows(at: setups.Setup, score: str, part: str) -> pd.DataFrame:
    """The rows of a deep tail's settings that are there so far: the page is drawn once there are some."""
    found = deep.deep_table(at, score, part)
    assert found is not None
    return found
