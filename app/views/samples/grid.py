"""All samples of the page Samples: filters, a page of thumbnails at a time, and the selection as a file."""

from dataclasses import asdict

import streamlit as st

from app.charts import sample_table
from app.charts.sample_table import SampleTable, Selection
from app.errors import plain
from app.link.picks import Pick
from app.link.spec import RunSpec
from app.link.state import bind, dispatch
from app.theme import count
from app.ui import code, pictures, plot, share
from app.views.samples import cards, filters, story

PER_PAGE = 24
ORDERS = {"score": "Score", "margin": "Distance to the line", "change": "Change by shaping", "name": "File name"}


def draw(spec: RunSpec) -> None:
    """The sentence, the filters, the grid and the export."""
    found, options = cards.table(spec), spec.samples
    chosen = sample_table.select(found, filters.filters(options), options.order, options.descending)
    if len(chosen.rows):
        st.markdown(f"**{plain(story.finding(spec, found, chosen.rows))}**")
    filters.shortcuts(found)
    filters.draw(spec, found, chosen)
    if not len(chosen.rows):
        st.info(filters.nothing(spec, chosen), icon=":material/filter_alt_off:")
        return
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="sample_tools"):
        st.selectbox("Order by", list(ORDERS), format_func=ORDERS.__getitem__, width=215, **bind("order"))
        st.toggle("Largest first", **bind("descending"))
        _export(spec, found, chosen)
    pages = -(-len(chosen.rows) // PER_PAGE)
    page = min(options.page, pages - 1)
    rows = chosen.rows[page * PER_PAGE : (page + 1) * PER_PAGE].tolist()
    with st.container(horizontal=True, gap="small", key="sample_grid"):
        for row, picture in zip(rows, cards.pictures(found, rows), strict=True):
            cards.small(spec, found, row, picture)
    pictures.how_to_get(cards.sets(found, rows))
    _pages(page, pages, len(chosen.rows))
    code.show("samples_code", lambda: code.samples_program(spec, filters.filters(options)))


def _pages(page: int, pages: int, total: int) -> None:
    """Previous, number of the page, next."""
    if pages == 1:
        return
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="sample_pages"):
        _turn("Previous", "chevron_left", page - 1, page == 0)
        number = bind("page", to_widget=lambda value: min(value, pages - 1) + 1, from_widget=lambda value: value - 1)
        st.number_input(f"Page, 1 to {count(pages)}", 1, pages, step=1, width=150, **number)
        _turn("Next", "chevron_right", page + 1, page == pages - 1)
        first, last = page * PER_PAGE + 1, min((page + 1) * PER_PAGE, total)
        st.caption(f"{count(first)} to {count(last)} of {count(total)} samples")


def _turn(label: str, icon: str, page: int, disabled: bool) -> None:
    st.button(
        label,
        key=f"page_{label.lower()}",
        icon=f":material/{icon}:",
        disabled=disabled,
        on_click=dispatch,
        args=(Pick.field("page", page),),
    )


def _export(spec: RunSpec, found: SampleTable, chosen: Selection) -> None:
    options = spec.samples
    used = {name: value for name, value in asdict(filters.filters(options)).items() if value not in ("", "all", ())}
    origin = {
        **share.provenance(spec),
        "tpr": f"{spec.tpr:g} %, the line that margins are measured from",
        "filters": ", ".join(f"{name}={value}" for name, value in used.items()) or "none",
        "order": f"{options.order}, {'descending' if options.descending else 'ascending'}",
    }
    share.download(
        f"{count(len(chosen.rows))} samples (CSV)",
        lambda: plot.csv_text(sample_table.frame(found, chosen.rows), share.dated(origin)),
        share.file_name("samples", f"{spec.method}.csv"),
        "samples_csv",
    )
