"""The code of a network: what changes it, what does not, and the codes that are known without tracing."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ash.models import get_model
from ash.networks import known_codes, torchvision_models
from ash.networks.code import code_hash

ROOT = Path(__file__).resolve().parents[2]


class Net(nn.Module):
    """A small network of which every test changes one thing; its weights stay the same."""

    def __init__(
        self,
        layer: nn.Module | None = None,
        forward: Callable[["Net", Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.layer = layer or nn.LeakyReLU(0.1)
        self.fc = nn.Linear(4, 10)
        self.step = forward or Net.usual

    def usual(self, x: Tensor) -> Tensor:
        return self.layer(self.norm(self.conv(x)))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.adaptive_avg_pool2d(self.step(self, x), 1).flatten(1))


@torch.fx.wrap
def opaque(x: Tensor) -> Tensor:
    return x * SCALE


SCALE = 2.0


def changed(**settings: Any) -> Callable[[Net], None]:
    """Set attributes of parts, `conv__stride=2` of `conv`, after the network was built."""

    def change(net: Net) -> None:
        for name, value in settings.items():
            part, _, attribute = name.rpartition("__")
            setattr(net.get_submodule(part), attribute, value)

    return change


def of(change: Callable[[Net], None] | None = None, **options: Any) -> str:
    net = Net(**options)
    if change:
        change(net)
    return code_hash(net.eval())


def buffered(value: float) -> Callable[[Net], None]:
    def change(net: Net) -> None:
        net.register_buffer("shift", torch.full((1,), value), persistent=False)
        net.step = lambda self, x: Net.usual(self, x) + self.shift

    return change


def hooked(value: float) -> Callable[[Net], None]:
    return lambda net: net.layer.register_forward_hook(lambda module, inputs, out: out * value) and None


class Scaled(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.value


def parametrized(value: float) -> Callable[[Net], None]:
    return lambda net: nn.utils.parametrize.register_parametrization(net.conv, "weight", Scaled(value)) and None


CODES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "negative slope": ({}, {"layer": nn.LeakyReLU(0.2)}),
    "stride": ({}, {"change": changed(conv__stride=(2, 2))}),
    "padding mode": ({}, {"change": changed(conv__padding_mode="reflect")}),
    "dilation": ({}, {"change": changed(conv__dilation=(2, 2))}),
    "eps": ({}, {"change": changed(norm__eps=1e-3)}),
    "another kind of layer": ({}, {"layer": nn.ELU(0.1)}),
    "a constant": ({"forward": lambda self, x: x * 0.5}, {"forward": lambda self, x: x * 0.25}),
    "an option": ({"forward": lambda self, x: F.gelu(x)}, {"forward": lambda self, x: F.gelu(x, approximate="tanh")}),
    "order": (
        {"forward": lambda self, x: self.layer(self.conv(x)) - 1},
        {"forward": lambda self, x: self.layer(self.conv(x) - 1)},
    ),
    "sides": ({"forward": lambda self, x: x - x.mean()}, {"forward": lambda self, x: x.mean() - x}),
    "a tensor": (
        {"forward": lambda self, x: x + torch.tensor([1.0])},
        {"forward": lambda self, x: x + torch.tensor([2.0])},
    ),
    "a buffer that no file holds": ({"change": buffered(1.0)}, {"change": buffered(2.0)}),
    "a hook": ({"change": hooked(1.0)}, {"change": hooked(2.0)}),
    "a parametrization": ({"change": parametrized(1.0)}, {"change": parametrized(2.0)}),
    "dtype": ({}, {"change": lambda net: net.double() and None}),
    "a slice": ({"forward": lambda self, x: x[:, :, 1:]}, {"forward": lambda self, x: x[:, :, :-1]}),
    "a leaf within a leaf": (
        {"layer": nn.TransformerEncoderLayer(4, 2, 8, layer_norm_eps=1e-5)},
        {"layer": nn.TransformerEncoderLayer(4, 2, 8, layer_norm_eps=1e-3)},
    ),
}


@pytest.mark.parametrize("what", CODES)
def test_another_code_with_the_same_weights_is_another_code(what: str) -> None:
    one, other = CODES[what]
    assert of(**one) == of(**one)
    assert of(**one) != of(**other)


def test_weights_comments_and_modes_of_training_are_no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    assert of() == of(changed(conv__weight=nn.Parameter(torch.zeros(4, 1, 3, 3))))
    assert of(forward=lambda self, x: x * 0.5) == of(forward=lambda self, x: 0.5 * x if self.training else x * 0.5)
    net = Net(forward=lambda self, x: opaque(x))
    before = code_hash(net.eval())
    assert before == code_hash(net.eval())
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    assert before != code_hash(net.eval()), "what a function that fx does not enter refers to"


@pytest.mark.slow
def test_a_code_is_the_same_in_every_process() -> None:
    lines = ["from ash.networks.code import code_hash", "from torchvision.models import mobilenet_v2, swin_t"]
    lines += ["from ash.networks.own import DemoNet"]
    lines += ["print([code_hash(net().eval()) for net in (DemoNet, mobilenet_v2, swin_t)])"]
    outputs = {
        subprocess.run(
            [sys.executable, "-c", "\n".join(lines)],
            cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(outputs) == 1
    assert "', '" in outputs.pop()


@pytest.mark.parametrize("name", ["demo", "densenet101_cifar10", "densenet101_cifar100"])
def test_shipped_codes_are_those_of_the_networks(name: str) -> None:
    """Where own.py or the tracing has changed: write what this test finds into ash/networks/codes.json, and where the
    demo's code is another, build the demo again."""
    entry = get_model(name)
    source = known_codes.source_of(entry.architecture)
    found = code_hash(entry.architecture().eval())
    assert known_codes.shipped_codes().get(source or "") == found, f'"{source}": "{found}"'


@pytest.mark.slow
def test_networks_that_ship_are_known_without_torch() -> None:
    lines = ["import sys, ash.models, ash.data", "from ash.identity import identity"]
    lines += ["from ash.bank import BUNDLED, find_bank"]
    lines += ["who = identity(ash.models.get_model('demo'), 'penultimate', ash.data.get_dataset('digits'))"]
    lines += ["sys.exit('torch' in sys.modules or not find_bank(who).is_relative_to(BUNDLED))"]
    code = "\n".join(lines)
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_torchvisions_are_traced_once_and_again_for_another_source(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ASH_CACHE", str(tmp_path))
    monkeypatch.setattr(known_codes, "_codes", {})
    entry = get_model("resnet18")
    assert known_codes.known_code(entry) is None
    first = known_codes.code_of(entry)
    known_codes._codes.clear()
    assert known_codes.known_code(entry) == first
    files = torchvision_models.sources_of("resnet18")
    other = tmp_path / "resnet.py"
    other.write_text(next(file for file in files if file.stem == "resnet").read_text() + "\nexpansion = 5\n")
    for changed in ((other, *files[1:]), ()):  # of another torchvision; of one whose files cannot be read: its version
        monkeypatch.setattr(torchvision_models, "sources_of", lambda name, changed=changed: changed)
        assert known_codes.known_code(entry) is None
    assert len(list((tmp_path / "codes").iterdir())) == 1


def test_a_torchvision_network_is_made_of_its_own_file_and_what_that_imports() -> None:
    def names(network: str) -> set[str]:
        return {f"{file.parent.name}/{file.stem}" for file in torchvision_models.sources_of(network)}

    assert {"models/mobilenetv2", "ops/misc"} <= names("mobilenet_v2")
    assert "ops/stochastic_depth" in names("swin_t")
    assert {"models/maxvit", "ops/misc", "ops/stochastic_depth"} <= names("maxvit_t"), "imports by whole names"
    assert "models/resnet" not in names("mobilenet_v2") | names("maxvit_t")
    assert all(torchvision_models.sources_of(name) for name in torchvision_models.torchvision_names())


def test_the_code_of_the_network_that_opens_ships() -> None:
    """Where torchvision's source has changed: write what this test finds into ash/networks/codes.json."""
    entry = get_model("mobilenet_v2_photos")
    source = known_codes.source_of(entry.architecture) or ""
    found = code_hash(entry.architecture().eval())
    if source not in known_codes.shipped_codes():
        pytest.skip(f'another torchvision than the one whose code ships: "{source}": "{found}"')
    assert known_codes.shipped_codes()[source] == found
