"""Metrics are exact with ties and equal to scikit-learn."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

import ash
from ash.engine.ranking import metrics_at_once
from ash.errors import AshError
from ash.metrics import mean_intervals, threshold_at_tpr
from ash.tables import RankedID

SCORES = hnp.arrays(
    np.float64, st.integers(1, 60), elements=st.one_of(st.integers(-3, 3).map(float), st.floats(-1e6, 1e6))
)


def stacked(positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.r_[np.ones(len(positive)), np.zeros(len(negative))], np.r_[positive, negative]


@given(SCORES, SCORES)
def test_auroc_and_aupr_equal_scikit_learn(positive: np.ndarray, negative: np.ndarray) -> None:
    truth, scores = stacked(positive, negative)
    assert ash.auroc(positive, negative) == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)
    assert ash.aupr(positive, negative) == pytest.approx(average_precision_score(truth, scores), abs=1e-12)


@given(SCORES, SCORES, st.sampled_from([0.05, 0.5, 0.8, 0.95, 1.0]))
def test_fpr_is_the_roc_curves_at_the_highest_threshold(positive: np.ndarray, negative: np.ndarray, tpr: float) -> None:
    truth, scores = stacked(positive, negative)
    alarms, hits, _ = roc_curve(truth, scores, drop_intermediate=False)
    expected = alarms[np.argmax(hits >= tpr - 1e-12)]
    assert ash.fpr_at_tpr(positive, negative, tpr) == pytest.approx(expected, abs=1e-12)


@given(SCORES, st.floats(0.01, 1))
def test_the_threshold_is_the_highest_that_accepts_enough(scores: np.ndarray, tpr: float) -> None:
    threshold = threshold_at_tpr(scores, tpr)
    assert np.mean(scores >= threshold) >= tpr - 1e-9
    above = scores[scores > threshold]
    assert not len(above) or np.mean(scores >= above.min()) < tpr


def test_constant_scores_tell_nothing() -> None:
    assert ash.auroc([1.0, 1.0], [1.0]) == 0.5
    assert ash.fpr_at_tpr([1.0, 1.0], [1.0]) == 1.0
    assert ash.aupr([1.0, 1.0], [1.0]) == pytest.approx(2 / 3)


def test_infinite_scores_are_ordered() -> None:
    assert ash.auroc([np.inf, 1.0], [-np.inf, 0.0]) == 1.0


@pytest.mark.parametrize("metric", [ash.auroc, ash.aupr, ash.fpr_at_tpr, ash.intervals])
def test_nan_and_empty_scores_are_refused(metric) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="1 of 2 ID scores are NaN, the first at index 1"):
        metric([1.0, np.nan], [0.0])
    with pytest.raises(ValueError, match="OOD scores must be a non-empty list"):
        metric([1.0], [])


def test_accuracy() -> None:
    assert ash.accuracy([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0]], [1, 0, 0]) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="do not fit"):
        ash.accuracy([[1.0, 2.0]], [1, 0])


def test_intervals_hold_the_value_and_cover_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    whole = ash.auroc(rng.normal(1, 1, 200_000), rng.normal(0, 1, 200_000))
    covered = 0
    for _ in range(60):
        positive, negative = rng.normal(1, 1, 300), rng.normal(0, 1, 300)
        low, high = ash.intervals(positive, negative)["auroc"]
        assert low <= ash.auroc(positive, negative) <= high
        covered += low <= whole <= high
    assert covered >= 51  # 60 intervals at 95 %: fewer than 51 has probability below 1e-3


def test_intervals_are_percentiles_of_the_metrics_of_resamples() -> None:
    """The same resamples drawn and measured one by one, so that a narrower interval is told from the one of 95 %."""
    rng = np.random.default_rng(1)
    positive, negative = rng.normal(1, 1, 200).round(1), rng.normal(0, 1, 150).round(1)
    rng, draws = np.random.default_rng(5), []
    for _ in range(60):
        a, b = positive[rng.integers(0, 200, 200)], negative[rng.integers(0, 150, 150)]
        draws.append((ash.auroc(a, b), ash.fpr_at_tpr(a, b, 0.9), ash.aupr(a, b)))
    found = ash.intervals(positive, negative, resamples=60, seed=5, tpr=0.9)
    low, high = np.percentile(draws, [2.5, 97.5], axis=0)
    for i, name in enumerate(("auroc", "fpr95", "aupr")):
        assert found[name] == pytest.approx((low[i], high[i]), abs=1e-12)


def test_the_interval_of_a_mean_is_that_of_the_means_of_resamples_with_the_same_id_images() -> None:
    rng = np.random.default_rng(2)
    positive, sets = rng.normal(1, 1, 120), [rng.normal(0, 1, 40), rng.normal(0.5, 2, 90)]
    draws = []
    of_id, *of_ood = (np.random.default_rng([7, number]) for number in range(3))
    for _ in range(50):
        a = positive[of_id.integers(0, 120, 120)]
        some = [b[own.integers(0, len(b), len(b))] for b, own in zip(sets, of_ood, strict=True)]
        draws.append((np.mean([ash.auroc(a, b) for b in some]), np.mean([ash.fpr_at_tpr(a, b) for b in some])))
    found = mean_intervals(positive, sets, resamples=50, seed=7)
    low, high = np.percentile(draws, [2.5, 97.5], axis=0)
    for i, name in enumerate(("auroc", "fpr95")):
        assert found[name] == pytest.approx((low[i], high[i]), abs=1e-12)


INFINITE_VALUES = st.sampled_from([-np.inf, np.inf, 0.0, 1.0, -1.0]) | st.floats(-2, 2, width=32)
INFINITE = hnp.arrays(np.float64, st.integers(1, 30), elements=INFINITE_VALUES)


@given(INFINITE, INFINITE)
def test_functions_and_tables_agree_on_ties_and_infinite_scores(positive: np.ndarray, negative: np.ndarray) -> None:
    limits = {np.inf: 1e300, -np.inf: -1e300}  # scikit-learn takes finite scores alone: the same order
    finite = [np.array([limits.get(v, v) for v in scores.tolist()]) for scores in (positive, negative)]
    truth, scores = stacked(*finite)
    expected = roc_auc_score(truth, scores), ash.fpr_at_tpr(*finite), average_precision_score(truth, scores)
    assert RankedID(positive).metrics(negative) == pytest.approx(expected, abs=1e-12)
    assert (ash.auroc(positive, negative), ash.aupr(positive, negative)) == pytest.approx(expected[::2], abs=1e-12)


@given(
    hnp.arrays(np.float32, (3, 9), elements=INFINITE_VALUES), hnp.arrays(np.float32, (3, 4), elements=INFINITE_VALUES)
)
def test_metrics_at_once_are_those_of_one_method_at_a_time(positive: np.ndarray, negative: np.ndarray) -> None:
    found = metrics_at_once(positive, [negative, negative[:, :1]], torch.device("cpu"), rows=2)
    ranked = [RankedID(row) for row in positive]
    expected = [[one.metrics(row), one.metrics(row[:1])] for one, row in zip(ranked, negative, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_nan_is_refused_by_tables_as_by_functions() -> None:
    with pytest.raises(AshError, match="1 of 2 OOD scores are NaN"):
        metrics_at_once(np.ones((2, 3)), [np.array([[1.0, 2.0], [1.0, np.nan]])], torch.device("cpu"))
    with pytest.raises(AshError, match="NaN"):
        RankedID(np.array([1.0, np.nan]))
    with pytest.raises(AshError, match="NaN"):
        RankedID(np.array([1.0])).metrics(np.array([np.nan]))
    with pytest.raises(AshError, match="sample 1 hold NaN"):
        ash.accuracy([[1.0, 2.0], [np.nan, 0.0]], [1, 0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.int64])
def test_metrics_take_tensors_of_every_kind(dtype: torch.dtype) -> None:
    assert ash.auroc(torch.tensor([3, 2, 1]).to(dtype), torch.tensor([1, 0]).to(dtype)) == pytest.approx(5.5 / 6)


@pytest.mark.parametrize("wrong", [["a", "b"], [1j, 2j], [[1.0], [1.0, 2.0]], [None, 1.0]])
def test_what_are_no_numbers_is_a_sentence(wrong: list[object]) -> None:
    with pytest.raises(AshError, match="ID scores"):
        ash.auroc(wrong, [0.0])  # type: ignore[arg-type]


def test_unknown_labels_do_not_count() -> None:
    assert ash.accuracy([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0]], [1, -1, 0]) == 0.5
    with pytest.raises(AshError, match="No label is known"):
        ash.accuracy([[1.0, 2.0]], [-1])


@pytest.mark.parametrize(("n", "m"), [(1, 5), (5, 1), (1, 1)])
def test_a_single_image_has_no_interval(n: int, m: int) -> None:
    with pytest.raises(AshError, match="at least two"):
        ash.intervals(np.arange(n), np.arange(m))
    assert 0 <= ash.auroc(np.arange(n), np.arange(m)) <= 1


def test_the_threshold_is_not_moved_by_rounding() -> None:
    for n in (20, 100, 1000):  # 0.95 * n is a hair above a whole number in floats
        assert threshold_at_tpr(np.arange(n), 0.95) == n // 20
        assert threshold_at_tpr(np.arange(n), 0.55) == n * 45 // 100
    assert threshold_at_tpr(np.arange(100), 0.07) == 93  # 0.07 * 100 = 7.000000000000001
