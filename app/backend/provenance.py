"""Where the numbers come from, for the sidebar and for every export."""

from app.backend.banks import missing_sets
from app.backend.engine import device, is_linear
from app.backend.evaluations import grid_with_origin
from app.backend.library import shown
from app.backend.registry import entry
from app.backend.setups import chosen_sets, has_bank, identity, images, is_present, setup
from app.link.spec import RunSpec
from ash.bank import BUNDLED, find_bank
from ash.data import MadeEntry, dataset_entry
from ash.methods import ALL_SCORES

CONVENTIONS = (
    "ID positive; higher score = more ID; FPR95 at the highest threshold with TPR >= 95 %; AUPR = average precision"
)


def unready(spec: RunSpec) -> str:
    """What is missing before anything can be computed for this spec: weights or images. Empty when all is there."""
    at, one = setup(spec), entry(spec.model)
    if not one.present:
        return f"the weights of {one.label} are missing"
    if not is_present(at.id_set):
        return f"the images of {dataset_entry(at.id_set).label} are missing"
    return "" if at.ood else f"no OOD set for {one.label} is here"


def needed(spec: RunSpec) -> tuple[str, ...]:
    """What to fetch for this spec: weights, images of the ID set and of the usual OOD sets, where it is published."""
    one = entry(spec.model)
    sets = [name for name in _missing_sets(spec) if not isinstance(dataset_entry(name), MadeEntry)]
    return (*(() if one.present or not one.url else (one.name,)), *sets)


def unfetchable(spec: RunSpec) -> tuple[str, ...]:
    """A sentence for everything that is missing for this spec and has no public address: what to do about it."""
    one = entry(spec.model)
    weights = [] if one.present or one.url else [f"Put the weights of {one.label} at {shown(one.weights)}."]
    made = [dataset_entry(name) for name in _missing_sets(spec)]
    reasons = [shown(one.status().reason) for one in made if isinstance(one, MadeEntry)]
    return (*weights, *reasons)


def _missing_sets(spec: RunSpec) -> list[str]:
    """The ID set and, where no OOD set is here, the usual ones, as far as they are missing."""
    at = setup(spec)
    usual = () if at.ood else entry(spec.model).ood_sets
    return [name for name in (at.id_set, *usual) if not is_present(name)]


def badge(spec: RunSpec) -> str:
    """Where the numbers come from, for the sidebar: `bundled, 10,000 ID + 6,000 OOD images, CPU`."""
    if reason := unready(spec):
        return reason
    facts = provenance(spec)
    return f"{facts['source']}, {facts['n_id']:,} ID + {facts['n_ood']:,} OOD images, {facts['device']}"


def provenance(spec: RunSpec) -> dict[str, str | int]:
    """What every export states: source, model, weights, data, counts, device, versions, date, conventions."""
    at = setup(spec)
    folder = find_bank(identity(at, at.id_set)) if has_bank(at, at.id_set) else None
    bundled = folder is not None and folder.is_relative_to(BUNDLED)
    return {
        "source": "bundled" if bundled else "computed here" if folder else "not computed yet",
        "model": spec.model,
        "weights_sha256": entry(spec.model).weights_hash(),
        "placement": at.placement,
        "dtype": at.dtype,
        "method": str(spec.method),
        "score": ALL_SCORES[spec.method.score],
        "id": at.id_set,
        "ood": ", ".join(chosen_sets(spec)),
        "n_id": len(images(at, at.id_set)),
        "n_ood": sum(len(images(at, name)) for name in chosen_sets(spec)),
        **_measured(spec),
        "conventions": CONVENTIONS,
    }


def _measured(spec: RunSpec) -> dict[str, str]:
    """Device and date of the numbers that this spec shows; the device alone while they are not computed."""
    at = setup(spec)
    if missing_sets(at) or not is_linear(at):
        return {"device": device()}
    origin = grid_with_origin(at, spec.score)[1]
    return {name: origin[name] for name in ("device", "date")}
