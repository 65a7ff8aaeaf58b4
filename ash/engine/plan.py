"""Methods -> the settings to evaluate, and logits -> what is kept of them: scores and predictions."""

import functools
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from ash.errors import AshError
from ash.methods import Method, Step
from ash.scores import Scorer, parse_score

Setting = tuple[Step, ...]  # a method without its score

TIED, BEYOND = 1, 2  # what makes a result doubtful, as bits: a cut among equals that decides; beyond the float's range

LOG2_E = 1 / math.log(2)
FEW = 64  # fewer classes than this are laid out first: short rows are slow to add up


class SweepError(AshError):
    """A sweep cannot be done as asked; the message says what does not fit, and where."""


class Plan:
    """Which settings some methods need, and which method wants which score of which setting."""

    def __init__(self, methods: Sequence[Method], elsewhere: Collection[int] = ()) -> None:
        """`elsewhere`: the methods whose scores are not made of these logits; their predictions are."""
        place = {steps: i for i, steps in enumerate(dict.fromkeys(method.steps for method in methods))}
        self.settings: list[Setting] = list(place)
        self.setting = [place[method.steps] for method in methods]  # of every method
        self.wanted: list[dict[str, list[int]]] = [{} for _ in self.settings]  # setting -> score -> methods
        for i, method in enumerate(methods):
            if i not in elsewhere:
                self.wanted[self.setting[i]].setdefault(method.score, []).append(i)

    def methods_of(self, position: int) -> list[int]:
        """The methods that are evaluated once this setting is."""
        return [method for method, setting in enumerate(self.setting) if setting == position]

    def score(
        self, positions: list[int], logits: Tensor, ready: Mapping[str, Scorer], features: Callable[[int], Tensor]
    ) -> Iterator[tuple[int, Tensor]]:
        """Methods and their scores (R,), given these settings' logits (positions, R, C).

        `ready`: what scores those that read more than logits, and `features(position)` the activations (R, F) for them.
        """
        of_logits = dict.fromkeys(name for one in positions for name in self.wanted[one] if name not in ready)
        for name in of_logits:
            at = [i for i, position in enumerate(positions) if name in self.wanted[position]]
            chosen = logits if len(at) == len(positions) else logits[at]
            scores = fast_energy(chosen) if name == "energy" else _score(name, chosen)
            for i, values in zip(at, scores, strict=True):
                for method in self.wanted[positions[i]][name]:
                    yield method, values
        for i, position in enumerate(positions):
            more = self.wanted[position].keys() & ready.keys()
            z = features(position) if more else logits[i]
            for name in more:
                values = _masked(functools.partial(ready[name], z), logits[i])
                for method in self.wanted[position][name]:
                    yield method, values


def _score(name: str, logits: Tensor) -> Tensor:
    """A score of logits (positions, R, C); NaN where they hold NaN."""
    return _masked(parse_score(name), logits.flatten(0, 1)).view(logits.shape[:2])


def _masked(score: Callable[[Tensor], Tensor], logits: Tensor) -> Tensor:
    """The scores (R,) of logits (R, C); NaN where they hold NaN."""
    bad = logits.isnan().any(1)
    return score(logits.masked_fill(bad[:, None], 0) if bad.any() else logits).masked_fill(bad, torch.nan)


def fast_energy(logits: Tensor) -> Tensor:
    """`scores.energy` of logits (..., C), on a CPU in a third of the time: by powers of 2, few classes laid out first.

    NaN stays NaN: the sweep names the sample.
    """
    limit = torch.finfo(logits.dtype).max
    if logits.device.type != "cpu":
        return torch.logsumexp(logits, -1).clamp_(-limit, limit)
    axis = 0 if logits.shape[-1] < FEW else -1
    z = logits.movedim(-1, 0).contiguous() if axis == 0 else logits
    top = z.amax(axis).clamp_(-limit, limit)  # inf - inf would be NaN
    z = (z - top.unsqueeze(axis)).mul_(LOG2_E).exp2_()  # exp2 takes half the time of exp, and is as exact
    return z.sum(axis).log_().add_(top).clamp_(-limit, limit)  # all -inf: log 0


def predictions(logits: Tensor) -> Tensor:
    """The class with the largest logit, for logits (..., C); on a CPU 10 x torch.argmax."""
    classes = logits.shape[-1]
    if logits.device.type != "cpu":
        return logits.argmax(-1)
    if classes >= FEW:
        return torch.from_numpy(logits.numpy().argmax(-1))
    z = logits.movedim(-1, 0)  # the first of the largest ones is the one with most classes from it to the end
    to_end = torch.arange(classes, 0, -1, dtype=torch.uint8).view(-1, *[1] * (z.dim() - 1))
    return classes - ((z == z.amax(0)).to(torch.uint8) * to_end).amax(0).clamp_(min=1).long()
