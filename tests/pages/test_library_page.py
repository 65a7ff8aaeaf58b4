"""The page Library: its shelves, what they say, the search, and jobs on the page."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import streamlit as st
from app_pages import ENTRY
from library_driver import (  # noqa: F401  (fixtures)
    IMAGES,
    ROOT,
    archive,
    choose,
    click,
    data_fixture,
    keys,
    mine_fixture,
    opened,
    register,
    run,
    settled,
    slowly,
    table,
    until,
    words,
)
from PIL import Image

from app.backend import library, setups
from app.backend.jobs import Job, Report, Work
from app.backend.setups import setup
from app.link.spec import RunSpec
from app.ui import job_panel
from ash.bank import BUNDLED
from ash.data import DATASETS
from ash.models import MODELS, get_model

pytestmark = pytest.mark.slow


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
    assert shown["fashion_mnist"] == ("ID", "● present", 3000, 3000)
    assert shown["cifar10"] == ("ID", "◌ activations ship", 0, 10_000)
    assert shown["svhn"][1:3] == ("○ missing", 0)
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
    assert "None was computed here yet" in words(app)
    assert {row["From"] for row in table(app).values()} == {"bundled"}
    assert len(table(app)) == len(list(BUNDLED.glob("*/*/*/manifest.json")))
    assert "bank_verify" in keys(app)
    assert not {"bank_delete", "bank_finish"} & keys(app)


def test_the_summary_counts_what_is_here(mine: str) -> None:
    here = sum(row.status.state == "present" for row in library.data_rows())
    known = len(DATASETS) + 1
    ready = sum(row.present for row in library.model_rows() if row.name in MODELS)
    listed = sum(row.status.state == "listed" for row in library.data_rows())
    shipped = sum(row.info.bundled for row in library.bank_rows())
    text = words(opened())
    assert f"{ready} of {len(MODELS)} models and {here} of {known} data sets are here" in text
    assert (
        f"(of {listed} more the activations ship); {shipped} sets of activations come with the explorer, none" in text
    )


def test_a_row_stays_chosen_on_its_shelf() -> None:
    app = choose(opened("models"), "models", "resnet50")
    app.segmented_control(key="spec_shelf").set_value("data").run()
    assert app.session_state["spec"].library.shelf == "data"
    assert app.query_params["shelf"] == "data"
    app.segmented_control(key="spec_shelf").set_value("models").run()
    assert "ResNet-50 on ImageNet" in app.subheader[0].value.replace("\\", "")


def test_looking_again_finds_what_was_put_there_meanwhile(data: Path) -> None:
    app = opened("data")
    (data / "later").mkdir()
    Image.new("RGB", (8, 8)).save(data / "later" / "a.png")
    assert "later" not in table(run(app))
    assert "later" in table(click(app, "library_data_again"))


def test_a_row_that_is_gone_is_not_chosen_any_more() -> None:
    assert not choose(opened("activations"), "activations", "demo/avgpool/gone").error


def test_the_page_opens_without_torch() -> None:
    program = f"""
import os, sys
from app.backend import engine, provenance
provenance.badge, engine.warm_up = (lambda spec: "bundled"), (lambda: None)
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash
app = AppTest.from_file({str(ENTRY)!r}, default_timeout=120)
app._page_hash = calc_hash("library")
app.query_params["model"] = "demo"  # the names of ImageNet's classes are torchvision's
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
    search = app.selectbox(key="library_other")
    assert {"resnet18", "swin_t", "vit_b_16"} <= set(search.options)
    assert not set(MODELS) & set(search.options)
    search.select("squeezenet1_1").run()
    assert not app.exception
    assert "squeezenet1_1 (torchvision)" in words(app)
    assert "https://download.pytorch.org/models/squeezenet1_1" in words(app)
    assert "model_fetch" in keys(app)
    choose(app, "models", "demo")
    assert app.selectbox(key="library_other").value is None
    assert "model_explore" in keys(app)


def test_torchvision_weights_that_are_here_are_a_row(data: Path) -> None:
    (data / "checkpoints").mkdir()
    (data / "checkpoints" / "resnet18.pth").write_bytes(b"12345")
    row = table(opened("models"))["resnet18"]
    assert (row["Weights"], row["On disk"]) == ("● present", 5)


def test_explore_loads_the_model_and_goes_to_the_trade_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "demo_two", replace(get_model("demo"), name="demo_two", label="Second"))
    app = choose(opened("models"), "models", "demo_two")
    click(app, "model_explore")
    assert app.title[0].value == "Trade-off"
    assert app.session_state["spec"].model == "demo_two"


def job(report: Report | None, **more: object) -> Job:
    work = Work("fetch", "fetch tiny", "Fetch Tiny", lambda: iter(()))  # type: ignore[arg-type,return-value]
    return replace(Job(1, work, "running", report), **more)  # type: ignore[arg-type]


def test_progress_in_words() -> None:
    download = Report("Downloading dtd.tar.gz", 34_000_000, 170_000_000, "bytes")
    assert job_panel.words(job(download, rate=2.1e6, left=64.8)) == (
        "Downloading dtd.tar.gz: 34 MB of 170 MB, 2.1 MB a second, 65 s left"
    )
    assert job_panel.words(job(Report("Unpacking", 1, None, "files"))) == "Unpacking: 1 file"
    assert job_panel.words(job(Report("Computing", 64, 2000, "images"), rate=310.4, left=6.2)) == (
        "Computing: 64 of 2,000 images, 310 a second, 6 s left"
    )
    assert job_panel.words(job(None)) == "Starting"
    assert job_panel.words(job(None, state="waiting")) == "Waiting for the job before it"


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
    assert job_panel.share_done(report) == share


def test_the_page_polls_only_while_something_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    polls: list[float | None] = []
    real = st.fragment

    def fragment(function: Callable[[], None], run_every: float | None = None) -> Callable[[], None]:
        if function is job_panel._panel:
            polls.append(run_every)
        return real(function, run_every=run_every)

    monkeypatch.setattr(st, "fragment", fragment)
    app = choose(opened("data"), "data", "digits")
    assert set(polls) == {None}
    with slowly(archive()) as slow:
        register(monkeypatch, slow.address, slow.body)
        library.data_rows.clear()
        choose(app, "data", "tiny")
        click(app, "data_fetch")
        until(slow.half_sent.is_set)
        run(app)
        assert polls[-1] == job_panel.POLL
        slow.go.set()
        settled(app)
    assert polls[-1] is None


def test_a_list_whose_labels_were_corrected_is_looked_at_as_another(data: Path) -> None:
    """Evaluations on pages are kept by the look at the user's files; the images are the same."""
    (data / "listed").mkdir()
    Image.new("L", (8, 8)).save(data / "listed" / "a.png")
    looks = []
    for label in ("Bag", "Coat"):
        (data / "listed.csv").write_text(f"image,label\na.png,{label}\n")
        setups.look_again()
        looks.append(setup(RunSpec(id="listed")).look)
    assert looks[0] != looks[1]
