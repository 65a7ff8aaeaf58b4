"""What a method did to samples: the numbers of the paper for its own steps, the values themselves for any other."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from odd_methods import ODD, registered
from torch import Tensor

import ash
from ash import shaping
from ash.engine.plan import SweepError
from ash.methods import Method
from ash.traces import trace

BUILT_IN = ["energy", "ash_p@60", "ash_b@65", "ash_s@90", "ash_s@0", "ash_rand@70", "react@0.7", "dice@70"]
GLOBAL = ["ash_p_global@60", "ash_b_global@65", "ash_s_global@80"]
MIXED = ["react@0.7+ash_s@90", "ash_p@50+react@0.7", "ash_p@30+ash_s@90", "ash_b_global@65+react@0.7"]


@pytest.fixture(autouse=True)
def odd() -> Iterator[None]:
    with registered():
        yield


@pytest.fixture
def x() -> Tensor:
    return torch.relu(torch.randn(6, 5, 4, 3, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("text", [*BUILT_IN, *GLOBAL, *MIXED, *ODD, *(f"react@0.7+{one}" for one in ODD)])
def test_values_counts_and_sums_are_those_of_the_operation(x: Tensor, text: str) -> None:
    method, before = Method.parse(text), x.clone()
    found = trace(x, method, first_index=3, id_bank=x.numpy())
    assert torch.equal(x, before)
    if not any(step.variant.needs for step in method.steps):
        torch.testing.assert_close(found.shaped, method.shape(x, first_index=3), rtol=0, atol=0)
    for row in range(len(x)):
        old, new, seen = x[row].numpy().ravel(), found.shaped[row].numpy().ravel(), found.change(row)
        assert (seen.n, seen.zeros) == (old.size, (int((old == 0).sum()), int((new == 0).sum())))
        assert seen.removed == ((old != 0) & (new == 0)).sum()
        assert seen.changed == ((old != new) & ((old == 0) | (new != 0))).sum()
        moved = (old != new) & ~((old != 0) & (new == 0))
        assert sum(fact is not None for fact in (seen.factor, seen.above, seen.below, seen.level)) <= 1
        if seen.factor is not None:
            np.testing.assert_allclose(new[moved], seen.factor * old[moved], rtol=1e-5)
        if seen.above is not None:
            assert (new[moved] == np.float32(seen.above)).all()
            assert (old[moved] > seen.above).all()
            assert new.max() <= seen.above
        if seen.below is not None:
            assert (new[moved] == np.float32(seen.below)).all()
            assert (old[moved] < seen.below).all()
            assert new.min() >= seen.below
        if seen.level is not None:
            assert (new[moved] == np.float32(seen.level)).all()
    assert found.k.tolist() == found.kept.flatten(1).sum(1).tolist()
    if found.s2 is not None:
        kept = (found.given.double() * found.kept).flatten(1).sum(1)
        torch.testing.assert_close(found.s2, kept)
        assert found.prunes


@pytest.mark.parametrize("text", ODD)
def test_of_a_plug_in_no_number_of_the_paper_is_stated(x: Tensor, text: str) -> None:
    found = trace(x, Method.parse(text))
    assert (found.t, found.s2, found.factor, found.level, found.does, found.prunes) == (None,) * 4 + ("", False)
    assert torch.equal(found.kept, ~((x != 0) & (found.shaped == 0)))


def test_scale_prunes_nothing_and_multiplies_everything(x: Tensor) -> None:
    seen = trace(x, Method.parse("odd_scale@85")).change(2)
    values, top = x[2].flatten(), shaping.ash_p(x[2:3], 85).sum()
    assert (seen.removed, seen.multiplied, seen.zeros[0]) == (0, 60, seen.zeros[1])
    assert seen.factor == pytest.approx(float((values.sum() / top).exp()), rel=1e-6)


def test_the_other_plug_ins_are_told_apart(x: Tensor) -> None:
    negated, noisy, raised, moved = (
        trace(x, Method.parse(text)).change()
        for text in ("odd_negate@50", "odd_noise@50", "odd_floor@0.5", "odd_permute@50")
    )
    assert (negated.factor, negated.multiplied) == (-1.0, 60)
    assert noisy.changed == 60
    assert noisy.factor is noisy.level is noisy.above is noisy.below is None
    assert (raised.below, raised.changed) == (0.5, int((x[0] < 0.5).sum()))
    assert moved.removed > 0
    assert moved.zeros[0] == moved.zeros[1]


@pytest.mark.parametrize("p", [0, 40, 90, 99.9])
def test_the_numbers_are_those_of_algorithms_1_to_3(x: Tensor, p: float) -> None:
    rows = x.flatten(1).double()
    for text in ("ash_p", "ash_b", "ash_s"):
        found = trace(x, Method(text, p))
        k = shaping.kept_count(60, p)
        top = rows.sort(1, descending=True).values[:, :k]
        assert found.k.tolist() == [k] * 6
        assert found.t is not None
        assert found.s2 is not None
        torch.testing.assert_close(found.t, top[:, -1] if k else torch.full((6,), torch.nan).double(), equal_nan=True)
        torch.testing.assert_close(found.s1, rows.sum(1))
        torch.testing.assert_close(found.s2, top.sum(1))
        if k and found.factor is not None:
            torch.testing.assert_close(found.factor, (rows.sum(1) / top.sum(1)).exp(), rtol=1e-5, atol=0)
        if k and found.level is not None:
            torch.testing.assert_close(found.level, rows.sum(1) / k, rtol=1e-5, atol=0)
        assert ((found.factor is not None), (found.level is not None)) == (text == "ash_s", text == "ash_b")


def test_one_threshold_for_all_is_that_of_the_id_set(x: Tensor) -> None:
    found = trace(x[:2], Method.parse("ash_b_global@65"), id_bank=x.numpy())
    assert found.t is not None
    wanted = float(np.percentile(x.numpy().ravel(), 65))
    assert found.t.tolist() == pytest.approx([wanted] * 2, rel=1e-5)
    assert torch.equal(found.kept, x[:2] >= found.t[0])
    with pytest.raises(SweepError, match="ID set"):
        trace(x, Method.parse("ash_b_global@65"))
    with pytest.raises(SweepError, match="fit"):
        trace(x, Method.parse("react@90%"))


def test_of_two_steps_the_numbers_are_those_of_the_one_that_prunes(x: Tensor) -> None:
    both = trace(x, Method.parse("react@0.7+ash_s@90"))
    alone = trace(x.clamp(max=0.7), Method.parse("ash_s@90"))
    for name in ("k", "t", "s1", "s2", "factor", "kept", "shaped"):
        assert torch.equal(getattr(both, name), getattr(alone, name)), name
    two = trace(x, Method.parse("ash_p@30+ash_s@90"))
    assert two.t is two.s2 is two.factor is None


@pytest.mark.parametrize("text", BUILT_IN)
def test_empty_batches_and_zeros(text: str) -> None:
    method = Method.parse(text)
    assert trace(torch.zeros(0, 7), method).k.tolist() == []
    assert trace(torch.zeros(2, 7), method).change().removed == 0


values = arrays(np.float32, st.tuples(st.just(1), st.integers(1, 12)), elements=st.floats(-1e3, 1e3, width=32))


@settings(max_examples=60)
@given(values, st.sampled_from(["ash_p", "ash_b", "ash_s"]), st.sampled_from([0.0, 20.0, 50.0, 90.0]))
def test_any_activation_has_a_trace(x: np.ndarray, variant: str, p: float) -> None:
    found = ash.trace(torch.from_numpy(x), Method(variant, p))
    np.testing.assert_array_equal(found.kept.numpy(), shaping.kept_mask(torch.from_numpy(x), p).numpy())
    assert found.k.tolist() == [shaping.kept_count(x.shape[1], p)]
    assert bool(found.s1.isfinite().all())
