"""A switch of the theme repaints what the server painted, with one run and no more."""

from collections.abc import Callable

import pytest
from driver import Visitor
from playwright.sync_api import Page

from app.theme import colours

Visitors = Callable[..., Visitor]
pytestmark = pytest.mark.browser

WORDMARK = "() => decodeURIComponent(document.querySelector('[data-testid=stSidebarLogo]')?.src ?? '')"
INK = "() => document.querySelector('.js-plotly-plot')._fullLayout.font.color"


def runs(page: Page) -> int:
    """How many runs the browser has asked for."""
    asked: int = page.evaluate("() => runs.asked")
    return asked


def test_charts_follow_a_switch_of_the_theme_with_one_run_each(visitor: Visitors) -> None:
    one = visitor().open("/?model=demo")
    page = one.page
    assert (page.evaluate(INK), runs(page)) == (colours(False)["ink"], 1)
    for count, dark in enumerate((True, False, True), start=2):
        page.emulate_media(color_scheme="dark" if dark else "light")
        page.wait_for_function(f"ink => ({INK})() === ink", arg=colours(dark)["ink"], polling="raf")
        one.ready()
        assert runs(page) == count
    one.press("ArrowRight")
    one.ready()
    assert page.evaluate(INK) == colours(True)["ink"]
    assert runs(page) == 5


def test_the_wordmark_follows_on_a_page_without_charts(visitor: Visitors) -> None:
    one = visitor().open("/guide?model=demo")
    page = one.page
    before = page.evaluate(WORDMARK)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"before => ({WORDMARK})() !== before", arg=before, polling="raf")
    one.ready()
    assert runs(page) == 2
