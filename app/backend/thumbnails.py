"""Small pictures of samples as data URIs: decoded in a pool of threads, kept in a memory of bounded size."""

import base64
import io
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial

from PIL import Image

from app.backend.caches import cache_resource
from app.backend.setups import whole_set
from ash.data import DataError, ImageSet

SIDE = 256  # pixels of the longer side, twice what a card shows
MOST_BYTES = 64 * 2**20  # of all pictures that are kept
Key = tuple[str, str, int, int]  # data set, its fingerprint, number, pixels of the longer side
PIXELATED = 64  # pictures below this many pixels stay crisp: they are enlarged by the browser, and lossless


@dataclass(frozen=True)
class Thumbnail:
    """A picture as a data URI. `crisp`: so small that its pixels should show.

    Where there is none, `broken` says why; `absent`: nothing is broken, the images of its set do not ship.
    """

    uri: str
    crisp: bool = False
    broken: str = ""
    absent: bool = False


class Memory:
    """Thumbnails by key, least recently used first out beyond `most` bytes. Threads may share it."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self.most, self.bytes = most, 0
        self._kept: OrderedDict[Key, Thumbnail] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> Thumbnail | None:
        """What is kept under a key."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Key, one: Thumbnail) -> None:
        """Keep one, and let go of the oldest."""
        with self._lock:
            self.bytes += len(one.uri) - len(self._kept[key].uri if key in self._kept else "")
            self._kept[key] = one
            self._kept.move_to_end(key)
            while self.bytes > self.most:
                _, gone = self._kept.popitem(last=False)
                self.bytes -= len(gone.uri)


@cache_resource(max_entries=1)
def _memory() -> Memory:
    return Memory()


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(8, os.cpu_count() or 1), "ash-thumbnails")


def small_pictures(samples: Sequence[tuple[str, int]], side: int = SIDE) -> list[Thumbnail]:
    """The pictures of samples (name of the data set, number in the whole set), in order, of at most `side` pixels; a
    broken one says why.

    What is broken or gone is not kept, so that it is read again next time.
    """
    memory, sets = _memory(), {name: whole_set(name) for name, _ in samples}
    keys = [(name, sets[name].fingerprint, number, side) for name, number in samples]
    found = {key: memory.get(key) for key in keys}
    missing = [key for key, one in found.items() if one is None]
    for key, fresh in zip(missing, _pool().map(partial(_decoded, sets), missing), strict=True):
        found[key] = fresh
        if not fresh.broken:
            memory.put(key, fresh)
    return [one for key in keys if (one := found[key]) is not None]


def _decoded(sets: dict[str, ImageSet], key: Key) -> Thumbnail:
    name, _, number, side = key
    if not sets[name].has_images:
        return Thumbnail("", absent=True)
    try:
        return thumbnail(sets[name].image(number), side)
    except DataError as error:
        return Thumbnail("", broken=str(error))


def thumbnail(image: Image.Image, side: int = SIDE) -> Thumbnail:
    """A picture of at most `side` pixels: as it is when that is small, otherwise as JPEG."""
    crisp = max(image.size) <= PIXELATED
    if not crisp:
        image.thumbnail((side, side), reducing_gap=2.0)
    return Thumbnail(data_uri(image, crisp), crisp)


def data_uri(image: Image.Image, lossless: bool) -> str:
    """A picture as text that a page can show: PNG, or JPEG."""
    out, kind = io.BytesIO(), "png" if lossless else "jpeg"
    image.save(out, kind, quality=85)
    return f"data:image/{kind};base64,{base64.b64encode(out.getvalue()).decode()}"
