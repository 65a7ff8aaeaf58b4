"""The sweep equals shape -> tail -> score one by one, for any percentiles, chunking, ties, signs; table and errors."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from threadpoolctl import threadpool_info, threadpool_limits
from torch import fx, nn

from ash import metrics, sweeping
from ash.engine import linear as linear_tails
from ash.engine import plan
from ash.engine.bands import Bands, sort_keys, unpack
from ash.engine.masked import MaskedProducts
from ash.engine.pooled import PooledBands
from ash.methods import SCORE_LABELS, Method, parse_methods
from ash.scores import SCORES
from ash.splitting import LinearTail
from ash.sweeping import sweep
from ash.tables import COLUMNS, RankedID
from ash.variants import PRUNING

CPU = torch.device("cpu")

PERCENTILES = st.floats(1, 99.99) | st.sampled_from([0.0, 50.0, 90.0, 33.3])
METHODS = st.lists(
    st.builds(Method, st.sampled_from(PRUNING), PERCENTILES, st.sampled_from(list(SCORE_LABELS)))
    | st.sampled_from(parse_methods("energy,msp,max_logit,react@0.5,react@1.5:msp")),
    min_size=1,
    max_size=8,
)
VALUES = st.floats(-4, 4, width=16) | st.sampled_from([0.0, -0.0, 1.0, -1.0])  # few distinct values: many ties


@st.composite
def activations(draw: st.DrawFn, features: tuple[int, ...]) -> np.ndarray:
    """(n, *features): after a ReLU or before it, with a zero sample."""
    n = draw(st.integers(1, 6))
    x = draw(arrays(np.float32, (n, *features), elements=VALUES.map(np.float32)))
    x = np.maximum(x, 0) if draw(st.booleans()) else x
    return np.concatenate([x, np.zeros_like(x[:1])])


class Pooled(nn.Module):
    """The tail of a network cut before its global average pool."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.pool, self.linear = nn.AdaptiveAvgPool2d(1), linear

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(torch.flatten(self.pool(x), 1))


def linear(features: int, classes: int, seed: int = 0) -> nn.Linear:
    """A linear layer with weights of its own seed."""
    layer = nn.Linear(features, classes).requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for weights in (layer.weight, layer.bias):
        weights.copy_(torch.randn(weights.shape, generator=generator))
    return layer


def one_by_one(tail: nn.Module, x: np.ndarray, method: Method) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the plain path, and the size of what was added up for each: rounding is relative to that."""
    with torch.inference_mode():
        shaped = method.shape(torch.from_numpy(x))
        size = Magnitude(tail)(shaped) if not isinstance(tail, Deep) else tail(shaped).abs().amax(1)
        return SCORES[method.score](tail(shaped)).numpy(), size.numpy()


class Magnitude(nn.Module):
    """max over classes of sum |x_i w_ci| + |b_c| for a linear tail, pooled or not."""

    def __init__(self, tail: nn.Module) -> None:
        super().__init__()
        self.pooled, self.layer = isinstance(tail, Pooled), tail.linear if isinstance(tail, Pooled) else tail

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.abs().mean((2, 3)) if self.pooled else x.abs()
        return (x @ self.layer.weight.abs().T + self.layer.bias.abs()).amax(1)


class Deep(nn.Sequential):
    """A tail with a convolution and a non-linearity."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), Pooled(linear(4, 5)))
        self.requires_grad_(False).eval()


def assert_equal(tail: nn.Module, x: np.ndarray, methods: list[Method]) -> None:
    """Sweep and plain path agree to 1e-5 of the magnitude of the terms, and so do the predictions but for near ties."""
    before = x.copy()
    given_tail = fx.symbolic_trace(tail) if isinstance(tail, Pooled) else tail
    result = sweep(given_tail, x, {"ood": x[::-1]}, methods)
    np.testing.assert_array_equal(x, before)
    for i, method in enumerate(methods):
        want, size = one_by_one(tail, x, method)
        finite = np.isfinite(want)
        np.testing.assert_array_equal(np.isfinite(result.id_scores[i]), finite)
        difference = np.abs(result.id_scores[i] - want)[finite]
        assert (difference <= 1e-5 * (1 + size)[finite]).all(), f"{method}: {difference.max()}"


CHUNKS = pytest.mark.parametrize("chunks", [(2**19, 2**18, 64), (11, 7, 2)], ids=["normal", "tiny"])


def with_chunks(monkeypatch: pytest.MonkeyPatch, chunks: tuple[int, int, int]) -> None:
    """Activations sorted at once, logits scored at once, and from how many classes on they come last in memory."""
    for module, name, value in zip(
        (linear_tails, linear_tails, plan), ("CHUNK_VALUES", "CHUNK_LOGITS", "FEW"), chunks, strict=True
    ):
        monkeypatch.setattr(module, name, value)


@CHUNKS
@pytest.mark.parametrize("classes", [1, 3, 140])
def test_linear_tail_equals_one_by_one(
    classes: int, chunks: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_chunks(monkeypatch, chunks)

    @settings(max_examples=50, deadline=None)
    @given(st.integers(1, 12).flatmap(lambda size: activations((size,))), METHODS)
    def check(x: np.ndarray, methods: list[Method]) -> None:
        assert_equal(linear(x.shape[1], classes), x, methods)

    check()


@CHUNKS
def test_pooled_linear_tail_equals_one_by_one(chunks: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    with_chunks(monkeypatch, chunks)

    @settings(max_examples=50, deadline=None)
    @given(activations((3, 2, 2)), METHODS)
    def check(x: np.ndarray, methods: list[Method]) -> None:
        assert_equal(Pooled(linear(3, 4)), x, methods)

    check()


@settings(max_examples=20, deadline=None)
@given(activations((3, 4, 4)), METHODS)
def test_deep_tail_equals_one_by_one(x: np.ndarray, methods: list[Method]) -> None:
    assert_equal(Deep(), x, methods)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([(9, 1, 1), (3, 2, 2), (2, 4, 4)]).flatmap(activations), METHODS)
def test_matrix_products_equal_the_ways_of_a_cpu(x: np.ndarray, methods: list[Method]) -> None:
    """What a GPU does, on this device."""
    layer, size = linear(x.shape[1], 5), x[0].size
    tail, wanted = LinearTail(layer.weight, layer.bias, True), plan.Plan(methods).settings
    way = PooledBands if size > x.shape[1] else Bands
    found = []
    for evaluator in (way, MaskedProducts):
        one = evaluator(tail, size, wanted, torch.float32, CPU)
        logits = {i: row for some, rows in one.logits(torch.from_numpy(x)) for i, row in zip(some, rows, strict=True)}
        assert sorted(logits) == list(range(len(wanted)))
        found.append(torch.stack([logits[i] for i in range(len(wanted))]))
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-5 * float(found[0].abs().max()))


@given(arrays(np.float32, (4, 5, 6), elements=st.integers(0, 3).map(float)))
def test_predictions_are_the_first_largest_logit(logits: np.ndarray) -> None:
    np.testing.assert_array_equal(plan.predictions(torch.from_numpy(logits)), logits.argmax(-1))


def test_float64_stays_accurate_and_float16_is_read_as_float32() -> None:
    x = np.random.default_rng(0).standard_normal((20, 50))
    layer = linear(50, 5)
    methods = parse_methods("ash_s@10:90:20,ash_p@50,ash_b@65")
    exact = sweep(layer, x, {}, methods).id_scores
    assert exact.dtype == np.float64
    for got, method in zip(exact, methods, strict=True):
        want = SCORES["energy"](layer.double()(method.shape(torch.from_numpy(x)))).numpy()
        np.testing.assert_allclose(got, want, rtol=1e-12)
    layer = layer.float()
    half = x.astype(np.float16)
    a, b = (sweep(layer, bank, {}, methods).id_scores for bank in (half, half.astype(np.float32)))
    np.testing.assert_array_equal(a, b)


def small_sweep(**options: object) -> tuple[sweeping.Sweep, np.ndarray, dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    x = np.maximum(rng.standard_normal((40, 16), dtype=np.float32), 0)
    ood = {"near": x[:30] * 0.9, "far": rng.random((50, 16), dtype=np.float32)}
    methods = parse_methods("energy,ash_s@90,ash_s@90:msp,react@1.0")
    return sweep(linear(16, 4), x, ood, methods, **options), x, ood  # type: ignore[arg-type]


def test_table_has_a_row_for_each_set_and_a_mean() -> None:
    labels = np.arange(40) % 5 - 1  # -1: unknown
    result, x, _ = small_sweep(id_labels=labels)
    table = result.table("net", "fc", "id")
    assert list(table.columns) == COLUMNS
    assert list(table.ood) == ["near", "far", "mean"] * 4
    assert list(table.method.unique()) == ["energy", "ash_s@90", "ash_s@90:msp", "react@1.0"]
    assert set(table.n_id) == {40}
    assert list(table.n_ood[:3]) == [30, 50, 80]
    for i in range(4):
        near, far, mean = (table.iloc[3 * i + j] for j in range(3))
        for ood, row in (("near", near), ("far", far)):
            scores = result.id_scores[i], result.ood_scores[ood][i]
            want = [f(*scores) for f in (metrics.auroc, metrics.fpr_at_tpr, metrics.aupr)]
            np.testing.assert_allclose([row.auroc, row.fpr95, row.aupr], np.multiply(100, want), rtol=1e-12)
        assert mean.auroc == pytest.approx((near.auroc + far.auroc) / 2)
        with torch.inference_mode():
            logits = linear(16, 4)(result.methods[i].shape(torch.from_numpy(x)))
        known = labels >= 0
        assert mean.id_accuracy == pytest.approx(100 * metrics.accuracy(logits[known], labels[known]))


@settings(max_examples=200, deadline=None)
@given(*(arrays(np.float32, st.integers(1, 40), elements=st.integers(0, 9).map(float)) for _ in range(2)))
def test_table_metrics_equal_the_metrics_with_heavy_ties(id_scores: np.ndarray, ood_scores: np.ndarray) -> None:
    got = RankedID(id_scores).metrics(ood_scores)
    want = [f(id_scores, ood_scores) for f in (metrics.auroc, metrics.fpr_at_tpr, metrics.aupr)]
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


def test_without_labels_or_ood_sets_the_table_says_so() -> None:
    table = sweep(linear(3, 2), np.ones((4, 3), np.float32), {}, [Method()]).table()
    assert list(table.ood) == ["mean"]
    assert table[["auroc", "fpr95", "aupr", "id_accuracy"]].isna().all(axis=None)


class FakeBank:
    """What the sweep needs of a bank: shape, labels, rows and chunks that do not fit the sweep's own."""

    def __init__(self, x: np.ndarray) -> None:
        self.x, self.shape, self.labels = x, x.shape, np.zeros(len(x), np.int64)

    def __getitem__(self, row: int) -> np.ndarray:
        return self.x[row]

    def chunks(self, rows: int) -> Iterator[np.ndarray]:
        for start in range(0, len(self.x), 7):
            yield from (self.x[start : start + 7][i : i + rows] for i in range(0, 7, rows) if start + i < len(self.x))


def test_banks_and_progress_and_noise_by_sample() -> None:
    x = np.random.default_rng(0).random((40, 16), dtype=np.float32)
    steps: list[tuple[int, int]] = []
    methods = parse_methods("energy,energy,ash_rand@30,ash_s@90,ash_s@90:msp")
    bank = sweep(linear(16, 4), FakeBank(x), {"o": FakeBank(x[5:])}, methods, progress=lambda *step: steps.append(step))
    array = sweep(linear(16, 4), x, {"o": x[5:]}, methods)
    np.testing.assert_allclose(bank.id_scores, array.id_scores, rtol=1e-5)
    assert bank.id_labels is not None
    assert array.id_labels is None
    assert steps[-1] == (3 * 75, 3 * 75)
    assert [done for done, _ in steps] == sorted({done for done, _ in steps})


def test_progress_can_end_the_sweep() -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    for tail in (linear(16, 4), nn.Sequential(linear(16, 4), nn.ReLU())):
        with pytest.raises(KeyboardInterrupt):
            sweep(tail, np.ones((40, 16), np.float32), {}, [Method()], progress=stop)


def test_threads_elsewhere_keep_their_number() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)  # no other test asks for three, so the workers start here
    try:
        small_sweep()
        seen: list[int] = []
        thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert [torch.get_num_threads(), *seen] == [3, 3]
    finally:
        torch.set_num_threads(before)


def test_products_of_passes_at_once_take_one_thread_each_and_afterwards_as_many_as_before() -> None:
    def taken() -> set[int]:
        return {one["num_threads"] for one in threadpool_info() if one["internal_api"] == "openblas"}

    seen: list[set[int]] = []

    def beside(done: int, total: int) -> None:
        small_sweep()  # a pass that begins after the other one and ends before it
        seen.append(taken())

    with threadpool_limits(3, "blas"):
        sweep(linear(16, 4), np.ones((40, 16), np.float32), {}, [Method()], progress=beside)
        assert (seen[0], taken()) == ({1}, {3})


GOOD = np.ones((4, 3), np.float32)
BAD = GOOD.copy()
BAD[2, 1] = np.nan


@pytest.mark.parametrize(
    ("id_bank", "ood", "options", "message"),
    [
        (GOOD, {}, {"methods": []}, "no method"),
        (GOOD, {"far": GOOD[:, :2]}, {}, r"activations of far have the shape \(2,\).*ID set \(3,\)"),
        (GOOD[:, :2], {}, {}, r"shape \(2,\), the tail takes \(3,\)"),
        (GOOD, {}, {"id_labels": [0, 1]}, "2 labels for 4 ID samples"),
        (BAD, {}, {}, "sample 2 of ID holds NaN"),
        (GOOD, {"far": -np.inf * GOOD}, {}, "sample 0 of far holds NaN or infinity"),
        (GOOD[:0], {}, {}, r"shape \(0, 3\)"),
        (GOOD.astype(int), {}, {}, "must be floating point, got int64"),
    ],
)
def test_bad_input_is_one_clear_sentence(id_bank: np.ndarray, ood: dict, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        sweep(linear(3, 2), id_bank, ood, **({"methods": [Method()]} | options))
    assert "\n" not in str(caught.value)


def test_a_deep_tail_that_does_not_fit_says_so() -> None:
    with pytest.raises(ValueError, match=r"tail does not take activations of the shape \(3,\)"):
        sweep(nn.Sequential(nn.Conv2d(3, 2, 1)), GOOD, {}, [Method()])


def test_neighbouring_floats_of_both_signs_are_told_apart() -> None:
    bits = np.arange(0x3F800000, 0x3F800008, dtype=np.int32)  # 1.0 and the seven floats after it
    x = np.concatenate([-bits.view(np.float32), bits.view(np.float32)])[None]
    values, columns = unpack(torch.from_numpy(sort_keys(x)).flatten())
    np.testing.assert_array_equal(values, -np.sort(-x[0]))
    np.testing.assert_array_equal(x[0, columns], values)
