"""Banks x methods -> scores per sample and a table of metrics, all percentiles in one pass where the tail allows it.

A tail that is one linear map, or pool + linear, takes all settings in one pass over the banks (`linear`); any other
tail runs once for each setting, setting by setting, on the shaped activations. Both give the numbers of
`method.shape -> tail -> score`, whatever the chunking.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ash.engine.asides import Perturbed
from ash.engine.plan import SweepError as SweepError
from ash.engine.runs import Run
from ash.fitting import Fit
from ash.methods import Method
from ash.splitting import LinearTail
from ash.tables import Sweep as Sweep


@dataclass(frozen=True)
class Step:
    """Progress of a sweep, in evaluations of a sample by a setting.

    `finished`: the methods that became complete with this step, on all banks; None between.
    """

    done: int
    total: int
    finished: Sweep | None = None


def sweep(
    tail: nn.Module | LinearTail,
    id_bank: Any,
    ood: Mapping[str, Any],
    methods: Sequence[Method],
    *,
    id_labels: Sequence[int] | NDArray[np.integer] | None = None,
    device: str | torch.device | None = None,
    precision: str = "float32",
    fit: Fit | None = None,
    perturbed: Perturbed | None = None,
    shifted: Perturbed | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Sweep:
    """Evaluate methods on the activations of the ID set and of OOD sets: banks or float arrays (n, ...).

    `id_labels` (N,) default to the bank's; -1 means unknown. `device` defaults to the tail's. `precision` is for tails
    that are not linear: "bfloat16" runs them under autocast, with channels last, which pays on a GPU; activations are
    shaped and logits scored in float32 all the same. (There is no "float16": ASH-S goes beyond its range.)
    `fit` is what react@P%, dice and the fitted scores take from a training set (`ash.fitting`), of the model and
    placement of the banks; it is of unshaped activations, whatever shape the scores follow. `perturbed` are the banks
    of ODIN's images, or the plain ones where it only has its temperature, `shifted` those of AdaSCALE's.
    `progress(done, total)` is called in this thread between steps and counts evaluations of a sample by a setting;
    what it raises ends the sweep. SweepError for input that does not fit, naming the sample where an activation is NaN
    or infinite; LabelError for labels that are not classes of the network.
    """
    run = Run(tail, id_bank, ood, methods, id_labels, device, precision, fit, perturbed, shifted)
    run.check_labels(tail)
    _evaluate(run, progress)
    return run.result(range(len(methods)))


def _evaluate(run: Run, progress: Callable[[int, int], None] | None) -> None:
    done = 0
    for count, _ in run.parts():
        done += count
        if count and progress is not None:
            progress(done, run.total)


def predict(
    tail: nn.Module | LinearTail,
    bank: Any,
    method: Method,
    *,
    id_bank: Any = None,
    device: str | torch.device | None = None,
    precision: str = "float32",
    fit: Fit | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.int32]:
    """The class (n,) with the largest logit after shaping, for every sample of one bank, of an OOD set as well.

    It hangs on the steps of the method alone, whatever its score. `id_bank`: the ID set, for steps whose threshold is
    one for all samples. The rest as in `sweep`.
    """
    steps = Method(score="max_logit", steps=method.steps)
    run = Run(tail, bank, {}, [steps], None, device, precision, fit, thresholds_from=id_bank)
    _evaluate(run, progress)
    return run.result([0]).id_predictions[0]


def sweep_steps(
    tail: nn.Module | LinearTail,
    id_bank: Any,
    ood: Mapping[str, Any],
    methods: Sequence[Method],
    *,
    id_labels: Sequence[int] | NDArray[np.integer] | None = None,
    device: str | torch.device | None = None,
    precision: str = "float32",
    fit: Fit | None = None,
    perturbed: Perturbed | None = None,
    shifted: Perturbed | None = None,
) -> Iterator[Step]:
    """`sweep`, handing out what is finished as it comes: stop iterating to cancel.

    A tail that is not linear takes the settings in the order of the methods, each on all banks before the next; a
    linear one finishes all of them at the end. Input that does not fit is refused at once, except for NaN and infinity.
    One thread at a time may advance the iterator, not always the same.
    """
    run = Run(tail, id_bank, ood, methods, id_labels, device, precision, fit, perturbed, shifted)
    run.check_labels(tail)
    return _steps(run)


def _steps(run: Run) -> Iterator[Step]:
    done = 0
    for count, methods in run.parts():
        done += count
        yield Step(done, run.total, run.result(methods) if methods else None)
