"""What a spec still needs before anything is computed, and a method to be measured: in words, in images, in steps."""

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from functools import cached_property

from app.backend.banks import Step, compute_banks, extract_all, missing_sets
from app.backend.deep import deep_steps
from app.backend.engine import is_linear, recall
from app.backend.fits import missing_perturbed, missing_training, training_set
from app.backend.library import shown
from app.backend.registry import entry
from app.backend.setups import (
    Setup,
    bare_label,
    for_method,
    images,
    is_as_ships,
    is_features,
    is_listed,
    is_measurable,
    is_present,
    is_usable,
    listed_has_bank,
    set_label,
    setup,
    status,
    whole_set,
)
from app.link.spec import RunSpec
from ash import reports
from ash.data import MadeEntry, dataset_entry
from ash.methods import Method, Perturbation, baselines, perturbations
from ash.scores import SCORES

OF_ADASCALE = ("adascale", "adascale_l")  # drawn beside the paper's methods; both take the same perturbed images


def unready(spec: RunSpec) -> str:
    """What is missing before anything can be computed for this spec: weights or images. Empty when all is there."""
    at = setup(spec)
    one = at.entry
    if not one.present:
        return f"the weights of {one.label} are missing"
    if one.fault(spec.checkpoint):
        return f"the weights of {one.label} cannot be used"
    label = bare_label(at.id_set)
    if not is_usable(spec.model, at.id_set):
        return f"the images of {label} {'cannot be read' if _is_unreadable(at.id_set) else 'are missing'}"
    if not is_measurable(at, at.id_set):
        return f"the images of {label} do not ship, {_but_ships(at)}"
    return "" if at.ood else f"no OOD set for {one.label} is here"


def _but_ships(at: Setup) -> str:
    """What ships of a set without its images, and is not what a setup asks for."""
    if is_as_ships(at):
        return f"and the activations that do are of other weights than {shown(at.entry.weights)}"
    return "only the activations of all of them at the penultimate layer do"


def _is_unreadable(name: str) -> bool:
    """Whether something is there of a set, and none of its images can be read."""
    here = status(name)
    return here.state == "incomplete" and not here.count


def needed(spec: RunSpec) -> tuple[str, ...]:
    """What to fetch for this spec: weights, images of the ID set and of the usual OOD sets, where it is published."""
    one = setup(spec).entry
    sets = [name for name in _without_images(spec) if dataset_entry(name).files]
    return (*(() if one.present or not one.url else (one.name,)), *sets)


def unfetchable(spec: RunSpec) -> tuple[str, ...]:
    """A sentence for everything that is missing for this spec and has no public address: what to do about it."""
    one = setup(spec).entry
    weights = [] if one.present or one.url else [f"Put the weights of {one.label} at {shown(one.weights)}."]
    if fault := one.fault(spec.checkpoint):
        weights.append(fault)
    return (*weights, *(shown(_why(name)) for name in _without_images(spec) if _why(name)))


def _why(name: str) -> str:
    """Why a set has no images that can be used, where no fetch says it; "" where a fetch is all it needs."""
    one = dataset_entry(name)
    if isinstance(one, MadeEntry) or _is_unreadable(name):
        return status(name).reason
    return "" if one.files else one.instructions


def _without_images(spec: RunSpec) -> list[str]:
    """The ID set and, where no OOD set is here, the usual ones, as far as they are missing."""
    at = setup(spec)
    usual = () if at.ood else entry(spec.model).ood_sets
    return [name for name in (at.id_set, *usual) if not is_present(name)]


@dataclass(frozen=True)
class Lack:
    """What a method needs before it can be measured: in words, the command that brings it, and whether a click does.

    `by_passes`: nothing but passes through the network from the banks that are there.
    """

    text: str
    commands: tuple[str, ...] = ()
    click: bool = False
    by_passes: bool = False


def lack(spec: RunSpec, method: str) -> Lack | None:
    """What is missing for a method under a spec; None where it is measured at once."""
    return lack_of_each(spec, (method,))[method]


def lack_of_each(spec: RunSpec, methods: Iterable[str]) -> dict[str, Lack | None]:
    """Method -> what is missing for it, as `lack` says it; what is on the disk is looked up once for all of them."""
    if reason := unready(spec):
        return dict.fromkeys(methods, Lack(reason, _fetches(needed(spec))))
    setups = {method: _at(spec, method) for method in methods}
    here = {at: _Here(at) for at in setups.values()}
    return {method: _lack(here[at], method) for method, at in setups.items()}


def _at(spec: RunSpec, method: str) -> Setup:
    return for_method(setup(spec), method, spec.ood)


@dataclass(frozen=True)
class _Here:
    """What is there under a setup, each looked up when it is first asked for."""

    at: Setup

    @cached_property
    def banks_missing(self) -> dict[str, int]:
        return missing_sets(self.at)

    @cached_property
    def training_missing(self) -> bool:
        return missing_training(self.at)

    @cached_property
    def _perturbed(self) -> dict[Perturbation, dict[str, int]]:
        return {}

    def perturbed_missing(self, way: Perturbation) -> dict[str, int]:
        if way not in self._perturbed:
            self._perturbed[way] = missing_perturbed(self.at, way)
        return self._perturbed[way]


def _lack(here: _Here, method: str) -> Lack | None:
    at, asked = here.at, Method.parse(method)
    if asked.score == "godin":
        return Lack(reports.GODIN)
    if "head" in asked.scoring.score.reads and not is_linear(at):
        return Lack("it reads the last layer, so it needs the penultimate placement")
    if asked.needs_fit and not training_set(at):
        return Lack(*_no_training(at))
    if (gone := here.banks_missing) or (asked.needs_fit and here.training_missing):
        names = [set_label(name) for name in gone] or [set_label(at.entry.train_set)]
        return Lack(f"the activations of {', '.join(names)} are not computed", click=True)
    if without := _no_images(at, asked):
        return without
    for way in perturbations(at.entry, (asked,)).values():
        if gone := here.perturbed_missing(way):
            return Lack(f"the activations of {sum(gone.values()):,} perturbed images are not computed", click=True)
    if not is_linear(at) and recall(at, (method,)) is None:
        return Lack("this placement needs a pass through the network for it", click=True, by_passes=True)
    return None


def _no_images(at: Setup, asked: Method) -> Lack | None:
    """Why there are no images for a method to perturb; None where there are, or where it perturbs none."""
    ways = [way for way in perturbations(at.entry, (asked,)).values() if way]
    if ways and is_features(at.model):
        return Lack("there are no images to perturb, as this network is made of features")
    listed = [name for name in at.sets if is_listed(name)] if ways else []
    if gone := [name for name in listed if not all(listed_has_bank(at, name, way) for way in ways)]:
        labels = ", ".join(dataset_entry(name).label for name in gone)
        way_on = "" if at.id_set in gone else ": choose other OOD sets, or fetch these"
        return Lack(f"the images of {labels}, which would have to be perturbed, do not ship{way_on}", _fetches(gone))
    return None


def _fetches(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"python -m ash fetch {name}" for name in names)


def _no_training(at: Setup) -> tuple[str, tuple[str, ...]]:
    one = at.entry
    if one.train_set:
        return f"the images of {set_label(one.train_set)} are missing", _fetches((one.train_set,))
    return f"it is fitted on training images, and no training set is known for {one.label}", ()


@dataclass(frozen=True)
class MoreScores:
    """Scores that read more than logits: name -> label of those that are there at once, or of perturbed images at a
    click, and of the others why not."""

    there: dict[str, str]
    missing: str


def more_scores(spec: RunSpec) -> MoreScores:
    """Which scores of activations and training sets a view can have, and a sentence on those that it cannot."""
    prepared = {
        name: score.label for name, score in SCORES.items() if score.prepared and "numerators" not in score.reads
    }
    if reason := unready(spec):
        return MoreScores({}, f"{', '.join(prepared.values())} cannot be chosen here: {reason}.")
    at = setup(spec)
    known = at.entry.train_set
    fit_lacks = "" if training_set(at) else _no_training(at)[0] if known else "none is known for this network"
    if not fit_lacks and missing_training(at):
        fit_lacks = f"the activations of {set_label(training_set(at))} are not computed"
    lacks = {
        name: "they read the last layer, which the penultimate placement alone has behind it"
        if "head" in SCORES[name].reads and not is_linear(at)
        else f"they need a fit on a training set, and {fit_lacks}"
        if SCORES[name].fitted and fit_lacks
        else without.text
        if (without := _no_images(_at(spec, name), Method(score=name)))
        else ""
        for name in prepared
    }
    sentences = [
        f"{', '.join(prepared[name] for name in prepared if lacks[name] == why)} cannot be chosen here: {why}."
        for why in dict.fromkeys(filter(None, lacks.values()))
    ]
    return MoreScores({name: prepared[name] for name in prepared if not lacks[name]}, " ".join(sentences))


def measure_steps(specs: Iterable[RunSpec], method: str) -> Generator[Step, None, None]:
    """Do what `lack` names under each spec, yielding after every batch. Stop to cancel; call again to go on."""
    for spec in specs:
        yield from _measure_steps(spec, method)


def _measure_steps(spec: RunSpec, method: str) -> Generator[Step, None, None]:
    at, asked = _at(spec, method), Method.parse(method)
    yield from compute_banks(at)
    if asked.needs_fit and missing_training(at):
        yield from extract_all(at, [(whole_set(at.entry.train_set), 0.0)])
    for way in perturbations(at.entry, (asked,)).values():
        yield from extract_all(at, [(images(at, name), way) for name in missing_perturbed(at, way)])
    if not is_linear(at):
        yield from deep_steps(at, asked.score, (method,))


def baselines_here(spec: RunSpec) -> tuple[str, ...]:
    """What the paper compares with, at the model's own settings, and AdaSCALE: as far as they are measured at once."""
    lacks = lack_of_each(spec, (*map(str, baselines(entry(spec.model))), *OF_ADASCALE))
    return tuple(method for method, one in lacks.items() if one is None)


def images_of(spec: RunSpec, method: str) -> int:
    """Images that have to go through the network before a method can be measured."""
    at, asked = _at(spec, method), Method.parse(method)
    ways = perturbations(at.entry, (asked,)).values()
    return sum(sum(missing.values()) for missing in (missing_sets(at), *(missing_perturbed(at, way) for way in ways)))
