"""Metrics are exact with ties and equal to scikit-learn."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

import ash
from ash.metrics import threshold_at_tpr

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


def test_intervals_resample_each_metric_as_it_is_defined() -> None:
    rng = np.random.default_rng(1)
    positive, negative = rng.normal(1, 1, 400).round(1), rng.normal(0, 1, 300).round(1)
    found = ash.intervals(positive, negative, resamples=400)
    draws = []
    for _ in range(400):
        a, b = rng.choice(positive, len(positive)), rng.choice(negative, len(negative))
        draws.append((ash.auroc(a, b), ash.fpr_at_tpr(a, b), ash.aupr(a, b)))
    low, high = np.percentile(draws, [2.5, 97.5], axis=0)
    for i, name in enumerate(("auroc", "fpr95", "aupr")):
        width = high[i] - low[i]
        assert found[name] == pytest.approx((low[i], high[i]), abs=width / 3)
