"""One OOD image that is followed from its picture to its verdict, and what is said of it at each step."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.backend import evaluations, registry, samples, setups
from app.theme import ALGORITHMS, count, number
from app.ui.lessons.facts import Here
from app.ui.placement_values import STAND_IN
from ash.methods import Method
from ash.metrics import accepts, threshold_at_tpr


@dataclass(frozen=True)
class Followed:
    """The image: where it is from, what it shows, and the real operation's numbers on it.

    Pairs are without shaping and with it: `scores`, `lines` (thresholds), `predicted` (classes). `values`: of its
    activation, of which `kept` stay; `factor` of ASH-S, `level` of ASH-B, None for other methods.
    """

    data: str
    label: str
    name: str
    picture: NDArray[np.uint8] | None
    method: Method
    classes: int
    scores: tuple[float, float]
    lines: tuple[float, float]
    predicted: tuple[str, str]
    values: int
    kept: int
    factor: float | None
    level: float | None

    @property
    def accepted(self) -> tuple[bool, bool]:
        """The verdicts."""
        first, second = (bool(accepts(score, line)) for score, line in zip(self.scores, self.lines, strict=True))
        return first, second


@dataclass(frozen=True)
class Step:
    """One step: its words; the lesson that says more, "" for none; a page, its label and some fields of its spec."""

    title: str
    words: str
    lesson: str = ""
    page: str = ""
    label: str = ""
    fields: dict[str, Any] = field(default_factory=dict)


def shown_method(here: Here) -> Method:
    """The session's variant if it is one of Algorithms 1 to 3, else the one that stands in; with the energy score."""
    variant = here.spec.variant if here.spec.variant in ALGORITHMS else STAND_IN
    return Method(variant, here.spec.p)


def followed(here: Here) -> Followed:
    """The OOD image that is most surely accepted without shaping and rejected with it; where none is, that with the
    highest score without. Of sets whose images are here, if any are.
    """
    method = shown_method(here)
    before, after = (evaluations.evaluation(here.at, text) for text in ("energy", str(method)))
    old_line, new_line = (threshold_at_tpr(one.id_scores, here.spec.tpr / 100) for one in (before, after))
    pictured = [name for name in here.sets if setups.whole_set(name).has_images] or list(here.sets)
    found = []
    for name in pictured:
        old, new = before.ood_scores[name], after.ood_scores[name]
        rescued = accepts(old, old_line) & ~accepts(new, new_line)
        row = int(np.where(rescued, old, -np.inf).argmax()) if rescued.any() else int(old.argmax())
        found.append((bool(rescued[row]), float(old[row]), float(new[row]), name, row))
    _, *scores, name, row = max(found, key=lambda one: one[:2])
    return _facts(here, method, name, row, (scores[0], scores[1]), (float(old_line), float(new_line)))


def _facts(
    here: Here, method: Method, name: str, row: int, scores: tuple[float, float], lines: tuple[float, float]
) -> Followed:
    one = samples.sample(here.at, str(method), name, samples.number(here.at, name, row))
    classes = registry.entry(here.spec.model).classes
    factor, level = (None if values is None else float(values[0]) for values in (one.trace.factor, one.trace.level))
    return Followed(
        data=name,
        label=here.labels[name],
        name=one.name,
        picture=one.picture,
        method=method,
        classes=len(classes),
        scores=scores,
        lines=lines,
        predicted=(classes[int(one.logits.argmax())], classes[int(one.shaped_logits.argmax())]),
        values=one.x.size,
        kept=int(one.trace.k[0]),
        factor=factor,
        level=level,
    )


def steps(one: Followed, gain: str) -> list[Step]:
    """Picture, score, prune, shape, choose, your own. `gain`: what the method does to all images."""
    verdicts = [("accepted" if accepted else "rejected") for accepted in one.accepted]
    score, after = map(number, one.scores)
    line, later = map(number, one.lines)
    if one.factor is not None:
        shaping = f"multiplies what stays by exp(s1/s2), here {number(one.factor)}"
    elif one.level is not None:
        shaping = f"makes all that stays equal, here {number(one.level)}"
    else:
        shaping = "leaves what stays as it is"
    name = one.method.label.partition(" @ ")[0]
    again = "again " if verdicts[0] == verdicts[1] else ""
    return [
        Step(
            "Picture",
            f"Of {one.label}: none of the {count(one.classes)} classes. The network says {one.predicted[0]}.",
        ),
        Step(
            "Score",
            f"All logits together give its energy, {score}. The line above which 95 % of the known images lie is at "
            f"{line}: {verdicts[0]}.",
            "inputs",
        ),
        Step(
            "Prune",
            f"The last layer reads {count(one.values)} values. {name} keeps the largest {count(one.kept)} and sets the "
            f"others to 0: p = {one.method.percentile:g} %.",
            "pruning",
        ),
        Step(
            "Shape",
            f"{name} {shaping}. Its energy is now {after}, and the line of the known images, shaped as well, at "
            f"{later}: {again}{verdicts[1]}.",
            "shaping",
        ),
        Step("Choose", f"One picture proves nothing. {gain}. Which variant, and which p?", "choosing"),
        Step(
            "Your own photograph",
            "Send one of yours through the same network, and read why it is accepted or rejected.",
            page="samples",
            label="Your own images",
            fields={"look": "own"},
        ),
    ]
