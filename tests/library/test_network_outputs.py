"""What networks return besides a tensor, and weights of half precision: found, named, or refused by what is there."""

from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import ash
from ash.models import MODELS, ModelError, Preprocess, get_model
from ash.networks.answers import check_answers
from ash.networks.failures import SplitError
from ash.networks.outputs import logits_of, name_output
from ash.networks.precision import widened
from ash.splitting import cuts, resolve, split

SHAPE, WIDTH, CLASSES = (1, 8, 8), 6, 4
Pair = namedtuple("Pair", "features logits")
Heads = namedtuple("Heads", "first second")


@dataclass
class Output:
    """As networks of the hub return it."""

    logits: Tensor
    hidden: Tensor


class Net(nn.Module):
    """Two heads on one tensor of features (N, 6), and one on maps that come before it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv2d(1, WIDTH, 3), nn.AdaptiveAvgPool2d(1)
        self.fc, self.other = nn.Linear(WIDTH, CLASSES), nn.Linear(WIDTH, 3)
        self.early = nn.Sequential(nn.Flatten(), nn.ReLU(inplace=True), nn.Linear(WIDTH * 36, 2))

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        maps = torch.relu(self.conv(x))
        features = self.pool(maps).flatten(1)
        return self.fc(features), self.other(features), self.early(maps * 2), features

    def forward(self, x: Tensor) -> Any:
        return self.parts(x)[0]


def answering(make: Callable[[Tensor, Tensor, Tensor, Tensor], Any]) -> Callable[[], nn.Module]:
    """A network that returns what is made of the logits, those of another head, of an early head, and the features."""

    class Answering(Net):
        def forward(self, x: Tensor) -> Any:
            return make(*self.parts(x))

    return Answering


FOUND: dict[str, tuple[Callable[[], nn.Module], str | int | None]] = {  # name -> network, `output`
    "dict_with_logits": (answering(lambda a, b, c, z: {"features": z, "logits": a}), None),
    "data_class": (answering(lambda a, b, c, z: Output(a, z)), None),
    "object": (answering(lambda a, b, c, z: SimpleNamespace(loss=None, logits=a)), None),
    "named_tuple": (answering(lambda a, b, c, z: Pair(z, a)), None),
    "tuple_of_one": (answering(lambda a, b, c, z: (a,)), None),
    "tuple": (answering(lambda a, b, c, z: (z, a)), 1),
    "list_from_its_end": (answering(lambda a, b, c, z: [b, z, a]), -1),
    "dict_of_heads": (answering(lambda a, b, c, z: {"coarse": b, "fine": a, "early": c}), "fine"),
    "heads_of_a_named_tuple": (answering(lambda a, b, c, z: Heads(b, a)), "second"),
    "object_without_logits": (answering(lambda a, b, c, z: SimpleNamespace(scores=a, early=c)), "scores"),
    "dict_whose_logits_are_others": (answering(lambda a, b, c, z: {"logits": c, "fine": a}), "fine"),
    "compiled": (lambda: torch.compile(answering(lambda a, b, c, z: {"logits": a, "z": z})()), None),  # type: ignore[dict-item, return-value]
    "in_parallel": (lambda: nn.DataParallel(answering(lambda a, b, c, z: (a, z))()), 0),
}


@pytest.mark.parametrize("name", FOUND)
@torch.inference_mode()
def test_the_logits_are_found_or_named_and_the_parts_are_the_network_bitwise(name: str) -> None:
    build, output = FOUND[name]
    torch.manual_seed(0)
    model = build().eval()
    if output is not None:
        name_output(model, output)
    assert check_answers(model, SHAPE) == CLASSES
    assert resolve(model, "penultimate") == "pool"
    assert next(cut.linear for cut in cuts(model, SHAPE) if cut.penultimate)
    stem, tail = split(model, "penultimate")
    inner = getattr(model, "_orig_mod", getattr(model, "module", model))
    for count in (1, 3):
        x = torch.randn(count, *SHAPE)
        assert torch.equal(tail(stem(x)), inner.parts(x)[0])
        assert torch.equal(logits_of(inner, inner(x)), inner.parts(x)[0])
    assert not any("early" in str(node.target) or "other" in str(node.target) for node in tail.graph.nodes)


REFUSED = {  # what it returns, `output` -> words of the sentence
    "tuple": (lambda a, b, c, z: (a, z), None, r"returns a tuple of 2: say which are the logits with output=0"),
    "dict": (lambda a, b, c, z: {"fine": a, "early": c}, None, r"a dict with fine, early.*output='fine'"),
    "named_tuple": (lambda a, b, c, z: Heads(a, b), None, r"a Heads with first, second.*output='first'"),
    "object": (lambda a, b, c, z: SimpleNamespace(x=a, y=z), None, r"a SimpleNamespace with x, y"),
    "wrong_key": (lambda a, b, c, z: {"fine": a}, "logit", r"a dict with fine, which has no output='logit'"),
    "too_far": (lambda a, b, c, z: (a, z), 2, r"a tuple of 2, which has no output=2"),
    "nothing": (lambda a, b, c, z: None, None, r"returns a NoneType, not a tensor"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_said_is_asked_for_with_the_names_that_there_are(name: str) -> None:
    make, output, words = REFUSED[name]
    model = answering(make)().eval()
    if output is not None:
        name_output(model, output)
    with pytest.raises(SplitError, match=words) as refused:
        check_answers(model, SHAPE)
    assert "\n" not in str(refused.value)


@torch.inference_mode()
def test_what_works_in_place_on_what_is_needed_stays() -> None:
    class Writing(Net):
        def forward(self, x: Tensor) -> Any:
            maps = torch.relu(self.conv(x))
            maps[:, :2].mul_(3)
            other = self.other(self.pool(maps).flatten(1)).relu_()
            return {"logits": self.fc(self.pool(maps).flatten(1)), "other": other}

    model = Writing().eval()
    check_answers(model, SHAPE)
    for placement in ash.placements(model):
        stem, tail = split(model, placement)
        x = torch.randn(2, *SHAPE)
        assert torch.equal(tail(stem(x)), model(x)["logits"]), placement


@torch.inference_mode()
def test_a_tracing_leaves_nothing_in_a_network_that_keeps_what_it_computed() -> None:
    class Keeping(Net):
        def __init__(self) -> None:
            super().__init__()
            self.last, self.kept = None, {}

        def forward(self, x: Tensor) -> Tensor:
            key = str(x.device)
            if key not in self.kept:
                self.kept[key] = self.fc.weight * 2
            self.last = self.pool(torch.relu(self.conv(x))).flatten(1)
            return self.last @ self.kept[key].T

    model = Keeping().eval()
    check_answers(model, SHAPE)
    model.kept.clear()
    for _ in range(2):
        stem, tail = split(model, "penultimate")
        assert model.kept == {}
        assert isinstance(model.last, Tensor)
        x = torch.randn(2, *SHAPE)
        assert torch.equal(tail(stem(x)), model(x))
        model.kept.clear()


@pytest.fixture
def registered() -> Iterator[Callable[..., str]]:
    """A function that registers a network as a plug-in does, by which name it is forgotten after the test."""

    def register(build: Callable[[], nn.Module], **facts: Any) -> str:
        torch.manual_seed(0)
        state = build().state_dict()

        def network() -> nn.Module:
            made = build()
            made.load_state_dict(state)
            return made

        ash.register_model(
            "outputs_net", label="A net", preprocess=Preprocess(8, 8, (0.5,), (0.5,)), classes=list("abcd"),
            id_set="digits", ood_sets=("noise",), **facts,
        )(network)  # fmt: skip
        return "outputs_net"

    yield register
    MODELS.pop("outputs_net", None)
    MODELS.failed.pop("outputs_net", None)


def test_a_network_of_two_heads_is_registered_by_the_name_of_one(registered: Callable[..., str]) -> None:
    two = answering(lambda a, b, c, z: {"coarse": b, "fine": a})
    with pytest.raises(ModelError, match="output='coarse'"):
        get_model(registered(two))
    entry = get_model(registered(two, output="fine"))
    assert entry.penultimate == "pool"
    assert entry.penultimate_size == WIDTH
    stem, tail = split(entry.build(), entry.penultimate)
    with torch.inference_mode():
        assert tail(stem(torch.randn(2, *SHAPE))).shape == (2, CLASSES)
    with pytest.raises(ModelError, match="3 logits"):
        get_model(registered(two, output="coarse"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_with_in_float32(registered: Callable[..., str], dtype: torch.dtype) -> None:
    entry = get_model(registered(lambda: Net().to(dtype)))
    model = entry.build()
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    short = model.fc.weight.to(dtype).float()
    assert torch.equal(short, model.fc.weight), "every value is what it was"


def test_a_network_that_casts_its_images_stays_as_it_is() -> None:
    class Casting(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.bfloat16()).float()

    short = Casting().bfloat16()
    assert widened(short, SHAPE) is short
    assert short.training
    assert short.fc.weight.dtype == torch.bfloat16
    double, plain = Net().double(), Net()
    assert widened(double, SHAPE).fc.weight.dtype == torch.float64, "that would lose digits"
    assert widened(plain, SHAPE) is plain
    assert widened("no network", SHAPE) == "no network"


def test_a_parametrised_head_is_one_matrix(registered: Callable[..., str], tmp_path: Path) -> None:
    def build() -> nn.Module:
        net = Net()
        parametrizations.weight_norm(net.fc)
        return net

    entry = get_model(registered(build))
    stem, tail = split(entry.build(), entry.penultimate)
    x = torch.randn(40, *SHAPE)
    with torch.inference_mode():
        features, wanted = stem(x), ash.energy(tail(stem(x)))
    done = ash.sweep(tail, features.numpy(), {}, ash.parse_methods("energy"))
    np.testing.assert_allclose(done.id_scores[0], wanted, rtol=1e-5)
    assert entry.deep_placements == ()
