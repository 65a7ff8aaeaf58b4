"""What the shelves of the Library share: a table with a chosen row, facts in two columns, commands, actions."""

import html
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from app.backend import jobs, library
from app.errors import plain
from app.link.picks import Pick
from app.link.state import current
from app.ui import plot, share
from ash.errors import AshError

STYLE = """<style>
dl.facts {display: grid; grid-template-columns: max-content 1fr; gap: 0.2rem 1.25rem; margin: 0; padding: 0}
dl.facts dt {opacity: 0.75; margin: 0; padding: 0}
dl.facts a {color: inherit}
dl.facts dd {margin: 0; padding: 0; overflow-wrap: anywhere}
[data-testid="stLayoutWrapper"]:has(> [class*="st-key-job_words_"]) {min-width: min(100%, 17rem)}
</style>"""
MOST_ROWS = 8  # of a table before it scrolls, so that the details stay in sight
_ROW = 35  # pixels
_ERROR = "library_error"  # why the last action was refused
STATES = {
    "present": "● present",
    "missing": "○ missing",
    "incomplete": "◐ incomplete",
    "partial": "◐ partial",
    "listed": "◌ activations ship",
    "features": "◍ features",
}


def act(action: Callable[..., Any], *args: Any) -> None:
    """Callback of a button: do something in the backend; why it was refused stands on the page of the next run."""
    try:
        job = action(*args)
    except AshError as error:
        st.session_state[_ERROR] = str(error)
        return
    if isinstance(job, jobs.Job):  # the list of jobs may be out of sight
        st.toast(f"Started: {plain(job.work.title)}", icon=":material/sync:")


def refusal() -> None:
    """Why the last action was refused, once."""
    if reason := st.session_state.pop(_ERROR, ""):
        st.error(plain(library.shown(reason)), icon=":material/error:")


def button(label: str, icon: str, key: str, action: Callable[..., Any], *args: Any, **more: Any) -> None:
    """A button that does something in the backend."""
    st.button(label, icon=f":material/{icon}:", key=key, on_click=act, args=(action, *args), **more)


def _chosen_key(shelf: str) -> str:
    return f"library_row_{shelf}"


def choose(shelf: str, name: str) -> None:
    """Make a row the chosen one of its shelf."""
    st.session_state[_chosen_key(shelf)] = name


def chosen(shelf: str, names: Sequence[str], default: str = "") -> str:
    """The chosen row of a shelf; the default, or the first, while nobody has chosen one that is there."""
    name: str = st.session_state.get(_chosen_key(shelf), "")
    return next(one for one in (name, default, *names) if one in names)


def table(frame: pd.DataFrame, shelf: str, selected: str, columns: Mapping[str, Any]) -> None:
    """A table whose rows are chosen by mouse or keyboard, and its download."""

    def pick(name: str) -> Pick:
        choose(shelf, name)
        return Pick.field("shelf", current().library.shelf)  # which row it is belongs to this session, not to the link

    with st.container(gap="xsmall"):
        height: Any = (
            "auto" if len(frame) <= MOST_ROWS else round(_ROW * (MOST_ROWS + 1.5))
        )  # half a row: there is more
        plot.rows(frame, f"library_{shelf}", on_pick=pick, selected=selected, columns=columns, height=height)
        with st.container(horizontal=True):
            share.download(
                "Table (CSV)",
                lambda: plot.csv_text(frame, share.dated({"table": f"ASH explorer, Library, {shelf}"})),
                f"ash-{shelf}.csv",
                f"library_{shelf}_csv",
                type="tertiary",
            )
            button("Look again", "refresh", f"library_{shelf}_again", library.refresh, type="tertiary")


def facts(pairs: Mapping[str, str], links: Mapping[str, str] | None = None) -> None:
    """Terms and what is known, in two columns; empty ones are left out. `links`: term -> address of a registry."""
    rows = []
    for term, text in pairs.items():
        if not text:
            continue
        shown, address = html.escape(text), (links or {}).get(term, "")
        if address.startswith(("https://", "http://")):
            shown = f'<a href="{html.escape(address)}" target="_blank" rel="noopener noreferrer">{shown}</a>'
        rows.append(f"<dt>{html.escape(term)}</dt><dd>{shown}</dd>")
    st.html(f'<dl class="facts">{"".join(rows)}</dl>')


def commands(*lines: str) -> None:
    """What to type where the server runs; shown in place of buttons where the Library is off."""
    if not lines:
        return
    st.caption("Where the server runs:")
    st.code("\n".join(lines), language="bash", wrap_lines=True)
