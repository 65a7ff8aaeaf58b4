"""What makes a bank: the one place that builds a BankIdentity, for the explorer, the command line and the library.

An identity holds hashes of all that decides the activations: weights and code of the network; list and content of the
images; preprocessing; precision. Content (`ash.datasets.content`) and code (`ash.networks.known_codes`) take work, and
are kept until something changes. Imports no torch before a network must be traced.
"""

import contextlib
import hashlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ash.bank import Bank, BankError, BankIdentity, roots, takeover
from ash.data import ImageSet
from ash.datasets.content import Content, content_of, known_content
from ash.fitting import perturbation, perturbed_transform
from ash.methods import ADASCALE, Perturbation
from ash.networks.entries import ModelEntry, Preprocess
from ash.networks.known_codes import code_of, known_code

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "float16")
PRECISIONS = ("float32", "bfloat16", "float16")
MOST_EPSILON = 10  # ODIN's step in units of normalised pixels, which span about 5: none is known above 0.1


@dataclass(frozen=True)
class Recipe:
    """What a bank is computed from, and how: images through a network up to a placement.

    `placement` is a node or `penultimate`. `dtype` is that of the stored activations, `precision` that of the stem, and
    `epsilon` how the images are perturbed first: 0 for not at all, the step of ODIN, or "adascale". BankError for any
    of these that there is not.
    """

    entry: ModelEntry
    placement: str
    data: ImageSet
    dtype: str = "float32"
    precision: str = "float32"
    epsilon: Perturbation = 0.0

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise BankError(f"A bank holds float32 or float16, not {self.dtype}.")
        check_precision(self.precision)
        if self.epsilon != ADASCALE and not 0 <= self.epsilon <= MOST_EPSILON:
            raise BankError(f"ODIN's step epsilon is from 0 to {MOST_EPSILON:g}, not {self.epsilon:g}.")

    def identity(self, content: str, code: str) -> BankIdentity:
        """The bank of images that hold `content`, by a network of this `code`. ModelError without weights."""
        return BankIdentity(
            model=self.entry.name,
            weights=self.entry.weights_hash(),
            placement=self.entry.node(self.placement),
            transform=perturbed_transform(transform_of(self.entry.preprocess), self.epsilon),
            dataset=self.data.name,
            files=self.data.fingerprint,
            dtype=self.dtype,
            precision=self.precision,
            content=content,
            code=code,
        )


def check_precision(precision: str, device: "torch.device | None" = None) -> None:
    """BankError when there is no such precision, or not on this device."""
    if precision not in PRECISIONS:
        raise BankError(f"The precision of an extraction is {', '.join(PRECISIONS)}, not {precision}.")
    if precision == "float16" and device is not None and device.type != "cuda":
        raise BankError(f"The precision float16 needs a CUDA GPU; on {device.type} take bfloat16 or float32.")


def identity(
    entry: ModelEntry,
    placement: str,
    data: ImageSet,
    dtype: str = "float32",
    precision: str = "float32",
    epsilon: Perturbation = 0.0,
) -> BankIdentity:
    """Which bank this model, placement and data set have, as weights, code and images are now (options: `Recipe`).

    Reads every image file whose digest is not known. BankError for a dtype, precision or step that there is not;
    ModelError, SplitError, DataError.
    """
    return identified(Recipe(entry, placement, data, dtype, precision, epsilon))[0]


def identified(recipe: Recipe) -> tuple[BankIdentity, Content]:
    """`identity`, and the content as it was read for that: whether files have changed since can be asked of it."""
    content = content_of(recipe.data)
    return recipe.identity(content.digest, code_of(recipe.entry)), content


def known_identity(who: BankIdentity, entry: ModelEntry, data: ImageSet) -> BankIdentity:
    """The identity of now for what a bank is of, without work: what takes reading images or tracing is the bank's."""
    content, code = known_content(data) or who.content, known_code(entry) or who.code
    now = Recipe(entry, who.placement, data, who.dtype, who.precision).identity(content, code)
    return replace(now, transform=now.transform + perturbation(who.transform))


def transform_of(preprocess: Preprocess) -> str:
    """Printed preprocessing; of the user's own kind, whose code may be any, with a hash of what it makes of probes."""
    if type(preprocess) is Preprocess or not preprocess.takes_images:
        return repr(preprocess)
    from PIL import Image

    build, digest = preprocess.build(), hashlib.sha256()
    for size in ((37, 53), (256, 256), (640, 480)):
        pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        for image in (Image.fromarray(pixels), Image.fromarray(pixels[..., 0])):
            digest.update(np.ascontiguousarray(build(image)))
    return f"{preprocess!r}, gives {digest.hexdigest()}"


_WORDS = {
    "weights": "the network's weights have",
    "code": "the network's code has",
    "transform": "the preprocessing has",
    "files": "the list of images has",
    "content": "the content of images has",
}


def changes(old: BankIdentity, now: BankIdentity) -> str:
    """What has changed since a bank was made, in words: "the network's code has changed"; "" for nothing."""
    names = [name for name in _WORDS if getattr(old, name) and getattr(old, name) != getattr(now, name)]
    if {"files", "content"} <= {*names}:  # another list has other content
        names.remove("content")
    return " and ".join(f"{_WORDS[name]} changed" for name in names)


def outdated(who: BankIdentity, root: Path | None = None, others: Collection[str] = ()) -> tuple[Path, str] | None:
    """The newest complete bank of the same name that is not this identity's, and what has changed since in words.

    `others`: hashes of weights whose banks are none the less in use, those of other checkpoints.
    """
    places = ((base / who.folder).parent for base in roots(root))
    named = f"{who.folder.name.rpartition('-')[0]}-*/manifest.json"
    folders: list[Path] = []
    for place in places:
        with contextlib.suppress(OSError):  # a cache that cannot be read: whoever writes into it says so
            folders += [path.parent for path in place.glob(named)]
    for folder in sorted(folders, key=_made, reverse=True):
        with contextlib.suppress(BankError):
            old = Bank(folder).identity
            same = all(getattr(old, name) == getattr(who, name) for name in ("dataset", "dtype", "precision"))
            same = same and old.weights not in others
            if folder.name == who.folder.name or not same or perturbation(old.transform) != perturbation(who.transform):
                continue
            return folder, changes(old, who) or takeover(folder, who) or "it is not known to be of the same images"
    return None


def _made(folder: Path) -> float:
    with contextlib.suppress(OSError):
        return (folder / "manifest.json").stat().st_mtime
    return 0.0
