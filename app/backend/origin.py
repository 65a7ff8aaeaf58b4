"""Where the numbers come from, for the sidebar and for every export."""

from app.backend.banks import missing_sets
from app.backend.engine import device, is_linear
from app.backend.evaluations import grid_with_origin
from app.backend.names import chosen_sets, datasets, identity, images
from app.spec import RunSpec
from ash.bank import BUNDLED, find_bank
from ash.methods import SCORE_LABELS

CONVENTIONS = (
    "ID positive; higher score = more ID; FPR95 at the highest threshold with TPR >= 95 %; AUPR = average precision"
)


def badge(spec: RunSpec) -> str:
    """Where the numbers come from, for the sidebar: `bundled, 10,000 ID + 6,000 OOD images, CPU`."""
    facts = provenance(spec)
    return f"{facts['source']}, {facts['n_id']:,} ID + {facts['n_ood']:,} OOD images, {facts['device']}"


def provenance(spec: RunSpec) -> dict[str, str | int]:
    """What every export states: source, model, weights, data, counts, device, versions, date, conventions."""
    id_set = datasets(spec.model)[0]
    who = identity(spec.model, spec.placement, id_set)
    folder = find_bank(who)
    bundled = folder is not None and folder.is_relative_to(BUNDLED)
    return {
        "source": "bundled" if bundled else "computed here" if folder else "not computed yet",
        "model": spec.model,
        "weights_sha256": who.weights,
        "placement": spec.placement,
        "method": str(spec.method),
        "score": SCORE_LABELS[spec.score],
        "id": id_set,
        "ood": ", ".join(chosen_sets(spec)),
        "n_id": len(images(spec.model, spec.placement, id_set)),
        "n_ood": sum(len(images(spec.model, spec.placement, name)) for name in chosen_sets(spec)),
        **_measured(spec),
        "conventions": CONVENTIONS,
    }


def _measured(spec: RunSpec) -> dict[str, str]:
    """Device and date of the numbers that this spec shows; the device alone while they are not computed."""
    if missing_sets(spec.model, spec.placement) or not is_linear(spec.model, spec.placement):
        return {"device": device()}
    origin = grid_with_origin(spec.model, spec.placement, spec.score)[1]
    return {name: origin[name] for name in ("device", "date")}
