"""What is evaluated: `Setup`, the frozen key of every cached evaluation, made from a spec and from what is here."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import streamlit as st

from app.spec import PENULTIMATE, RunSpec
from ash.bank import BankIdentity, any_bank, find_bank
from ash.data import DATASETS, ImageSet, MadeEntry, Status, dataset_entry, evenly, get_dataset, own_sets
from ash.extracting.takeover import take_over
from ash.identity import identity as built_identity
from ash.models import get_model

SUBSET_ID, SUBSET_OOD = 2000, 500  # images per set away from the penultimate layer, where activations are large
FRESH = 300.0  # seconds for which a look at the data folder holds


@dataclass(frozen=True)
class Setup:
    """A network cut at a placement (node name), its ID set, the OOD sets it is compared with, and how banks are kept.

    `images`: the most images of a set, 0 for the usual number; `dtype` of the banks.
    """

    model: str
    placement: str
    id_set: str
    ood: tuple[str, ...]
    images: int = 0
    dtype: str = "float32"

    @property
    def sets(self) -> tuple[str, ...]:
        """All data sets, the ID set first."""
        return self.id_set, *self.ood

    @property
    def penultimate(self) -> bool:
        """Whether the placement is the network's penultimate layer."""
        return self.placement == get_model(self.model).penultimate


@st.cache_data(ttl=FRESH, max_entries=256, show_spinner=False)
def status(name: str) -> Status:
    """What is on this machine of a data set."""
    return dataset_entry(name).status()


def is_present(name: str) -> bool:
    """Whether there are images of a data set on this machine, all or some; one of a plug-in is made for that."""
    return bool(status(name).count)


@st.cache_data(ttl=FRESH, max_entries=1, show_spinner=False)
def present() -> dict[str, str]:
    """Data set -> label, for the sets with images on this machine: registered, whole or in part, and the user's own."""
    made = {*_made("id"), *_made("ood")}
    return {name: set_label(name) for name in (*DATASETS, *own_sets()) if name in made or is_present(name)}


def _made(role: str) -> tuple[str, ...]:
    """The sets of plug-ins with a role. They are offered without being made, but for those that are known to fail."""
    made = {name: entry for name, entry in DATASETS.items() if isinstance(entry, MadeEntry)}
    return tuple(name for name, entry in made.items() if entry.role == role and name not in DATASETS.failed)


def id_choices(model: str) -> dict[str, str]:
    """ID set -> label, the model's own first: that one even when it is missing, and the user's labelled sets."""
    own = get_model(model).id_set
    return {name: set_label(name) for name in (own, *filter(_labelled, own_sets()), *_made("id"))}


@st.cache_data(ttl=FRESH, max_entries=64, show_spinner=False)
def _labelled(name: str) -> bool:
    return bool(status(name).count) and bool((whole_set(name).labels >= 0).all())


def ood_choices(model: str, id_set: str) -> dict[str, str]:
    """OOD set -> label, for the sets that are here: the ones the model is usually compared with, then the user's."""
    here = filter(is_present, (*get_model(model).ood_sets, *own_sets()))
    return {name: set_label(name) for name in (*here, *_made("ood")) if name != id_set}


def setup(spec: RunSpec) -> Setup:
    """What a spec is about. The OOD sets: those it names, and of the usual ones those that cost nothing more.

    A bank that is there is taken along, so that choosing fewer sets needs no new evaluation.
    """
    entry = get_model(spec.model)
    placement = entry.penultimate if spec.placement == PENULTIMATE else spec.placement
    id_set = spec.id or entry.id_set
    offered = ood_choices(spec.model, id_set)
    usual = tuple(name for name in entry.ood_sets if name in offered) or tuple(offered)
    chosen = tuple(name for name in spec.ood if name in offered) or usual
    whole = Setup(spec.model, placement, id_set, usual, spec.images, spec.dtype)
    free = [name for name in usual if name in chosen or (entry.present and has_bank(whole, name))]
    return Setup(spec.model, placement, id_set, tuple(dict.fromkeys((*free, *chosen))), spec.images, spec.dtype)


def chosen_sets(spec: RunSpec) -> dict[str, str]:
    """OOD set name -> label of the sets this spec compares with (all when it names none)."""
    at = setup(spec)
    return {name: set_label(name) for name in at.ood if not spec.ood or name in spec.ood}


def set_label(name: str) -> str:
    """The display name of a data set; of an incomplete one with the number of images that are here."""
    entry = dataset_entry(name)
    if isinstance(entry, MadeEntry):
        return entry.label  # whole, or not at all
    here = status(name)
    if here.state == "incomplete" and here.count and entry.count:
        return f"{entry.label} ({here.count:,} of {entry.count:,} images)"
    return entry.label


@st.cache_resource(ttl=FRESH, max_entries=64, show_spinner=False)
def images(at: Setup, name: str) -> ImageSet:
    """The images that are evaluated: all at the penultimate layer, evenly spaced subsets elsewhere or on request."""
    limit = at.images
    if not limit and not at.penultimate:
        limit = SUBSET_ID if name == at.id_set else SUBSET_OOD
    return evenly(whole_set(name), limit) if limit else whole_set(name)


@st.cache_resource(ttl=FRESH, max_entries=32, show_spinner=False)
def whole_set(name: str) -> ImageSet:
    """All images of a data set that are here, decoded one at a time."""
    here = status(name)
    return get_dataset(f"{name}={here.path}" if here.state == "incomplete" else name)


@st.cache_resource(ttl=FRESH, max_entries=512, show_spinner=False)
def identity(at: Setup, name: str) -> BankIdentity:
    """The bank of a data set under a setup. The first look at a set reads all its images."""
    return identity_of(at, images(at, name))


def identity_of(at: Setup, data: ImageSet, epsilon: float = 0.0) -> BankIdentity:
    """The bank of some images under a setup; with `epsilon` > 0, of those images as ODIN perturbs them."""
    return built_identity(get_model(at.model), at.placement, data, at.dtype, epsilon=epsilon)


def has_bank(at: Setup, name: str) -> bool:
    """Whether the activations of a data set are computed."""
    return bank_folder(at, images(at, name), partial(identity, at, name)) is not None


def bank_folder(at: Setup, data: ImageSet, who: Callable[[], BankIdentity], epsilon: float = 0.0) -> Path | None:
    """Where the bank of some images is, an earlier one that is proved to be the same too; None where there is none.

    `who` tells its identity. It may have to read all images, so it is asked only where there is a bank of that name.
    """
    if not any_bank(at.model, at.placement, data.name):
        return None
    one = who()
    return find_bank(one) or take_over(get_model(at.model), data, one, epsilon)


def look_again() -> None:
    """Forget what was seen in the data folder, after something there has changed."""
    for cached in (status, present, _labelled, images, whole_set, identity):
        cached.clear()
