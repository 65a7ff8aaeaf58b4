"""A phone: a finger on any chart scrolls the page, the first chart is in sight, p is under it, no key is offered."""

from collections.abc import Callable
from typing import Any

import pytest
from driver import Visitor
from playwright.sync_api import Page, expect

Visitors = Callable[..., Visitor]
pytestmark = pytest.mark.browser

SWIPE, STEP = 300, 20  # pixels
PATHS = (
    *("/", "/scores", "/scores?set=noise", "/scores?curve=scrub", "/scores?curve=roc", "/scores?curve=pr"),
    *("/activations", "/activations?view=logits", "/placements"),
    *("/samples?look=one", "/samples?look=one&part=top5", "/lab", "/lab?step=6&variant=ash_s", "/lab?room=relu"),
    *(f"/lessons?lesson={name}" for name in ("inputs", "pruning", "shaping", "choosing", "placing", "reporting")),
    *(f"/paper?leaf=figure{number}" for number in range(2, 7)),
)
MAIN = "document.querySelector('[data-testid=stMain]')"
# A chart in the middle of the screen: where a finger is put on it, and how far the page can go up and down from there.
AT = f"""place => {{
    const chart = document.querySelectorAll('.ash-chart')[place], main = {MAIN};
    chart.scrollIntoView({{block: 'center', behavior: 'instant'}});
    const box = chart.getBoundingClientRect();
    return {{x: box.x + box.width / 2, y: box.y + box.height / 2, up: main.scrollTop,
             down: main.scrollHeight - main.clientHeight - main.scrollTop}};
}}"""
RANGES = """place => JSON.stringify(Object.entries(document.querySelectorAll('.js-plotly-plot')[place]._fullLayout)
    .filter(([name]) => /^[xy]axis/.test(name)).map(([name, axis]) => [name, axis.range]))"""
RESTS = f"""async () => {{
    for (let last = -1; last !== {MAIN}.scrollTop; await new Promise(done => setTimeout(done, 300)))
        last = {MAIN}.scrollTop;
}}"""  # until nothing scrolls any more: a touch that stops a page does nothing else
FIRST = "() => document.querySelector('.ash-chart').getBoundingClientRect().y"


def swipe(page: Page, x: float, y: float, distance: float) -> None:
    """A finger that moves `distance` pixels down, or up where that is negative, round a point."""
    wire = page.context.new_cdp_session(page)
    start, way = y - distance / 2, STEP if distance > 0 else -STEP
    wire.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": start}]})
    for moved in range(way, round(distance) + way, way):
        point = {"x": x, "y": start + moved}
        wire.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
    wire.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


@pytest.mark.parametrize("path", PATHS)
def test_a_swipe_on_any_chart_scrolls_the_page_and_changes_nothing(reader: Visitors, path: str) -> None:
    one = reader(390, 844, touch=True).open(f"{path}{'&' if '?' in path else '?'}model=demo")
    page, query = one.page, one.query()
    if "lesson" in path:
        page.get_by_text("Read on without answering").click()
        page.get_by_text("Recap", exact=True).wait_for()
        one.ready()
    charts = page.locator(".ash-chart").count()
    assert charts
    for place in range(charts):
        at: Any = page.evaluate(AT, place)
        before, ranges = page.evaluate(f"{MAIN}.scrollTop"), page.evaluate(RANGES, place)
        room = max(at["up"], at["down"])
        distance = SWIPE if at["up"] >= at["down"] else -SWIPE  # a finger down moves the page up
        swipe(page, at["x"], at["y"], distance)
        wanted = min(0.7 * SWIPE, 0.9 * room)
        assert wanted > 50, "the page is too short to scroll"
        page.wait_for_function(
            f"([before, wanted]) => Math.abs({MAIN}.scrollTop - before) >= wanted", arg=[before, wanted], timeout=10_000
        )
        one.ready()
        assert page.evaluate(RANGES, place) == ranges
    assert one.query() == query


def test_a_finger_sideways_moves_a_slider_and_one_upward_the_page(reader: Visitors) -> None:
    one = reader(390, 844, touch=True).open("/scores?curve=scrub&model=demo&p=65")
    page = one.page

    def middle_of_the_rail() -> tuple[float, float]:
        page.locator(".slider-container").first.evaluate("rail => rail.scrollIntoView({block: 'center'})")
        rail: Any = page.locator(".slider-rail-touch-rect").bounding_box()
        return rail["x"] + rail["width"] / 2, rail["y"] + rail["height"] / 2

    x, y = middle_of_the_rail()
    frame = "document.querySelector('.js-plotly-plot')._fullLayout._currentFrame"
    before = page.evaluate(frame)
    swipe(page, x, y, SWIPE)
    page.wait_for_function(f"() => document.querySelector('.slider-container').getBoundingClientRect().y > {y} + 100")
    page.evaluate(RESTS)
    assert page.evaluate(frame) == before
    x, y = middle_of_the_rail()  # the page goes on for a while after a quick finger, and may have left it out of sight
    wire = page.context.new_cdp_session(page)
    wire.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for moved in range(10, 101, 10):
        point = {"x": x - moved, "y": y + moved / 20}
        page.wait_for_timeout(40)  # as a finger: moves that come at once are one, whose way says nothing
        wire.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
    wire.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_function(f"() => Number({frame}) < 40", polling="raf")


@pytest.mark.parametrize(("size", "most"), [((1024, 768), 520), ((390, 844), 600)], ids=["projector", "phone"])
def test_the_first_chart_of_the_home_page_is_in_sight(reader: Visitors, size: tuple[int, int], most: int) -> None:
    one = reader(*size, touch=size[0] < 500)
    for path in ("/", "/?model=demo", "/?model=densenet101_cifar10"):
        assert one.open(path).page.evaluate(FIRST) < most, path


def test_p_stands_under_the_chart_where_the_sidebar_is_a_drawer(reader: Visitors) -> None:
    phone = reader(390, 844, touch=True)
    for path in ("/", "/scores", "/activations", "/placements"):
        phone.open(f"{path}?model=demo&variant=ash_s&p=70")
        slider = phone.page.locator(".st-key-spec_p_here")
        expect(slider).to_be_visible()
        chart = phone.page.locator(".ash-chart").first.bounding_box()
        box = slider.bounding_box()
        assert chart
        assert box
        assert 0 <= box["y"] - (chart["y"] + chart["height"]) < 150, path  # the table and downloads between them
    phone.open("/?model=demo&variant=ash_s&p=70").page.locator(".st-key-spec_p_here input").focus()
    phone.page.keyboard.press("ArrowRight")
    phone.expect_query(variant="ash_s", p="71")
    wide = reader().open("/?model=demo&variant=ash_s&p=70")
    expect(wide.page.locator(".st-key-spec_p_here")).to_be_hidden()


def test_the_buttons_of_a_table_cover_nothing(reader: Visitors) -> None:
    page = reader(390, 844, touch=True).open("/library?shelf=activations").page
    above = page.get_by_text("Computed ones are in").bounding_box()
    buttons = page.get_by_test_id("stElementToolbar").first.bounding_box()
    assert above
    assert buttons
    assert above["y"] + above["height"] <= buttons["y"]


def test_no_key_is_offered_to_a_finger(reader: Visitors) -> None:
    touched = reader(390, 844, touch=True).open("/lab?variant=ash_s").page
    expect(touched.locator(".st-key-lab_next button")).to_be_visible()
    expect(touched.locator(".st-key-lab_next kbd")).to_be_hidden()
    expect(reader().open("/lab?variant=ash_s").page.locator(".st-key-lab_next kbd")).to_be_visible()
