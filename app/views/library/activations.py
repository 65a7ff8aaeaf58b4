"""The shelf of activations: what has been computed, its size; verify, finish, delete."""

import pandas as pd
import streamlit as st

from app.backend import library, library_work
from app.backend.library import BankRow
from app.errors import plain
from app.link.spec import RunSpec
from app.theme import count, size
from app.ui import facts as parts
from app.ui.work import duration

_DELETE = "library_delete"  # the bank whose deletion waits for a second click


def draw(spec: RunSpec) -> None:
    """The table of banks and the chosen one, or what to do where there is none."""
    rows = {row.name: row for row in library.bank_rows()}
    own = [row for row in rows.values() if not row.info.bundled]
    if not own:
        st.info(
            "No activations computed yet. Choose a model and a placement in the sidebar; the pages compute what they "
            "need, or extract a data set on the shelf of data sets.",
            icon=":material/inventory_2:",
        )
    if not rows:
        return
    here = f"{count(len(own))} computed here, {size(sum(row.info.bytes for row in own))}; " if own else ""
    st.caption(f"{here}{len(rows) - len(own)} bundled. Computed ones are in {plain(library.cache_folder())}.")
    selected = parts.chosen("activations", list(rows))
    parts.table(_frame(rows), "activations", selected, _columns())
    with st.container(border=True, key="library_bank"):
        _details(spec, rows[selected])


def _state(row: BankRow) -> str:
    if row.info.complete and library_work.damaged_shards(row.name):
        return "✕ damaged"
    if library_work.outdated(row.name):
        return "◌ outdated"
    return "● complete" if row.info.complete else parts.STATES["partial"]


def _frame(rows: dict[str, BankRow]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "Data set": _set_words(row),
                "Model": row.model,
                "Placement": row.placement,
                "State": _state(row),
                "Rows": row.rows,
                "On disk": row.info.bytes,
                "Format": row.dtype,
                "Date": row.date,
                "From": "bundled" if row.info.bundled else "computed here",
            }
            for row in rows.values()
        ],
        index=pd.Index(list(rows), name="name"),
    )


def _columns() -> dict[str, object]:
    return {
        "Data set": st.column_config.TextColumn(pinned=True),
        "Rows": st.column_config.NumberColumn(format="localized"),
        "On disk": st.column_config.NumberColumn(format="bytes"),
        "Date": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm", timezone="UTC"),
    }


def _set_words(row: BankRow) -> str:
    """`digits`, and `digits, 500 images` for a subset."""
    name, _, number = row.dataset.partition("=")
    return f"{name}, {count(int(number))} images" if number.isdigit() else row.dataset


def _details(spec: RunSpec, row: BankRow) -> None:
    st.subheader(f"{plain(_set_words(row))} at {plain(row.placement)} of {plain(row.model)}")
    damaged, since = library_work.damaged_shards(row.name), library_work.outdated(row.name)
    whole = f"outdated, kept and not used: {since}" if since else "complete"
    verified = {None: "", 0: "every checksum matched when this server last looked"}
    parts.facts(
        {
            "State": whole if row.info.complete else "partial: an extraction was stopped, or still runs",
            "Verified": verified.get(damaged, f"{damaged} damaged shards"),
            "Rows": count(row.rows),
            "Size": size(row.info.bytes),
            "Number format": row.dtype + (f", computed in {row.precision}" if row.precision != row.dtype else ""),
            "Folder": library.shown(row.info.folder),
        }
    )
    if row.info.bundled:
        st.caption("They come with the explorer, so there is nothing to finish or to delete.")
    if not library.library_on():
        if not row.info.bundled:
            parts.commands(*library_work.bank_commands(row.name))
        return
    if library_work.bank_at_work(row.name):
        st.caption(":material/sync: A job works on them now.")
    elif st.session_state.get(_DELETE) == row.name:
        _confirm(row)
    else:
        _actions(row, damaged)


def _actions(row: BankRow, damaged: int | None) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if row.info.complete:
            parts.button("Verify", "fact_check", "bank_verify", library_work.verify, row.name)
        if not row.info.bundled and (damaged or not row.info.complete):
            label = "Rebuild the damaged shards" if row.info.complete else "Finish"
            parts.button(label, "play_arrow", "bank_finish", library_work.finish, row.name, type="primary")
        if not row.info.bundled:
            st.button("Delete", icon=":material/delete:", key="bank_delete", on_click=_ask, args=(row.name,))


def _ask(name: str) -> None:
    st.session_state[_DELETE] = name


def _confirm(row: BankRow) -> None:
    """What is lost and what it takes to get it back, then the button that does it."""
    with st.spinner("Measuring how long it would take to compute them again"):
        cost = library_work.cost_again(row.name)
    again = (
        f"Computing them again takes about {duration(cost.seconds)} on {plain(cost.device)}."
        if cost
        else "They cannot be computed again: the weights or images are not here any more, or have changed."
    )
    st.warning(
        f"Delete {count(row.rows)} rows, {size(row.info.bytes)}: the activations of {plain(_set_words(row))} at "
        f"{plain(row.placement)} of {plain(row.model)}. {again}",
        icon=":material/delete:",
    )
    with st.container(horizontal=True):
        parts.button("Delete for good", "delete", "bank_delete_confirmed", _delete, row.name, type="primary")
        st.button("Keep", key="bank_keep", on_click=_ask, args=("",))


def _delete(name: str) -> None:
    st.session_state[_DELETE] = ""
    library_work.delete(name)
