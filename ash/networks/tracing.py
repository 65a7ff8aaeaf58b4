"""What a network says of itself: its placements with display names, and whether it is what its entry states."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ash.networks.checkpoints import ModelError
from ash.networks.entries import PENULTIMATE, ModelEntry

if TYPE_CHECKING:
    from ash.splitting import Cut

PENULTIMATE_LABEL = "Penultimate layer"


def default_placements(name: str, cuts: "tuple[Cut, ...]") -> "tuple[dict[str, str], Cut]":
    """The penultimate placement and, before it, the ends of the later stages: the last cut of a resolution.

    After its ReLU where it has one: only there are activations as the paper shapes them.
    """
    last = _penultimate(name, cuts)
    at = cuts.index(last)
    ends: dict[tuple[int, ...], Cut] = {}
    for cut in cuts[at // 2 : at]:
        where = _resolution(cut)
        after_relu = where in ends and ends[where].signed is False
        if where and not cut.before_relu and (cut.signed is False or not after_relu):
            ends[where] = cut
    ends.pop(_resolution(last), None)
    shown = sorted(ends.values(), key=cuts.index)
    labels = {cut.name: f"Stage end, {' × '.join(map(str, cut.shape))}" for cut in shown}
    return {**labels, last.name: PENULTIMATE_LABEL}, last


def facts_of(cuts: "tuple[Cut, ...]", places: dict[str, str]) -> dict[str, Any]:
    """The fields of an entry that say what its placements are."""
    shown = [cut for cut in cuts if cut.name in places]
    return {
        "placements": places,
        "deep_placements": tuple(cut.name for cut in shown if not cut.linear),
        "sizes": {cut.name: cut.size for cut in shown},
    }


def _penultimate(name: str, cuts: "tuple[Cut, ...]") -> "Cut":
    last = next((cut for cut in cuts if cut.penultimate), None)
    if last is None:
        raise ModelError(f"{name} is not offered: it cannot be cut at its penultimate tensor alone.")
    return last


def _resolution(cut: "Cut") -> tuple[int, ...]:
    """Height and width of a square map, channels first or last; the number of tokens; () for anything else."""
    match cut.shape:
        case (tokens, _):
            return (tokens,)
        case (_, height, width) if height == width:
            return height, width
        case (height, width, _) if height == width:
            return height, width
    return ()


def traced(entry: ModelEntry) -> ModelEntry:
    """An entry with the placements that its network has: those it names, or default ones, the penultimate one last.

    Builds the network and runs it on a few images. ModelError, SplitError, or whatever its function raises, when it is
    no network for such images and classes, or has no such placement.
    """
    from ash.splitting import cuts_of_architecture

    _check_output(entry)
    cuts = cuts_of_architecture(entry.architecture, entry.preprocess.shape, whole=True)
    places, last = default_placements(entry.name, cuts)
    if entry.placements:
        places = _stated(entry, cuts, last)
    return replace(entry, traced=True, **facts_of(cuts, places))


def _stated(entry: ModelEntry, cuts: "tuple[Cut, ...]", last: "Cut") -> dict[str, str]:
    """The placements that an entry names, in network order."""
    names = [cut.name for cut in cuts]
    for name in entry.placements:
        if name not in names:
            raise ModelError(f"it has no placement '{name}': {', '.join(names)}")
    order = sorted({*entry.placements, last.name}, key=names.index)
    if order[-1] != last.name:
        raise ModelError(f"the placement '{order[-1]}' lies behind the penultimate one, {last.name}")
    return {name: entry.placements.get(name, PENULTIMATE_LABEL) for name in order}


def _check_output(entry: ModelEntry) -> None:
    from torch import nn

    from ash.networks.answers import check_answers
    from ash.splitting import resolve

    model: nn.Module = entry.architecture()
    if not isinstance(model, nn.Module):
        raise ModelError(f"its function returns {type(model).__name__}, not a torch.nn.Module")
    logits = check_answers(model.eval(), entry.preprocess.shape)
    if logits != len(entry.classes):
        raise ModelError(f"it makes {logits} logits of an image; its {len(entry.classes)} classes need as many")
    resolve(model, PENULTIMATE)  # says what is in the way, where it has no such placement
