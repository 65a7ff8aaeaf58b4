"""Where the numbers come from, for the sidebar and for every export."""

from app.backend.banks import missing_sets
from app.backend.engine import device, is_linear
from app.backend.evaluations import grid_with_origin, has_grid
from app.backend.requirements import unready
from app.backend.setups import Setup, checkpoints, chosen_sets, found_bank, images, is_features, setup
from app.link.spec import RunSpec
from app.theme import listed
from ash.bank import BUNDLED

CONVENTIONS = (
    "ID positive; higher score = more ID; FPR95 at the highest threshold with TPR >= 95 %; AUPR = average precision"
)


def badge(spec: RunSpec) -> str:
    """Where the numbers come from, for the sidebar: `bundled, 3,000 ID + 6,000 OOD images, CPU`."""
    if reason := unready(spec):
        return reason
    facts = provenance(spec)
    kind = "rows" if is_features(spec.model) else "images"
    return f"{facts['source']}, {facts['n_id']:,} ID + {facts['n_ood']:,} OOD {kind}, {facts['device']}"


def provenance(spec: RunSpec) -> dict[str, str | int]:
    """What every export states: source, model, weights, data, counts, device, versions, date, conventions."""
    at = setup(spec)
    folder = found_bank(at, at.id_set)
    bundled = folder is not None and folder.is_relative_to(BUNDLED)
    return {
        "source": "bundled" if bundled else "computed here" if folder else "not computed yet",
        "model": spec.model,
        "weights_sha256": at.entry.weights_hash(),
        **({"checkpoint": _checkpoint(spec, at)} if at.checkpoint else {}),
        "placement": at.placement,
        "dtype": at.dtype,
        "method": str(spec.method),
        "score": spec.method.scoring.label,
        "id": at.id_set,
        "ood": ", ".join(chosen_sets(spec)),
        "n_id": len(images(at, at.id_set)),
        "n_ood": sum(len(images(at, name)) for name in chosen_sets(spec)),
        **_measured(spec),
        "conventions": CONVENTIONS,
    }


def _checkpoint(spec: RunSpec, at: Setup) -> str:
    """Which checkpoint a page is about; what Trade-off has deviations of is about all of them."""
    every = f"; with ± the mean over {listed(checkpoints(at.model))}"
    return at.checkpoint + ("" if spec.checkpoint else every)


def _measured(spec: RunSpec) -> dict[str, str]:
    """Device and date of the numbers that this spec shows; the device alone while they are not computed."""
    at = setup(spec)
    if missing_sets(at) or not is_linear(at) or not has_grid(at, spec.score):
        return {"device": device()}
    origin = grid_with_origin(at, spec.score)[1]
    return {name: origin[name] for name in ("device", "date")}
