"""Cached evaluations: the trade-off's grid, the slider's percentiles, one method, its metrics and intervals."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app.backend.banks import activations, bank, id_labels, missing_sets
from app.backend.caches import cache_data, cache_resource
from app.backend.engine import is_linear, kept, run
from app.backend.protocol import ALL, part_of
from app.backend.setups import Setup, checkpoints, with_checkpoint
from app.link.spec import RunSpec
from ash.methods import SCORE_LABELS, VARIANTS, Method
from ash.results import clip_thresholds, front_methods
from ash.tables import Sweep, doubts_in_words, idle_in_words, same_scores

STEP = 5  # percentiles between the markers of the trade-off
AT_ONCE = 2**24  # values of all images together whose grid a page waits for


@cache_resource(max_entries=12)
def react_thresholds(at: Setup) -> tuple[float, ...]:
    """ReAct thresholds to show: quantiles of the ID activations, three digits, and the model's own.

    Those of the first of several checkpoints where it is `as_first`: only equal settings have a mean.
    """
    if at.as_first:
        at = replace(with_checkpoint(at, checkpoints(at.model)[0]), as_first=False)
    return clip_thresholds(activations(at, at.id_set), at.entry.react_threshold)


def grid_methods(at: Setup, score: str) -> tuple[str, ...]:
    """The settings of `grid`."""
    return front_methods(score, react_thresholds(at))


@cache_resource(max_entries=12)
def grid_with_origin(at: Setup, score: str) -> tuple[Sweep, dict[str, str]]:
    """`grid`, and where and when it was measured."""
    found = at_hand().get((at, score)) or run(at, grid_methods(at, score))
    at_hand().setdefault((at, score), None)
    return found


@cache_resource(max_entries=1)
def at_hand() -> dict[tuple[Setup, str], tuple[Sweep, dict[str, str]] | None]:
    """(setup, score) whose grid this server has measured or read; the grid where only it holds it."""
    return {}


def has_grid(at: Setup, score: str) -> bool:
    """Whether the grid of a linear tail is there: at hand, kept on disk, or shipped."""
    return (at, score) in at_hand() or kept(at, grid_methods(at, score))


def grid_takes_long(at: Setup, score: str) -> bool:
    """Whether the grid of a linear tail is still to be measured on so much that a page should not wait for it."""
    if (at, score) in at_hand() or not is_linear(at) or missing_sets(at):
        return False
    width = math.prod(bank(at, at.id_set).shape[1:])
    return width * sum(len(bank(at, name)) for name in at.sets) > AT_ONCE and not has_grid(at, score)


def grid(at: Setup, score: str) -> Sweep:
    """The settings that the trade-off draws: the score alone, ASH, SCALE, LTS every STEP percent, ReAct, BFAct."""
    return grid_with_origin(at, score)[0]


@cache_data(max_entries=64)
def table(at: Setup, score: str, part: str = ALL) -> pd.DataFrame:
    """The metrics of `grid` in percent on a part of the images, a row for each method and OOD set, and a `mean` row."""
    return part_of(grid(at, score), at, part).table(at.model, at.placement, at.id_set)


@cache_resource(max_entries=12)
def scrub(at: Setup, variant: str, score: str) -> Sweep:
    """One variant at every whole percentile 0..99, row = percentile: what a slider looks up."""
    return run(at, tuple(f"{variant}@{p}:{score}" for p in range(100)))[0]


@dataclass(frozen=True)
class Evaluation:
    """Scores of one method: ID (n,), OOD by set name, predictions on ID, accuracy (fraction; NaN unlabelled).

    The samples are the `rows` of a part of each bank, in that order.
    """

    method: Method
    id_scores: NDArray[np.floating]
    ood_scores: dict[str, NDArray[np.floating]]
    predictions: NDArray[np.integer]
    accuracy: float


def _find(at: Setup, method: Method) -> tuple[Sweep, int]:
    """A sweep that holds this method, and its row there: the trade-off's, the slider's, or one of its own."""
    if is_linear(at) and method.variant in VARIANTS and method.score in SCORE_LABELS and _worth_a_grid(at, method):
        known = grid(at, method.score)
        if method in known.methods:
            return known, known.methods.index(method)
        if method.percentile is not None and method.percentile.is_integer():
            return scrub(at, method.variant, method.score), int(method.percentile)
    return run(at, (str(method),))[0], 0


def _worth_a_grid(at: Setup, method: Method) -> bool:
    """Whether a method is looked up in its score's grid: of a score alone, or if it takes long, only if it is there."""
    if method.steps:
        return not grid_takes_long(at, method.score)
    return has_grid(at, method.score)


@cache_resource(max_entries=64)
def evaluation(at: Setup, method: str, part: str = ALL) -> Evaluation:
    """One method on a part of the ID set and of all OOD sets; looked up where a sweep already holds it."""
    return _looked_up(at, Method.parse(method), part)


def _looked_up(at: Setup, method: Method, part: str) -> Evaluation:
    done, row = _find(at, method)
    one = part_of(replace(done.part([row]), id_labels=id_labels(at)), at, part)
    scores = {name: values[0] for name, values in one.ood_scores.items()}
    return Evaluation(method, one.id_scores[0], scores, one.id_predictions[0], float(one.id_accuracy()[0]))


def at_every_percentile(at: Setup, variant: str, score: str, part: str) -> Iterator[Evaluation]:
    """`evaluation` of a variant at p = 0..99, none of it kept: for linear tails, whose sweeps hold them all."""
    return (_looked_up(at, Method(variant, float(p), score=score), part) for p in range(100))


def unshaped(spec: RunSpec) -> RunSpec:
    """The same configuration without shaping: what every gain is measured against.

    A score that reads the activation, or has a parameter of its own, is compared with itself: the sidebar's is another.
    One that scales the activation itself is compared with the sidebar's.
    """
    scoring = spec.method.scoring
    if spec.other and scoring.score.follows and (scoring.score.prepared or str(scoring) != scoring.score.name):
        return replace(spec, other=spec.method.score)
    return replace(spec, variant="none", other="")


@cache_data(max_entries=1024)
def measure(at: Setup, method: str, part: str = ALL) -> pd.DataFrame:
    """The rows of `table` for one method, on the grid or between its marks."""
    done, row = _find(at, Method.parse(method))
    return part_of(done.part([row]), at, part).table(at.model, at.placement, at.id_set)


@dataclass(frozen=True)
class Doubts:
    """Why a method's numbers are to be doubted: a sentence each, none for most.

    `grave` False where all that is open is which of equal activations are kept as they are or scaled: a unit or two of
    hundreds. Where they are filled, zeros come to life by it.
    """

    said: tuple[str, ...]
    grave: bool


@cache_data(max_entries=256)
def doubts(at: Setup, method: str, sets: tuple[str, ...]) -> Doubts:
    """Why a method's numbers on the ID set and these OOD sets, all images of them, are to be doubted."""
    asked = Method.parse(method)
    done, row = _find(at, asked)
    share = done.part([row], sets).table().query("ood == 'mean'").iloc[-1]
    said = doubts_in_words(asked, share.tied, share.beyond_range)
    grave = share.beyond_range > 0 or (share.tied > 0 and any(step.variant.does == "fill" for step in asked.steps))
    if asked.steps and asked.scoring.score.name in SCORE_LABELS:
        unshaped_row = _find(at, Method(score=asked.score))
        if same_scores(done.part([row]), unshaped_row[0].part([unshaped_row[1]])):
            said.append(idle_in_words(asked))
            grave = True
    return Doubts(tuple(said), grave)


@cache_data(max_entries=512)
def intervals(at: Setup, method: str, sets: tuple[str, ...], part: str = ALL) -> dict[str, tuple[float, float]] | None:
    """95 % bootstrap intervals, in percent, of the means over OOD sets: `auroc`, `fpr95`; None: see `no_interval`."""
    from ash import metrics

    if no_interval(at, method, sets, part):
        return None
    one = evaluation(at, method, part)
    novel = [one.ood_scores[name] for name in sets]
    if len({len(scores) for scores in novel}) == 1:  # their mean is that of all taken together, which is faster
        found = metrics.intervals(one.id_scores, np.concatenate(novel))
    else:
        found = metrics.mean_intervals(one.id_scores, novel)
    return {name: (100 * found[name][0], 100 * found[name][1]) for name in ("auroc", "fpr95")}


def no_interval(at: Setup, method: str, sets: tuple[str, ...], part: str = ALL) -> str:
    """Why `intervals` are not defined, in a few words; "" where it is."""
    one = evaluation(at, method, part)
    groups = [one.id_scores, *(one.ood_scores[name] for name in sets)]
    if not sets:
        return "no OOD set is chosen"
    if min(len(scores) for scores in groups) < 2:
        return "a single image does not vary"
    return (
        "" if len(np.unique([f(scores) for scores in groups for f in (np.min, np.max)])) > 1 else "all scores are equal"
    )
