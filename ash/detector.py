"""A detector, of a network and a method: images in; class, score and whether they are accepted out. Kept as a file.

    network, placement, method, ID scores -> Detector (nn.Module) --torch.export--> detector.pt2 -> scores of a folder

The file holds the network, the shaping and the threshold as one exported program, and beside it, as JSON, all that is
needed to use it right: preprocessing, classes, where the threshold comes from. It runs wherever torch does, without
this library. It is a program: load only files from those you trust.
"""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from ash import links
from ash.engine import steps as steps_of
from ash.engine.activations import pooled
from ash.engine.runs import given_of
from ash.engine.thresholds import resolve
from ash.errors import AshError
from ash.methods import Method, Step
from ash.metrics import check_scores, threshold_at_tpr
from ash.networks.entries import ModelEntry, Preprocess
from ash.scores.registry import ScoreError, Scorer
from ash.splitting import LinearTail, linear_tail, split

if TYPE_CHECKING:
    from ash.fitting import Fit

FORMAT = 1
ABOUT = "detector.json"  # in the file, beside the program
QUANTILES = 1001  # of the scores that a threshold was taken from
LEAST = 100  # images to calibrate on
PROBES = (1, 2, 5)  # batch sizes on which an exported program is compared with what it was made of
TOLERANCE = 1e-5  # of the scores' spread, between both


class DetectorError(AshError):
    """A detector cannot be made, read or used as asked; the message says why."""


@dataclass(frozen=True)
class About:
    """What a detector is, as it stands in its file.

    `share`: of the images it was calibrated on, that many are accepted, those whose score reaches `threshold`; `count`
    of them, the set `calibrated_on`. `quantiles`: their scores at 0, 0.1, ..., 100 %. `preprocess`: the fields of
    `Preprocess`. `classes`: their names, in the order of the numbers that the detector gives.
    """

    model: str
    weights_sha256: str
    placement: str
    method: str
    preprocess: Mapping[str, Any]
    classes: Sequence[str]
    share: float
    threshold: float
    calibrated_on: str
    count: int
    quantiles: Sequence[float]
    date: str
    versions: str
    format: int = FORMAT

    @property
    def transform(self) -> Preprocess:
        """What makes the network's input of an image."""
        told: dict[str, Any] = dict(self.preprocess)
        return Preprocess(**{**told, "mean": tuple(told["mean"]), "std": tuple(told["std"])})

    def calibrated(self, scores: ArrayLike, name: str, share: float) -> "About":
        """The same with its threshold from the scores of another set of ID images."""
        values = check_scores(scores, name)
        if len(values) < LEAST:
            raise DetectorError(f"A threshold takes {LEAST} images or more, {name} has {len(values):,}.")
        if (different := len(np.unique(values))) < LEAST:
            raise DetectorError(
                f"A threshold takes {LEAST} different scores or more, the {len(values):,} images of {name} have "
                f"{different:,}: leave out copies of the same image."
            )
        return replace(
            self,
            share=share,
            threshold=threshold_at_tpr(values, share),
            calibrated_on=name,
            count=len(values),
            quantiles=np.quantile(values.astype(np.float64), np.linspace(0, 1, QUANTILES)).tolist(),
            date=_now(),
        )

    def interval(self) -> tuple[float, float]:
        """Between which shares of *further* ID images are accepted, with 95 % confidence: a share is not measured on
        `count` images without error. The interval of Clopper and Pearson."""
        from scipy.stats import beta

        accepted = round(self.share * self.count)
        low = beta.ppf(0.025, accepted, self.count - accepted + 1) if accepted else 0.0
        high = beta.ppf(0.975, accepted + 1, self.count - accepted) if accepted < self.count else 1.0
        return float(low), float(high)


class Detector(nn.Module):
    """images (N, C, H, W), preprocessed -> classes (N,) int64, scores (N,), accepted (N,) bool.

    Higher scores are more in-distribution, and those that reach the threshold are accepted. `about` says the rest.
    """

    threshold: Tensor

    def __init__(self, stem: nn.Module, tail: nn.Module, steps: Sequence[Step], scorer: Scorer, about: About) -> None:
        super().__init__()
        self.stem, self.tail, self.about = stem, tail, about
        self._steps, self._scorer = tuple(steps), scorer
        self.register_buffer("threshold", torch.tensor(about.threshold, dtype=torch.float64))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Classes, scores, accepted."""
        x, factor = steps_of.run(self._steps, self.stem(images))
        logits = steps_of.scaled(self.tail(x), factor)
        scores = self._scorer(pooled(x), logits)
        return logits.argmax(1), scores, scores.double() >= self.threshold


class _Head(nn.Module):
    """A linear tail as a module; where DICE masks its weights the network's own would not do."""

    def __init__(self, head: LinearTail) -> None:
        super().__init__()
        self.pooled = head.pooled
        self.register_buffer("weight", head.weight)
        self.register_buffer("bias", head.bias)

    def forward(self, x: Tensor) -> Tensor:
        features = x.mean((2, 3)) if self.pooled else x.flatten(1)
        return nn.functional.linear(features, self.weight, self.bias)  # type: ignore[arg-type]


def detector(
    entry: ModelEntry,
    placement: str,
    method: Method,
    id_scores: ArrayLike,
    calibrated_on: str,
    *,
    share: float = 0.95,
    id_bank: Any = None,
    fit: "Fit | None" = None,
) -> Detector:
    """A network's detector, in eval mode on the CPU, that accepts `share` of the images of these ID scores.

    `id_scores` (n,), of `calibrated_on`, as a sweep of the method gives them. `id_bank`: for global thresholds; `fit`:
    for steps and scores that take something from a training set, which becomes part of it. DetectorError for a
    method that cannot become a module, and for less than LEAST scores.
    """
    check(method)
    if not entry.preprocess.takes_images:
        raise DetectorError(f"A detector takes images, and {entry.name} has none: it is made of features.")
    stem, own_tail = split(entry.build(), entry.node(placement))
    tail: nn.Module = own_tail
    steps = resolve([method.steps], fit, id_bank, torch.float32)[0]
    if steps and steps[-1].name == "dice":
        tail, steps = _masked(tail, steps[-1], fit), steps[:-1]
    about = About(
        model=entry.name,
        weights_sha256=entry.weights_hash(),
        placement=entry.node(placement),
        method=str(method),
        preprocess=_fields(entry.preprocess),
        classes=list(entry.classes),
        share=share,
        threshold=0.0,
        calibrated_on="",
        count=0,
        quantiles=[],
        date=_now(),
        versions=f"torch {torch.__version__}",
    ).calibrated(id_scores, calibrated_on, share)
    scorer = _scorer(method, stem, own_tail, entry.preprocess.shape, fit)
    return Detector(stem, tail, steps, scorer, about).eval()


def from_link(link: str) -> Detector:
    """The detector of a view of the explorer, by its link as *Share* copies it, or the link's query alone.

    Of the ID set of the view, activations that are missing are extracted; a fit must be there. AshError.
    """
    from ash.data import evenly, set_or_list
    from ash.extraction import extract
    from ash.fitting import find_fit
    from ash.models import get_model
    from ash.sweeping import sweep

    view = links.read(link)
    check(view.method)
    entry = get_model(view.model)
    entry = entry.each[view.checkpoint_of(entry)]
    name, most = view.id_set or entry.id_set, view.images_of(entry)
    images = set_or_list(name)
    bank = extract(entry, view.placement, evenly(images, most) if most else images, dtype=view.dtype)
    fit = find_fit(entry, view.placement, "", dtype=view.dtype) if view.method.needs_fit else None
    tail = split(entry.build(), entry.node(view.placement))[1]
    (scores,) = sweep(tail, bank, {}, [view.method], fit=fit).id_scores
    return detector(entry, view.placement, view.method, scores, name, share=view.accept / 100, id_bank=bank, fit=fit)


def check(method: Method) -> None:
    """DetectorError for a method that is no function of one image at a time, or reads more than activations."""
    if {"perturbed", "numerators", "shifted"} & set(method.scoring.score.reads):
        label = method.scoring.score.label
        raise DetectorError(f"{method} is no detector: {label} needs more than one pass of the network.")
    if any(step.variant.does == "random" for step in method.steps):
        raise DetectorError(f"{method}: ASH-RAND draws other values for every image of a set, so it is no detector.")


def _scorer(method: Method, stem: nn.Module, tail: fx.GraphModule, shape: tuple[int, ...], fit: "Fit | None") -> Scorer:
    """What scores activations and logits; DetectorError where something that the score reads is missing."""
    with torch.inference_mode():
        features = tuple(stem(torch.zeros(1, *shape)).shape[1:])
    reads_head = "head" in method.scoring.score.reads
    given = given_of(tail, features, torch.device("cpu"), torch.float32, fit, reads_head)
    try:
        return method.scoring.ready(given)
    except ScoreError as error:
        raise DetectorError(str(error)) from error


def _fields(preprocess: Preprocess) -> dict[str, Any]:
    """A preprocessing as it is written into a file; DetectorError for one of the user's own kind, which is code."""
    if type(preprocess) is not Preprocess:
        raise DetectorError("The network's preprocessing is code of a plug-in, which a detector's file cannot hold.")
    return asdict(preprocess)


def _masked(tail: nn.Module, step: Step, fit: "Fit | None") -> nn.Module:
    """A linear tail with the weights that DICE keeps; DetectorError for any other tail, and without a fit."""
    head = linear_tail(tail)
    if head is None:
        raise DetectorError(f"{step} masks the last layer's weights, so it needs the penultimate placement.")
    if fit is None:
        raise DetectorError(f"{step} needs a fit on training activations.")
    kept = torch.from_numpy(fit.dice_mask(head.weight.numpy(), step.parameter))
    return _Head(replace(head, weight=head.weight * kept))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class DetectorFile:
    """A detector as it was read from a file: the exported program and what it is."""

    program: ExportedProgram
    about: About

    def module(self) -> nn.Module:
        """The program, ready to be called with images (N, C, H, W) as `about.transform` makes them, on the CPU."""
        return self.program.module()

    def calibrated(self, scores: ArrayLike, name: str, share: float) -> "DetectorFile":
        """The same detector with the threshold that accepts `share` of other ID images, whose scores these are.

        DetectorError for less than LEAST of them, and where so many are not different.
        """
        about = self.about.calibrated(scores, name, share)
        self.program.state_dict["threshold"] = torch.tensor(about.threshold, dtype=torch.float64)
        return DetectorFile(self.program, about)

    def to_bytes(self) -> bytes:
        """The file."""
        buffer = io.BytesIO()
        torch.export.save(self.program, buffer, extra_files={ABOUT: json.dumps(asdict(self.about))})
        return buffer.getvalue()


def probe(made: Detector, count: int) -> Tensor:
    """Noise (count, C, H, W) as an input of a detector, other noise for other counts."""
    return torch.randn(count, *made.about.transform.shape, generator=torch.Generator().manual_seed(count))


def batch_dimension() -> torch.export.Dim:
    """Any number of images."""
    return torch.export.Dim("batch", min=1, max=2**16)


def exported(made: Detector) -> DetectorFile:
    """A detector as a program for any batch size; DetectorError where torch cannot export the network or a step.

    Its file is read back and its answers are compared with the module's before it is handed out.
    """
    try:
        program = torch.export.export(made, (probe(made, 2),), dynamic_shapes=({0: batch_dimension()},))
    except Exception as error:  # of whatever kind: the network, or the function of a plug-in, is in the way
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DetectorError(f"{made.about.model} with {made.about.method} cannot be exported: {reason}") from error
    done = read(DetectorFile(program, made.about).to_bytes(), "the new file")
    for count in PROBES:
        images = probe(made, count)
        with torch.inference_mode():
            wanted, found = made(images), done.module()(images)
        if not torch.equal(wanted[0], found[0]) or not torch.allclose(wanted[1], found[1], TOLERANCE, TOLERANCE):
            raise DetectorError(f"The exported {made.about.model} answers {count} images otherwise than the network.")
    return done


def read(content: bytes, name: str) -> DetectorFile:
    """A detector from the bytes of its file, called `name`; DetectorError for what is none."""
    extra = {ABOUT: ""}
    try:
        if zipfile.ZipFile(io.BytesIO(content)).testzip():  # torch does not look at the checksums
            raise ValueError("a checksum differs")
        program = torch.export.load(io.BytesIO(content), extra_files=extra)
        about = About(**json.loads(extra[ABOUT]))
    except Exception as error:  # torch names no kinds for what may be wrong with a file
        raise DetectorError(f"{name} is no detector that `python -m ash export` wrote, or is damaged.") from error
    if about.format != FORMAT or [one.name for one in fields(About)] != list(asdict(about)):
        raise DetectorError(f"{name} is a detector of another version of this program: export it again.")
    return DetectorFile(program, about)
