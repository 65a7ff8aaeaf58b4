"""Every private part of Streamlit and Starlette in use is there and does what is asked of it; versions are bounded."""

import inspect
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from starlette.formparsers import MultiPartParser
from streamlit.navigation.page import Page
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState, WidgetStates
from streamlit.runtime.memory_session_storage import MemorySessionStorage
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.runtime import Runtime
from streamlit.runtime.scriptrunner import RerunData
from streamlit.runtime.scriptrunner_utils.script_run_context import ScriptRunContext
from streamlit.runtime.state.session_state import SessionState
from streamlit.runtime.uploaded_file_manager import UploadedFileRec
from streamlit.runtime.websocket_session_manager import WebsocketSessionManager
from streamlit.testing.v1 import AppTest
from streamlit.web.server.starlette import starlette_routes

from app.link import streamlit_private

ROOT = Path(__file__).parents[2]


def test_only_one_module_reaches_into_streamlit() -> None:
    private = re.compile(
        r"^\s*(from|import) (streamlit\.(runtime|navigation|proto|web)|starlette\.formparsers)|get_script_run_ctx",
        re.MULTILINE,
    )
    allowed = {"streamlit_private.py"}
    found = {path.name for path in (ROOT / "app").rglob("*.py") if private.search(path.read_text())}
    assert found <= allowed | {"own.py"}  # the public type of a file that st.file_uploader returns


@pytest.mark.parametrize("name", ["streamlit", "starlette"])
def test_the_installed_version_is_within_bounds_that_end(name: str) -> None:
    lines = [line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    (wanted,) = [one for one in map(Requirement, filter(None, lines)) if one.name == name]
    assert version(name) in wanted.specifier
    assert "99.0" not in wanted.specifier


@pytest.mark.parametrize(
    "name", ["is_history_navigation", "query_string", "_enqueue", "script_requests", "session_state"]
)
def test_a_run_has(name: str) -> None:
    assert name in ScriptRunContext.__dataclass_fields__


def test_parts_that_only_a_server_uses_are_there() -> None:
    for name in ("query_string", "widget_states", "page_script_hash", "cached_message_hashes", "context_info"):
        assert name in RerunData.__dataclass_fields__
    assert callable(SessionState().clear)
    assert callable(SessionState()._new_widget_state.states.clear)
    assert "_session_mgr" in inspect.getsource(Runtime.__init__)
    assert "_session_storage" in inspect.getsource(WebsocketSessionManager.__init__)
    assert callable(MemorySessionStorage.list)
    assert callable(WebsocketSessionManager.close_session)
    assert callable(Runtime.is_active_session)
    assert Page is streamlit_private.Page
    assert ForwardMsg().page_info_changed.query_string == ""
    assert starlette_routes._ROUTE_UPLOAD_FILE.startswith(streamlit_private.UPLOADS.strip("/"))


def test_the_form_parser_reads_its_limit_from_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MultiPartParser, "spool_max_size", 1)
    streamlit_private.keep_uploads_in_memory(123)
    assert MultiPartParser.spool_max_size == 123
    assert "self.spool_max_size" in inspect.getsource(MultiPartParser)


def test_files_that_were_sent_are_counted_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = MemoryUploadedFileManager("/upload")
    monkeypatch.setattr(streamlit_private, "_manager", lambda: manager)
    for number in range(3):
        manager.add_file("session", UploadedFileRec(str(number), "a.png", "image/png", bytes(10 + number)))
    assert streamlit_private.held_uploads() == {"session": {"0": 10, "1": 11, "2": 12}}
    streamlit_private.forget_file("session", "1")
    streamlit_private.forget_file("nobody", "1")
    assert streamlit_private.held_uploads() == {"session": {"0": 10, "2": 12}}


def test_a_message_that_clears_caches_is_known_from_the_others() -> None:
    clear, run = BackMsg(), BackMsg()
    clear.clear_cache = True
    run.rerun_script.query_string = "p=1"
    assert streamlit_private.clears_caches(clear.SerializeToString())
    assert not streamlit_private.clears_caches(run.SerializeToString())
    assert not streamlit_private.clears_caches(b"junk" * 9)


def _restarted() -> None:
    import streamlit as st

    from app.link import state, streamlit_private

    def changed() -> None:
        st.session_state["called"] = st.session_state.get("called", 0) + 1

    if st.session_state.get("now_new"):  # as after a restart: the browser knows the control, this session does not
        del st.session_state["now_new"]
        st.session_state["carried"] = [*streamlit_private.carried_states()]
    with state.first_meeting():
        st.slider("p", 0, 99, key="p", on_change=changed)
    st.button("go", key="go")


def _asked_again_meanwhile() -> None:
    import os

    import streamlit as st
    from streamlit.proto.WidgetStates_pb2 import WidgetState, WidgetStates
    from streamlit.runtime.scriptrunner import RerunData, get_script_run_ctx

    from app.link import state

    def changed() -> None:
        st.session_state["moves"] = [*st.session_state.get("moves", []), st.session_state["p"]]

    with state.first_meeting():
        if slider := os.environ.pop("ASKING", ""):  # of the browser, while the page is drawn unseen
            states = WidgetStates(widgets=[WidgetState(id=slider, int_array_value={"data": [43]})])
            get_script_run_ctx().script_requests.request_rerun(RerunData(widget_states=states))  # type: ignore[union-attr]
            st.session_state.get("any")
        st.session_state.setdefault("p", 41)
        st.slider("p", 0, 99, key="p", on_change=changed)


def test_a_change_that_comes_while_the_page_is_drawn_unseen_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    known: Any = AppTest.from_function(_asked_again_meanwhile).run().slider(key="p").proto.id
    app: Any = AppTest.from_function(_asked_again_meanwhile)
    monkeypatch.setenv("ASKING", known)
    app._run(WidgetStates(widgets=[WidgetState(id=known, int_array_value={"data": [42]})]))
    assert not app.exception
    assert app.session_state["moves"][-1] == 43
    assert app.slider(key="p").value == 43


def test_states_are_taken_out_of_a_run() -> None:
    app: Any = AppTest.from_function(_restarted).run()
    app.session_state["now_new"] = True
    app.slider(key="p").set_value(7).run()
    assert not app.exception
    assert [one for one in app.session_state["carried"] if one.endswith("-p")]


def _numbered() -> None:
    import streamlit as st

    from app.link import state

    def changed(key: str) -> None:
        st.session_state["told"] = [*st.session_state.get("told", []), (key, st.session_state[key])]

    with state.first_meeting():
        key = f"zone_{st.session_state.setdefault('number', state.number_in_use('zone'))}"
        st.text_input("A control whose value no link says", key=key, on_change=changed, args=(key,))


def test_after_a_restart_a_change_is_heard_that_no_link_says() -> None:
    """As an upload: its control is drawn unseen without the browser's value, under the key that the browser knows."""
    before: Any = AppTest.from_function(_numbered)
    before.session_state["number"] = 3
    known = before.run().text_input(key="zone_3").proto.id
    app: Any = AppTest.from_function(_numbered)
    states = [WidgetState(id="$$ID-0123-unknown", bool_value=True), WidgetState(id=known, string_value="mine")]
    app._run(WidgetStates(widgets=states))
    assert not app.exception
    assert app.session_state["told"] == [("zone_3", "mine")]
