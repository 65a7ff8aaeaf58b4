"""The shell in a real browser: links in and out, Back, reload, page changes, two users, keyboard, narrow screens."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from driver import ROOT, Visitor, serve, streamlit_command
from playwright.sync_api import Browser, Locator, expect

from app.link.fields import write_number
from app.link.spec import OPENING, RunSpec, to_query

Visitors = Callable[..., Visitor]
DEFAULT = round(OPENING.p)
pytestmark = pytest.mark.browser


def changed(**fields: object) -> dict[str, str]:
    """The query of what the app opens with, after some changes."""
    return to_query(OPENING.having(**fields))


def test_first_paint(visitor: Visitors) -> None:
    one = visitor().open()
    one.title("Trade-off").expect_p(DEFAULT).expect_query()
    expect(one.page).to_have_title("Trade-off - ASH explorer")


def test_a_deep_link_sets_the_controls_and_stays_as_it_is(reader: Visitors) -> None:
    one = reader().open("/scores?variant=ash_s&p=42&score=msp")
    one.title("Scores").expect_p(42).expect_query(variant="ash_s", p="42", score="msp")
    expect(one.page.get_by_role("combobox", name="Variant")).to_have_value("● ASH-S")
    expect(one.page.get_by_test_id("stSidebar")).to_contain_text("Max softmax")


def test_a_junk_link_gets_one_sentence_and_no_traceback(reader: Visitors) -> None:
    one = reader().open("/?p=abc&variant=%3Cscript%3E&zzz=1&placement=../../etc/passwd")
    notices = one.page.get_by_test_id("stAlert")
    expect(notices).to_have_count(3)
    expect(notices.first).to_contain_text("p")
    expect(
        one.page.get_by_text(
            f"The link says p=abc instead of a percentile in [0, 100): {write_number(RunSpec().p)} is used."
        )
    ).to_be_visible()
    expect(one.page.get_by_test_id("stException")).to_have_count(0)
    one.press("ArrowRight").expect_p(round(RunSpec().p) + 1)
    expect(notices).to_have_count(0)


def test_back_and_forward_bring_the_configuration_and_its_controls(reader: Visitors) -> None:
    one = reader().open("/?p=40&variant=ash_p")
    one.press("ArrowRight").expect_query(p="41", variant="ash_p")
    one.choose("Variant", "ASH-S").expect_query(p="41", variant="ash_s")
    one.back()
    one.expect_query(p="41", variant="ash_p").expect_p(41)
    expect(one.page.get_by_role("combobox", name="Variant")).to_have_value("▲ ASH-P")
    one.back()
    one.expect_query(p="40", variant="ash_p").expect_p(40)
    one.forward()
    one.expect_query(p="41", variant="ash_p").expect_p(41)
    one.press("ArrowRight").expect_p(42).expect_query(p="42", variant="ash_p")


def test_back_to_the_bare_address_brings_the_defaults(reader: Visitors) -> None:
    one = reader().open()
    one.press("ArrowRight").expect_query(**changed(p=DEFAULT + 1))
    one.back()
    one.expect_query().expect_p(DEFAULT)


def test_a_page_change_keeps_the_configuration_and_is_one_step_back(reader: Visitors) -> None:
    one = reader().open("/?p=80")
    one.link("Scores").title("Scores").expect_query(p="80").expect_p(80)
    one.press("ArrowRight").expect_query(p="81")
    one.link("Activations").title("Activations").expect_query(p="81").expect_p(81)
    one.back()
    one.title("Scores").expect_query(p="81").expect_p(81)
    one.back()
    one.title("Scores").expect_query(p="80").expect_p(80)
    one.back()
    one.title("Trade-off").expect_query(p="80").expect_p(80)


def test_zero_survives_a_reload(reader: Visitors) -> None:
    one = reader().open("/?p=1")
    one.press("ArrowLeft").expect_query(p="0").expect_p(0)
    one.page.reload()
    one.ready().expect_p(0).expect_query(p="0")


def test_fast_keys_lose_no_step(reader: Visitors) -> None:
    one = reader().open("/?p=40&variant=ash_p")
    one.press("ArrowRight", times=8).expect_p(48).expect_query(p="48", variant="ash_p")
    one.press("ArrowLeft", times=3).choose("Variant", "ASH-S").expect_query(p="45", variant="ash_s").expect_p(45)


def test_two_users_do_not_see_each_other(reader: Visitors) -> None:
    one, two = reader().open("/?p=70&variant=ash_p"), reader().open("/?p=30&variant=ash_p")
    one.press("ArrowRight").expect_query(p="71", variant="ash_p")
    two.press("ArrowLeft").expect_query(p="29", variant="ash_p")
    one.choose("Variant", "ASH-S").expect_query(p="71", variant="ash_s").expect_p(71)
    two.ready().expect_p(29).expect_query(p="29", variant="ash_p")


def test_reset(reader: Visitors) -> None:
    one = reader().open("/?p=80&variant=ash_p&budget=2")
    one.page.get_by_test_id("stSidebar").get_by_role("button", name="Reset").click()
    one.expect_query().expect_p(DEFAULT)


def test_the_shared_link_is_short_is_copied_and_opens_the_same_view(visitor: Visitors) -> None:
    one = visitor().open("/scores?p=80&variant=ash_p")
    one.page.get_by_role("button", name="Share").click()
    link = one.page.get_by_role("textbox", name="Link to this view").input_value()
    assert link == f"{one.server}/scores?variant=ash_p&p=80"
    one.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    one.page.get_by_role("button", name="Copy link").click()
    expect(one.page.get_by_role("button", name="Copied")).to_be_visible()
    assert one.page.evaluate("() => navigator.clipboard.readText()") == link
    two = visitor()
    two.page.goto(link)
    two.ready().title("Scores").expect_p(80)
    expect(two.page.get_by_role("combobox", name="Variant")).to_have_value("▲ ASH-P")


def test_the_qr_code_of_a_room_is_seen_whole(browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASH_ROOM", "http://192.0.2.7:8501")
    with serve(streamlit_command(), ROOT, tmp_path / "log.txt") as address:
        for width, height in ((1440, 900), (1024, 768), (390, 844)):
            page = browser.new_page(viewport={"width": width, "height": height})
            Visitor(page, address).open()
            if width < 640:
                page.get_by_test_id("stExpandSidebarButton").click()
            page.get_by_role("button", name="Share").click()
            code = page.get_by_role("img", name="QR code of")
            expect(code).to_be_in_viewport(ratio=1)
            whole, shown = code.bounding_box(), page.get_by_test_id("stPopoverBody").bounding_box()
            page.close()
            assert whole
            assert shown
            assert whole["y"] >= shown["y"], width
            assert whole["y"] + whole["height"] <= shown["y"] + shown["height"], width
            assert 150 <= whole["width"] <= 220, width


def test_react_has_a_threshold_in_place_of_the_percentile(reader: Visitors) -> None:
    one = reader().open()
    one.choose("Variant", "ReAct")
    field = one.page.get_by_role("spinbutton", name="Threshold c")
    field.fill("2.5")
    field.press("Enter")
    one.expect_query(**changed(variant="react", c=2.5))
    expect(one.slider).to_have_count(0)
    one.choose("Variant", "No shaping")
    expect(one.slider).to_be_disabled()


def tab_to(one: Visitor, target: Locator) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(60):
        if target.evaluate("element => element === document.activeElement"):
            return
        one.page.keyboard.press("Tab")
    raise AssertionError(f"{target} is not reached by Tab")


def test_keyboard_alone(reader: Visitors) -> None:
    one = reader().open()
    sidebar = one.page.get_by_test_id("stSidebar")
    tab_to(one, sidebar.get_by_role("link", name="Scores"))
    one.page.keyboard.press("Enter")
    one.title("Scores").ready()
    tab_to(one, one.slider)
    one.page.keyboard.press("ArrowRight")
    one.expect_query(**changed(p=DEFAULT + 1))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_opens_with_the_page_and_reaches_the_controls(reader: Visitors, scheme: str) -> None:
    one = reader(390, 844, scheme).open()
    control = one.page.get_by_test_id("stSidebar").get_by_test_id("stSlider")
    expect(control).not_to_be_in_viewport()
    one.page.get_by_test_id("stExpandSidebarButton").click()
    expect(control).to_be_in_viewport()
    one.link("Scores").title("Scores")
    assert one.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_it_starts_from_anywhere_and_listens_here_only(browser: Browser, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "app" / "main.py")]
    with serve(command, tmp_path, tmp_path / "log.txt") as address:
        page = browser.new_page()
        Visitor(page, address).open().title("Trade-off")
        page.close()
        assert "Network URL" not in (tmp_path / "log.txt").read_text()
