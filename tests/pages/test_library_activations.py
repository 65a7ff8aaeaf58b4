"""Activations from the page Library: extract with its cost, verify, rebuild, finish, delete."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from library_driver import (  # noqa: F401  (fixtures)
    IMAGES,
    choose,
    click,
    data_fixture,
    extracted,
    keys,
    last_job,
    mine_fixture,
    opened,
    own_bank,
    run,
    settled,
    table,
    until,
    words,
)
from PIL import Image

from app.backend import library, library_work, setups
from ash.bank import shard_path

pytestmark = pytest.mark.slow


def test_extract_shows_its_cost_and_its_result(mine: str) -> None:
    app = extracted(mine)
    name, folder = own_bank(app)
    row = table(app)[name]
    assert (row["Data set"], row["Model"], row["Placement"]) == (mine, "demo", "avgpool")
    assert (row["State"], row["Rows"], row["Format"], row["From"]) == ("● complete", IMAGES, "float32", "computed here")
    assert row["On disk"] == sum(file.stat().st_size for file in folder.iterdir())
    assert "1 computed here" in words(app)
    assert ", 1 set computed here (" in words(app)
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
    library.bank_rows.clear()
    run(app)
    assert (table(app)[name]["State"], table(app)[name]["Rows"]) == ("◐ partial", 128)
    assert "bank_verify" not in keys(app)
    click(app, "bank_finish")
    settled(app)
    assert last_job(app).state == "done", last_job(app).note
    assert (table(app)[name]["State"], table(app)[name]["Rows"]) == ("● complete", IMAGES)
    assert shard_path(folder, 2).read_bytes() == whole


def test_activations_of_images_that_were_replaced_are_outdated_and_stay(mine: str, data: Path) -> None:
    app = extracted(mine)
    name, folder = own_bank(app)
    path = data / mine / "000.png"
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    path.write_bytes(path.read_bytes()[:-20].ljust(os.path.getsize(data / mine / "001.png"), b"\0"))
    library.refresh()
    run(app)
    assert table(app)[name]["State"] == "◌ outdated"
    assert "images has changed" in words(app)
    assert (folder / "manifest.json").is_file()
    at = setups.Setup("demo", "avgpool", "fashion_mnist", (mine,))
    assert not setups.has_bank(at, mine), "they are not used"


def test_what_cannot_be_computed_again_is_said_before_it_is_deleted(mine: str, data: Path) -> None:
    app = extracted(mine)
    _, folder = own_bank(app)
    shutil.rmtree(data / mine)
    library.refresh()
    click(app, "bank_delete")
    assert "cannot be computed again" in words(app)
    (folder / "manifest.json").unlink()
    library.bank_rows.clear()
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
    assert "None was computed here yet" in words(app)


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
