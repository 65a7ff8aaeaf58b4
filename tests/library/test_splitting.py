"""Stem and tail compute what the model computes, bitwise, for many architectures; what is said of a cut is true."""

import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer, get_model

import ash
from ash.networks.own import DemoNet, DenseNetBC
from ash.splitting import SplitError, cuts, cuts_of_architecture, linear_tail, resolve, split

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


class Attentive(nn.Module):
    """Behind its last layer with weights it mixes the logits, so that nothing tells which layer is the head."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 5), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).relu()).cumsum(1)


def test_where_the_head_is_not_known_the_placements_that_work_are_named() -> None:
    model, x = Attentive().eval(), torch.randn(3, 6)
    with pytest.raises(SplitError, match="penultimate placement is not known") as error:
        resolve(model, "penultimate")
    names = str(error.value).rpartition("Placements: ")[2].rstrip(".").split(", ")
    assert names == ash.placements(model)
    for name in names:
        stem, tail = split(model, name)
        assert torch.equal(tail(stem(x)), model(x))


def small_vit() -> nn.Module:
    model = VisionTransformer(image_size=32, patch_size=16, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16)
    nn.init.normal_(model.heads.head.weight)
    return model


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "small_vit": (small_vit, 32),
    "densenet_bc": (lambda: DenseNetBC(10, depth=22), 32),
    "resnet18": (lambda: get_model("resnet18"), 64),
    "regnet_y_400mf": (lambda: get_model("regnet_y_400mf"), 64),
    "shufflenet_v2_x0_5": (lambda: get_model("shufflenet_v2_x0_5"), 64),
    "convnext_tiny": (lambda: get_model("convnext_tiny"), 64),
    "mobilenet_v3_small": (lambda: get_model("mobilenet_v3_small"), 64),
}


@pytest.mark.parametrize("name", NETWORKS)
@torch.inference_mode()
def test_every_cut_is_what_is_said_of_it(name: str) -> None:
    """Shape, linear, before its ReLU and sign, and the tail is bitwise the rest of the network, at all cuts."""
    torch.manual_seed(0)
    build, side = NETWORKS[name]
    model = build().eval()
    for module in model.modules():  # fresh ones only scale, so a ReLU before them would change nothing
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.normal_(module.bias)
    found = cuts(model, (3, side, side))
    assert [cut.name for cut in found] == ash.placements(model)
    assert [cut.name for cut in found if cut.penultimate] == [resolve(model, "penultimate")]
    x = torch.randn(2, 3, side, side)
    whole = model(x)
    negative = set()
    for cut in found:
        stem, tail = split(model, cut.name)
        activation = stem(x)
        assert torch.equal(tail(activation), whole), cut
        assert tuple(activation.shape) == (2, *cut.shape), cut
        assert cut.linear == (linear_tail(tail) is not None), cut
        if (activation < 0).any():
            assert cut.before_relu == torch.equal(tail(activation.relu()), whole), cut
            negative.add(cut.name)
    assert negative == {cut.name for cut in found if cut.signed}
    assert all(cut.signed is not None for cut in found)


def test_cuts_without_weights_are_those_of_the_real_network() -> None:
    """Also where the constructor computes with tensors, as the RegNets' does, which fails on the meta device."""
    for name in ("regnet_y_400mf", "swin_t", "vit_b_32"):
        found = cuts_of_architecture(lambda name=name: get_model(name), (3, 224, 224))
        assert list(found) == cuts(get_model(name).eval(), (3, 224, 224))
        assert cuts_of_architecture(lambda: DemoNet(), (1, 28, 28))[0].shape == (16, 28, 28)


def test_no_memory_is_used_for_weights() -> None:
    built = []

    def build() -> nn.Module:
        built.append(get_model("resnet18"))
        return built[0]

    cuts_of_architecture(build, (3, 64, 64))
    assert all(weight.is_meta for weight in built[0].parameters())


class LooksAtItsWeights(DemoNet):
    """Cannot be built without memory."""

    def __init__(self) -> None:
        super().__init__()
        assert self.conv1.weight.sum().item() != 3.0


def test_a_constructor_that_looks_at_its_weights_is_built_for_real() -> None:
    assert cuts_of_architecture(LooksAtItsWeights, (1, 28, 28)) == tuple(cuts(DemoNet().eval(), (1, 28, 28)))


def test_inputs_that_a_network_does_not_take_are_one_sentence() -> None:
    with pytest.raises(SplitError, match="DemoNet does not compute on inputs of 3 x 28 x 28: Invalid channel"):
        cuts(DemoNet().eval(), (3, 28, 28))


class Folding(nn.Module):
    """Joins the images of a batch on the way, so that a row there is no sample's."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.fc = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x).reshape(-1, 2)
        return self.fc(y.reshape(-1, 16).relu())


def test_a_cut_needs_a_row_for_every_sample() -> None:
    model = Folding().eval()
    assert "reshape" in ash.placements(model)
    assert [cut.name for cut in cuts(model, (3, 2, 2))] == ["conv", "reshape_1", "relu"]


class Pairs(nn.Module):
    """On the way there is a value with a row and a column for every image of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        likeness = torch.matmul(x, x.T)
        return self.fc(likeness.amax(1, keepdim=True).expand(-1, 4).relu())


def test_a_value_whose_shape_hangs_on_the_batch_is_no_cut() -> None:
    model = Pairs().eval()
    assert "matmul" in ash.placements(model)
    found = cuts(model, (4,))
    assert [cut.name for cut in found] == ["amax", "expand", "relu"]
    assert [cut.shape for cut in found] == [(1,), (4,), (4,)]


def test_a_relu_beside_the_value_itself_does_not_make_its_negative_part_moot() -> None:
    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.fc = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x)
            z = self.fc(torch.relu(y) + 0.5 * y)
            return torch.relu(z)

    found = {cut.name: cut.before_relu for cut in cuts(Beside().eval(), (4,))}
    assert found == {"first": False, "add": False, "fc": True}


def test_signs_follow_sums_and_constants() -> None:
    class Signs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            a = torch.relu(x) + 1
            b = torch.sigmoid(a * 2)
            c = b + -1.0
            d = torch.relu(c) * 0.5
            return self.fc(torch.cumsum(d, 1))

    found = {cut.name: cut.signed for cut in cuts(Signs().eval(), (4,))}
    expected = {"relu": False, "add": False, "mul": False, "sigmoid": False, "add_1": True}
    assert found == {**expected, "relu_1": False, "mul_1": False, "cumsum": None}


def test_other_threads_compute_on_while_a_network_is_traced() -> None:
    """torch.fx patches nn.Module for the whole process while it traces; another user's forward pass must not see it."""
    torch.manual_seed(0)
    model, x = DenseNetBC(10, depth=40).eval(), torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        expected = model(x)
    names, wrong, stop = ash.placements(model), [], threading.Event()

    def guarded(work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except Exception as error:
                wrong.append(str(error))

        return threading.Thread(target=run)

    def compute() -> None:
        while not stop.is_set():
            with torch.inference_mode():
                if not torch.equal(model(x), expected):
                    wrong.append("another result")

    def trace() -> None:
        for _ in range(5):
            if ash.placements(model) != names:
                wrong.append("other placements")

    threads, traces = [guarded(compute) for _ in range(2)], [guarded(trace) for _ in range(2)]
    for thread in threads + traces:
        thread.start()
    for thread in traces:
        thread.join()
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert ash.placements(model) == names
