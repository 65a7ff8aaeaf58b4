"""Placements and Library in a real browser: a click on a cell, the shelves, and what a missing network says."""

from collections.abc import Callable
from typing import Any

import pytest
from driver import Visitor
from playwright.sync_api import expect

Visitors = Callable[..., Visitor]
pytestmark = pytest.mark.browser

# The middle of the bar of the grid whose id is wanted, on the screen.
CELL = """wanted => {
  const plot = document.querySelector('.st-key-placements_grid .js-plotly-plot');
  plot.scrollIntoView({block: 'center'});
  const bars = [...plot.querySelectorAll('.bars .trace')];
  for (const [curve, trace] of plot._fullData.entries()) {
    const custom = plot.data[curve].customdata ?? [];
    for (let i = 0; i < custom.length; i++) {
      const id = Array.isArray(custom[i]) ? custom[i][0] : custom[i];
      if (id !== wanted) continue;
      const point = plot.calcdata[curve].find(one => one.i === i || one.p === trace.x[i]) ?? plot.calcdata[curve][i];
      const box = plot.getBoundingClientRect();
      const xaxis = plot._fullLayout[trace.xaxis === 'x' ? 'xaxis' : 'xaxis' + trace.xaxis.slice(1)];
      const yaxis = plot._fullLayout[trace.yaxis === 'y' ? 'yaxis' : 'yaxis' + trace.yaxis.slice(1)];
      return {x: box.left + (point.x0 + point.x1) / 2 || box.left + xaxis._offset + xaxis.l2p(point.p),
              y: box.top + yaxis._offset + (yaxis.l2p(point.s0 ?? 0) + yaxis.l2p(point.s1 ?? point.s)) / 2};
    }
  }
}"""


def test_a_click_on_a_cell_loads_the_method_at_its_placement(reader: Visitors) -> None:
    one = reader().open("/placements?model=demo")
    one.page.wait_for_selector(".st-key-placements_grid .js-plotly-plot .bars .point")
    place: Any = one.ready().page.evaluate(CELL, "penultimate ash_b@80")
    assert place, "the grid has no such cell"
    one.page.mouse.click(place["x"], place["y"])
    one.expect_query(p="80").expect_p(80)
    one.link("Trade-off").title("Trade-off").expect_p(80).expect_query(p="80")


def test_the_library_opens_on_the_shelf_of_the_link_and_leads_to_a_model(reader: Visitors) -> None:
    one = reader().open("/library?shelf=data")
    expect(one.page.get_by_role("radio", name="Data sets")).to_be_checked()
    one.page.get_by_role("radio", name="Models").click()
    one.expect_query(model="demo")
    one.ready().page.get_by_role("button", name="Explore").click()
    one.title("Trade-off").expect_p(65)


def test_a_missing_network_says_what_to_fetch(reader: Visitors) -> None:
    one = reader().open("/scores?model=densenet101_cifar100")
    one.title("Scores")
    expect(one.page.get_by_text("python -m ash fetch densenet101_cifar100")).to_be_visible()
    expect(one.page.get_by_test_id("stException")).to_have_count(0)
    one.page.get_by_role("link", name="Open the Library").click()
    one.title("Library").expect_query(model="densenet101_cifar100")
