"""A lecturer's room: how `ash-explorer --room` starts the server, short links that lead nowhere else, counts."""

import os
import socket
from collections import OrderedDict
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
from app_pages import at_link, open_page, ran, texts
from click.testing import CliRunner
from starlette.requests import Request
from streamlit.testing.v1 import AppTest

from app.backend import setups
from app.link.spec import OPENING, RunSpec, from_query, lasting_query, to_query
from app.serving import room
from app.ui import share
from app.ui.lessons.facts import Here
from app.ui.lessons.questions import outcome
from ash.commands import explorer
from ash.errors import AshError

HOME = "http://192.0.2.7:8501"


@pytest.fixture
def in_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A room that nobody has answered in."""
    monkeypatch.setenv(room.SETTING, HOME)
    monkeypatch.setattr(room, "_links", OrderedDict())
    monkeypatch.setattr(room, "_answers", OrderedDict())


# The command


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the server would be started with; the environment is put back."""
    said: list[str] = []

    class Ended:
        def wait(self) -> int:
            return 0

    @contextmanager
    def server(options: tuple[str, ...]) -> Any:
        said.extend(options)
        yield Ended()

    for name in ("ASH_ROOM", "ASH_LIBRARY", "ASH_COMPUTE"):
        monkeypatch.setenv(name, "on")  # so that what the command sets is undone
    monkeypatch.delenv("ASH_ROOM")
    monkeypatch.setattr(explorer, "_server", server)
    monkeypatch.setattr(explorer, "_answers", lambda *_: True)
    return said


def after(options: list[str], name: str) -> list[str]:
    return [value for option, value in pairwise(options) if option == name]


def test_a_room_is_open_to_the_network_by_its_own_addresses_and_lends_out_no_disk(
    started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explorer, "_own_addresses", lambda: ["192.0.2.7", "198.51.100.3"])
    done = CliRunner().invoke(explorer.main, ["--room", "--no-browser"])
    assert done.exit_code == 0, done.output
    (port,) = after(started, "--server.port")
    assert after(started, "--server.address") == ["0.0.0.0"]
    assert after(started, "--server.allowedHosts") == ["localhost", "127.0.0.1", "192.0.2.7", "198.51.100.3"]
    assert (os.environ["ASH_LIBRARY"], os.environ["ASH_COMPUTE"]) == ("off", "off")
    assert os.environ["ASH_ROOM"] == f"http://192.0.2.7:{port}"
    assert f"ASH explorer: http://192.0.2.7:{port}/" in done.output
    assert "without a log-in" in done.output


def test_without_room_nothing_of_it_is_set(started: list[str]) -> None:
    assert CliRunner().invoke(explorer.main, ["--no-browser"]).exit_code == 0
    assert not [one for one in started if one in ("--server.address", "--server.allowedHosts")]
    assert "ASH_ROOM" not in os.environ
    assert os.environ["ASH_LIBRARY"] == "on"


def test_a_machine_in_no_network_has_no_room(started: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(socket.socket, "connect", lost)
    monkeypatch.setattr(socket, "gethostbyname_ex", lambda name: (name, [], ["127.0.1.1"]))
    done = CliRunner().invoke(explorer.main, ["--room", "--no-browser"])
    assert done.exit_code == 1
    assert "in no network" in done.output
    assert not started


# Links


def opened(code: str) -> Any:
    scope = {"type": "http", "method": "GET", "path": f"/go/{code}", "headers": [], "path_params": {"code": code}}
    return room._go(Request(scope))


def test_a_short_link_leads_to_its_view(in_room: None) -> None:
    link = room.short_link("/scores", "p=70&variant=ash_p")
    assert link == room.short_link("scores", "p=70&variant=ash_p")
    assert link.startswith(f"{HOME}/go/")
    code = link.rpartition("/")[2]
    assert len(code) == room.LETTERS
    answer = opened(code.upper())
    assert (answer.status_code, answer.headers["location"]) == (302, "/scores?p=70&variant=ash_p")
    assert opened("none").status_code == 404


@pytest.mark.parametrize("path", ["//evil.example", "/\\evil.example", "https://evil.example", "\t//evil.example", ""])
def test_a_short_link_never_leaves_the_server(in_room: None, path: str) -> None:
    place = opened(room.short_link(path, "p=70").rpartition("/")[2]).headers["location"]
    assert place.startswith("/")
    assert place[1:2] not in ("/", "\\")
    assert "evil" not in place.partition("?")[0] or place[1] not in "/\\"
    assert "\\" not in place


def test_two_views_with_the_same_letters_have_different_links(in_room: None, monkeypatch: pytest.MonkeyPatch) -> None:
    first = room.short_link("/", "p=1")
    code = first.rpartition("/")[2]
    room._links[code] = "/another"
    assert len(room.short_link("/", "p=1").rpartition("/")[2]) == room.LETTERS + 1
    assert opened(code).headers["location"] == "/another"


def test_what_is_remembered_is_bounded(in_room: None) -> None:
    for number in range(room.MOST + 20):
        room.short_link("/", f"p={number}")
        room.count_answer(number, "same")
    assert len(room._links) == len(room._answers) == room.MOST
    assert room.answers(0) == {}
    assert room.answers(room.MOST + 19) == {"same": 1}


def test_an_address_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(room.SETTING, "192.0.2.7:8501")
    with pytest.raises(AshError, match=r"ASH_ROOM is '192\.0\.2\.7:8501'"):
        room.address()


@pytest.mark.parametrize("spec", [OPENING, RunSpec(), OPENING.having(p=80.0), RunSpec(variant="ash_p", p=70.0)])
def test_a_shared_link_says_only_what_differs_and_means_the_same_for_ever(spec: RunSpec) -> None:
    query = lasting_query(spec)
    assert query
    assert from_query(query) == (spec, [])
    assert len(query) < 5
    assert query == to_query(spec) or spec == OPENING
    assert len(share.short_link(spec)) < 80


# Answers


@pytest.mark.slow
def test_the_room_counts_each_session_once_and_shows_what_it_said_after_the_own_answer(in_room: None) -> None:
    here = Here(RunSpec())
    found = outcome(here, "zero")
    assert found is not None
    one, two = (open_page("lab", room="predict", question="zero") for _ in range(2))
    assert "In the room:** 0 answers" in texts(one)
    one.button(key=f"answer_zero_{found.right}").click().run()
    (key,) = room._answers
    assert key[:3] == (setups.setup(here.spec), here.sets, "zero")  # type: ignore[index]
    assert room.answers(key) == {found.right: 1}
    assert "In the room:** 1 answer " in texts(one)
    assert next(bar.proto.text for bar in one.get("progress")).startswith(("0: ", "1: "))
    one.button(key="predict_again").click().run()
    one.button(key=f"answer_zero_{found.right}").click().run()
    assert room.answers(key) == {found.right: 1}
    two.run()
    assert "In the room:** 1 answer " in texts(two)
    assert not two.get("progress")
    two.button(key="answer_zero_keeps").click().run()
    assert sum(room.answers(key).values()) == 2


@pytest.mark.slow
def test_nothing_is_counted_or_said_of_a_room_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(room.SETTING, raising=False)
    app = open_page("lab", room="predict", question="zero")
    app.button(key="answer_zero_keeps").click().run()
    assert "In the room" not in texts(app)
    assert not room._answers


@pytest.mark.slow
def test_share_shows_a_code_in_a_room(in_room: None) -> None:
    app = at_link("scores", p=70)
    assert not _codes(ran(app)), "nobody has asked for a link"
    app.session_state["share"] = True
    shown = _codes(ran(app))
    assert len(shown) == 1
    assert 'src="data:image/svg+xml' in shown[0]
    assert f"QR code of {HOME}/go/" in shown[0]


def _codes(app: AppTest) -> list[str]:
    return [one.proto.body for one in app.get("html") if "QR code" in one.proto.body]
