"""Single images: through the network under a method, by row of a bank, and those worth a look."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from app.backend.banks import bank
from app.backend.caches import cache_resource
from app.backend.engine import load, parts
from app.backend.evaluations import Evaluation, evaluation
from app.backend.fits import fit_of
from app.backend.setups import Setup, images, reading, whole_set
from app.backend.turns import semaphore
from ash.datasets.packed_images import PackedImages
from ash.errors import AshError
from ash.images import UNKNOWN
from ash.methods import Method

if TYPE_CHECKING:
    from ash.traces import Trace


@dataclass(frozen=True)
class Sample:
    """One image through the network: activation (C, ...) before (`x`) and after shaping, logits (C,) likewise.

    `picture` is None where the image does not ship, only its activation. `label` is its class if it is of the ID set.
    `trace`: what the method did to it, a batch of one.
    """

    name: str
    label: int
    picture: NDArray[np.uint8] | None
    x: NDArray[np.float32]
    shaped: NDArray[np.float32]
    logits: NDArray[np.float32]
    shaped_logits: NDArray[np.float32]
    trace: "Trace"


@cache_resource(max_entries=128)
def activation(at: Setup, name: str, index: int) -> tuple[NDArray[np.uint8] | None, NDArray[np.float32]]:
    """Pixels and activation (C, ...) of image `index` of data set `name`: what no method changes.

    No pixels where the images do not ship; the activation is then the one that does.
    """
    load()
    import torch

    data = whole_set(name)
    if not 0 <= index < len(data):
        raise AshError(f"{data.label} has the samples 0 to {len(data) - 1}; there is no {index}.")
    if not data.has_images:
        stored = bank(at, name)
        return None, stored[stored.names.index(data.names[index])].astype(np.float32)
    picture = data.image(index)
    stem, _ = parts(at)
    with torch.inference_mode(), semaphore:
        x = stem(at.entry.preprocess.build()(picture)[None])
    return np.asarray(picture), x[0].numpy().copy()


@cache_resource(max_entries=128)
def sample(at: Setup, method: str, name: str, index: int) -> Sample:
    """Image `index` of data set `name` under a method. Computed from the image itself, so it needs no bank."""
    pixels, values = activation(at, name, index)
    label = int(reading(at.model, name).labels[index]) if name == at.id_set else UNKNOWN
    return shaped(at, method, values, index, whole_set(name).names[index], label, pixels)


def shaped(
    at: Setup,
    method: str,
    values: NDArray[np.float32],
    index: int,
    name: str,
    label: int,
    pixels: NDArray[np.uint8] | None,
) -> Sample:
    """An activation (C, ...) of a setup under a method: the sample of number `index`, for ASH-RAND. Nothing is kept."""
    import torch

    from ash.traces import trace

    tail, asked = parts(at)[1], Method.parse(method)
    fitted = fit_of(at) if asked.needs_fit else None
    with torch.no_grad(), semaphore:
        done = trace(torch.from_numpy(values.copy())[None], asked, first_index=index, fit=fitted)
        found = (done.shaped, tail(done.x), done.logits(tail))
    now, before, after = (tensor[0].numpy().copy() for tensor in found)
    return Sample(name, label, pixels, values, now, before, after, done)


def traced(at: Setup, method: Method, name: str, index: int) -> "Trace":
    """What a method does to the activation of image `index` of data set `name`, without the tail; nothing is kept."""
    import torch

    from ash.traces import trace

    with torch.no_grad():
        return trace(torch.from_numpy(activation(at, name, index)[1].copy())[None], method, first_index=index)


def stored_score(at: Setup, one: Evaluation, name: str, index: int) -> float | None:
    """The score of image `index` of data set `name` in an evaluation; None where its bank leaves the image out.

    Pages judge by it: a score computed again for one image may differ by a rounding, and lie on the other side.
    """
    names, title = bank(at, name).names, whole_set(name).names[index]
    if title not in names:
        return None
    scores = one.id_scores if name == at.id_set else one.ood_scores[name]
    return float(scores[list(names).index(title)])


@cache_resource(max_entries=512)
def picture(at: Setup, name: str, index: int) -> tuple[str, NDArray[np.uint8] | None]:
    """Name and pixels of the image in row `index` of a bank, None where it does not ship; AshError when broken."""
    title = bank(at, name).names[index]
    data = images(at, name)
    if not data.has_images:
        return title, None
    return title, np.asarray(data.image(list(data.names).index(title)))


def photograph(name: str, number: int) -> dict[str, str]:
    """What is known of image `number` of a set that ships: author, page, licence; empty where no author is."""
    data = whole_set(name)
    row = data.rows[number] if isinstance(data, PackedImages) else {}
    return {**row, "author": _decoded(row["author"])} if row.get("author") else {}


def _decoded(author: str) -> str:
    r"""A name as it is written: the list of its publisher has the bytes of letters beyond ASCII as `\303\251`."""

    def letters(found: re.Match[str]) -> str:
        return bytes(int(one, 8) for one in found[0].split("\\")[1:]).decode(errors="replace")

    return re.sub(r"(?:\\[0-3][0-7]{2})+", letters, author)


@dataclass(frozen=True)
class Suggestion:
    """A sample worth a look: why, the data set ("id" or an OOD set) and its number."""

    label: str
    source: str
    index: int


@cache_resource(max_entries=64)
def suggestions(at: Setup, method: str, ood: tuple[str, ...], tpr: float) -> tuple[Suggestion, ...]:
    """Samples that explain a method: confident, borderline and mistaken ones, and what shaping rescued or broke."""
    from ash.metrics import accepts, threshold_at_tpr

    now, plain = evaluation(at, method), evaluation(at, Method.parse(method).score)
    line, old = (threshold_at_tpr(one.id_scores, tpr) for one in (now, plain))
    found: dict[str, tuple[float, str, int]] = {}  # label -> (rank, smaller is better; source; row)

    def offer(label: str, source: str, rank: NDArray[np.floating], allowed: NDArray[np.bool_]) -> None:
        if allowed.any():
            row = int(np.where(allowed, rank, np.inf).argmin())
            if label not in found or rank[row] < found[label][0]:
                found[label] = float(rank[row]), source, row

    after, before = now.id_scores, plain.id_scores
    known = accepts(after, line)
    offer("Confident ID", "id", -after, known)
    offer("Borderline ID", "id", after, known)
    offer("ID rejected", "id", after, ~known)
    for name in ood:
        after, before = now.ood_scores[name], plain.ood_scores[name]
        passed, passed_before = accepts(after, line), accepts(before, old)
        offer("OOD accepted", name, -after, passed)
        offer("Borderline OOD", name, -after, ~passed)
        offer("Rescued", name, after, passed_before & ~passed)
        offer("Broken", name, -after, ~passed_before & passed)
    return tuple(Suggestion(label, source, number(at, source, row)) for label, (_, source, row) in found.items())


def number(at: Setup, source: str, row: int) -> int:
    """Row of a bank -> number of the image in its whole set; the two differ for subsets and after skipped images."""
    name = at.id_set if source == "id" else source
    return list(whole_set(name).names).index(bank(at, name).names[row])
