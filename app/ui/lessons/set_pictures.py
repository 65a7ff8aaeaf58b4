"""Pictures of the sets that a lesson speaks of, each under the name of its set: on the page and on paper."""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import streamlit as st

from app.backend import evaluations, samples, setups, thumbnails
from app.theme import counted
from app.ui import pictures
from app.ui.lessons.facts import Here, extremes
from app.ui.lessons.facts_choice import reported
from ash.metrics import accepts, threshold_at_tpr

EACH = 3  # pictures of a set, evenly spread over its images
ACCEPTED = 6  # pictures of the hardest set that are accepted
_STYLE = """<style>
.set_pictures {display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: 0.75rem 1.25rem}
.set_pictures figure {margin: 0} .set_pictures figcaption {font-size: 0.875rem; line-height: 1.3}
.set_pictures div {display: grid; grid-template-columns: repeat(3, 1fr); gap: 0.25rem}
.set_pictures.few {grid-template-columns: repeat(auto-fill, minmax(6.5rem, 1fr))}
.set_pictures.few div {grid-template-columns: 1fr}
.set_pictures img {width: 100%; aspect-ratio: 1; object-fit: cover; border-radius: 0.25rem}
.set_pictures img.crisp {image-rendering: pixelated}
</style>"""


@dataclass(frozen=True)
class Group:
    """Some pictures under a line of text; `numbers` are those in the whole set `name`."""

    name: str
    title: str
    numbers: tuple[int, ...]


def sets(here: Here, each: int = EACH) -> list[Group]:
    """The ID set and every OOD set: its name, how many of its images are used, a few of them."""
    evaluation = evaluations.evaluation(here.at, "energy")
    found = []
    for name in (here.at.id_set, *here.sets):
        own = name == here.at.id_set
        total = len(evaluation.id_scores if own else evaluation.ood_scores[name])
        rows = [round((place + 0.5) / each * (total - 1)) for place in range(each)]
        label = setups.set_label(name) if own else here.labels[name]
        title = f"{label} ({'ID' if own else 'OOD'}), {counted(total, 'image')}"
        found.append(Group(name, title, tuple(samples.number(here.at, "id" if own else name, row) for row in rows)))
    return found


def hardest(here: Here) -> list[Group]:
    """Of the set that is hardest for the setting in use: the images that it accepts with the highest scores."""
    method = str(reported(here))
    (name, _), _ = extremes(here, method)
    one = evaluations.evaluation(here.at, method)
    scores, line = one.ood_scores[name], threshold_at_tpr(one.id_scores, here.spec.tpr / 100)
    rows = [int(row) for row in np.argsort(-scores, kind="stable")[:ACCEPTED] if accepts(scores[row], line)]
    title = (
        f"{here.labels[name]}: accepted with the highest scores" if rows else f"{here.labels[name]}: none is accepted"
    )
    return [Group(name, title, tuple(samples.number(here.at, name, row) for row in rows))]


GROUPS: dict[str, Callable[[Here], list[Group]]] = {"sets": sets, "row": partial(sets, each=1), "hardest": hardest}
"""Name in a lesson's text -> the pictures that stand there."""


def draw(name: str, here: Here) -> None:
    """The pictures, and how to get those that do not ship."""
    groups = GROUPS[name](here)
    st.html(_STYLE + as_html(here, groups))
    pictures.how_to_get(group.name for group in groups)


def as_html(here: Here, groups: Sequence[Group]) -> str:
    """The pictures as HTML that needs no other file; words in the place of those that do not ship."""
    wanted = [(group.name, number) for group in groups for number in group.numbers]
    small = iter(thumbnails.small_pictures(wanted))
    figures = []
    for group in groups:
        title = html.escape(group.title)
        absent = pictures.tile((setups.bare_label(group.name),), model=here.at.model)
        tiles = [_tile(next(small), title, absent) for _ in group.numbers]
        figures.append(f"<figure><div>{''.join(tiles)}</div><figcaption>{title}</figcaption></figure>")
    few = max(len(group.numbers) for group in groups) == 1
    return f'<div class="set_pictures{" few" if few else ""}">{"".join(figures)}</div>'


def _tile(small: thumbnails.Thumbnail, title: str, absent: str) -> str:
    if not small.uri:
        return absent
    kind = ' class="crisp"' if small.crisp else ""
    return f'<img src="{small.uri}"{kind} alt="{title}">'
