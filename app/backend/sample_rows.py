"""All samples of a setup in one table: scores, margins, verdicts and classes, before and after shaping; cached."""

import math
import time
from collections.abc import Generator

import numpy as np
from numpy.typing import NDArray

from app.backend.banks import Step, bank, id_labels
from app.backend.caches import cache_resource
from app.backend.engine import parts
from app.backend.evaluations import evaluation
from app.backend.fits import fit_of
from app.backend.setups import Setup, whole_set
from app.backend.turns import semaphore
from app.charts.sample_table import Images, Judged, SampleTable, judge, read_only
from ash.methods import Method


@cache_resource(max_entries=8)
def every_sample(at: Setup, method: str, sets: tuple[str, ...], tpr: float) -> SampleTable:
    """The samples of the ID set and of some OOD sets under a method, and under its score without shaping.

    `tpr`: the share of the ID images that is accepted, a fraction.
    """
    plain = Method.parse(method).score
    return SampleTable(_images(at, sets), _judged(at, plain, sets, tpr), _judged(at, method, sets, tpr))


def predictions(at: Setup, method: str) -> dict[str, NDArray[np.integer]]:
    """Set name -> the class (n,) of each row of its bank after shaping, read-only; of the ID set and all OOD sets."""
    for name in at.ood:
        _classify(at, method, name)
    return {at.id_set: read_only(evaluation(at, method).predictions.copy()), **_classes(at, method)}


def class_steps(at: Setup, methods: tuple[str, ...]) -> Generator[Step, None, None]:
    """Find the classes of the OOD images under some methods, a set at a time: progress in images. Stop to cancel."""
    todo = [(method, name) for method in methods for name in at.ood if name not in _classes(at, method)]
    total, done, begun = sum(len(bank(at, name)) for _, name in todo), 0, time.monotonic()
    for method, name in todo:
        yield Step(f"Classes, {name}", done, total, *_rate(done, total, time.monotonic() - begun))
        _classify(at, method, name)
        done += len(bank(at, name))


def _rate(done: int, total: int, seconds: float) -> tuple[float, float]:
    return (done / seconds, seconds * (total - done) / done) if done else (0.0, math.inf)


@cache_resource(max_entries=64)
def _classes(at: Setup, method: str) -> dict[str, NDArray[np.integer]]:
    """Set name -> classes, filled one set after the other."""
    return {}


def _classify(at: Setup, method: str, name: str) -> None:
    """One pass over an OOD set, unless its classes are known: a sweep keeps the classes of the ID set alone."""
    from ash.device import evaluation_device
    from ash.sweeping import predict

    known = _classes(at, method)
    if name in known:
        return
    asked = Method.parse(method)
    fit = fit_of(at) if asked.needs_fit else None
    with semaphore:
        found = predict(
            parts(at)[1],
            bank(at, name),
            asked,
            id_bank=bank(at, at.id_set),
            device=evaluation_device(),
            fit=fit,
            progress=semaphore.let_others,
        )
    known[name] = read_only(found)


@cache_resource(max_entries=32)
def _judged(at: Setup, method: str, sets: tuple[str, ...], tpr: float) -> Judged:
    one, classes = evaluation(at, method), predictions(at, method)
    scores = [one.id_scores, *(one.ood_scores[name] for name in sets)]
    return judge(scores, [classes[name] for name in (at.id_set, *sets)], tpr)


@cache_resource(max_entries=8)
def _images(at: Setup, sets: tuple[str, ...]) -> Images:
    """What is known of the images without any method. A bank may hold a part of its set, so rows are not numbers."""
    every = (at.id_set, *sets)
    banks = [bank(at, name) for name in every]
    numbers = []
    for name, rows in zip(every, banks, strict=True):
        place = {title: number for number, title in enumerate(whole_set(name).names)}
        numbers.append(np.array([place[title] for title in rows.names], np.int64))
    true = [id_labels(at), *(np.full(len(rows), -1, np.int64) for rows in banks[1:])]
    codes = np.repeat(np.arange(len(every), dtype=np.int16), [len(rows) for rows in banks])
    return Images(
        every,
        at.entry.classes,
        read_only(codes),
        read_only(np.concatenate(numbers)),
        [title for rows in banks for title in rows.names],
        read_only(np.concatenate(true)),
    )
