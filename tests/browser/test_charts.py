"""Charts in a real browser: a step changes what stands there, and what its user did to it stays."""

import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
from driver import Visitor
from PIL import Image
from test_picks import LONELY_MARK

from ash.methods import Method

Visitors = Callable[..., Visitor]
pytestmark = pytest.mark.browser

PLOT = "document.querySelector('.js-plotly-plot')"
RESTS = """() => {
    const { scrollTop } = document.querySelector('[data-testid=stMain]'), now = performance.now();
    if (window.lastScroll?.scrollTop !== scrollTop) window.lastScroll = { scrollTop, now };
    return now - window.lastScroll.now > 1000;
}"""
NOW = f"() => JSON.stringify([...{PLOT}._fullData.filter(one => one.name === 'current')].map(one => [one.x, one.y]))"


def test_a_step_keeps_the_node_the_zoom_and_the_legend(reader: Visitors) -> None:
    one = reader().open("/?p=40&variant=ash_s&model=demo")
    page = one.page
    page.evaluate(f"{PLOT}.scrollIntoView({{block: 'center'}})")
    page.evaluate(f"{PLOT}.isTheSame = true")
    box = page.locator(".js-plotly-plot .nsewdrag").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 3, box["y"] + box["height"] / 3)
    page.mouse.down()
    page.mouse.move(box["x"] + 2 * box["width"] / 3, box["y"] + 2 * box["height"] / 3, steps=4)
    page.mouse.up()
    page.wait_for_function(f"() => {PLOT}.layout['xaxis']?.autorange !== true && !{PLOT}.querySelector('.zoombox')")
    page.locator(".js-plotly-plot .legendtoggle").nth(1).click()
    page.wait_for_function(f"() => {PLOT}._fullData.some(one => one.visible === 'legendonly')", polling="raf")
    zoom = page.evaluate(f"() => JSON.stringify({PLOT}._fullLayout.xaxis.range)")
    before = page.evaluate(NOW)
    one.press("ArrowRight").expect_p(41)
    page.wait_for_function(f"before => ({NOW})() !== before", arg=before, polling="raf")
    assert page.evaluate(f"{PLOT}.isTheSame")
    assert page.evaluate(f"() => JSON.stringify({PLOT}._fullLayout.xaxis.range)") == zoom
    assert page.evaluate(f"() => {PLOT}._fullData.some(one => one.visible === 'legendonly')")


def test_a_step_draws_no_chart_anew(reader: Visitors) -> None:
    """Whatever else hangs on the step, as the names of files do: what is drawn stays, and so does a zoom into it."""
    one = reader()
    drawn = "[...document.querySelectorAll('.js-plotly-plot .main-svg')]"
    for path in ("/scores", "/activations", "/samples?look=one", "/samples?look=one&part=top5", "/lab?room=relu"):
        one.open(f"{path}{'&' if '?' in path else '?'}p=40&variant=ash_s&model=demo")
        count = one.page.evaluate(f"{drawn}.map(one => one.isTheSame = true).length")
        assert count, path
        one.press("ArrowRight").expect_p(41).ready()
        assert one.page.evaluate(f"{drawn}.map(one => one.isTheSame)") == [True] * count, path


def test_a_chart_offers_a_file_and_the_full_screen_and_no_upload(reader: Visitors) -> None:
    page = reader().open("/?model=demo").page
    titles = page.eval_on_selector_all(".js-plotly-plot .modebar-btn", "all => all.map(one => one.dataset.title)")
    assert any("PNG" in one or "png" in one for one in titles)
    assert "Full screen" in titles
    assert not [one for one in titles if "hare" in one or "loud" in one]
    page.locator(".js-plotly-plot").first.hover()
    with page.expect_download() as waiting:
        page.locator('.modebar-btn[data-title="Download plot as PNG"]').first.click()
    with Image.open(waiting.value.path()) as picture:
        width = page.evaluate(f"{PLOT}._fullLayout.width")
        assert (picture.format, picture.width) == ("PNG", 2 * width)
    assert waiting.value.suggested_filename == "ash-trade-off.png"
    with page.expect_download() as waiting:
        page.locator('.modebar-btn[data-title="Download plot as SVG"]').first.click()
    assert waiting.value.suggested_filename == "ash-trade-off.svg"
    drawing = ElementTree.parse(waiting.value.path()).getroot()
    assert drawing.tag.endswith("}svg")
    assert "ID accuracy (%)" in {text.strip() for text in drawing.itertext()}


def test_a_chart_is_printed_on_one_page_of_its_size_as_text(visitor: Visitors) -> None:
    """What the browser's own print dialog would save as a PDF."""
    page = visitor().open("/?model=demo").page
    page.add_init_script("window.print = () => { parent.printed = document.documentElement.outerHTML }")
    page.locator(".js-plotly-plot").first.hover()
    page.locator('.modebar-btn[data-title^="Print plot"]').first.click()
    printed = page.wait_for_function("() => window.printed").json_value()
    size = page.evaluate(f"[{PLOT}._fullLayout.width, {PLOT}._fullLayout.height]")
    paper = page.context.new_page()
    paper.goto(page.evaluate("location.origin + '/_stcore/health'"))  # whose fonts it may load
    paper.set_content(printed)
    paper.evaluate("document.fonts.ready")
    pdf = paper.pdf(prefer_css_page_size=True)
    assert len(re.findall(rb"/Type ?/Page\b", pdf)) == 1
    box = re.search(rb"/MediaBox ?\[0 0 ([\d.]+) ([\d.]+)\]", pdf)
    assert box
    assert [float(one) * 96 / 72 for one in box.groups()] == pytest.approx(size, abs=1)
    fonts = paper.evaluate("[...document.fonts].filter(one => one.status === 'loaded').map(one => one.family)")
    assert fonts == ["Source Sans"], "the one that it was laid out for"
    assert b"/Font" in pdf
    assert "ID accuracy (%)" in printed


@pytest.mark.parametrize("width", [1024, 1440])
def test_the_buttons_of_a_chart_cover_none_of_its_names(reader: Visitors, width: int) -> None:
    page = reader(width, 768).open("/?model=demo").page
    page.locator(".js-plotly-plot .nsewdrag").hover(position={"x": 30, "y": 200})
    covered = page.evaluate("""() => {
        const bar = document.querySelector('.modebar').getBoundingClientRect();
        const beside = one => one.right < bar.left || one.left > bar.right;
        const apart = one => beside(one) || one.bottom < bar.top || one.top > bar.bottom;
        const all = [...document.querySelectorAll('.legend .traces, .annotation-text, .xtick, .ytick')];
        return [all.length, all.filter(one => !apart(one.getBoundingClientRect())).length];
    }""")
    assert covered[0] > 10
    assert covered[1] == 0


def test_a_chart_is_as_wide_as_its_place(visitor: Visitors) -> None:
    one = visitor().open("/?model=demo")
    page = one.page
    wide = page.evaluate(f"{PLOT}._fullLayout.width")
    page.set_viewport_size({"width": 900, "height": 800})
    page.wait_for_function(f"wide => {PLOT}._fullLayout.width < wide", arg=wide, polling="raf")
    chart = page.locator(".ash-chart").first
    assert chart.get_attribute("aria-label")
    box = chart.bounding_box()
    assert box
    assert abs(page.evaluate(f"{PLOT}._fullLayout.width") - box["width"]) <= 1


def test_a_swipe_on_a_chart_scrolls_the_page_and_a_tap_loads_a_mark(reader: Visitors) -> None:
    one = reader(390, 844, touch=True).open("/?p=33&variant=ash_p&model=demo")
    page = one.page
    page.evaluate(f"{PLOT}.scrollIntoView({{block: 'center'}})")
    assert page.locator(".js-plotly-plot .modebar-btn").count() == 0
    box = page.locator(".js-plotly-plot .nsewdrag").bounding_box()
    assert box
    main = "document.querySelector('[data-testid=stMain]').scrollTop"
    before, x, y = page.evaluate(main), box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.5
    wire = page.context.new_cdp_session(page)
    for kind, down in (("touchStart", 0), *(("touchMove", down) for down in range(20, 201, 20)), ("touchEnd", None)):
        points = [] if down is None else [{"x": x, "y": y + down}]
        wire.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    page.wait_for_function(f"before => {main} < before - 100", arg=before, polling="raf")
    one.ready().expect_query(p="33", variant="ash_p", model="demo")
    page.wait_for_function(RESTS, polling="raf")  # a tap on a page that still moves stops it, and is no click
    page.evaluate(f"{PLOT}.scrollIntoView({{block: 'center'}})")
    mark: Any = page.evaluate(LONELY_MARK, "33")
    assert mark, "no mark stands alone"
    page.touchscreen.tap(mark["x"], mark["y"])
    one.expect_p(round(Method.parse(mark["id"]).parameter or 0))


def test_a_films_own_slider_and_play_go_on_from_the_percentile_of_the_last_step(reader: Visitors) -> None:
    one = reader()
    page = one.page
    for _ in range(2):  # the second time all code is there: steps overtake each other
        one.open("/scores?curve=scrub&model=demo&p=65").press("ArrowRight", times=4).expect_p(69).ready()
        assert page.locator(".js-plotly-plot .slider-label").first.text_content() == "p = 69"
    page.wait_for_selector(".js-plotly-plot .slider-rail-touch-rect", state="attached")
    rail = page.locator(".js-plotly-plot .slider-rail-touch-rect").bounding_box()
    assert rail
    page.mouse.click(rail["x"] + 0.2 * rail["width"], rail["y"] + rail["height"] / 2)
    page.wait_for_function(f"() => Number({PLOT}._fullLayout._currentFrame) < 60", polling="raf")
    one.press("ArrowRight").expect_p(70)
    page.wait_for_function(f"() => {PLOT}._fullLayout._currentFrame === '70'", polling="raf")
