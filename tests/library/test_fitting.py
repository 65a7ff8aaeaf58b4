"""Fits: the definitions against scikit-learn and numpy, stored beside their bank, never made again unasked."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.covariance import EmpiricalCovariance
from training import WHO, ArrayBank, relu_like

import ash
from ash import fitting
from ash.__main__ import main
from ash.bank import open_bank
from ash.extraction import identity
from ash.fitting import FitError, find_fit, fit, fit_path, load_fit, save_fit
from ash.methods import Method, Step


def trained(features: tuple[int, ...] = (12,), n: int = 400) -> tuple[ArrayBank, fitting.Fit]:
    bank = ArrayBank(relu_like(n, features), np.arange(n) % 4 * 2)
    return bank, fit(bank)  # type: ignore[arg-type]


def test_means_and_covariance_are_scikit_learns(capsys: pytest.CaptureFixture[str]) -> None:
    bank, one = trained()
    x = bank.x.astype(np.float64)
    np.testing.assert_array_equal(one.classes, [0, 2, 4, 6])
    np.testing.assert_allclose(one.mean, x.mean(0), rtol=1e-12)
    means = np.stack([x[bank.labels == c].mean(0) for c in one.classes])
    np.testing.assert_allclose(one.class_means, means, rtol=1e-12)
    centred = x - means[bank.labels // 2]
    tied = EmpiricalCovariance(assume_centered=True).fit(centred)
    ridge = fitting.RIDGE * np.trace(tied.covariance_) / 12
    precision = np.linalg.inv(tied.covariance_ + ridge * np.eye(12))
    got = one.whitening @ one.whitening.T
    difference = np.abs(got - precision).max() / np.abs(precision).max()
    assert difference < 1e-12
    with_ridge = np.abs(got - tied.precision_).max() / np.abs(precision).max()
    assert with_ridge < 1e-5
    with capsys.disabled():
        print(f"\nprecision against scikit-learn's covariance: {difference:.1e}; without the ridge {with_ridge:.1e}")


def test_maps_are_averaged_and_their_quantiles_are_not() -> None:
    bank, one = trained((3, 4, 4))
    np.testing.assert_allclose(one.mean, bank.x.mean((0, 2, 3)), rtol=1e-5)
    assert one.whitening.shape == (3, 3)
    for p in (50, 90, 99.5, 33.33):
        assert one.at_percentile(p) == pytest.approx(np.percentile(bank.x, p), rel=1e-5, abs=1e-7)
    assert one.percentile_of(one.at_percentile(90)) == pytest.approx(90, abs=0.01)


def test_samples_without_a_label_count_for_the_mean_alone() -> None:
    bank, _ = trained()
    some = ArrayBank(bank.x, np.where(np.arange(400) < 200, bank.labels, -1))
    one, half = fit(some), fit(ArrayBank(bank.x[:200], bank.labels[:200]))  # type: ignore[arg-type]
    np.testing.assert_allclose(one.whitening, half.whitening, rtol=1e-12)
    np.testing.assert_allclose(one.mean, bank.x.astype(np.float64).mean(0), rtol=1e-12)
    assert len(fit(ArrayBank(bank.x)).classes) == 0  # type: ignore[arg-type]


def test_large_banks_give_quantiles_of_every_nth_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "QUANTILE_VALUES", 1000)
    bank, one = trained()
    assert one.quantile_rows == 80
    assert one.at_percentile(70) == pytest.approx(np.percentile(bank.x[::5], 70), rel=1e-5)


def test_what_cannot_be_fitted_says_so() -> None:
    constant = ArrayBank(np.ones((10, 3), np.float32), np.zeros(10, int))
    with pytest.raises(FitError, match="do not vary within a class"):
        fit(constant)  # type: ignore[arg-type]


def test_a_stored_fit_is_the_same_and_belongs_to_its_bank(tmp_path: Path) -> None:
    _, one = trained()
    assert load_fit(WHO, tmp_path) is None
    path = save_fit(one, tmp_path)
    assert path == fit_path(WHO, tmp_path)
    again = load_fit(WHO, tmp_path)
    assert again is not None
    for name in ("mean", "quantiles", "classes", "class_means", "whitening", "features", "labels"):
        np.testing.assert_array_equal(getattr(again, name), getattr(one, name))
    assert (again.identity, again.rows, again.date) == (WHO, 400, one.date)
    other = replace(WHO, model="other")
    fit_path(other, tmp_path).parent.mkdir(parents=True)
    os.replace(path, fit_path(other, tmp_path))
    with pytest.raises(FitError, match="is the fit of another bank or version; delete it and fit again"):
        load_fit(other, tmp_path)
    fit_path(other, tmp_path).write_bytes(b"junk")
    with pytest.raises(FitError, match="is damaged"):
        load_fit(other, tmp_path)


def test_a_fit_of_an_earlier_version_is_to_be_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, one = trained()
    monkeypatch.setattr(fitting, "FORMAT", 1)
    save_fit(one, tmp_path)
    monkeypatch.undo()
    assert load_fit(WHO, tmp_path) is None


def test_a_fit_keeps_every_nth_sample_of_a_large_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the chunks; the mean is of all samples, and the moments are of those that are kept."""
    for size, step in ((1, 400 * 12), (12, 400), (12 * 133, 4), (12 * 134, 3), (12 * 400, 1)):
        monkeypatch.setattr(fitting, "KEPT_VALUES", size)
        bank, one = trained()
        np.testing.assert_array_equal(one.features, bank.x[::step])
        np.testing.assert_array_equal(one.labels, bank.labels[::step])
        np.testing.assert_allclose(one.mean, bank.x.mean(0), rtol=1e-5)
        kept = bank.x[::step].astype(np.float64)
        np.testing.assert_allclose(one.moments[0], kept.mean(0), rtol=1e-12)
        np.testing.assert_allclose(one.moments[1], kept.T @ kept / len(kept), rtol=1e-12)
    monkeypatch.undo()
    bank, one = trained((3, 4, 4))
    np.testing.assert_allclose(one.features, bank.x.mean((2, 3)), rtol=1e-5)


def test_thresholds_are_shown_with_what_they_stand_for() -> None:
    _, one = trained()
    c, p = one.at_percentile(90), one.percentile_of(1.0)
    assert one.label(Method.parse("react@90%")) == f"ReAct @ 90 % (c = {c:.3g})"
    assert one.label(Method.parse("react@1.0+ash_s@90:msp")) == f"ReAct @ 1 ({p:.1f} %) + ASH-S @ 90, Max softmax"
    assert one.label(Method.parse("react@99")) == "ReAct @ 99 (beyond 0.01 or 99.99 %)"
    assert one.label(Method.parse("energy")) == "Energy"
    assert one.resolve(Step("react%", 90)) == Step("react", c)


def test_dice_keeps_what_lies_above_the_percentile_of_the_whole_matrix() -> None:
    _, one = trained()
    weight = np.random.default_rng(0).standard_normal((5, 12)).astype(np.float32)
    for p, kept in ((0, 59), (50, 30), (90, 6)):
        assert one.dice_mask(weight, p).sum() == kept
    largest = np.argmax(one.mean * weight)
    assert one.dice_mask(weight, 98).flatten()[largest]


def run(*arguments: str):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(main, arguments)


SWEEP = ("sweep", "--model", "demo", "--id", "fashion_mnist", "--ood", "digits", "--images", "40")


def test_the_demo_runs_every_method_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First the command says which fit it lacks, then it is fitted once, then every method of the literature runs."""
    monkeypatch.setenv("ASH_CACHE", str(tmp_path / "cache"))
    entry, out = ash.get_model("demo"), str(tmp_path / "results.csv")
    texts = [
        *map(str, ash.methods.baselines(entry)),
        "react@90%",
        "ash_b_global@80",
        "ash_b@65:odin",
        "react@90%+dice@10",
    ]
    refused = run(*SWEEP, "--methods", ",".join(texts), "--out", out)
    assert refused.exit_code == 1
    command = "python -m ash fit --model demo --placement avgpool --data fashion_mnist_train"
    assert f"There is no fit of demo at avgpool on fashion_mnist_train yet: run `{command}`." in refused.output
    first, second = (run(*command.split()[3:]) for _ in range(2))
    assert "3,000 samples of 192 features, 10 classes, tied covariance" in first.output
    assert "It is there already" in second.output
    done = run(*SWEEP, "--methods", ",".join(texts), "--out", out)
    assert done.exit_code == 0, done.output
    assert "react@90%: ReAct @ 90 % (c = " in done.output
    assert all(text in done.output for text in texts)
    assert "Traceback" not in done.output


def test_a_fit_is_found_for_its_placement_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASH_CACHE", str(tmp_path))
    entry = ash.get_model("demo")
    bank = open_bank(identity(entry, "avgpool", ash.get_dataset("fashion_mnist_train")))
    save_fit(fit(bank))
    assert find_fit(entry, "penultimate").rows == 3000
    with pytest.raises(FitError, match=r"no fit of demo at layer4.0.relu2 on fashion_mnist_train yet: run `python -m"):
        find_fit(entry, "layer4.0.relu2")
    with pytest.raises(FitError, match="No training set is known for resnet50"):
        find_fit(ash.get_model("resnet50"), "avgpool")
    assert "no set known" in run("models", "resnet50").output
    assert "training    fashion_mnist_train" in run("models").output
