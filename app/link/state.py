"""The spec of a session and its link: session state is the truth, widgets are seeded from it, the URL follows it.

    pick -> reduce -> session state -> URL -> widgets and pages

The URL wins only when the browser brings one that is not an echo of this session's own (`trail`). The link is sent in
every run, whatever query came with it: that of the browser may be older than what is on its way to it.
"""

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from app.link import streamlit_private
from app.link.picks import Pick, reduce, unsayable
from app.link.spec import OPENING, RunSpec, from_query, keys, settle, to_query
from app.link.streamlit_private import Page
from app.link.trail import Arrival, Trail

_PAGES = "_pages"  # module -> page, of this run
_SPEC, _TRAIL, _NOTICES = "spec", "_trail", "_notices"
_MET, _CARRIED = "_met", "_carried"  # whether this session has drawn a page; states that came before it has
_WRITTEN, _SEEN = "_written", "_seen"  # how often values were put into controls; whether the browser has them all
_PUTS = "_puts"  # the same, with those that nobody has to wait for
_REPLACED = "_replaced"  # key of a control -> puts that the browser may lack, and the value that each took the place of
_SHOWN = "_shown"  # key of a control -> what it was last to show
_DRAWN = "_drawn"  # the page of this run, and the keys of the controls that the run before drew on it
_NOW = "_now"  # the keys of those that this run has drawn
_WHOLE = "_whole"  # the page and the spec of the last run that came to its end
_STEP = "_step"  # whether this run is that of a step whose chart is still to be sent
_MOVED = "_moved"  # the field that a user's own control changed before this run, and the key of that control
ALONE = 0.04  # seconds in which nothing follows a chart that is drawn anew: React and Plotly take some 35 ms for it
_UNKNOWN = object()  # the value of a control of which nothing is known any more
ECHO, _UNSEEN = "echo", "unseen"  # the control that nobody sees, and what holds it
PUT_SO_FAR, PUT_IN_ALL = "put_so_far", "put_in_all"  # and two more, which tell of `_PUTS`


def current() -> RunSpec:
    """The spec of this session."""
    spec: RunSpec = st.session_state[_SPEC]
    return spec


def dispatch(pick: Pick) -> None:
    """Apply a pick. Call it in a callback, so that the run that follows sees the new spec everywhere."""
    st.session_state[_SPEC] = reduce(st.session_state.get(_SPEC, OPENING), pick)
    problem = unsayable(pick)
    st.session_state[_NOTICES] = [problem] if problem else []


def notices() -> list[str]:
    """What was wrong with the link that was opened, one sentence each; empty after the next change."""
    found: list[str] = st.session_state.get(_NOTICES, [])
    return found


@contextmanager
def first_meeting() -> Iterator[None]:
    """Round a whole run: that no change is lost which meets a server that was restarted under an open page.

    Streamlit calls the callbacks of the controls it has drawn, and this session has drawn none. So where the browser
    comes with states of controls, the page is drawn as the link says it, unseen, and the run repeated with the states.
    A second change stops that drawing half way, with callbacks for some: the next run begins anew, with the states of
    both.
    """
    if st.session_state.get(_MET, False):
        yield
        return
    states = {**st.session_state.get(_CARRIED, {}), **streamlit_private.carried_states()}
    if not states:
        st.session_state[_MET] = True
        yield
        return
    st.session_state[_CARRIED] = states
    with streamlit_private.unseen():
        yield
    st.session_state[_MET] = True
    streamlit_private.run_again(st.session_state.pop(_CARRIED).values())


def number_in_use(key: str) -> int:
    """Of controls `key_0`, `key_1`, ... that follow each other: the number of the one that a browser has which was here
    before the server was; 0 where it came with none. Asked for when the first of them is drawn.
    """
    return streamlit_private.highest_number(st.session_state.get(_CARRIED, ()), key)


def read_link(known: Callable[[RunSpec], Mapping[str, Collection[str]]], page: str) -> RunSpec:
    """At the start of a run of a page: the session's spec, or the one of a link that the browser brought."""
    st.session_state[_SEEN] = streamlit_private.told(ECHO) == str(st.session_state.get(_WRITTEN, 0))
    query = streamlit_private.address()
    arrival = Arrival(urlencode(query), page, streamlit_private.is_history_navigation())
    trail: Trail = st.session_state.get(_TRAIL, Trail())
    if _SPEC not in st.session_state or trail.brings(arrival):
        st.session_state[_SPEC], st.session_state[_NOTICES] = from_query(query)
    st.session_state[_TRAIL] = trail.after(arrival)
    if st.session_state.get(_DRAWN, (None,))[0] != page:
        st.session_state[_DRAWN] = page, set()
    st.session_state[_NOW] = set()
    for name in (_REPLACED, _SHOWN):
        st.session_state.setdefault(name, {})
    for _ in range(2):  # the names a model knows can be asked for only once the model itself is known
        spec, missing = settle(current(), known(current()))
        if missing:
            st.session_state[_SPEC], st.session_state[_NOTICES] = spec, [*notices(), *missing]
    before, last = st.session_state.get(_WHOLE, (None, OPENING))
    moved = st.session_state.get(_MOVED, ("",))[0] == "p"
    st.session_state[_STEP] = moved and before == page and last == replace(current(), p=last.p)
    return current()


def is_step() -> bool:
    """Whether the percentile was moved, and all else is as in the last whole run of this page; until its chart is sent.

    What somebody waits for who moves it is the chart: it is sent before the controls and all the rest.
    """
    step: bool = st.session_state.get(_STEP, False)
    return step


def send_alone() -> None:
    """After the first chart of a step: let the browser draw it before the rest of the page arrives."""
    if is_step():
        st.session_state[_STEP] = False
        time.sleep(ALONE)


def write_link() -> None:
    """Make the URL say the spec. A URL that already means it stays as it is, so that Back needs no second press."""
    if from_query(streamlit_private.address())[0] == current():
        streamlit_private.repeat_address()
        return
    query = to_query(current())
    # Remembered before it is sent: a run that is interrupted in between must not take its own link for a new one.
    st.session_state[_TRAIL] = st.session_state[_TRAIL].with_link(urlencode(query))
    st.query_params.from_dict(query)


def remember_pages(pages: Mapping[str, Page]) -> None:
    """Keep the pages of this run (module in app/views -> page), so that any page can link to another."""
    st.session_state[_PAGES] = pages


def page_link(module: str, label: str, spec: RunSpec | None = None) -> None:
    """A link to another page that carries the spec, or another one: Streamlit's own would drop the query."""
    query: Any = to_query(current() if spec is None else spec) or None
    if spec is not None:
        st.session_state[_TRAIL] = st.session_state[_TRAIL].with_offer(urlencode(query or {}))
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
    shown = to_widget(current().value(name))
    return tie(key, shown, lambda value: dispatch(Pick.field(name, from_widget(value))), name)


def tie(key: str, shown: Any, move: Callable[[Any], None], field: str = "") -> dict[str, Any]:
    """Keyword arguments of a control that shows a value, and whose moves by its user are `move`, with the new value.

    `field` is the one that it stands for; a control of none follows the others, and nobody has to wait for it.
    """
    # An equal value is not written again: that would push the widget back while its user goes on moving it. But where
    # an earlier value is still on its way to the browser, it would take the place of this one. And a control that the
    # page before had too is another one to Streamlit, which begins with its first value.
    st.session_state[_NOW].add(key)
    known = key in st.session_state[_DRAWN][1]
    if not known:
        st.session_state[_REPLACED].pop(key, None)
    there = known and key in st.session_state and st.session_state[key] == shown
    if not (there and st.session_state.get(_SEEN, True)):
        before = st.session_state.get(key, shown)
        st.session_state[key] = shown
        number = st.session_state[_PUTS] = st.session_state.get(_PUTS, 0) + 1
        if before != shown:
            st.session_state[_REPLACED][key] = [*_lacking(key), (number, before)]
        moved, own = st.session_state.get(_MOVED, ("", ""))
        if field and (moved != field or own == key):  # a second control of the field follows the first
            st.session_state[_WRITTEN] = st.session_state.get(_WRITTEN, 0) + 1
    st.session_state[_SHOWN][key] = shown

    def changed() -> None:
        value = streamlit_private.value_of(key, _UNKNOWN)
        if value is _UNKNOWN:
            return
        if _is_left_over(key, value):
            # What is on its way to it comes back as the next thing that it tells, and is no choice either.
            st.session_state[key] = st.session_state[_SHOWN][key]
        else:
            st.session_state[_MOVED] = field, key
            move(value)

    return {"key": key, "on_change": changed}


def _is_left_over(key: str, value: Any) -> bool:
    """Whether a control tells what it showed before another value was put into it, or before it was left out.

    Nobody has moved it then: the message of another control was on its way before the browser had the new page.
    """
    lacking = _lacking(key)
    left_over = value in [before for _, before in lacking]
    if not left_over:
        st.session_state[_REPLACED].pop(key, None)
    return left_over


def _lacking(key: str) -> list[tuple[float, Any]]:
    """Of the puts into a control those that the browser has not told of yet, and the value before each."""
    told = [streamlit_private.told(one) or "" for one in (PUT_SO_FAR, PUT_IN_ALL)]
    seen = max(int(one) if one.isdecimal() else 0 for one in told)
    return [(number, before) for number, before in st.session_state[_REPLACED].get(key, []) if number > seen]


def echo_so_far() -> None:
    """Within a run: what `echo` says, of the values until here, so that a page that takes long keeps nobody waiting."""
    _tell({PUT_SO_FAR: _PUTS})


def echo() -> None:
    """At the end of a run: controls that nobody sees, by which the browser says how many values it has taken over.

    A value that is put into a control reaches the browser later than what its user does meanwhile.
    """
    st.session_state.pop(_MOVED, None)
    page, drawn = st.session_state[_DRAWN]
    st.session_state[_WHOLE] = page, current()
    for key in drawn - st.session_state[_NOW]:
        if key in st.session_state:
            st.session_state[_REPLACED].setdefault(key, []).append((math.inf, st.session_state[key]))
    st.session_state[_DRAWN] = page, st.session_state[_NOW]
    _tell({ECHO: _WRITTEN, PUT_IN_ALL: _PUTS})


def _tell(counts: Mapping[str, str]) -> None:
    """Controls, key -> the count that it tells."""
    with st.container(key=f"{_UNSEEN}_{next(iter(counts))}"):
        st.html(f'<style>[data-testid="stLayoutWrapper"]:has(> [class*="st-key-{_UNSEEN}_"]) {{display: none}}</style>')
        for key, count in counts.items():
            st.session_state[key] = str(st.session_state.get(count, 0))
            st.text_input("Values taken over", key=key, label_visibility="collapsed")
