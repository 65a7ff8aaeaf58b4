"""Every score against plain numpy and against pytorch-ood 0.4, on the same activations, alone and after a shape.

Largest differences are printed, as a share of the largest score. Where pytorch-ood's semantics are others than ours, as
the docstrings of `ash.scores` say, the test says what was done to make them meet.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from differences import printed
from pytorch_ood import detector as other
from test_sweep import Deep, Pooled, linear
from torch import fx, nn
from training import WHO, ArrayBank, relu_like

from ash import metrics, scores
from ash.engine import linear as linear_tails
from ash.engine import tails
from ash.engine.plan import SweepError
from ash.fitting import Fit, fit
from ash.methods import Method, parse_methods
from ash.scores import SCORES, nearest, nnguide
from ash.sweeping import sweep

Array = np.ndarray
SHAPES = ("", "ash_s@90:", "react@0.5:")
OF_HEAD = ("gradnorm", "vim", "residual", "nnguide", "fdbd", "she", "nci", "klm")
ANYWHERE = ("knn", "mahalanobis", "gen")
ALL = ("gen", "gen@0.5", "gradnorm", "klm", "knn", "knn@1", "knn@200", "mahalanobis", "nci", "nci@0.1", "nnguide")
ALL += ("nnguide@100", "she", "fdbd", "residual", "residual@20", "vim", "vim@20")


@pytest.fixture(scope="module", autouse=True)
def differences(request: pytest.FixtureRequest) -> Iterator[dict[str, float]]:
    """What is compared -> largest difference, as a share of the largest score; printed at the end."""
    yield from printed(request, "relative to the largest score")


class Data:
    """Evaluated and training activations of a network whose training samples are classified mostly right."""

    def __init__(self, dtype: type = np.float32, n: int = 400, features: int = 60, classes: int = 7) -> None:
        self.layer = linear(features, classes).to(torch.float64 if dtype == np.float64 else torch.float32)
        self.layer.weight *= 0.1  # probabilities that do not saturate under ASH-S, where pytorch-ood's do
        self.layer.bias *= 0.1
        self.x, self.ood = (relu_like(n, (features,), seed).astype(dtype) for seed in (0, 9))
        self.train = relu_like(600, (features,), 3).astype(dtype)
        logits = self.logits(self.train)
        self.labels = logits.argmax(1)
        self.labels[::5] = (self.labels[::5] + 1) % classes
        self.fit: Fit = fit(ArrayBank(self.train, self.labels))  # type: ignore[arg-type]

    def logits(self, x: Array) -> Array:
        with torch.inference_mode():
            return self.layer.double()(torch.from_numpy(x).double()).numpy()

    @property
    def head(self) -> tuple[Array, Array]:
        return self.layer.weight.double().numpy(), self.layer.bias.double().numpy()


@pytest.fixture(scope="module", params=[np.float32, np.float64], ids=["float32", "float64"])
def data(request: pytest.FixtureRequest) -> Data:
    return Data(request.param)


def softmax(logits: Array) -> Array:
    p = np.exp(logits - logits.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def log_sum_exp(logits: Array) -> Array:
    top = logits.max(1)
    return top + np.log(np.exp(logits - top[:, None]).sum(1))


def length_one(z: Array) -> Array:
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def by_numpy(name: str, value: float | None, z: Array, logits: Array, at: Data) -> Array:
    """A score by its definition, in float64, sample by sample or in whole matrices. z (R, F), logits (R, C)."""
    train, y = at.train.astype(np.float64), logits.argmax(1)
    (w, b), of_train, mean = at.head, at.logits(at.train), train.mean(0)
    if name == "gen":
        p = softmax(logits)
        rest = p @ (1 - np.eye(len(w)))  # 1 - p, which rounds to 0 where p is nearly 1
        return -np.sum((p * rest) ** (value or 0.1), 1)
    if name == "gradnorm":  # the gradient itself, of sum -log p with respect to W, a sample at a time
        gradients = [np.outer(len(w) * p - 1, row) for p, row in zip(softmax(logits), z, strict=True)]
        return np.array([np.abs(one).sum() for one in gradients])
    if name == "klm":
        p, typical, predicted = softmax(logits), softmax(of_train), of_train.argmax(1)
        kinds = [typical[predicted == c].mean(0) for c in np.unique(predicted)]
        return -np.min([(p * np.log(p / kind)).sum(1) for kind in kinds], 0)
    if name == "knn":
        apart = ((length_one(z)[:, None] - length_one(train)[None]) ** 2).sum(2)
        return -np.sort(apart, 1)[:, int(value or 50) - 1]
    if name == "mahalanobis":
        means = np.stack([train[at.labels == c].mean(0) for c in np.unique(at.labels)])
        centred = train - means[np.unique(at.labels, return_inverse=True)[1]]
        tied = centred.T @ centred / len(train)
        precision = np.linalg.inv(tied + 1e-6 * np.trace(tied) / len(tied) * np.eye(len(tied)))
        return -np.min([np.einsum("nf,fg,ng->n", z - m, precision, z - m) for m in means], 0)
    if name == "nci":
        along = np.einsum("nf,nf->n", w[y], z - mean) / np.linalg.norm(z - mean, axis=1)
        return along + (1e-4 if value is None else value) * np.abs(z).sum(1)
    if name == "nnguide":
        some = [i * 600 // 500 for i in range(500)]  # 500 of 600 samples, evenly spaced
        guides = length_one(train[some]) * log_sum_exp(of_train[some])[:, None]
        return np.sort(length_one(z) @ guides.T, 1)[:, -int(value or 10) :].mean(1) * log_sum_exp(logits)
    if name == "she":
        right = of_train.argmax(1) == at.labels
        patterns = np.stack([train[right & (at.labels == c)].mean(0) for c in range(len(w))])
        return np.einsum("nf,nf->n", z, patterns[y])
    if name == "fdbd":
        found = []
        for row, of_row, c in zip(z, logits, y, strict=True):
            others = [k for k in range(len(w)) if k != c]
            far = [abs(of_row[c] - of_row[k]) / np.linalg.norm(w[c] - w[k]) for k in others]
            found.append(np.mean(far) / np.linalg.norm(row - mean))
        return np.array(found)
    u = -np.linalg.pinv(w) @ b
    moved = (train - u).T @ (train - u) / len(train)
    rest = np.linalg.eigh(moved)[1][:, : len(u) - int(value or len(u) // 2)]
    size = np.linalg.norm((z - u) @ rest, axis=1)
    if name == "residual":
        return -size
    alpha = of_train.max(1).mean() / np.linalg.norm((train - u) @ rest, axis=1).mean()
    return log_sum_exp(logits) - alpha * size


def check(found: dict[str, float], name: str, got: Array, want: Array, tolerance: float = 1e-5) -> None:
    difference = float(np.abs(got - want).max() / np.abs(want).max())
    found[name] = max(found.get(name, 0), difference)
    assert difference <= tolerance, f"{name}: {difference}"


def shaped(text: str, x: Array) -> Array:
    return Method.parse(f"{text}energy" if text else "energy").shape(torch.from_numpy(x)).numpy()


@pytest.mark.parametrize("shape", SHAPES)
def test_every_score_is_its_definition(differences: dict, data: Data, shape: str) -> None:
    methods = parse_methods(",".join(f"{shape}{name}" for name in ALL))
    result = sweep(data.layer.to(torch.from_numpy(data.x).dtype), data.x, {"o": data.ood}, methods, fit=data.fit)
    for row, method in enumerate(methods):
        scoring = method.scoring
        want = []
        for x in (data.x, data.ood):
            z = shaped(shape, x).astype(np.float64)
            want.append(by_numpy(scoring.score.name, scoring.value, z, data.logits(z), data))
        got = result.id_scores[row], result.ood_scores["o"][row]
        for one, other_one in zip(got, want, strict=True):
            check(differences, f"{scoring.score.name}, numpy", one, other_one)
        moved = [100 * metrics.auroc(*pair) for pair in (got, want)]
        assert abs(moved[0] - moved[1]) <= 0.01, method


def others_scores(at: Data, z: Array, logits: Array) -> dict[str, Array]:
    """What pytorch-ood gives, made to meet ours. Higher is more in-distribution."""
    layer = at.layer.float()
    train, labels = torch.from_numpy(at.train).float(), torch.from_numpy(at.labels)
    x, of_x = torch.from_numpy(z).float(), torch.from_numpy(logits).float()

    def fitted(detector: object) -> Array:
        return -detector.fit_features(train, labels).predict_features(x).numpy()  # type: ignore[attr-defined]

    gradients = other.GradNorm(layer, param_filter=lambda name: name == "weight")
    some = torch.from_numpy(nnguide.subset(len(train), len(train)))
    guide = other.NNGuide(None, layer, k=10).fit_features(train[some], labels[some])
    w, b = layer.weight, layer.bias
    residual = other.ViM(None, 20, w, b)
    residual.fit_features(train, labels)
    return {
        "gen": -other.GEN.score(of_x, 0.1).numpy() * min(100, logits.shape[1]),  # theirs is the mean
        "gradnorm": -gradients.predict(x).numpy() * logits.shape[1],  # of the mean over classes
        "knn": -(fitted(other.KNN(None, 50)) ** 2),  # not squared
        "vim@20": fitted(other.ViM(None, 20, w, b)),
        "residual@20": -((x - residual.u) @ residual.principal_subspace).norm(dim=1).numpy(),
        "nnguide": -guide.predict_features(x).numpy(),
        "fdbd": fitted(other.fDBD(None, layer)),
        "she": fitted(other.SHE(None, layer)),
        "nci@0.1": fitted(other.NCI(None, layer, alpha=0.1)),
        "klm": -other.KLMatching(None)
        .fit_logits(torch.from_numpy(at.logits(at.train)).float(), labels)
        .predict_logits(of_x)
        .numpy(),
    }


class Real(Data):
    """The CIFAR-10 DenseNet's penultimate activations: of test images, half of which train, and of iSUN's."""

    def __init__(self, root: Path) -> None:
        every = np.load(root / "reference/densenet_cifar10_test_features.npy")
        labels = np.load(root / "reference/densenet_cifar10_test_labels.npy").astype(np.int64)
        self.x, self.train, self.labels = every[1::8], every[::2], labels[::2]
        self.ood = np.load(root / "reference/densenet_cifar10_isun_features.npy")[::8]
        weights = root / "data/checkpoints/densenet_cifar10.pth"
        state = torch.load(weights, map_location="cpu", weights_only=True)["state_dict"]
        self.layer = nn.Linear(342, 10).requires_grad_(False)
        self.layer.load_state_dict({"weight": state["fc.weight"], "bias": state["fc.bias"]})
        self.fit = fit(ArrayBank(self.train, self.labels))  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", ["", "react@1.0:"])
def test_on_real_activations_too(differences: dict, shape: str, reference: Path) -> None:
    """All but GEN, whose probabilities pytorch-ood cuts off here, and KL matching, which saturates in its float32."""
    names = ("gradnorm", "knn", "vim@20", "residual@20", "nnguide", "fdbd", "she", "nci@0.1")
    compare(Real(reference), shape, differences, names)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_score_is_pytorch_oods(differences: dict, shape: str) -> None:
    compare(Data(), shape, differences, None)


def compare(at: Data, shape: str, differences: dict, names: tuple[str, ...] | None) -> None:
    """Scores and AUROC against pytorch-ood's, of all scores or of those named."""
    z = {name: shaped(shape, x) for name, x in (("ID", at.x), ("o", at.ood))}
    want = {name: others_scores(at, one, at.logits(one)) for name, one in z.items()}
    methods = parse_methods(",".join(f"{shape}{name}" for name in names or want["ID"]))
    result = sweep(at.layer.float(), at.x, {"o": at.ood}, methods, fit=at.fit)
    for row, method in enumerate(methods):
        pairs = [
            (result.id_scores[row], want["ID"][method.score]),
            (result.ood_scores["o"][row], want["o"][method.score]),
        ]
        if method.score == "gen":  # theirs cuts probabilities off at 1e-7, and takes 1 - p as it is rounded
            chances = [softmax(at.logits(one)) for one in z.values()]
            clear = [((p > 1e-6) & (p < 1 - 1e-3)).all(1) for p in chances]
            assert min(some.sum() for some in clear) >= 100
            pairs = [(a[some], b[some]) for (a, b), some in zip(pairs, clear, strict=True)]
        for got, theirs in pairs:
            in_float32 = method.score in ("vim@20", "residual@20")  # their covariance and its eigenvectors
            check(differences, f"{method.score}, pytorch-ood", got, theirs, 5e-5 if in_float32 else 1e-5)
        auroc = [100 * metrics.auroc(pairs[0][side], pairs[1][side]) for side in (0, 1)]
        assert abs(auroc[0] - auroc[1]) <= 0.01, method


def every(names: tuple[str, ...]) -> list[Method]:
    return parse_methods(",".join(f"{shape}{name}" for shape in ("", "ash_s@80:", "ash_rand@50:") for name in names))


@pytest.mark.parametrize("kind", ["linear", "pooled", "deep"])
def test_chunks_do_not_matter(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor how many training samples are looked at together; noise is that of the sample."""
    if kind == "linear":
        at = Data(n=70)
        tail, x, one, names = at.layer.float(), at.x, at.fit, ("energy", *OF_HEAD, *ANYWHERE)
    else:
        module = Pooled(linear(3, 4)) if kind == "pooled" else Deep()
        tail = fx.symbolic_trace(module) if kind == "pooled" else module
        x, train = relu_like(40, (3, 4, 4)), relu_like(300, (3, 4, 4), 1)
        labels = module(torch.from_numpy(train)).argmax(1).numpy()
        one = fit(ArrayBank(train, labels))  # type: ignore[arg-type]
        names = (
            "energy",
            *ANYWHERE,
            *(("gradnorm", "vim", "nnguide", "fdbd", "nci", "klm") if kind == "pooled" else ()),
        )
    whole = sweep(tail, x, {"o": x[:7]}, every(names), fit=one).id_scores
    monkeypatch.setattr(linear_tails, "CHUNK_VALUES", 500)
    monkeypatch.setattr(tails, "MOST_ROWS", 3)
    monkeypatch.setattr(nearest, "BLOCK", 48)
    parts = sweep(tail, x, {"o": x[:7]}, every(names), fit=one)
    np.testing.assert_allclose(parts.id_scores, whole, rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(parts.ood_scores["o"], parts.id_scores[:, :7], rtol=1e-6, atol=1e-6)


def test_maps_are_averaged_after_they_are_shaped() -> None:
    """At a deep tail and at a pooled one; the logits are those of the shaped maps."""
    x, train = relu_like(12, (3, 4, 4)), relu_like(200, (3, 4, 4), 1)
    one = fit(ArrayBank(train))  # type: ignore[arg-type]
    z = Method.parse("ash_s@80").shape(torch.from_numpy(x)).mean((2, 3)).numpy()
    bank = train.mean((2, 3))
    want = -np.sort(((length_one(z)[:, None] - length_one(bank)[None]) ** 2).sum(2), 1)[:, 4]
    for tail in (Deep(), fx.symbolic_trace(Pooled(linear(3, 4)))):
        got = sweep(tail, x, {}, parse_methods("ash_s@80:knn@5"), fit=one).id_scores[0]
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_zeros_and_equal_samples(dtype: type) -> None:
    """Samples and training samples that are all zero, and repeated ones: finite, and by the definition."""
    train = relu_like(40, (5,), 1).astype(dtype)
    train[:3], train[3:9] = 0, train[3]
    x = np.concatenate([np.zeros((2, 5), dtype), train[3:5], relu_like(6, (5,)).astype(dtype)])
    one = fit(ArrayBank(train, np.arange(40) % 3))  # type: ignore[arg-type]
    layer = linear(5, 3).to(torch.float64 if dtype == np.float64 else torch.float32)
    names = [name for name in OF_HEAD if name != "she"]
    methods = parse_methods(",".join(["knn@1", "knn@3", "knn@6", *names, "ash_s@50:gen", "mahalanobis"]))
    result = sweep(layer, x, {}, methods, fit=one).id_scores
    assert np.isfinite(result).all()
    unit = train / np.maximum(np.linalg.norm(train, axis=1, keepdims=True), 1e-12)
    queries = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    apart = np.sort(((queries[:, None] - unit[None]) ** 2).sum(2), 1)
    np.testing.assert_allclose(result[:3], -apart[:, [0, 2, 5]].T, rtol=1e-5, atol=1e-7)
    assert not result[0, :4].any(), "what is in the training set is at no distance"


def test_more_features_than_training_samples() -> None:
    train, x = relu_like(30, (50,), 1), relu_like(20, (50,))
    one = fit(ArrayBank(train, np.arange(30) % 3))  # type: ignore[arg-type]
    names = [f"{name}{'@20' if name == 'vim' else ''}" for name in (*OF_HEAD, *ANYWHERE) if name not in ("she", "knn")]
    result = sweep(linear(50, 3), x, {}, parse_methods(",".join([*names, "knn@30"])), fit=one)
    assert np.isfinite(result.id_scores).all()


def test_gen_adds_up_the_hundred_largest_and_does_not_saturate() -> None:
    logits = np.random.default_rng(0).standard_normal((50, 130))
    p = np.sort(softmax(logits), 1)[:, -100:]
    got = scores.SCORES["gen"](torch.from_numpy(logits)).numpy()
    np.testing.assert_allclose(got, -np.sum((p * (1 - p)) ** 0.1, 1), rtol=1e-12)
    sure = torch.tensor([[50.0, 0, 0], [60.0, 0, 0], [70.0, 0, 0]])  # 1 - p rounds to 0 for all of them in float32
    found = SCORES["gen"](sure)
    assert (found[1:] > found[:-1]).all()
    np.testing.assert_allclose(found.numpy(), SCORES["gen"](sure.double()).numpy(), rtol=1e-5)
    assert SCORES["gen"](torch.tensor([[3.0], [4.0]])).tolist() == [0, 0]


def test_fitted_parts_are_of_unshaped_activations() -> None:
    at = Data(n=20)
    for name in ("knn@5", "vim@20", "fdbd"):
        alone = sweep(at.layer.float(), shaped("ash_s@80:", at.x), {}, parse_methods(name), fit=at.fit).id_scores[0]
        after = sweep(at.layer.float(), at.x, {}, parse_methods(f"ash_s@80:{name}"), fit=at.fit).id_scores[0]
        np.testing.assert_allclose(after, alone, rtol=1e-4, atol=1e-5)


def test_the_same_score_at_several_values_in_one_sweep() -> None:
    at = Data(n=20)
    texts = "knn@1:201:100,nci@0,nci@0.01,nnguide@1:21:10"
    together = sweep(at.layer.float(), at.x, {}, parse_methods(texts), fit=at.fit)
    assert together.table()["score"].unique().tolist()[:3] == ["knn@1", "knn@101", "knn@201"]
    for method, row in zip(together.methods, together.id_scores, strict=True):
        np.testing.assert_array_equal(sweep(at.layer.float(), at.x, {}, [method], fit=at.fit).id_scores[0], row)


def test_what_is_kept_with_a_fit_is_of_one_last_layer() -> None:
    at = Data(n=20)
    for seed in (0, 1, 0):
        layer = linear(60, 7, seed=seed)
        got = sweep(layer, at.x, {}, parse_methods("vim,residual"), fit=at.fit).id_scores
        fresh = fit(ArrayBank(at.train, at.labels))  # type: ignore[arg-type]
        np.testing.assert_array_equal(got, sweep(layer, at.x, {}, parse_methods("vim,residual"), fit=fresh).id_scores)


UNLABELLED: Callable[[], Fit] = lambda: fit(ArrayBank(relu_like(30, (6,))))  # type: ignore[arg-type]  # noqa: E731
X = relu_like(8, (6,))


@pytest.mark.parametrize(
    ("text", "tail", "one", "sentence"),
    [
        ("knn", linear(6, 3), None, "knn needs a fit on training activations: give `fit`"),
        ("ash_s@90:vim", linear(6, 3), None, "vim needs a fit on training activations"),
        ("knn@31", linear(6, 3), UNLABELLED(), "knn@31 looks at the 31-th nearest.* has 30: write knn@30 or less"),
        ("knn", linear(6, 3), UNLABELLED(), "knn@50 looks at the 50-th nearest"),
        ("nnguide@31", linear(6, 3), UNLABELLED(), "these are 30: write nnguide@30 or less"),
        ("vim@6", linear(6, 3), UNLABELLED(), "vim@6 keeps 6 main directions of 6 features: none would remain"),
        (
            "she",
            linear(6, 3),
            UNLABELLED(),
            "she needs class means, and the fit on train has none: its training set has",
        ),
        ("mahalanobis", linear(6, 3), UNLABELLED(), "mahalanobis needs class means"),
        ("knn@5", linear(5, 3), UNLABELLED(), "The fit has 6 features, the activations have 5"),
        ("she", linear(6, 3), fit(ArrayBank(X, np.arange(8) * 0)), "every class, and the fit on train has none of"),  # type: ignore[arg-type]
    ],
)
def test_what_is_lacking_is_one_sentence(text: str, tail: nn.Linear, one: Fit | None, sentence: str) -> None:
    x = X[:, : tail.in_features]
    with pytest.raises(SweepError, match=sentence) as caught:
        sweep(tail, x, {}, parse_methods(text), fit=one)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", OF_HEAD)
def test_the_last_layer_is_needed_for_some(name: str) -> None:
    one = fit(ArrayBank(relu_like(30, (3, 4, 4)), np.arange(30) % 3, WHO))  # type: ignore[arg-type]
    with pytest.raises(SweepError, match=f"{name} reads the last layer, so it needs a placement with nothing but that"):
        sweep(Deep(), relu_like(3, (3, 4, 4)), {}, parse_methods(name), fit=one)


def test_a_fit_without_labels_serves_those_that_read_none() -> None:
    names = [name for name in (*OF_HEAD, "knn@5") if name != "she"]
    result = sweep(
        linear(6, 3), X, {}, parse_methods(",".join(names).replace("nnguide", "nnguide@5")), fit=UNLABELLED()
    )
    assert np.isfinite(result.id_scores).all()


WORDS = {
    "logits": "logits",
    "activation": "activation",
    "head": "last layer",
    "training": "training set",
    "labels": "its labels",
    "perturbed": "perturbed images",
    "numerators": "a divided head",
    "shifted": "perturbed images beside the plain",
}


def test_the_guide_has_a_row_for_every_score() -> None:
    guide = (Path(__file__).parents[2] / "app/guide/methods.md").read_text()
    for score in SCORES.values():
        usual = "" if score.parameter is None else score.parameter.letter
        usual += "" if score.default is None else f" = {score.default:g}"
        reads, who = ", ".join(WORDS[one] for one in score.reads), score.paper.partition(",")[0]
        assert f"| `{score.name}` | {score.label} | {reads} | {usual} | {who} {score.year} |" in guide


def test_every_score_is_its_definition_here() -> None:
    known = {"energy", "msp", "max_logit", "odin", "godin"}  # in test_scores, test_pytorch_ood, test_sweep_methods
    known |= {"adascale", "adascale_l"}  # in test_adascale
    assert {text.partition("@")[0] for text in ALL} == SCORES.keys() - known


def test_every_score_is_declared_in_full() -> None:
    for name, score in SCORES.items():
        assert score.paper, name
        assert 2017 <= score.year <= 2026, name
        assert score.function.__doc__, name
        assert score.label, name
