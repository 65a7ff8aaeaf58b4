"""A held arrow key or a dragged slider moves the charts without the server, which hears of the value at the end."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from bursts import agreement
from driver import Visitor
from playwright.sync_api import expect

Visitors = Callable[..., Visitor]
pytestmark = pytest.mark.browser

FILMS = """count => performance.getEntriesByType('resource')
    .filter(one => one.name.includes('/charts/films/') && one.responseEnd).length >= count"""
READOUTS = "() => [...document.querySelectorAll('.ash-readout')].map(one => one.textContent).filter(Boolean)"
ASKED = "() => runs.asked"
# What is drawn of a chart, but for labels beside marks (`textpoint`), which make room when the movement rests.
PICTURE = """place => {
    const plot = document.querySelectorAll('.js-plotly-plot')[place];
    const all = query => [...plot.querySelectorAll(query)].filter(one => !one.closest('[style*="display: none"]'));
    const paths = (query, name) => all(query).map(one => one.getAttribute(name)).filter(one => one && one !== 'M0,0Z');
    return {
        bars: paths('.bars .point path', 'd'), lines: paths('.js-line', 'd'), fills: paths('.js-fill', 'd'),
        marks: paths('.trace:not(:has(.textpoint)) .points path.point', 'transform'),
        notes: paths('.annotation .cursor-pointer', 'transform'), over: paths('.shapelayer path', 'd'),
        texts: all('.annotation-text').map(one => one.textContent),
        legend: all('.legendtext').map(one => one.textContent),
    };
}"""
# One step of a held key, and the picture as soon as it is painted.
STEP = f"""async place => {{
    const said = {READOUTS}, input = document.querySelector('.st-key-spec_p input[type=range]');
    const event = {{key: 'ArrowRight', bubbles: true, cancelable: true}}, before = said().join();
    input.dispatchEvent(new KeyboardEvent('keydown', event));
    while (said().join() === before) await new Promise(done => setTimeout(done, 0));
    return ({PICTURE})(place);
}}"""


def come_near(one: Visitor, charts: int) -> Visitor:
    """Put the focus on the slider, and wait until the films of the page's charts have come."""
    one.ready().slider.focus()
    one.page.wait_for_function(FILMS, arg=charts, polling="raf")
    return one.ready()


def hold(one: Visitor, start: int, steps: int, charts: int) -> None:
    """Hold the right arrow key; every step is waited for at every chart."""
    for p in range(start + 1, start + steps + 1):
        one.page.keyboard.down("ArrowRight")  # repeated, it is a key that is held
        one.page.wait_for_function(
            f"([p, charts]) => {{ const said = ({READOUTS})();"
            " return said.length === charts && said.every(one => one === `p = ${p} %`) }",
            arg=[p, charts],
            polling="raf",
        )


@pytest.mark.parametrize(("path", "charts"), [("/", 1), ("/scores", 1), ("/activations", 3)])
def test_a_held_key_moves_the_charts_and_the_server_hears_of_the_end(reader: Visitors, path: str, charts: int) -> None:
    one = come_near(reader().open(f"{path}?p=41&variant=ash_s&model=demo"), charts)
    page = one.page
    page.evaluate("document.querySelectorAll('.js-plotly-plot').forEach(plot => { plot.isTheSame = true })")
    asked = page.evaluate(ASKED)
    hold(one, 41, 6, charts)
    assert page.evaluate(ASKED) == asked
    page.keyboard.up("ArrowRight")
    one.expect_query(p="47", variant="ash_s").expect_p(47).ready()
    assert page.evaluate(ASKED) == asked + 1
    assert page.evaluate(READOUTS) == []
    assert page.evaluate("[...document.querySelectorAll('.js-plotly-plot')].every(plot => plot.isTheSame)")
    expect(page.locator(".ash-announced")).to_contain_text("47")
    assert agreement(one) == ""


@pytest.mark.parametrize(
    ("path", "place", "charts"),
    [
        ("/?variant=ash_s&p=61", 0, 1),
        ("/scores?variant=ash_s&p=61&set=noise", 0, 1),
        ("/activations?variant=ash_p&p=61", 0, 3),
        ("/activations?variant=ash_p&p=61", 1, 3),
    ],
)
def test_what_is_painted_is_what_the_server_has_drawn(reader: Visitors, path: str, place: int, charts: int) -> None:
    one = come_near(reader().open(f"{path}&model=demo"), charts)
    painted = one.page.evaluate(STEP, place)
    one.page.keyboard.up("ArrowRight")
    one.slider.dispatch_event("keyup", {"key": "ArrowRight"})
    one.expect_p(62).ready()
    drawn = one.page.evaluate(PICTURE, place)
    assert painted["texts"] == drawn["texts"]
    assert painted["legend"] == drawn["legend"]
    assert sum(map(len, drawn.values())) > 5
    for kind in ("bars", "lines", "fills", "marks", "notes", "over"):
        assert apart(painted[kind], drawn[kind]) <= 1.5, kind


def apart(one: list[str], two: list[str]) -> float:
    """How many pixels two lists of paths are apart at most; infinite where they are not made alike."""
    assert len(one) == len(two)
    return max((_far(*pair) for pair in zip(one, two, strict=True)), default=0.0)


def _far(one: str, two: str) -> float:
    first, second = points(one), points(two)
    if len(first) == len(second):
        return max((abs(a - b) for a, b in zip(first, second, strict=True)), default=0.0)
    return max(  # Plotly leaves out points that lie on a line
        (min(abs(a - c) + abs(b - d) for c, d in _pairs(first)) for a, b in _pairs(second)), default=0.0
    )


def points(path: str) -> list[float]:
    """x and y in turn along a path of M, L, H, V and Z, or of a translation."""
    x = y = 0.0
    found: list[float] = []
    for letter, numbers in re.findall(r"([MLHVZ(])([-\d.,e ]*)", path):
        values = [float(value) for value in re.findall(r"-?[\d.]+(?:e-?\d+)?", numbers)]
        if letter == "H":
            x = values[0]
        elif letter == "V":
            y = values[0]
        elif letter != "Z":
            x, y = values
        found += [x, y]
    return found


def _pairs(values: list[float]) -> list[tuple[float, float]]:
    return list(zip(values[::2], values[1::2], strict=True))


def test_a_dragged_slider_moves_the_chart_and_tells_the_server_once(reader: Visitors) -> None:
    one = come_near(reader().open("/scores?p=41&variant=ash_s&model=demo"), 1)
    page = one.page
    thumb: Any = page.locator(".st-key-spec_p [data-testid=stSliderThumbValue]").locator("..").bounding_box()
    x, y = thumb["x"] + thumb["width"] / 2, thumb["y"] + thumb["height"] / 2
    asked = page.evaluate(ASKED)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 40, y, steps=8)
    page.wait_for_function(f"() => ({READOUTS})().length === 1", polling="raf")
    now = int(one.slider.input_value())
    assert now > 45
    page.wait_for_function(f"p => ({READOUTS})()[0] === `p = ${{p}} %`", arg=now, polling="raf")
    assert page.evaluate(ASKED) == asked
    page.mouse.up()
    one.expect_query(p=str(now), variant="ash_s").ready()
    assert page.evaluate(ASKED) == asked + 1
    assert agreement(one) == ""


def test_a_movement_that_is_left_ends_where_it_is(reader: Visitors) -> None:
    """Another control is taken while the key is down: its key up goes elsewhere."""
    one = come_near(reader().open("/scores?p=41&variant=ash_s&model=demo"), 1)
    hold(one, 41, 3, 1)
    one.page.get_by_role("combobox", name="Variant").click()
    one.page.get_by_role("option", name="ASH-P").click()
    one.page.keyboard.up("ArrowRight")
    one.expect_query(p="44", variant="ash_p").expect_p(44).ready()
    assert one.page.evaluate(READOUTS) == []
    assert agreement(one) == ""
