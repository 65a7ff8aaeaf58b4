"""The parts of Streamlit and of Starlette below it that are not promised to stay: all of them are used from here.

`requirements.txt` bounds both versions, and `test_streamlit_private.py` fails when one of these parts is gone.
"""

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl

import streamlit as st
from google.protobuf.message import DecodeError
from starlette.formparsers import MultiPartParser
from streamlit import runtime
from streamlit.navigation.page import Page as Page
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState, WidgetStates
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import RerunData, RerunException, get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFile
from streamlit.runtime.websocket_session_manager import WebsocketSessionManager
from streamlit.web.server.starlette.starlette_websocket import is_host_allowed

# The server imports the app before it has a runtime, and says so for every cached function; they find it later.
logging.getLogger("streamlit.runtime.caching.cache_data_api").addFilter(
    lambda record: not record.getMessage().startswith("No runtime found")
)

UPLOADS = "/_stcore/upload_file/"  # the address that files are sent to, then session/file


# The address of the browser


def is_history_navigation() -> bool:
    """Whether this run was asked for by the browser's Back or Forward."""
    context = get_script_run_ctx()
    return context is not None and context.is_history_navigation


def address() -> dict[str, str]:
    """The query that the browser sent with this run; of a key that stands in it more than once, the last value.

    `st.query_params` is not asked: after Back in the middle of a run it may still hold the address before.
    """
    context = get_script_run_ctx()
    return dict(parse_qsl(context.query_string, keep_blank_values=True)) if context else {}


def repeat_address() -> None:
    """Tell the browser the query that came with this run, as it was written; nothing happens if it is still there."""
    context = get_script_run_ctx()
    if context is not None:
        message = ForwardMsg()
        message.page_info_changed.query_string = context.query_string
        context.enqueue(message)


def told(key: str) -> str | None:
    """The text that the browser told with this run of the text field with this key; None where it told none."""
    context = get_script_run_ctx()
    states = context.session_state.get_widget_states() if context else []
    return next((one.string_value for one in states if one.id.endswith(f"-{key}")), None)


def value_of(key: str, unknown: Any = None) -> Any:
    """In a callback: what the control with this key tells; `unknown` where it is not known any more.

    Who moves it and goes to another page at once is heard after that page has begun: Streamlit calls the callback then,
    and takes the key for that of the other page's control.
    """
    context = get_script_run_ctx()
    assert context is not None
    state = context.session_state._state
    told = [one for one in state._new_widget_state if one.endswith(f"-{key}")]
    if told and state._get_widget_id(key) not in told:
        return state._new_widget_state[told[0]]
    return st.session_state.get(key, unknown)


# A browser that was here before this server was


def carried_states() -> dict[str, WidgetState]:
    """Id -> state of the controls that the browser sent with this run, taken away: the session begins without them.

    Nor is anything left of a run that another has stopped: its page was half drawn.
    """
    context = get_script_run_ctx()
    if context is None:
        return {}
    states = {one.id: one for one in context.session_state.get_widget_states()}
    if states:
        context.session_state._state._new_widget_state.states.clear()  # `clear` ends at a control it does not know
        context.session_state._state.clear()
    return states


def highest_number(ids: Iterable[str], key: str) -> int:
    """N, of the ids of controls those with the keys `key_0`, `key_1`, ...: the highest; 0 where there is none."""
    found = [re.search(rf"-{key}_(\d{{1,9}})$", one) for one in ids]
    return max((int(one[1]) for one in found if one), default=0)


@contextmanager
def unseen() -> Iterator[None]:
    """What the block draws is registered here and never sent to the browser; a rerun that it asks for is left out."""
    context = get_script_run_ctx()
    assert context is not None
    send, context._enqueue = context._enqueue, lambda message: None
    try:
        yield
    except RerunException as error:
        if error.rerun_data.widget_states is not None:  # it is the browser that asks
            raise
    finally:
        context._enqueue = send


def run_again(states: Iterable[WidgetState]) -> None:
    """End this run and begin another with these states of controls: callbacks are called where they are new."""
    context = get_script_run_ctx()
    assert context is not None
    assert context.script_requests is not None
    context.script_requests.request_rerun(
        RerunData(
            query_string=context.query_string,
            widget_states=WidgetStates(widgets=states),
            page_script_hash=context.page_script_hash,
            cached_message_hashes=context.cached_message_hashes,
            context_info=context.context_info,
        )
    )
    st.session_state.get("any")  # reading it is where a run gives way to the next


# Sessions


def session_id() -> str:
    """The id of the session whose run this is; "" where there is none."""
    context = get_script_run_ctx()
    return context.session_id if context else ""


def is_served() -> bool:
    """Whether a server runs in this process; not so in a test or a script that runs pages by itself."""
    # AppTest puts a stand-in there, which only says that it is one.
    return runtime.exists() and issubclass(type(runtime.get_instance()), runtime.Runtime)


def session_is_active(session: str) -> bool:
    """Whether a browser is connected to this session; always, where no server runs."""
    return not runtime.exists() or runtime.get_instance().is_active_session(session)


def close_left_sessions() -> None:
    """End the sessions whose browser is gone, which the server keeps for a while. Only in the server's own thread."""
    manager = runtime.get_instance()._session_mgr
    assert isinstance(manager, WebsocketSessionManager)
    for left in manager._session_storage.list():
        manager.close_session(left.session.id)


def clears_caches(message: bytes) -> bool:
    """Whether a message from a browser asks to forget what was computed for all users."""
    found = BackMsg()
    try:
        found.ParseFromString(message)
    except DecodeError:
        return False  # the server refuses it
    return found.WhichOneof("type") == "clear_cache"


def is_named_host(host: str | None) -> bool:
    """Whether a Host header names one of `server.allowedHosts`; any does where that is empty."""
    return is_host_allowed(host)


# Uploads


def keep_uploads_in_memory(most_bytes: int) -> None:
    """Make the server's form parser hold files up to a size in memory; by itself it writes those above 1 MB to disk."""
    MultiPartParser.spool_max_size = most_bytes


def _manager() -> MemoryUploadedFileManager | None:
    context = get_script_run_ctx()
    if context is None and not runtime.exists():
        return None
    found = context.uploaded_file_mgr if context else runtime.get_instance().uploaded_file_mgr
    return found if isinstance(found, MemoryUploadedFileManager) else None


def forget_upload(file: UploadedFile) -> None:
    """Drop the server's own copy of a file of this session, which it would keep until the session ends."""
    forget_file(session_id(), file.file_id)


def forget_file(session: str, file: str) -> None:
    """Drop the server's copy of a file by its id."""
    if manager := _manager():
        manager.remove_file(session_id=session, file_id=file)


def held_uploads() -> dict[str, dict[str, int]]:
    """Session -> file -> bytes of what was sent to the upload address and not been forgotten."""
    manager = _manager()
    if manager is None:
        return {}
    with manager._lock:
        return {
            session: {name: len(file.data) for name, file in files.items()}
            for session, files in manager.file_storage.items()
        }
