"""Fixtures of the browser tests: one server, one Chromium, and users who may not reach the network."""

import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

REQUIRED = os.environ.get("CI") == "true"
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--force-color-profile=srgb"]
# Milliseconds that every message to the server takes. With some, a test that does not wait for an answer fails.
LATE = int(os.environ.get("ASH_LATE", "0"))
SLOW_WIRE = """late => { window.WebSocket = class extends WebSocket {
    send(data) { setTimeout(() => super.send(data), late); }
}; }"""

try:
    from driver import ROOT, Visitor, serve, streamlit_command
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Request, sync_playwright
except ImportError:
    if REQUIRED:
        raise
    pytest.skip("playwright is not installed", allow_module_level=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests are slow ones."""
    for item in items:
        if "browser" in item.keywords:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running app, started as the README says."""
    with serve(streamlit_command(), ROOT, tmp_path_factory.mktemp("server") / "log.txt") as address:
        yield address


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium; the tests are skipped where there is none, and fail for it in CI."""
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        if REQUIRED:
            pytest.fail("CI=true, and there is no Chromium: apt-get install chromium")
        pytest.skip("there is no Chromium: apt-get install chromium, or set CHROMIUM to its path")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield running
        running.close()


Size = tuple[int, int, str, int, bool]


@dataclass(frozen=True)
class Window:
    """A browser context, the user of its only page, and what went wrong in it."""

    context: BrowserContext
    user: Visitor
    problems: list[str]


def new_window(browser: Browser, server: str, width: int, height: int, scheme: str, late: int, touch: bool) -> Window:
    """A window as nobody had before: without storage, history, or code that is compiled."""
    problems: list[str] = []

    def on_request(request: Request) -> None:
        if urlsplit(request.url).hostname not in ("127.0.0.1", None):
            problems.append(f"request to {request.url}")

    def on_console(message: ConsoleMessage) -> None:
        # Below a page's address Streamlit first asks /page/_stcore/..., is told 404, and goes on to /_stcore/...
        asked = message.location["url"]
        if message.type == "error" and not ("404" in message.text and "/_stcore/" in asked):
            problems.append(f"console: {message.text} ({message.location['url']})")

    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=touch, is_mobile=touch
    )
    context.on("request", on_request)
    context.on("console", on_console)
    context.on("weberror", lambda error: problems.append(f"script: {error.error}"))
    page = context.new_page()
    if late:
        page.add_init_script(f"({SLOW_WIRE})({late})")  # before the visitor's own, which is to see what is sent
    return Window(context, Visitor(page, server), problems)


@pytest.fixture
def visitor(browser: Browser, server: str) -> Iterator[Callable[..., Visitor]]:
    """Makes users. At the end: no request has left this machine, and no console shows an error."""
    windows = []

    def make(
        width: int = 1440, height: int = 900, scheme: str = "light", late: int = LATE, touch: bool = False
    ) -> Visitor:
        windows.append(new_window(browser, server, width, height, scheme, late, touch))
        return windows[-1].user

    yield make
    for window in windows:
        window.context.close()
    assert not [problem for window in windows for problem in window.problems]


@pytest.fixture(scope="session")
def used_windows() -> dict[Size, list[Window]]:
    """The windows that no `reader` has at the moment; the browser closes them with itself."""
    return defaultdict(list)


@pytest.fixture
def reader(browser: Browser, server: str, used_windows: dict[Size, list[Window]]) -> Iterator[Callable[..., Visitor]]:
    """As `visitor`, in windows of earlier readers, where a page opens in half the time: its code is compiled.

    For tests that leave a window as it was, its history apart, and that ask for no history themselves.
    """
    taken: list[tuple[Size, Window]] = []

    def make(width: int = 1440, height: int = 900, scheme: str = "light", touch: bool = False) -> Visitor:
        size = (width, height, scheme, LATE, touch)
        free = used_windows[size]
        window = free.pop() if free else new_window(browser, server, *size)
        taken.append((size, window))
        return window.user

    yield make
    problems = []
    for size, window in taken:
        window.user.page.evaluate("localStorage.clear(); sessionStorage.clear()")
        window.user.page.goto("about:blank")
        used_windows[size].append(window)
        problems += window.problems
        window.problems.clear()
    assert not problems
