"""Images that a user brings: decoded, through the network up to the placement once, then judged by any method.

They belong to one session: `Uploads` lives in its state, and nothing of it is cached for others or written to disk.
"""

import hashlib
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.backend.banks import Step, bank
from app.backend.decoding import MOST_BYTES as MOST_BYTES
from app.backend.decoding import MOST_PIXELS as MOST_PIXELS
from app.backend.decoding import Refusal, decode, shown_name
from app.backend.engine import load, parts
from app.backend.fits import fit_of
from app.backend.samples import Sample, shaped
from app.backend.setups import Setup
from app.backend.thumbnails import data_uri
from app.backend.turns import semaphore
from app.backend.unlike import hints, usual_borders
from app.link import streamlit_private
from ash.errors import AshError
from ash.images import UNKNOWN, ImageError
from ash.methods import Method, perturbations
from ash.tables import Sweep

if TYPE_CHECKING:
    from torch import Tensor

MOST_FILES = 50
BATCH = 8  # images that go through the network together
KEPT = 2**26 // MOST_FILES  # bytes of an activation that is kept between two methods
SIDE = 192  # pixels of the longer side of a picture that is shown


@dataclass(frozen=True)
class Upload:
    """A file: its name as it can be shown, the SHA-256 of its bytes in hex, and the bytes as they came."""

    name: str
    digest: str
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class Seen:
    """An upload at a placement. `picture` and `input`: the image and what the network sees of it, as data URIs.

    `x`: its activation (C, ...), None where it is too large to be kept.
    """

    format: str
    size: tuple[int, int]
    notes: tuple[str, ...]
    picture: str = field(repr=False)
    input: str = field(repr=False)
    x: NDArray[np.floating] | None = field(repr=False)


@dataclass(frozen=True)
class Scored:
    """Score and predicted class (index) of an upload: (by the score alone, by the method)."""

    scores: tuple[float, float]
    predicted: tuple[int, int]


@dataclass
class Uploads:
    """The files of one session, those that were refused with a sentence each, and what is known of the others.

    `seen` and `scored` by digest, at one placement and of one pair of methods; `work` brings them up to date.
    """

    files: dict[str, Upload] = field(default_factory=dict)
    refused: list[tuple[str, str]] = field(default_factory=list)
    seen: dict[str, Seen] = field(default_factory=dict)
    scored: dict[str, Scored] = field(default_factory=dict)
    _at: Setup | None = None
    _methods: tuple[str, str] | None = None

    def add(self, name: str, data: bytes) -> None:
        """Take a file, or refuse it with a sentence: too many, too large, or here already."""
        shown, digest = shown_name(name), hashlib.sha256(data).hexdigest()
        if digest in self.files and data:
            same = self.files[digest].name
            self.refused.append((shown, f"The same image is here already, as {same}; it is scored once."))
        elif len(self.files) >= MOST_FILES:
            self.refused.append(
                (shown, f"At most {MOST_FILES} files are taken at once: remove some and drop it again.")
            )
        elif len(data) > MOST_BYTES or not data:
            found = decode(name, data)
            assert isinstance(found, Refusal)
            self.refused.append((shown, found.sentence))
        else:
            self.files[digest] = Upload(shown, digest, data)

    def remove(self, digest: str) -> None:
        """Forget one file."""
        for known in (self.files, self.seen, self.scored):
            known.pop(digest, None)

    def clear(self) -> None:
        """Forget everything, here and now, whoever still holds this object."""
        for known in (self.files, self.refused, self.seen, self.scored):
            known.clear()

    def work(self, at: Setup, before: str, after: str) -> Generator[Step, None, None]:
        """Score what is not scored yet, yielding after every batch. Stop to cancel; call again to go on.

        A file that turns out not to be an image moves to `refused`. AshError for a method that uploads cannot have.
        """
        network = (at.model, at.checkpoint, at.placement, at.dtype)
        if self._at and (self._at.model, self._at.checkpoint, self._at.placement, self._at.dtype) != network:
            self.seen.clear()
        if (self._at, self._methods) != (at, (before, after)):
            self.scored.clear()
        self._at, self._methods = at, (before, after)
        todo = [one for one in self.files.values() if one.digest not in self.scored]
        # ASH-RAND is seeded by a sample's number: alone, every image is number 0, whatever it was uploaded with.
        size = 1 if any(step.variant.does == "random" for step in Method.parse(after).steps) else BATCH
        start = time.monotonic()
        for first in range(0, len(todo), size):
            self._batch(at, todo[first : first + size])
            done = min(first + size, len(todo))
            rate = done / max(time.monotonic() - start, 1e-9)
            yield Step("Your images", done, len(todo), rate, (len(todo) - done) / rate)

    def sample(self, at: Setup, method: str, digest: str) -> Sample:
        """One of the files under a method, as the images of data sets are; its picture is what the network sees."""
        one, seen = self.files[digest], self.seen[digest]
        found = _look(at, one)
        assert not isinstance(found, Refusal)  # it is seen
        tensor, _ = found
        x = _through(at, [tensor])[0] if seen.x is None else seen.x
        return shaped(at, method, x.astype(np.float32), 0, one.name, UNKNOWN, np.asarray(_input(at, tensor)))

    def _batch(self, at: Setup, some: Sequence[Upload]) -> None:
        """See and score a few files."""
        fresh: dict[str, tuple[Tensor, Seen]] = {}
        for one in some:
            if one.digest not in self.seen or self.seen[one.digest].x is None:
                found = _look(at, one)
                if isinstance(found, Refusal):
                    self.remove(one.digest)
                    self.refused.append((one.name, found.sentence))
                else:
                    fresh[one.digest] = found
        activations = {one.digest: self.seen[one.digest].x for one in some if one.digest in self.seen}
        if fresh:
            through = _through(at, [tensor for tensor, _ in fresh.values()])
            for (digest, (_, seen)), x in zip(fresh.items(), through, strict=True):
                activations[digest] = x
                kept = x if x.nbytes <= KEPT else None
                self.seen[digest] = Seen(seen.format, seen.size, seen.notes, seen.picture, seen.input, kept)
        if activations:
            assert self._methods is not None
            done = judge(at, self._methods, np.stack([x for x in activations.values() if x is not None]))
            for row, digest in enumerate(activations):
                scores, predicted = done.id_scores[:, row].tolist(), done.id_predictions[:, row].tolist()
                self.scored[digest] = Scored((scores[0], scores[1]), (predicted[0], predicted[1]))


def _look(at: Setup, one: Upload) -> "tuple[Tensor, Seen] | Refusal":
    """The network's input (C, H, W) made of a file, and its pictures."""
    found = decode(one.name, one.data)
    if isinstance(found, Refusal):
        return found
    load()
    preprocess = at.entry.preprocess
    try:
        tensor, notes = preprocess.build()(found.image), found.notes
    except ImageError as error:
        return Refusal(str(error))
    height, width = tensor.shape[-2:]
    if found.image.width < width or found.image.height < height:
        notes = (*notes, f"It is smaller than the {width} x {height} pixels that the network sees, so it was enlarged.")
    notes = (*notes, *hints(found.image, (width, height), usual_borders(at)))
    return tensor, Seen(found.format, found.size, notes, _uri(found.image), _uri(_input(at, tensor)), None)


def _input(at: Setup, tensor: "Tensor") -> Image.Image:
    """The network's input as an image again."""
    preprocess = at.entry.preprocess
    mean, std = (np.reshape(values, (-1, 1, 1)) for values in (preprocess.mean, preprocess.std))
    pixels = ((tensor.numpy() * std + mean) * 255).round().clip(0, 255).astype(np.uint8)
    return Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))


def _uri(image: Image.Image) -> str:
    """A picture for the page: shrunk to SIDE, or its pixels enlarged to about that; the file itself is never shown."""
    factor = max(1, SIDE // max(image.size))
    shown = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    shown.thumbnail((SIDE, SIDE))
    return data_uri(shown, lossless=factor > 1)


def _through(at: Setup, inputs: "Sequence[Tensor]") -> NDArray[np.floating]:
    """Activations (n, C, ...) of inputs at a placement, in the number format of the banks."""
    import torch

    stem, _ = parts(at)
    with torch.inference_mode(), semaphore:
        found: NDArray[np.floating] = stem(torch.stack(list(inputs))).numpy().astype(at.dtype)
    return found


def judge(at: Setup, methods: Sequence[str], x: NDArray[np.floating]) -> Sweep:
    """Scores and predictions of some methods on activations (n, C, ...) of a setup's placement, as the "ID set"."""
    from ash.device import evaluation_device
    from ash.engine.runs import Run

    parsed = [Method.parse(method) for method in methods]
    for method in parsed:
        if any(perturbations(at.entry, [method]).values()):
            label = method.scoring.score.label
            raise AshError(f"{label} looks at perturbed images, which are not made of uploads: choose another method.")
    everyone = any(step.variant.needs == "id" for method in parsed for step in method.steps)
    fit = fit_of(at) if any(method.needs_fit for method in parsed) else None
    perturbed: Any = (x, {})  # of ODIN's step 0, its temperature alone
    ids = bank(at, at.id_set) if everyone else None
    with semaphore:
        device = evaluation_device()
        run = Run(parts(at)[1], x, {}, parsed, device=device, fit=fit, perturbed=perturbed, thresholds_from=ids)
        for _ in run.parts():
            semaphore.let_others()
        return run.result(range(len(parsed)))


def keep_in_memory() -> None:
    """Hold uploads in memory: none is ever written to disk."""
    streamlit_private.keep_uploads_in_memory(2 * MOST_BYTES)
