"""What a sweep says of its own numbers: cuts among equals, what is beyond a float's range, settings without effect."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import ash
from ash import shaping
from ash.engine import linear as linear_tails
from ash.engine import pooled, thresholds
from ash.errors import AshError
from ash.methods import Method
from ash.tables import Sweep

PERCENTILES = st.lists(st.just(0.0) | st.floats(1, 99.9), min_size=1, max_size=5)


class Pooled(nn.Module):
    """A pooled linear tail."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.fc = nn.Linear(features, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.mean((2, 3)))


class Deep(Pooled):
    """A tail that is not linear."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.relu())


def expected(x: np.ndarray, method: Method) -> tuple[int, int]:
    """For how many samples an equal of the smallest kept value is pruned and that decides; and how many are clamped."""
    tied = beyond = 0
    (step,) = method.steps
    for row in x.reshape(len(x), -1).astype(np.float64):
        k = shaping.kept_count(len(row), step.parameter)
        ordered = np.sort(row)[::-1]
        if 0 < k < len(row) and ordered[k - 1] == ordered[k]:
            tied += step.name in ("ash_b", "ash_rand") or ordered[k] != 0
        s1, s2 = row.sum(), ordered[:k].sum()
        if step.name == "ash_s" and k and s2:  # both sums may be negative
            beyond += s1 / s2 > np.log(np.finfo(np.float32).max) - 1 - np.log(max(1, np.abs(ordered[:k]).max()))
    return tied, beyond


def sample(seed: int, n: int, shape: tuple[int, ...], kind: str) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, *shape)).astype(np.float32)
    if kind == "rectified":
        return np.maximum(x, 0)
    return np.maximum(x, 0).round(0) if kind == "counts" else (8 * x).round() / 8  # sums are exact in any order


def split_tail(tail: nn.Module, x: np.ndarray) -> nn.Module:
    """The tail as a graph, as a network's is."""
    return torch.fx.symbolic_trace(tail.eval()) if type(tail) is Pooled else tail


@pytest.mark.parametrize(
    "where", ["flat", "double", "maps", "counted maps", "double maps", "deep", "after react", "nonzero"]
)
@settings(max_examples=12)
@given(st.integers(0, 2**32), PERCENTILES, st.sampled_from(["rectified", "counts", "signed"]))
def test_the_samples_whose_cut_falls_among_equals_are_counted(
    where: str, seed: int, percentiles: list[float], kind: str
) -> None:
    shape = (7, 3, 3) if "maps" in where else (40,)
    x, other = sample(seed, 5, shape, kind), sample(seed + 1, 3, shape, kind)
    if "double" in where:
        x, other = x.astype(np.float64), other.astype(np.float64)
    if where == "nonzero":
        x, other = np.abs(x), np.abs(other)
    tail: nn.Module = Pooled(7) if "maps" in where else Deep(40) if where == "deep" else nn.Linear(40, 4)
    names = ["ash_b_nonzero"] if where == "nonzero" else ["ash_p", "ash_b", "ash_s", "ash_rand"]
    plain = [Method(name, p) for name in names for p in dict.fromkeys(percentiles)]
    first = "react@1000000+" if where == "after react" else ""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear_tails, "CHUNK_VALUES", 90)
        patch.setattr(pooled, "FEW_VALUES", 0 if where == "counted maps" else 1 << 13)
        methods = [Method.parse(f"{first}{method}") for method in plain]
        tail = split_tail(tail.double() if "double" in where else tail, x)
        done = ash.sweep(tail, x, {"other": other}, methods)
    assert done.id_doubts is not None
    table = done.table().set_index(["method", "ood"])
    for i, method in enumerate(plain):
        at_id, at_ood = expected(x, method), expected(other, method)
        assert tuple(done.id_doubts[i]) == at_id, method
        assert tuple(done.ood_doubts["other"][i]) == at_ood, method
        row = table.loc[(str(methods[i]), "other")]
        assert row.tied == pytest.approx(100 * (at_id[0] + at_ood[0]) / 8)
        assert row.beyond_range == pytest.approx(100 * (at_id[1] + at_ood[1]) / 8)


@pytest.mark.parametrize("tail", [nn.Linear(40, 4), Deep(40)], ids=["linear", "deep"])
def test_where_nothing_is_kept_nothing_is_beyond_the_range(tail: nn.Module) -> None:
    x = sample(0, 5, (40,), "rectified")
    assert shaping.kept_count(40, 99) == 0
    done = ash.sweep(split_tail(tail, x), x, {"other": x}, [Method("ash_s", 99)])
    assert done.id_doubts is not None
    assert done.id_doubts.tolist() == done.ood_doubts["other"].tolist() == [[0, 0]]


def test_a_scale_of_two_negative_sums_may_be_beyond_the_range() -> None:
    x = torch.full((1, 40), -1.0)
    x[0, 0], x[0, 1] = 0.75, -0.875  # these two are kept: s1 / s2 = -38.125 / -0.125
    mask = shaping.kept_mask(x, 95)
    assert mask.sum() == 2
    assert shaping.range_exceeded(x, mask).tolist() == [True]
    assert shaping.ash_s(x, 95).isfinite().all()


def test_a_cut_among_zeros_decides_for_ash_b_alone() -> None:
    x = np.array([[3.0, 0.0, 0.0, 0.0], [4.0, 3.0, 2.0, 1.0]], np.float32)
    methods = ash.parse_methods("ash_p@50,ash_s@50,ash_b@50,ash_b_nonzero@50,ash_rand@50,react@1")
    table = ash.sweep(nn.Linear(4, 3), x, {"o": x}, methods).table().query("ood == 'o'").set_index("method")
    assert {name: share for name, share in table.tied.items() if share} == {"ash_b@50": 50, "ash_rand@50": 50}


def test_a_cut_just_before_the_zeros_is_not_among_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooled, "FEW_VALUES", 0)
    x = np.zeros((1, 4, 5, 5), np.float32)
    x[0, :2] = np.arange(1, 51).reshape(2, 5, 5)  # half of 100 values: p = 50 keeps them all, p = 40 ten zeros as well
    table = ash.sweep(split_tail(Pooled(4), x), x, {"o": x}, ash.parse_methods("ash_b@50,ash_b@40")).table()
    assert table.query("ood == 'o'").set_index("method").tied.to_dict() == {"ash_b@50": 0, "ash_b@40": 100}


@given(st.integers(0, 2**32), st.floats(1, 99))
def test_the_non_zero_reading_does_not_hang_on_the_order_of_the_units(seed: int, p: float) -> None:
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(np.maximum(rng.standard_normal((3, 50)), 0))
    order = torch.from_numpy(rng.permutation(50))
    once = ash.ash_b_nonzero(x, p)
    torch.testing.assert_close(ash.ash_b_nonzero(x[:, order], p), once[:, order])
    some = (once != 0).any(1)
    torch.testing.assert_close(once.sum(1)[some], x.sum(1)[some])
    k = shaping.kept_count(50, p)
    assert torch.equal((once != 0).sum(1), (x != 0).sum(1).clamp(max=k))


def test_what_lies_beyond_the_range_is_counted_by_every_path() -> None:
    rng = np.random.default_rng(0)
    x, other = (np.abs(rng.standard_normal((20, 500)) + 3).astype(np.float32) for _ in range(2))
    linear = nn.Linear(500, 4)
    deep = nn.Sequential(nn.ReLU(), linear).eval()
    methods = ash.parse_methods("ash_s@50,ash_s@99.8,react@100+ash_s@99.8,ash_s_global@99.9")
    tables = [ash.sweep(tail, x, {"o": other}, methods).table().set_index(["method", "ood"]) for tail in (linear, deep)]
    for table in tables:
        assert table.loc[("ash_s@50", "o")].beyond_range == 0
        assert table.loc[("ash_s@99.8", "o")].beyond_range == 100
        assert table.loc[("react@100.0+ash_s@99.8", "o")].beyond_range == 100
        assert table.loc[("ash_s_global@99.9", "o")].beyond_range > 20
        assert np.isfinite(table[["auroc", "fpr95", "aupr"]].to_numpy()).all()
    pd.testing.assert_frame_equal(tables[0][["tied", "beyond_range"]], tables[1][["tied", "beyond_range"]])
    wide = ash.sweep(linear.double(), x.astype(np.float64), {"o": other.astype(np.float64)}, methods[:2]).table()
    assert (wide.beyond_range == 0).all()  # float64 holds what float32 does not


def test_settings_that_are_evaluated_once_are_doubted_alike() -> None:
    x = np.ones((4, 40), np.float32)
    done = ash.sweep(Deep(40), x, {"o": x[:3]}, ash.parse_methods("ash_b@50,ash_b@50.1"))  # an equal k
    assert done.id_doubts is not None
    assert done.id_doubts.tolist() == [[4, 0]] * 2
    assert done.ood_doubts["o"].tolist() == [[3, 0]] * 2


def test_a_score_at_the_end_of_its_float_is_beyond_the_range() -> None:
    x = np.full((3, 4), 1e38, np.float32)
    x[0] = 1
    tail = nn.Linear(4, 2)
    nn.init.constant_(tail.weight, 100.0)
    done = ash.sweep(tail, x, {"o": x[1:]}, ash.parse_methods("energy,max_logit,react@1"))
    assert done.id_doubts is not None
    assert done.id_doubts.tolist() == [[0, 2], [0, 2], [0, 0]]
    assert done.ood_doubts["o"].tolist() == [[0, 2], [0, 2], [0, 0]]


def test_settings_without_effect_are_named() -> None:
    rng = np.random.default_rng(0)
    x = np.abs(rng.standard_normal((30, 20))).astype(np.float32)
    methods = ash.parse_methods("energy,msp,react@90,react@0.5,react@90:msp,ash_p@50,ash_p@0,ash_b@65")
    done = ash.sweep(nn.Linear(20, 4), x, {"o": x + 1}, methods)
    assert [str(one) for one in done.without_effect()] == ["react@90.0", "react@90.0:msp", "ash_p@0"]
    assert not ash.sweep(nn.Linear(20, 4), x, {"o": x}, ash.parse_methods("react@90")).without_effect()


def test_a_part_of_a_sweep_keeps_what_is_said_of_it() -> None:
    x = np.zeros((4, 6), np.float32)
    x[:, 0] = 1
    done = ash.sweep(nn.Linear(6, 3), x, {"a": x, "b": x[:2]}, ash.parse_methods("energy,ash_b@50"), id_labels=[0] * 4)
    whole, part = done.table(), done.part([1], ["b"]).table()
    row = whole[(whole.method == "ash_b@50") & (whole.ood == "b")].reset_index(drop=True)
    pd.testing.assert_frame_equal(part[part.ood == "b"].reset_index(drop=True), row)
    assert row.tied.item() == 100


def test_scores_without_doubts_show_none() -> None:
    one = Sweep((Method(),), np.zeros((1, 2)), {"o": np.zeros((1, 2))}, np.zeros((1, 2), int), None)
    assert one.table()[["tied", "beyond_range"]].isna().to_numpy().all()


@pytest.mark.parametrize("tail", ["linear", "double", "deep"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("at", [0, 57])
def test_nan_is_refused_wherever_it_is(tail: str, bad: float, at: int) -> None:
    x = np.ones((60, 8), np.float64 if tail == "double" else np.float32)
    bad_x = x.copy()
    bad_x[at, 3] = bad
    net: nn.Module = Deep(8) if tail == "deep" else nn.Linear(8, 3)
    net = net.double() if tail == "double" else net
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear_tails, "CHUNK_VALUES", 80)
        patch.setattr("ash.engine.tails.BATCH_VALUES", 80)
        for sets in ((bad_x, {"o": x}), (x, {"o": bad_x})):
            with pytest.raises(AshError, match=rf"sample {at} of (ID|o) holds NaN or infinity"):
                ash.sweep(net, *sets, ash.parse_methods("energy,ash_s@50,react@1"))


@pytest.mark.parametrize("score", ["energy", "msp", "max_logit"])
def test_a_network_that_makes_nan_is_named_with_the_sample(score: str) -> None:
    x = np.ones((5, 8), np.float32)
    x[3] = -1

    class Root(Deep):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x.sqrt())

    with pytest.raises(AshError, match="sample 3 of ID a score that is NaN"):
        ash.sweep(Root(8), x, {"o": x[:2]}, [Method(score=score)])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("maps", [False, True])
@pytest.mark.parametrize("text", ["ash_s@20:max_logit", "ash_s_global@20:max_logit"])
def test_the_clamp_holds_where_the_smallest_kept_value_is_the_largest_in_size(
    dtype: type, maps: bool, text: str
) -> None:
    """Two negative values are kept, a thousand times the positive ones, and what is pruned is huge."""
    low = -1e38 if dtype == np.float32 else -1e307
    x = np.array([[1.0, -1e3, -1.001e3, 0.5, low], [2.0, -2e3, -1e3, 0.5, low]], dtype)
    x = x.reshape(2, 5, 1, 1).repeat(2, 3) if maps else x
    torch.manual_seed(0)
    tail = split_tail(Pooled(5) if maps else nn.Linear(5, 3), x).to(torch.from_numpy(x).dtype)
    method = Method.parse(text)
    found = ash.sweep(tail, x, {"o": x}, [method])
    (steps,) = thresholds.resolve([method.steps], None, x, torch.from_numpy(x).dtype)
    expected = ash.max_logit(tail(Method(steps=steps).shape(torch.from_numpy(x)))).detach().numpy()
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(found.id_scores[0], expected, rtol=1e-4)
    assert found.table().beyond_range.min() == 100
