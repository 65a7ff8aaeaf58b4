"""What some methods need besides the banks of a setup: a fit on training activations, the banks of perturbed images."""

from contextlib import suppress
from functools import partial

from app.backend.banks import bank_of
from app.backend.caches import cache_resource
from app.backend.setups import Setup, bank_folder, has_bank, identity_of, images, status, whole_set
from app.backend.turns import semaphore
from ash.bank import BankIdentity
from ash.fitting import Fit, FitError, fit, load_fit, save_fit
from ash.methods import Method, Perturbation, perturbations


def training_set(at: Setup) -> str:
    """The set that methods of this setup are fitted on; "" where none is known or its images are not here."""
    name = at.entry.train_set
    return name if name and status(name).state in ("present", "features") else ""


def train_identity(at: Setup) -> BankIdentity | None:
    """The bank of the training set; None where there is no such set."""
    name = training_set(at)
    return identity_of(at, whole_set(name)) if name else None


def fit_of(at: Setup) -> Fit | None:
    """The fit of a setup; None while there are no training activations."""
    who = None if missing_training(at) else train_identity(at)
    return None if who is None else _fitted(who)


@cache_resource(max_entries=8)
def _fitted(who: BankIdentity) -> Fit:
    """The fit on a training bank: the one beside it, or the first one, which is then stored there."""
    with semaphore:
        known = None
        with suppress(FitError):  # a damaged one is made again
            known = load_fit(who)
        if known is None:
            known = fit(bank_of(who), semaphore.let_others)
            with suppress(OSError):  # a cache that cannot be written: fitted again after the next start
                save_fit(known)
        return known


def perturbed_identity(at: Setup, name: str, way: Perturbation) -> BankIdentity:
    """The bank of a data set whose images are moved so; the plain one where ODIN's step is 0."""
    return identity_of(at, images(at, name), way)


def missing_perturbed(at: Setup, way: Perturbation) -> dict[str, int]:
    """Data set -> number of images, for the banks of images moved so that are not there."""
    return {name: len(images(at, name)) for name in at.sets if not has_bank(at, name, way)}


def missing_training(at: Setup) -> bool:
    """Whether the training set is here and its activations are not."""
    name = training_set(at)
    if not name:
        return False
    data = whole_set(name)
    return bank_folder(at, data, partial(identity_of, at, data)) is None


def more_keys(at: Setup, methods: tuple[str, ...]) -> list[str]:
    """What else the numbers of some methods hang on, as keys of banks: the training set, the perturbed images."""
    parsed, found = [Method.parse(method) for method in methods], []
    if any(method.needs_fit for method in parsed) and (who := train_identity(at)):
        found.append(who.key)
    for way in perturbations(at.entry, parsed).values():
        found += [perturbed_identity(at, name, way).key for name in at.sets]
    return found
