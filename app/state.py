"""The spec of a session and its link: session state is the truth, widgets are seeded from it, the URL follows it.

    pick -> reduce -> session state -> URL -> widgets and pages

The URL wins only when the browser brings one that this session did not write itself: the first run, Back and Forward.
A rerun that was sent before the last link arrived still carries the link before it, which must not undo the change.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import urlencode

import streamlit as st
from streamlit.navigation.page import Page
from streamlit.runtime.scriptrunner import get_script_run_ctx

from app.spec import Pick, RunSpec, from_query, keys, reduce, settle, to_query, unsayable

_PAGES = "_pages"  # module -> page, of this run
_SPEC, _LINKS, _NOTICES = "spec", "_links", "_notices"
_REMEMBERED = 200  # links of this session, newest last


def current() -> RunSpec:
    """The spec of this session."""
    spec: RunSpec = st.session_state[_SPEC]
    return spec


def dispatch(pick: Pick) -> None:
    """Apply a pick. Call it in a callback, so that the run that follows sees the new spec everywhere."""
    st.session_state[_SPEC] = reduce(st.session_state.get(_SPEC, RunSpec()), pick)
    problem = unsayable(pick)
    st.session_state[_NOTICES] = [problem] if problem else []


def notices() -> list[str]:
    """What was wrong with the link that was opened, one sentence each; empty after the next change."""
    found: list[str] = st.session_state.get(_NOTICES, [])
    return found


def read_link(known: Callable[[RunSpec], Mapping[str, Collection[str]]]) -> RunSpec:
    """At the start of a run: the session's spec, or the one of a link that the browser brought."""
    query = st.query_params.to_dict()
    if _SPEC not in st.session_state or _brought_by_browser(urlencode(query)):
        st.session_state[_SPEC], st.session_state[_NOTICES] = from_query(query)
        _remember(urlencode(query))
    for _ in range(2):  # the names a model knows can be asked for only once the model itself is known
        spec, missing = settle(current(), known(current()))
        if missing:
            st.session_state[_SPEC], st.session_state[_NOTICES] = spec, [*notices(), *missing]
    return current()


def write_link() -> None:
    """Make the URL say the spec. A URL that already means it stays as it is, so that Back needs no second press."""
    query = st.query_params.to_dict()
    same = from_query(query)[0] == current()
    # Remembered before it is sent: a run that is interrupted in between must not take its own link for a new one.
    _remember(urlencode(query if same else to_query(current())))
    if not same:
        st.query_params.from_dict(to_query(current()))


def _brought_by_browser(link: str) -> bool:
    links: list[str] = st.session_state[_LINKS]
    if link == links[-1]:
        return False
    context = get_script_run_ctx()
    back = context is not None and getattr(context, "is_history_navigation", False)
    # A page change through Streamlit's own commands drops the query: the session's spec goes on.
    return back or (link != "" and link not in links)


def _remember(link: str) -> None:
    links: list[str] = st.session_state.setdefault(_LINKS, [])
    if not links or links[-1] != link:
        links.append(link)
        del links[:-_REMEMBERED]


def _offer(link: str) -> None:
    """A link that this session may have been at before counts as brought by the browser when it is followed again."""
    links: list[str] = st.session_state.setdefault(_LINKS, [])
    links[:-1] = [one for one in links[:-1] if one != link]


def remember_pages(pages: Mapping[str, Page]) -> None:
    """Keep the pages of this run (module in app/views -> page), so that any page can link to another."""
    st.session_state[_PAGES] = pages


def page_link(module: str, label: str, spec: RunSpec | None = None) -> None:
    """A link to another page that carries the spec, or another one: Streamlit's own would drop the query."""
    query: Any = to_query(current() if spec is None else spec) or None
    if spec is not None:
        _offer(urlencode(query or {}))
    st.page_link(st.session_state[_PAGES][module], label=label, icon=":material/arrow_forward:", query_params=query)


def page_title(module: str) -> str:
    """The title of another page."""
    title: str = st.session_state[_PAGES][module].title
    return title


def open_page(module: str) -> None:
    """Go to another page with the spec; call it in the run, not in a callback."""
    st.switch_page(st.session_state[_PAGES][module], query_params=to_query(current()))


def bind(
    name: str,
    *,
    to_widget: Callable[[Any], Any] = lambda value: value,
    from_widget: Callable[[Any], Any] = lambda value: value,
    suffix: str = "",
) -> dict[str, Any]:
    """Keyword arguments that tie a widget to a field of the spec: `st.slider("p", 0, 99, **bind("p", ...))`.

    The widget shows the field, and a change of the widget is a pick. Do not pass `value`, `index` or `default` as well.
    `to_widget` and `from_widget` translate; `suffix` tells two widgets of the same field apart.
    """
    if name not in keys():
        raise KeyError(f"RunSpec has no field '{name}'")
    key = f"spec_{name}{suffix}"
    shown = to_widget(getattr(current(), name))
    # An equal value is not written again: that would push the widget back while its user goes on moving it.
    if key not in st.session_state or st.session_state[key] != shown:
        st.session_state[key] = shown

    def changed() -> None:
        dispatch(Pick.field(name, from_widget(st.session_state[key])))

    return {"key": key, "on_change": changed}
