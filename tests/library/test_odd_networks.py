"""Networks as people bring them: each is cut where its logits are made and computes the same bits, or is refused."""

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils import parametrizations, weight_norm

import ash
from ash.methods import parse_methods
from ash.models import ModelError, cuts_of
from ash.networks.answers import check_answers
from ash.networks.checkpoints import load_weights
from ash.splitting import PENULTIMATE, SplitError, cuts, linear_tail, resolve, split
from ash.sweeping import sweep

SHAPE, WIDTH, CLASSES = (1, 8, 8), 6, 4
ODD: dict[str, tuple[Callable[[], nn.Module], str]] = {}  # name -> how it is built, what it answers


def odd(answer: str) -> Callable[[Callable[[], nn.Module]], Callable[[], nn.Module]]:
    """Register a network by the name of its penultimate placement, or by a word of its refusal ("no: word")."""

    def register(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        ODD[build.__name__] = (build, answer)
        return build

    return register


class Net(nn.Module):
    """A convolution, a ReLU, the mean of each map: (N, 1, 8, 8) -> (N, 6); then a head."""

    def __init__(self, head: nn.Module | None = None) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv2d(1, WIDTH, 3), nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(WIDTH, CLASSES) if head is None else head

    def maps(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv(x))

    def features(self, x: Tensor) -> Tensor:
        return self.pool(self.maps(x)).flatten(1)

    def forward(self, x: Tensor) -> Any:
        return self.fc(self.features(x))


class Plain(nn.Linear):
    """A linear layer of another package, with a forward of its own that does the same."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class Cosine(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 10 * F.linear(F.normalize(x), F.normalize(self.weight))


class CosineByHand(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return (x / x.norm(dim=1, keepdim=True)) @ (self.weight / self.weight.norm(dim=1, keepdim=True)).t() * 7


class Product(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(CLASSES, WIDTH)), nn.Parameter(torch.randn(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.T + self.bias


class Added(Product):
    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x, self.weight.t())


class Distances(Product):
    def forward(self, x: Tensor) -> Tensor:
        return -torch.cdist(x, self.weight)


class Euclid(Product):
    def forward(self, x: Tensor) -> Tensor:
        return -(x.unsqueeze(1) - self.weight).pow(2).sum(2)


class Doubled(nn.Linear):
    """More than its weight."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x).clamp(-3, 3)


odd("pool")(type("plain_subclass", (), {"__new__": lambda cls: Net(Plain(WIDTH, CLASSES))}))
for name, head, answer in (
    ("cosine", lambda: Cosine(WIDTH, CLASSES), "pool"),
    ("cosine_by_hand", lambda: CosineByHand(WIDTH, CLASSES), "pool"),
    ("product", Product, "pool"),
    ("added", Added, "pool"),
    ("distances", Distances, "pool"),
    ("euclid", Euclid, "no: sum"),
    ("doubled", lambda: Doubled(WIDTH, CLASSES), "pool"),
    ("identity_behind", lambda: nn.Sequential(nn.Dropout(), nn.Linear(WIDTH, CLASSES), nn.Identity()), "pool"),
    ("softmax_behind", lambda: nn.Sequential(nn.Linear(WIDTH, CLASSES), nn.Softmax(1)), "no: softmax"),
    ("log_softmax_behind", lambda: nn.Sequential(nn.Linear(WIDTH, CLASSES), nn.LogSoftmax(1)), "no: log-softmax"),
    ("sigmoid_behind", lambda: nn.Sequential(nn.Linear(WIDTH, CLASSES), nn.Sigmoid(), nn.Flatten()), "no: sigmoid"),
    ("norm_behind", lambda: nn.Sequential(nn.Linear(WIDTH, CLASSES), nn.BatchNorm1d(CLASSES)), "pool"),
    ("weight_normed", lambda: parametrizations.weight_norm(nn.Linear(WIDTH, CLASSES)), "pool"),
    ("dropout_left_on", lambda: nn.Sequential(nn.Dropout(), nn.Linear(WIDTH, CLASSES)), "no: fc.0"),
    (
        "batch_statistics",
        lambda: nn.Sequential(nn.BatchNorm1d(WIDTH, track_running_stats=False), Product()),
        "no: fc.0",
    ),
):
    ODD[name] = (lambda head=head: Net(head()), answer)


@odd("pool")
class SizeAtTheEnd(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(self.maps(x)).view(x.size(0), -1))


@odd("pool")
class SizeAtTheStart(Net):
    def forward(self, x: Tensor) -> Tensor:
        count, *_ = x.shape[0], x.shape[1]
        return self.fc(self.pool(self.maps(x)).reshape((count, -1)))


@odd("pool")
class AllSizes(Net):
    def forward(self, x: Tensor) -> Tensor:
        b, _, _, _ = x.size()
        y = self.maps(x)
        b2, c, h, w = y.shape
        return self.fc(self.pool(y.view(b2, c, h, w)).view(b, -1))


@odd("view_1")
class RowsFolded(Net):
    """The number of rows is read where a row is no image any more."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.maps(x).view(-1, 6, 6)
        return self.fc(y.mean((1, 2)).view(x.size(0), -1))


@odd("pool")
class OptionalArgument(Net):
    def forward(self, x: Tensor, return_feature: bool = False, *rest: Any, mask: Any = None, **more: Any) -> Any:
        y = self.features(x)
        return (self.fc(y), y) if return_feature or mask is not None else self.fc(y)


@odd("no: mask")
class TwoArguments(Net):
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.fc(self.features(x)) * mask


@odd("pool")
def parallel() -> nn.Module:
    return nn.DataParallel(Net())


@odd("pool")
def compiled() -> nn.Module:
    return torch.compile(Net())  # type: ignore[return-value]


@odd("module.pool")
class PartCalledModule(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.module = Net(nn.Identity())
        self.fc = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.module(x))


@odd("no: tuple")
class ReturnsTuple(Net):
    def forward(self, x: Tensor) -> Any:
        y = self.features(x)
        return self.fc(y), y


@odd("relu_1")
class OneReluTwice(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.relu(F.relu(self.conv(x)).mean((2, 3)) - 0.01))


@odd("pool")
class InPlaceByName(Net):
    def forward(self, x: Tensor) -> Tensor:
        y = self.pool(torch.relu_(self.conv(x)))
        torch.relu_(y[:, :3])
        return self.fc(y.flatten(1))


@odd("dropped.1")
class ConvolutionHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dropped = nn.Sequential(nn.Conv2d(1, WIDTH, 3), nn.ReLU())
        self.head = nn.Sequential(nn.Dropout(), nn.Conv2d(WIDTH, CLASSES, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropped(x)).flatten(1)


@odd("pool")
class DividedHead(Net):
    def __init__(self) -> None:
        super().__init__()
        self.g = nn.Sequential(nn.Linear(WIDTH, 1), nn.BatchNorm1d(1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        y = self.features(x)
        return self.fc(y) / self.g(y)


@odd("no: different tensors")
class TwoScales(Net):
    def __init__(self) -> None:
        super().__init__()
        self.early = nn.Linear(64, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x)) + self.early(x.flatten(1))


@odd("no: unsqueeze")
class GateFromTheImage(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x)) * 2 + x.mean((1, 2, 3)).unsqueeze(1)


@odd("no: dropout")
class DropoutFunction(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.dropout(self.features(x), 0.5))


@odd("no: rand")
class Noise(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x) + torch.randn_like(x).mean())


@odd("no: randn|bernoulli|normal")
class HiddenNoise(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x) + torch.randn(WIDTH))


@odd("no: remembers|anew")
class Counting(Net):
    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.fc(self.features(x)) * self.calls


@odd("no: sub|mean|batch")
class ByTheBatch(Net):
    def forward(self, x: Tensor) -> Tensor:
        y = self.features(x)
        return self.fc(y - y.mean(0))


@odd("no: squeeze")
class BareSqueeze(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(self.maps(x)).squeeze())


@odd("no: test_odd_networks.py")
class OddAndEven(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x)) * (2 if x.shape[0] % 2 == 0 else 1)


@odd("no: test_odd_networks.py")
class ByItsValues(Net):
    def forward(self, x: Tensor) -> Tensor:
        y = self.features(x)
        return self.fc(y) if y.sum() > 0 else -self.fc(y)


@odd("no: float16")
def half() -> nn.Module:
    return Net().half()


@odd("no: float64")
def double() -> nn.Module:
    return Net().double()


@odd("no: hook")
def hook_on_the_whole() -> nn.Module:
    net = Net()
    net.register_forward_hook(lambda _, __, logits: logits * 2)
    return net


@odd("no: hook|anew")
def forward_of_its_own() -> nn.Module:
    net = Net()
    net.forward = lambda x: 3 * Net.forward(net, x)  # type: ignore[method-assign]
    return net


@odd("pool")
def hook_on_the_head() -> nn.Module:
    net = Net()
    net.fc.register_forward_hook(lambda _, __, logits: logits * 2)
    return net


@pytest.mark.parametrize("name", ODD)
def test_each_is_the_network_bitwise_or_refused_by_what_is_in_the_way(name: str) -> None:
    build, answer = ODD[name]
    torch.manual_seed(0)
    model = build().eval()
    if name == "dropout_left_on":
        model.fc[0].train()
    if answer.startswith("no: "):
        with pytest.raises(SplitError, match=answer.removeprefix("no: ")) as refused:
            check_answers(model, SHAPE) and resolve(model, PENULTIMATE)
        assert "\n" not in str(refused.value)
        return
    check_answers(model, SHAPE)
    assert resolve(model, PENULTIMATE) == answer
    compare(model, answer)


@torch.inference_mode()
def compare(model: nn.Module, placement: str) -> None:
    """That the parts are the network bitwise, for batches of every size, and leave what they are given."""
    stem, tail = split(model, placement)
    known = model._orig_mod if hasattr(model, "_orig_mod") else model
    for count in (1, 2, 5):
        x = torch.randn(count, *SHAPE)
        activation = stem(x)
        before = activation.clone()
        assert torch.equal(tail(activation), known(x))
        assert torch.equal(activation, before)


FAST = {
    "plain_subclass": True,
    "product": True,
    "added": True,
    "identity_behind": True,
    "weight_normed": True,
    "SizeAtTheEnd": True,
    "cosine": False,
    "distances": False,
    "doubled": False,
    "hook_on_the_head": False,
    "DividedHead": False,
}


@pytest.mark.parametrize("name", FAST)
def test_the_fast_path_gives_the_scores_of_the_network(name: str) -> None:
    torch.manual_seed(0)
    model = ODD[name][0]().eval()
    stem, tail = split(model, PENULTIMATE)
    with torch.inference_mode():
        x = stem(torch.randn(40, *SHAPE))
    assert (linear_tail(tail, tuple(x.shape[1:])) is not None) == FAST[name]
    assert next(cut.linear for cut in cuts(model, SHAPE) if cut.penultimate) == FAST[name]
    methods = parse_methods("energy,ash_s@60,ash_b@50,ash_p@30:max_logit")
    result = sweep(tail, x.numpy(), {}, methods)
    for method, scores, classes in zip(methods, result.id_scores, result.id_predictions, strict=True):
        with torch.inference_mode():
            logits = tail(method.shape(x))
        np.testing.assert_allclose(
            scores, ash.energy(logits) if method.score == "energy" else logits.amax(1), rtol=1e-4
        )
        np.testing.assert_array_equal(classes, logits.argmax(1))


def test_a_linear_layer_that_is_more_than_its_weight_is_asked_itself(caplog: pytest.LogCaptureFixture) -> None:
    x = torch.randn(30, WIDTH)
    for layer in (Doubled(WIDTH, CLASSES), weight_norm(nn.Linear(WIDTH, CLASSES))):
        layer.eval()
        if not isinstance(layer, Doubled):
            layer.weight_g.data *= 3  # its weight is computed anew at the next call
        with torch.inference_mode():
            want = ash.energy(layer(x))
        result = sweep(layer, x.numpy(), {}, parse_methods("energy"))
        np.testing.assert_allclose(result.id_scores[0], want, rtol=1e-4)
    assert "something else than its matrix" in caplog.text


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_head_of_half_precision_is_not_computed_in_another(dtype: torch.dtype) -> None:
    class Casting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(WIDTH, CLASSES).to(dtype)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x.to(dtype))

    for tail in (fx.symbolic_trace(Casting().eval()), nn.Linear(WIDTH, CLASSES).to(dtype)):
        x = torch.rand(20, WIDTH)
        assert linear_tail(tail) is None
        method = parse_methods("ash_s@40")[0]
        with torch.inference_mode():
            want = ash.energy(tail(method.shape(x).to(dtype)).float())
        np.testing.assert_allclose(sweep(tail, x.numpy(), {}, [method]).id_scores[0], want, rtol=1e-5)


@pytest.mark.parametrize(("scale", "shift"), [(10.0, 0.0), (1 / 3, 1.5)])
def test_constants_behind_the_head_are_part_of_its_matrix(scale: float, shift: float) -> None:
    class Scaled(Net):
        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.features(x)) * scale / 2 - shift

    model = Scaled().eval()
    found = linear_tail(split(model, PENULTIMATE)[1])
    assert found is not None
    torch.testing.assert_close(found.weight, model.fc.weight.detach() * scale / 2)
    torch.testing.assert_close(found.bias, model.fc.bias.detach() * scale / 2 - shift)


@pytest.mark.parametrize("share", [0.2, 1e-9, 0.0])
def test_seldom_random_is_random(share: float) -> None:
    """Random numbers that change the logits in few passes, or in hardly any."""

    class Seldom(Net):
        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.features(x)) + seldom(x, share)

    for seed in range(4):
        torch.manual_seed(seed)
        with pytest.raises(SplitError, match=r"draws .*`rand` \(test_odd_networks.py:\d+\)"):
            check_answers(Seldom().eval(), SHAPE)


@fx.wrap
def seldom(x: Tensor, share: float) -> Tensor:
    return (torch.rand(()) < share) * torch.ones(())


@pytest.mark.parametrize("name", ["log_softmax", "softmax", "sigmoid", "hardsigmoid"])
def test_probabilities_are_no_logits(name: str) -> None:
    """The energy of a log-softmax is 0 for every image: its AUROC would be that of rounding."""

    class Ending(Net):
        def forward(self, x: Tensor) -> Tensor:
            logits = super().forward(x)
            return getattr(F, name)(logits, 1) if "softmax" in name else getattr(F, name)(logits)

    with pytest.raises(SplitError, match=f"{name.replace('_', '-').removeprefix('hard')}.* instead of logits"):
        check_answers(Ending().eval(), SHAPE)


@pytest.mark.parametrize("after", [0, 50])
def test_a_network_that_changes_its_buffers_is_not_fixed(after: int) -> None:
    """Also where a few images do not show it yet; a buffer that the first run fills is none of that kind."""

    class Counting(Net):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.seen.add_(1)
            return super().forward(x) * (1 + (self.seen > after).float())

    class Filling(Net):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("filled", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.filled.fill_(1)
            return super().forward(x)

    with pytest.raises(SplitError, match=r"eval mode.*" if after == 0 else "buffer `seen`"):
        check_answers(Counting().eval(), SHAPE)
    check_answers(Filling().eval(), SHAPE)


@pytest.mark.parametrize("own", [True, False])
def test_random_numbers_that_are_the_same_at_every_call_are_fixed(own: bool) -> None:
    class Seeded(Net):
        def forward(self, x: Tensor) -> Tensor:
            return self.fc(F.dropout(self.features(x) + seeded(x, own), training=self.training))

    check_answers(Seeded().eval(), SHAPE)


@fx.wrap
def seeded(x: Tensor, own: bool) -> Tensor:
    generator = torch.Generator().manual_seed(1) if own else torch.manual_seed(1)
    return torch.randn(WIDTH, generator=generator)


def test_a_generator_of_its_own_that_is_not_seeded_again_is_random() -> None:
    class Going(Net):
        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.features(x)) + going_on(x)

    with pytest.raises(SplitError, match=r"draws .*`bernoulli_?`"):
        check_answers(Going().eval(), SHAPE)


GENERATOR = torch.Generator().manual_seed(1)


@fx.wrap
def going_on(x: Tensor) -> Tensor:
    return torch.bernoulli(torch.full((), 1e-9), generator=GENERATOR)


PREFIXES = ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("build", [Net, PartCalledModule])
def test_prefixes_of_wrappers_are_taken_off_where_the_names_fit_then(
    build: Callable[[], nn.Module], prefix: str, tmp_path: Path
) -> None:
    trained, fresh = build(), build()
    torch.save({prefix + name: value for name, value in trained.state_dict().items()}, tmp_path / "w.pt")
    load_weights(fresh, tmp_path / "w.pt")
    assert all(map(torch.equal, trained.state_dict().values(), fresh.state_dict().values()))


def test_a_weight_that_is_there_with_and_without_prefix_is_refused(tmp_path: Path) -> None:
    state = Net().state_dict()
    torch.save({**state, "module.fc.bias": state["fc.bias"] + 1}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"module\.fc\.bias .* is not in the network"):
        load_weights(Net(), tmp_path / "w.pt")


LINKS = {  # how many placements, a hash of their names in order, the penultimate one: links to views name them
    "demo": (13, "3698ed1728b3", "avgpool"),
    "resnet50": (38, "c3df9f1dbeda", "avgpool"),
    "mobilenet_v2": (72, "bcdc5416ef83", "adaptive_avg_pool2d"),
    "densenet101_cifar10": (61, "2548ae8e6afc", "avgpool"),
    "densenet101_cifar100": (61, "2548ae8e6afc", "avgpool"),
    "alexnet": (21, "4b55c067ddd0", "classifier.5"),
    "convnext_tiny": (39, "4e724bab51ac", "classifier.0.permute_1"),
    "efficientnet_b0": (78, "b2904b45f27e", "avgpool"),
    "googlenet": (26, "517ee5659b3a", "avgpool"),
    "mnasnet1_0": (71, "3ab306ce986c", "mean"),
    "regnet_y_400mf": (37, "668b4a3f6412", "avgpool"),
    "shufflenet_v2_x1_0": (40, "c7217850d9a4", "mean"),
    "squeezenet1_1": (33, "a2a93c7a7bb7", "features.12.cat"),
    "swin_t": (40, "515c60a7bfba", "avgpool"),
    "vit_b_16": (31, "e89590baed1e", "getitem_5"),
}


@pytest.mark.parametrize("name", LINKS)
def test_placements_keep_their_names(name: str) -> None:
    found = cuts_of(name)
    names = " ".join(cut.name for cut in found)
    (last,) = (cut.name for cut in found if cut.penultimate)
    assert (len(found), hashlib.sha256(names.encode()).hexdigest()[:12], last) == LINKS[name]
    assert math.prod(next(cut.shape for cut in found if cut.penultimate)) > 1
