"""Six images beside the headline, three ID and three OOD, each with its verdict under the method in use.

They are chosen by the score without shaping, at fixed quantiles: while the setting moves they stay, and their verdicts
change. Each leads to that sample on the page Samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from app.backend import evaluations, samples, setups, thumbnails
from app.charts.verdict_words import rightly
from app.errors import plain
from app.link.spec import RunSpec
from app.link.state import page_link
from app.theme import count
from ash.metrics import accepts, threshold_at_tpr

STYLE = """<style>
.st-key-strip {gap: 0.25rem 1rem; flex-flow: row wrap}
.st-key-strip > div {flex: 1 1 12.5rem; width: auto}
.st-key-strip_id, .st-key-strip_ood {display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 0.25rem}
:is(.st-key-strip_id, .st-key-strip_ood) > div {width: auto}
:is(.st-key-strip_id, .st-key-strip_ood) > div:first-child {grid-column: 1 / -1}
[class*="st-key-tile_"] {position: relative; gap: 0; border-radius: 0.25rem; overflow: hidden}
[class*="st-key-tile_"]:is(:hover, :focus-within) {outline: 2px solid var(--st-primary-color, #0072B2)}
[class*="st-key-tile_"] > :has([data-testid="stPageLink"]) {position: absolute; inset: 0}
[class*="st-key-tile_"] :is([data-testid="stPageLink"], [data-testid="stPageLink"] *) {height: 100%; width: 100%}
[class*="st-key-tile_"] [data-testid="stPageLink"] {opacity: 0}
.tile img, .tile div {display: block; width: 100%; height: 4rem; object-fit: cover; border-radius: 0.25rem}
.tile img.crisp {image-rendering: pixelated; object-fit: contain; background: #000}
.tile div {display: flex; align-items: center; padding: 0.25rem; font-size: 0.6875rem; line-height: 1.2;
  background: color-mix(in srgb, currentColor 8%, transparent)}
.strip_words {margin: 0; font-size: 0.75rem; line-height: 1.3; white-space: nowrap}
.strip_words small {font-size: 0.6875rem; opacity: 0.8}
</style>"""

OF_ID = (0.9, 0.5, 0.03)  # quantiles of the ID images' scores: well known, typical, and one of the few that lie below
SHOWN = 3  # images of each kind


@dataclass(frozen=True)
class Tile:
    """One image: data set, its row in the bank, whether it is of the ID set, its verdict now and without shaping."""

    name: str
    row: int
    is_id: bool
    accepted: bool
    before: bool

    def words(self, shaped: bool) -> tuple[str, str, str]:
        """The verdict, whether it is right, and whether shaping (where there is any) changed it."""
        verdict, right = "accepted" if self.accepted else "rejected", rightly(self.accepted, self.is_id)
        if not shaped:
            return verdict, right, "no shaping"
        changed = "was accepted" if self.before else "was rejected"
        return verdict, right, "as before" if self.accepted == self.before else changed


def tiles(spec: RunSpec) -> list[Tile]:
    """The images of a spec: of the ID set, then of up to three OOD sets whose images are here; none without such sets.

    Of a set the image at the median of the unshaped scores is taken; where a set gives several, they share the range.
    """
    at = setups.setup(spec)
    shown = [name for name in setups.sets_on(spec) if setups.whole_set(name).has_images]
    if not shown:
        return []
    after = evaluations.evaluation(at, str(spec.method))
    before = evaluations.evaluation(at, str(evaluations.unshaped(spec).method))
    lines = [threshold_at_tpr(one.id_scores, spec.tpr / 100) for one in (after, before)]
    found = []
    for name, quantile in [*((at.id_set, q) for q in OF_ID), *_places(shown)]:
        old, new = (one.id_scores if name == at.id_set else one.ood_scores[name] for one in (before, after))
        row = int(np.argsort(old, kind="stable")[round(quantile * (len(old) - 1))])
        now, once = (bool(accepts(scores[row], line)) for scores, line in zip((new, old), lines, strict=True))
        found.append(Tile(name, row, name == at.id_set, now, once))
    return found


def _places(sets: Sequence[str]) -> list[tuple[str, float]]:
    """(OOD set, quantile) of SHOWN images: of sets spread over the list, the first and the last among them."""
    chosen = [sets[round(i * (len(sets) - 1) / (SHOWN - 1))] for i in range(SHOWN)]
    return [(name, (chosen[:i].count(name) + 1) / (chosen.count(name) + 1)) for i, name in enumerate(chosen)]


def draw(spec: RunSpec) -> None:
    """The two groups of images; nothing where no OOD set has images here."""
    found = tiles(spec)
    if not found:
        return
    at = setups.setup(spec)
    numbers = [samples.number(at, "id" if one.is_id else one.name, one.row) for one in found]
    pictures = thumbnails.small_pictures([(one.name, number) for one, number in zip(found, numbers, strict=True)])
    shaped = spec.method != evaluations.unshaped(spec).method
    st.html(STYLE)
    with st.container(key="strip"):
        for key, title in (("strip_id", "Known (ID)"), ("strip_ood", "Never taught (OOD)")):
            with st.container(key=key):
                st.html(f'<p class="strip_words">{title}</p>')
                for place, (one, number, picture) in enumerate(zip(found, numbers, pictures, strict=True)):
                    if one.is_id == (key == "strip_id"):
                        with st.container(key=f"tile_{place}"):
                            _tile(spec, one, number, picture, shaped)


def _picture(small: thumbnails.Thumbnail) -> str:
    """The picture as HTML: an empty frame that says so for an image that does not ship, or does not decode."""
    if not small.uri:
        return f'<div class="tile"><div>{"picture not shipped" if small.absent else "no picture"}</div></div>'
    kind = ' class="crisp"' if small.crisp else ""
    return f'<div class="tile"><img src="{small.uri}"{kind} alt=""></div>'


def _tile(spec: RunSpec, one: Tile, number: int, picture: thumbnails.Thumbnail, shaped: bool) -> None:
    """Picture, verdict, and the link over both; apart, so that a picture that stays is not sent again."""
    verdict, right, change = one.words(shaped)
    st.html(_picture(picture))
    st.html(f'<p class="strip_words">{verdict}<br><b>{right}</b><br><small>{change}</small></p>')
    label = f"{setups.set_label(one.name)} {count(number)}: {verdict}, {right[2:]}, {change}. Open in Samples"
    source = "id" if one.is_id else one.name
    page_link("samples", plain(label), spec.having(source=source, sample=number, look="one"))
