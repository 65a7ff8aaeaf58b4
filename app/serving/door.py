"""Who and what comes in from the network: hosts, frames, uploads, messages, open files. Before any page is run.

The server imports `app/main.py` once and serves what it finds there (`streamlit.App`) through this door.
"""

import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import streamlit as st
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.backend.decoding import MOST_BYTES
from app.backend.hosts import hostname, is_number
from app.backend.uploads import MOST_FILES
from app.link import streamlit_private
from app.serving import plotly_js

EMBED = "ASH_EMBED"  # environment: the addresses, separated by spaces, whose pages may show the explorer in a frame
MOST_A_SESSION = MOST_FILES * MOST_BYTES  # bytes of files that were sent and not taken by a page yet: one full drop
MOST_IN_ALL = 4 * MOST_A_SESSION
FORGOTTEN = 120.0  # seconds after which a file that no page has taken is dropped
SPARE = 24  # open files that are left for computing when no more visitors are let in
FEW = 256  # open files below which the log says so at the start: a visitor takes about 4
_LOG = logging.getLogger("ash.app")


def middleware() -> list[Middleware]:
    """What every request passes through, for `streamlit.App`."""
    return [Middleware(Door)]


def routes(home: str) -> list[Route]:
    """For `streamlit.App`: the name of the home page, which Streamlit knows as the address without a name only."""
    return [Route(plotly_js.path(home), _lead_home)]


def _lead_home(request: Request) -> RedirectResponse:
    query = request.url.query and f"?{request.url.query}"
    return RedirectResponse(f"./{query}", 302)  # relative: a proxy may have taken a folder off the path


@asynccontextmanager
async def opening(app: Any) -> AsyncIterator[None]:
    """Before the first request."""
    words = raise_limit_of_files()
    if words:
        _LOG.warning(words)
    yield


# Hosts


def is_known_host(host: str | None) -> bool:
    """Whether a Host header is a name of this server: another one is how a page elsewhere reaches into it.

    Where `server.allowedHosts` is set, it decides. Otherwise: an address of numbers, which needs no name that someone
    could point here, localhost, this machine's own name, and `browser.serverAddress`.
    """
    if st.get_option("server.allowedHosts"):
        return streamlit_private.is_named_host(host)
    name = hostname(host)
    if name is None:
        return False
    machine = socket.gethostname().lower()
    return is_number(name) or name in {"localhost", machine, f"{machine}.local", _told()}


def _told() -> str | None:
    return hostname(st.get_option("browser.serverAddress") or None)


# Open files


def raise_limit_of_files() -> str:
    """Allow this process as many open files as the system lets it; a sentence where these are few, "" otherwise."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return ""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        most = hard if hard != resource.RLIM_INFINITY else max(soft, 65_536)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
        except (ValueError, OSError):  # a system with another limit of its own, as macOS
            pass
    if soft >= FEW:
        return ""
    return (
        f"Only {soft} files may be open at a time: about {max((soft - 1.5 * SPARE) // 4, 1):.0f} visitors at once, "
        "others are asked to wait. Start the server after `ulimit -n 4096` for more."
    )


def spare_files() -> int | None:
    """How many more files this process may open; None where the system does not say."""
    try:
        import resource

        return resource.getrlimit(resource.RLIMIT_NOFILE)[0] - len(os.listdir("/proc/self/fd"))
    except (ImportError, OSError):
        return None


def _is_short() -> bool:
    spare = spare_files()
    return spare is not None and spare < SPARE


# Frames


def frame_headers() -> dict[str, str]:
    """The headers that say which pages may show the explorer in a frame: none, or those that ASH_EMBED names."""
    allowed = os.environ.get(EMBED, "").split()
    if not allowed:
        return {"Content-Security-Policy": "frame-ancestors 'none'", "X-Frame-Options": "DENY"}
    return {"Content-Security-Policy": f"frame-ancestors {' '.join(allowed)}"}  # X-Frame-Options cannot name addresses


# Uploads


class Uploads:
    """What was sent to the upload address: how much of it is held for each session, and since when."""

    def __init__(self) -> None:
        self._coming: dict[tuple[str, str], int] = {}  # (session, file) -> bytes that are being read
        self._since: dict[tuple[str, str], float] = {}

    def refusal(self, session: str, file: str, size: int) -> str:
        """Why a file is not taken, "" where it is: then `done` has to be called once it was read."""
        both = {**self._held(), **self._coming}
        both.pop((session, file), None)  # it is sent again
        own = {key: value for key, value in both.items() if key[0] == session}
        if len(own) >= MOST_FILES or sum(own.values()) + size > MOST_A_SESSION:
            return "Too many files of this session are waiting."
        if len(both) >= 4 * MOST_FILES or sum(both.values()) + size > MOST_IN_ALL:
            return "Too many files of all sessions are waiting."
        self._coming[session, file] = size
        return ""

    def done(self, session: str, file: str) -> None:
        """A file was read, or was not."""
        self._coming.pop((session, file), None)
        self._since[session, file] = time.monotonic()

    def _held(self) -> Mapping[tuple[str, str], int]:
        held = {
            (session, file): size
            for session, files in streamlit_private.held_uploads().items()
            for file, size in files.items()
        }
        now = time.monotonic()
        self._since = {key: self._since.get(key, now) for key in held}
        for key in [key for key, since in self._since.items() if now - since > FORGOTTEN]:
            streamlit_private.forget_file(*key)
            del held[key], self._since[key]
        return held


# The door


class Door:
    """ASGI middleware: refuses foreign hosts, floods of uploads and more visitors than there are files to open."""

    def __init__(self, app: ASGIApp) -> None:
        self._app, self._uploads = app, Uploads()
        self._warned = -60.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        host = Headers(scope=scope).get("host")
        if not is_known_host(host):
            await _refuse(scope, receive, send, 421, "This server does not go by that name: see server.allowedHosts.")
        elif scope["type"] == "websocket":
            await self._visitor(scope, receive, send)
        elif scope["method"] == "PUT" and streamlit_private.UPLOADS in scope["path"]:
            await self._upload(scope, receive, _framed(send))
        else:
            await self._app(scope, receive, _framed(send, "/media/" not in scope["path"]))

    async def _visitor(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _is_short():
            streamlit_private.close_left_sessions()
        if _is_short():
            if time.monotonic() - self._warned >= 60:
                self._warned = time.monotonic()
                _LOG.warning("Visitors are asked to wait: too few files may be open. Raise `ulimit -n`.")
            await _refuse(scope, receive, send, 503, "Too many visitors at the moment.")
            return

        async def heard() -> Message:
            while True:
                message = await receive()
                if message["type"] == "websocket.receive" and streamlit_private.clears_caches(
                    message.get("bytes") or b""
                ):
                    continue  # what was computed belongs to all users
                return message

        await self._app(scope, heard, send)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        session, _, file = scope["path"].rpartition(streamlit_private.UPLOADS)[2].partition("/")
        length = Headers(scope=scope).get("content-length", "")
        size = int(length) if length.isascii() and length.isdigit() and len(length) < 12 else MOST_BYTES
        refusal = self._uploads.refusal(session, file, size)
        if refusal:
            await _refuse(scope, receive, send, 413, refusal)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            self._uploads.done(session, file)


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, words: str) -> None:
    if scope["type"] == "websocket":
        await receive()  # its opening
        await send({"type": "websocket.close", "code": 1008 if status == 421 else 1013})
    else:
        await PlainTextResponse(words, status)(scope, receive, send)


def _framed(send: Send, page: bool = False) -> Send:
    """Adds who may frame an answer and, to one of the app's pages, what it will need."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(frame_headers())
            if page and headers.get("content-type", "").startswith("text/html"):
                headers["Link"] = plotly_js.PRELOAD
        await send(message)

    return sent
