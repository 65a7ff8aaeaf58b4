"""What methods take from a training set: its activations, their means, quantiles and tied covariance, fitted once.

A fit belongs to one bank, the activations of a training set at one placement of one model, and is stored beside it,
`fit.npz` in the bank's folder of the cache (a bundled bank's too). It is never made again unless that is asked for, and
serves banks of the same model, weights, preprocessing and placement alone. Imports no torch.
"""

import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ash.bank import Bank, BankIdentity, cache_root, find_bank
from ash.errors import AshError
from ash.files import read_npz, write_atomically
from ash.methods import ADASCALE, Method, Perturbation, Step
from ash.scores.of_logits import ODIN_TEMPERATURE

if TYPE_CHECKING:
    from ash.networks.entries import ModelEntry

RIDGE = 1e-6  # of the covariance, as a share of its mean variance
GRID = np.arange(10_001) / 100  # the percentiles that are stored; between them lines
QUANTILE_VALUES = 2**26  # activations that quantiles are taken of; of larger banks every n-th sample
CHUNK_VALUES = 2**22
MOST_FEATURES = 8192  # of a covariance
KEPT_VALUES = 2**27  # features that are kept, 512 MiB: of larger banks every n-th sample
FORMAT = 2  # of the file: 1 had neither features nor ranks; a fit in it is made again

Floats = NDArray[np.float64]


class FitError(AshError):
    """Nothing can be fitted, or a fit is missing, damaged or another model's; the message says what to do."""


@dataclass(frozen=True, eq=False)
class Fit:
    """What a training bank of n samples says; F features a sample, those of a map (F, H, W) averaged over H and W.

    `mean` (F,). `quantiles` (10001,): the activation at every hundredth of a percent, of all values of `quantile_rows`
    samples. `classes` (K,), `class_means` (K, F), and `whitening` (F, F), with whose help the Mahalanobis distance is
    that of (x - mean) @ whitening; empty where the training set has no labels or F is too large for a covariance.
    `features` (m, F), float32, and `labels` (m,), -1 where unknown: of all samples, of a large bank of every n-th one.
    `ranks` (D,): the mean of the j-th smallest of the D values of a sample, for RAS.
    """

    identity: BankIdentity
    rows: int
    quantile_rows: int
    date: str
    versions: str
    mean: Floats
    quantiles: Floats
    classes: NDArray[np.int64]
    class_means: Floats
    whitening: Floats
    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    ranks: Floats

    @cached_property
    def held(self) -> dict[tuple[Any, ...], Any]:
        """What scores have worked out of this fit, for as long as it is in memory (`ash.scores.Given.once`)."""
        return {}

    @cached_property
    def moments(self) -> tuple[Floats, Floats]:
        """Mean (F,) and uncentred covariance (F, F) of the kept features, float64; worked out when first asked for."""
        if len(self.whitening) and len(self.features) == self.rows and (self.labels >= 0).all():
            return self.mean, self._moment_of_whitening()
        size, count = self.features.shape[1], len(self.features)
        rows, total = max(1, CHUNK_VALUES // size), np.zeros((size, size))
        for first in range(0, count, rows):
            x = self.features[first : first + rows].astype(np.float64)
            total += x.T @ x
        return self.features.mean(0, dtype=np.float64), total / count

    def _moment_of_whitening(self) -> Floats:
        """(F, F): the covariance about the class means, which the whitening V is of, and what those means add.

        A product of two small matrices in place of one over all samples. V is triangular and V V^T = (S + ridge)^-1.
        """
        from scipy.linalg import solve_triangular

        size = len(self.whitening)
        lower = solve_triangular(self.whitening, np.eye(size)).T
        within = lower @ lower.T
        ridge = RIDGE / (1 + RIDGE) * np.trace(within) / size
        share = np.bincount(np.searchsorted(self.classes, self.labels)) / self.rows
        return within - ridge * np.eye(size) + (self.class_means.T * share) @ self.class_means

    def at_percentile(self, percentile: float) -> float:
        """The activation at a percentile in [0, 100]: the threshold of `react@P%`."""
        return float(np.interp(percentile, GRID, self.quantiles))

    def percentile_of(self, value: float) -> float:
        """The share of activations below a value, percent."""
        return float(np.interp(value, self.quantiles, GRID))

    def dice_mask(self, weight: NDArray[np.floating], percentile: float) -> NDArray[np.bool_]:
        """(C, F): which weights (C, F) of the last layer DICE keeps, those of the largest contribution mean * weight.

        Kept is what lies above the percentile of the whole matrix, so even at 0 the smallest one goes.
        """
        if weight.shape[1] != len(self.mean):
            raise FitError(f"The fit has {len(self.mean)} features and the last layer takes {weight.shape[1]}.")
        contribution = self.mean * weight.astype(np.float64)
        return contribution > np.percentile(contribution, percentile)

    def resolve(self, step: Step) -> Step:
        """`react@P%` as `react@C`, `ras` with this fit, and so on; any other step as it is.

        FitError where a percentile is not positive, or the two of a step are one value.
        """
        variant = step.variant
        if variant.needs != "fit" or variant.does == "weights":
            return step
        if variant.parameter is None:
            return replace(step, fit=self)
        *lower, c = map(self.at_percentile, step.values)
        if not c > 0:
            p = step.values[-1]
            raise FitError(f"{step}: {p:g} % of the training activations are {c:g} or less; clip higher.")
        if lower and not 0 <= lower[0] < c:
            raise FitError(f"{step} stands for {lower[0]:g} and {c:g} here: the first must be 0 or more, and smaller.")
        return Step(variant.word, lower[0], upper=c) if lower else Step(variant.word, c)

    def label(self, method: Method) -> str:
        """A method's label, with thresholds and their percentiles: `ReAct @ 90 % (c = 0.41)`."""
        text = method.label
        for step in method.steps:
            if step.variant.unit == "%":
                stands = ", ".join(f"{self.at_percentile(p):.3g}" for p in step.values)
                text = text.replace(step.label, f"{step.label} ({step.variant.letters} = {stands})")
            if step.name == "react":
                share = self.percentile_of(step.parameter)
                shown = f"{share:.1f} %" if GRID[1] <= share <= GRID[-2] else "beyond 0.01 or 99.99 %"
                text = text.replace(step.label, f"{step.label} ({shown})")
        return text

    def check(self, other: BankIdentity) -> None:
        """FitError unless activations of this identity may be judged by this fit."""
        mine = self.identity
        for name, what in (
            ("model", "the model"),
            ("placement", "the placement"),
            ("weights", "weights of hash"),
            ("transform", "the preprocessing"),
            ("code", "the network's code of hash"),
        ):
            a, b = getattr(mine, name), getattr(other, name)
            if name == "code" and not (a and b):
                continue  # earlier banks do not tell
            if name == "transform":
                b = plain_transform(b)
            if a != b:
                if name in ("weights", "code"):
                    a, b = a[:12], b[:12]
                raise FitError(
                    f"The fit on {mine.dataset} belongs to {what} {a}, the activations of {other.dataset} to {b}: "
                    f"fit on a training set of {other.model} at {other.placement}."
                )


ADASCALE_STEP, ADASCALE_SHARE = 0.5, 5.0  # how far normalised values of pixels are moved, and percent of them

_ODIN_MARK, _ADASCALE_MARK = "; ODIN, T = ", "; AdaSCALE, "  # how the transform of a bank of perturbed images goes on


def perturbed_transform(transform: str, epsilon: Perturbation) -> str:
    """The preprocessing of a bank of images, perturbed so; `transform` itself where epsilon is 0."""
    if epsilon == ADASCALE:
        return f"{transform}{_ADASCALE_MARK}{ADASCALE_SHARE:g} %, epsilon = {ADASCALE_STEP:g}"
    return f"{transform}{_ODIN_MARK}{ODIN_TEMPERATURE:g}, epsilon = {epsilon:g}" if epsilon else transform


def plain_transform(transform: str) -> str:
    """The preprocessing in a bank's identity, without what was done to the pixels after it."""
    return transform.partition(_ODIN_MARK)[0].partition(_ADASCALE_MARK)[0]


def perturbation(transform: str) -> str:
    """What a bank's transform tells of a perturbation, "" for images as they are."""
    return transform[len(plain_transform(transform)) :]


def fit(bank: Bank, progress: Callable[[], None] = lambda: None) -> Fit:
    """Fit on a training bank, in float64, in one pass for means and another for the covariance. Nothing is stored.

    `progress` is called in this thread after every chunk of both, and between what is done with the whole.
    """
    labels, shape = bank.labels, bank.shape[1:]
    size = shape[0] if len(shape) == 3 else int(np.prod(shape))
    classes, codes = np.unique(labels[labels >= 0], return_inverse=True)
    which = np.full(len(labels), -1)
    which[labels >= 0] = codes
    total, sums = np.zeros(size), np.zeros((len(classes), size))
    step = -(-len(bank) * size // KEPT_VALUES)
    features = np.empty((-(-len(bank) // step), size), np.float32)
    for first, x in _chunks(bank):
        total += x.sum(0)
        kept = x[-first % step :: step]
        at = -(-first // step)
        features[at : at + len(kept)] = kept
        part = which[first : first + len(x)]
        order = np.argsort(part, kind="stable")[np.count_nonzero(part < 0) :]
        present, starts = np.unique(part[order], return_index=True)
        if len(present):
            sums[present] += np.add.reduceat(x[order], starts)
        progress()
    if size > MOST_FEATURES:
        classes, sums = classes[:0], sums[:0]
    class_means = sums / np.bincount(codes, minlength=len(classes))[: len(classes), None]
    whitening = _whitening(bank, class_means, which, progress) if len(classes) else np.empty((0, 0))
    progress()
    values, rows = _sample(bank)
    progress()
    return Fit(
        identity=bank.identity,
        rows=len(bank),
        quantile_rows=rows,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=f"numpy {version('numpy')}, scipy {version('scipy')}",
        mean=total / len(bank),
        quantiles=_at_grid(values),
        classes=classes.astype(np.int64),
        class_means=class_means,
        whitening=whitening,
        features=features,
        labels=np.asarray(labels[::step], np.int64),
        ranks=_ranks(bank, progress),
    )


def _chunks(bank: Bank) -> Iterator[tuple[int, Floats]]:
    """The index of the first sample and features (R, F) in float64, maps averaged, chunk by chunk."""
    first = 0
    for part in bank.chunks(max(1, CHUNK_VALUES // int(np.prod(bank.shape[1:])))):
        x = part.astype(np.float64)
        yield first, x.mean((2, 3)) if x.ndim == 4 else x.reshape(len(x), -1)
        first += len(x)


def _ranks(bank: Bank, progress: Callable[[], None]) -> Floats:
    """(D,) the mean over the samples of their values from the smallest to the largest, maps as they are."""
    size = int(np.prod(bank.shape[1:]))
    total = np.zeros(size)
    for part in bank.chunks(max(1, CHUNK_VALUES // size)):
        total += np.sort(part.reshape(len(part), -1), axis=1).sum(0, dtype=np.float64)
        progress()
    return total / len(bank)


def _whitening(
    bank: Bank, class_means: Floats, which: NDArray[np.int64], progress: Callable[[], None] = lambda: None
) -> Floats:
    """(F, F) V with V V^T = (S + ridge)^-1, for the covariance S of the labelled samples about their class means."""
    from scipy.linalg import cholesky, solve_triangular

    size = class_means.shape[1]
    scatter, count = np.zeros((size, size)), 0
    for first, x in _chunks(bank):
        part = which[first : first + len(x)]
        centred = x[part >= 0] - class_means[part[part >= 0]]
        scatter += centred.T @ centred
        count += len(centred)
        progress()
    covariance = scatter / count
    ridge = RIDGE * float(np.trace(covariance)) / size
    if not ridge > 0:
        raise FitError(f"The activations of {bank.identity.dataset} do not vary within a class: nothing can be fitted.")
    lower = cholesky(covariance + ridge * np.eye(size), lower=True)
    return solve_triangular(lower, np.eye(size), lower=True).T


def _sample(bank: Bank) -> tuple[NDArray[np.float32], int]:
    """The values that quantiles are taken of, and of how many samples they are."""
    step = -(-int(np.prod(bank.shape)) // QUANTILE_VALUES)
    values = bank.read() if step == 1 else np.stack([bank[row] for row in range(0, len(bank), step)])
    return np.array(values, dtype=np.float32).reshape(-1), len(values)


def _at_grid(values: NDArray[np.float32]) -> Floats:
    """The values at the percentiles of GRID, interpolated as numpy does, in float64. Sorts `values` in place."""
    values.sort()
    at = GRID / 100 * (len(values) - 1)
    low = np.floor(at).astype(np.int64)
    below, above = (values[index].astype(np.float64) for index in (low, np.minimum(low + 1, len(values) - 1)))
    return below + (above - below) * (at - low)


def fit_path(identity: BankIdentity, root: Path | None = None) -> Path:
    """Where the fit on a training bank is stored: of a bank that was taken over, in the folder of its earlier name."""
    bank = find_bank(identity, root)
    name = bank.name if bank else identity.folder.name
    return (root or cache_root()) / identity.folder.with_name(name) / "fit.npz"


_ARRAYS = ("mean", "quantiles", "classes", "class_means", "whitening", "features", "labels", "ranks")


def save_fit(done: Fit, root: Path | None = None) -> Path:
    """Store a fit beside its bank, whole or not at all; returns the file."""
    facts = {one.name: getattr(done, one.name) for one in fields(done) if one.name not in (*_ARRAYS, "identity")}
    about = json.dumps({"format": FORMAT, "identity": asdict(done.identity), **facts})
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {name: getattr(done, name) for name in _ARRAYS}
    np.savez(buffer, about=np.array(about), **arrays)
    path = fit_path(done.identity, root)
    write_atomically(path, buffer.getvalue())
    return path


def load_fit(identity: BankIdentity, root: Path | None = None) -> Fit | None:
    """The fit on a training bank, None where there is none, or one of an earlier format, which has to be made again.

    FitError when its file is damaged or another bank's.
    """
    path = fit_path(identity, root)
    if not os.path.lexists(path):
        return None
    try:
        found = read_npz(path)
        about = json.loads(str(found["about"]))
        if 0 < about["format"] < FORMAT:
            return None
        arrays: dict[str, Any] = {name: found[name] for name in _ARRAYS}
        who = BankIdentity(**about.pop("identity"))
        if path.parent.name != identity.folder.name and who == identity.earlier:
            who = identity
        whole = about.pop("format") == FORMAT
        done = Fit(identity=who, **about, **arrays)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FitError(f"{path} is damaged ({error}); delete it and fit again.") from error
    if not whole or who != identity:
        raise FitError(f"{path} is the fit of another bank or version; delete it and fit again.")
    return done


def find_fit(
    entry: "ModelEntry", placement: str, train: str = "", *, dtype: str = "float32", root: Path | None = None
) -> Fit:
    """The stored fit of a model at a placement on `train`, or on the model's own training set.

    FitError says which command makes it, where there is none.
    """
    from ash.data import get_dataset
    from ash.extracting.takeover import take_over
    from ash.identity import identity
    from ash.models import MODELS

    train = train or entry.train_set
    if not train:
        raise FitError(f"No training set is known for {entry.name}: name one with --train, a known set or NAME=FOLDER.")
    data = get_dataset(train)
    who = identity(entry, placement, data, dtype)
    take_over(entry, data, who, root=root)  # a fit lies beside its bank, and an earlier one's is found with it
    found = load_fit(who, root)
    if found is None:
        own = entry.checkpoint is None or entry.checkpoint == getattr(MODELS.get(entry.name), "checkpoint", None)
        checkpoint = "" if own else f" --checkpoint {entry.checkpoint}"
        more = "" if dtype == "float32" else f" --dtype {dtype}"
        raise FitError(
            f"There is no fit of {entry.name} at {who.placement} on {who.dataset} yet: run `python -m ash fit --model "
            f"{entry.name}{checkpoint} --placement {who.placement} --data {train}{more}`."
        )
    return found
