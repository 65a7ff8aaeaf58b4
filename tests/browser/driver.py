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

from playwright.sync_api import Error, Locator, Page, expect

ROOT = Path(__file__).parents[2]
PATIENCE = 180_000  # milliseconds that anything may take, on a cold server of a busy machine too
expect.set_options(timeout=PATIENCE)

# Runs in a page before Streamlit does. Streamlit's own "not running" also stands between what a user does and the first
# word of the server about it. So the messages themselves are watched (BackMsg and ForwardMsg, as protobuf writes them):
# `asked` counts the runs that were asked for, `begun` those that the newest run knows, `answered` those that are over.
WATCH = """(() => {
    const RERUN_SCRIPT = 11, NEW_SESSION = 4, SCRIPT_FINISHED = 6, EARLY_FOR_RERUN = 2;
    window.runs = {asked: 0, begun: 0, answered: 0};
    window.lastMove = performance.now();
    const moved = () => { window.lastMove = performance.now(); };

    const number = (bytes, at) => {
        for (let value = 0, scale = 1; ; scale *= 128) {
            value += (bytes[at] & 127) * scale;
            if (bytes[at++] < 128) return [value, at];
        }
    };
    const fields = bytes => {  // of a message: number -> value, or the length of what is longer
        const found = new Map();
        for (let at = 0, tag, value; at < bytes.length; ) {
            [tag, at] = number(bytes, at);
            [value, at] = number(bytes, at);
            found.set(tag >> 3, value);
            if ((tag & 7) === 2) at += value;
        }
        return found;
    };

    window.WebSocket = class extends WebSocket {
        constructor(...how) {
            super(...how);
            const runs = window.runs = {asked: 0, begun: 0, answered: 0};
            this.addEventListener('message', ({data}) => {
                const message = fields(new Uint8Array(data));
                if (message.has(NEW_SESSION)) runs.begun = runs.asked;
                if ((message.get(SCRIPT_FINISHED) ?? EARLY_FOR_RERUN) !== EARLY_FOR_RERUN) runs.answered = runs.begun;
                moved();
            });
        }
        send(data) {
            if (fields(data).has(RERUN_SCRIPT)) window.runs.asked += 1;
            super.send(data);
        }
    };
    new MutationObserver(moved).observe(document, {childList: true, subtree: true});
    for (const kind of ['keydown', 'pointerdown', 'click', 'input', 'change', 'popstate'])
        window.addEventListener(kind, moved, true);
})()"""
# Every run that was asked for is over; all of it is drawn: the code of controls and charts is loaded late, in place of
# which there are skeletons; and for a moment nothing was done or drawn: some controls wait a little before they ask.
READY = """() => {
    const app = document.querySelector('[data-testid="stApp"]');
    const late = '[data-testid^="stSkeleton"], [data-stale="true"], .ash-chart:not(:has(.main-svg))';
    return app?.dataset.testConnectionState === 'CONNECTED' && app.dataset.testScriptState === 'notRunning'
        && runs.answered === runs.asked
        && !!document.querySelector('h1') && !document.querySelector(late)
        && performance.now() - lastMove > 400;
}"""
# What READY looks at, for the message of a test that waited in vain.
STATE = """() => JSON.stringify({
    ...document.querySelector('[data-testid="stApp"]')?.dataset, ...runs, still: performance.now() - lastMove,
    title: document.querySelector('h1')?.innerText,
    skeletons: document.querySelectorAll('[data-testid^="stSkeleton"]').length,
})"""


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@contextmanager
def serve(command: list[str], cwd: Path, log: Path, port: int = 0) -> Iterator[str]:
    """Run a server until the block ends; yields its address. Ends that process and no other. Port 0: a free one."""
    port = port or free_port()
    address = f"http://127.0.0.1:{port}"
    options = ["--server.port", str(port), "--server.headless", "true", "--server.fileWatcherType", "none"]
    with log.open("w") as out:
        process = subprocess.Popen([*command, *options], cwd=cwd, stdout=out, stderr=subprocess.STDOUT)
        try:
            wait_until_healthy(address, process, log)
            yield address
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def wait_until_healthy(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Until a server answers; RuntimeError with its log where it ends before."""
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
        page.set_default_timeout(PATIENCE)
        page.add_init_script(WATCH)

    def open(self, path: str = "/") -> "Visitor":
        """Load an address of the app and wait until the page stands."""
        self.page.goto(self.server + path)
        return self.ready()

    def ready(self) -> "Visitor":
        """Wait until the server has answered everything that was done, and the page shows it and stands still."""
        try:
            self.page.wait_for_function(READY, polling="raf")
        except Error as error:
            raise AssertionError(f"the page is never ready: {self.page.evaluate(STATE)}") from error
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
        """The percentile slider of the sidebar."""
        return self.page.get_by_test_id("stSidebar").get_by_role("slider", name="Percentile p")

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
        """Press the browser's Back, once the page stands."""
        self.ready().page.go_back()
        return self

    def forward(self) -> "Visitor":
        """Press the browser's Forward, once the page stands."""
        self.ready().page.go_forward()
        return self

    def link(self, title: str) -> "Visitor":
        """Follow a page link of the sidebar."""
        links = self.ready().page.get_by_test_id("stSidebar").get_by_test_id("stPageLink")
        links.filter(has_text=title).get_by_role("link").click()
        return self
