"""Methods of several steps, fitted ones, global thresholds, ODIN and GODIN: a sweep does what one does by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_sweep import PERCENTILES, Deep, Magnitude, Pooled, activations, linear
from torch import fx, nn
from training import WHO, ArrayBank, relu_like

from ash import shaping
from ash.engine import linear as linear_tails
from ash.engine import tails, thresholds
from ash.engine.plan import SweepError
from ash.engine.quantiles import percentiles
from ash.fitting import Fit, fit
from ash.methods import SCORE_LABELS, Method, MethodError, Step, parse_methods
from ash.scores import SCORES
from ash.splitting import LinearTail, numerators
from ash.sweeping import sweep, sweep_steps

LOCAL = ("ash_p", "ash_b", "ash_s", "ash_rand")
GLOBAL = ("ash_p_global", "ash_b_global", "ash_s_global")
STEPS = st.one_of(
    st.builds(Step, st.sampled_from([*LOCAL, *GLOBAL]), PERCENTILES),
    st.builds(Step, st.just("react"), st.sampled_from([0.5, 1.5])),
    st.builds(Step, st.just("react%"), st.sampled_from([80.0, 95.0])),
)
DICE = st.builds(Step, st.just("dice"), st.sampled_from([0.0, 10.0, 50.0, 90.0]))
SCORE = st.sampled_from([*SCORE_LABELS, "odin"])


@st.composite
def composites(draw: st.DrawFn, dice: bool) -> list[Method]:
    """Methods with a shared beginning, with others and with DICE, where that is possible."""
    first = tuple(draw(st.lists(STEPS, max_size=1)))
    methods = []
    for _ in range(draw(st.integers(1, 5))):
        steps = (*(first if draw(st.booleans()) else ()), *draw(st.lists(STEPS, max_size=2)))
        steps += tuple(draw(st.lists(DICE, max_size=1))) if dice else ()
        methods.append(Method(steps=steps, score=draw(SCORE)))
    return methods


def fitted(features: tuple[int, ...], seed: int = 5) -> Fit:
    return fit(ArrayBank(relu_like(40, features, seed), np.arange(40) % 3))  # type: ignore[arg-type]


def by_hand(x: np.ndarray, method: Method, one: Fit) -> tuple[torch.Tensor, float | None]:
    """The activation after every step on its own, and DICE's share."""
    shaped, share = torch.from_numpy(x), None
    for step in method.steps:
        if step.name == "dice":
            share = step.parameter
        elif step.name == "react%":
            shaped = shaping.react(shaped, one.at_percentile(step.parameter))
        elif step.variant.needs == "id":
            t = float(np.float32(np.percentile(shaped.double().numpy(), step.parameter)))
            shaped = getattr(shaping, step.name)(shaped, t)
        else:
            shaped = getattr(shaping, step.name)(shaped, step.parameter)
    return shaped, share


def masked(layer: nn.Linear, one: Fit, share: float | None) -> nn.Linear:
    """The last layer with DICE's weights, by the definition of DICE's authors."""
    if share is None:
        return layer
    new = nn.Linear(layer.in_features, layer.out_features).requires_grad_(False)
    contribution = one.mean * layer.weight.numpy().astype(np.float64)
    kept = contribution > np.percentile(contribution, share)
    new.load_state_dict({"weight": layer.weight * torch.from_numpy(kept), "bias": layer.bias})
    return new


def assert_by_hand(tail: nn.Module, x: np.ndarray, methods: list[Method], one: Fit) -> None:
    """Scores agree to 1e-5 of the size of what is added up."""
    before = x.copy()
    given_tail = fx.symbolic_trace(tail) if isinstance(tail, Pooled) else tail
    result = sweep(given_tail, x, {"ood": x[::-1].copy()}, methods, fit=one, perturbed=(x, {"ood": x}))
    np.testing.assert_array_equal(x, before)
    for got, method in zip(result.id_scores, methods, strict=True):
        shaped, share = by_hand(x, method, one)
        layer = tail.linear if isinstance(tail, Pooled) else tail
        used = masked(layer, one, share) if isinstance(layer, nn.Linear) else tail
        used = Pooled(used) if isinstance(tail, Pooled) else used
        with torch.inference_mode():
            logits = used(shaped)
            want = SCORES[method.score](logits).numpy()
            size = logits.abs().amax(1) if isinstance(tail, Deep) else Magnitude(used)(shaped)
        finite = np.isfinite(want) & np.isfinite(size.numpy())
        difference = np.abs(got - want)[finite]
        assert (difference <= 2e-5 * (1 + size.numpy()[finite])).all(), f"{method}: {difference.max()}"


def few_ties(x: np.ndarray) -> np.ndarray:
    """Hypothesis likes equal values, among which rounding decides what a percentile keeps: keep those at 0 alone."""
    return np.where(x == 0, x, x + np.float32(1e-3) * np.arange(x.size, dtype=np.float32).reshape(x.shape))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 12).flatmap(lambda size: activations((size,))), composites(dice=True), st.sampled_from([1, 3, 70])
)
def test_composites_on_a_linear_tail(x: np.ndarray, methods: list[Method], classes: int) -> None:
    x = few_ties(x)
    assert_by_hand(linear(x.shape[1], classes), x, methods, fitted(x.shape[1:]))


@settings(max_examples=40, deadline=None)
@given(activations((3, 2, 2)), composites(dice=True))
def test_composites_on_a_pooled_tail(x: np.ndarray, methods: list[Method]) -> None:
    assert_by_hand(Pooled(linear(3, 4)), few_ties(x), methods, fitted((3, 2, 2)))


@settings(max_examples=25, deadline=None)
@given(activations((3, 4, 4)), composites(dice=False))
def test_composites_on_a_deep_tail(x: np.ndarray, methods: list[Method]) -> None:
    assert_by_hand(Deep(), few_ties(x), methods, fitted((3, 4, 4)))


@pytest.mark.parametrize("tail", [linear(48, 4), Pooled(linear(3, 4)), Deep()], ids=["linear", "pooled", "deep"])
def test_noise_among_several_steps_is_that_of_the_sample_in_every_chunk(
    tail: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear_tails, "CHUNK_VALUES", 100)
    monkeypatch.setattr(tails, "MOST_ROWS", 2)
    features = (48,) if isinstance(tail, nn.Linear) else (3, 4, 4)
    methods = parse_methods("ash_rand@50,react@0.5+ash_rand@50,ash_rand@50+ash_s@50,ash_rand@30+ash_b@60")
    assert_by_hand(tail, relu_like(9, features), methods, fitted(features))


@given(activations((7,)), st.floats(1, 99.9), st.sampled_from(GLOBAL))
def test_a_global_threshold_is_masking_by_it(x: np.ndarray, p: float, name: str) -> None:
    x = few_ties(x)
    (step,) = thresholds.resolve([(Step(name, p),)], None, x, torch.float32)[0]
    assert step.constant == pytest.approx(np.percentile(x.astype(np.float64), p), rel=1e-6, abs=1e-30)
    rows, t = torch.from_numpy(x), step.constant
    shaped = Method(steps=(step,)).shape(rows)
    kept = rows >= t
    assert torch.equal(shaped == 0, ~kept | (shaped == 0)), "nothing below the threshold is left"
    if name == "ash_p_global":
        assert torch.equal(shaped, torch.where(kept, rows, 0))
    if name == "ash_b_global":
        some = kept.any(1)
        torch.testing.assert_close(shaped.sum(1)[some], rows.sum(1)[some], rtol=1e-4, atol=1e-4)
    if name == "ash_s_global":
        some = (shaped != 0).any(1)  # a sum near zero gives an exponent that leaves nothing
        assert torch.equal(shaped.argmax(1)[some], torch.where(kept, rows, 0).argmax(1)[some])


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=60), st.lists(st.floats(0, 100), min_size=1))
def test_percentiles_of_parts_are_those_of_the_whole(values: list[float], wanted: list[float]) -> None:
    x = np.array(values, np.float32)
    got = percentiles(lambda: np.array_split(x, 3), wanted)
    np.testing.assert_allclose(got, np.percentile(x.astype(np.float64), wanted), rtol=1e-12, atol=1e-9)


def test_odin_is_scored_on_the_perturbed_images_and_predicts_on_the_plain_ones() -> None:
    x, moved, layer = relu_like(30, (9,)), relu_like(30, (9,), 1), linear(9, 4)
    ood, ood_moved = relu_like(20, (9,), 2), relu_like(20, (9,), 3)
    methods = parse_methods("energy,odin,ash_b@60:odin,ash_p_global@50:odin")
    for tail in (layer, nn.Sequential(layer, nn.Identity())):  # in one pass, and setting by setting
        steps = list(sweep_steps(tail, x, {"o": ood}, methods, perturbed=(moved, {"o": ood_moved})))
        finished = [str(method) for step in steps if step.finished for method in step.finished.methods]
        assert sorted(finished) == sorted(map(str, methods)), "every method is handed out once"
        assert steps[-1].done == steps[-1].total
        result = sweep(tail, x, {"o": ood}, methods, perturbed=(moved, {"o": ood_moved}))
        plain = sweep(layer, moved, {"o": ood_moved}, methods, perturbed=(moved, {"o": ood_moved}))
        for i in (1, 2):
            np.testing.assert_allclose(result.id_scores[i], plain.id_scores[i], rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(result.ood_scores["o"][i], plain.ood_scores["o"][i], rtol=1e-5, atol=1e-6)
        own = thresholds.resolve([methods[3].steps], None, x, torch.float32)[0]
        want = SCORES["odin"](layer(Method(steps=own).shape(torch.from_numpy(moved)))).numpy()
        np.testing.assert_allclose(result.id_scores[3], want, rtol=1e-4, atol=1e-4)
        unshaped = layer(torch.from_numpy(x)).argmax(1).numpy()
        np.testing.assert_array_equal(result.id_predictions[1], unshaped)


class Divided(nn.Module):
    """The head of Generalized ODIN: logits = h(x) / g(x)."""

    def __init__(self) -> None:
        super().__init__()
        self.h, self.g = linear(6, 4), nn.Sequential(linear(6, 1, seed=1), nn.BatchNorm1d(1), nn.Sigmoid())
        self.requires_grad_(False).eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.h(x) / self.g(x)


def test_godin_reads_the_numerators_of_a_divided_head() -> None:
    x, head = relu_like(12, (6,)), Divided()
    result = sweep(fx.symbolic_trace(head), x, {"o": x[:5]}, parse_methods("energy,godin"))
    want = linear(6, 4)(torch.from_numpy(x)).amax(1)
    np.testing.assert_allclose(result.id_scores[1], want, rtol=1e-5)
    np.testing.assert_allclose(result.ood_scores["o"][1], want[:5], rtol=1e-5)
    np.testing.assert_array_equal(result.id_predictions[1], head(torch.from_numpy(x)).argmax(1))
    assert numerators(fx.symbolic_trace(Pooled(linear(3, 2)))) is None


def test_mahalanobis_beside_others_on_every_kind_of_tail() -> None:
    for tail, features in ((linear(5, 3), (5,)), (Pooled(linear(3, 3)), (3, 4, 4)), (Deep(), (3, 4, 4))):
        x, one = relu_like(20, features), fitted(features)
        given_tail = fx.symbolic_trace(tail) if isinstance(tail, Pooled) else tail
        result = sweep(given_tail, x, {"o": x[:7]}, parse_methods("ash_s@50,mahalanobis,energy"), fit=one)
        flat = x.astype(np.float64).mean((2, 3)) if x.ndim == 4 else x.astype(np.float64)
        precision = one.whitening @ one.whitening.T
        squares = [np.einsum("nf,fg,ng->n", flat - m, precision, flat - m) for m in one.class_means]
        np.testing.assert_allclose(result.id_scores[1], -np.min(squares, axis=0), rtol=1e-5)
        np.testing.assert_allclose(result.ood_scores["o"][1], result.id_scores[1][:7], rtol=1e-6)
        np.testing.assert_array_equal(result.id_predictions[1], result.id_predictions[2])


X = relu_like(8, (6,))


@pytest.mark.parametrize(
    ("methods", "options", "sentence"),
    [
        ("dice@70", {}, "dice@70 needs a fit on training activations"),
        ("react@90%", {}, "react@90% needs a fit"),
        ("mahalanobis", {}, "mahalanobis needs a fit"),
        ("odin", {}, "odin is scored on perturbed images"),
        ("odin", {"perturbed": (X[:4], {"o": X})}, r"ID have the shape \(8, 6\), perturbed ones \(4, 6\)"),
        ("odin", {"perturbed": (X + 1, {"p": X})}, "perturbed images of p, and OOD sets o"),
        ("godin", {}, "a network that was trained with a divided head"),
        ("dice@70", {"fit": fitted((5,))}, "The fit has 5 features and the last layer takes 6"),
        ("mahalanobis", {"fit": fitted((5,))}, "The fit has 5 features, the activations have 6"),
        ("react@10%", {"fit": fitted((6,))}, "10 % of the training activations are 0 or less; clip higher"),
        (
            "mahalanobis",
            {"fit": fit(ArrayBank(X))},  # type: ignore[arg-type]
            "needs class means, and the fit on train has none",
        ),
    ],
)
def test_what_is_lacking_is_one_sentence(methods: str, options: dict, sentence: str) -> None:
    with pytest.raises(SweepError, match=sentence) as caught:
        sweep(linear(6, 3), X, {"o": X}, parse_methods(methods), **options)
    assert "\n" not in str(caught.value)


def test_dice_needs_the_last_layer_alone() -> None:
    with pytest.raises(SweepError, match="dice@70 masks the weights of the last layer, so it needs a placement"):
        sweep(Deep(), relu_like(3, (3, 4, 4)), {}, parse_methods("dice@70"), fit=fitted((3, 4, 4)))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model": "other"}, "belongs to the model net, the activations of test to other"),
        ({"placement": "avgpool"}, "belongs to the placement fc"),
        ({"weights": "f" * 64}, "belongs to weights of hash 0123456789ab"),
        ({"transform": "Preprocess(28)"}, "belongs to the preprocessing"),
    ],
)
def test_a_fit_of_another_network_or_placement_is_refused(changes: dict, sentence: str) -> None:
    who = replace(WHO, dataset="test", **changes)
    with pytest.raises(SweepError, match=sentence):
        sweep(linear(6, 3), ArrayBank(X, identity=who), {}, parse_methods("dice@70"), fit=fitted((6,)))
    same = ArrayBank(X, identity=replace(WHO, dataset="test", dtype="float16"))
    assert len(sweep(linear(6, 3), same, {}, parse_methods("dice@70"), fit=fitted((6,))).id_scores) == 1


def test_a_step_without_its_constant_says_where_it_comes_from() -> None:
    for text, words in (("react@90%", "a fit"), ("ash_b_global@65", "an ID set"), ("dice@70", "weights")):
        with pytest.raises(MethodError, match=words):
            Method.parse(text).shape(torch.ones(2, 3))


def test_the_plain_one_pass_sweep_is_not_wrapped() -> None:
    from ash.engine.bands import Bands
    from ash.engine.grouped import Grouped, linear_evaluator

    layer, cpu = linear(6, 3), torch.device("cpu")
    tail = LinearTail(layer.weight, layer.bias, False)
    for text, kind in (("energy,ash_s@5:95:5,react@1.0", Bands), ("energy,react@1.0+ash_s@90", Grouped)):
        wanted = [method.steps for method in parse_methods(text)]
        assert type(linear_evaluator(tail, (6,), wanted, torch.float32, cpu, None)) is kind
