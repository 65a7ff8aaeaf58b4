"""The result of a sweep: scores per sample, and the tidy table of metrics made from them."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ash.methods import Method
from ash.metrics import check_scores, threshold_at_tpr

COLUMNS = [
    *("model", "placement", "id", "ood", "method", "variant", "percentile", "score"),
    *("auroc", "fpr95", "aupr", "id_accuracy", "n_id", "n_ood"),
]


@dataclass(frozen=True)
class Sweep:
    """Scores per sample of M methods: `id_scores` (M, N), `ood_scores` name -> (M, n); higher = more in-distribution.

    `id_predictions` (M, N): the class with the largest logit after shaping. `id_labels` (N,), -1 where unknown.
    """

    methods: tuple[Method, ...]
    id_scores: NDArray[np.floating]
    ood_scores: dict[str, NDArray[np.floating]]
    id_predictions: NDArray[np.integer]
    id_labels: NDArray[np.integer] | None

    def id_accuracy(self) -> NDArray[np.float64]:
        """(M,) share of the labelled ID samples that the shaped network classifies correctly; NaN without labels."""
        known = np.zeros(0, bool) if self.id_labels is None else self.id_labels >= 0
        if self.id_labels is None or not known.any():
            return np.full(len(self.methods), np.nan)
        return np.mean(self.id_predictions[:, known] == self.id_labels[known], axis=1)

    def table(self, model: str = "", placement: str = "", id: str = "") -> pd.DataFrame:
        """One row for each method and OOD set and a `mean` row over the sets; metrics in percent, FPR at 95 % TPR."""
        sizes = [scores.shape[1] for scores in self.ood_scores.values()]
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:  # numpy sorts and searches without the GIL
            cells = list(pool.map(self._metrics, range(len(self.methods))))
        rows = []
        for method, measured, accuracy in zip(self.methods, cells, self.id_accuracy(), strict=True):
            mean = tuple(np.mean(measured, axis=0)) if measured else (np.nan,) * 3
            head = (model, placement, id)
            what = (str(method), method.variant, method.pruned, method.score)
            for ood, n, values in zip([*self.ood_scores, "mean"], [*sizes, sum(sizes)], [*measured, mean], strict=True):
                rows.append((*head, ood, *what, *(100 * v for v in (*values, accuracy)), self.id_scores.shape[1], n))
        return pd.DataFrame(rows, columns=COLUMNS).astype({"percentile": float})

    def _metrics(self, i: int) -> list[tuple[float, float, float]]:
        """AUROC, FPR95 and AUPR of one method against every OOD set, fractions."""
        ranked = RankedID(self.id_scores[i])
        return [ranked.metrics(scores[i]) for scores in self.ood_scores.values()]


class RankedID:
    """ID scores sorted once, to be compared with any number of OOD sets by the definitions of `ash.metrics`."""

    def __init__(self, id_scores: NDArray[np.floating]) -> None:
        self.sorted = np.sort(check_scores(id_scores, "ID"))
        self.threshold = threshold_at_tpr(self.sorted)
        self.firsts = np.flatnonzero(np.diff(self.sorted, prepend=-np.inf) != 0)  # first of each run of equal scores
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
