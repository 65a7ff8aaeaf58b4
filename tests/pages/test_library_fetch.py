"""Fetching from the page Library, against servers on this machine: end to end, failing, cut, by two users."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from library_driver import (
    archive,
    choose,
    click,
    data_fixture,  # noqa: F401  (fixtures)
    keys,
    last_job,
    opened,
    register,
    run,
    settled,
    slowly,
    table,
    until,
    words,
)
from web_server import Site, serving

from app.backend import setups
from ash.models import MODELS, get_model

pytestmark = pytest.mark.slow


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as one:
        one.files["tiny.tar"] = archive()
        yield one


def test_a_data_set_is_fetched_and_there(site: Site, monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    register(monkeypatch, site.url("tiny.tar"), site.files["tiny.tar"])
    app = choose(opened("data"), "data", "tiny")
    assert table(app)["tiny"]["Images"] == "○ missing"
    click(app, "data_fetch")
    toasts = [toast.value for toast in app.toast]
    assert "Started: Fetch Tiny" in toasts
    settled(app)
    assert "Fetch Tiny: done" in words(app)
    toasts += [toast.value for toast in app.toast]
    toasts += [toast.value for toast in run(app).toast]
    assert toasts.count("Fetch Tiny: done") == 1  # a small file may be there before the first run ends
    assert (table(app)["tiny"]["Images"], table(app)["tiny"]["Number"]) == ("● present", 3)
    assert "data_fetch" not in keys(app)
    assert "tiny" in setups.present()
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
