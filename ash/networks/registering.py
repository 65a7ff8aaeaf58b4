"""The registry of networks, and the decorator that fills it: for the library's own networks as for the user's."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ash.files import expand
from ash.networks import torchvision_models
from ash.networks.checkpoints import ModelError
from ash.networks.entries import ModelEntry, Preprocess
from ash.plugins import Registry, running

if TYPE_CHECKING:
    from torch import nn

MODELS: Registry[ModelEntry] = Registry("model")  # the curated ones, and those of plug-ins
_NAME = re.compile(r"[a-zA-Z0-9_][\w.+-]{0,60}", re.ASCII)
Architecture = Callable[[], "nn.Module"]


def register_model(
    name: str,
    *,
    label: str,
    preprocess: Preprocess,
    classes: Sequence[str] | Callable[[], tuple[str, ...]],
    id_set: str,
    ood_sets: Sequence[str],
    weights: Path | str | None = None,
    url: str = "",
    output: str | int | None = None,
    placements: Mapping[str, str] | None = None,
    deep_placements: Sequence[str] | None = None,
    presets: Mapping[str, str] | None = None,
    **facts: Any,
) -> Callable[[Architecture], Architecture]:
    """Decorator: make the network that a function builds known by a name, to the library and in the explorer.

    `weights` is the file of its state_dict (relative: beside the plug-in), `url` a public address to fetch it from;
    without either, the function returns the network with its weights. `classes` are in label order, one for each logit;
    data sets are named as in `ash.data`. `output` says which part of what the network returns are its logits, where
    that is no tensor and no part is called `logits`: a key, an attribute or a position. Placements that are not stated
    are found when the network is first needed. `facts` are the other fields of a ModelEntry: `train_set`, `note`, ...
    ModelError, TypeError for what cannot be.
    """
    if not _NAME.fullmatch(name):
        raise ModelError(f"'{name}' cannot name a model: letters without accents, digits, '_', '.', '+' and '-'.")
    if not isinstance(preprocess, Preprocess):
        raise ModelError(f"The preprocess of '{name}' is an ash.Preprocess, not {type(preprocess).__name__}.")
    for given in (classes, ood_sets):
        if isinstance(given, str):
            raise ModelError(f"The classes and the OOD sets of '{name}' are lists of names, not '{given}'.")

    def register(architecture: Architecture) -> Architecture:
        source = running()
        if source is not None and name in torchvision_models.names_in_source():
            raise ModelError(f"There is a model '{name}' of torchvision: give yours another name.")
        entry = ModelEntry(
            name=name,
            label=label,
            architecture=architecture
            if _is_ours(architecture)
            else partial(_network, architecture, output, preprocess),
            preprocess=preprocess,
            class_names=classes if callable(classes) else tuple(classes),
            id_set=id_set,
            ood_sets=tuple(ood_sets),
            placements=dict(placements or {}),
            deep_placements=tuple(deep_placements or ()),
            presets=dict(torchvision_models.USUAL_PRESETS if presets is None else presets),
            checkpoint=_beside(weights, source),
            url=url,
            source=source,
            trained=weights is None and not url,
            traced=placements is not None and deep_placements is not None,
            **facts,
        )
        MODELS.add(name, entry)
        return architecture

    return register


def _is_ours(architecture: Architecture) -> bool:
    """Whether a function is the library's own, whose networks are as they are used."""
    module = getattr(getattr(architecture, "func", architecture), "__module__", "")
    return module.startswith(("ash.networks.", "ash.features."))


def _network(architecture: Architecture, output: str | int | None, preprocess: Preprocess) -> "nn.Module":
    """A user's network as it is used: its logits named, and float32 where its weights are too short for the images."""
    from ash.networks.outputs import name_output
    from ash.networks.precision import widened

    network = architecture()
    if output is not None:
        name_output(network, output)
    return widened(network, preprocess.shape)


def _beside(weights: Path | str | None, source: Path | None) -> Path | None:
    """A file that a plug-in names: relative to the plug-in."""
    if weights is None:
        return None
    path = expand(weights)
    return source.parent / path if source else path
