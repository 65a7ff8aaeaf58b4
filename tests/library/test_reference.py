"""The method on one page, against which the sweep is held; and the authors' own selection where nothing is tied."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_sweep import Deep, linear
from torch import Tensor, nn

from ash import reference
from ash.methods import Method
from ash.shaping import kept_count
from ash.sweeping import sweep


def untied(n: int, features: tuple[int, ...], seed: int) -> Tensor:
    """Positive activations without two equal values."""
    made = torch.rand(n, *features, generator=torch.Generator().manual_seed(seed)).double()
    return (made + 1e-6 * torch.arange(made.numel()).view(made.shape)).float()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["ash_p", "ash_b", "ash_s"]), st.integers(0, 97), st.integers(0, 5), st.booleans())
def test_the_sweep_agrees_with_it(variant: str, p: int, seed: int, deep: bool) -> None:
    if deep and not 0 < p < 90:
        p = 50
    tail: nn.Module = Deep() if deep else linear(48, 5)
    shape = (3, 4, 4) if deep else (48,)
    x_id, x_ood = untied(30, shape, seed), untied(25, shape, seed + 100) + 0.05
    found = sweep(tail, x_id.numpy(), {"o": x_ood.numpy()}, [Method(variant, p)])
    row = found.table().iloc[0]
    auroc, fpr95 = reference.evaluate(tail, x_id, x_ood, variant, p)
    assert row.auroc == pytest.approx(100 * auroc, abs=0.3)  # two scores that differ by a rounding may change places
    assert row.fpr95 == pytest.approx(100 * fpr95, abs=4.01)
    energies = tail(reference.shape(x_id, variant, p)).logsumexp(1).detach()
    np.testing.assert_allclose(found.id_scores[0], energies, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("p", [0, 10, 65, 90])
def test_it_keeps_what_the_authors_keep(p: int) -> None:
    x = untied(4, (2, 5, 3), p)
    k = kept_count(30, p)  # the authors: n - int(np.round(n * percentile / 100.0))
    assert k == 30 - int(np.round(30 * p / 100.0))
    flat = x.flatten(1).clone()
    top, at = flat.topk(k, dim=1)
    s1 = flat.sum(1, keepdim=True)
    pruned = flat.clone().zero_().scatter_(1, at, top)
    wanted = {
        "ash_p": pruned,
        "ash_b": flat.clone().zero_().scatter_(1, at, (s1 / k).expand(top.shape)),
        "ash_s": pruned * torch.exp(s1 / pruned.sum(1, keepdim=True)),
    }
    for variant, rows in wanted.items():
        torch.testing.assert_close(reference.shape(x, variant, p).flatten(1), rows)
        torch.testing.assert_close(Method(variant, p).shape(x).flatten(1), rows)
