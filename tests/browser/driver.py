"""A server started as the README says, and a user in front of it. Waits for state, never for time."""

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.parse import parse_qsl, urlsplit

from playwright.sync_api import Locator, Page, expect

ROOT = Path(__file__).parents[2]
expect.set_options(timeout=20_000)
# Idle, and nothing has been added to the page or taken away for a while: a click before that may hit what is replaced.
QUIET = """() => {
    const app = document.querySelector('[data-testid="stApp"]');
    const now = performance.now(), count = document.querySelectorAll('*').length;
    if (app?.dataset.testScriptState !== 'notRunning' || count !== window.quietCount) {
        window.quietCount = count;
        window.quietSince = now;
    }
    return now - window.quietSince > 400;
}"""


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@contextmanager
def serve(command: list[str], cwd: Path, log: Path) -> Iterator[str]:
    """Run a server until the block ends; yields its address. Ends that process and no other."""
    port = _free_port()
    address = f"http://127.0.0.1:{port}"
    options = ["--server.port", str(port), "--server.headless", "true", "--server.fileWatcherType", "none"]
    with log.open("w") as out:
        process = subprocess.Popen([*command, *options], cwd=cwd, stdout=out, stderr=subprocess.STDOUT)
        try:
            _wait_until_healthy(address, process, log)
            yield address
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def _wait_until_healthy(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended by itself:\n{log.read_text()}")
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2):
                return
        except (URLError, OSError):
            time.sleep(0.05)
    raise TimeoutError(f"no answer from {address}:\n{log.read_text()}")


def streamlit_command() -> list[str]:
    """`streamlit run app/main.py`, with the program of this environment."""
    return [str(Path(sys.executable).with_name("streamlit")), "run", "app/main.py"]


class Visitor:
    """One user: a browser context with one page of the app."""

    def __init__(self, page: Page, server: str) -> None:
        self.page, self.server = page, server

    def open(self, path: str = "/") -> "Visitor":
        """Load an address of the app and wait until the page stands, with the parts whose code is loaded late."""
        self.page.goto(self.server + path)
        self.ready().page.wait_for_function(QUIET, polling="raf", timeout=60_000)
        return self

    def ready(self) -> "Visitor":
        """Wait until a run is over and a page title is there. Long enough for the first run of a cold server."""
        expect(self.page.locator("h1").first).to_be_visible(
            timeout=60_000
        )  # before: an app is idle until it has started
        idle = self.page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]')
        expect(idle).to_have_count(1, timeout=60_000)
        return self

    def title(self, text: str) -> "Visitor":
        """Wait for a page by its title."""
        expect(self.page.locator("h1").first).to_have_text(text)
        return self

    def query(self) -> dict[str, str]:
        """The query of the address bar."""
        return dict(parse_qsl(urlsplit(self.page.url).query))

    def expect_query(self, **wanted: str) -> "Visitor":
        """Wait until the address bar holds exactly this query."""
        self.page.wait_for_function(
            "wanted => { const now = Object.fromEntries(new URLSearchParams(location.search));"
            " return JSON.stringify(Object.entries(now).sort()) === JSON.stringify(Object.entries(wanted).sort()) }",
            arg=wanted,
            polling="raf",
        )
        return self

    def expect_p(self, value: int) -> "Visitor":
        """Wait until the percentile slider shows a value."""
        expect(self.slider).to_have_value(str(value))
        return self

    @property
    def slider(self) -> Locator:
        """The percentile slider."""
        return self.page.get_by_role("slider", name="Percentile p")

    def press(self, key: str, times: int = 1) -> "Visitor":
        """Press a key on the percentile slider, as often as said without waiting in between."""
        self.ready().slider.focus()
        for _ in range(times):
            self.page.keyboard.press(key)
        return self

    def choose(self, box: str, option: str) -> "Visitor":
        """Pick an option of a select box by its label."""
        self.ready().page.get_by_role("combobox", name=box).click()
        self.page.get_by_role("option", name=option).click()
        return self

    def back(self) -> "Visitor":
        """Press the browser's Back, once nothing is running."""
        self.ready().page.go_back()
        return self

    def forward(self) -> "Visitor":
        """Press the browser's Forward, once nothing is running."""
        self.ready().page.go_forward()
        return self

    def link(self, title: str) -> "Visitor":
        """Follow a page link of the sidebar."""
        links = self.ready().page.get_by_test_id("stSidebar").get_by_test_id("stPageLink")
        links.filter(has_text=title).get_by_role("link").click()
        return self
