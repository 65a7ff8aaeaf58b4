"""AdaSCALE against plain numpy: from images to scores, and on banks of any cut. Largest differences are printed."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from differences import printed
from scipy.special import logsumexp
from test_sweep import Deep, Pooled, linear
from torch import fx, nn
from training import ArrayBank, relu_like

import ash
from ash.__main__ import main
from ash.bank import find_bank
from ash.engine.plan import SweepError
from ash.errors import MethodError
from ash.extraction import extract, identity
from ash.methods import Method, parse_methods, perturbations
from ash.sweeping import sweep

Array = np.ndarray


@pytest.fixture(scope="module", autouse=True)
def differences(request: pytest.FixtureRequest) -> Iterator[dict[str, float]]:
    """What is compared -> largest difference, as a share of the largest value; printed at the end."""
    yield from printed(request, "of AdaSCALE, relative to the largest value")


def check(found: dict[str, float], name: str, got: Array, want: Array, tolerance: float = 1e-5) -> None:
    difference = float(np.abs(got - want).max() / np.abs(want).max())
    found[name] = max(found.get(name, 0), difference)
    assert difference <= tolerance, f"{name}: {difference}"


def statistic(z: Array, moved: Array) -> float:
    """Q' of one sample."""
    n = len(z)
    large, largest = max(1, n - round(n * 0.95)), max(1, n - round(n * 0.99))
    top = np.argsort(-z, kind="stable")[:largest]
    return np.maximum(np.sort(moved)[-large:], 0).sum() + 10 * np.abs(z - moved)[top].sum()


def by_numpy(
    z: Array, moved: Array, ids: tuple[Array, Array], layer: nn.Linear, p: float = 85, scales: str = "activation"
) -> Array:
    """The score by its definition, sample by sample, in float64; `scales`: the activation (A) or the logits (L)."""
    w, b = layer.weight.double().numpy(), layer.bias.double().numpy()
    known = np.array([statistic(*pair) for pair in zip(*(one.astype(np.float64) for one in ids), strict=True)])
    found = []
    for one, other in zip(z.astype(np.float64), moved.astype(np.float64), strict=True):
        share = np.mean(known <= statistic(one, other))
        percentile = p - 5 + (1 - share) * 5
        k = max(1, len(one) - round(len(one) * percentile / 100))
        if scales == "logits":
            ratio = one.clip(0).sum() / np.sort(one)[-k:].clip(0).sum()
            found.append(logsumexp((w @ one + b) * ratio**2))
        else:
            ratio = one.sum() / np.sort(one)[-k:].sum()
            found.append(logsumexp(w @ (one * np.exp(ratio)) + b))
    return np.array(found)


def moved_a_little(x: Array, seed: int) -> Array:
    noise = np.random.default_rng(seed).standard_normal(x.shape, np.float32)
    return np.maximum(x + 0.2 * noise, 0) + np.float32(0.01)


@pytest.mark.parametrize("kind", ["linear", "pooled", "signed"])
@pytest.mark.parametrize("text", ["adascale", "adascale@70", "adascale_l", "adascale_l@70"])
def test_the_score_is_its_definition(differences: dict, kind: str, text: str) -> None:
    """Also where the banks are cut in other places, and beside methods of the plain images."""
    layer, shape = linear(64, 7), (64, 3, 3) if kind == "pooled" else (64,)
    tail = fx.symbolic_trace(Pooled(layer)) if kind == "pooled" else layer
    x, ood = relu_like(300, shape) + np.float32(0.01), relu_like(120, shape, 5) * np.float32(1.3) + np.float32(0.01)
    moved, ood_moved = moved_a_little(x, 1), moved_a_little(ood, 2)
    if kind == "signed":
        x, ood = x - np.float32(0.1), ood - np.float32(0.1)
    shifted = (ArrayBank(moved), {"o": ood_moved})
    result = sweep(tail, x, {"o": ood}, parse_methods(f"energy,{text},ash_s@90"), shifted=shifted)
    plain = sweep(tail, x, {"o": ood}, parse_methods("energy,ash_s@90"))
    np.testing.assert_array_equal(result.id_scores[[0, 2]], plain.id_scores)
    np.testing.assert_array_equal(result.id_predictions[1], plain.id_predictions[0])
    means = [one if one.ndim == 2 else one.mean((2, 3)) for one in (x, moved, ood, ood_moved)]
    p, scales = Method.parse(text).scoring.value or 0, "logits" if "_l" in text else "activation"
    for got, pair in ((result.id_scores[1], means[:2]), (result.ood_scores["o"][1], means[2:])):
        want = by_numpy(pair[0], pair[1], (means[0], means[1]), layer, p, scales)
        check(differences, f"{text.partition('@')[0]}, {kind}", got, want)


def test_images_are_moved_where_the_answer_hangs_on_them_least(differences: dict, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """The bank of perturbed images, image by image, on the demo network, and the score of both banks."""
    from ash.data import evenly

    entry = ash.get_model("demo")
    images = evenly(ash.get_dataset("digits"), 24)
    plain, bank = (
        extract(entry, "penultimate", images, root=tmp_path, epsilon=way, device=torch.device("cpu"))
        for way in (0.0, "adascale")  # type: ignore[arg-type]
    )
    assert bank.identity.transform == plain.identity.transform + "; AdaSCALE, 5 %, epsilon = 0.5"
    keys = {identity(entry, "penultimate", images, epsilon=way).key for way in (0.0, 0.5, "adascale")}  # type: ignore[arg-type]
    assert len(keys) == 3
    model, transform = entry.build(), entry.preprocess.build()
    stem, tail = ash.split(entry.build(), "penultimate")
    want, clear = [], []  # clear: no two pixels at the edge of the 5 % are as good as equal
    for i in range(len(images)):
        x = transform(images.image(i))[None].requires_grad_()
        (gradient,) = torch.autograd.grad(model(x).max(), x)
        size = gradient.abs().flatten()
        least = size.argsort(stable=True)[: round(0.05 * len(size))]
        inside, outside = size.sort().values[len(least) - 1 : len(least) + 1].tolist()
        clear.append(outside - inside > 3e-5 * float(size.max()))
        step = torch.zeros(len(size))
        step[least] = 0.5 * gradient.flatten()[least].sign()
        want.append(stem(x.detach() + step.view(x.shape))[0].detach().numpy())
    moved = np.stack(want)
    assert sum(clear) >= 16
    check(differences, "perturbed activations", bank.read()[clear], moved[clear], 1e-4)
    assert np.abs(bank.read() - plain.read()).max() > 1e-3, "the perturbation does something"
    both = sweep(tail, plain, {}, parse_methods("adascale,adascale_l"), shifted=(bank, {})).id_scores
    layer = next(one for one in model.modules() if isinstance(one, nn.Linear))
    z, moved = (one.read().reshape(len(one), -1) for one in (plain, bank))
    for got, scales in zip(both, ("activation", "logits"), strict=True):
        check(differences, f"the demo, {scales} scaled", got, by_numpy(z, moved, (z, moved), layer, scales=scales))


def test_the_command_line_extracts_the_bank_that_a_sweep_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ash.data import evenly

    monkeypatch.setenv("ASH_CACHE", str(tmp_path))
    words = ("extract", "--model", "demo", "--data", "digits", "--images", "12", "--epsilon")
    done = CliRunner().invoke(main, (*words, "adascale"))
    assert done.exit_code == 0, done.output
    assert "decoding and perturbing not counted" in done.output
    images = evenly(ash.get_dataset("digits"), 12)
    found = find_bank(identity(ash.get_model("demo"), "penultimate", images, epsilon="adascale"))
    assert str(found) in done.output
    assert find_bank(identity(ash.get_model("demo"), "penultimate", images, epsilon=0.5)) is None
    assert CliRunner().invoke(main, (*words, "0.5")).exit_code == 0, "a number is ODIN's step as ever"
    assert find_bank(identity(ash.get_model("demo"), "penultimate", images, epsilon=0.5))


@pytest.mark.parametrize("wrong", ["AdaSCALE", "scale", "-1", "nan", "inf"])
def test_no_other_way_of_perturbing_is_taken(wrong: str) -> None:
    done = CliRunner().invoke(main, ("extract", "--model", "demo", "--data", "digits", "--epsilon", wrong))
    assert done.exit_code == 2
    assert f"'{wrong}' is neither ODIN's step, a number from 0 to 10, nor the word adascale." in done.output


@pytest.mark.parametrize("name", ["adascale", "adascale_l"])
def test_what_is_lacking_is_one_sentence(name: str) -> None:
    x, tail, methods = relu_like(8, (6,)), linear(6, 3), parse_methods(name)
    with pytest.raises(SweepError, match=f"{name} compares images with perturbed ones: give `shifted`"):
        sweep(tail, x, {}, methods)
    with pytest.raises(SweepError, match=r"ID have the shape \(8, 6\), perturbed ones \(4, 6\)"):
        sweep(tail, x, {}, methods, shifted=(x[:4], {}))
    maps = relu_like(3, (3, 4, 4))
    with pytest.raises(SweepError, match=f"{name} reads the last layer, so it needs the penultimate placement"):
        sweep(Deep(), maps, {}, methods, shifted=(maps, {}))
    with pytest.raises(MethodError, match=f"{name} looks at the network as it is; write {name} alone"):
        Method.parse(f"ash_s@90:{name}")
    with pytest.raises(MethodError, match="p is a number from 5 to 99"):
        Method.parse(f"{name}@3")


def test_which_banks_methods_take() -> None:
    entry = ash.get_model("demo")
    assert perturbations(entry, parse_methods("energy,ash_s@90:knn")) == {}
    both = perturbations(entry, parse_methods("adascale@80,odin,ash_b@65:odin"))
    assert both == {"perturbed": entry.odin_epsilon, "shifted": "adascale"}
