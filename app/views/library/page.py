"""Library page: which models, data sets and activations are on this machine, and how to get, check and delete them."""

import streamlit as st

from app.backend import library
from app.errors import plain
from app.link import state
from app.link.spec import RunSpec
from app.link.state import bind
from app.theme import count, counted, listed, size
from app.ui import facts, job_panel
from app.views.library import activations
from app.views.library import data as library_data
from app.views.library import models as library_models

SHELVES = {"models": "Models", "data": "Data sets", "activations": "Activations"}
_DRAW = {
    "models": library_models.draw,
    "data": library_data.draw,
    "activations": activations.draw,
}
_HOW_TO = {"models": ("own-network", "Add a network of your own"), "data": ("own-data", "Add images of your own")}


def render(spec: RunSpec) -> None:
    """Draw the page for this spec."""
    if st.session_state.pop(library_models.GO, False):
        state.open_page("tradeoff")
    st.title("Library")
    st.html(facts.STYLE)
    st.markdown(f"**{summary()}**")
    _plugins()
    if not library.library_on():
        st.info(
            "On this server, fetching, extracting and deleting from the browser is off. "
            "Whoever starts it turns it on with ASH\\_LIBRARY=on, or uses the commands below.",
            icon=":material/lock:",
        )
    facts.refusal()
    job_panel.panel()
    st.segmented_control(
        "Shelf",
        list(SHELVES),
        format_func=SHELVES.__getitem__,
        required=True,
        label_visibility="collapsed",
        **bind("shelf"),
    )
    if about := _HOW_TO.get(spec.library.shelf):
        guide, label = about
        state.page_link("guide", label, spec.having(guide=guide))
    _DRAW[spec.library.shelf](spec)


def summary() -> str:
    """What is here in one sentence."""
    models, data, banks = library.model_rows(), library.data_rows(), library.bank_rows()
    ready = sum(row.present for row in models)
    here = sum(row.status.state in ("present", "features") for row in data)
    listed_sets = sum(row.status.state == "listed" for row in data)
    only = f" (of {listed_sets} more the activations ship)" if listed_sets else ""
    own = [row for row in banks if not row.info.bundled]
    bundled = counted(len(banks) - len(own), "set") + " of activations come with the explorer"
    computed = f"{counted(len(own), 'set')} computed here ({size(sum(row.info.bytes for row in own))})" if own else ""
    return (
        f"{ready} of {len(models)} models and {here} of {len(data)} data sets are here{only}; "
        f"{bundled}, {computed or 'none was computed here yet'}."
    )


def _plugins() -> None:
    """One line of what the plug-ins bring and a box of what is wrong; nothing where there are none."""
    contents = library.plugin_contents()
    if not contents:
        return
    with st.spinner("Trying the models and data sets of the plug-ins"):
        problems = library.plugin_problems()
    brought = [f"{file} brings {_brought(names)}" for file, names in contents.items() if names]
    if brought:
        st.caption(f":material/extension: {plain('; '.join(brought))}.")
    if problems:
        number = (
            "A plug-in has a problem" if len(problems) == 1 else f"The plug-ins have {count(len(problems))} problems"
        )
        lines = "".join(f"\n* {plain(problem)}" for problem in problems)
        st.warning(f"{number}; everything else works.\n{lines}", icon=":material/extension_off:")


def _brought(names: dict[str, tuple[str, ...]]) -> str:
    """`the model mine and the data sets a and b`."""
    return listed([f"the {kind}{'s' if len(some) > 1 else ''} {listed(some)}" for kind, some in names.items()])
