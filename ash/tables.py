"""The result of a sweep: scores per sample, and the tidy table of metrics made from them."""

import os
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ash.errors import AshError
from ash.methods import Method
from ash.metrics import check_scores, threshold_at_tpr

COLUMNS = [
    *("model", "placement", "id", "ood", "method", "variant", "percentile", "score"),
    *("auroc", "fpr95", "aupr", "id_accuracy", "n_id", "n_ood"),
    *("tied", "beyond_range"),
]
METRICS = ("auroc", "fpr95", "aupr", "id_accuracy")
MEANS = ("mean", "near", "far")  # in the column `ood`: rows of no set of their own


@dataclass(frozen=True)
class Sweep:
    """Scores per sample of M methods: `id_scores` (M, N), `ood_scores` name -> (M, n); higher = more in-distribution.

    `id_predictions` (M, N): the class with the largest logit after shaping. `id_labels` (N,), -1 where unknown.
    `id_doubts`, `ood_doubts` (M, 2): for how many samples the result hangs on which of some equal values at the cut are
    kept, and for how many it lies beyond the range of the float it is computed in, so that their order is lost.
    `on_gpu`: it was made on a GPU, which then counts the metrics too.
    """

    methods: tuple[Method, ...]
    id_scores: NDArray[np.floating]
    ood_scores: dict[str, NDArray[np.floating]]
    id_predictions: NDArray[np.integer]
    id_labels: NDArray[np.integer] | None
    id_doubts: NDArray[np.integer] | None = None
    ood_doubts: dict[str, NDArray[np.integer]] = field(default_factory=dict)
    on_gpu: bool = False

    def part(self, rows: Sequence[int] | None = None, sets: Collection[str] | None = None) -> "Sweep":
        """Some of the methods, by their rows, on some of the OOD sets; None for all."""
        at = slice(None) if rows is None else list(rows)
        names = [name for name in self.ood_scores if sets is None or name in sets]
        return Sweep(
            self.methods if rows is None else tuple(self.methods[row] for row in rows),
            self.id_scores[at],
            {name: self.ood_scores[name][at] for name in names},
            self.id_predictions[at],
            self.id_labels,
            None if self.id_doubts is None else self.id_doubts[at],
            {name: self.ood_doubts[name][at] for name in names if name in self.ood_doubts},
            self.on_gpu,
        )

    def samples(self, of_id: NDArray[np.bool_], of_ood: Mapping[str, NDArray[np.bool_]]) -> "Sweep":
        """The same methods on some of the samples, by a mask (n,) for each set; how many are doubtful is not known."""
        return replace(
            self,
            id_scores=self.id_scores[:, of_id],
            ood_scores={name: scores[:, of_ood[name]] for name, scores in self.ood_scores.items()},
            id_predictions=self.id_predictions[:, of_id],
            id_labels=None if self.id_labels is None else self.id_labels[of_id],
            id_doubts=None,
            ood_doubts={},
        )

    def id_accuracy(self) -> NDArray[np.float64]:
        """(M,) share of the labelled ID samples that the shaped network classifies correctly; NaN without labels."""
        known = np.zeros(0, bool) if self.id_labels is None else self.id_labels >= 0
        if self.id_labels is None or not known.any():
            return np.full(len(self.methods), np.nan)
        return np.mean(self.id_predictions[:, known] == self.id_labels[known], axis=1)

    def table(
        self, model: str = "", placement: str = "", id: str = "", groups: Mapping[str, Sequence[str]] | None = None
    ) -> pd.DataFrame:
        """One row for each method and OOD set and a `mean` row over the sets; metrics in percent, FPR at 95 % TPR.

        `groups`: `near` and `far` -> some of the sets, whose mean is a row of that name too (`ash.data.near_and_far`).
        `tied` and `beyond_range`: percent of the ID and OOD samples with a doubtful result; NaN where it is not known.
        """
        sizes = {name: scores.shape[1] for name, scores in self.ood_scores.items()}
        every = {**{name: (name,) for name in sizes}, "mean": tuple(sizes), **(groups or {})}
        cells = self._metrics()
        rows = []
        for i, (method, measured, accuracy) in enumerate(zip(self.methods, cells, self.id_accuracy(), strict=True)):
            head = (model, placement, id)
            what = (str(method), method.variant, method.pruned, method.score)
            found = dict(zip(sizes, measured, strict=True))
            for ood, sets in every.items():
                values = found.get(ood) or (np.mean([found[n] for n in sets], axis=0) if sets else (np.nan,) * 3)
                percent = (100 * v for v in (*values, accuracy))
                n = sum(sizes[name] for name in sets)
                rows.append((*head, ood, *what, *percent, self.id_scores.shape[1], n, *self._doubts(i, sets)))
        return pd.DataFrame(rows, columns=COLUMNS).astype({"percentile": float})

    def _doubts(self, row: int, names: Sequence[str]) -> tuple[float, float]:
        """`tied` and `beyond_range` of a method on the ID set and some OOD sets."""
        if self.id_doubts is None or not all(name in self.ood_doubts for name in names):
            return np.nan, np.nan
        samples = self.id_scores.shape[1] + sum(self.ood_scores[name].shape[1] for name in names)
        tied, beyond = self.id_doubts[row] + sum(self.ood_doubts[name][row] for name in names)
        return 100 * int(tied) / samples, 100 * int(beyond) / samples

    def without_effect(self) -> tuple[Method, ...]:
        """The methods with steps that give every sample the score of the unshaped network, to five digits.

        The unshaped network is looked up among the methods, with the same score; where it is missing none is named.
        """
        plain = {method.score: row for row, method in enumerate(self.methods) if not method.steps}
        return tuple(
            method
            for row, method in enumerate(self.methods)
            if method.steps
            and method.score in plain
            and same_scores(self.part([row]), self.part([plain[method.score]]))
        )

    def _metrics(self) -> list[list[tuple[float, float, float]]]:
        """AUROC, FPR95 and AUPR of every method against every OOD set, fractions."""
        if self.on_gpu:
            from ash.engine.ranking import metrics_at_once  # a table of stored scores does not wait for torch

            found = metrics_at_once(self.id_scores, list(self.ood_scores.values()), "cuda")
            return [[(a, f, p) for a, f, p in one] for one in found.tolist()]

        def measured(i: int) -> list[tuple[float, float, float]]:
            ranked = RankedID(self.id_scores[i])
            return [ranked.metrics(scores[i]) for scores in self.ood_scores.values()]

        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:  # numpy sorts and searches without the GIL
            return list(pool.map(measured, range(len(self.methods))))


def over_checkpoints(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The mean of tables of one network's checkpoints, by their names, with the deviation of each metric.

    Columns and rows are those of the tables, metrics and shares of doubtful samples their means. `auroc_std` and the
    like are sample standard deviations, of n - 1, in points; `checkpoints` is n. What is not known of one of them, as
    ID accuracy without labels, is not known of the mean. A single table, which has no deviation, stays as it is.
    AshError for tables whose rows are not of the same methods and sets.
    """
    if len(tables) == 1:
        return next(iter(tables.values()))
    (name, first), *others = ((name, table.reset_index(drop=True)) for name, table in tables.items())
    values = [column for column in first if column in (*METRICS, "tied", "beyond_range")]
    keys = [column for column in first if column not in values]
    for other, table in others:
        if list(table) != list(first) or not table[keys].equals(first[keys]):
            raise AshError(f"The tables of the checkpoints {name} and {other} are not of the same methods and sets.")
    every = pd.concat([first, *(table for _, table in others)])[values].groupby(level=0)
    whole = every.count() == len(tables)
    deviations = every.std(ddof=1).where(whole)[[column for column in values if column in METRICS]]
    found = first[keys].join(every.mean().where(whole))[list(first)]
    return found.join(deviations.add_suffix("_std")).assign(checkpoints=len(tables))


def same_scores(one: Sweep, other: Sweep) -> bool:
    """Whether two sweeps of the same samples differ by rounding alone, in no score by more than the fifth digit."""
    pairs = [(one.id_scores, other.id_scores), *((a, other.ood_scores[name]) for name, a in one.ood_scores.items())]
    return all(np.allclose(a, b, rtol=1e-5, atol=1e-5 * float(np.abs(b).max(initial=0.0))) for a, b in pairs)


def doubts_in_words(method: Method, tied: float, beyond: float) -> list[str]:
    """One sentence for each reason to doubt a method's numbers; the percentages are those of a sweep's table."""
    said = []
    if tied > 0:
        said.append(
            f"{_share(tied)} of the samples have equal values on both sides of the cut of {method.label}: which of "
            "them are kept is arbitrary (the lowest index first), and the result hangs on it."
        )
    if tied > 0 and method.variant == "ash_b":
        other = Method("ash_b_nonzero", method.parameter, method.score)
        said.append(f"{other} fills the non-zero ones alone, as Algorithm 2 is written, and leaves no choice of zeros.")
    if beyond > 0:
        said.append(
            f"{_share(beyond)} of the samples lie beyond the range of the float that {method.label} is computed in: "
            "their order is lost, and AUROC, FPR95 and AUPR with it. A lower p or float64 activations bring it back."
        )
    return said


def idle_in_words(method: Method) -> str:
    """What to say of a method `without_effect`."""
    said = [f"{method} changes no score here: it gives every sample what the unshaped network gives."]
    for step in method.steps:
        if step.variant.does == "multiply":
            said.append(
                f"{step.variant.label} multiplies all values of a sample by one number, and a normalisation behind "
                "this placement, a LayerNorm for example, takes that out again."
            )
        if step.name == "react" and 1 < step.parameter < 100:
            c = f"{step.parameter:g}"
            said.append(
                f"No activation is above the constant {c}; react@{c}% clips at that percentile of training ones."
            )
    return " ".join(said)


def _share(percent: float) -> str:
    return f"{percent:.1f} %" if percent >= 0.05 else "Less than 0.1 %"


class RankedID:
    """ID scores sorted once, to be compared with any number of OOD sets by the definitions of `ash.metrics`."""

    def __init__(self, id_scores: NDArray[np.floating]) -> None:
        self.sorted = np.sort(check_scores(id_scores, "ID"))
        self.threshold = threshold_at_tpr(self.sorted)
        new = self.sorted[1:] != self.sorted[:-1]  # infinities too: a difference of them would be NaN
        self.firsts = np.flatnonzero(np.append(True, new))  # first of each run of equal scores
        self.accepted = len(self.sorted) - self.firsts.astype(np.float64)  # ID scores >= each distinct one
        self.gain = -np.diff(self.accepted, append=0) / len(self.sorted)  # recall that each distinct score adds

    def metrics(self, ood_scores: NDArray[np.floating]) -> tuple[float, float, float]:
        """AUROC, FPR at 95 % TPR and AUPR (average precision), fractions."""
        ood = np.sort(check_scores(ood_scores, "OOD"))
        n, m = len(self.sorted), len(ood)
        right = np.searchsorted(self.sorted, ood, "right")  # (m,) ID scores <= each OOD score
        tied = self.sorted[right - 1] == ood  # right = 0 looks at the largest ID score, which cannot be equal then
        ties = int((right[tied] - np.searchsorted(self.sorted, ood[tied], "left")).sum())
        auroc = 1 - (2 * int(right.sum()) - ties) / (2 * n * m)
        fpr = float(m - np.searchsorted(ood, self.threshold, "left")) / m
        # ID score i is above every OOD score with right <= i: (n,) counts, in runs between those positions.
        below = np.repeat(np.arange(m + 1.0), np.diff(right, prepend=0, append=n))[self.firsts]
        precision = self.accepted / (self.accepted + (m - below))
        return auroc, fpr, float(np.sum(self.gain * precision))
