"""AUROC, FPR95 and AUPR of many methods at once, on a GPU, by sorting and counting as `ash.tables.RankedID` does."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ash.metrics import check_scores, threshold_rank


def metrics_at_once(
    id_scores: NDArray[np.floating],
    ood_scores: Sequence[NDArray[np.floating]],
    device: torch.device | str,
    rows: int = 64,
) -> NDArray[np.float64]:
    """What `RankedID` gives for M methods, (M, OOD sets, 3), on a GPU: ID scores (M, N) and OOD scores (M, n) a set.

    A GPU sorts and counts for `rows` methods at once in the time that a processor takes for one of them.
    """
    found = np.empty((len(id_scores), len(ood_scores), 3))
    for at in range(0, len(id_scores), rows):
        some = slice(at, at + rows)
        ids = _sorted_rows(id_scores[some], "ID", device)  # (R, N)
        n = ids.shape[1]
        accepted = (n - torch.searchsorted(ids, ids)).double()  # ID scores >= each
        threshold = ids[:, threshold_rank(n, 0.95), None]
        for number, scores in enumerate(ood_scores):
            ood = _sorted_rows(scores[some], "OOD", device)  # (R, m)
            m = ood.shape[1]
            below = torch.searchsorted(ids, ood).sum(1) + torch.searchsorted(ids, ood, right=True).sum(1)
            precision = accepted / (accepted + (m - torch.searchsorted(ood, ids)))
            columns = 1 - below.double() / (2 * n * m), (ood >= threshold).double().mean(1), precision.mean(1)
            found[some, number] = torch.stack(columns, 1).cpu().numpy()
    return found


def _sorted_rows(scores: NDArray[np.floating], who: str, device: torch.device | str) -> Tensor:
    """Scores (R, n) on a device, each row from low to high; AshError as `check_scores`."""
    for row in scores[np.isnan(scores).any(1)]:
        check_scores(row, who)
    return torch.from_numpy(np.ascontiguousarray(scores)).to(device).sort(1).values.contiguous()
