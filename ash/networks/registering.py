"""The registry of networks, and the decorator that fills it: for the library's own networks as for the user's."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ash.files import expand
from ash.networks import torchvision_models
from ash.networks.checkpoints import ModelError
from ash.networks.entries import ModelEntry, Preprocess
from ash.networks.several import weights_files
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
    weights: Path | str | Sequence[Path | str] | None = None,
    url: str = "",
    output: str | int | None = None,
    placements: Mapping[str, str] | None = None,
    deep_placements: Sequence[str] | None = None,
    presets: Mapping[str, str] | None = None,
    **facts: Any,
) -> Callable[[Architecture], Architecture]:
    """Decorator: make the network that a function builds known by a name, to the library and in the explorer.

    `weights` is the file of its state_dict (relative: beside the plug-in), `url` a public address to fetch it from;
    without either, the function returns the network with its weights. Of a network that was trained several times it is
    a folder of such files, a pattern or a list: there is a deviation over them then. `classes` are in label order, one
    for each logit; data sets are named as in `ash.data`. `output` says which part of what the network returns are its
    logits, where that is no tensor and no part is called `logits`: a key, an attribute or a position. Placements that
    are not stated are found when the network is first needed. `facts` are the other fields of a ModelEntry:
    `train_set`, `note`, ...
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
        files, several = _files(weights, source)
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
            checkpoint=files[0] if files else None,
            checkpoints=files if several else (),
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


def _files(weights: Path | str | Sequence[Path | str] | None, source: Path | None) -> tuple[tuple[Path, ...], bool]:
    """The files that a plug-in names, relative ones beside it, and whether it names them as several checkpoints.

    A folder that is still empty is its own file: it is missing when the network is needed.
    """
    if weights is None:
        return (), False
    named = [weights] if isinstance(weights, Path | str) else weights
    given = tuple(source.parent / expand(one) if source else expand(one) for one in named)
    if not given:
        raise ModelError("The list of weights is empty: name a file or more, or a folder of them.")
    with suppress(ModelError):
        found = weights_files(given)
        return found, found != given or len(found) > 1
    return given, False
