"""A click on a mark of the trade-off loads that method on every page."""

from collections.abc import Callable
from typing import Any

import pytest
from driver import Visitor
from playwright.sync_api import expect

from ash.methods import Method

Visitors = Callable[..., Visitor]
pytestmark = pytest.mark.browser

# A mark that stands alone (no other mark within 12 pixels) and shapes with another percentile than the one in use.
LONELY_MARK = """now => {
  const plot = document.querySelector('.js-plotly-plot'), {xaxis, yaxis} = plot._fullLayout;
  const box = plot.getBoundingClientRect(), marks = [];
  plot._fullData.forEach((trace, curve) => {
    if (!trace.visible || !trace.mode?.includes('markers')) return;
    trace.x.forEach((x, i) => {
      const custom = plot.data[curve].customdata, px = xaxis.l2p(x), py = yaxis.l2p(trace.y[i]);
      const id = custom && (Array.isArray(custom[i]) ? custom[i][0] : custom[i]);
      if (px > 4 && py > 4 && px < xaxis._length - 4 && py < yaxis._length - 4)
        marks.push({id, x: box.left + xaxis._offset + px, y: box.top + yaxis._offset + py});
    });
  });
  const far = (a, b) => a === b || Math.hypot(a.x - b.x, a.y - b.y) > 12;
  return marks.find(one => /^ash_[pbs]@/.test(one.id) && !one.id.endsWith('@' + now) && marks.every(b => far(one, b)));
}"""


def expect_method(one: Visitor, method: Method) -> None:
    """The controls and the address say this method."""
    one.page.wait_for_function(
        "wanted => { const query = new URLSearchParams(location.search);"
        " return (query.get('variant') ?? wanted[0]) === wanted[0] && (query.get('p') ?? wanted[1]) === wanted[1] }",
        arg=[method.variant, f"{method.parameter:g}"],
        polling="raf",
    )
    one.expect_p(round(method.parameter or 0))
    label = method.label.split(" @ ")[0]
    expect(one.page.get_by_role("combobox", name="Variant")).to_have_value(f"{sign(method)} {label}")


def sign(method: Method) -> str:
    """The sign in front of a variant's name."""
    from app.theme import MARKS

    return MARKS[method.variant].sign


def test_a_click_on_a_mark_loads_it_on_every_page(reader: Visitors) -> None:
    one = reader().open("/?p=33&variant=ash_p")
    one.page.wait_for_selector(".js-plotly-plot .points path")
    one.ready().page.evaluate("document.querySelector('.js-plotly-plot').scrollIntoView({block: 'center'})")
    mark: Any = one.page.evaluate(LONELY_MARK, "33")
    assert mark, "no mark stands alone"
    one.page.mouse.move(mark["x"], mark["y"])
    expect(one.page.locator(".hoverlayer .hovertext").first).to_be_visible()
    one.page.mouse.click(mark["x"], mark["y"])
    expect_method(one, Method.parse(mark["id"]))
    for title in ("Scores", "Activations"):
        one.link(title).title(title).ready()
        expect_method(one, Method.parse(mark["id"]))
    one.back()
    one.title("Scores").back()
    one.title("Trade-off").ready()
    expect_method(one, Method.parse(mark["id"]))
    one.back()
    one.expect_query(p="33", variant="ash_p").expect_p(33)
