"""The page Library for its tests: opened from the entry point, clicked, and its jobs waited for."""

import hashlib
import io
import shutil
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from app_pages import at_link
from PIL import Image
from streamlit.testing.v1 import AppTest

from app.backend import jobs as jobs_
from app.backend import library
from app.backend.jobs import Job, Jobs
from ash.bank import cache_root
from ash.data import DATASETS, Archive, DatasetEntry
from ash.datasets.dataset_entries import Layout

ROOT = Path(__file__).parents[1]
PATIENCE = 60.0  # seconds after which a test gives up
IMAGES = 130  # of the user's own set: three shards


@pytest.fixture(autouse=True, name="data")
def data_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data root of its own, no banks but the bundled ones, and nothing remembered. Sweeps on disk may stay."""
    root = tmp_path / "data"
    root.mkdir()
    monkeypatch.setenv("ASH_DATA", str(root))
    monkeypatch.delenv(library.SETTING, raising=False)
    monkeypatch.setattr("ash.datasets.content.SETTLED_NS", 0)  # digests of images that were made a moment ago are kept
    shutil.rmtree(cache_root(), ignore_errors=True)  # what tests of other files left
    _forget()
    yield root
    until(lambda: not jobs_.anyone_at_work())
    shutil.rmtree(cache_root(), ignore_errors=True)
    _forget()


def _forget() -> None:
    st.cache_resource.clear()
    st.cache_data.clear()
    library.refresh()


@pytest.fixture(name="mine")
def mine_fixture(data: Path) -> str:
    """An own set of small grey images."""
    folder = data / "mine"
    folder.mkdir()
    values = np.random.default_rng(0).integers(0, 256, (IMAGES, 28, 28), dtype=np.uint8)
    for number, pixels in enumerate(values):
        Image.fromarray(pixels).save(folder / f"{number:03d}.png")
    return "mine"


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.005)


def opened(shelf: str = "models", **query: str) -> AppTest:
    """The page, with a shelf open."""
    return run(at_link("library", shelf=shelf, **query))


def run(app: AppTest) -> AppTest:
    app.run()
    assert not app.exception
    return app


def choose(app: AppTest, shelf: str, name: str) -> AppTest:
    """Choose a row, which AppTest cannot click."""
    app.session_state[f"library_row_{shelf}"] = name
    return run(app)


def click(app: AppTest, key: str) -> AppTest:
    app.button(key=key).click()
    return run(app)


def settled(app: AppTest) -> AppTest:
    """After all jobs of this session."""
    jobs: Jobs = app.session_state["library_jobs"]
    until(lambda: not jobs.busy)
    return run(app)


def last_job(app: AppTest) -> Job:
    jobs: Jobs = app.session_state["library_jobs"]
    return jobs.all()[-1]


def words(app: AppTest) -> str:
    """Everything that can be read in the page, without the escapes of markdown."""
    elements = (*app.markdown, *app.caption, *app.info, *app.warning, *app.error, *app.code, *app.subheader)
    texts = [str(one.value) for one in elements] + [str(one.proto.body) for one in app.get("html")]
    return "\n".join(texts).replace("\\", "").replace("**", "")


def keys(app: AppTest) -> set[str]:
    return {button.key for button in app.button}


def table(app: AppTest) -> dict[str, dict[str, object]]:
    frame = app.dataframe[0].value
    found: dict[str, dict[str, object]] = frame.to_dict("index")
    return found


def archive() -> bytes:
    """A tar with three small pictures."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as file:
        for number in range(3):
            picture = io.BytesIO()
            Image.new("RGB", (8, 8), (80 * number, 0, 0)).save(picture, "PNG")
            info = tarfile.TarInfo(f"tiny/{number}.png")
            info.size = len(picture.getvalue())
            file.addfile(info, io.BytesIO(picture.getvalue()))
    return packed.getvalue()


def register(monkeypatch: pytest.MonkeyPatch, address: str, body: bytes) -> None:
    """A registered set of three images at an address."""
    file = Archive("tiny.tar", address, len(body), f"sha256:{hashlib.sha256(body).hexdigest()}")
    layouts = (Layout("folder", "tiny"),)
    entry = DatasetEntry("tiny", "Tiny", "ood", "Three pictures.", layouts, ("tiny",), count=3, files=(file,))
    monkeypatch.setitem(DATASETS, "tiny", entry)


class Slow:
    """A server that sends half of a file, and the rest when the test says so."""

    def __init__(self, body: bytes) -> None:
        self.body, self.go, self.half_sent = body, threading.Event(), threading.Event()
        self.cut = False  # the connection ends after the first half
        self.ranges: list[str] = []
        self.address = ""


@contextmanager
def slowly(body: bytes) -> Iterator[Slow]:
    slow = Slow(body)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            slow.ranges.append(asked)
            start = int(asked[6:-1]) if asked else 0
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("ETag", '"one"')
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            half = len(body) // 2
            self.wfile.write(body[start:half])
            self.wfile.flush()
            slow.half_sent.set()
            slow.go.wait(PATIENCE)
            if slow.cut and not asked:
                self.close_connection = True
                return
            self.wfile.write(body[max(start, half) :])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign,assignment]
    slow.address = f"http://127.0.0.1:{server.server_port}/tiny.tar"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield slow
    finally:
        slow.go.set()
        server.shutdown()
        server.server_close()


def extracted(mine: str) -> AppTest:
    """The shelf of activations after the own set was extracted from the page."""
    app = choose(opened("data"), "data", mine)
    click(app, "data_cost")
    offer = app.info[-1].value
    assert f"{IMAGES} images at Penultimate layer of Small ResNet" in offer.replace("\\", "")
    assert "images a second" in offer
    click(app, "data_extract")
    settled(app)
    assert last_job(app).state == "done", last_job(app).note
    app.segmented_control(key="spec_shelf").set_value("activations").run()
    assert not app.exception
    return app


def own_bank(app: AppTest) -> tuple[str, Path]:
    """Name and folder of the one bank that was computed."""
    (row,) = [row for row in library.bank_rows() if not row.info.bundled]
    return row.name, row.info.folder
