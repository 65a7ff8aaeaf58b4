"""What the explorer knows about one network: how to build it, feed it, and where to cut it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ash import shipped
from ash.files import expand
from ash.images import MAX_PIXELS, ImageError
from ash.networks.checkpoints import (
    ModelError,
    checksum_path,
    damage,
    find_weights,
    load_weights,
    not_as_fetched,
    own_weights_hash,
    weights_hash,
)
from ash.networks.several import called

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import nn
    from torchvision.transforms import Compose

    from ash.features.folder import Features

PENULTIMATE = "penultimate"  # alias, for every model: the tensor that enters the last layer with weights
_CHECKED: "set[Callable[[], nn.Module]]" = set()  # what builds networks that are known to answer
_SMALLEST, _LARGEST = 2.0**-126, 2.0**127  # of what 32 bits hold in full precision


@dataclass(frozen=True, repr=False)
class Preprocess:
    """Image -> normalised tensor (channels, crop, crop): the shorter side to `resize`, then the centre.

    `squash`: both sides become `resize`, whatever the image's shape. Its repr is part of a bank's identity, so a field
    that is added later is printed only where it is not its default.
    """

    resize: int
    crop: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    squash: bool = False

    def __post_init__(self) -> None:
        if len(self.mean) not in (1, 3) or len(self.std) != len(self.mean):
            raise ModelError(f"A preprocess has 1 or 3 means and as many std, not {self.mean} and {self.std}.")
        if not all(_SMALLEST <= std <= _LARGEST for std in self.std) or not all(map(math.isfinite, self.mean)):
            raise ModelError(
                "What pixels are divided by, std, is above 0 and finite, in 32 bits too: "
                f"{', '.join(map(str, self.std))}; mean {', '.join(map(str, self.mean))}."
            )
        if self.resize < 1 or self.crop < 1:
            raise ModelError(f"resize and crop are 1 or more pixels, not {self.resize} and {self.crop}.")

    def __repr__(self) -> str:
        more = "" if self.interpolation == "bilinear" else f", interpolation={self.interpolation!r}"
        more += ", squash=True" if self.squash else ""
        return f"Preprocess(resize={self.resize}, crop={self.crop}, mean={self.mean}, std={self.std}{more})"

    def build(self) -> "Compose":
        """The torchvision transform, from a PIL image of any mode; ImageError where it would become too large."""
        from ash.networks.vision import transforms

        size = (self.resize, self.resize) if self.squash else self.resize
        return transforms.Compose(
            [
                *([] if self.squash else [_Bounded(self.resize)]),
                transforms.Grayscale(len(self.mean)) if len(self.mean) == 1 else _to_rgb,
                transforms.Resize(size, transforms.InterpolationMode(self.interpolation)),
                transforms.CenterCrop(self.crop),
                transforms.ToTensor(),
                transforms.Normalize(self.mean, self.std),
            ]
        )

    @property
    def takes_images(self) -> bool:
        """Whether images become inputs; not so where the inputs are features."""
        return True

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of one input."""
        return len(self.mean), self.crop, self.crop


@dataclass(frozen=True)
class _Bounded:
    """The image itself; ImageError where it has more than MAX_PIXELS once its shorter side is `resize`."""

    resize: int

    def __call__(self, image: "Image") -> "Image":
        longer = round(self.resize * max(image.size) / min(image.size))
        if self.resize * longer > MAX_PIXELS:
            raise ImageError(
                f"{image.width:,} x {image.height:,} pixels become {self.resize:,} x {longer:,} in the network's "
                f"preprocessing, more than {MAX_PIXELS / 1e6:g} million."
            )
        return image


def _to_rgb(image):  # type: ignore[no-untyped-def]  # PIL image in, PIL image out
    return image.convert("RGB")


@dataclass(frozen=True)
class ModelEntry:
    """A network by name.

    `architecture` builds it without weights. `placements` maps node names to display names in network order, the
    penultimate one last; `deep_placements` are those whose tail is more than one linear map, and `sizes` are the
    numbers of values that an image has at them, stated so that nobody has to trace the network to know. `presets`
    maps a label to a method; `id_set` and `ood_sets` name the data it is explored with, `train_set` the set that
    methods are fitted on, "" where none is known. `react_threshold` is ReAct's constant; `dice_percentile` DICE's
    share of weights to drop, None where none is known; `odin_epsilon` how far ODIN moves normalised pixels, 0 for
    not at all. `url` is the public address of its weights, "" where there is none, and `url_hash` the first digits
    of that file's SHA-256; `shipped` says that its weights are those of assets/demo, and `bundled` is the file
    there that is used where the user has none; `checkpoint` is the file to use instead of the one that `weights`
    finds, and `checkpoints` are all where the network comes in several (of one folder, say). `paper_name` says
    which network of `ash.paper` it is, "" for none of them: numbers of another network are never compared with the
    paper's.
    `note` says what else to know.

    Of a network of the user's: `source` is the plug-in's file; `trained` says that `architecture` gives it with its
    weights, so that there is no file of them; `traced` False, that `get_model` has to look for its placements.
    `features` is the folder that a network without images is made of.
    """

    name: str
    label: str
    architecture: "Callable[[], nn.Module]"
    preprocess: Preprocess
    class_names: tuple[str, ...] | Callable[[], tuple[str, ...]]
    id_set: str
    ood_sets: tuple[str, ...]
    placements: dict[str, str]
    deep_placements: tuple[str, ...] = ()
    sizes: dict[str, int] = field(default_factory=dict)
    presets: dict[str, str] = field(default_factory=dict)
    react_threshold: float = 1.0
    dice_percentile: float | None = None
    odin_epsilon: float = 0.0
    train_set: str = ""
    url: str = ""
    url_hash: str = ""
    shipped: bool = False
    bundled: Path | None = None
    checkpoint: Path | None = None
    checkpoints: tuple[Path, ...] = ()
    paper_name: str = ""
    note: str = ""
    source: Path | None = None
    trained: bool = False
    traced: bool = True
    features: "Features | None" = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes in label order."""
        return self.class_names() if callable(self.class_names) else self.class_names

    @property
    def penultimate(self) -> str:
        """The node name of the penultimate placement."""
        return list(self.placements)[-1]

    @property
    def penultimate_size(self) -> int:
        """The number of values that enter the head, 0 where nobody has stated it."""
        return self.sizes.get(self.penultimate, 0)

    def node(self, placement: str) -> str:
        """The node name of a placement, which may be `penultimate`."""
        return self.penultimate if placement == PENULTIMATE else placement

    @property
    def weights(self) -> Path:
        """Where the weights are or, when there are none yet, belong; of a trained one, the file that makes them."""
        if named := self.checkpoint or (self.source if self.trained else None):
            return named
        found = find_weights(self.name, self.url, self.url_hash)
        return self.bundled if self.bundled and not found.is_file() else found

    @property
    def present(self) -> bool:
        """Whether there are weights: a file, which is not read, or the network's own."""
        return self.brings_weights or self.weights.is_file()

    @property
    def brings_weights(self) -> bool:
        """Whether the network is built with its weights, and no file is read."""
        return self.trained and self.checkpoint is None

    def with_checkpoint(self, path: Path | str, among: tuple[Path, ...] = ()) -> "ModelEntry":
        """The same network with the weights of a file, one `among` several; it is read when the network is built."""
        return replace(self, checkpoint=expand(path), checkpoints=among, shipped=False)

    @cached_property
    def each(self) -> dict[str, "ModelEntry"]:
        """What a checkpoint is called -> the network with it; the network itself as "" where it has not several."""
        if len(self.checkpoints) < 2:
            return {"": self}
        files = zip(called(self.checkpoints), self.checkpoints, strict=True)
        return {name: self.with_checkpoint(path, self.checkpoints) for name, path in files}

    @property
    def checkpoint_names(self) -> tuple[str, ...]:
        """What its checkpoints are called; () where it has not several."""
        return tuple(name for name in self.each if name)

    def hashes(self) -> dict[str, str]:
        """What a checkpoint is called -> SHA-256 of its file; none where there are not several. ModelError."""
        return {name: self.each[name].weights_hash() for name in self.checkpoint_names}

    def weights_hash(self) -> str:
        """SHA-256 of the weights file, or of the weights that the network brings.

        ModelError when it is not there, or not as it ships or was fetched.
        """
        if self.brings_weights:
            return own_weights_hash(self.architecture)
        path = self._found()
        found = weights_hash(path)
        if wrong := self._complaint(path, found):
            raise ModelError(wrong)
        return found

    def fault(self, checkpoint: str = "") -> str:
        """What is wrong with weights that are there, of one of its checkpoints or of any, in a sentence; "" for
        nothing."""
        if not self.present or self.brings_weights:
            return ""
        try:
            for one in [self.each[checkpoint]] if checkpoint else self.each.values():
                one.weights_hash()
        except ModelError as error:
            return str(error)
        return ""

    def has_published_weights(self) -> bool:
        """Whether its weights are the file that `url` names, by the digits of its hash or, where none are known, by the
        checksum that its fetch has left; ModelError as `weights_hash`."""
        found = self.weights_hash()
        if self.url_hash:
            return found.startswith(self.url_hash)
        return bool(self.url) and checksum_path(self.weights).is_file()

    def _complaint(self, path: Path, sha256: str) -> str:
        """Why these are not the weights that ship or were fetched; of a file of the user's own, that it is damaged."""
        if (self.shipped or path == self.bundled) and path.is_relative_to(shipped.FOLDER):
            return shipped.complaint(path, sha256)
        return damage(path) if self.checkpoint else not_as_fetched(path, sha256, self.url_hash)

    def build(self) -> "nn.Module":
        """The network in eval mode with its weights; ModelError when the file is missing, damaged or another's.

        The first time it is run on a few images of noise: SplitError when it does not answer the same image the same.
        """
        from ash.networks.answers import check_answers
        from ash.networks.outputs import unwrapped

        path = None if self.brings_weights else self._found()
        sha256 = "" if path is None else self.weights_hash()
        model = unwrapped(self.architecture())
        if path is not None:
            load_weights(model, path, sha256)
        model = model.eval().requires_grad_(False)
        if self.architecture not in _CHECKED:
            check_answers(model, self.preprocess.shape)
            _CHECKED.add(self.architecture)
        return model

    def _found(self) -> Path:
        """The weights file; ModelError says how to get it. A file named by the user is checked when it is read."""
        path = self.weights
        if self.checkpoint is None and not path.is_file():
            where = f"run `python -m ash fetch {self.name}`, or put them" if self.url else "put them"
            raise ModelError(f"The weights of {self.label} are missing: {where} at {path}, or name a checkpoint.")
        return path
