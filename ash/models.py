"""The networks that the explorer knows by name: the curated ones, the user's, all of torchvision's and timm's."""

import difflib
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ash.data import dataset_entry
from ash.files import expand
from ash.methods import Method
from ash.networks import curated as curated  # they register themselves
from ash.networks import timm_models, torchvision_models
from ash.networks.checkpoints import SUFFIXES, ModelError, checkpoints_root
from ash.networks.entries import ModelEntry, Preprocess
from ash.networks.registering import MODELS, register_model
from ash.networks.several import check_different, weights_files
from ash.networks.torchvision_models import torchvision_names
from ash.networks.tracing import traced

if TYPE_CHECKING:
    from ash.splitting import Cut

__all__ = [
    "MODELS",
    "ModelEntry",
    "ModelError",
    "Preprocess",
    "cuts_of",
    "get_model",
    "get_models",
    "offered_models",
    "register_model",
    "torchvision_names",
    "working_models",
]


def get_model(name: str, checkpoint: Path | str | None = None) -> ModelEntry:
    """A model's entry by name, with the weights of a file where one is given; ModelError names the nearest one."""
    entry = _of_the_user(name) or MODELS.get(name) or timm_models.find_entry(name)
    entry = entry or torchvision_models.find_entry(name)
    if entry is None:
        known = [*MODELS, *torchvision_names()]
        near = difflib.get_close_matches(name.lower().replace("-", "_"), known, n=1)
        hint = (
            f"did you mean {near[0]}?"
            if near
            else f"known are {', '.join(MODELS)}, torchvision's classifiers and timm/NAME."
        )
        raise ModelError(f"There is no model '{name}': {hint}")
    return entry.with_checkpoint(checkpoint) if checkpoint else entry


def get_models(name: str, checkpoints: Sequence[Path | str] = ()) -> dict[str, ModelEntry]:
    """What a checkpoint is called -> a model's entry with it; "" -> the entry, where there is one checkpoint.

    `checkpoints`: files, folders of them or patterns; none for those that the model was registered with. ModelError
    where there is none, and for two of the same content.
    """
    entry = get_model(name)
    if checkpoints:
        given = tuple(map(expand, checkpoints))
        files = weights_files(given)
        entry = entry.with_checkpoint(files[0], files if files != given or len(files) > 1 else ())
    check_different(zip(map(str, entry.checkpoints), entry.hashes().values(), strict=False))  # of one no hash
    return entry.each


def _of_the_user(name: str) -> ModelEntry | None:
    """A registered model whose placements are still to be found, once they are; None for any other.

    ModelError for one that does not work: it is not offered any more.
    """
    entry = MODELS.get(name)
    if entry is None and name in MODELS.failed:
        raise ModelError(f"{MODELS.failed[name]}.")
    if entry is None or entry.traced:
        return None
    try:
        for data_set in (entry.id_set, *entry.ood_sets, *filter(None, [entry.train_set])):
            dataset_entry(data_set)
        for method in entry.presets.values():
            Method.parse(method)
        found = traced(entry)
        if entry.features:
            _keep_features(found)
        MODELS[name] = found
    except Exception as error:  # whatever the user's function raises
        problem = MODELS.report(name, error)
        MODELS.pop(name, None)
        raise ModelError(f"{problem}.") from error
    return MODELS[name]


def _keep_features(entry: ModelEntry) -> None:
    """Have the banks of all sets of a folder of features, so that it is explored at once."""
    from ash.bank import find_bank
    from ash.identity import identity

    assert entry.features is not None
    for data in entry.features.sets.values():
        if find_bank(identity(entry, entry.penultimate, data)) is None:
            from ash.extraction import extract

            extract(entry, entry.penultimate, data)


def working_models() -> Iterator[ModelEntry]:
    """The entries of all offered models; one of the user's that does not work is left out, and reported."""
    for name in offered_models():
        with suppress(ModelError) if name in MODELS.users() else nullcontext():
            yield get_model(name)


def offered_models() -> dict[str, str]:
    """Name -> label of the curated models, and of torchvision's and timm's whose weights lie in the data root.

    Without torch.
    """
    offered = {name: entry.label for name, entry in MODELS.items()}
    root = checkpoints_root()
    files = {path.name for path in root.iterdir()} if root.is_dir() else set()
    if files - {name + suffix for name in MODELS for suffix in SUFFIXES}:
        for name in torchvision_models.names_in_source():
            if name not in MODELS and any(name + suffix in files for suffix in SUFFIXES):
                offered[name] = torchvision_models.label_of(name)
    offered |= {name: timm_models.label_of(name) for name in timm_models.names_with_weights()}
    return offered


def cuts_of(name: str) -> "tuple[Cut, ...]":
    """All placements of a model in network order, found without its weights, once a process. ModelError, SplitError."""
    from ash.splitting import cuts_of_architecture

    entry = get_model(name)
    return cuts_of_architecture(entry.architecture, entry.preprocess.shape)
