"""What units add to a logit and to a score: sums, equality with autograd, and the exact loss without a unit."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ash.contributions import logits_of, logits_without, per_unit, to_logit, to_score, unit_axis
from ash.models import get_model
from ash.scores import SCORES, energy
from ash.shaping import ash_b, ash_s
from ash.splitting import LinearTail, linear_tail, split


@st.composite
def linear_cases(draw: st.DrawFn) -> tuple[LinearTail, torch.Tensor, int]:
    """A linear tail, one activation with some zeros, and a class; float64, so that sums can be compared closely."""
    features, classes = draw(st.integers(1, 12)), draw(st.integers(2, 6))
    pooled = draw(st.booleans())
    shape = (features, draw(st.integers(1, 4)), draw(st.integers(1, 4))) if pooled else (features,)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = rng.normal(size=shape) * 10.0 ** draw(st.integers(-3, 3))
    x[rng.random(shape) < 0.3] = 0
    weight, bias = rng.normal(size=(classes, features)), rng.normal(size=classes)
    tail = LinearTail(torch.from_numpy(weight), torch.from_numpy(bias), pooled)
    return tail, torch.from_numpy(x), draw(st.integers(0, classes - 1))


def as_module(tail: LinearTail) -> nn.Module:
    """The same tail as a network, so that autograd takes it apart."""
    linear = nn.Linear(tail.weight.shape[1], len(tail.bias), dtype=tail.weight.dtype)
    with torch.no_grad():
        linear.weight.copy_(tail.weight)
        linear.bias.copy_(tail.bias)
    pool: list[nn.Module] = [nn.AdaptiveAvgPool2d(1)] if tail.pooled else []
    return nn.Sequential(*pool, nn.Flatten(), linear)


@given(linear_cases())
def test_contributions_and_the_bias_sum_to_the_logit(case: tuple[LinearTail, torch.Tensor, int]) -> None:
    tail, x, index = case
    parts = to_logit(tail, x, index)
    assert parts.shape == x.shape
    logit = logits_of(tail, x[None])[0, index]
    torch.testing.assert_close(parts.sum() + tail.bias[index], logit)
    torch.testing.assert_close(per_unit(parts).sum() + tail.bias[index], logit)
    assert not parts[x == 0].any()  # what was removed adds nothing


@pytest.mark.parametrize("score", [name for name, score in SCORES.items() if not score.prepared])
@given(case=linear_cases())
def test_a_linear_tail_agrees_with_autograd(score: str, case: tuple[LinearTail, torch.Tensor, int]) -> None:
    tail, x, index = case
    module = as_module(tail)
    torch.testing.assert_close(logits_of(module, x[None]), logits_of(tail, x[None]))
    torch.testing.assert_close(to_logit(module, x, index), to_logit(tail, x, index))
    torch.testing.assert_close(to_score(module, x, SCORES[score]), to_score(tail, x, SCORES[score]))


@given(linear_cases())
def test_the_energy_is_shared_out_by_the_softmax(case: tuple[LinearTail, torch.Tensor, int]) -> None:
    tail, x, _ = case
    softmax = logits_of(tail, x[None])[0].softmax(0)
    wanted = torch.stack([share * to_logit(tail, x, index) for index, share in enumerate(softmax)]).sum(0)
    torch.testing.assert_close(to_score(tail, x, energy), wanted)


@given(linear_cases(), st.integers(0, 11))
def test_without_a_unit_is_the_activation_with_zeros_there(
    case: tuple[LinearTail, torch.Tensor, int], unit: int
) -> None:
    tail, x, index = case
    unit %= len(x)
    before = x.clone()
    found = logits_without(tail, x, [unit])[0]
    assert torch.equal(x, before)
    gone = x.clone()
    gone[unit] = 0
    torch.testing.assert_close(found, logits_of(tail, gone[None])[0])
    # a logit is linear: what a unit adds to it is exactly what it loses without the unit
    lost = logits_of(tail, x[None])[0, index] - found[index]
    torch.testing.assert_close(per_unit(to_logit(tail, x, index))[unit], lost)


@given(st.integers(0, 2**32 - 1))
def test_to_the_energy_is_exact_to_first_order(seed: int) -> None:
    """Shrinking one unit by a small share changes the energy by that share of what the unit adds to it."""
    rng = torch.Generator().manual_seed(seed)
    weight, bias = (torch.randn(size, generator=rng, dtype=torch.float64) for size in ((5, 8), (5,)))
    tail = LinearTail(weight, bias, False)
    x = torch.rand(8, generator=rng, dtype=torch.float64)
    small = 1e-6
    for unit, added in enumerate(to_score(tail, x, energy)):
        less = x.clone()
        less[unit] *= 1 - small
        lost = energy(logits_of(tail, x[None])) - energy(logits_of(tail, less[None]))
        assert float(lost) == pytest.approx(small * float(added), abs=1e-11)


@pytest.mark.parametrize("placement", ["avgpool", "layer4.0.relu2", "layer3.0.relu2"])
def test_every_placement_of_the_demo(placement: str) -> None:
    stem, tail = split(get_model("demo").build(), placement)
    with torch.inference_mode():  # as in the app: its tensors know no gradient
        x = stem(torch.randn(1, 1, 28, 28, generator=torch.Generator().manual_seed(3)))[0]
        shaped = ash_s(x[None], 80)[0]
    linear = linear_tail(tail)
    for activation in (x, shaped, ash_b(x[None], 80)[0]):
        logits = tail(activation[None])[0]
        winner = int(logits.argmax())
        parts = to_logit(tail, activation, winner)
        assert parts.shape == activation.shape
        assert not parts.requires_grad
        assert per_unit(parts).shape == (len(activation),)
        if linear is not None:
            torch.testing.assert_close(parts, to_logit(linear, activation, winner), rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(parts.sum() + linear.bias[winner], logits[winner], rtol=1e-4, atol=1e-4)
    assert (linear is None) == (placement == "layer3.0.relu2")


def test_tokens_have_their_units_on_the_last_axis() -> None:
    tokens = torch.arange(12.0).reshape(3, 4)
    assert unit_axis(tokens) == 1
    torch.testing.assert_close(per_unit(tokens), tokens.sum(0))
    tail = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    without = logits_without(tail, tokens, [2])
    gone = tokens.clone()
    gone[:, 2] = 0
    torch.testing.assert_close(without[0], tail(gone[None])[0].detach())
