"""The shelf of models: weights here or missing, where they belong, fetch them, explore."""

import pandas as pd
import streamlit as st

from app.backend import library, library_work, registry
from app.backend.library import ModelRow
from app.errors import plain
from app.link import streamlit_private
from app.link.picks import Pick
from app.link.spec import RunSpec
from app.link.state import current, dispatch
from app.theme import count, size
from app.ui import facts as parts
from ash.errors import AshError

GO = "library_go"  # the next run leaves for the Trade-off
_OTHER = "library_other"


def draw(spec: RunSpec) -> None:
    """The table of models, torchvision's and timm's others by name, and the chosen one."""
    rows = {row.name: row for row in library.model_rows()}
    selected = parts.chosen("models", [*rows, *library.other_choices(), spec.model], spec.model)
    parts.table(_frame(rows), "models", selected, _columns())
    _search(selected if selected not in rows else None)
    with st.container(border=True, key="library_model"):
        _details(selected, rows.get(selected))


def _frame(rows: dict[str, ModelRow]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "Model": row.label,
                "Weights": parts.STATES["present" if row.present else "missing"],
                "On disk": row.bytes,
                "Classes": row.classes,
                "Placements": len(row.placements) or None,
                "Name": row.name,
            }
            for row in rows.values()
        ],
        index=pd.Index(list(rows), name="name"),
    )


def _columns() -> dict[str, object]:
    return {
        "Model": st.column_config.TextColumn(pinned=True),
        "On disk": st.column_config.NumberColumn(format="bytes"),
        "Classes": st.column_config.NumberColumn(format="localized"),
        "Placements": st.column_config.NumberColumn(help="With a name of their own; every other cut can be used too."),
    }


def _search(selected: str | None) -> None:
    """Any other classifier by its name, in place of a row of the table."""
    if st.session_state.get(_OTHER) != selected:
        st.session_state[_OTHER] = selected
    st.selectbox(
        "Any other classifier",
        list(dict.fromkeys((*library.other_choices(), *([selected] if selected else [])))),
        index=None,
        placeholder=f"Any other classifier of {library.other_sources()}: type its name",
        label_visibility="collapsed",
        key=_OTHER,
        on_change=_found,
    )


def _found() -> None:
    parts.choose("models", streamlit_private.value_of(_OTHER) or "")


def _details(name: str, known: ModelRow | None) -> None:
    """What is known of a model and what can be done with it; one of torchvision's or timm's is looked up for that."""
    if known is None or not known.placements:
        try:
            with st.spinner("Building it without weights"):
                known = library.model_row(name)
        except AshError as error:
            st.warning(plain(library.shown(error)), icon=":material/link_off:")
            return
    st.subheader(plain(known.label))
    parts.facts(
        {
            "Weights": _weights(known),
            "File" if known.present else "They belong at": "" if known.built_in else library.shown(known.path),
            "Checkpoints": f"{', '.join(known.checkpoints)}; the file is the first one's" if known.checkpoints else "",
            "Plug-in": library.shown(known.source) if known.source else "",
            "Published at": known.url,
            "Classes": count(known.classes or 0),
            "Placements": ", ".join(known.placements),
            "Enters the head": known.penultimate,
            "Note": known.note,
        },
        {"Published at": known.url},
    )
    _actions(known)


def _weights(row: ModelRow) -> str:
    if row.features:
        return "in head.npz of the folder of features"
    if row.built_in:
        return "built in: the function of the plug-in returns the network with them"
    if fault := registry.entry(row.name).fault():
        return f"cannot be used: {library.shown(fault)}"
    return f"present, {size(row.bytes)}" if row.present else "missing"


def _actions(row: ModelRow) -> None:
    on = library.library_on()
    with st.container(horizontal=True, vertical_alignment="center"):
        if row.present:
            st.button(
                "Explore",
                icon=":material/arrow_forward:",
                key="model_explore",
                type="primary",
                on_click=_explore,
                args=(row.name,),
            )
        elif on and row.url:
            other = library_work.fetched_by_another(row.name)
            label = "Being fetched by another user" if other else "Fetch the weights"
            parts.button(label, "download", "model_fetch", library_work.fetch, row.name, type="primary", disabled=other)
    if not row.present and not on and row.url:
        parts.commands(f"python -m ash fetch {row.name}")
    if not row.present and not row.url:
        st.caption("These weights have no public address: put the file at the place above.")


def _explore(name: str) -> None:
    if name != current().model:
        dispatch(Pick.field("model", name))
    st.session_state[GO] = True
