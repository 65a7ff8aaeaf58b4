"""Earlier banks, which do not tell of content and code: taken over where they are proved to be the same.

Proved is that names and order are those of now; that no image file is newer than the bank, by any of its times
(an array's bytes are in the earlier identity already); and that a spread of rows, computed again, gives what is stored.
The verdict is kept beside the bank, whose activations stay as they are.
"""

from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ash.bank import Bank, BankError, BankIdentity, cache_root, earlier_bank, note_takeover, takeover
from ash.data import ImageSet
from ash.datasets.content import files_of, is_bytes, is_upright, modified
from ash.identity import Recipe
from ash.images import is_read_anew
from ash.methods import Perturbation

if TYPE_CHECKING:
    import torch

    from ash.networks.entries import ModelEntry

ROWS = 16  # that are computed again
TOLERANCE, COARSE = 1e-4, 2e-2  # of a row computed again, as a share of the largest activation; below float32


def take_over(
    entry: "ModelEntry",
    data: ImageSet,
    who: BankIdentity,
    epsilon: Perturbation = 0.0,
    root: Path | None = None,
    device: "torch.device | None" = None,
    turn: AbstractContextManager[object] | None = None,
) -> Path | None:
    """The earlier bank that is proved to be this identity's, None where there is none. It is looked into only once.

    Takes the time of a few images on the device, within `turn`.
    """
    folder = earlier_bank(who, root or cache_root())
    if folder is None:
        return None
    if takeover(folder, who) is None:
        recipe = Recipe(entry, who.placement, data, who.dtype, who.precision, epsilon)
        with turn or nullcontext():
            note_takeover(folder, who, _difference(recipe, who, folder, device))
    return folder if takeover(folder, who) == "" else None


def _difference(recipe: Recipe, who: BankIdentity, folder: Path, device: "torch.device | None") -> str:
    """Why an earlier bank is not taken over, "" when it is."""
    data = recipe.data
    try:
        bank = Bank(folder)
        skipped = {image["index"] for image in bank.skipped}
        kept = [index for index in range(len(data)) if index not in skipped]
        if bank.identity != who.earlier or [data.names[index] for index in kept] != bank.names:
            return "the list of images has changed"
        files = files_of(data)
        if files is None and not is_bytes(data):
            return "nothing tells whether these images have changed"
        if files and modified(files) >= _date_ns(bank):
            return "images are newer than it"
        if files and is_upright(data) and any(map(is_read_anew, files)):
            return "images are read otherwise than before: turned by their EXIF data, or of 32 bits"
        rows = np.unique(np.linspace(0, len(kept) - 1, ROWS).astype(int))
        stored = np.stack([bank[row] for row in rows]).astype(np.float64)
    except (BankError, ValueError, IndexError):
        return "it is damaged"
    again = _computed(recipe, [kept[row] for row in rows], device)
    coarse = (who.dtype, who.precision) != ("float32", "float32")
    allowed = (COARSE if coarse else TOLERANCE) * np.abs(stored).max()
    if again is None or again.shape != stored.shape or not np.abs(again - stored).max() <= allowed:
        return "the network's code or images have changed: some rows, computed again, differ"
    return ""


def _date_ns(bank: Bank) -> int:
    """When the bank was there at the latest: its manifest may have been copied since, the date in its notes was not."""
    written = (bank.folder / "manifest.json").stat().st_mtime_ns
    try:
        noted = datetime.fromisoformat(str(bank.provenance.get("date"))).timestamp()
    except (BankError, ValueError):
        return written
    return min(written, int(noted * 1e9))


def _computed(recipe: Recipe, images: list[int], device: "torch.device | None") -> np.ndarray | None:
    """Activations of some images; None where one of them cannot be read any more."""
    import torch

    from ash.data import ImageError
    from ash.device import best_device
    from ash.extracting.stems import stem_of

    stem = stem_of(recipe, device or best_device())
    try:
        pixels = [np.asarray(stem.geometry(recipe.data.image(index))).reshape(stem.pixels) for index in images]
    except ImageError:
        return None
    return stem(torch.from_numpy(np.stack(pixels))).float().cpu().numpy().astype(np.float64)
