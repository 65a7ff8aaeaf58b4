"""Scores that are not made of these banks' logits: what a run of their own is made of.

ODIN's are those of perturbed images, GODIN's those of the numerators of a divided head, AdaSCALE's of the plain image
and a perturbed one side by side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from ash.engine.pairs import Pairs, of_the_first
from ash.engine.plan import SweepError
from ash.methods import Method
from ash.splitting import LinearTail, linear_tail, numerators

Tail = nn.Module | LinearTail
Perturbed = tuple[Any, Mapping[str, Any]]  # the ID bank of perturbed images, and those of the OOD sets by name


@dataclass(frozen=True)
class Aside:
    """A run beside the main one, for its methods `members`. `thresholds_from`: the ID bank of global thresholds."""

    members: list[int]
    methods: list[Method]
    tail: Tail
    id_bank: Any
    ood: Mapping[str, Any]
    perturbed: Perturbed | None = None
    thresholds_from: Any = None


def asides(
    methods: Sequence[Method],
    tail: Tail,
    id_bank: Any,
    ood: Mapping[str, Any],
    perturbed: Perturbed | None,
    shifted: Perturbed | None,
) -> list[Aside]:
    """What is to be run beside the banks themselves; SweepError where something that it takes is missing."""
    found = []
    if odin := _reading("perturbed", methods):
        if perturbed is None:
            raise SweepError(
                "odin is scored on perturbed images: give `perturbed`, their banks (ID, {name: OOD}), as "
                "`python -m ash sweep` extracts them; for epsilon = 0 these are the banks themselves."
            )
        if not _same(perturbed, id_bank, ood):
            _check_perturbed(perturbed, id_bank, ood)
            found.append(Aside(odin, [methods[i] for i in odin], tail, *perturbed, perturbed, id_bank))
    if godin := _reading("numerators", methods):
        divided = numerators(tail) if isinstance(tail, fx.GraphModule) else None
        if divided is None:
            raise SweepError(
                "godin needs a network that was trained with a divided head, whose logits are h(x) / g(x): this one's "
                "are not, so only the published number can be shown."
            )
        found.append(Aside(godin, [Method(score="max_logit")] * len(godin), divided, id_bank, ood))
    if (moving := _reading("shifted", methods)) and not isinstance(id_bank, Pairs):
        if shifted is None:
            raise SweepError(
                f"{methods[moving[0]]} compares images with perturbed ones: give `shifted`, the banks of those (ID, "
                "{name: OOD}), as `python -m ash sweep` extracts them."
            )
        _check_perturbed(shifted, id_bank, ood)
        linear = tail if isinstance(tail, LinearTail) else linear_tail(tail, id_bank.shape[1:])
        if linear is None:
            raise SweepError(f"{methods[moving[0]]} reads the last layer, so it needs the penultimate placement.")
        first, others = shifted
        pairs = {name: Pairs(bank, others[name]) for name, bank in ood.items()}
        found.append(Aside(moving, [methods[i] for i in moving], of_the_first(linear), Pairs(id_bank, first), pairs))
    return found


def _reading(what: str, methods: Sequence[Method]) -> list[int]:
    """Which of the methods have a score that reads this."""
    return [i for i, method in enumerate(methods) if what in method.scoring.score.reads]


def _same(perturbed: Perturbed, id_bank: Any, ood: Mapping[str, Any]) -> bool:
    """Whether the perturbed banks are the plain ones: ODIN with its temperature alone."""
    first, others = perturbed
    return first is id_bank and others.keys() == ood.keys() and all(others[name] is ood[name] for name in ood)


def _check_perturbed(perturbed: Perturbed, id_bank: Any, ood: Mapping[str, Any]) -> None:
    """SweepError unless there is a perturbed sample for every one."""
    first, others = perturbed
    if list(others) != list(ood):
        raise SweepError(f"There are perturbed images of {', '.join(others)}, and OOD sets {', '.join(ood)}.")
    for name, plain, other in (("ID", id_bank, first), *((name, ood[name], others[name]) for name in ood)):
        if plain.shape != other.shape:
            raise SweepError(f"The activations of {name} have the shape {plain.shape}, perturbed ones {other.shape}.")
