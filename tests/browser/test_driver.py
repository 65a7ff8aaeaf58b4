"""The driver of these tests itself: it must not take a page for finished that is not, or the tests fail at random."""

from collections.abc import Callable

import pytest
from driver import Visitor

Visitors = Callable[..., Visitor]
pytestmark = pytest.mark.browser


def test_ready_waits_for_an_answer_that_is_late(visitor: Visitors) -> None:
    one = visitor(late=1500).open("/?p=40")
    for p in ("41", "42"):
        assert one.press("ArrowRight").ready().query() == {"p": p}
    one.link("Scores").ready()
    assert one.page.locator("h1").first.inner_text() == "Scores"
    one.back().ready()
    assert one.page.locator("h1").first.inner_text() == "Trade-off"


def test_ready_waits_for_code_that_is_late(visitor: Visitors) -> None:
    one = visitor()
    for code in ("Slider", "PlotlyChart"):
        one.page.route(f"**/static/js/{code}.*.js", lambda route: one.page.wait_for_timeout(1500) or route.continue_())
    one.open("/?p=40")
    assert one.slider.count() == 1
    assert one.page.locator(".js-plotly-plot .points path").count()
