"""The Shape lab in a real browser: the keys step through the algorithm, and p is dragged without the server."""

from collections.abc import Callable

import pytest
from driver import Visitor
from playwright.sync_api import expect

Visitors = Callable[..., Visitor]
pytestmark = pytest.mark.browser

BARS = "document.querySelector('.st-key-lab_film .js-plotly-plot')"


def test_keys_step_and_the_last_line_drags_p(reader: Visitors) -> None:
    one = reader().open("/lab?variant=ash_s")
    expect(one.page.locator(".st-key-lab_next button")).to_be_visible()  # the code of buttons with keys is loaded late
    line = one.page.get_by_role("heading", level=2)
    expect(line).to_contain_text("Line 1 of 7")
    for key, wanted in (("ArrowRight", 2), ("ArrowRight", 3), ("ArrowLeft", 2), ("End", 7), ("Home", 1), ("End", 7)):
        one.ready().page.keyboard.press(key)
        expect(line).to_contain_text(f"Line {wanted} of 7")
    one.expect_query(variant="ash_s", step="6")
    one.page.wait_for_selector(".st-key-lab_film .js-plotly-plot .slider-rail-touch-rect", state="attached")
    one.ready().page.evaluate("document.querySelector('.st-key-lab_film').scrollIntoView({block: 'center'})")
    rail = one.page.locator(".st-key-lab_film .slider-rail-touch-rect").bounding_box()
    assert rail
    one.page.mouse.click(rail["x"] + 2, rail["y"] + rail["height"] / 2)  # p = 0: every value stays, times e
    one.page.wait_for_function(f"() => {BARS}.data[1].y.every(value => value > 0)", polling="raf")
    expect(one.page.locator(".st-key-lab_film .gtitle")).to_contain_text("k = 12 of 12 kept")
    one.expect_query(variant="ash_s", step="6").expect_p(65)
