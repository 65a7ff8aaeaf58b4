"""SCALE, LTS, VRA-P, BFAct and RAS against their definitions in plain numpy, and pytorch-ood's SCALE and LTS.

On tails that are linear, pool and are linear, or neither, in float32 and float64: all of them by the sweep, beside the
plain path; samples of zeros, negative values and ties are among the activations. Largest differences are printed.
"""

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from differences import printed
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_ood.detector.lts import LTS
from pytorch_ood.detector.scale import scale as their_scale
from test_sweep import Deep, Pooled, linear
from torch import fx, nn
from training import ArrayBank, relu_like

import ash
from ash import shaping
from ash.engine import linear as linear_tails
from ash.engine import pooled
from ash.engine.grouped import linear_evaluator
from ash.engine.masked import MaskedProducts
from ash.fitting import Fit, FitError, fit
from ash.methods import STEPS, VARIANTS, Method, MethodError, Step, parse_methods
from ash.scores import SCORES
from ash.shapes.lts import lts
from ash.shapes.scale import scale
from ash.splitting import linear_tail
from ash.sweeping import SweepError, predict, sweep, sweep_steps
from ash.tables import idle_in_words

NAMES = ("scale", "lts", "vra", "vra%", "bfact", "bfact%", "ras")
EPS = {np.float32: 1e-5, np.float64: 1e-12}


@pytest.fixture(scope="module", autouse=True)
def differences(request: pytest.FixtureRequest) -> Iterator[dict[str, float]]:
    """Method -> largest difference, as a share of the size of what is added up; printed at the end."""
    yield from printed(request, "of the later shapes, relative to what is added up")


def oracle(step: Step, x: np.ndarray, one: Fit | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The shaped activation, and the factor of the logits, of x (N, ...): as the definitions are written."""
    flat, factor = x.reshape(len(x), -1).astype(np.float64), np.ones(len(x))
    values = step.values if step.variant.unit != "%" or one is None else tuple(map(one.at_percentile, step.values))
    if step.name in ("scale", "lts"):
        given = np.maximum(flat, 0) if step.name == "lts" else flat
        k = max(1, given.shape[1] - round(given.shape[1] * step.parameter / 100))
        s1, s2 = given.sum(1), np.sort(given, 1)[:, ::-1][:, :k].sum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            r = np.where((s1 == 0) & (s2 == 0), 1.0, s1 / s2)
        if step.name == "lts":
            return x, r**2
        most = np.log(np.finfo(x.dtype).max) - 1 - np.log(np.abs(flat).max(1).clip(min=1))
        return (flat * np.exp(r.clip(-746, most))[:, None]).reshape(x.shape), factor
    if step.variant.word == "vra":
        flat = np.where(flat <= values[0], 0, np.minimum(flat, values[1]))
    elif step.variant.word == "bfact":
        flat = flat / np.sqrt(1 + (flat / values[0]) ** 4)
    else:
        assert one is not None
        places = np.argsort(flat, 1, kind="stable")
        np.put_along_axis(flat, places, np.broadcast_to(one.ranks, flat.shape), 1)
    return flat.reshape(x.shape), factor


def sample(kind: str, features: tuple[int, ...], seed: int = 0, n: int = 14) -> np.ndarray:
    """Activations (n, *features): rectified, signed, or few distinct values; the first sample is zero."""
    x = np.random.default_rng(seed).standard_normal((n, *features)).astype(np.float32)
    x = {"rectified": np.maximum(x, 0), "signed": x + np.float32(0.2), "ties": np.maximum(x, 0).round()}[kind]
    x[0] = 0
    return x


def tail_of(where: str) -> tuple[nn.Module, tuple[int, ...]]:
    """A tail and the shape of its activations."""
    return {"linear": (linear(48, 5), (48,)), "pooled": (Pooled(linear(3, 5)), (3, 4, 4)), "deep": (Deep(), (3, 4, 4))}[
        where
    ]


def expected(tail: nn.Module, steps: tuple[Step, ...], x: np.ndarray, one: Fit | None) -> tuple[np.ndarray, np.ndarray]:
    """Logits in float64 by the oracle, and the size of what is added up for each sample."""
    factor, wide = np.ones(len(x)), copy.deepcopy(tail).double()
    for step in steps:
        shaped, more = oracle(step, x, one)
        x, factor = shaped.astype(x.dtype), factor * more
    with torch.inference_mode():
        given = torch.from_numpy(shaped).double()
        logits = wide(given).numpy() * factor[:, None]
        size = 1 + np.abs(given.numpy()).reshape(len(x), -1).max(1) * factor + np.abs(logits).max(1)
    return logits, size


TEXTS = (
    "scale@0,scale@85,scale@97.3,scale@99.99,lts@0,lts@95,lts@60,lts@99.99,vra@0.2,1,vra@0,0.5,bfact@0.7,vra@60%,95%,"
    "bfact@95%,ras"
)


@pytest.mark.parametrize("where", ["linear", "pooled", "counted", "deep"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["rectified", "signed", "ties"])
def test_the_sweep_gives_what_the_definitions_give(
    where: str, dtype: type, kind: str, differences: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear_tails, "CHUNK_VALUES", 48 * 5)
    monkeypatch.setattr(pooled, "FEW_VALUES", 0 if where == "counted" else 1 << 13)
    monkeypatch.setattr("ash.engine.tails.MOST_ROWS", 4)
    tail, features = tail_of("pooled" if where == "counted" else where)
    one = fit(ArrayBank(sample("rectified", features, 1, 60)))  # type: ignore[arg-type]
    x = sample(kind, features).astype(dtype)
    methods = parse_methods(",".join(f"{text}" for text in (TEXTS, TEXTS.replace("0.5,", "0.5:msp,"))))
    tail = tail.double() if dtype == np.float64 else tail
    given = fx.symbolic_trace(tail) if isinstance(tail, Pooled) else tail
    found = sweep(given, x, {"o": x[::-1]}, methods, fit=one)
    for row, method in enumerate(methods):
        logits, size = expected(tail, method.steps, x, one)
        score = SCORES[method.score](torch.from_numpy(logits)).numpy()
        worst = float((np.abs(found.id_scores[row] - score) / size).max())
        label = f"{method.steps[0].name}, {where}, {dtype.__name__}"
        differences[label] = max(differences.get(label, 0.0), worst)
        assert worst < EPS[dtype], (str(method), worst)
        turned = np.abs(found.ood_scores["o"][row][::-1] - found.id_scores[row]) / size
        assert turned.max() < EPS[dtype], str(method)  # another chunking
        margin = np.sort(logits, 1)[:, -1] - np.sort(logits, 1)[:, -2]
        clear = margin > 1e-4 * size
        np.testing.assert_array_equal(found.id_predictions[row][clear], logits.argmax(1)[clear])


COMBINED = (
    "lts@90+ash_s@80,ash_p@50+lts@90,lts@90+scale@60,react@0.5+lts@80,lts@90+lts@80,scale@70+dice@30,lts@80+dice@30"
)


@pytest.mark.parametrize("where", ["linear", "pooled", "deep"])
def test_steps_follow_each_other_in_the_order_in_which_they_are_written(where: str) -> None:
    tail, features = tail_of(where)
    one = fit(ArrayBank(sample("rectified", features, 1, 60)))  # type: ignore[arg-type]
    x = sample("rectified", features)
    methods = [m for m in parse_methods(COMBINED) if where != "deep" or m.steps[-1].name != "dice"]
    found = sweep(fx.symbolic_trace(tail) if where == "pooled" else tail, x, {}, methods, fit=one)
    for row, method in enumerate(methods):
        masked = method.steps[-1].name == "dice"
        shown = Method(steps=method.steps[:-1] if masked else method.steps)
        net = tail
        if masked:
            head = tail.linear if isinstance(tail, Pooled) else tail
            assert isinstance(head, nn.Linear)
            thin = nn.Linear(head.in_features, head.out_features).requires_grad_(False)
            kept = torch.from_numpy(one.dice_mask(head.weight.numpy(), method.steps[-1].parameter))
            thin.weight.copy_(head.weight * kept)
            thin.bias.copy_(head.bias)
            net = Pooled(thin) if where == "pooled" else thin
        with torch.inference_mode():
            want = SCORES["energy"](shown.logits(net, torch.from_numpy(x))).numpy()
        np.testing.assert_allclose(found.id_scores[row], want, rtol=2e-5, atol=2e-5, err_msg=str(method))


def test_lts_keeps_every_class_and_scale_prunes_nothing() -> None:
    x = sample("rectified", (48,))
    done = sweep(linear(48, 5), x, {"o": x}, parse_methods("energy,lts@80,lts@95,scale@80"))
    np.testing.assert_array_equal(done.id_predictions[1], done.id_predictions[0])
    np.testing.assert_array_equal(done.id_predictions[2], done.id_predictions[0])
    assert (done.id_scores[2][1:] != done.id_scores[0][1:]).all()
    np.testing.assert_array_equal(scale(torch.from_numpy(x), 85) != 0, x != 0)
    assert predict(linear(48, 5), x, Method.parse("lts@80")).tolist() == done.id_predictions[0].tolist()


def test_a_gpus_way_gives_the_same_on_this_processor() -> None:
    """`MaskedProducts`, the path of float64 maps and of GPUs, for flat activations."""
    x = torch.from_numpy(sample("signed", (48,)))
    tail = linear_tail(linear(48, 5), (48,))
    assert tail is not None
    steps = [method.steps for method in parse_methods("ash_s@80,scale@80,scale@85,lts@95,lts@80,ash_b@80")]
    way = MaskedProducts(tail, 48, steps, torch.float32, torch.device("cpu"))
    usual = linear_evaluator(tail, (48,), steps, torch.float32, torch.device("cpu"), None)
    found = [torch.full((len(steps), len(x), 5), torch.nan) for _ in range(2)]
    for one, into in ((way, found[0]), (usual, found[1])):
        for positions, logits in one.logits(x):
            into[positions] = logits
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.floats(1, 99.9) | st.just(0.0), min_size=1, max_size=4, unique=True))
def test_one_pass_and_the_plain_path_agree_at_any_percentile(seed: int, percentiles: list[float]) -> None:
    kind = ["rectified", "signed", "ties"][seed % 3]
    texts = [f"{name}@{p!r}" for name in ("scale", "lts", "ash_s") for p in percentiles]
    methods = [Method.parse(text) for text in texts]
    for where in ("linear", "pooled"):
        tail, features = tail_of(where)
        x = sample(kind, features, seed, 5)
        given = fx.symbolic_trace(tail) if where == "pooled" else tail
        done = sweep(given, x, {"o": x}, methods)
        for row, method in enumerate(methods):
            with torch.inference_mode():
                logits = method.logits(tail, torch.from_numpy(x))
                size = 1 + logits.abs().amax(1) + method.shape(torch.from_numpy(x)).abs().flatten(1).amax(1)
            wrong = (torch.from_numpy(done.id_scores[row]) - SCORES["energy"](logits)).abs() / size
            assert wrong.max() < 2e-5, (method, where)


def test_scale_and_lts_are_pytorch_oods(differences: dict[str, float]) -> None:
    """Its LTS and ours count k alike; where k would be none it takes one value, and so does our SCALE."""
    x = torch.from_numpy(sample("rectified", (96,), n=40)[1:])
    maps = x.view(len(x), -1, 1, 1)
    for p in (50, 65, 85, 90, 95):
        theirs = their_scale(maps.clone(), p / 100).view(x.shape)
        ours = scale(x, p)
        differences["scale, pytorch-ood"] = float(((ours - theirs).abs() / ours.abs().amax(1, keepdim=True)).max())
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
        factor = LTS.scaling_factor(x, 1 - p / 100)
        differences["lts, pytorch-ood"] = float((lts(x, p) / factor - 1).abs().max())
        torch.testing.assert_close(lts(x, p).float(), factor, rtol=1e-5, atol=0)


def test_beyond_the_range_scale_is_doubted_and_ties_are_not() -> None:
    x = np.abs(np.random.default_rng(0).standard_normal((20, 500)) + 3).astype(np.float32)
    tied = np.ones((4, 40), np.float32)
    for net in (nn.Linear(500, 4), nn.Sequential(nn.ReLU(), nn.Linear(500, 4))):
        table = sweep(net.eval(), x, {"o": x}, parse_methods("scale@50,scale@99.8,lts@99.8")).table()
        assert table.query("ood == 'o'").beyond_range.tolist() == [0, 100, 0]
        assert np.isfinite(table[["auroc", "fpr95", "aupr"]].to_numpy()).all()
    for net in (nn.Linear(40, 4), nn.Sequential(nn.ReLU(), nn.Linear(40, 4))):
        table = sweep(net.eval(), tied, {"o": tied}, parse_methods("scale@50,lts@50,ash_b@50")).table()
        assert table.query("ood == 'o'").tied.tolist() == [0, 0, 100]


def test_lts_runs_a_deep_tail_once_for_all_percentiles() -> None:
    calls = []

    class Counted(Deep):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            calls.append(len(x))
            return super().forward(x)

    x = sample("rectified", (3, 4, 4))
    steps = [*sweep_steps(Counted().eval(), x, {"o": x}, parse_methods("energy,lts@60:90:10,ash_s@90"))]
    whole = sum(calls)
    calls.clear()
    [*sweep_steps(Counted().eval(), x, {"o": x}, parse_methods("energy,ash_s@90"))]
    assert whole == sum(calls)
    assert steps[-1].done == steps[-1].total == 6 * 28
    assert {str(m) for step in steps if step.finished for m in step.finished.methods} == {
        *("energy", "lts@60", "lts@70", "lts@80", "lts@90", "ash_s@90")
    }


def test_what_is_declared_is_what_the_rest_of_the_library_sees() -> None:
    assert [name for name in VARIANTS if VARIANTS[name].function] == ["scale", "lts", "bfact"]
    assert STEPS["scale"].reads == ("activation",)
    assert STEPS["lts"].reads == ("activation", "logits")
    assert STEPS["ras"].reads == STEPS["vra%"].reads == ("activation", "training bank")
    for name in NAMES:
        one = STEPS[name]
        assert all((one.paper, one.year, one.says)), name
        assert str(Method.parse(one.example)) == one.example
        assert Method.parse(one.example).needs_fit == (one.needs == "fit")


def test_a_fitted_shape_says_what_it_lacks() -> None:
    x = sample("rectified", (48,))
    for text in ("ras", "vra@60%,95%", "bfact@95%"):
        with pytest.raises(SweepError, match="needs a fit on training activations"):
            sweep(linear(48, 5), x, {}, [Method.parse(text)])
        with pytest.raises(MethodError, match="from a fit on training activations: use"):
            Method.parse(text).shape(torch.from_numpy(x))
    other = fit(ArrayBank(sample("rectified", (12,), 1)))  # type: ignore[arg-type]
    with pytest.raises(MethodError, match="ras is fitted to 12 values a sample, and these have 48"):
        sweep(linear(48, 5), x, {}, [Method.parse("ras")], fit=other)
    with pytest.raises(FitError, match="30 % of the training activations are 0 or less; clip higher"):
        other.resolve(Step("vra%", 10, upper=30))
    negative = fit(ArrayBank(sample("signed", (12,), 1)))  # type: ignore[arg-type]
    with pytest.raises(FitError, match=r"vra@10%,90% stands for -.* and .* here: the first must be 0 or more"):
        negative.resolve(Step("vra%", 10, upper=90))


def test_the_ranks_of_a_fit_are_means_of_sorted_samples() -> None:
    x = relu_like(200, (3, 4, 4))
    one = fit(ArrayBank(x))  # type: ignore[arg-type]
    np.testing.assert_allclose(one.ranks, np.sort(x.reshape(200, -1), 1).mean(0), rtol=1e-5)
    shaped = Method(steps=(one.resolve(Step("ras")),)).shape(torch.from_numpy(x[:5])).flatten(1)
    np.testing.assert_allclose(np.sort(shaped, 1), np.broadcast_to(one.ranks, (5, 48)), rtol=1e-6)


@given(st.integers(0, 2**32), st.sampled_from(["scale@85", "lts@95", "vra@0.2,1", "bfact@0.7"]))
def test_a_shape_leaves_its_input_and_other_samples_alone(seed: int, text: str) -> None:
    x = torch.from_numpy(sample("signed", (3, 2, 2), seed, 6))
    before, method = x.clone(), ash.Method.parse(text)
    whole = method.shape(x)
    assert torch.equal(x, before)
    assert torch.equal(torch.cat([method.shape(x[:2]), method.shape(x[2:])]), whole)
    assert torch.equal(method.shape(x.contiguous(memory_format=torch.channels_last)), whole)
    assert whole.isfinite().all()
    assert shaping.sums(whole).shape == (6,)
    assert len(method.shape(x[:0])) == 0


def test_a_layer_norm_behind_the_placement_takes_scales_factor_out_again() -> None:
    x = np.random.default_rng(0).standard_normal((20, 48)).astype(np.float32)
    tail = nn.Sequential(nn.LayerNorm(48, eps=1e-9), linear(48, 5)).eval()
    idle = sweep(tail, x, {"o": x + 1}, parse_methods("energy,scale@85,lts@85,ash_s@85")).without_effect()
    assert [str(one) for one in idle] == ["scale@85"]
    assert "a LayerNorm for example, takes that out again" in idle_in_words(idle[0])
