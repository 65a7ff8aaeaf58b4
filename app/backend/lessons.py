"""The numbers of the lessons and of the questions: curves against the percentile, and the shares that explain them.

All of it comes from the sweeps of the other pages, at one setup. Metrics are in percent, the mean over some OOD sets.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from app.backend.banks import activations, bank, id_labels
from app.backend.caches import cache_data
from app.backend.distributions import spread
from app.backend.engine import parts, run
from app.backend.evaluations import STEP, evaluation, measure, table
from app.backend.setups import Setup
from app.backend.turns import semaphore

if TYPE_CHECKING:
    from torch import Tensor

PERCENTILES = tuple(range(0, 100, STEP))
ROWS = 1024  # activations scaled at once


@dataclass(frozen=True)
class Point:
    """One setting: its percentile (None without one), and its metrics in percent."""

    p: float | None
    accuracy: float
    auroc: float
    fpr95: float


Curve = tuple[Point, ...]


def unshaped_point(at: Setup, sets: tuple[str, ...], score: str = "energy") -> Point:
    """The score without shaping."""
    return _points(table(at, score), sets, [score])[0]


def curve(at: Setup, variant: str, sets: tuple[str, ...], score: str = "energy") -> Curve:
    """One variant of the trade-off's grid, from small to large p."""
    rows = table(at, score)
    return _points(rows, sets, list(dict.fromkeys(rows.loc[rows["variant"] == variant, "method"])))


@cache_data(max_entries=16)
def global_curve(at: Setup, sets: tuple[str, ...]) -> Curve:
    """ASH-B with one threshold for all images (Table 5), the p-th percentile of all ID activations."""
    methods = tuple(f"ash_b_global@{p}" for p in PERCENTILES)
    return _points(run(at, methods)[0].table(at.model, at.placement, at.id_set), sets, list(methods))


def _points(rows: pd.DataFrame, sets: tuple[str, ...], methods: list[str]) -> Curve:
    chosen = rows[rows["ood"].isin(sets)]
    means = chosen.groupby("method", sort=False)[["percentile", "id_accuracy", "auroc", "fpr95"]].mean()
    found = [(None if np.isnan(p) else float(p), *rest) for p, *rest in means.loc[methods].itertuples(index=False)]
    return tuple(Point(p, float(a), float(b), float(c)) for p, a, b, c in found)


@cache_data(max_entries=16)
def linear_curve(at: Setup, sets: tuple[str, ...]) -> Curve:
    """ASH-S with the plain factor s1/s2 in the place of exp(s1/s2), with the energy score."""
    from ash.metrics import auroc, fpr_at_tpr

    ids, labels = _scaled(at, at.id_set), id_labels(at)
    others = {name: _scaled(at, name) for name in sets}
    made = []
    for row, p in enumerate(PERCENTILES):
        scores = ids[0][row]
        pairs = [(auroc(scores, one[row]), fpr_at_tpr(scores, one[row])) for one, _ in others.values()]
        area, alarms = np.mean(pairs, axis=0)
        made.append(Point(float(p), *(float(100 * v) for v in (np.mean(ids[1][row] == labels), area, alarms))))
    return tuple(made)


def _scaled(at: Setup, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Energy and predicted class, (percentiles, n) each, of a data set whose kept values are multiplied by s1/s2."""
    from ash.scores import energy

    made = [(energy(logits).numpy(), logits.argmax(1).numpy()) for logits in _logits(at, name)]
    count = len(PERCENTILES)
    columns = [[np.concatenate([pair[kind] for pair in made[row::count]]) for row in range(count)] for kind in (0, 1)]
    return np.stack(columns[0]), np.stack(columns[1])


def _logits(at: Setup, name: str) -> "Iterator[Tensor]":
    """Logits (rows, C) of a data set scaled linearly: every percentile for the first rows, then for the next ones."""
    import torch

    one, tail = bank(at, name), parts(at)[1]
    for start in range(0, len(one), ROWS):
        rows = range(start, min(start + ROWS, len(one)))
        x = np.stack([one[row] for row in rows]).astype(np.float32)
        for shaped in linear_scaling(x, PERCENTILES):
            with torch.inference_mode(), semaphore:
                logits = tail(torch.from_numpy(shaped))
            yield logits


def linear_scaling(x: np.ndarray, percentiles: Sequence[float]) -> Iterator[np.ndarray]:
    """ASH-P at each percentile, the kept values times s1/s2, the sums of the sample before and after (1 for s2 = 0).

    x (N, ...) float32 is sorted once; among equals the lowest index stays, as in `ash.shaping.kept_mask`.
    """
    from ash.shaping import kept_count

    flat = x.reshape(len(x), -1)
    order = np.argsort(-flat, axis=1, kind="stable")
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.arange(flat.shape[1])[None], axis=1)
    sums = np.take_along_axis(flat, order, 1).cumsum(1, dtype=np.float64)  # (N, D) s2 when D + 1 values are kept
    for p in percentiles:
        k = kept_count(flat.shape[1], p)
        s2 = sums[:, [k - 1]] if k else np.zeros((len(x), 1))
        factor = np.divide(sums[:, [-1]], s2, out=np.ones_like(s2), where=s2 != 0)
        yield np.where(place < k, flat * factor, 0.0).astype(np.float32).reshape(x.shape)


# Shares of images and of values


def same_class(at: Setup, first: str, second: str) -> float:
    """Share of the ID images, in percent, that two methods give the same class."""
    return float(100 * np.mean(evaluation(at, first).predictions == evaluation(at, second).predictions))


def commonest_class(at: Setup, method: str) -> tuple[str, float]:
    """The class that a method predicts for most ID images, and for how many of them in percent."""
    counts = np.bincount(evaluation(at, method).predictions)
    return at.entry.classes[int(counts.argmax())], float(100 * counts.max() / counts.sum())


def units(at: Setup) -> int:
    """Number of values of one activation."""
    return int(np.prod(bank(at, at.id_set).shape[1:]))


@dataclass(frozen=True)
class Share:
    """A median over the ID images and one over the OOD images."""

    id: float
    ood: float


def mass(at: Setup, p: float, ood: tuple[str, ...]) -> Share:
    """Median share s2/s1 of the sum, in percent, that the values carry which ASH keeps at p."""
    found = spread(at, f"ash_p@{p!r}", ood, False)
    assert found.s2 is not None
    one, two = (float(100 * np.median(_ratio(s2, s1))) for s1, s2 in zip(found.s1, found.s2, strict=True))
    return Share(one, two)


def ratio(at: Setup, p: float, ood: tuple[str, ...]) -> Share:
    """Median s1/s2, the exponent of ASH-S at p."""
    found = spread(at, f"ash_s@{p!r}", ood, False)
    assert found.exponent is not None
    return Share(*(float(np.median(values)) for values in found.exponent))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.ones_like(part), where=whole != 0)


@cache_data(max_entries=64)
def above(at: Setup, p: float, ood: tuple[str, ...]) -> Share:
    """Median share of an image's values, in percent, that reach the p-th percentile of all ID activations."""
    ids = activations(at, at.id_set)
    line = np.quantile(ids, p / 100)
    rows = [[activations(at, name) for name in names] for names in ((at.id_set,), ood)]
    return Share(*(float(np.median(np.concatenate([_reaching(one, line) for one in some]))) for some in rows))


def _reaching(values: np.ndarray, line: float) -> np.ndarray:
    """(n,) share of each sample's values that reach the line, in percent."""
    found: np.ndarray = 100 * np.mean(values.reshape(len(values), -1) >= line, axis=1)
    return found


def sure(at: Setup, sets: tuple[str, ...]) -> Share:
    """Median largest softmax probability of the unshaped network, in percent."""
    one = evaluation(at, "msp")
    odds = one.id_scores, np.concatenate([one.ood_scores[name] for name in sets])
    return Share(*(float(100 / (1 + np.exp(-np.median(values)))) for values in odds))


def confident(at: Setup, sets: tuple[str, ...]) -> tuple[tuple[tuple[float, float], ...], ...]:
    """How many ID and OOD images, in percent, reach a largest softmax share: (share, images), the median among them."""
    middle = sure(at, sets)
    one = evaluation(at, "msp")
    found = []
    for values, median in (
        (one.id_scores, middle.id),
        (np.concatenate([one.ood_scores[name] for name in sets]), middle.ood),
    ):
        shares = 100 / (1 + np.exp(-values.astype(np.float64)))
        steps = sorted({*map(float, PERCENTILES), 99.0, median})
        found.append(tuple((step, float(100 * np.mean(shares >= step - 1e-9))) for step in steps))
    return tuple(found)


def held_out(at: Setup, variant: str, sets: tuple[str, ...]) -> float | None:
    """AUROC points that a percentile chosen on the other OOD sets costs on the one left out, mean over the sets.

    Against the best percentile for that set, which nobody knows beforehand. None for fewer than two sets.
    """
    if len(sets) < 2:
        return None
    rows = table(at, "energy")
    wide = rows[(rows["variant"] == variant) & rows["ood"].isin(sets)].pivot(
        index="percentile", columns="ood", values="auroc"
    )
    return float(np.mean([wide[one].max() - wide[one][wide.drop(columns=one).mean(axis=1).idxmax()] for one in sets]))


def per_set(at: Setup, method: str, sets: tuple[str, ...]) -> dict[str, Point]:
    """OOD set -> the metrics of a method against it alone."""
    rows = measure(at, method)
    return {name: _points(rows, (name,), [method])[0] for name in sets}
