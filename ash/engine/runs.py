"""One sweep at work: what is asked for, and the scores and predictions so far (how banks are read: `passes`).

Most scores are made of the logits of one bank, some of its activations too. For others there are runs of their own,
`aside`, whose scores join the predictions of this one.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ash.device import memory
from ash.engine.activations import Reader, checked, checked_labels, chunks_of, pooled
from ash.engine.asides import Perturbed, Tail, asides
from ash.engine.grouped import Evaluator
from ash.engine.pairs import Pairs
from ash.engine.passes import Counts, by_setting, in_one_pass
from ash.engine.plan import BEYOND, TIED, Plan, SweepError, predictions
from ash.engine.tails import DeepTail, Place, class_count, evaluator_for
from ash.engine.thresholds import resolve
from ash.fitting import Fit, FitError
from ash.labels import check_labels
from ash.methods import Method
from ash.scores import Given, ScoreError, Scorer
from ash.splitting import LinearTail, linear_tail
from ash.tables import Sweep


class Run:
    """What is asked for, and the scores and predictions so far. The ID set is set 0."""

    def __init__(
        self,
        tail: Tail,
        id_bank: Any,
        ood: Mapping[str, Any],
        methods: Sequence[Method],
        id_labels: Any = None,
        device: Place = None,
        precision: str = "float32",
        fit: Fit | None = None,
        perturbed: Perturbed | None = None,
        shifted: Perturbed | None = None,
        thresholds_from: Any = None,
    ) -> None:
        """As in `sweep`. `thresholds_from`: the ID bank of global thresholds, if it is not this one."""
        if not methods:
            raise SweepError("There is no method to evaluate: give at least one, for example Method.parse('energy').")
        taken = next((name for name in ood if name in ("ID", "mean")), None)
        if taken:
            raise SweepError(f"An OOD set cannot be called '{taken}', which means something else in the table.")
        self.methods, self.names = tuple(methods), ["ID", *ood]
        self.banks = _alike(dict(zip(self.names, [id_bank, *ood.values()], strict=True)))
        self.labels = checked_labels(self.banks[0], id_labels)
        _check_fit(fit, self.banks[0])
        features, dtypes = self.banks[0].shape[1:], {bank[0].dtype for bank in self.banks}
        wide = torch.float64 if any(dtype.itemsize > 4 for dtype in dtypes) else torch.float32
        self.aside = []
        for one in asides(self.methods, tail, id_bank, ood, perturbed, shifted):
            where = (None, device, precision, fit, one.perturbed)
            run = Run(one.tail, one.id_bank, one.ood, one.methods, *where, thresholds_from=one.thresholds_from)
            self.aside.append((run, one.members))
        elsewhere = {i for _, members in self.aside for i in members}
        self.plan = Plan(methods, elsewhere)
        settings = resolve(self.plan.settings, fit, self.banks[0] if thresholds_from is None else thresholds_from, wide)
        self.settings = settings
        with memory(torch.device(device or "cuda")):
            self.evaluator = evaluator_for(tail, features, settings, dtypes, device, precision, fit)
            device = self.evaluator.device
            own = [method for i, method in enumerate(self.methods) if i not in elsewhere]
            self.ready = _ready(own, tail, self.banks[0], self.evaluator, fit)
            dtype = torch.float64 if self.evaluator.dtype == torch.float64 else torch.float32
            sizes, count = [bank.shape[0] for bank in self.banks], len(self.plan.settings)
            self.scores = [torch.empty((len(methods), size), dtype=dtype, device=device) for size in sizes]
            self.predictions = torch.empty((count, sizes[0]), dtype=torch.int32, device=device)
            self.doubts = [torch.zeros((count, size), dtype=torch.uint8, device=device) for size in sizes]

    def check_labels(self, tail: Tail) -> None:
        """LabelError when the labels of the ID set are not all classes of the tail's network."""
        if self.labels is not None:
            check_labels(self.labels, class_count(tail, self.banks[0].shape[1:]))

    def result(self, methods: Sequence[int]) -> Sweep:
        """Scores and predictions of these methods."""
        chosen = ... if len(methods) == len(self.methods) else list(methods)
        settings = [self.plan.setting[i] for i in methods]
        ids, *others = found = [scores[chosen].cpu().numpy() for scores in self.scores]
        names = dict(zip(self.names[1:], others, strict=True))
        counted = [self._doubtful(at, methods, scores) for at, scores in enumerate(found)]
        return Sweep(
            tuple(self.methods[i] for i in methods),
            ids,
            names,
            self.predictions[settings].cpu().numpy(),
            self.labels,
            counted[0],
            dict(zip(self.names[1:], counted[1:], strict=True)),
            self.evaluator.device.type == "cuda",
        )

    def _doubtful(self, at: int, methods: Sequence[int], scores: NDArray[np.floating]) -> NDArray[np.int64]:
        """For how many samples of a set these methods' results are doubtful: (len(methods), 2), see `Sweep`.

        `scores` (len(methods), n). SweepError names the first sample whose score is NaN.
        """
        source = {i: (self, self.plan.setting[i]) for i in methods}
        for run, members in self.aside:
            source |= {i: (run, run.plan.setting[j]) for j, i in enumerate(members) if i in source}
        doubts = {run: run.doubts[at].cpu().numpy() for run in {run for run, _ in source.values()}}
        counts = np.empty((len(methods), 2), np.int64)
        for row, (i, one) in enumerate(zip(methods, scores, strict=True)):
            bad = np.isnan(one)
            if bad.any():
                raise SweepError(
                    f"{self.methods[i]} gives sample {bad.argmax()} of {self.names[at]} a score that is NaN: its "
                    "activation is finite, what the network makes of it is not."
                )
            run, setting = source[i]
            bits = doubts[run][setting]
            extreme = np.abs(one) >= np.finfo(one.dtype).max
            counts[row] = np.count_nonzero(bits & TIED), np.count_nonzero((bits & BEYOND > 0) | extreme)
        return counts

    @property
    def total(self) -> int:
        """Evaluations of a sample by a setting."""
        own = len(self.plan.settings) * sum(bank.shape[0] for bank in self.banks)
        return own + sum(run.total for run, _ in self.aside)

    def parts(self) -> Counts:
        """Evaluate everything, part by part."""
        waiting = {i for _, members in self.aside for i in members}
        one = self.evaluator
        own = by_setting(self, one) if isinstance(one, DeepTail) else in_one_pass(self, one)
        for count, methods in own:
            yield count, [i for i in methods if i not in waiting]
        for run, members in self.aside:
            for count, finished in run.parts():
                for scores, theirs in zip(self.scores, run.scores, strict=True):
                    for i in finished:
                        scores[members[i]] = theirs[i].to(scores.dtype)
                yield count, [members[i] for i in finished]

    def keep(
        self,
        at: int,
        rows: slice,
        positions: list[int],
        logits: Tensor,
        features: Callable[[int], Tensor],
        chosen: Any = ...,
    ) -> None:
        """Score logits (positions, R, C) of the samples `rows` of set `at`, or of the `chosen` (bool) among them.

        `features(position)`: their activations (R, F) after a setting, of which they are the logits.
        """
        if at == 0:
            for position, predicted in zip(positions, predictions(logits), strict=True):
                self.predictions[position, rows][chosen] = predicted.to(torch.int32)
        for method, scores in self.plan.score(positions, logits, self.ready, features):
            self.scores[at][method, rows][chosen] = scores.to(self.scores[at].dtype)

    def copy(self, at: int, rows: slice, position: int, source: int, same: Tensor) -> None:
        """What setting `source` has given for the samples `same` (R,) of `rows`, to another setting."""
        if at == 0:
            _copy(self.predictions, position, source, rows, same)
        _copy(self.doubts[at], position, source, rows, same)
        for score, methods in self.plan.wanted[position].items():
            for method in methods:
                _copy(self.scores[at], method, self.plan.wanted[source][score][0], rows, same)


def _copy(array: Tensor, to: int, source: int, rows: slice, same: Tensor) -> None:
    array[to, rows] = torch.where(same.to(array.device), array[source, rows], array[to, rows])


def _ready(
    methods: Sequence[Method], tail: Tail, id_bank: Any, evaluator: Evaluator | DeepTail, fit: Fit | None
) -> dict[str, Scorer]:
    """What scores the methods whose scores read more than logits, by the score's text.

    SweepError where something that they read is missing.
    """
    wanted = {method.score: method.scoring for method in methods if method.scoring.score.prepared}
    if not wanted:
        return {}
    reads_head = any("head" in scoring.score.reads for scoring in wanted.values())
    given = given_of(tail, id_bank.shape[1:], evaluator.device, evaluator.dtype, fit, reads_head)
    if isinstance(id_bank, Pairs):
        read = Reader(evaluator.device, evaluator.dtype)
        given = replace(
            given, id_pairs=lambda: (pooled(read(part, at, "ID")) for at, part in chunks_of(id_bank, evaluator.rows))
        )
    try:
        with torch.inference_mode():
            return {text: scoring.ready(given) for text, scoring in wanted.items()}
    except ScoreError as error:
        raise SweepError(str(error)) from error


def given_of(
    tail: Tail,
    features: tuple[int, ...],
    device: torch.device,
    dtype: torch.dtype,
    fit: Fit | None,
    reads_head: bool,
) -> Given:
    """What scores are made ready of, for activations (n, *features); of the head only where it is read and linear."""
    head = None
    if reads_head:
        head = tail if isinstance(tail, LinearTail) else linear_tail(tail, features)
    size = features[0] if len(features) == 3 else math.prod(features)
    return Given(device, dtype, size, fit, *((None, None) if head is None else (head.weight, head.bias)))


def _alike(banks: Mapping[str, Any]) -> list[Any]:
    """The banks, checked, when all their samples have the shape of the first one's."""
    found = {name: checked(name, bank) for name, bank in banks.items()}
    features = found["ID"].shape[1:]
    for name, bank in found.items():
        if bank.shape[1:] != features:
            raise SweepError(f"The activations of {name} have the shape {bank.shape[1:]}, of the ID set {features}.")
    return list(found.values())


def _check_fit(fit: Fit | None, bank: Any) -> None:
    """SweepError when the fit was made for other activations; arrays do not say whose they are."""
    try:
        if fit is not None and hasattr(bank, "identity"):
            fit.check(bank.identity)
    except FitError as error:
        raise SweepError(str(error)) from error
