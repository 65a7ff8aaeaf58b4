"""Scores: higher = more in-distribution, and MSP without saturation."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import ash
from ash.engine.plan import fast_energy
from ash.errors import AshError
from ash.scores import probability

LOGITS = hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(2, 12)), elements=st.floats(-40, 40)).map(
    torch.from_numpy
)


@given(LOGITS, st.sampled_from([0.5, 1.0, 10.0]))
def test_energy_lies_between_max_and_max_plus_log_classes(logits: torch.Tensor, temperature: float) -> None:
    energy, top = ash.energy(logits, temperature), ash.max_logit(logits)
    assert (energy >= top - 1e-9).all()
    assert (energy <= top + temperature * np.log(logits.shape[1]) + 1e-9).all()


@given(LOGITS)
def test_msp_orders_like_the_probability(logits: torch.Tensor) -> None:
    torch.testing.assert_close(probability(ash.msp(logits)), logits.softmax(1).amax(1))


def test_msp_tells_apart_what_float32_probabilities_do_not() -> None:
    logits = torch.tensor([[30.0, 0.0, 0.0], [40.0, 0.0, 0.0]])
    assert (logits.softmax(1).amax(1) == 1).all()
    assert ash.msp(logits)[1] > ash.msp(logits)[0]


def test_what_is_no_logits_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(N, C\)"):
        ash.energy(torch.rand(3))
    with pytest.raises(ValueError, match="temperature"):
        ash.energy(torch.rand(2, 3), temperature=0)
    assert ash.msp(torch.rand(3, 1)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("score", [ash.energy, ash.msp, ash.max_logit, ash.odin])
def test_nan_is_refused_and_an_infinite_logit_is_the_largest_number(score) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(AshError, match="sample 1 hold NaN"):
        score(torch.tensor([[0.0, 1.0], [0.0, torch.nan]]))
    most = torch.finfo(torch.float32).max
    rows = [[torch.inf, torch.inf], [torch.inf, 0.0], [-torch.inf, -torch.inf], [torch.inf, -torch.inf], [0.0, 1.0]]
    infinite = torch.tensor(rows)
    assert torch.isfinite(score(infinite)).all()
    torch.testing.assert_close(score(infinite), score(infinite.clamp(-most, most)))
    with pytest.raises(AshError, match="floating point"):
        score(torch.ones(2, 3, dtype=torch.int64))


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_the_sweeps_energy_is_the_score_with_infinite_logits_too(classes: int) -> None:
    logits = torch.randn(1, 30, classes, generator=torch.Generator().manual_seed(0)) * 50
    logits[0, :8, 0], logits[0, 4:12, 1], logits[0, 9] = torch.inf, -torch.inf, -torch.inf
    found = fast_energy(logits.clone())[0]
    torch.testing.assert_close(found, ash.energy(logits[0]))
    assert torch.isfinite(found).all()
