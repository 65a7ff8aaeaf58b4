"""The shelf of data sets: what is here and what is missing, fetch it, extract its activations."""

import pandas as pd
import streamlit as st

from app.backend import banks, jobs, library, library_work, registry, setups
from app.backend.library import DataRow
from app.errors import plain
from app.link.spec import RunSpec
from app.theme import count, size
from app.ui import facts as parts
from app.ui import prepare, work

ROLES = {"id": "ID", "ood": "OOD", "own": "own"}
_COST = "library_cost"  # the data set whose extraction is about to be started, for which setup


def draw(spec: RunSpec) -> None:
    """The table of data sets and the chosen one."""
    rows = {row.entry.name: row for row in library.data_rows()}
    selected = parts.chosen("data", list(rows), setups.setup(spec).id_set)
    parts.table(_frame(rows), "data", selected, _columns())
    with st.container(border=True, key="library_data_set"):
        _details(spec, rows[selected])
    st.caption(f"A folder of images, or a list NAME.csv, in {plain(library.data_folder())} is offered under its name.")
    for sentence in library.sets_not_offered():
        st.caption(plain(sentence))


def _frame(rows: dict[str, DataRow]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "Data set": row.entry.label,
                "Role": ROLES[row.entry.role],
                "Images": parts.STATES[row.status.state],
                "Number": 0 if row.status.state == "listed" else row.status.count or 0,
                "Of": row.entry.count or row.status.count,
                "On disk": 0 if row.status.state == "listed" else row.status.bytes,
                "Licence": row.entry.licence,
                "Name": row.entry.name,
            }
            for row in rows.values()
        ],
        index=pd.Index(list(rows), name="name"),
    )


def _columns() -> dict[str, object]:
    number = st.column_config.NumberColumn(format="localized")
    key = st.column_config.TextColumn(pinned=True, width=160)
    return {"Data set": key, "Number": number, "Of": number, "On disk": st.column_config.NumberColumn(format="bytes")}


def _details(spec: RunSpec, row: DataRow) -> None:
    entry, status = row.entry, row.status
    st.subheader(plain(entry.label))
    reason = library.shown(status.reason)
    missing = f"missing: {reason}" if row.made else "missing"
    here = {"present": "present", "missing": missing, "incomplete": f"incomplete: {reason}"}
    here["listed"] = f"activations ship, images do not: those of {count(status.count or 0)} images"
    here["features"] = "features: there are no images of it, and none are needed"
    unit = "rows" if status.state == "features" else "images"
    number = f", {count(status.count)} {unit}, {size(status.bytes)}" if status.count else ""
    number = "" if status.state == "listed" else number
    known = status.state == "present" or entry.count in (None, status.count)
    wanted = "" if known else f"; it has {count(entry.count or 0)} images"
    download = ", ".join(file.file for file in entry.files)
    parts.facts(
        {
            "What": library.shown(entry.note),
            "Which images": entry.rule,
            "State": here[status.state] + number + wanted,
            _place(row): library.shown(status.path),
            **(library.set_facts(spec.model, entry.name) if status.count else {}),
            "Licence": entry.licence,
            "From": entry.homepage,
            "Files": download + (f" ({size(row.download)})" if row.download else ""),
        },
        {"From": entry.homepage},
    )
    if status.state == "present":
        _extraction(spec, row)
    elif entry.files:
        _fetch(row)


def _place(row: DataRow) -> str:
    if row.made:
        return "Plug-in"
    if row.status.state == "features":
        return "File"
    return "Folder" if row.status.state in ("present", "incomplete") else "It belongs in"


def _fetch(row: DataRow) -> None:
    name = row.entry.name
    if row.entry.wall:
        st.markdown(plain(library.shown(row.entry.instructions)))
    if not library.library_on():
        parts.commands(f"python -m ash fetch {name}")
        return
    other = library_work.fetched_by_another(name)
    label = "Unpack and verify" if row.entry.wall else "Fetch"
    label = "Being fetched by another user" if other else label
    parts.button(label, "download", "data_fetch", library_work.fetch, name, type="primary", disabled=other)


def _extraction(spec: RunSpec, row: DataRow) -> None:
    """Activations of this set at the model and placement of the sidebar: there, or what they cost, then a button."""
    name, model = row.entry.name, registry.entry(spec.model)
    place = f"{plain(registry.placement_label(spec.model, spec.placement))} of {plain(model.label)}"
    if not model.present:
        st.caption(f"Its activations at {place} need the weights first: they are on the shelf of models.")
        return
    at = setups.setup(spec)
    if setups.has_bank(at, name):
        st.caption(f":material/check: Its activations at {place} are computed.")
        return
    if library_work.extracting(at, name):
        st.caption(f":material/sync: Its activations at {place} are being computed.")
        return
    number = len(setups.images(at, name))
    if not library.library_on():
        st.caption(f"Its activations at {place} are not computed yet; a page that needs them offers to.")
        parts.commands(*library_work.extract_command(at, name))
        return
    if st.session_state.get(_COST) != (name, at):
        st.button(
            f"Extract at {place}",
            icon=":material/bolt:",
            key="data_cost",
            on_click=_ask,
            args=((name, at),),
        )
        return
    with st.spinner("Measuring what it costs on this device"):
        cost = banks.cost(at, number)
    st.info(
        f"{count(number)} images at {place}: {size(cost.bytes)}, about {work.duration(cost.seconds)} at "
        f"{cost.rate:,.0f} images a second, measured on {plain(cost.device)}. It runs in the background: you can go on "
        "to other pages, and stop and resume it here.",
        icon=":material/hourglass_empty:",
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        parts.button("Start", "play_arrow", "data_extract", _extract, at, name, type="primary")
        with st.popover("Fewer images, smaller banks", icon=":material/tune:"):
            prepare.amount(spec)
        st.button("Not now", key="data_not_now", on_click=_ask, args=(None,), type="tertiary")


def _ask(what: object) -> None:
    st.session_state[_COST] = what


def _extract(at: setups.Setup, name: str) -> jobs.Job:
    st.session_state[_COST] = None
    return library_work.extract(at, name)
