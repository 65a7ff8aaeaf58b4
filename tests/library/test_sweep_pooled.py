"""Maps before a pool and a linear layer: counting codes gives the numbers of shape -> pool -> linear -> score."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from test_sweep import METHODS, Pooled, assert_equal, linear, one_by_one

from ash.engine import linear as linear_tails
from ash.engine import pooled
from ash.engine.plan import Plan
from ash.engine.pooled import PooledBands
from ash.engine.tails import evaluator_for
from ash.methods import Method, Step, parse_methods
from ash.splitting import LinearTail
from ash.sweeping import sweep

CPU = torch.device("cpu")
MAPS = st.sampled_from([(5, 1, 1), (3, 4, 4), (2, 7, 7), (4, 2, 3)])
TINY = st.sampled_from([1e-45, -1e-45, 1e-40, -1e-40, 1e-38, 0.0, -0.0])  # subnormal values beside both zeros
EDGES = [-2.0, -1.0, -0.0, 0.0, 1.0, 1.0078125, 1.00390625, 2.0]  # 1 + 2**-7 and 2**-8 share or part codes
COUNTED = st.sampled_from([0, 0, 2**13])  # from how many values on codes are counted
VALUES = st.one_of(TINY, st.sampled_from(EDGES), st.floats(-4, 4, width=32))


@st.composite
def maps(draw: st.DrawFn) -> np.ndarray:
    """(n, F, H, W): a few distinct values, or gaussians, rectified at 0 or above it, or not; in all three dtypes."""
    shape = (draw(st.integers(1, 4)), *draw(MAPS))
    if draw(st.booleans()):
        x = draw(arrays(np.float32, shape, elements=VALUES.map(np.float32)))
    else:
        x = np.random.default_rng(draw(st.integers(0, 2**32))).standard_normal(shape, dtype=np.float32)
    floor = draw(st.sampled_from([None, 0.0, 0.7]))
    x = x if floor is None else np.maximum(x - np.float32(floor), 0)
    return x.astype(draw(st.sampled_from([np.float16, np.float32, np.float64])))


@settings(max_examples=150)
@given(maps(), METHODS, st.sampled_from([2**20, 50]), COUNTED)
def test_maps_of_any_kind_equal_one_by_one(x: np.ndarray, methods: list[Method], chunk: int, counted: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear_tails, "CHUNK_VALUES", chunk)
        patch.setattr(pooled, "FEW_VALUES", counted)
        layer = linear(x.shape[1], 5)
        if x.dtype == np.float64:
            assert_equal(Pooled(layer.double()), x, methods)
        else:
            assert_equal(Pooled(layer), x.astype(np.float32), methods)


@given(
    arrays(np.float32, st.tuples(st.just(3), st.integers(1, 300)), elements=VALUES.map(np.float32)),
    st.lists(st.just(0.0) | st.floats(1, 99.9), min_size=1, max_size=12),
    COUNTED,
)
def test_every_entry_gets_the_band_of_its_rank(x: np.ndarray, percentiles: list[float], counted: int) -> None:
    """Exactly, with ties in the order of their index: what ASH-B needs."""
    tail = LinearTail(torch.ones(1, 1), torch.zeros(1), True)
    bands = PooledBands(tail, x.shape[1], [(Step("ash_b", p),) for p in percentiles], torch.float32, CPU)
    for row in x:
        order = np.argsort(-row, kind="stable")
        rank = np.argsort(order)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pooled, "FEW_VALUES", counted)
            at, last = bands._bin(row)
        np.testing.assert_array_equal(at.numpy(), np.searchsorted(bands.cuts, rank, "right"))
        least = row[order][bands.cuts - 1]  # the k_j-th values
        np.testing.assert_array_equal(last[least < 0], least[least < 0])


def layer4_like(kind: str, n: int = 6, features: int = 256) -> np.ndarray:
    """(n, features, 7, 7) as at the end of a ResNet: many values, one map busier than another."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, features, 7, 7), dtype=np.float32) * rng.gamma(2, 0.5, (n, features, 1, 1))
    floors = {"sparse": 1.0, "half": 0.0, "dense": -np.inf, "signed": -np.inf}
    x = np.maximum(x - max(floors[kind], 0), floors[kind])
    return (np.abs(x) if kind == "dense" else x).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("kind", ["sparse", "half", "dense", "signed"])
def test_large_maps_equal_one_by_one(kind: str, dtype: type) -> None:
    """12,544 values a sample: most bands come from the count alone; float16 has hundreds of ties at every value."""
    x = layer4_like(kind).astype(dtype).astype(np.float32)
    methods = parse_methods("energy,react@0.5,ash_p@0:95:5,ash_s@0:95:5:msp,ash_b@0:95:5,ash_rand@30,ash_b@99.9")
    tail = Pooled(linear(x.shape[1], 20))
    result = sweep(torch.fx.symbolic_trace(tail), x.astype(dtype), {}, methods)
    for got, method in zip(result.id_scores, methods, strict=True):
        want, size = one_by_one(tail, x, method)
        assert (np.abs(got - want) <= 2e-6 * (1 + size)).all(), method


def test_which_maps_take_which_way() -> None:
    tail = LinearTail(torch.ones(2, 3), torch.zeros(2), True)
    wanted = Plan([Method()]).settings
    for features, dtype, name in (
        ((3, 7, 7), np.float32, "PooledBands"),
        ((3, 7, 7), np.float16, "PooledBands"),
        ((3, 7, 7), np.float64, "MaskedProducts"),
        ((3, 1, 1), np.float32, "Bands"),
        ((3, 1, 1), np.float64, "Bands"),
    ):
        assert type(evaluator_for(tail, features, wanted, {np.dtype(dtype)})).__name__ == name
