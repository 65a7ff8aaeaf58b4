"""Stem and tail compute what the model computes, bitwise, for many architectures."""

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import get_model

import ash
from ash.networks import DemoNet
from ash.splitting import SplitError, linear_tail, resolve, split

PENULTIMATE = {
    "resnet18": ("avgpool", 64),
    "mobilenet_v2": ("adaptive_avg_pool2d", 64),
    "shufflenet_v2_x0_5": ("mean", 64),
    "squeezenet1_1": ("features.12.cat", 64),
    "alexnet": ("classifier.5", 64),
    "swin_t": ("avgpool", 64),
}


@pytest.mark.parametrize("name", PENULTIMATE)
@torch.inference_mode()
def test_tail_of_stem_is_the_model_bitwise(name: str) -> None:
    model = get_model(name, weights=None).eval()
    known = ash.placements(model)
    expected, side = PENULTIMATE[name]
    assert resolve(model, "penultimate") == expected
    x = torch.randn(2, 3, side, side)
    whole = model(x)
    for placement in {known[0], known[len(known) // 2], expected, known[-1]}:
        stem, tail = split(model, placement)
        activation = stem(x)
        before = activation.clone()
        assert torch.equal(tail(activation), whole), placement
        assert torch.equal(activation, before), f"the tail at {placement} wrote into its input"


def test_the_papers_placements_of_resnet50() -> None:
    known = ash.placements(get_model("resnet50", weights=None).eval())
    assert [name for name in known if name in ("layer3.5.add", "layer3.5.relu_2", "layer4.2.add", "avgpool")] == [
        "layer3.5.add",
        "layer3.5.relu_2",
        "layer4.2.add",
        "avgpool",
    ]


@pytest.mark.parametrize("placement", ["layer4.0.relu2", "avgpool", "flatten"])
def test_linear_tails_are_found_and_equal_the_tail(placement: str) -> None:
    model = DemoNet().eval()
    stem, tail = split(model, placement)
    linear = linear_tail(tail)
    assert linear is not None
    assert linear.pooled == (placement == "layer4.0.relu2")
    with torch.inference_mode():
        x = stem(torch.randn(3, 1, 28, 28))
        features = x.mean((2, 3)) if linear.pooled else x.flatten(1)
        torch.testing.assert_close(features @ linear.weight.T + linear.bias, tail(x))


def test_other_tails_are_not_linear() -> None:
    model = DemoNet().eval()
    for placement in ("layer4.0.add", "layer3.0.relu2", "conv1"):
        assert linear_tail(split(model, placement)[1]) is None
    assert linear_tail(split(get_model("squeezenet1_1").eval(), "penultimate")[1]) is None


class Affine(nn.Module):
    """A weight used on both sides of every cut, an in-place layer right after one, a value that lives across."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([2.0]))
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = x * self.scale
        z = self.relu(y.flatten(1)) * self.scale
        skip = z + 1
        return self.fc(skip * z)


@torch.inference_mode()
def test_weights_on_both_sides_and_layers_in_place() -> None:
    model = Affine().eval()
    x = torch.randn(5, 4)
    known = ash.placements(model)
    assert "add" not in known  # z is still needed beside it
    for placement in known:
        stem, tail = split(model, placement)
        activation = stem(x)
        before = activation.clone()
        assert torch.equal(tail(activation), model(x))
        assert torch.equal(activation, before)


def test_a_wrong_placement_names_the_near_and_all_valid_ones() -> None:
    model = DemoNet().eval()
    with pytest.raises(
        SplitError, match=r"no placement 'layer4.0.relu'. Nearest: layer4.0.relu[12], .* All \d+: conv1"
    ):
        split(model, "layer4.0.relu")


class Branching(nn.Module):
    """Python that depends on values cannot be traced."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def test_models_that_cannot_be_cut_say_why() -> None:
    with pytest.raises(SplitError, match="Branching cannot be traced"):
        ash.placements(Branching().eval())
    with pytest.raises(SplitError, match=r"training mode.*model.eval\(\)"):
        ash.placements(DemoNet())
    with pytest.raises(SplitError, match="no linear or convolutional layer"):
        resolve(nn.Sequential(nn.ReLU(), nn.ReLU()).eval(), "penultimate")


def test_the_registry_states_truly_which_tails_are_deep() -> None:
    from ash.models import MODELS

    for entry in MODELS.values():
        model = entry.build()
        deep = tuple(name for name in entry.placements if linear_tail(split(model, name)[1]) is None)
        assert deep == entry.deep_placements
        assert list(entry.placements)[-1] == resolve(model, "penultimate")
