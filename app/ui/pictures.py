"""One image on a page; where its set's images do not ship, a tile in its place, and how to get them; whose it is."""

import html
from collections.abc import Iterable, Sequence

import numpy as np
import streamlit as st
from numpy.typing import NDArray
from PIL import Image

from app.backend import samples, setups
from app.backend.thumbnails import PIXELATED, data_uri
from app.errors import plain
from app.link import state
from app.theme import listed

ABSENT, NONE = "image does not ship", "no image"
_ROOM, _LINE = 90, 50  # pixels of a tile with room for all words, and for the first of them
_TILE = (
    "display:flex;flex-direction:column;justify-content:center;gap:0.2rem;box-sizing:border-box;aspect-ratio:1;"
    "padding:0.4rem;border:1px dashed color-mix(in srgb, currentColor 45%, transparent);border-radius:0.25rem;"
    "font-size:0.75rem;line-height:1.25;overflow:hidden;overflow-wrap:anywhere;"
    "background:color-mix(in srgb, currentColor 5%, transparent)"
)


def enlarge(picture: NDArray[np.uint8], pixels: int) -> NDArray[np.uint8]:
    """The picture with every pixel repeated, so that it stays crisp at about this size."""
    factor = max(1, pixels // max(picture.shape[:2]))
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def show(picture: NDArray[np.uint8] | None, words: Sequence[str], width: int, caption: str = "") -> None:
    """An image of a set, crisp, or a tile with these words (its set, its class or name) where it does not ship.

    It is sent within the page: a file of Streamlit's is gone once another run has begun, and the browser, which then
    misses it, does not ask again when the next run shows the same.
    """
    if picture is not None:
        uri = data_uri(Image.fromarray(enlarge(picture, 2 * width)), lossless=max(picture.shape[:2]) <= PIXELATED)
        st.image(uri, caption=plain(caption) or None, width=width)
        return
    with st.container(width=width, gap="xxsmall"):
        st.html(tile(words, f"{width}px"))
        if caption:
            st.caption(plain(caption))


def tile(words: Sequence[str], width: str = "100%", model: str = "") -> str:
    """The HTML of what stands in the place of an image that does not ship; small ones say all when pointed at.

    `model`: whose sets these are; that of the session, where it is not said.
    """
    absent = NONE if setups.is_features(model or state.current().model) else ABSENT
    said = html.escape(", ".join((*words, absent)))
    room = int(width.removesuffix("px")) if width.endswith("px") else _ROOM
    shown = (*words, f"({absent})") if room >= _ROOM else words[:1] if room >= _LINE else ()
    style = f"{_TILE};width:{width}" + (";padding:0.15rem;font-size:0.65rem" if room < _ROOM else "")
    lines = "".join(f"<span>{html.escape(one)}</span>" for one in shown)
    return f'<div role="img" aria-label="{said}" title="{said}" style="{style}">{lines}</div>'


def how_to_get(names: Iterable[str]) -> None:
    """A line on those of these sets whose images do not ship, and the ways to get them, or on those that never had any;
    nothing where all are here."""
    names = tuple(dict.fromkeys(names))
    features = [name for name in names if setups.status(name).state == "features"]
    if features:
        labels = listed([plain(setups.bare_label(name)) for name in features])
        st.caption(f":material/hide_image: {labels}: rows of features, of which there are no images.")
    absent = [name for name in names if setups.is_listed(name)]
    if not absent:
        return
    labels = listed([plain(setups.bare_label(name)) for name in absent])
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(
            f":material/hide_image: The images of {labels} do not ship. To get them: "
            f"`python -m ash fetch {' '.join(absent)}`, or Fetch in the Library.",
            width="content",
        )
        state.page_link("library", "Library", state.current().having(shelf="data"))


def credit(name: str, number: int) -> str:
    """Markdown: who took a photograph that ships, where it is from, under which licence; "" where that is not known."""
    known = samples.photograph(name, number)
    if not known:
        return ""
    author = plain(known["author"])
    where = f"[{author}]({known['page']})" if known.get("page") else author
    return f"Photograph: {where}, {plain(known.get('licence', ''))}"
