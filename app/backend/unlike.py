"""How a picture that somebody brings is unlike the images a network knows: sentences that say what to try."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.backend.caches import cache_resource
from app.backend.setups import Setup, whole_set
from ash.images import ImageError

LOOKED_AT = 64  # images of the ID set, evenly spaced
EDGE = 0.06  # share of a side that is its border
PLAIN = 0.1  # brightness from 0 to 1 within which a border is of one tone
SMALL = 0.2  # share of the picture below which an object is lost in it
SHRUNK = 24  # times that a picture is shrunk, beyond which small things in it are gone


@dataclass(frozen=True)
class Borders:
    """The mean brightness of the borders of a network's images, from 0 to 1: the range of nearly all of them."""

    low: float
    high: float


@cache_resource(max_entries=32)
def usual_borders(at: Setup) -> Borders | None:
    """Those of the ID set of a setup; None where its images are not here."""
    data = whole_set(at.id_set)
    if not data.has_images:
        return None
    found = []
    for index in np.unique(np.linspace(0, len(data) - 1, LOOKED_AT).astype(int)).tolist():
        try:
            found.append(float(_border(_grey(data.image(index))).mean()))
        except ImageError:
            continue
    if not found:
        return None
    low, high = np.quantile(found, [0.02, 0.98])
    return Borders(float(low), float(high))


def hints(picture: Image.Image, seen: tuple[int, int], usual: Borders | None) -> Sequence[str]:
    """What about a picture may mislead a network that sees `seen` (width, height) pixels of it."""
    said = []
    grey = _grey(picture)
    border = _border(grey)
    tone = float(border.mean())
    if usual is not None and _outside(tone, usual) and not _outside(1 - tone, usual):
        kind, known = ("light", "dark") if tone > 0.5 else ("dark", "light")
        said.append(
            f"Its background is {kind}, that of nearly all images the network knows is {known}: try it inverted."
        )
    if np.ptp(border) < PLAIN and (share := _filled(grey, tone)) < SMALL:
        said.append(f"What is not background fills {100 * share:.0f} % of it: crop it closer.")
    if (times := min(picture.width / seen[0], picture.height / seen[1])) > SHRUNK:
        said.append(f"It is shrunk {times:.0f} times for the network: small things in it are gone.")
    return said


def _outside(tone: float, usual: Borders) -> bool:
    return not usual.low - PLAIN <= tone <= usual.high + PLAIN


def _grey(picture: Image.Image) -> NDArray[np.float64]:
    """Brightness (H, W) from 0 to 1, of a picture that was shrunk where it is large."""
    small = picture.convert("L")
    small.thumbnail((256, 256))
    return np.asarray(small, np.float64) / 255


def _border(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    rows, columns = (max(1, round(EDGE * side)) for side in grey.shape)
    parts = (grey[:rows], grey[-rows:], grey[:, :columns], grey[:, -columns:])
    return np.concatenate([part.ravel() for part in parts])


def _filled(grey: NDArray[np.float64], tone: float) -> float:
    """The share of the smallest rectangle that holds all that is not of the border's tone; 1 for a plain picture."""
    rows, columns = np.nonzero(np.abs(grey - tone) > PLAIN)
    return 1.0 if not len(rows) else float((np.ptp(rows) + 1) * (np.ptp(columns) + 1) / grey.size)
