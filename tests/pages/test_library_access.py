"""Who may change what is on the machine from the page Library, and what a visitor may see."""

from collections.abc import Callable
from pathlib import Path

import pytest
import streamlit as st
from app_pages import open_page
from library_driver import (  # noqa: F401  (fixtures)
    IMAGES,
    ROOT,
    choose,
    click,
    data_fixture,
    extracted,
    keys,
    mine_fixture,
    opened,
    own_bank,
    words,
)
from streamlit.testing.v1 import AppTest

from app.backend import banks, library, library_work, setups
from app.backend.jobs import Jobs, Work
from app.link import streamlit_private
from ash.bank import cache_root
from ash.errors import AshError
from ash.models import get_model

pytestmark = pytest.mark.slow


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
    assert library.library_on() is on


def from_browser(monkeypatch: pytest.MonkeyPatch, ip: str | None = None, **headers: str) -> None:
    """As if a browser had connected to a server of localhost with these headers."""
    from streamlit.runtime.context import StreamlitHeaders

    sent = StreamlitHeaders([(name.replace("_", "-"), value) for name, value in headers.items()])
    monkeypatch.setattr(st, "context", type("Context", (), {"headers": sent, "ip_address": ip}))
    monkeypatch.setattr(streamlit_private, "is_served", lambda: True)


LOCAL = {"Host": "localhost:8501", "Origin": "http://localhost:8501"}
RULES = {library.SETTING: library.library_on, library.COMPUTE: library.may_compute}
rules = pytest.mark.parametrize("setting", list(RULES))


@rules
@pytest.mark.parametrize("host", ["localhost:8501", "localhost", "127.0.0.1:80", "[::1]:8501"])
def test_a_browser_of_this_machine_may(setting: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from_browser(monkeypatch, Host=host, Origin=f"http://{host}")
    assert RULES[setting]()
    monkeypatch.setenv(setting, "off")
    assert not RULES[setting]()


@rules
@pytest.mark.parametrize(
    "header",
    [
        *("X-Forwarded-For", "x-real-ip", "Forwarded", "Via", "X-Forwarded-Proto", "X-Forwarded-Host"),
        *("CF-Connecting-IP", "True-Client-IP", "X-Client-IP"),
    ],
)
def test_a_browser_behind_a_proxy_may_be_anywhere(setting: str, header: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from_browser(monkeypatch, **LOCAL, **{header: "203.0.113.7"})
    assert not RULES[setting]()
    monkeypatch.setenv(setting, "on")
    assert RULES[setting]()


@rules
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example", "Origin": "http://evil.example"},  # a name that someone pointed here
        {"Host": "localhost:8501", "Origin": "https://ash.example.org"},  # a proxy that forwards no name of its own
        {"Host": "localhost:8501", "Origin": "http://localhost:3000"},  # another server of this machine
        {"Host": "localhost:8501", "Origin": "null"},
        {"Host": "localhost:8501"},  # no browser, or a proxy that leaves its word out
        {"Host": "localhost.evil.example:8501", "Origin": "http://localhost.evil.example:8501"},
        {"Host": "192.168.1.20:8501", "Origin": "http://192.168.1.20:8501"},
        {"Host": "localhost@evil.example", "Origin": "http://localhost@evil.example"},
        {},
    ],
)
def test_who_calls_the_server_by_another_name_may_not(
    setting: str, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from_browser(monkeypatch, **headers)
    assert not RULES[setting]()


def test_a_client_of_another_machine_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    from_browser(monkeypatch, "192.168.1.7", **LOCAL)
    assert not library.library_on()
    assert not library.may_compute()


def test_computing_is_refused_on_the_server_before_anything_is_written(
    mine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = setups.Setup("demo", "avgpool", "fashion_mnist", (mine,))
    monkeypatch.setenv(library.COMPUTE, "off")
    with pytest.raises(AshError, match="ASH_COMPUTE=on"):
        next(banks.compute_banks(at))
    assert all(row.info.bundled for row in library.bank_rows())
    monkeypatch.setenv(library.COMPUTE, "on")
    monkeypatch.setenv(library.SETTING, "off")  # the two are told apart
    assert next(banks.compute_banks(at)).total == IMAGES


def test_pages_say_that_computing_is_off_in_place_of_the_button(mine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(library.COMPUTE, "off")
    app = open_page("tradeoff", ood=mine)
    assert "prepare_button" not in keys(app)
    assert "ASH_COMPUTE=on" in words(app)
    monkeypatch.delenv(library.COMPUTE)
    app.run()
    assert "prepare_button" in keys(app)


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


AT = setups.Setup("demo", "avgpool", "fashion_mnist", get_model("demo").ood_sets)
ACTIONS: dict[str, Callable[[str], object]] = {
    "fetch": library_work.fetch,
    "extract": lambda name: library_work.extract(AT, name),
    "verify": library_work.verify,
    "finish": library_work.finish,
    "delete": library_work.delete,
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
    row = library.bank_rows()[0]
    assert row.info.bundled
    for action, name in (("delete", row.name), ("finish", row.name), ("fetch", "digits"), ("fetch", "demo")):
        with pytest.raises(AshError):
            ACTIONS[action](name)
    assert row.info.folder.is_dir()
