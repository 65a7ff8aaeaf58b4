"""Samples as cards: picture, verdict in words, and a button that opens the sample."""

import html
from collections.abc import Sequence

import streamlit as st

from app.backend import library, sample_rows, setups, thumbnails
from app.backend.thumbnails import Thumbnail
from app.charts import verdict_words
from app.charts.sample_table import SampleTable
from app.errors import plain
from app.link.picks import Pick
from app.link.spec import RunSpec
from app.link.state import dispatch
from app.theme import count
from app.ui import pictures as images
from app.views.samples import pairs

FITS = 22  # characters of a data set's name on a button
STYLE = """<style>
.sample {margin: 0; line-height: 1.35}
.sample img, .sample .broken {width: 100%; aspect-ratio: 1; object-fit: contain; border-radius: 0.25rem;
  background: color-mix(in srgb, currentColor 8%, transparent)}
.sample img.crisp {image-rendering: pixelated}
.sample .broken {display: flex; align-items: center; padding: 0.5rem; font-size: 0.8rem; overflow-wrap: anywhere}
.sample p {margin: 0.25rem 0 0; font-size: 0.875rem; overflow-wrap: anywhere}
.sample .less {opacity: 0.8; font-size: 0.8125rem}
.sample .mark {font-weight: 600}
.sample.wide {display: grid; grid-template-columns: 7.5rem 1fr; gap: 0.75rem; align-items: start}
.sample.wide h5 {margin: 0; padding: 0; font-size: 1rem}
</style>"""


def table(spec: RunSpec) -> SampleTable:
    """All samples of this spec, ID and OOD."""
    at, sets = setups.setup(spec), tuple(setups.chosen_sets(spec))
    with st.spinner("Judging every sample", show_time=True):
        return sample_rows.every_sample(at, str(spec.method), sets, spec.tpr / 100)


def pictures(found: SampleTable, rows: Sequence[int]) -> list[Thumbnail]:
    """The thumbnails of some rows."""
    images = found.images
    return thumbnails.small_pictures([(images.sets[images.set[row]], int(images.number[row])) for row in rows])


def sets(found: SampleTable, rows: Sequence[int]) -> list[str]:
    """The data sets of some rows."""
    return [found.images.sets[found.images.set[row]] for row in rows]


def open_one(source: str, number: int) -> None:
    """Callback: make a sample the chosen one and look at it."""
    for name, value in (("source", source), ("sample", number), ("look", "one")):
        dispatch(Pick.field(name, value))


def small(spec: RunSpec, found: SampleTable, row: int, picture: Thumbnail) -> None:
    """A card of the grid."""
    with st.container(width=150, gap="xxsmall"):
        notes = [_verdict(spec, found, row), f'<p class="less">{html.escape(_is(found, row))}{_mark(found, row)}</p>']
        st.html(f'<figure class="sample">{_image(found, row, picture)}{"".join(notes)}</figure>')
        _button(found, row)


def large(spec: RunSpec, found: SampleTable, scene: pairs.Scene, picture: Thumbnail) -> None:
    """A card of the story."""
    row = scene.row
    with st.container(width=312, height="stretch", border=True, gap="xsmall", key=f"story_{row}"):
        before = pairs.before(found, row, spec.tpr)
        words = [
            f"<h5>{html.escape(scene.title)}</h5>",
            _verdict(spec, found, row),
            f"<p>{_unbroken(html.escape(before))}</p>" if before else "",
            f'<p class="less">{html.escape(_is(found, row))}</p>',
            f'<p class="less">Chosen: {html.escape(scene.why)}.</p>',
        ]
        text = f"<div>{_image(found, row, picture)}</div><div>{''.join(words)}</div>"
        st.html(f'<div class="sample wide">{text}</div>')
        _button(found, row)


def _verdict(spec: RunSpec, found: SampleTable, row: int) -> str:
    words = pairs.verdict(found, row, spec.tpr, lambda name: f"<em>{html.escape(name)}</em>")
    rightly = verdict_words.rightly(bool(found.after.accepted[row]), bool(found.is_id[row]))
    return f'<p><span class="mark">{rightly}:</span> {_unbroken(words)}</p>'


def _unbroken(words: str) -> str:
    """The words with `95 %` on one line."""
    return words.replace(" %", "\N{NO-BREAK SPACE}%")


def _is(found: SampleTable, row: int) -> str:
    """What the image is: its true class, or that it has none, and its file name."""
    return f"{pairs.truth(found, row)} · {found.images.names[row].rsplit('/', 1)[-1]}"


def _mark(found: SampleTable, row: int) -> str:
    word = "rescued" if found.rescued[row] else "broken" if found.broken[row] else ""
    return f' <span class="mark">{word}</span>' if word else ""


def _image(found: SampleTable, row: int, picture: Thumbnail) -> str:
    if picture.absent:
        return images.tile((_set_label(found, row), pairs.truth(found, row)))
    if picture.broken:
        return f'<div class="broken">No picture: {html.escape(library.shown(picture.broken))}</div>'
    kind = ' class="crisp"' if picture.crisp else ""
    return f'<img src="{picture.uri}"{kind} alt="{html.escape(_is(found, row))}">'


def _set_label(found: SampleTable, row: int) -> str:
    return setups.set_label(found.images.sets[found.images.set[row]]).split(" (")[0]


def _button(found: SampleTable, row: int) -> None:
    source, number = found.source(row), int(found.images.number[row])
    label = _set_label(found, row)
    st.button(
        f"Open {plain(label) if len(label) <= FITS else 'number'} {count(number)}",
        key=f"open_{source}_{number}",
        type="tertiary",
        icon=":material/open_in_full:",
        on_click=open_one,
        args=(source, number),
    )
