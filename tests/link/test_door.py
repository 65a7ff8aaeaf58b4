"""The door of a running server: hosts, frames, uploads, messages that clear caches, few open files."""

import asyncio
import http.client
import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
import streamlit as st
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from app.backend.hosts import hostname
from app.link import streamlit_private
from app.serving import door, plotly_js
from app.serving.door import MOST_A_SESSION, MOST_IN_ALL, Uploads, is_known_host

sys.path.append(str(Path(__file__).parents[1] / "browser"))
pytest.importorskip("playwright")
websockets = pytest.importorskip("websockets")
from driver import ROOT, serve, streamlit_command  # noqa: E402

UPLOAD = "/_stcore/upload_file/session/file"
FILES, VISITS = 64, 20  # without closing the sessions of those who left, the eighth would find no file


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A server that may open 64 files, as the README starts it, and its log."""
    log = tmp_path_factory.mktemp("door") / "log.txt"
    command = ["bash", "-c", f'ulimit -n {FILES}; exec "$@"', "bash", *streamlit_command()]
    with serve(command, ROOT, log) as address:
        yield address, log


def answer(address: str, method: str = "GET", path: str = "/", body: bytes = b"", **headers: str) -> Any:
    """The answer to one request."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    connection.request(method, path, body or None, {name.replace("_", "-"): value for name, value in headers.items()})
    found: Any = connection.getresponse()
    found.body = found.read()
    connection.close()
    return found


async def _visit(address: str, *messages: BackMsg, host: str | None = None, origin: str | None = None) -> set[str]:
    """One visit: the first run to its end, then messages; the kinds of messages that came."""
    name = host or urlsplit(address).netloc
    headers = {"Host": host} if host else None
    kinds: set[str] = set()
    options: dict[str, Any] = {"origin": origin or f"http://{name}", "subprotocols": ["streamlit"], "max_size": None}
    async with websockets.connect(
        f"{address.replace('http', 'ws')}/_stcore/stream", additional_headers=headers, **options
    ) as ws:
        for message in (_run(), *messages):
            await ws.send(message.SerializeToString())
            while message.WhichOneof("type") == "rerun_script":
                came = ForwardMsg()
                came.ParseFromString(await asyncio.wait_for(ws.recv(), 120))
                kinds.add(str(came.WhichOneof("type")))
                if came.WhichOneof("type") == "script_finished":
                    break
    return kinds


def _run() -> BackMsg:
    message = BackMsg()
    message.rerun_script.query_string = ""
    return message


def visit(address: str, *messages: BackMsg, host: str | None = None, origin: str | None = None) -> set[str]:
    return in_a_loop(_visit(address, *messages, host=host, origin=origin))


def in_a_loop(work: Awaitable[Any]) -> Any:
    """Run it in a thread: the browser tests leave a running loop in this one."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor() as pool:
        return pool.submit(asyncio.run, work).result()  # type: ignore[arg-type]


def test_the_program_of_the_charts_is_loaded_with_the_page_and_kept(served: tuple[str, Path]) -> None:
    assert plotly_js.ADDRESS in answer(served[0]).headers["link"]
    found = answer(served[0], path=f"/{plotly_js.ADDRESS}")
    assert found.status == 200
    assert found.headers["content-type"].startswith("text/javascript")
    assert found.body == plotly_js.text().encode()
    packed = answer(served[0], path=f"/{plotly_js.ADDRESS}", **{"Accept-Encoding": "br, gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.body == plotly_js.FILE.read_bytes()
    assert "immutable" in found.headers["cache-control"]


def test_the_home_page_answers_to_its_name_too(served: tuple[str, Path]) -> None:
    """Every other page does; Streamlit alone would say that there is no such page."""
    found = answer(served[0], path="/tradeoff?model=demo&p=80")
    assert found.status == 302
    assert urljoin(f"{served[0]}/tradeoff", found.headers["location"]) == f"{served[0]}/?model=demo&p=80"
    bare = answer(served[0], path="/tradeoff").headers["location"]
    assert urljoin(f"{served[0]}/tradeoff", bare) == f"{served[0]}/"


def test_a_foreign_name_gets_no_page_and_no_session(served: tuple[str, Path]) -> None:
    address, _ = served
    assert answer(address).status == 200
    assert answer(address, Host="evil.example").status == 421
    assert answer(address, path="/_stcore/health", Host="evil.example:8501").status == 421
    assert "script_finished" in visit(address)
    with pytest.raises(websockets.exceptions.InvalidStatus):
        visit(address, host="evil.example")


FOREIGN = ("evil.example", "evil.example:8501", "localhost.evil.example", "127.0.0.1.evil.example", "a@localhost", "")


@pytest.mark.parametrize("host", FOREIGN)
def test_nothing_is_served_under_a_foreign_name(served: tuple[str, Path], host: str) -> None:
    address, _ = served
    for method, path in (
        ("GET", "/"),
        ("GET", "/scores?p=70"),
        ("GET", "/_stcore/health"),
        ("GET", "/_stcore/host-config"),
        ("GET", "/static/nothing.js"),
        ("HEAD", "/"),
        ("OPTIONS", "/_stcore/upload_file/a/b"),
        ("PUT", "/_stcore/upload_file/a/b"),
        ("DELETE", "/_stcore/upload_file/a/b"),
    ):
        found = answer(address, method, path, b"x" if method == "PUT" else b"", Host=host)
        assert found.status in ((421,) if host else (400, 421)), (method, path)
        assert found.getheader("Set-Cookie") is None
        assert found.getheader("Access-Control-Allow-Origin") is None


@pytest.mark.parametrize(
    "lines",
    [
        [],  # HTTP/1.1 asks for one
        ["Host: evil.example", "Host: localhost"],
        ["Host: localhost", "Host: evil.example"],
        ["Host: localhost evil.example"],
        ["X-Forwarded-Host: localhost", "Host: evil.example"],
    ],
)
def test_a_host_that_is_missing_or_said_twice_gets_no_page(served: tuple[str, Path], lines: list[str]) -> None:
    said = raw(served[0], "GET / HTTP/1.1", *lines, "Connection: close")
    assert said.startswith((b"HTTP/1.1 400", b"HTTP/1.1 421"))
    assert b"<html" not in said


def raw(address: str, *lines: str) -> bytes:
    """The first bytes of the answer to a request as it is written here."""
    where = urlsplit(address)
    with socket.create_connection((str(where.hostname), int(where.port or 0)), timeout=60) as wire:
        wire.sendall("".join(f"{line}\r\n" for line in (*lines, "")).encode())
        said = b""
        while part := wire.recv(65536):
            said += part
    return said


@pytest.mark.parametrize("origin", ["http://evil.example", "https://127.0.0.1.evil.example", "null"])
def test_a_page_of_another_origin_gets_no_session_and_may_not_read(served: tuple[str, Path], origin: str) -> None:
    address, _ = served
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        visit(address, origin=origin)
    assert refused.value.response.status_code == 403
    for method, path in (("GET", "/_stcore/health"), ("GET", "/_stcore/host-config"), ("OPTIONS", UPLOAD)):
        allowed = answer(address, method, path, Origin=origin).getheader("Access-Control-Allow-Origin")
        assert allowed not in ("*", origin), path


def test_a_file_of_a_page_elsewhere_is_refused(served: tuple[str, Path]) -> None:
    address, _ = served
    form = b'--x\r\nContent-Disposition: form-data; name="f"; filename="a.png"\r\n\r\nx\r\n--x--\r\n'
    kind = "multipart/form-data; boundary=x"
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "http://evil.example", "Cookie": "_streamlit_xsrf=made-up", "X_Xsrftoken": "another"},
    ):
        assert answer(address, "PUT", UPLOAD, form, Content_Type=kind, **headers).status == 403


def test_no_page_elsewhere_shows_it_in_a_frame(served: tuple[str, Path]) -> None:
    for path in ("/", "/scores?p=70", "/_stcore/health", "/nowhere"):
        found = answer(served[0], path=path)
        assert found.getheader("X-Frame-Options") == "DENY"
        assert found.getheader("Content-Security-Policy") == "frame-ancestors 'none'"


def test_many_visits_with_few_open_files(served: tuple[str, Path]) -> None:
    address, log = served
    for _ in range(VISITS):
        assert "script_finished" in visit(address)
    assert answer(address, path="/_stcore/health").status == 200
    said = log.read_text()
    assert f"Only {FILES} files may be open" in said
    assert len(said.splitlines()) < 30
    assert "Traceback" not in said


# Without a server


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost:8501", "localhost"),
        ("LocalHost.", "localhost"),
        ("[::1]:80", "::1"),
        ("127.0.0.1", "127.0.0.1"),
        ("a@localhost", None),
        ("localhost:port", None),
        ("localhost/x", None),
        ("", None),
        (None, None),
    ],
)
def test_the_name_of_a_host_header(host: str | None, name: str | None) -> None:
    assert hostname(host) == name


@pytest.mark.parametrize(
    ("host", "options", "known"),
    [
        ("localhost:1", {}, True),
        ("10.0.0.7:8501", {}, True),  # a number cannot be pointed elsewhere
        ("[fe80::1]", {}, True),
        ("evil.example", {}, False),
        ("localhost.evil.example", {}, False),
        ("127.0.0.1.evil.example", {}, False),
        (None, {}, False),
        ("ash.example.org", {"browser.serverAddress": "ash.example.org"}, True),
        ("ash.example.org:443", {"server.allowedHosts": ["ash.example.org"]}, True),
        ("evil.example", {"server.allowedHosts": ["ash.example.org"]}, False),
    ],
)
def test_which_names_are_this_server(
    host: str | None, options: dict[str, Any], known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(st, "get_option", options.get)
    monkeypatch.setattr("streamlit.config.get_option", options.get)
    assert is_known_host(host) is known


def test_a_setting_allows_the_pages_of_some_addresses_to_embed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(door.EMBED, "https://lms.example.edu https://other.example.edu")
    assert door.frame_headers() == {
        "Content-Security-Policy": "frame-ancestors https://lms.example.edu https://other.example.edu"
    }


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, int]]:
    """What the server holds, session -> file -> bytes."""
    found: dict[str, dict[str, int]] = {}
    monkeypatch.setattr(streamlit_private, "held_uploads", lambda: {key: dict(value) for key, value in found.items()})
    monkeypatch.setattr(streamlit_private, "forget_file", lambda session, file: found[session].pop(file))
    return found


def send(uploads: Uploads, held: dict[str, dict[str, int]], session: str, file: str, size: int) -> bool:
    if uploads.refusal(session, file, size):
        return False
    held.setdefault(session, {})[file] = size
    uploads.done(session, file)
    return True


def test_files_without_a_page_are_bounded_for_a_session_and_in_all(held: dict[str, dict[str, int]]) -> None:
    uploads = Uploads()
    for session in range(20):
        for file in range(80):
            send(uploads, held, str(session), str(file), 4_900_000)
    sums = [sum(files.values()) for files in held.values()]
    assert max(sums) <= MOST_A_SESSION
    assert MOST_IN_ALL - MOST_A_SESSION < sum(sums) <= MOST_IN_ALL


def test_a_full_drop_is_taken_and_empty_files_are_counted(held: dict[str, dict[str, int]]) -> None:
    uploads = Uploads()
    assert all(send(uploads, held, "one", str(file), door.MOST_BYTES) for file in range(door.MOST_FILES))
    assert not send(uploads, held, "one", "more", 0)
    held["one"].clear()  # a page took them
    assert all(send(uploads, held, "one", f"empty {file}", 0) for file in range(door.MOST_FILES))
    assert not send(uploads, held, "one", "more", 0)
    assert send(uploads, held, "one", "empty 3", 10)  # the same again takes no more room


def test_files_that_come_at_the_same_time_are_counted(held: dict[str, dict[str, int]]) -> None:
    uploads = Uploads()
    taken = [not uploads.refusal("one", str(file), door.MOST_BYTES) for file in range(2 * door.MOST_FILES)]
    assert sum(taken) == door.MOST_FILES
    uploads.done("one", "0")  # it broke off
    assert not uploads.refusal("one", "again", door.MOST_BYTES)


def test_what_no_page_takes_is_dropped_after_a_while(
    held: dict[str, dict[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = Uploads()
    assert all(send(uploads, held, "one", str(file), 1) for file in range(door.MOST_FILES))
    assert not send(uploads, held, "one", "later", 1)
    now = door.time.monotonic() + door.FORGOTTEN + 1
    monkeypatch.setattr(door.time, "monotonic", lambda: now)
    assert send(uploads, held, "one", "later", 1)
    assert held == {"one": {"later": 1}}


Handler = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


def test_a_message_that_clears_everyones_results_does_not_arrive() -> None:
    clear, run = BackMsg(), _run()
    clear.clear_cache = True
    sent = [{"type": "websocket.receive", "bytes": one.SerializeToString()} for one in (clear, run, clear)]
    sent.append({"type": "websocket.disconnect"})
    heard: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return sent.pop(0)

    async def server(scope: Any, receive: Any, send: Any) -> None:
        while not heard or heard[-1]["type"] != "websocket.disconnect":
            heard.append(await receive())

    async def send(message: Any) -> None:
        raise AssertionError(message)

    scope = {"type": "websocket", "path": "/_stcore/stream", "headers": [(b"host", b"localhost")]}
    in_a_loop(door.Door(server)(scope, receive, send))  # type: ignore[arg-type]
    assert [one.get("bytes") for one in heard] == [run.SerializeToString(), None]


@pytest.mark.slow
def test_a_low_limit_of_files_is_raised_as_far_as_allowed_and_told() -> None:
    code = (
        "import resource; from app.serving.door import raise_limit_of_files; print(raise_limit_of_files());"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    for soft, hard, told in ((64, 64, True), (64, 4096, False)):
        shell = f'ulimit -Sn {soft}; ulimit -Hn {hard}; exec "$@"'
        done = subprocess.run(
            ["bash", "-c", shell, "bash", sys.executable, "-c", code],
            cwd=ROOT, capture_output=True, text=True, check=True, env=dict(os.environ),
        )  # fmt: skip
        said, _, limit = done.stdout.strip().rpartition("\n")
        assert int(limit) == hard
        assert bool(said.strip()) is told
        assert not told or "ulimit -n" in said
