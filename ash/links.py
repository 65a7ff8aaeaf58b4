"""What a link of the explorer says of a detector: network, placement, method, ID set, and the share that is accepted.

The whole grammar is in app/link/spec.py, which this library does not know. These few keys are read here as well, so
that a link can be exported where there is no app; tests/link/test_detector_links.py holds both to the same answers.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from ash.errors import AshError
from ash.identity import DTYPES
from ash.methods import Method
from ash.networks.entries import PENULTIMATE, ModelEntry
from ash.results import SUBSET_ID
from ash.variants import VARIANTS

OPENING = {"model": "mobilenet_v2_photos", "variant": "ash_s", "p": "75"}  # what an address without a query means
DEFAULTS = {  # what a link with any key means by those that it leaves out; it never changes
    "model": "demo",
    "placement": PENULTIMATE,
    "variant": "ash_b",
    "p": "65",
    "c": "1",
    "score": "energy",
    "method": "none",
    "id": "",
    "n": "0",
    "dtype": "float32",
    "checkpoint": "",
    "tpr": "95",
}
OF_NO_VIEW = {"v", "embed", "embed_options"}  # of the address, not of what it shows


class LinkError(AshError):
    """A text is no link of the explorer, or says something that cannot be; the message says which part."""


@dataclass(frozen=True)
class View:
    """A setting of the explorer as far as a detector hangs on it.

    `id_set` "" is the model's own. `images`: the most of it, 0 for the usual number. `accept`: percent of it.
    `checkpoint`: which of several of the network's, "" for the first.
    """

    model: str
    placement: str
    method: Method
    id_set: str
    images: int
    dtype: str
    accept: float
    checkpoint: str = ""

    def images_of(self, entry: ModelEntry) -> int | None:
        """How many ID images the explorer takes for this view, None for all: fewer at a deep placement."""
        usual = 0 if entry.node(self.placement) == entry.penultimate else SUBSET_ID
        return self.images or usual or None

    def checkpoint_of(self, entry: ModelEntry) -> str:
        """Which of a network's several checkpoints this view is of, "" where it has not several. LinkError."""
        names = entry.checkpoint_names
        if names and self.checkpoint and self.checkpoint not in names:
            raise LinkError(f"{entry.name} has no checkpoint '{self.checkpoint}': {', '.join(names)}.")
        return (self.checkpoint or names[0]) if names else ""


def read(link: str) -> View:
    """The view of a link as *Share* copies it, or of its query alone, `model=demo&variant=ash_s&p=90`. LinkError."""
    text = link.strip()
    if re.search(r"://[^?]*/go/\w+/?$", text):
        raise LinkError(f"'{link}' is a room's short link: open it, and copy the address that the browser then shows.")
    query = urlsplit(text).query if "://" in text or text.startswith(("?", "/")) else text
    if (not query and "://" not in text) or (query and "=" not in query):
        raise LinkError(f"'{link}' is no link of the explorer: copy one with Share, or write model=NAME&method=METHOD.")
    told = dict(parse_qsl(query))
    given = told if told.keys() - OF_NO_VIEW else OPENING
    keys = {**DEFAULTS, **{key: value for key, value in given.items() if key in DEFAULTS}}
    images = keys["n"]
    if not re.fullmatch("[0-9]{1,9}", images):
        raise LinkError(f"n={images} is no number of images.")
    if keys["dtype"] not in DTYPES:
        raise LinkError(f"dtype={keys['dtype']} is no number format of banks: {', '.join(DTYPES)}.")
    accept = _number("tpr", keys)
    if not 0 < accept <= 100:
        raise LinkError(f"tpr={keys['tpr']} is no share in percent.")
    id_set, dtype, checkpoint = (keys[name] for name in ("id", "dtype", "checkpoint"))
    return View(keys["model"], keys["placement"], _method(keys), id_set, int(images), dtype, accept, checkpoint)


def _method(keys: Mapping[str, str]) -> Method:
    if keys["method"] not in ("", "none"):
        return Method.parse(keys["method"])
    if keys["variant"] not in VARIANTS:
        raise LinkError(f"variant={keys['variant']} is no variant: {', '.join(VARIANTS)}.")
    key = {"percentile": "p", "threshold": "c"}.get(VARIANTS[keys["variant"]].parameter or "")
    return Method(keys["variant"], _number(key, keys) if key else None, keys["score"])


def _number(key: str, keys: Mapping[str, str]) -> float:
    try:
        return float(keys[key])
    except ValueError as error:
        raise LinkError(f"{key}={keys[key]} is no number.") from error
