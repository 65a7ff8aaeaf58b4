"""The page Library, from the entry point: shelves, actions in the background, what is refused, and where."""

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from PIL import Image
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash
from web_server import Site, serving

from app import backend
from app.backend import library, library_work
from app.backend.jobs import Job, Jobs, Report, Work
from app.errors import AppError
from app.spec import RunSpec
from app.views import library_jobs
from ash.bank import BUNDLED, cache_root, shard_path
from ash.data import DATASETS, Archive, DatasetEntry
from ash.dataset_entries import Layout
from ash.models import MODELS, get_model

ROOT = Path(__file__).parents[1]
ENTRY = ROOT / "app" / "main.py"
PATIENCE = 60.0  # seconds after which a test gives up
IMAGES = 130  # of the user's own set: three shards


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data root of its own, no banks but the bundled ones, and nothing remembered. Sweeps on disk may stay."""
    root = tmp_path / "data"
    root.mkdir()
    monkeypatch.setenv("ASH_DATA", str(root))
    monkeypatch.delenv(library.SETTING, raising=False)
    _forget()
    yield root
    until(lambda: not backend.anyone_at_work())
    shutil.rmtree(cache_root(), ignore_errors=True)
    _forget()


def _forget() -> None:
    st.cache_resource.clear()
    st.cache_data.clear()
    backend.refresh()


@pytest.fixture
def mine(data: Path) -> str:
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
    app = AppTest.from_file(str(ENTRY), default_timeout=180)
    app._page_hash = calc_hash("library")
    for key, value in {"shelf": shelf, **query}.items():
        app.query_params[key] = value
    return run(app)


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


# Shelves


def test_models_say_whether_their_weights_are_here() -> None:
    app = opened("models")
    rows = table(app)
    assert set(MODELS) <= set(rows)
    assert (rows["demo"]["Weights"], rows["demo"]["Classes"]) == ("● present", 10)
    assert (rows["resnet50"]["Weights"], rows["resnet50"]["On disk"], rows["resnet50"]["Classes"]) == (
        "○ missing",
        0,
        1000,
    )
    assert "Third block, Last block, Penultimate layer" in words(app)
    choose(app, "models", "resnet50")
    assert "They belong at" in words(app)
    assert get_model("resnet50").url in words(app)
    assert "model_fetch" in keys(app)
    assert "model_explore" not in keys(app)


def test_data_sets_say_what_is_here(mine: str, data: Path) -> None:
    (data / "isun" / "iSUN_patches").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(data / "isun" / "iSUN_patches" / "a.png")
    app = opened("data")
    rows = table(app)
    assert set(DATASETS) | {mine} == set(rows)
    shown = {name: (row["Role"], row["Images"], row["Number"], row["Of"]) for name, row in rows.items()}
    assert shown["fashion_mnist"] == ("ID", "● present", 10_000, 10_000)
    assert shown["cifar10"] == ("ID", "○ missing", 0, 10_000)
    assert shown["isun"] == ("OOD", "◐ incomplete", 1, 8925)
    assert shown[mine] == ("own", "● present", IMAGES, IMAGES)
    assert "1 of 8,925 images" in words(choose(app, "data", "isun"))


def test_what_a_licence_guards_is_explained() -> None:
    app = choose(opened("data"), "data", "imagenet")
    text = words(app)
    assert "register at https://image-net.org" in text
    assert "ILSVRC2012_img_val.tar" in text
    assert app.button(key="data_fetch").label == "Unpack and verify"


def test_activations_are_empty_but_for_the_bundled_ones() -> None:
    app = opened("activations")
    assert "No activations computed yet" in words(app)
    assert {row["From"] for row in table(app).values()} == {"bundled"}
    assert len(table(app)) == len(list(BUNDLED.glob("*/*/*/manifest.json")))
    assert "bank_verify" in keys(app)
    assert not {"bank_delete", "bank_finish"} & keys(app)


def test_the_summary_counts_what_is_here(mine: str) -> None:
    here = sum(row.status.state == "present" for row in backend.data_rows())
    known = len(DATASETS) + 1
    text = words(opened())
    assert f"1 of {len(MODELS)} models and {here} of {known} data sets are here; no activations" in text


def test_a_row_stays_chosen_on_its_shelf() -> None:
    app = choose(opened("models"), "models", "resnet50")
    app.segmented_control(key="spec_shelf").set_value("data").run()
    assert app.session_state["spec"].shelf == "data"
    assert app.query_params["shelf"] == "data"
    app.segmented_control(key="spec_shelf").set_value("models").run()
    assert "ResNet-50 on ImageNet" in app.subheader[0].value.replace("\\", "")


def test_a_row_that_is_gone_is_not_chosen_any_more() -> None:
    assert not choose(opened("activations"), "activations", "demo/avgpool/gone").error


def test_the_page_opens_without_torch() -> None:
    program = f"""
import os, sys
from app import backend
backend.badge, backend.warm_up = (lambda spec: "bundled"), (lambda: None)
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash
app = AppTest.from_file({str(ENTRY)!r}, default_timeout=120)
app._page_hash = calc_hash("library")
for shelf in ("models", "data", "activations"):
    app.query_params["shelf"] = shelf
    app.run()
    assert not app.exception and not app.error and app.title[0].value == "Library"
sys.exit(3 if {{"torch", "torchvision"}} & set(sys.modules) else 0)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()[-2000:]


def test_any_torchvision_classifier_is_found_by_its_name() -> None:
    app = opened("models")
    search = app.selectbox(key="library_torchvision")
    assert {"resnet18", "swin_t", "vit_b_16"} <= set(search.options)
    assert not set(MODELS) & set(search.options)
    search.select("squeezenet1_1").run()
    assert not app.exception
    assert "squeezenet1_1 (torchvision)" in words(app)
    assert "https://download.pytorch.org/models/squeezenet1_1" in words(app)
    assert "model_fetch" in keys(app)
    choose(app, "models", "demo")
    assert app.selectbox(key="library_torchvision").value is None
    assert "model_explore" in keys(app)


def test_torchvision_weights_that_are_here_are_a_row(data: Path) -> None:
    (data / "checkpoints").mkdir()
    (data / "checkpoints" / "resnet18.pth").write_bytes(b"12345")
    row = table(opened("models"))["resnet18"]
    assert (row["Weights"], row["On disk"]) == ("● present", 5)


# Explore


def test_explore_loads_the_model_and_goes_to_the_trade_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "demo_two", replace(get_model("demo"), name="demo_two", label="Second"))
    app = choose(opened("models"), "models", "demo_two")
    click(app, "model_explore")
    assert app.title[0].value == "Trade-off"
    assert app.session_state["spec"].model == "demo_two"


# Fetch


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


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as one:
        one.files["tiny.tar"] = archive()
        yield one


def register(monkeypatch: pytest.MonkeyPatch, address: str, body: bytes) -> None:
    """A registered set of three images at an address."""
    file = Archive("tiny.tar", address, len(body), f"sha256:{hashlib.sha256(body).hexdigest()}")
    layouts = (Layout("folder", "tiny"),)
    entry = DatasetEntry("tiny", "Tiny", "ood", "Three pictures.", layouts, ("tiny",), count=3, files=(file,))
    monkeypatch.setitem(DATASETS, "tiny", entry)


def test_a_data_set_is_fetched_and_there(site: Site, monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    register(monkeypatch, site.url("tiny.tar"), site.files["tiny.tar"])
    app = choose(opened("data"), "data", "tiny")
    assert table(app)["tiny"]["Images"] == "○ missing"
    settled(click(app, "data_fetch"))
    assert "Fetch Tiny: done" in words(app)
    assert (table(app)["tiny"]["Images"], table(app)["tiny"]["Number"]) == ("● present", 3)
    assert "data_fetch" not in keys(app)
    assert "tiny" in backend.present()
    assert len(list(data.rglob("*.png"))) == 3
    click(app, "job_forget_1")
    assert "Fetch Tiny" not in words(app)


def test_a_failure_is_one_sentence_with_the_job(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, site.url("tiny.tar"), b"something else")
    app = choose(opened("data"), "data", "tiny")
    settled(click(app, "data_fetch"))
    assert last_job(app).state == "failed"
    assert "tiny.tar" in last_job(app).note
    assert last_job(app).note in words(app)
    assert len(app.get("progress")) == 0
    register(monkeypatch, site.url("tiny.tar"), site.files["tiny.tar"])
    app.button(key="job_resume_1").click()
    settled(run(app))
    assert last_job(app).state == "done"


def test_weights_are_fetched_and_the_model_can_be_explored(
    site: Site, monkeypatch: pytest.MonkeyPatch, data: Path
) -> None:
    body = get_model("demo").weights.read_bytes()
    site.files["weights.pth"] = body
    digest = hashlib.sha256(body).hexdigest()[:8]
    entry = replace(
        get_model("demo"), name="remote", label="Remote", checkpoint=None, url=site.url("weights.pth"), url_hash=digest
    )
    monkeypatch.setitem(MODELS, "remote", entry)
    app = choose(opened("models"), "models", "remote")
    assert table(app)["remote"]["Weights"] == "○ missing"
    settled(click(app, "model_fetch"))
    assert last_job(app).state == "done", last_job(app).note
    assert table(app)["remote"]["Weights"] == "● present"
    assert (data / "checkpoints" / "remote.pth").read_bytes() == body
    assert "model_explore" in keys(app)


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


def test_a_fetch_is_cancelled_and_goes_on_where_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    with slowly(archive()) as slow:
        register(monkeypatch, slow.address, slow.body)
        app = choose(opened("data"), "data", "tiny")
        click(app, "data_fetch")
        until(slow.half_sent.is_set)
        until(lambda: last_job(app).report)
        run(app)
        assert "Downloading tiny.tar" in str(app.get("progress")[0].proto.text).replace("\\", "")
        app.button(key="job_cancel_1").click()
        run(app)
        slow.cut = True
        slow.go.set()
        settled(app)
        assert last_job(app).state == "cancelled"
        click(app, "job_resume_1")
        settled(app)
        assert last_job(app).state == "done", last_job(app).note
        assert slow.ranges == ["", f"bytes={len(slow.body) // 2}-"]
    assert table(app)["tiny"]["Images"] == "● present"


def test_two_sessions_do_not_fetch_the_same_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with slowly(archive()) as slow:
        register(monkeypatch, slow.address, slow.body)
        first = choose(opened("data"), "data", "tiny")
        second = choose(opened("data"), "data", "tiny")
        click(first, "data_fetch")
        until(slow.half_sent.is_set)
        click(second, "data_fetch")  # its page has not seen that another has begun
        settled(second)
        assert last_job(second).state == "failed"
        assert last_job(second).note.startswith("Another user of this server")
        button = second.button(key="data_fetch")
        assert (button.label, button.disabled) == ("Being fetched by another user", True)
        slow.go.set()
        settled(first)
        assert last_job(first).state == "done"
        assert table(run(second))["tiny"]["Images"] == "● present"


# Extract, verify, finish, delete


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
    (row,) = [row for row in backend.bank_rows() if not row.info.bundled]
    return row.name, row.info.folder


def test_extract_shows_its_cost_and_its_result(mine: str) -> None:
    app = extracted(mine)
    name, folder = own_bank(app)
    row = table(app)[name]
    assert (row["Data set"], row["Model"], row["Placement"]) == (mine, "demo", "avgpool")
    assert (row["State"], row["Rows"], row["Format"], row["From"]) == ("● complete", IMAGES, "float32", "computed here")
    assert row["On disk"] == sum(file.stat().st_size for file in folder.iterdir())
    assert "1 computed here" in words(app)
    assert "1 set of activations takes up" in words(app)
    app.segmented_control(key="spec_shelf").set_value("data").run()
    assert "are computed" in words(app)
    assert "data_cost" not in keys(app)


def test_a_cost_is_not_shown_for_another_placement(mine: str) -> None:
    app = choose(opened("data"), "data", mine)
    click(app, "data_cost")
    assert "data_extract" in keys(app)
    app.selectbox(key="spec_placement").select("layer4.0.relu2").run()
    assert "data_extract" not in keys(app)
    assert "data_cost" in keys(app)


def test_weights_that_are_missing_come_before_activations() -> None:
    app = choose(opened("data", model="resnet50"), "data", "digits")
    assert "need the weights first" in words(app)
    assert "data_cost" not in keys(app)


def test_damage_is_found_named_and_rebuilt(mine: str) -> None:
    app = extracted(mine)
    name, folder = own_bank(app)
    click(app, "bank_verify")
    settled(app)
    assert (last_job(app).state, last_job(app).note) == ("done", "Every checksum matches.")
    assert "every checksum matched" in words(app)
    whole = shard_path(folder, 1).read_bytes()
    shard_path(folder, 1).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    click(app, "bank_verify")
    settled(app)
    assert last_job(app).state == "failed"
    assert "shard-00001.npy" in last_job(app).note
    assert table(app)[name]["State"] == "✕ damaged"
    click(app, "bank_finish")
    settled(app)
    assert last_job(app).state == "done", last_job(app).note
    assert shard_path(folder, 1).read_bytes() == whole
    assert table(app)[name]["State"] == "● complete"


def test_a_partial_bank_is_finished(mine: str) -> None:
    app = extracted(mine)
    name, folder = own_bank(app)
    whole = shard_path(folder, 2).read_bytes()
    for path in (folder / "manifest.json", shard_path(folder, 2), shard_path(folder, 2).with_suffix(".json")):
        path.unlink()
    backend.bank_rows.clear()
    run(app)
    assert (table(app)[name]["State"], table(app)[name]["Rows"]) == ("◐ partial", 128)
    assert "bank_verify" not in keys(app)
    click(app, "bank_finish")
    settled(app)
    assert last_job(app).state == "done", last_job(app).note
    assert (table(app)[name]["State"], table(app)[name]["Rows"]) == ("● complete", IMAGES)
    assert shard_path(folder, 2).read_bytes() == whole


def test_what_cannot_be_computed_again_is_said_before_it_is_deleted(mine: str, data: Path) -> None:
    app = extracted(mine)
    _, folder = own_bank(app)
    shutil.rmtree(data / mine)
    library.refresh()
    click(app, "bank_delete")
    assert "cannot be computed again" in words(app)
    (folder / "manifest.json").unlink()
    backend.bank_rows.clear()
    click(app, "bank_keep")
    click(app, "bank_finish")
    assert "not here any more" in words(app)
    assert len(app.session_state["library_jobs"].all()) == 1


def test_delete_asks_first_and_names_what_is_lost(mine: str) -> None:
    app = extracted(mine)
    name, folder = own_bank(app)
    click(app, "bank_delete")
    (warning,) = app.warning
    text = warning.value.replace("\\", "")
    assert f"Delete {IMAGES} rows" in text
    assert "mine at avgpool of demo" in text
    assert "Computing them again takes about" in text
    assert folder.is_dir()
    click(app, "bank_keep")
    assert folder.is_dir()
    assert not app.warning
    click(app, "bank_delete")
    click(app, "bank_delete_confirmed")
    assert not folder.exists()
    assert name not in table(app)
    assert "No activations computed yet" in words(app)


def test_activations_at_work_are_not_deleted(mine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    app = extracted(mine)
    name, folder = own_bank(app)
    click(app, "bank_delete")
    monkeypatch.setattr(library_work, "at_work", lambda subject, besides=None: subject == f"bank {name}")
    click(app, "bank_delete_confirmed")
    assert "cancel it, or wait" in words(app)
    assert folder.is_dir()


def test_an_extraction_is_cancelled_and_its_activations_stay_as_far_as_they_are(mine: str) -> None:
    app = choose(opened("data"), "data", mine)
    click(app, "data_cost")
    with library_work.banks.semaphore:  # another user's evaluation: the job waits for the device
        click(app, "data_extract")
        until(lambda: last_job(app).state == "running")
        assert "are being computed" in words(run(app))
        click(app, "job_cancel_1")
        until(lambda: last_job(app).state == "cancelled")
    run(app)
    assert "job_resume_1" in keys(app)
    click(app, "job_resume_1")
    settled(app)
    assert last_job(app).state == "done", last_job(app).note


# Who may


@pytest.mark.parametrize(
    ("setting", "address", "on"),
    [
        ("auto", "localhost", True),
        ("auto", "127.0.0.1", True),
        ("auto", "::1", True),
        ("", "localhost", True),
        ("auto", None, False),
        ("auto", "0.0.0.0", False),
        ("auto", "192.168.1.20", False),
        ("on", "0.0.0.0", True),
        ("ON ", None, True),
        ("off", "localhost", False),
        ("yes", "localhost", False),
    ],
)
def test_the_library_is_on_where_only_this_machine_is_served(
    setting: str, address: str | None, on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(library.SETTING, setting)
    monkeypatch.setattr(st, "get_option", {"server.address": address}.get)
    assert backend.library_on() is on


@pytest.mark.parametrize("header", ["X-Forwarded-For", "x-real-ip", "Forwarded"])
def test_a_browser_behind_a_proxy_may_be_anywhere(header: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from streamlit.runtime.context import StreamlitHeaders

    context = type("Context", (), {"headers": StreamlitHeaders([(header, "203.0.113.7")])})
    monkeypatch.setattr(st, "context", context)
    assert not backend.library_on()
    monkeypatch.setenv(library.SETTING, "on")
    assert backend.library_on()


def test_off_lists_everything_with_commands_and_without_paths(
    mine: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extracted(mine)
    monkeypatch.setenv(library.SETTING, "off")
    secret = {str(data), str(cache_root().parent), str(ROOT), str(Path.home())} - {"/"}
    acting = {"model_fetch", "data_fetch", "data_cost", "bank_verify", "bank_delete", "bank_finish"}
    for shelf, name, command in (
        ("models", "resnet50", "python -m ash fetch resnet50"),
        ("models", "demo", ""),
        ("data", "cifar10", "python -m ash fetch cifar10"),
        ("data", "imagenet", "python -m ash fetch imagenet"),
        ("data", mine, ""),
        ("data", "digits", ""),
        ("activations", own_bank(AppTest)[0], f"python -m ash extract --model demo --placement avgpool --data {mine}"),
    ):
        app = choose(opened(shelf), shelf, name)
        assert command in words(app)
        assert not keys(app) & acting
        assert not [path for path in secret if path in words(app)]
        assert "ASH_LIBRARY=on" in words(app)


def test_a_click_from_a_page_that_was_drawn_before_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    app = choose(opened("models"), "models", "resnet50")
    monkeypatch.setenv(library.SETTING, "off")
    click(app, "model_fetch")
    assert "Library of this server is off" in words(app)
    assert not app.session_state["library_jobs"].all()


AT = backend.Setup("demo", "avgpool", "fashion_mnist", get_model("demo").ood_sets)
ACTIONS: dict[str, Callable[[str], object]] = {
    "fetch": backend.fetch,
    "extract": lambda name: backend.extract(AT, name),
    "verify": backend.verify,
    "finish": backend.finish,
    "delete": backend.delete,
}


@pytest.mark.parametrize("action", list(ACTIONS))
def test_every_action_is_refused_where_the_library_is_off(action: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(library.SETTING, "off")
    with pytest.raises(AppError, match="Library of this server is off"):
        ACTIONS[action]("digits")


@pytest.mark.parametrize("action", list(ACTIONS))
@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc", "https://example.org/a.tar", "mine=/etc", "", "demo/avgpool/../../.."]
)
def test_only_known_names_are_taken(action: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(library.SETTING, "on")
    started: list[Work] = []
    monkeypatch.setattr(Jobs, "start", lambda self, work: started.append(work))
    with pytest.raises(AppError):
        ACTIONS[action](name)
    assert not started


def test_what_ships_is_neither_fetched_nor_deleted_nor_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(library.SETTING, "on")
    row = backend.bank_rows()[0]
    assert row.info.bundled
    for action, name in (("delete", row.name), ("finish", row.name), ("fetch", "digits"), ("fetch", "demo")):
        with pytest.raises(AppError):
            ACTIONS[action](name)
    assert row.info.folder.is_dir()


# The jobs on the page


def job(report: Report | None, **more: object) -> Job:
    work = Work("fetch", "fetch tiny", "Fetch Tiny", lambda: iter(()))  # type: ignore[arg-type,return-value]
    return replace(Job(1, work, "running", report), **more)  # type: ignore[arg-type]


def test_progress_in_words() -> None:
    download = Report("Downloading dtd.tar.gz", 34_000_000, 170_000_000, "bytes")
    assert library_jobs.words(job(download, rate=2.1e6, left=64.8)) == (
        "Downloading dtd.tar.gz: 34 MB of 170 MB, 2.1 MB a second, 65 s left"
    )
    assert library_jobs.words(job(Report("Unpacking", 1, None, "files"))) == "Unpacking: 1 file"
    assert library_jobs.words(job(Report("Computing", 64, 2000, "images"), rate=310.4, left=6.2)) == (
        "Computing: 64 of 2,000 images, 310 a second, 6 s left"
    )
    assert library_jobs.words(job(None)) == "Starting"
    assert library_jobs.words(job(None, state="waiting")) == "Waiting for the job before it"


@pytest.mark.parametrize(
    ("report", "share"),
    [
        (None, 0.0),
        (Report("", 5, None, "files"), 0.0),
        (Report("", 5, 0, "files"), 0.0),
        (Report("", 5, 10, "files"), 0.5),
        (Report("", 11, 10, "files"), 1.0),
    ],
)
def test_the_bar_never_leaves_its_frame(report: Report | None, share: float) -> None:
    assert library_jobs.share_done(report) == share


def test_the_page_polls_only_while_something_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    polls: list[float | None] = []
    real = st.fragment

    def fragment(function: Callable[[], None], run_every: float | None = None) -> Callable[[], None]:
        if function is library_jobs._panel:
            polls.append(run_every)
        return real(function, run_every=run_every)

    monkeypatch.setattr(st, "fragment", fragment)
    app = choose(opened("data"), "data", "digits")
    assert set(polls) == {None}
    with slowly(archive()) as slow:
        register(monkeypatch, slow.address, slow.body)
        backend.data_rows.clear()
        choose(app, "data", "tiny")
        click(app, "data_fetch")
        until(slow.half_sent.is_set)
        run(app)
        assert polls[-1] == library_jobs.POLL
        slow.go.set()
        settled(app)
    assert polls[-1] is None


def test_a_spec_of_another_page_finds_the_shelf() -> None:
    assert RunSpec().shelf == "models"
    assert "ASH_CACHE" in os.environ  # no test works on the user's own banks
