"""The Shape lab's arithmetic equals `ash.shaping` on every vector, and what its figures show without colour."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from app.views.lab import algorithm, algorithm_facts, algorithm_film, relu_live
from app.views.lab.algorithm_facts import VARIANTS, facts
from app.views.lab.algorithm_steps import LINES, trace
from ash import shaping

LIBRARY = {"ash_p": shaping.ash_p, "ash_b": shaping.ash_b, "ash_s": shaping.ash_s}
# Few distinct values, so that ties and zeros are common, or any; s1 may be negative and s2 zero.
coarse = st.lists(st.integers(-3, 9).map(lambda i: i / 4), min_size=1, max_size=14)
fine = st.lists(st.floats(-2, 50, width=32), min_size=1, max_size=14)
percentiles = st.one_of(st.integers(0, 99).map(float), st.floats(0, 99.99))
VECTOR = [0.2, 0.01, 0.4, 0.8, 0.6, 1.7, 1.75, 1.9, 1.6, 1.0, 0.1, 0.3]
NAMES = tuple(str(3 * i) for i in range(12))


def vector() -> algorithm.Vector:
    return algorithm.Vector(tuple(VECTOR), NAMES, tuple(f"unit {name}" for name in NAMES), "unit")


@pytest.mark.parametrize("variant", list(VARIANTS))
@given(values=st.one_of(coarse, fine), p=percentiles)
def test_the_steps_end_where_the_library_does(variant: str, values: list[float], p: float) -> None:
    x = torch.tensor([values], dtype=torch.float32)
    steps = trace(values, variant, p)
    wanted = LIBRARY[variant](x, p)[0].numpy()
    np.testing.assert_allclose(np.array(steps[-1].after, np.float32), wanted, rtol=1e-6, atol=1e-30)
    pruned = next(step for step in steps if step.kind == "prune")
    np.testing.assert_array_equal(np.array(pruned.after, np.float32), shaping.ash_p(x, p)[0].numpy())
    np.testing.assert_array_equal([i not in pruned.touched for i in range(len(values))], shaping.kept_mask(x, p)[0])
    assert [step.line for step in steps] == list(range(1, len(LINES[variant]) + 1))
    assert all(np.isfinite(one.value) for step in steps for one in step.numbers)
    assert not any(word in step.says + step.note for step in steps for word in ("nan", "inf"))


@given(values=st.one_of(coarse, fine), p=percentiles)
def test_the_named_numbers_are_the_library_s(values: list[float], p: float) -> None:
    x = torch.tensor([values], dtype=torch.float32)
    named = {one.symbol: one.value for step in trace(values, "ash_s", p) for one in step.numbers}
    kept = x[0][shaping.kept_mask(x, p)[0]]
    assert named["n"] == len(values)
    assert named["k"] == shaping.kept_count(len(values), p) == len(kept)
    assert named["s_1"] == pytest.approx(float(x.double().sum()))
    assert named["s_2"] == pytest.approx(float(kept.double().sum()))
    assert named.get("t") == (float(kept.min()) if len(kept) else None)


def test_the_arithmetic_is_written_out() -> None:
    steps = {step.kind: step for step in trace(VECTOR, "ash_s", 65)}
    k, t = steps["cut"].numbers
    assert k.equation == "k = 12 - \\mathrm{round}(12 \\cdot 65 / 100) = 12 - \\mathrm{round}(7.8) = 12 - 8 = 4"
    assert t.equation == "t = 1.6"
    assert steps["rest"].numbers[0].equation == "s_2 = 1.70 + 1.75 + 1.90 + 1.60 \\approx 6.95"
    assert steps["cut"].touched == (8,)
    assert steps["prune"].says == "8 values become 0, 4 values stay."


@pytest.mark.parametrize(
    ("values", "variant", "p", "kind", "word"),
    [
        ([1.0, 2.0, 2.0, 2.0], "ash_p", 50, "prune", "equal t"),
        ([0.0, 0.0, 3.0], "ash_b", 0, "level", "filled"),
        ([0.0, 0.0, 0.0], "ash_s", 50, "scale", "counts as 1"),
        ([-5.0, 900.0, 1.0], "ash_s", 60, "scale", ""),
        ([-1.0, 0.001, 1000.0, -999.9], "ash_s", 0, "scale", ""),
        ([5.0, 0.0, -4.999, 5.0], "ash_s", 99.9, "scale", ""),
        ([1.0] * 10, "ash_p", 5, "cut", "even"),
    ],
)
def test_special_cases_are_said(values: list[float], variant: str, p: float, kind: str, word: str) -> None:
    note = next(step.note for step in trace(values, variant, p) if step.kind == kind)
    assert word in note
    assert bool(word) == bool(note)


def test_a_ratio_beyond_float32_is_limited_and_said() -> None:
    values = [-3.0, -3.0, -0.001]  # one is kept: s1/s2 is about 6000
    one, steps = facts(values, "ash_s", 60), trace(values, "ash_s", 60)
    assert one.exponent is not None
    assert one.exponent < one.s1 / one.s2
    assert "limited" in steps[5].note


@given(st.integers(1, 400), st.integers(0, 10))
def test_chosen_units(size: int, seed: int) -> None:
    x = np.maximum(np.random.default_rng(seed).normal(size=size), 0).astype(np.float32)
    at = algorithm_facts.chosen_units(x)
    assert len(at) == min(size, algorithm_facts.COUNT) == len(set(at))
    assert list(at) == sorted(at)
    assert set(np.argsort(-x, kind="stable")[: algorithm_facts.TOP].tolist()) <= set(at)
    assert at == algorithm_facts.chosen_units(x)


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_every_line_is_told_without_colour(variant: str) -> None:
    for line, kind in enumerate(LINES[variant]):
        record = algorithm.bars(vector(), variant, 65, line)
        drawn = algorithm.figure(record, dark=False).checked()
        assert drawn.layout.yaxis.title.text == "value"
        ghost, now, labels, cut = drawn.data
        assert list(now.y) == pytest.approx(record.step.after, rel=1e-3)
        marked = [bool(a) or bool(b) for a, b in zip(ghost.marker.pattern.shape, now.marker.pattern.shape, strict=True)]
        assert [i for i, one in enumerate(marked) if one] == list(record.step.touched)
        assert (cut.y[0] is None) == (line < LINES[variant].index("cut"))
        assert [text == "0" for text in labels.text] == [value == 0 for value in record.step.after], kind


@pytest.mark.parametrize("variant", list(VARIANTS))
@pytest.mark.parametrize("p", [65.0, 66.7])
def test_the_film_shows_what_the_library_returns(variant: str, p: float) -> None:
    film = algorithm_film.film(algorithm.bars(vector(), variant, p, len(LINES[variant]) - 1), p)
    figure = algorithm_film.figure(film, dark=True).checked()
    x = torch.tensor([VECTOR])
    assert len(figure.frames) == len(figure.layout.sliders[0].steps) == 100 + (p != 65)
    assert figure.layout.sliders[0].steps[figure.layout.sliders[0].active].label == f"{p:g}"
    for frame, at in zip(figure.frames, film.percentiles, strict=True):
        wanted = LIBRARY[variant](x, at)[0].numpy()
        np.testing.assert_allclose(frame.data[0].y, wanted, rtol=1e-3)
        assert max(wanted.max(), max(VECTOR)) <= frame.layout.yaxis.range[1]
        assert f"k = {shaping.kept_count(12, at)} of 12" in frame.layout.title.text
    assert len(algorithm_film.table(film)) == len(figure.frames)


@pytest.mark.parametrize("variant", list(VARIANTS))
@given(seed=st.integers(0, 50), p=st.integers(0, 99))
def test_the_modified_relu_maps_every_value_as_the_library_does(variant: str, seed: int, p: int) -> None:
    rng = np.random.default_rng(seed)
    x = np.maximum(rng.normal(size=(40, 2, 2)), -0.5).astype(np.float32)
    x[x < 0] = rng.permutation(-np.arange(1, (x < 0).sum() + 1, dtype=np.float32)) / 100  # no ties
    one = relu_live.cut(variant, relu_live.image("id", "this", x).values, p)
    assert not one.tied
    wanted = LIBRARY[variant](torch.from_numpy(x)[None], p)[0].numpy().ravel()
    np.testing.assert_allclose([one(float(value)) for value in x.ravel()], wanted, rtol=1e-5, atol=1e-6)


def test_the_modified_relu_says_what_differs() -> None:
    rng = np.random.default_rng(0)
    pair = (
        relu_live.image("id", "this boot", 2 * rng.random((50,))),
        relu_live.image("ood", "this leaf", rng.random(50)),
    )
    record = relu_live.relu("ash_s", pair, 80)
    a, b = record.now
    assert a.k == b.k == 10
    assert a.t is not None
    assert f"keep 10 of 50 values, but the cut differs: t = {a.t:.4g} for this boot" in relu_live.finding(record)
    figure = relu_live.figure(record, dark=False).checked()
    assert figure.data[1].line.dash != figure.data[2].line.dash
    assert figure.data[1].x[1] == pytest.approx(a.t, rel=1e-3)
    assert len(figure.frames) == 100
    same = relu_live.relu("ash_p", (pair[0], pair[0]), 80)
    assert "the cut is the same" in relu_live.finding(same)
    zeros = relu_live.image("id", "this one", np.zeros(50))
    assert "equal t" in relu_live.tie_note(relu_live.relu("ash_p", (zeros, pair[1]), 80))
    assert "0 everywhere" in relu_live.finding(
        relu_live.relu("ash_p", (pair[0], relu_live.image("ood", "o", x_few())), 99)
    )


def x_few() -> np.ndarray:
    return np.array([1.0, 2.0, 3.0])
