"""A server that is stopped and started again under an open page: address, controls and page go on in agreement."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from bursts import agreement
from driver import ROOT, Visitor, serve, streamlit_command
from playwright.sync_api import Browser, expect

pytestmark = pytest.mark.browser
LOST = """() => document.querySelector('[data-testid="stApp"]').dataset.testConnectionState !== 'CONNECTED'"""


@pytest.fixture
def one(browser: Browser) -> Iterator[Visitor]:
    """A user of no server yet; a console may complain of the time without one."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    yield Visitor(context.new_page(), "")
    context.close()


def restarted(one: Visitor, tmp_path: Path, start: str, before: Callable[[], object]) -> Iterator[None]:
    """The page at `start` after `before`, with a server of its own; then without one; then with another one."""
    with serve(streamlit_command(), ROOT, tmp_path / "first.txt") as one.server:
        one.open(start)
        before()
        one.ready()
    one.page.wait_for_function(LOST)
    yield
    with serve(streamlit_command(), ROOT, tmp_path / "second.txt", urlsplit(one.server).port or 0):
        one.ready()
        yield
    assert "Traceback" not in (tmp_path / "second.txt").read_text()


def test_a_page_goes_on_with_a_server_that_was_restarted(one: Visitor, tmp_path: Path) -> None:
    life = restarted(one, tmp_path, "/scores?p=40&variant=ash_p", lambda: one.press("ArrowRight").expect_p(41))
    next(life)
    next(life)
    one.title("Scores").expect_p(41).expect_query(p="41", variant="ash_p")
    assert agreement(one) == ""
    one.press("ArrowRight")  # the first it is asked: nothing is lost, nor by a second while the first is looked into
    one.page.wait_for_timeout(120)
    one.page.keyboard.press("ArrowRight")
    one.expect_query(p="43", variant="ash_p")
    one.ready().expect_p(43)
    assert agreement(one) == ""
    one.link("Activations").title("Activations").expect_query(p="43", variant="ash_p").expect_p(43)
    one.back().title("Scores").expect_query(p="43", variant="ash_p").expect_p(43)
    one.back().expect_query(p="41", variant="ash_p").expect_p(41)
    expect(one.page.get_by_role("combobox", name="Variant")).to_have_value("▲ ASH-P")
    assert agreement(one.ready()) == ""
    next(life, None)


def test_back_while_there_is_no_server(one: Visitor, tmp_path: Path) -> None:
    life = restarted(
        one, tmp_path, "/?p=80", lambda: one.link("Scores").title("Scores").press("ArrowLeft").expect_p(79)
    )
    next(life)
    one.page.go_back()  # Streamlit does not ask for a run once it is connected again
    next(life)
    one.choose("Variant", "ASH-S").ready()  # so that this is the first
    assert agreement(one) == ""
    assert one.query()["variant"] == "ash_s"
    next(life, None)
