"""Keyboard alone: Tab reaches every control of every page, and the keys use the new ones."""

from collections.abc import Callable

import pytest
from driver import Visitor
from playwright.sync_api import expect

Visitors = Callable[..., Visitor]
pytestmark = pytest.mark.browser

PATHS = (
    *("/", "/scores", "/activations", "/placements", "/samples", "/samples?look=grid", "/samples?look=one"),
    *("/samples?look=own", "/lab", "/lab?room=relu", "/lab?room=predict", "/lessons", "/lessons?lesson=pruning"),
    *("/paper", "/paper?leaf=figure3", "/library"),
)
MOST = 250  # presses of Tab; the longest page needs about 60
# What has the focus is marked, with every control around it; true once the focus has come round to where it began.
MARK = """() => {
    const now = document.activeElement;
    if (now === window.held) return false;  // Tab walks through the cells of a table
    window.held = now;
    if (now === document.body) return !!document.querySelector('[data-seen]');
    if (now.dataset.seen) return true;
    now.dataset.seen = '1';
    for (let one = now; one; one = one.parentElement) one.dataset.reached = '1';
    return false;
}"""
# The controls of the page that hold something enabled and visible and never had the focus: their texts.
MISSED = """() => {
    const kinds = ['Button', 'DownloadButton', 'LinkButton', 'PageLink', 'Selectbox', 'MultiSelect', 'ButtonGroup',
        'NumberInput', 'TextInput', 'Checkbox', 'Slider', 'Popover', 'FileUploader', 'DataFrame', 'Expander'];
    const all = document.querySelectorAll(kinds.map(kind => `[data-testid="st${kind}"]`).join(','));
    const usable = one => one.offsetParent && one.querySelector(
        'a[href], button:not(:disabled), input:not(:disabled), summary, canvas, [role=slider]');
    return [...all].filter(one => usable(one) && !one.dataset.reached)
        .map(one => `${one.dataset.testid}: ${one.innerText.slice(0, 40)}`);
}"""


@pytest.mark.parametrize("path", PATHS)
def test_tab_reaches_every_control(reader: Visitors, path: str) -> None:
    one = reader().open(path)
    missed: list[str] = []
    for _ in range(3):  # what is drawn again while the focus passes has lost its mark, and is passed again
        once_around(one.ready())
        if not (missed := one.page.evaluate(MISSED)):
            return
    assert missed == []


def once_around(one: Visitor) -> None:
    """Press Tab until the focus is back where it began."""
    one.page.evaluate("document.querySelectorAll('[data-seen]').forEach(now => delete now.dataset.seen)")
    for _ in range(MOST):
        one.page.keyboard.press("Tab")
        if one.page.evaluate(MARK):
            return
    pytest.fail(f"the focus never comes round within {MOST} presses")


def test_a_filter_is_chosen_by_keys(reader: Visitors) -> None:
    one = reader().open("/samples?look=grid")
    group = one.page.get_by_role("radiogroup", name="Verdict")
    group.get_by_role("radio").first.focus()
    one.page.keyboard.press("ArrowRight")
    one.page.keyboard.press("Enter")
    one.expect_query(look="grid", verdict="accepted")


def test_a_lesson_is_opened_by_keys(reader: Visitors) -> None:
    one = reader().open("/lessons")
    one.page.get_by_test_id("stMain").get_by_role("button", name="Open").nth(1).focus()
    one.page.keyboard.press("Enter")
    expect(one.page.locator("h1").first).to_contain_text("Pruning")


def test_the_focus_wears_a_ring_and_the_words_on_a_page_stand_beside_the_others(reader: Visitors) -> None:
    one = reader().open("/scores")
    links = one.page.get_by_test_id("stSidebar").get_by_role("link")
    links.nth(0).focus()
    one.page.keyboard.press("Tab")  # from a key, as the ring is for who uses keys
    focused = one.page.locator("a:focus-visible")
    style = focused.evaluate("link => [getComputedStyle(link).outlineStyle, getComputedStyle(link).outlineWidth]")
    assert style == ["solid", "3px"]
    tip, last = one.page.get_by_role("tooltip"), links.last
    expect(tip).to_be_visible()
    box, names = tip.bounding_box(), last.locator("p").bounding_box()
    assert box
    assert names
    assert box["x"] > names["x"] + names["width"]
