"""Who may change what is on the machine from the page Library, and what a visitor may see."""

from collections.abc import Callable
from pathlib import Path

import pytest
import streamlit as st
from library_driver import ROOT, choose, click, data_fixture, extracted, keys, mine_fixture, opened, own_bank, words  # noqa: F401  (fixtures)
from streamlit.testing.v1 import AppTest

from app import backend
from app.backend import library
from app.backend.jobs import Jobs, Work
from ash.bank import cache_root
from ash.errors import AshError
from ash.models import get_model


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


def test_a_subset_which_no_command_makes_has_none(mine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(library.SETTING, "off")
    app = choose(opened("data", n="100"), "data", mine)
    assert "not computed yet" in words(app)
    assert "python -m ash extract" not in words(app)
    assert "Where the server runs" not in words(app)


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
    with pytest.raises(AshError, match="Library of this server is off"):
        ACTIONS[action]("digits")


@pytest.mark.parametrize("action", list(ACTIONS))
@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc", "https://example.org/a.tar", "mine=/etc", "", "demo/avgpool/../../.."]
)
def test_only_known_names_are_taken(action: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(library.SETTING, "on")
    started: list[Work] = []
    monkeypatch.setattr(Jobs, "start", lambda self, work: started.append(work))
    with pytest.raises(AshError):
        ACTIONS[action](name)
    assert not started


def test_what_ships_is_neither_fetched_nor_deleted_nor_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(library.SETTING, "on")
    row = backend.bank_rows()[0]
    assert row.info.bundled
    for action, name in (("delete", row.name), ("finish", row.name), ("fetch", "digits"), ("fetch", "demo")):
        with pytest.raises(AshError):
            ACTIONS[action](name)
    assert row.info.folder.is_dir()
