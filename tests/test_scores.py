"""Scores: higher = more in-distribution, and MSP without saturation."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import ash
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
