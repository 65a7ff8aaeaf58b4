"""Why one image was judged as it was: what its units add, its way through the percentiles, what excites a unit."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from app.backend.banks import bank
from app.backend.caches import cache_resource
from app.backend.engine import is_linear, kept, parts
from app.backend.evaluations import STEP, Evaluation, evaluation
from app.backend.samples import activation, sample
from app.backend.setups import Setup
from app.backend.turns import semaphore
from ash.methods import Method

if TYPE_CHECKING:
    from torch import Tensor

    from ash.contributions import Tail
    from ash.traces import Trace

Floats = NDArray[np.floating]
EXCITED = 3  # images kept for every unit
CHUNK_VALUES = 2**24  # activations of a bank looked at at once


@dataclass(frozen=True)
class Side:
    """One image before or after shaping, taken apart by unit (U,) and, where there are maps, by position (H, W).

    `to_logit`: what each unit adds to the logit of `winner`, the predicted class; `to_score`: to the score, to first
    order. `values`: the sum of its activation. `evidence`: `to_logit` by position instead, None without maps.
    """

    logits: Floats
    winner: int
    score: float
    values: Floats
    to_logit: Floats
    to_score: Floats
    evidence: Floats | None


@dataclass(frozen=True)
class Decision:
    """One image before and after shaping. `kept` (U,): values of each unit that survive, of `area` each.

    `share` (H, W): the share of the channels that is kept at a position, None without maps. `exact`: the tail is
    linear, so that `to_logit` and the bias sum to the logit.
    """

    before: Side
    after: Side
    kept: NDArray[np.integer]
    area: int
    share: Floats | None
    exact: bool


@cache_resource(max_entries=128)
def decision(at: Setup, method: str, name: str, index: int) -> Decision:
    """What decided about image `index` of data set `name` under a method."""
    return taken_apart(at, sample(at, method, name, index).trace)


def taken_apart(at: Setup, done: "Trace") -> Decision:
    """What decided about one image, from what a method did to it. Nothing is kept."""
    from ash.contributions import per_unit
    from ash.splitting import LinearTail

    x, shaped, mask = done.x[0], done.shaped[0], done.kept[0]
    by_unit = per_unit(mask.long()).numpy()
    share = mask.float().mean(0).numpy() if _has_maps(x) else None
    with semaphore:
        tail = _tail(at)
        factor = 1.0 if done.logit_factor is None else float(done.logit_factor[0])
        before, after = (_side(tail, *some, done.method.score) for some in ((x, 1.0), (shaped, factor)))
    exact = isinstance(tail, LinearTail)
    return Decision(before, after, by_unit, x.numel() // len(by_unit), share, exact)


def _tail(at: Setup) -> "Tail":
    """The tail of a setup, as one linear map where it is one. It is tried for that: call it on the device."""
    from ash.splitting import linear_tail

    tail = parts(at)[1]
    return linear_tail(tail, bank(at, at.id_set).shape[1:]) or tail


def _has_maps(x: "Tensor") -> bool:
    """Whether one activation is C maps of more than one position."""
    return x.dim() == 3 and x[0].numel() > 1


def _side(tail: "Tail", x: "Tensor", factor: float, score: str) -> Side:
    """Activation x (C, ...) taken apart, whose logits are multiplied by a factor, which is held fixed (LTS)."""
    import torch

    from ash.contributions import logits_of, per_unit, to_logit, to_score
    from ash.scores import SCORES

    with torch.no_grad():
        logits = factor * logits_of(tail, x[None])
    winner = int(logits.argmax())
    added = factor * to_logit(tail, x, winner)
    value = float(SCORES[score](logits))
    scored = to_score(tail, x, lambda made: SCORES[score](factor * made))
    evidence = added.sum(0).numpy() if _has_maps(x) else None
    values, one, other = (per_unit(part).numpy() for part in (x, added, scored))
    return Side(logits[0].numpy(), winner, value, values, one, other, evidence)


@cache_resource(max_entries=128)
def scores_without(at: Setup, method: str, name: str, index: int, units: tuple[int, ...]) -> tuple[float, ...]:
    """`without` for image `index` of data set `name`."""
    return without(at, sample(at, method, name, index).trace, units)


def without(at: Setup, done: "Trace", units: tuple[int, ...]) -> tuple[float, ...]:
    """The score of a shaped image with one unit set to 0 after shaping, for each of these units: exact."""
    from ash.contributions import logits_without
    from ash.scores import SCORES

    factor = done.logit_factor
    with semaphore:
        logits = logits_without(_tail(at), done.shaped[0], units)
    logits = logits if factor is None else float(factor[0]) * logits
    return tuple(SCORES[done.method.score](logits).tolist())


@dataclass(frozen=True)
class Path:
    """One image at percentiles p (n,) of a variant: score and predicted class at each."""

    p: tuple[float, ...]
    scores: Floats
    predicted: NDArray[np.integer]


@cache_resource(max_entries=128)
def percentile_path(at: Setup, variant: str, score: str, name: str, index: int, p: float) -> Path:
    """`path` of image `index` of data set `name`."""
    return path(at, variant, score, activation(at, name, index)[1], index, p)


def path(at: Setup, variant: str, score: str, values: Floats, index: int, p: float) -> Path:
    """An activation (C, ...) at the percentiles of the trade-off's grid and at p. The tail runs once, for all of them.

    `index`: its number in its data set, for ASH-RAND.
    """
    import torch

    from ash.contributions import logits_of
    from ash.engine.steps import run, scaled
    from ash.scores import SCORES

    found = tuple(sorted({*map(float, range(0, 100, STEP)), p}))
    x = torch.from_numpy(np.array(values))[None]
    made = [run(Method(variant, one, score).steps, x, first_index=index) for one in found]
    factors = torch.cat([torch.ones(1, dtype=torch.float64) if factor is None else factor for _, factor in made])
    with torch.no_grad(), semaphore:
        logits = scaled(logits_of(_tail(at), torch.cat([shaped for shaped, _ in made])), factors)
    return Path(found, SCORES[score](logits).numpy(), logits.argmax(1).numpy())


def known_evaluation(at: Setup, method: str) -> Evaluation | None:
    """The evaluation of a method where it costs no pass through the network, else None."""
    return evaluation(at, method) if is_linear(at) or kept(at, (method,)) else None


@cache_resource(max_entries=16)
def _exciting(at: Setup) -> NDArray[np.integer]:
    """(EXCITED, U): rows of the ID bank with the largest mean activation of every unit, the largest first."""
    import torch

    from ash.contributions import unit_axis

    one = bank(at, at.id_set)
    axis = 1 + unit_axis(torch.empty(one.shape[1:], device="meta"))
    rows = max(1, CHUNK_VALUES // int(np.prod(one.shape[1:])))
    best = np.empty((0, one.shape[axis]), np.float32)
    found = np.empty(best.shape, np.int64)
    start = 0
    for chunk in one.chunks(rows):
        means = chunk.mean(tuple(a for a in range(1, chunk.ndim) if a != axis), dtype=np.float32)
        numbers = np.broadcast_to(np.arange(start, start + len(chunk))[:, None], means.shape)
        best, found = _largest(np.concatenate([best, means]), np.concatenate([found, numbers]))
        start += len(chunk)
    return found


def _largest(values: NDArray[np.float32], rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The EXCITED largest of each column of values (n, U), the largest first, and what stands in `rows` there."""
    few = min(EXCITED, len(values))
    top = np.argpartition(-values, few - 1, axis=0)[:few]
    top = np.take_along_axis(top, np.argsort(-np.take_along_axis(values, top, 0), axis=0, kind="stable"), 0)
    return np.take_along_axis(values, top, 0), np.take_along_axis(rows, top, 0)


def exciting(at: Setup, units: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """For each of these units the rows of the ID bank that excite it most, by the mean over its positions."""
    found = _exciting(at)
    return tuple(tuple(found[:, unit].tolist()) for unit in units)
