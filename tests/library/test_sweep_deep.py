"""Tails that run once for each setting: the same numbers, step by step, nothing twice, whatever the memory holds."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from test_sweep import METHODS, Deep, FakeBank, activations, assert_equal, linear, one_by_one
from torch import Tensor, fx, nn

from ash.engine import passes, tails
from ash.engine.cutoffs import Cutoffs
from ash.engine.masked import MaskedProducts, in_bfloat16
from ash.engine.plan import Plan, SweepError
from ash.methods import Method, parse_methods
from ash.scores import SCORES
from ash.shaping import kept_count, kept_mask
from ash.splitting import LinearTail
from ash.sweeping import Step, sweep, sweep_steps

CPU = torch.device("cpu")
TIES = st.sampled_from([-1.0, -0.0, 0.0, 0.0, 0.5, 1.0, 2.0]) | st.floats(-3, 3, width=16)


class Counting(nn.Module):
    """A deep tail that counts the samples it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.tail, self.seen, self.batches = Deep(), 0, 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        self.batches += 1
        return self.tail(x)


class Narrow(Counting):
    """A tail on a device that has no memory for more than three samples at once."""

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().forward(x)


class Viewing(nn.Module):
    """A tail that asks for its values in a row, so that channels last is not for it."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.linear = nn.Conv2d(3, 4, 1), linear(64, 5)
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.convolution(x).view(x.shape[0], -1))


def relu_maps(n: int, seed: int = 0) -> np.ndarray:
    """(n, 3, 4, 4), about half of it zero."""
    return np.maximum(np.random.default_rng(seed).standard_normal((n, 3, 4, 4), dtype=np.float32), 0)


@given(
    arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 20)), elements=TIES.map(np.float32)),
    st.lists(st.floats(0, 99.99), min_size=1, max_size=6),
)
def test_cutoffs_give_the_kept_mask(x: np.ndarray, percentiles: list[float]) -> None:
    n, size = x.shape
    cuts = {kept_count(size, p) for p in percentiles}
    known = Cutoffs(n, size, sorted(cuts - {0, size}), torch.float32, CPU)
    for first in range(0, n, 2):
        known.add(slice(first, first + 2), torch.from_numpy(x[first : first + 2]))
    assert known.known.all()
    for p in percentiles:
        some = slice(0, n)
        got = known.mask(some, torch.from_numpy(x), kept_count(size, p))
        assert torch.equal(got, kept_mask(torch.from_numpy(x), p))
    want = np.where((x < 0).any(1), size + 1, (x > 0).sum(1))
    np.testing.assert_array_equal(known.positive.numpy(), want)


@given(activations((3, 4, 4)), METHODS, st.integers(1, 4))
def test_any_batch_size_equals_one_by_one(x: np.ndarray, methods: list[Method], rows: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tails, "MOST_ROWS", rows)
        assert_equal(Deep(), x, methods)


def test_settings_come_one_after_another_on_all_banks() -> None:
    x, methods = relu_maps(10), parse_methods("energy,ash_s@90,msp,ash_b@65,ash_s@90:msp")
    ood = {"a": FakeBank(relu_maps(9, 1)), "b": relu_maps(5, 2)}
    steps = list(sweep_steps(Deep(), x, ood, methods, id_labels=np.arange(10) % 5))
    assert [(step.done, step.total) for step in steps][-1] == (3 * 24, 3 * 24)
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    finished = [step.finished for step in steps if step.finished]
    assert [[str(method) for method in one.methods] for one in finished] == [
        ["energy", "msp"],
        ["ash_s@90", "ash_s@90:msp"],
        ["ash_b@65"],
    ]
    whole = sweep(Deep(), x, ood, methods, id_labels=np.arange(10) % 5)
    for one in finished:
        at = [whole.methods.index(method) for method in one.methods]
        np.testing.assert_array_equal(one.id_scores, whole.id_scores[at])
        np.testing.assert_array_equal(one.id_predictions, whole.id_predictions[at])
        for name in ood:
            np.testing.assert_array_equal(one.ood_scores[name], whole.ood_scores[name][at])
        assert not one.table().isna().drop(columns="percentile").any(axis=None)


def test_a_finished_setting_stays_as_it_was_when_more_follow() -> None:
    steps = sweep_steps(Deep(), relu_maps(6), {"o": relu_maps(4, 1)}, parse_methods("ash_s@50,ash_s@90,ash_b@65"))
    first = next(step.finished for step in steps if step.finished)
    before = first.id_scores.copy()
    list(steps)
    np.testing.assert_array_equal(first.id_scores, before)


def test_a_linear_tail_finishes_all_methods_at_the_end() -> None:
    x = np.random.default_rng(0).random((40, 16), dtype=np.float32)
    methods = parse_methods("energy,ash_s@90")
    steps = list(sweep_steps(linear(16, 4), x, {"o": x}, methods))
    assert all(step.finished is None for step in steps[:-1])
    last = steps[-1].finished
    assert last is not None
    np.testing.assert_array_equal(last.id_scores, sweep(linear(16, 4), x, {"o": x}, methods).id_scores)


def test_stopping_to_iterate_stops_the_work() -> None:
    tail = Counting()
    steps: Iterator[Step] = sweep_steps(tail, relu_maps(6), {}, parse_methods("energy,ash_b@50,ash_b@65"))
    assert next(step for step in steps if step.finished).done == 6
    seen = tail.seen
    steps.close()  # type: ignore[attr-defined]
    assert tail.seen == seen
    assert torch.is_inference_mode_enabled() is False


def test_the_mode_of_torch_is_as_before_between_steps() -> None:
    for tail, x in ((Deep(), relu_maps(6)), (linear(48, 4), relu_maps(6).reshape(6, 48))):
        for _ in sweep_steps(tail, x, {}, parse_methods("energy,ash_b@50")):
            assert not torch.is_inference_mode_enabled()


def evaluations(text: str, x: np.ndarray) -> int:
    """How many samples the tail sees for these methods, once its own check is left out; the numbers must be right."""
    tail, methods = Counting(), parse_methods(text)
    result = sweep(tail, x, {}, methods)
    for got, method in zip(result.id_scores, methods, strict=True):
        np.testing.assert_allclose(got, one_by_one(tail.tail, x, method)[0], rtol=1e-5, atol=1e-5)
        with torch.inference_mode():
            classes = tail.tail(method.shape(torch.from_numpy(x))).argmax(1)
        np.testing.assert_array_equal(result.id_predictions[methods.index(method)], classes)
    return tail.seen - 1


def test_settings_that_shape_alike_run_once() -> None:
    x = relu_maps(8)
    positive = (x > 0).sum((1, 2, 3))  # of 48
    assert evaluations("energy,msp,max_logit", x) == 8
    assert evaluations("ash_b@50,ash_b@50.1,ash_b@50:msp", x) == 8  # an equal k
    assert evaluations("ash_b@50.1,ash_b@50:msp", x) == 8 + 8  # whose MSP nobody has kept
    assert evaluations("energy,ash_p@0,ash_p@10", x) == 8 + (positive > 43).sum()
    assert evaluations("energy,ash_p@50", x) == 8 + (positive > 24).sum()
    assert evaluations("ash_s@20,ash_s@50", x) == 8 + (positive > 24).sum()
    assert evaluations("ash_s@50,ash_s@20", x) == 8 + (positive > 24).sum()
    assert evaluations("energy,ash_s@20,ash_b@20", x) == 3 * 8  # nothing to share across variants


def test_negative_values_share_nothing_but_an_equal_k() -> None:
    x = np.random.default_rng(0).standard_normal((8, 3, 4, 4), dtype=np.float32)
    assert evaluations("energy,ash_p@5,ash_p@50,ash_s@5,ash_s@10", x) == 5 * 8
    assert evaluations("energy,ash_p@0,ash_p@50,ash_p@50.1", x) == 2 * 8


def test_a_batch_that_does_not_fit_is_halved() -> None:
    x, methods = relu_maps(11), parse_methods("energy,ash_s@90,ash_b@65")
    tail = Narrow()
    halved = sweep(tail, x, {}, methods)
    np.testing.assert_allclose(halved.id_scores, sweep(Deep(), x, {}, methods).id_scores, rtol=1e-5)
    with pytest.raises(SweepError, match="One sample does not fit into the memory of CPU"):
        sweep(Full(), x, {}, methods)


def test_a_linear_chunk_that_does_not_fit_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    x, methods, limit = relu_maps(11).astype(np.float64), parse_methods("energy,ash_s@90,ash_b@65,ash_rand@30"), 3
    tail = LinearTail(linear(3, 4).weight.double(), linear(3, 4).bias.double(), True)
    whole, product = sweep(tail, x, {}, methods), MaskedProducts._product

    def narrow(self: MaskedProducts, weights: Tensor) -> Tensor:
        if len(weights) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return product(self, weights)

    monkeypatch.setattr(MaskedProducts, "_product", narrow)
    np.testing.assert_allclose(sweep(tail, x, {}, methods).id_scores, whole.id_scores, rtol=1e-12)
    limit = 0
    with pytest.raises(SweepError, match="One sample does not fit into the memory of CPU"):
        sweep(tail, x, {}, methods)


class InPlace(Deep):
    """A tail whose first layer works in place, and which may have no more than `most` samples at once."""

    most = 100

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self.most and x.any():
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().forward(x.sub_(0.1).relu_())


@pytest.mark.parametrize("most", [100, 2])
@pytest.mark.parametrize("room", [0, 2000, 2**30])
def test_activations_that_stay_on_the_device_stay_as_they_are(
    monkeypatch: pytest.MonkeyPatch, room: int, most: int
) -> None:
    x, tail = relu_maps(11), InPlace()
    methods = parse_methods("energy,react@0.5,ash_b@65,ash_s@90,ash_p@30:msp")
    with torch.inference_mode():
        expected = [SCORES[m.score](tail(m.shape(torch.tensor(x)).clone())).numpy() for m in methods]
    monkeypatch.setattr(tail, "most", most)
    monkeypatch.setattr(passes, "_room", lambda _: room)
    np.testing.assert_allclose(sweep(tail, x, {"again": x}, methods).ood_scores["again"], expected, rtol=1e-5)


class Full(Deep):
    """A tail on a device without memory for a single sample, once it has been tried on zeros."""

    def forward(self, x: Tensor) -> Tensor:
        if x.any():
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().forward(x)


def test_batches_are_sized_by_the_largest_tensor_of_the_tail() -> None:
    wide = nn.Sequential(nn.Conv2d(3, 40, 1), nn.ReLU(), nn.Conv2d(40, 4, 4), nn.Flatten()).requires_grad_(False)
    wanted = Plan([Method()]).settings
    dtypes = {np.dtype(np.float32)}
    seen = tails.evaluator_for(fx.symbolic_trace(wide), (3, 4, 4), wanted, dtypes)
    assert seen.rows == min(tails.MOST_ROWS, tails.BATCH_VALUES // (40 * 16))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tails, "BATCH_VALUES", 2000)
        assert tails.evaluator_for(fx.symbolic_trace(wide), (3, 4, 4), wanted, dtypes).rows == 3
        assert tails.evaluator_for(wide, (3, 4, 4), wanted, dtypes).rows == 2000 // 48  # not traced: its input alone
        patch.setattr(tails, "BATCH_VALUES", 1)
        assert tails.evaluator_for(wide, (3, 4, 4), wanted, dtypes).rows == 1


def test_bfloat16_is_close_and_scored_in_float32() -> None:
    x, methods = relu_maps(12), parse_methods("energy,ash_s@90,ash_b@65:msp")
    exact = sweep(Deep(), x, {}, methods)
    rough = sweep(Deep(), x, {}, methods, precision="bfloat16")
    assert rough.id_scores.dtype == np.float32
    assert not np.array_equal(rough.id_scores, exact.id_scores)
    np.testing.assert_allclose(rough.id_scores, exact.id_scores, rtol=0.03, atol=0.03)
    flat = linear(48, 4), x.reshape(12, 48), {}, methods
    np.testing.assert_array_equal(sweep(*flat, precision="bfloat16").id_scores, sweep(*flat).id_scores)


def test_channels_last_is_taken_where_the_tail_takes_it() -> None:
    wanted, dtypes = Plan([Method()]).settings, {np.dtype(np.float32)}
    layouts = [
        tails.evaluator_for(tail, (3, 4, 4), wanted, dtypes, precision=precision).layout
        for tail, precision in ((Deep(), "float32"), (Deep(), "bfloat16"), (Viewing(), "bfloat16"))
    ]
    assert layouts == [torch.contiguous_format, torch.channels_last, torch.contiguous_format]
    tail, x, methods = Viewing(), relu_maps(12), parse_methods("energy,ash_b@65")
    rough, exact = (sweep(tail, x, {}, methods, precision=p).id_scores for p in ("bfloat16", "float32"))
    np.testing.assert_allclose(rough, exact, rtol=0.03, atol=0.03)


def test_three_bfloat16_make_a_float32() -> None:
    weight = torch.randn(50, 7, generator=torch.Generator().manual_seed(0)) * torch.logspace(-20, 20, 7)
    high, middle, low = in_bfloat16(weight).double().view(50, 3, 7).unbind(1)
    assert torch.equal(high + middle + low, weight.double())


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(SweepError, match="no precision 'float16'; there are float32 and bfloat16"):
        sweep_steps(Deep(), relu_maps(2), {}, [Method()], precision="float16")


def test_what_is_not_finite_is_named() -> None:
    x = relu_maps(5)
    x[3, 0, 0, 0] = np.nan
    for text in ("energy", "ash_b@65"):
        with pytest.raises(SweepError, match="sample 3 of far holds NaN"):
            sweep(Deep(), relu_maps(2), {"far": x}, parse_methods(text))


class Huge(FakeBank):
    """A bank that counts how much of it is asked for before the first result, and would not fit if read at once."""

    def __init__(self, x: np.ndarray) -> None:
        super().__init__(x)
        self.given = 0

    def chunks(self, rows: int) -> Iterator[np.ndarray]:
        for part in super().chunks(rows):
            self.given += len(part)
            yield part


@pytest.mark.parametrize("tail", [linear(48, 4), Deep()], ids=["linear", "deep"])
def test_a_bank_is_read_as_it_is_needed(tail: nn.Module) -> None:
    x = np.tile(relu_maps(1), (700, 1, 1, 1))
    bank = Huge(x if isinstance(tail, Deep) else x.reshape(700, 48))
    steps = sweep_steps(tail, bank, {}, parse_methods("energy"))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        next(steps)
        assert bank.given <= 7 * 6
    finally:
        steps.close()  # type: ignore[attr-defined]
        torch.set_num_threads(before)
