"""What there is, by name: models, placements, presets."""

from app.link.spec import PENULTIMATE
from ash.models import ModelEntry, ModelError, cuts_of, get_model, offered_models


def models() -> dict[str, str]:
    """Model name -> label."""
    return offered_models()


def model_names(asked: str) -> tuple[str, ...]:
    """The models that a link may name, the default first; one that is not offered is looked up in torchvision or timm.

    One of a plug-in is traced when it is asked for, and is not among them if it does not work.
    """
    try:
        known = get_model(asked).name
    except ModelError:
        return tuple(models())
    return tuple(dict.fromkeys((*models(), known)))


def entry(model: str) -> ModelEntry:
    """The registry's entry of a model; AshError when there is none of this name."""
    return get_model(model)


def placements(model: str) -> dict[str, str]:
    """Placement -> display name in network order, the penultimate layer under its alias and last."""
    one = entry(model)
    shown = {node: label for node, label in one.placements.items() if node != one.penultimate}
    return shown | {PENULTIMATE: one.placements.get(one.penultimate, "Penultimate layer")}


def placement_names(model: str, asked: str) -> dict[str, str]:
    """Every name a placement may have in a link -> its name here, the penultimate layer first.

    A node without a display name is looked up in the network's graph, which is traced for that.
    """
    one = entry(model)
    names = {PENULTIMATE: PENULTIMATE, one.penultimate: PENULTIMATE, **{node: node for node in placements(model)}}
    if asked not in names:
        names |= {cut.name: cut.name for cut in cuts_of(model) if cut.name not in names}
    return names


def placement_label(model: str, placement: str) -> str:
    """The display name of a placement, or its node name where it has none."""
    return placements(model).get(placement) or entry(model).placements.get(placement) or placement


def class_in_sentence(model: str, name: str) -> str:
    """The name of a class within a sentence: small where the network begins all of its classes with a capital."""
    return name.lower() if all(one[:1] != one[:1].lower() for one in entry(model).classes) else name


def presets(model: str) -> dict[str, str]:
    """Preset label -> method string."""
    return dict(entry(model).presets)
