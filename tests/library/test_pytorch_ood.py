"""Every method against pytorch-ood 0.4 on the same activations. Largest differences are printed.

Where its semantics are others than ours, as `ash` documents them, the test says what was done to make them meet:
* scores are *outlier* scores there: the sign is turned;
* MSP and ODIN are probabilities there: ours are turned into them (ours do not saturate);
* Mahalanobis is half the squared distance there, of a scatter that is not divided by the number of samples, with a
  ridge of 1e-6 on that: ours is divided, the ridge is 1e-6 of the mean variance, and the arithmetic float64;
* ASH-B fills k entries, among equal ones whichever topk gives: compared where k entries are positive;
* percentiles are fractions there.
"""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from differences import printed
from pytorch_ood import detector as other
from test_sweep import linear
from torch import nn
from training import ArrayBank, relu_like

import ash
import ash.shaping
from ash import scores
from ash.extraction import extract
from ash.fitting import Fit, fit
from ash.methods import parse_methods
from ash.sweeping import sweep


@pytest.fixture(scope="module", autouse=True)
def differences(request: pytest.FixtureRequest) -> Iterator[dict[str, float]]:
    """Method -> largest difference, as a share of the largest score; printed at the end."""
    yield from printed(request, "from pytorch-ood 0.4, relative to the largest score")


@pytest.fixture(scope="module", params=["synthetic", "densenet"])
def data(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray, nn.Linear, np.ndarray, Fit]:
    """Evaluated and training activations, the last layer, training labels, and the fit.

    Of real ones there are only test images: half of them stand in for the training set.
    """
    if request.param == "synthetic":
        labels = np.arange(600) % 7
        x = relu_like(600, (60,)) + 0.01 * np.random.default_rng(1).random((600, 60), np.float32)
        train, layer = relu_like(600, (60,), 3) + 0.3 * np.eye(60, dtype=np.float32)[labels], linear(60, 7)
    else:
        root = request.getfixturevalue("reference")
        every = np.load(root / "reference/densenet_cifar10_test_features.npy")
        labels = np.load(root / "reference/densenet_cifar10_test_labels.npy").astype(np.int64)[::2]
        x, train, layer = every[1::4], every[::2], nn.Linear(342, 10).requires_grad_(False)
        state = torch.load(root / "data/checkpoints/densenet_cifar10.pth", map_location="cpu", weights_only=True)[
            "state_dict"
        ]
        layer.load_state_dict({"weight": state["fc.weight"], "bias": state["fc.bias"]})
    return x, train, layer, labels, fit(ArrayBank(train, labels))  # type: ignore[arg-type]


def ours(x: np.ndarray, layer: nn.Linear, text: str, one: Fit | None = None) -> np.ndarray:
    """(M, N) scores of methods."""
    return sweep(layer, x, {}, parse_methods(text), fit=one, perturbed=(x, {})).id_scores


def check(found: dict[str, float], name: str, got: np.ndarray, want: np.ndarray, tolerance: float) -> None:
    difference = float(np.abs(got - want).max() / np.abs(want).max())
    found[name] = max(found.get(name, 0), difference)
    assert difference <= tolerance, f"{name}: {difference}"


def test_scores_of_logits(differences: dict, data: tuple) -> None:
    x, _, layer, *_ = data
    logits = layer(torch.from_numpy(x))
    energy, msp, max_logit, odin = ours(x, layer, "energy,msp,max_logit,odin")
    check(differences, "energy", energy, -other.EnergyBased.score(logits).numpy(), 1e-6)
    check(differences, "max_logit", max_logit, -other.MaxLogit.score(logits).numpy(), 1e-6)
    probability = scores.probability(torch.from_numpy(msp)).numpy()
    check(differences, "msp", probability, -other.MaxSoftmax.score(logits).numpy(), 1e-5)
    tempered = np.exp(odin / scores.ODIN_TEMPERATURE) / layer.out_features
    check(differences, "odin, temperature", tempered, -other.MaxSoftmax.score(logits, 1000.0).numpy(), 1e-6)
    ties = 1 - len(np.unique(-other.MaxSoftmax.score(logits, 1000.0).numpy())) / len(x)
    assert 1 - len(np.unique(odin)) / len(x) <= ties


@pytest.mark.parametrize("variant", ["ash_p", "ash_b", "ash_s"])
def test_ash(differences: dict, data: tuple, variant: str) -> None:
    x, _, layer, *_ = data
    got = ours(x, layer, f"{variant}@5:95:5")
    for p, row in zip(range(5, 100, 5), got, strict=True):
        if variant == "ash_b" and (np.count_nonzero(x > 0, axis=1) < ash.shaping.kept_count(x.shape[1], p)).any():
            continue
        head = other.ASH(lambda z: z, lambda z: layer(z.flatten(1)), variant.replace("_", "-"), p / 100)
        want = -head.predict_feature_maps(torch.from_numpy(x)[:, :, None, None]).numpy()
        check(differences, variant, row, want, 1e-5)


def test_react_at_a_percentile_of_training_activations(differences: dict, data: tuple) -> None:
    x, train, layer, labels, one = data
    for p in (85, 90, 95, 99):
        detector = other.ReAct(lambda z: z, layer, percentile=p / 100)
        detector.fit_feature_maps(torch.from_numpy(train), torch.from_numpy(labels))
        assert one.at_percentile(p) == pytest.approx(detector.threshold, rel=1e-6)
        want = -detector.predict_feature_maps(torch.from_numpy(x)).numpy()
        (row,) = ours(x, layer, f"react@{p}%", one)
        check(differences, "react%", row, want, 1e-6)
        fixed = other.ReAct(lambda z: z, layer, threshold=1.0)
        check(
            differences,
            "react",
            ours(x, layer, "react@1.0")[0],
            -fixed.predict_feature_maps(torch.from_numpy(x)).numpy(),
            1e-6,
        )


def test_dice_and_dice_after_react(differences: dict, data: tuple) -> None:
    x, train, layer, labels, one = data
    other_masks = []
    for p in range(5, 100, 5):
        detector = other.DICE(None, layer.weight, layer.bias, p / 100)
        detector.fit_features(torch.from_numpy(train), torch.from_numpy(labels))
        plain, clipped = ours(x, layer, f"dice@{p},react@1.0+dice@{p}", one)
        if ((detector.masked_w != 0).numpy() != one.dice_mask(layer.weight.numpy(), p)).any():
            other_masks.append(p)
            continue
        check(differences, "dice", plain, -detector.predict_features(torch.from_numpy(x)).numpy(), 1e-5)
        want = -detector.predict_features(torch.from_numpy(x).clamp(max=1.0)).numpy()
        check(differences, "react + dice", clipped, want, 1e-5)
    assert len(other_masks) <= 2, (
        f"their threshold is rounded to float32, which may decide over one weight: {other_masks}"
    )


def test_mahalanobis(differences: dict, data: tuple) -> None:
    """On features that vary: 237 of the DenseNet's 342 hardly do, and along those the ridge alone is the distance."""
    x, train, _, labels, _ = data
    variance = train.var(0)
    some = variance > 0.01 * variance.mean()
    x, train = x[:, some], train[:, some]
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # theirs takes the covariance in the default dtype
    try:
        detector = other.Mahalanobis(None).fit_features(torch.from_numpy(train).double(), torch.from_numpy(labels))
        want = -2 * len(train) * detector.predict_features(torch.from_numpy(x).double()).numpy()
    finally:
        torch.set_default_dtype(before)
    one = fit(ArrayBank(train, labels))  # type: ignore[arg-type]
    (got,) = ours(x, linear(int(some.sum()), 3), "mahalanobis", one)
    check(differences, "mahalanobis", got, want, 5e-4)


def test_odin_perturbs_as_pytorch_ood_does(differences: dict, tmp_path) -> None:  # type: ignore[no-untyped-def]
    """From images to scores, on the demo network: the bank of perturbed images against theirs, image by image."""
    from ash.data import evenly

    entry, epsilon = ash.get_model("demo"), 0.02
    images = evenly(ash.get_dataset("digits"), 48)
    bank = extract(entry, "avgpool", images, root=tmp_path, epsilon=epsilon, device=torch.device("cpu"))
    plain = extract(entry, "avgpool", images, root=tmp_path, device=torch.device("cpu"))
    assert bank.identity.transform == plain.identity.transform + "; ODIN, T = 1000, epsilon = 0.02"
    assert bank.folder != plain.folder
    model = entry.build()
    transform = entry.preprocess.build()
    x = torch.stack([transform(images.image(i)) for i in range(len(images))])
    theirs = other.ODIN(model, eps=epsilon, temperature=1000.0)
    want = -theirs.predict(x).numpy()
    tail = ash.split(model, "avgpool")[1]
    got = sweep(tail, plain, {}, parse_methods("odin"), perturbed=(bank, {})).id_scores[0]
    probability = np.exp(got / scores.ODIN_TEMPERATURE) / 10
    check(differences, "odin, perturbed", probability, want, 1e-5)
    moved = np.abs(bank.read() - plain.read()).max()
    assert moved > 1e-3, "the perturbation does something"
    unperturbed = -other.MaxSoftmax.score(model(x), 1000.0).numpy()
    assert (want > unperturbed).mean() > 0.9, "towards a larger softmax"
    assert np.abs(probability - unperturbed).max() > 20 * np.abs(probability - want).max()
