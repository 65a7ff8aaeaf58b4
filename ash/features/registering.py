"""A folder of features as a network with one placement, and its sets: registered by name, read at the first use."""

from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ash.data import DATASETS
from ash.datasets.dataset_entries import DatasetEntry, Status
from ash.features.folder import Features
from ash.images import DataError, ImageSet
from ash.names import why_no_name
from ash.networks.checkpoints import ModelError
from ash.networks.entries import Preprocess
from ash.networks.registering import register_model

if TYPE_CHECKING:
    from torch import nn

PLACEMENT = "features"  # the node of the one placement
NOTE = "Features and a last layer from elsewhere: one placement, no images, and no network that images go through."

_NOTES = {"id": "Features and labels, for the network of this name.", "ood": "Features, for the network of this name."}


class NoImages(Preprocess):
    """In place of the preprocessing: what the network takes are the features themselves."""

    def __init__(self, features: Features) -> None:
        object.__setattr__(self, "features", features)  # a preprocessing is frozen

    def __repr__(self) -> str:
        return "features"

    @property
    def takes_images(self) -> bool:
        return False

    @property
    def shape(self) -> tuple[int, ...]:
        """(D,), of one row of features."""
        return self.features.head.weight.shape[1:]  # type: ignore[attr-defined,no-any-return]

    def build(self) -> NoReturn:
        """ModelError: there is none."""
        name = self.features.name  # type: ignore[attr-defined]
        raise ModelError(f"{name} is a folder of features: no image can be sent through its network.")


@dataclass(frozen=True)
class FeatureEntry(DatasetEntry):
    """A set of a folder of features; `folder` and `part` say which."""

    folder: Features = field(default_factory=lambda: Features(Path()))
    part: str = "id"

    def status(self, root: Path | None = None) -> Status:
        try:
            found = self.folder.sets[self.part]
        except DataError as error:
            return Status("incomplete", 0, 0, self.folder.path, str(error))
        path, reason = found.features.path, self.how_to_get()
        return Status("features", len(found), path.stat().st_size, path, reason, found.look)

    def open(self, root: Path | None = None) -> ImageSet:
        return self.folder.sets[self.part]

    def how_to_get(self, root: Path | None = None) -> str:
        return f"{self.label} is a file of features in {self.folder.path}: there are no images of it."


def register(path: Path) -> None:
    """Make a folder of features known: a model of its name, and its sets as NAME.id, NAME.train and NAME.OOD.

    Nothing but names is read. AshError for a name that cannot be, or that is taken.
    """
    folder = Features(path)
    if why := why_no_name(folder.name):
        raise DataError(f"'{folder.name}' {why}; rename the folder")
    ood = tuple(folder.set_name(part) for part in folder.ood_names)
    train = folder.set_name("train") if folder.has_training else ""
    register_model(
        folder.name,
        label=folder.name,
        preprocess=NoImages(folder),
        classes=lambda: folder.head.classes,
        id_set=folder.set_name("id"),
        ood_sets=ood,
        train_set=train,
        note=NOTE,
        features=folder,
    )(lambda: network(folder))
    for part in ("id", *(["train"] if train else []), *folder.ood_names):
        name, role = folder.set_name(part), "ood" if part in folder.ood_names else "id"
        entry = FeatureEntry(name, folder.label(part), role, _NOTES[role], (), (name,), folder=folder, part=part)  # type: ignore[arg-type]
        DATASETS.add(name, entry)


def network(folder: Features) -> "nn.Module":
    """(N, D) features -> (N, C) logits. A ReLU that changes nothing says that no value of theirs is negative."""
    import torch
    from torch import nn

    head = folder.head
    classes, width = head.weight.shape
    layer = nn.Linear(width, classes)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(head.weight))
        layer.bias.copy_(torch.from_numpy(head.bias))
    lowest = min(one.seen.lowest for one in folder.sets.values())
    return nn.Sequential(OrderedDict([(PLACEMENT, nn.ReLU() if lowest >= 0 else nn.Identity()), ("head", layer)]))
