"""The networks that the explorer knows by name: how to build one, feed it, and where to cut it."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ash.data import ASSETS, file_hash

if TYPE_CHECKING:
    from torch import nn
    from torchvision.transforms import Compose

FASHION_CLASSES = (
    "T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


class ModelError(ValueError):
    """A model is unknown, or its weights are missing or another network's; the message says what to do."""


@dataclass(frozen=True)
class Preprocess:
    """Image -> normalised tensor (channels, crop, crop). Its repr is part of a bank's identity."""

    resize: int
    crop: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def build(self) -> "Compose":
        """The torchvision transform, from a PIL image of any mode."""
        from torchvision import transforms

        return transforms.Compose(
            [
                transforms.Grayscale(len(self.mean)) if len(self.mean) == 1 else _to_rgb,
                transforms.Resize(self.resize),
                transforms.CenterCrop(self.crop),
                transforms.ToTensor(),
                transforms.Normalize(self.mean, self.std),
            ]
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one input."""
        return len(self.mean), self.crop, self.crop


def _to_rgb(image):  # type: ignore[no-untyped-def]  # PIL image in, PIL image out
    return image.convert("RGB")


@dataclass(frozen=True)
class ModelEntry:
    """A curated network.

    `architecture` builds it without weights, `weights` is its state_dict file; `placements` maps node names to display
    names in network order, the paper's placement last; `deep_placements` are those whose tail is more than one linear
    map, stated here so that nobody has to trace the network to know; `presets` maps a label to a method; `id_set` and
    `ood_sets` name the data it is explored with.
    """

    name: str
    label: str
    architecture: "Callable[[], nn.Module]"
    weights: Path
    preprocess: Preprocess
    classes: tuple[str, ...]
    placements: dict[str, str]
    id_set: str
    ood_sets: tuple[str, ...]
    presets: dict[str, str] = field(default_factory=dict)
    react_threshold: float = 1.0
    deep_placements: tuple[str, ...] = ()

    def weights_hash(self) -> str:
        """SHA-256 of the weights file; ModelError when it is not there."""
        if not self.weights.is_file():
            raise ModelError(f"{self.label}: the weights {self.weights.name} are missing from {self.weights.parent}.")
        return file_hash(self.weights)

    def build(self) -> "nn.Module":
        """The network in eval mode with its weights; ModelError when the file is missing or another network's."""
        model = self.architecture()
        load_weights(model, self.weights)
        return model.eval().requires_grad_(False)


def load_weights(model: "nn.Module", path: Path) -> None:
    """Load a checkpoint (`state_dict`, `{"state_dict": ...}`, `module.` prefixes) strictly and without running code."""
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError(f"There is no checkpoint {path}.") from None
    except Exception as error:  # unpickling raises many kinds
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{path} is not a checkpoint that loads with weights_only=True: {reason}") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ModelError(f"{path} holds no state_dict: save one with torch.save(model.state_dict(), ...).")
    state = {name.removeprefix("module."): value for name, value in state.items()}
    wrong = _mismatches({name: tuple(value.shape) for name, value in state.items()}, model)
    if wrong:
        raise ModelError(f"{path} is not a checkpoint of {type(model).__name__}: {'; '.join(wrong[:3])}.")
    model.load_state_dict(state)


def _mismatches(given: dict[str, tuple[int, ...]], model: "nn.Module") -> list[str]:
    """What keeps a state_dict from loading strictly, one sentence a name, shapes first."""
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    optional = {name for name in wanted if name.endswith("num_batches_tracked")}
    both = [name for name in wanted if name in given and given[name] != wanted[name]]
    shapes = [f"{name} has the shape {given[name]}, expected {wanted[name]}" for name in both]
    missing = [f"{name} is missing" for name in wanted if name not in given and name not in optional]
    return shapes + missing + [f"{name} is not in the network" for name in given if name not in wanted]


MODELS: dict[str, ModelEntry] = {}


def register_model(entry: ModelEntry) -> ModelEntry:
    """Make a model known by its name."""
    MODELS[entry.name] = entry
    return entry


def get_model(name: str) -> ModelEntry:
    """A model's entry by name; ModelError names the nearest one."""
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(MODELS)}."
        raise ModelError(f"There is no model '{name}': {hint}")
    return MODELS[name]


def _demo_network() -> "nn.Module":
    from ash.networks import DemoNet

    return DemoNet()


register_model(
    ModelEntry(
        name="demo",
        label="Small ResNet on Fashion-MNIST",
        architecture=_demo_network,
        weights=ASSETS / "demo" / "weights.pt",
        preprocess=Preprocess(resize=28, crop=28, mean=(0.2860,), std=(0.3530,)),
        classes=FASHION_CLASSES,
        deep_placements=("layer3.0.relu2",),
        placements={"layer3.0.relu2": "Third block", "layer4.0.relu2": "Last block", "avgpool": "Penultimate layer"},
        id_set="fashion_mnist",
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
    )
)
