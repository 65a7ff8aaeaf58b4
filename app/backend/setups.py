"""What is evaluated: `Setup`, the frozen key of every cached evaluation, made from a spec and from what is here."""

import hashlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from app.backend.caches import cache_data, cache_resource
from app.backend.turns import semaphore
from app.link.spec import PENULTIMATE, RunSpec
from ash.bank import BUNDLED, BankIdentity, any_bank, find_bank
from ash.data import (
    DATASETS,
    DataError,
    ImageSet,
    MadeEntry,
    Status,
    dataset_entry,
    evenly,
    get_dataset,
    near_and_far,
    own_sets,
)
from ash.extracting.takeover import take_over
from ash.files import look_of
from ash.identity import identity as built_identity
from ash.labels import Reading, read
from ash.methods import Method, Perturbation, perturbations
from ash.models import ModelEntry, ModelError, get_model
from ash.networks.several import check_different
from ash.results import SUBSET_ID as SUBSET_ID
from ash.results import SUBSET_OOD as SUBSET_OOD
from ash.tables import MEANS

FRESH = 300.0  # seconds for which a look at the data folder holds
P = ParamSpec("P")
T = TypeVar("T")

_OF_THIS_RUN: ContextVar[dict[tuple[object, ...], Any] | None] = ContextVar("seen in this run", default=None)


@contextmanager
def one_run() -> Iterator[None]:
    """Round a run of the script: what is `once_a_run` is looked up once in it, or again after `look_again`."""
    before = _OF_THIS_RUN.set({})
    try:
        yield
    finally:
        _OF_THIS_RUN.reset(before)


def once_a_run(function: Callable[P, T]) -> Callable[P, T]:
    """A function of hashable arguments, looked up once a run of the script; outside of one, in a job say, every time.

    A look into Streamlit's caches hashes the arguments anew, which hundreds of times a run takes longer than the rest.
    """

    @wraps(function)
    def looked_up(*args: P.args, **kwargs: P.kwargs) -> T:
        seen = _OF_THIS_RUN.get()
        if seen is None or kwargs:
            return function(*args, **kwargs)
        key = (function, *args)
        if key not in seen:
            seen[key] = function(*args, **kwargs)
        found: T = seen[key]
        return found

    return looked_up


@dataclass(frozen=True)
class Setup:
    """A network cut at a placement (node name), its ID set, the OOD sets it is compared with, and how banks are kept.

    `images`: the most images of a set, 0 for the usual number; `dtype` of the banks. `look` is what was seen of sets
    whose files come and go, `weights` of a weights file of the user's, so that nothing that was computed of other files
    is taken for these. `checkpoint`: which of the network's, "" where it has not several; `as_first`: beside the first,
    whose thresholds the grid takes for all.
    """

    model: str
    placement: str
    id_set: str
    ood: tuple[str, ...]
    images: int = 0
    dtype: str = "float32"
    look: str = ""
    checkpoint: str = ""
    weights: str = ""
    as_first: bool = False

    @property
    def entry(self) -> ModelEntry:
        """The network with its checkpoint."""
        return get_model(self.model).each[self.checkpoint]

    @property
    def sets(self) -> tuple[str, ...]:
        """All data sets, the ID set first."""
        return self.id_set, *self.ood

    @property
    def penultimate(self) -> bool:
        """Whether the placement is the network's penultimate layer."""
        return self.placement == self.entry.penultimate


@once_a_run
def status(name: str) -> Status:
    """What is on this machine of a data set."""
    return _status(name)


@cache_data(ttl=FRESH, max_entries=256)
def _status(name: str) -> Status:
    return dataset_entry(name).status()


def is_present(name: str) -> bool:
    """Whether there are images of a data set on this machine, all or some, or features; one of a plug-in is made."""
    here = status(name)
    return bool(here.count) and here.state != "listed"


def is_listed(name: str) -> bool:
    """Whether the images of a data set are not here, but activations of them ship."""
    return status(name).state == "listed"


def is_features(model: str) -> bool:
    """Whether a network is a folder of features, without images."""
    return get_model(model).features is not None


@once_a_run
def is_usable(model: str, name: str) -> bool:
    """Whether a data set can be evaluated on a network: its images are here, or its penultimate activations ship."""
    here = status(name)
    return bool(here.count) and (here.state != "listed" or _ships_for(model, name))


@cache_resource(max_entries=256)
def _ships_for(model: str, name: str) -> bool:
    return any_bank(model, get_model(model).penultimate, name, BUNDLED)


@cache_data(ttl=FRESH, max_entries=1)
def present() -> dict[str, str]:
    """Data set -> label, for the sets with images on this machine: registered, whole or in part, and the user's own."""
    made = {*_made("id"), *_made("ood")}
    return {name: set_label(name) for name in (*DATASETS, *own_sets()) if name in made or is_present(name)}


@cache_data(ttl=FRESH, max_entries=1)
def own_sets_here() -> dict[str, str]:
    """The user's own sets, name -> label."""
    return own_sets()


def _made(role: str) -> tuple[str, ...]:
    """The sets of plug-ins with a role. They are offered without being made, but for those that are known to fail."""
    made = {name: entry for name, entry in DATASETS.items() if isinstance(entry, MadeEntry)}
    return tuple(name for name, entry in made.items() if entry.role == role and name not in DATASETS.failed)


@once_a_run
def id_choices(model: str) -> dict[str, str]:
    """ID set -> label, the model's own first: that one even when it is missing, and the user's labelled sets.

    A network of features has its own alone: no images go through it.
    """
    own = get_model(model).id_set
    if is_features(model):
        return {own: set_label(own)}
    return {name: set_label(name) for name in (own, *filter(_labelled, own_sets()), *_made("id"))}


@cache_data(ttl=FRESH, max_entries=64)
def _labelled(name: str) -> bool:
    """Whether a set states a class for every image; whether a network has these classes, `reading` says."""
    if not status(name).count:
        return False
    data = whole_set(name)
    return bool((data.labels >= 0).all() if data.stated is None else all(data.stated))


@once_a_run
def ood_choices(model: str, id_set: str) -> dict[str, str]:
    """OOD set -> label, for the sets that are here: the ones the model is usually compared with, then the user's."""
    if is_features(model):
        return {name: set_label(name) for name in get_model(model).ood_sets}
    here = (name for name in (*get_model(model).ood_sets, *own_sets()) if is_usable(model, name))
    return {name: set_label(name) for name in (*here, *_made("ood")) if name != id_set}


def asked(spec: RunSpec) -> tuple[str, str, str, tuple[str, ...], int, str, str]:
    """What a session's own work is for, whatever is there or comes by the time: with another one it is void."""
    return spec.model, spec.placement, spec.id, spec.ood, spec.images, spec.dtype, spec.checkpoint


def setup(spec: RunSpec) -> Setup:
    """What a spec is about. The OOD sets: those it names, and of the usual ones those whose banks ship.

    Of several checkpoints it is the one that it names, else the first.

    What ships is taken along, so that choosing fewer sets needs no new evaluation, but not `for_method`. What was
    computed here is not: a bank that is finished must not change what somebody else is in the middle of.
    """
    at = _setup(*asked(spec))
    return for_method(at, spec.other, spec.ood) if spec.other else at


@once_a_run
def for_method(at: Setup, method: str, chosen: tuple[str, ...]) -> Setup:
    """The same for one method: of one that perturbs images, the chosen OOD sets alone. None chosen: all."""
    if not any(perturbations(at.entry, (Method.parse(method),)).values()):
        return at
    return _over(at, [name for name in at.ood if name in chosen] or list(at.ood))


@once_a_run
def _setup(
    model: str, placed: str, id_name: str, named: tuple[str, ...], limit: int, dtype: str, checkpoint: str
) -> Setup:
    entry = get_model(model)
    placement = entry.penultimate if placed == PENULTIMATE else placed
    id_set = id_name or entry.id_set
    bare = with_checkpoint(Setup(model, placement, id_set, (), limit, dtype), checkpoint or next(iter(entry.each)))
    offered = [name for name in ood_choices(model, id_set) if is_measurable(bare, name)]
    usual = tuple(name for name in entry.ood_sets if name in offered) or tuple(offered)
    chosen = tuple(name for name in named if name in offered) or usual
    whole = replace(bare, ood=usual)
    more = usual if bare.entry.present else ()
    taken = [name for name in offered if name in chosen or (name in more and _ships(whole, name))]
    return _over(whole, taken)


def with_checkpoint(at: Setup, name: str) -> Setup:
    """The same with another of the network's checkpoints, as its file is now."""
    path, weights = get_model(at.model).each[name].checkpoint, ""
    with suppress(OSError):  # that it is gone is said where it is read
        weights = "-".join(map(str, look_of(path))) if path else ""
    return replace(at, checkpoint=name, weights=weights)


@once_a_run
def checkpoints(model: str) -> tuple[str, ...]:
    """What the checkpoints of a network are called; () where it has not several."""
    return get_model(model).checkpoint_names


@once_a_run
def each_checkpoint(spec: RunSpec) -> tuple[Setup, ...]:
    """What a spec is about, once for each checkpoint where the network has several and the spec names none of them.

    ModelError where two of them are the same, or one is not there.
    """
    at = setup(spec)
    if spec.checkpoint or not at.checkpoint:
        return (at,)
    hashes = get_model(at.model).hashes()
    check_different(hashes.items())
    return at, *(replace(with_checkpoint(at, name), as_first=True) for name in [*hashes][1:])


def wider(at: Setup) -> Setup:
    """The same with all usual OOD sets that are here, whose numbers hold for fewer sets too."""
    usual = at.entry.ood_sets
    offered = [name for name in ood_choices(at.model, at.id_set) if is_measurable(at, name)]
    return _over(at, [name for name in offered if name in usual or name in at.ood])


def _over(at: Setup, ood: list[str]) -> Setup:
    return replace(at, ood=tuple(ood), look=_look((at.id_set, *ood)))


def _ships(at: Setup, name: str) -> bool:
    named = any_bank(at.model, at.placement, name, BUNDLED)  # an identity may take reading all images
    return named and find_bank(identity(at, name), BUNDLED) is not None


def _look(names: tuple[str, ...]) -> str:
    """What was seen of the files of the user's own sets and of incomplete ones; "" where there are none."""
    own = own_sets_here()
    seen = {name: status(name) for name in names if not isinstance(DATASETS.get(name), MadeEntry)}
    looks = (here.look for name, here in seen.items() if name in own or here.state == "incomplete")
    return " ".join(hashlib.sha256(look.encode()).hexdigest()[:16] for look in looks)


def chosen_sets(spec: RunSpec) -> dict[str, str]:
    """OOD set name -> label of the sets this spec compares with (all when it names none)."""
    at = setup(spec)
    return {name: set_label(name) for name in at.ood if not spec.ood or name in spec.ood}


def sets_on(spec: RunSpec) -> tuple[str, ...]:
    """The OOD sets that the numbers of a spec are on: one, the near or the far ones, or all that it compares with."""
    return sets_meant(setup(spec).id_set, spec.on, chosen_sets(spec))


def sets_meant(id_set: str, on: str, sets: Collection[str]) -> tuple[str, ...]:
    """Which of some OOD sets a link means by `on`: one, `near` or `far` where there are both, or all of them."""
    return near_and_far(id_set, sets).get(on, tuple(sets)) if on in MEANS else (on,)


def bare_label(name: str) -> str:
    """The display name of a data set, whatever of it is here."""
    return dataset_entry(name).label


@once_a_run
def set_label(name: str) -> str:
    """The display name of a data set; of an incomplete one with the number of images that are here.

    Results ship of sets, too, that are nobody's here (`nips2017`): such a set is called by its name.
    """
    try:
        entry = dataset_entry(name)
    except DataError:
        return name
    if isinstance(entry, MadeEntry):
        return entry.label  # whole, or not at all
    here = status(name)
    if here.state in ("incomplete", "listed") and here.count and entry.count and here.count < entry.count:
        return f"{entry.label} ({here.count:,} of {entry.count:,} images)"
    return entry.label


@once_a_run
def images(at: Setup, name: str) -> ImageSet:
    """The images that are evaluated: all at the penultimate layer, evenly spaced subsets elsewhere or on request."""
    return _images(at, name, status(name).look)


@cache_resource(max_entries=64)
def _images(at: Setup, name: str, look: str) -> ImageSet:
    limit = most_images(at, name)
    return evenly(whole_set(name), limit) if limit else whole_set(name)


def most_images(at: Setup, name: str) -> int:
    """How many images of a data set are taken at most, 0 for all."""
    usual = 0 if at.penultimate else SUBSET_ID if name == at.id_set else SUBSET_OOD
    return at.images or usual


@once_a_run
def whole_set(name: str) -> ImageSet:
    """All images of a data set that are here, decoded one at a time; as long as a look at its files holds."""
    return _whole_set(name, status(name).look)


@cache_resource(max_entries=32)
def _whole_set(name: str, look: str) -> ImageSet:
    here = status(name)
    if here.state == "listed" and (listed := dataset_entry(name).listed()):
        return listed
    return get_dataset(f"{name}={here.path}" if here.state == "incomplete" else name)


@once_a_run
def reading(model: str, name: str) -> Reading:
    """How a network reads the labels of a data set: one for every image of `whole_set`, and in words."""
    return _reading(model, name, status(name).look)


@cache_resource(max_entries=32)
def _reading(model: str, name: str, look: str) -> Reading:
    one = get_model(model)
    return read(whole_set(name), one.classes, one.label)


@once_a_run
def identity(at: Setup, name: str) -> BankIdentity:
    """The bank of a data set under a setup. The first look at a set reads all its images.

    DataError when one cannot be read, as it was deleted since: what is there then is looked at again in the next run.
    """
    try:
        return _identity(at, name, status(name).look)
    except DataError:
        look_again()
        raise


@cache_resource(max_entries=512)
def _identity(at: Setup, name: str, look: str) -> BankIdentity:
    return identity_of(at, images(at, name))


def identity_of(at: Setup, data: ImageSet, epsilon: Perturbation = 0.0) -> BankIdentity:
    """The bank of some images under a setup; with `epsilon`, of those images moved so."""
    return built_identity(at.entry, at.placement, data, at.dtype, epsilon=epsilon)


@once_a_run
def is_measurable(at: Setup, name: str) -> bool:
    """Whether activations of a data set under a setup are here, or the images that they can be computed from.

    Of a set that is only listed there is what ships: the activations of all its images at the penultimate layer. With
    weights that cannot be read as with those that ship: what is wrong with them is said where they are needed.
    """
    if not is_listed(name):
        return True
    try:
        return listed_has_bank(at, name)
    except ModelError:
        return is_as_ships(at)


@cache_resource(max_entries=512)
def listed_has_bank(at: Setup, name: str, way: Perturbation = 0.0) -> bool:
    """`has_bank` of a set whose images are not here: no bank of it can be made meanwhile."""
    return has_bank(at, name, way)


def is_as_ships(at: Setup) -> bool:
    """Whether a setup asks for what ships of listed sets, so that it serves unless the weights are others."""
    return at.penultimate and not at.images and at.dtype == "float32"


def left_out(spec: RunSpec) -> dict[str, str]:
    """OOD set -> label, of the sets that a spec would compare with if their images were here."""
    listed = [name for name in spec.ood or get_model(spec.model).ood_sets if is_listed(name)]
    if not listed:
        return {}
    at = setup(spec)
    offered = ood_choices(spec.model, at.id_set)
    return {name: bare_label(name) for name in offered if name in listed and not is_measurable(at, name)}


def has_bank(at: Setup, name: str, way: Perturbation = 0.0) -> bool:
    """Whether the activations of a data set are computed; with a `way`, those of its images moved so."""
    if not way:
        return found_bank(at, name) is not None
    data = images(at, name)
    return bank_folder(at, data, partial(identity_of, at, data, way), way) is not None


def found_bank(at: Setup, name: str) -> Path | None:
    """Where the bank of a data set is, None where there is none. What is there in a run of the script stays there in
    it."""
    seen, key = _OF_THIS_RUN.get(), (found_bank, at, name)
    if seen is not None and key in seen:
        there: Path = seen[key]
        return there
    found = bank_folder(at, images(at, name), partial(identity, at, name))
    if found and seen is not None:
        seen[key] = found
    return found


def bank_folder(at: Setup, data: ImageSet, who: Callable[[], BankIdentity], epsilon: Perturbation = 0.0) -> Path | None:
    """Where the bank of some images is, an earlier one that is proved to be the same too; None where there is none.

    `who` tells its identity. It may have to read all images, so it is asked only where there is a bank of that name.
    """
    if not any_bank(at.model, at.placement, data.name):
        return None
    one = who()
    return find_bank(one) or take_over(at.entry, data, one, epsilon, turn=semaphore)


def look_again() -> None:
    """Forget what was seen in the data folder, after something there has changed."""
    looks = (_status, present, own_sets_here, _labelled, _images, _whole_set, _reading, _identity)
    for cached in (*looks, _ships_for, listed_has_bank):
        cached.clear()
    if (seen := _OF_THIS_RUN.get()) is not None:
        seen.clear()
