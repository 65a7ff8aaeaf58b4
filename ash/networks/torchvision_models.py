"""Any torchvision classifier by its registry name: weights, transform, classes and placements found by themselves."""

import ast
import re
from contextlib import suppress
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ash.networks.checkpoints import ModelError
from ash.networks.entries import ModelEntry, Preprocess
from ash.networks.tracing import default_placements, facts_of

if TYPE_CHECKING:
    from torch import nn

IMAGENET = "imagenet"
IMAGENET_OOD = ("inaturalist", "sun", "places", "dtd")
IMAGENET_SIZE = Preprocess(256, 224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
FIRST_CHOICE = "IMAGENET1K_V1"  # V2 weights have other feature statistics than the paper's
OTHER_TASKS = {
    "detection": "object detection",
    "segmentation": "segmentation",
    "video": "video",
    "optical_flow": "optical flow",
    "quantization": "quantized inference",
}
USUAL_PRESETS = {  # of networks for which the paper has none
    "Energy, unshaped": "energy",
    "ASH-P @ 60, as for ResNet-50": "ash_p@60",
    "ASH-B @ 65, as for ResNet-50": "ash_b@65",
    "ASH-S @ 90, as for ResNet-50": "ash_s@90",
    "ReAct": "react@1.0",
}
WITH_WEIGHTS = {"transform_input": True, "aux_logits": True, "init_weights": False}


def torchvision_names() -> list[str]:
    """The names of torchvision's image classifiers."""
    from ash.networks.vision import torchvision

    return list(torchvision.models.list_models(module=torchvision.models))


def _sources() -> list[Path]:
    """The files of torchvision.models, to be read in milliseconds instead of the seconds that importing them takes."""
    spec = find_spec("torchvision")
    return [] if spec is None or spec.origin is None else sorted((Path(spec.origin).parent / "models").glob("*.py"))


_REGISTERED = re.compile(r"^@register_model\(\)$.*?^def (\w+)\(", re.MULTILINE | re.DOTALL)
_MAKES_NO_NETWORK = ("_api", "_meta", "_presets", "utils")  # registry, class names, transforms, logging


def names_in_source() -> list[str]:
    """The same names, read from torchvision's files."""
    return sorted(name for file in _sources() for name in _REGISTERED.findall(file.read_text()))


@cache
def sources_of(name: str) -> tuple[Path, ...]:
    """The files of torchvision that make a network, its own and what that imports; none where they are not found."""
    waiting = [file for file in _sources() if name in _REGISTERED.findall(file.read_text())]
    found: set[Path] = set()
    while waiting:
        file = waiting.pop()
        found.add(file)
        wanted = (_imported(file, node) for node in ast.walk(ast.parse(file.read_text())))
        waiting += [one for one in wanted if one and one not in found and one.stem not in _MAKES_NO_NETWORK]
    return tuple(sorted(found))


def _imported(file: Path, node: ast.AST) -> Path | None:
    """The file of torchvision that a statement of one of its files imports from."""
    if not isinstance(node, ast.ImportFrom) or not node.module:
        return None
    package, *inside = node.module.split(".")
    if node.level:
        folder, inside = file.parents[node.level - 1], [package, *inside]
    elif package == "torchvision":
        folder = next(parent for parent in file.parents if parent.name == package)
    else:
        return None
    path = folder.joinpath(*inside).with_suffix(".py")
    return path if path.is_file() else None


def label_of(name: str) -> str:
    """The display name of a torchvision classifier."""
    return f"{name} (torchvision)"


@cache
def imagenet_classes() -> tuple[str, ...]:
    """The 1,000 class names of ImageNet in label order: from torchvision's source, or by importing it."""
    written = re.compile(r"^_IMAGENET_CATEGORIES = (\[.*?^\])", re.MULTILINE | re.DOTALL)
    for file in _sources():
        if file.name == "_meta.py" and (found := written.search(file.read_text())):
            with suppress(ValueError, SyntaxError):
                return tuple(ast.literal_eval(found[1]))
    from ash.networks.vision import ResNet50_Weights

    return tuple(ResNet50_Weights.IMAGENET1K_V1.meta["categories"])


def weights_of(name: str) -> Any:
    """The published weights that a network is explored with: IMAGENET1K_V1 or, where there is none, the default."""
    from ash.networks.vision import get_model_weights

    published = get_model_weights(name)
    return published.__members__.get(FIRST_CHOICE, published.DEFAULT)


def url_hash(url: str) -> str:
    """The first digits of the SHA-256 that torchvision's file names end in, "" where there are none."""
    found = re.search(r"-([0-9a-f]{8,})\.pth$", url)
    return found[1] if found else ""


def build(name: str) -> "nn.Module":
    """A torchvision network without weights, built as torchvision builds it for its published weights."""
    from ash.networks.vision import get_model

    options: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        options = WITH_WEIGHTS
    elif name.startswith("vit_"):
        options = {"image_size": weights_of(name).meta["min_size"][0]}
    return get_model(name, weights=None, **options)


def find_entry(name: str) -> ModelEntry | None:
    """The entry of a torchvision classifier, None for a name that torchvision does not know.

    ModelError for its other networks, and for a classifier that cannot be fed or cut, with the reason.
    """
    from ash.networks.vision import torchvision

    if name in torchvision_names():
        return _entry(name)
    if name in torchvision.models.list_models():
        listed = torchvision.models.list_models
        task = next(OTHER_TASKS[part] for part in OTHER_TASKS if name in listed(getattr(torchvision.models, part)))
        raise ModelError(f"'{name}' is a torchvision network for {task}; only float image classifiers are cut.")
    return None


@cache
def _entry(name: str) -> ModelEntry:
    from ash.splitting import SplitError, cuts_of_architecture

    weights, architecture = weights_of(name), partial(build, name)
    preprocess = preprocess_of(name, weights.transforms())
    try:
        cuts = cuts_of_architecture(architecture, preprocess.shape)
    except SplitError as error:
        raise ModelError(f"{name} is not offered: {error}") from error
    places, penultimate = default_placements(name, cuts)
    sign = " Its penultimate activation may be negative, where ASH-B and ASH-S work by another mechanism."
    return ModelEntry(
        name=name,
        label=label_of(name),
        architecture=architecture,
        preprocess=preprocess,
        class_names=tuple(weights.meta["categories"]),
        id_set=IMAGENET,
        ood_sets=IMAGENET_OOD,
        **facts_of(cuts, places),
        presets=dict(USUAL_PRESETS),
        dice_percentile=70,
        url=weights.url,
        url_hash=url_hash(weights.url),
        note=f"torchvision's weights {weights.name}." + (sign if penultimate.signed is not False else ""),
    )


def preprocess_of(name: str, transform: Any) -> Preprocess:
    """A published transform as a Preprocess; ModelError where that would not give the same tensors."""
    resize, crop = (list(getattr(transform, field, ())) for field in ("resize_size", "crop_size"))
    way: Any = getattr(getattr(transform, "interpolation", None), "value", "")
    if len(resize) != 1 or len(crop) != 1 or way not in ("bilinear", "bicubic") or not transform.mean:
        raise ModelError(f"The transform of {name} is not one resize, centre crop and normalisation: {transform!r}.")
    return Preprocess(resize[0], crop[0], tuple(transform.mean), tuple(transform.std), way)
