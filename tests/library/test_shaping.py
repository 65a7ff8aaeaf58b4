"""The properties that pin down Algorithms 1-3, and the edge cases where the authors' code fails."""

import math

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import ash
from ash import shaping
from ash.errors import AshError
from ash.shaping import kept_count, kept_mask

PERCENTILES = st.one_of(st.floats(0, 99.99), st.integers(0, 99).map(float))
SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 30)) | st.tuples(*[st.integers(1, 4)] * 4)


def tensors(low: float = 0.0, high: float = 50.0, dtype: type = np.float32) -> st.SearchStrategy[torch.Tensor]:
    """Tensors (N, ...) with many ties and zeros."""
    values = st.one_of(
        st.just(0.0),
        st.integers(math.ceil(low), math.floor(high)).map(float),
        st.floats(low, high).map(lambda v: round(v, 3)),
    )
    return hnp.arrays(dtype, SHAPES, elements=values).map(torch.from_numpy)


def authors_rule(x: torch.Tensor, p: float, variant: str) -> torch.Tensor:
    """The rule of the published code for (N, D), written out: topk, then pruned, constant or scaled."""
    k = x.shape[1] - int(np.round(x.shape[1] * p / 100.0))
    values, index = x.topk(k, dim=1)
    kept = torch.zeros_like(x)
    if variant == "b":
        return kept.scatter(1, index, (x.sum(1, keepdim=True) / k).expand(-1, k))
    kept = kept.scatter(1, index, values)
    return kept if variant == "p" else kept * torch.exp(x.sum(1, keepdim=True) / kept.sum(1, keepdim=True))


@given(tensors(), PERCENTILES)
def test_every_variant_is_finite_and_leaves_its_input_alone(x: torch.Tensor, p: float) -> None:
    before = x.clone()
    for shaped in (ash.ash_p(x, p), ash.ash_b(x, p), ash.ash_s(x, p), ash.ash_rand(x, p), ash.react(x, 1.0)):
        assert torch.isfinite(shaped).all()
        assert shaped.shape == x.shape
        assert shaped.dtype == x.dtype
        assert shaped.data_ptr() != x.data_ptr()
    assert torch.equal(x, before)


@given(tensors())
def test_at_zero_percent(x: torch.Tensor) -> None:
    assert torch.equal(ash.ash_p(x, 0), x)
    torch.testing.assert_close(ash.ash_s(x, 0), x * math.e)
    mean = x.flatten(1).double().mean(1).float()
    torch.testing.assert_close(ash.ash_b(x, 0), mean.view(-1, *[1] * (x.dim() - 1)).expand_as(x).contiguous())


@given(tensors(), PERCENTILES)
def test_exactly_k_survive_and_the_total_stays(x: torch.Tensor, p: float) -> None:
    k = kept_count(x[0].numel(), p)
    flat = x.flatten(1)
    expected = flat.count_nonzero(1).clamp(max=k)
    assert torch.equal(ash.ash_p(x, p).flatten(1).count_nonzero(1), expected)
    assert torch.equal(kept_mask(x, p).flatten(1).sum(1), torch.full((len(x),), k))
    if k:
        torch.testing.assert_close(ash.ash_b(x, p).flatten(1).sum(1), flat.sum(1), rtol=1e-4, atol=1e-4)


@given(tensors(), PERCENTILES, PERCENTILES)
def test_supports_are_nested(x: torch.Tensor, p: float, q: float) -> None:
    low, high = kept_mask(x, min(p, q)), kept_mask(x, max(p, q))
    assert (low | ~high).all()


@given(tensors(), PERCENTILES)
def test_prune_and_binarise_twice_is_once(x: torch.Tensor, p: float) -> None:
    once = ash.ash_p(x, p)
    assert torch.equal(ash.ash_p(once, p), once)
    constant = ash.ash_b(x, p)
    torch.testing.assert_close(ash.ash_b(constant, p), constant, rtol=1e-5, atol=1e-6)


@given(tensors(), PERCENTILES, st.sampled_from([0.25, 2.0, 8.0]))
def test_scaling_the_input_scales_the_output(x: torch.Tensor, p: float, factor: float) -> None:
    for operation in (ash.ash_p, ash.ash_b, ash.ash_s):
        torch.testing.assert_close(operation(x * factor, p), operation(x, p) * factor, rtol=1e-5, atol=1e-5)


@given(tensors(low=-20.0, high=20.0), PERCENTILES)
def test_prune_commutes_with_relu(x: torch.Tensor, p: float) -> None:
    assert torch.equal(ash.ash_p(x.relu(), p), ash.ash_p(x, p).relu())


@given(tensors(), PERCENTILES)
def test_batching_and_memory_layout_change_nothing(x: torch.Tensor, p: float) -> None:
    strided = torch.stack([x, x], dim=-1)[..., 0]
    layouts = [strided] + ([x.contiguous(memory_format=torch.channels_last)] if x.dim() == 4 else [])
    for operation in (ash.ash_p, ash.ash_b, ash.ash_s, ash.ash_rand):
        whole = operation(x, p)
        for same in layouts:
            assert torch.equal(operation(same, p), whole)
    for operation in (ash.ash_p, ash.ash_b, ash.ash_s):
        assert torch.equal(torch.cat([operation(row[None], p) for row in x]), operation(x, p))
    single = torch.cat([ash.ash_rand(row[None], p, seed=3, first_index=i) for i, row in enumerate(x)])
    assert torch.equal(single, ash.ash_rand(x, p, seed=3))


@given(st.integers(1, 4), st.integers(2, 60), st.integers(0, 2**31), PERCENTILES)
def test_equal_to_the_authors_rule_without_ties(n: int, d: int, seed: int, p: float) -> None:
    generator = np.random.default_rng(seed)
    x = torch.from_numpy(np.stack([generator.permutation(d) + 1.0 for _ in range(n)]).astype(np.float32))
    if kept_count(d, p) == 0:
        assert not ash.ash_b(x, p).any()
        return
    torch.testing.assert_close(ash.ash_p(x, p), authors_rule(x, p, "p"))
    torch.testing.assert_close(ash.ash_b(x, p), authors_rule(x, p, "b"))
    if d / kept_count(d, p) < 80:  # beyond, theirs overflows to infinity times zero
        torch.testing.assert_close(ash.ash_s(x, p), authors_rule(x, p, "s"), rtol=2e-5, atol=1e-5)


def test_ties_keep_the_lowest_index() -> None:
    x = torch.tensor([[1.0, 2.0, 2.0, 2.0, 0.0]])
    assert kept_mask(x, 60).tolist() == [[False, True, True, False, False]]
    assert ash.ash_b(x, 60).tolist() == [[0.0, 3.5, 3.5, 0.0, 0.0]]
    assert kept_mask(torch.zeros(1, 4), 50).tolist() == [[True, True, False, False]]
    assert kept_mask(torch.tensor([[-0.0, 0.0, -0.0]]), 60).tolist() == [[True, False, False]]


@pytest.mark.parametrize(
    ("n", "p", "kept"),
    [(2048, 60, 819), (2048, 65, 717), (2048, 90, 205), (1280, 65, 448), (1280, 90, 128), (342, 90, 34), (342, 95, 17)],
)
def test_counts_of_the_papers_networks(n: int, p: float, kept: int) -> None:
    assert kept_count(n, p) == kept


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("p", [0, 50, 91.5, 99, 99.9])
def test_large_exponents_stay_finite_and_pruned_entries_zero(dtype: torch.dtype, p: float) -> None:
    x = torch.ones(2, 4000, dtype=dtype)
    x[1] = 0
    shaped = ash.ash_s(x, p)
    assert shaped.dtype == dtype
    assert torch.isfinite(shaped).all()
    assert shaped[0].count_nonzero() == kept_count(4000, p)
    assert not shaped[1].any()


@given(tensors(low=-20.0, high=20.0), PERCENTILES)
def test_signed_activations_give_no_nan(x: torch.Tensor, p: float) -> None:
    for operation in (ash.ash_p, ash.ash_b, ash.ash_s, ash.ash_rand):
        assert torch.isfinite(operation(x, p)).all()


def test_random_values_lie_in_range_and_follow_the_seed() -> None:
    x = torch.rand(50, 200)
    shaped = ash.ash_rand(x, 0)
    assert (shaped >= 0).all()
    assert (shaped < 10).all()
    assert 4.9 < shaped.mean() < 5.1
    assert torch.equal(shaped, ash.ash_rand(x, 0, seed=0))
    assert not torch.equal(shaped, ash.ash_rand(x, 0, seed=1))


def test_react_clips_from_above_only() -> None:
    assert ash.react(torch.tensor([[-3.0, 0.5, 7.0]]), 1.0).tolist() == [[-3.0, 0.5, 1.0]]


@pytest.mark.parametrize("operation", [ash.ash_p, ash.ash_b, ash.ash_s, ash.ash_rand])
@pytest.mark.parametrize("p", [-1, 100, 250, float("nan"), float("inf")])
def test_a_wrong_percentile_is_refused(operation, p: float) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=r"p must lie in \[0, 100\)"):
        operation(torch.rand(2, 5), p)


def test_what_is_no_activation_is_refused() -> None:
    with pytest.raises(AshError, match="floating point"):
        ash.ash_p(torch.ones(2, 5, dtype=torch.int64), 50)
    with pytest.raises(ValueError, match="batch dimension"):
        ash.ash_p(torch.rand(5), 50)
    for threshold in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="positive"):
            ash.react(torch.rand(2, 5), threshold)


def test_an_empty_batch_stays_empty() -> None:
    for operation in (ash.ash_p, ash.ash_b, ash.ash_s, ash.ash_rand):
        assert operation(torch.empty(0, 3, 2, 2), 50).shape == (0, 3, 2, 2)


@given(tensors(low=-20.0, high=20.0), PERCENTILES)
def test_what_survives_is_the_front_of_a_stable_sort(x: torch.Tensor, p: float) -> None:
    flat = x.flatten(1)
    rank = torch.argsort(torch.argsort(flat, dim=1, descending=True, stable=True), dim=1)
    assert torch.equal(kept_mask(x, p).flatten(1), rank < kept_count(flat.shape[1], p))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_large_maps_with_ties_keep_the_front_of_a_stable_sort(dtype: torch.dtype) -> None:
    x = torch.randn(4, 256, 7, 7, generator=torch.Generator().manual_seed(0)).sub(0.5).relu().to(dtype)
    rank = torch.argsort(torch.argsort(x.flatten(1), dim=1, descending=True, stable=True), dim=1).view(x.shape)
    for p in (5, 50, 90):
        assert torch.equal(kept_mask(x, p), rank < kept_count(x[0].numel(), p))


OPERATIONS = {
    **{name: getattr(ash, name) for name in ("ash_p", "ash_b", "ash_b_nonzero", "ash_s", "ash_rand", "react")},
    **{f"ash_{letter}_global": getattr(shaping, f"ash_{letter}_global") for letter in "pbs"},
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_nan_and_infinity_are_refused_by_name(name: str, bad: float, dtype: torch.dtype) -> None:
    x = torch.ones(3, 2, 2, 2, dtype=dtype)
    x[1, 1, 0, 1] = bad
    with pytest.raises(AshError, match="sample 1 holds NaN or infinity"):
        OPERATIONS[name](x, 50)
    assert len(OPERATIONS[name](torch.full((2, 3), 6e4, dtype=torch.float16), 50)) == 2  # a float16 sum would overflow


@pytest.mark.parametrize("name", OPERATIONS)
def test_samples_without_values_stay_so(name: str) -> None:
    assert OPERATIONS[name](torch.empty(2, 0), 50).shape == (2, 0)


def test_no_threshold_is_nan_and_no_sum_too_large() -> None:
    with pytest.raises(AshError, match="threshold is NaN"):
        shaping.ash_p_global(torch.ones(1, 2), math.nan)
    with pytest.raises(AshError, match="too large to be added up"):
        ash.ash_s(torch.full((1, 4), 1e308, dtype=torch.float64), 50)


def test_float16_is_computed_in_more_than_float16() -> None:
    x = torch.full((1, 2000), 1e4, dtype=torch.float16)
    torch.testing.assert_close(ash.ash_s(x, 0), (x.double() * math.e).half())
    assert torch.isfinite(ash.ash_b(x, 99)).all()  # s1/k = 1e6 is beyond float16
    assert ash.ash_b(x, 99).max() == torch.finfo(torch.float16).max
    torch.testing.assert_close(ash.ash_b(x, 50)[0, :1000], x[0, :1000] * 2)


@pytest.mark.parametrize(
    ("values", "p"), [([0.0, -0.25], 26), ([3.0, -3.0, -9.0], 33), ([0.0, 0.0, -1.0], 33), ([1e-30, -5.0], 50)]
)
def test_the_exponent_is_finite_whatever_the_kept_values_sum_to(values: list[float], p: float) -> None:
    x = torch.tensor([values])
    pruned = ash.ash_p(x, p).double()
    exponent = shaping.scale_exponent(x.double().sum(1), pruned.sum(1), pruned.abs().amax(1), torch.float32)
    assert torch.isfinite(exponent).all()
    assert not ash.ash_s(x, p).any()


def test_the_clamp_holds_at_both_ends_of_what_is_kept() -> None:
    x = torch.tensor([[1.0, -1e3, -1.001e3, 0.5, -3e38]])
    assert torch.isfinite(ash.ash_s(x, 20)).all()
    ones = torch.ones(1, 1000)
    assert ash.ash_s(ones, 99.9).max() == pytest.approx(torch.finfo(torch.float32).max / math.e, rel=1e-5)
    assert not ash.ash_s(torch.zeros(1, 5), 50).any()
    s = torch.zeros(1)
    assert shaping.scale_exponent(s, s, s, torch.float32).tolist() == [1.0]
