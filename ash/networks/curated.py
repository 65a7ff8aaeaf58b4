"""The networks that come with the explorer: the demo's, and the paper's with its placements, percentiles and data."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ash.data import ASSETS
from ash.networks import torchvision_models
from ash.networks.entries import Preprocess
from ash.networks.registering import MODELS, register_model
from ash.networks.torchvision_models import IMAGENET, IMAGENET_OOD, IMAGENET_SIZE

if TYPE_CHECKING:
    from torch import nn

FASHION_CLASSES = (
    "T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
CIFAR100_CLASSES = (
    "apple", "aquarium fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
    "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
    "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest",
    "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn mower", "leopard", "lion", "lizard",
    "lobster", "man", "maple tree", "motorcycle", "mountain", "mouse", "mushroom", "oak tree", "orange", "orchid",
    "otter", "palm tree", "pear", "pickup truck", "pine tree", "plain", "plate", "poppy", "porcupine", "possum",
    "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper",
    "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet pepper", "table", "tank", "telephone",
    "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow tree", "wolf",
    "woman", "worm",
)  # fmt: skip
CIFAR_SIZE = Preprocess(32, 32, mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010))
PICTURES = ("patterns", "pages", "emoji", "clipart", "clipart_objects")  # from far to near
MOBILENET_PLACEMENTS = {"features.18.2": "Last features", "adaptive_avg_pool2d": "Penultimate layer"}
MOBILENET_SIZES = {"features.18.2": 62_720, "adaptive_avg_pool2d": 1280}
CIFAR_OOD = ("svhn", "lsun_c", "lsun_r", "isun", "places365", "dtd")
CIFAR_EPSILON = 0.0014  # Liang et al.'s for a DenseNet-BC on CIFAR-10, though they count in undivided pixels
DICE = (  # the repository of DICE (Sun and Li 2022, MIT), at the commit that added its checkpoints
    "https://raw.githubusercontent.com/deeplearning-wisc/dice/ca6c275c5e1948858a911ea40924d6d5c412aac2/checkpoints"
)


def _presets(p: int, b: int, s: int) -> dict[str, str]:
    """The paper's percentiles of a network, beside the baselines."""
    paper = {
        f"Paper: ASH-{variant} @ {q}": f"ash_{variant.lower()}@{q}" for variant, q in (("P", p), ("B", b), ("S", s))
    }
    return {"Energy, unshaped": "energy", **paper, "ReAct": "react@1.0"}


# The text of these functions is part of what a network's code is known by, so no settings stand with them.


def _demo_network() -> "nn.Module":
    from ash.networks.own import DemoNet

    return DemoNet()


def _densenet(classes: int) -> "nn.Module":
    from ash.networks.own import DenseNetBC

    return DenseNetBC(classes)


def _register_densenet(name: str, label: str, classes: tuple[str, ...], presets: dict[str, str], **facts: Any) -> None:
    register_model(
        f"densenet101_{name}",
        label=f"DenseNet-101 on {label}",
        paper_name=f"densenet101_{name}",
        preprocess=CIFAR_SIZE,
        classes=classes,
        id_set=name,
        placements={
            "trans1.relu": "First block",
            "trans2.relu": "Second block",
            "relu": "Last block",
            "avgpool": "Penultimate layer",
        },
        deep_placements=("trans1.relu", "trans2.relu"),
        sizes={"trans1.relu": 221_184, "trans2.relu": 76_800, "relu": 21_888, "avgpool": 342},
        presets=presets,
        dice_percentile=90,
        odin_epsilon=CIFAR_EPSILON,
        url=f"{DICE}/{label}/densenet/checkpoint_100.pth.tar",
        note="The weights are those published with DICE, in github.com/deeplearning-wisc/dice (MIT).",
        **facts,
    )(partial(_densenet, len(classes)))


register_model(
    "mobilenet_v2_photos",
    label="MobileNetV2 on photographs",
    weights=ASSETS / "demo" / "weights" / "mobilenet_v2_photos.pt",
    shipped=True,
    preprocess=replace(IMAGENET_SIZE, resize=224),
    classes=torchvision_models.imagenet_classes,
    id_set="photos",
    ood_sets=(*PICTURES, "dtd"),
    placements=MOBILENET_PLACEMENTS,
    deep_placements=(),
    sizes=MOBILENET_SIZES,
    presets={**_presets(60, 65, 90), "Here: ASH-S @ 75": "ash_s@75"},
    dice_percentile=70,
    odin_epsilon=0.03,
    note="torchvision's quantised weights (BSD-style), turned back into float16: near the paper's, not the same.",
)(partial(torchvision_models.build, "mobilenet_v2"))
_register_densenet(
    "cifar10",
    "CIFAR-10",
    CIFAR10_CLASSES,
    _presets(90, 95, 95),
    ood_sets=(*CIFAR_OOD, *PICTURES),
    url_hash="deaefd08",
    bundled=ASSETS / "demo" / "weights" / "densenet101_cifar10.pth",
)
register_model(
    "demo",
    label="Small ResNet on Fashion-MNIST",
    weights=ASSETS / "demo" / "weights.pt",
    shipped=True,
    preprocess=Preprocess(resize=28, crop=28, mean=(0.2860,), std=(0.3530,)),
    classes=FASHION_CLASSES,
    deep_placements=("layer3.0.relu2",),
    placements={"layer3.0.relu2": "Third block", "layer4.0.relu2": "Last block", "avgpool": "Penultimate layer"},
    sizes={"layer3.0.relu2": 3136, "layer4.0.relu2": 3072, "avgpool": 192},
    id_set="fashion_mnist",
    train_set="fashion_mnist_train",
    dice_percentile=90,  # as for CIFAR
    odin_epsilon=0.005,  # as for ResNet-50: neither was chosen by looking at the OOD sets
    ood_sets=("noise", "textures", "digits", "letters", "photographs", "chimeras"),
    presets={
        "Energy, unshaped": "energy",
        "Paper: ASH-P @ 60": "ash_p@60",
        "Paper: ASH-B @ 65": "ash_b@65",
        "Paper: ASH-S @ 90": "ash_s@90",
        "Demo: ASH-B @ 80": "ash_b@80",
        "Demo: ASH-S @ 65": "ash_s@65",
        "ReAct": "react@1.0",
    },
)(_demo_network)
register_model(
    "resnet50",
    label="ResNet-50 on ImageNet",
    paper_name="resnet50",
    preprocess=IMAGENET_SIZE,
    classes=torchvision_models.imagenet_classes,
    id_set=IMAGENET,
    ood_sets=IMAGENET_OOD,
    placements={
        "layer3.5.relu_2": "Third block, last convolution",
        "layer4.2.relu_2": "Last block",
        "avgpool": "Penultimate layer",
    },
    deep_placements=("layer3.5.relu_2",),
    sizes={"layer3.5.relu_2": 200_704, "layer4.2.relu_2": 100_352, "avgpool": 2048},
    presets=_presets(60, 65, 90),
    dice_percentile=70,
    odin_epsilon=0.005,
    url="https://download.pytorch.org/models/resnet50-0676ba61.pth",
    url_hash="0676ba61",
    note="torchvision's weights IMAGENET1K_V1, as in the paper; V2 has other feature statistics.",
)(partial(torchvision_models.build, "resnet50"))
register_model(
    "mobilenet_v2",
    label="MobileNetV2 on ImageNet",
    paper_name="mobilenet_v2",
    preprocess=IMAGENET_SIZE,
    classes=torchvision_models.imagenet_classes,
    id_set=IMAGENET,
    ood_sets=IMAGENET_OOD,
    placements=MOBILENET_PLACEMENTS,
    deep_placements=(),
    sizes=MOBILENET_SIZES,
    presets=_presets(60, 65, 90),
    dice_percentile=70,
    odin_epsilon=0.03,
    url="https://download.pytorch.org/models/mobilenet_v2-b0353104.pth",
    url_hash="b0353104",
    note="torchvision's weights IMAGENET1K_V1, as in the paper; V2 has other feature statistics.",
)(partial(torchvision_models.build, "mobilenet_v2"))
_register_densenet("cifar100", "CIFAR-100", CIFAR100_CLASSES, _presets(80, 85, 90), ood_sets=CIFAR_OOD)
MODELS.seal()
