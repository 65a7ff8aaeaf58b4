"""Charts that move in the browser: what is moved to another percentile is what the page would draw there."""

from typing import Any

import pytest
from app_pages import at_demo, at_link, figure, ran, sent
from film_reader import differences, moved, plain
from starlette.applications import Starlette
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest

from app.serving import films
from ash.bank import BankError

MOST_BYTES = 2**20  # of a film before it is packed
# page, key of the chart, link; each at percentiles on and between the marks of the sweep
CHARTS = [
    ("tradeoff", "pareto", {"variant": "ash_s"}),
    ("tradeoff", "pareto", {"variant": "ash_p", "budget": "1", "x": "fpr95"}),
    ("scores", "scores_hist", {"variant": "ash_s"}),
    ("scores", "scores_hist", {"variant": "ash_b", "axis": "raw", "set": "letters"}),
    ("scores", "scores_hist", {"variant": "ash_p", "axis": "rank"}),
    ("activations", "activations_curve", {"variant": "ash_s"}),
    ("activations", "activations_curve", {"variant": "ash_b", "source": "digits", "sample": "5"}),
    ("activations", "activations_values", {"variant": "ash_s"}),
    ("activations", "activations_values", {"variant": "ash_p", "set": "noise"}),
    ("activations", "activations_quantity", {"variant": "ash_s"}),
]


def test_what_a_film_lacks_by_now_is_said_and_what_breaks_it_is_a_bug() -> None:
    def gone() -> bytes:
        raise BankError("There is no bank any more.")

    def broken() -> bytes:
        raise KeyError("a bug")

    browser = TestClient(Starlette(routes=films.routes()), raise_server_exceptions=False)
    answer = browser.get(f"/{films.offer(gone)}")
    assert (answer.status_code, answer.text) == (503, "There is no bank any more.")
    assert answer.headers["cache-control"] == "no-store"
    assert browser.get(f"/{films.offer(broken)}").status_code == 500


@pytest.mark.slow
@pytest.mark.parametrize(("page", "key", "link"), CHARTS)
def test_a_chart_moved_in_the_browser_is_the_one_the_page_draws(page: str, key: str, link: dict[str, str]) -> None:
    app = at_demo(page)
    for name, value in link.items():
        app.query_params[name] = value
    ran(app, p=41)
    start, live = plain(figure(app, key)), sent(app, key)["live"]
    found = films.block(live["film"].rsplit("/", 1)[1])
    assert found
    assert len(found) < MOST_BYTES
    assert live["p"] == 41
    assert differences(moved(start, found, 41), start) == []
    for p in (0, 40, 66, 99):
        ran(app, p=p)
        assert sent(app, key)["live"] == {**live, "p": p}
        assert differences(moved(start, found, p), plain(figure(app, key))) == []


def places(app: AppTest) -> dict[str, tuple[int, ...]]:
    """Where the charts stand on the page: of each the steps from a block to a part of it."""
    found = {}

    def look(block: Any, way: tuple[int, ...]) -> None:
        for index, child in block.children.items():
            if child.type == "bidi_component" and child.proto.component_name == "ash_chart":
                found[child.proto.id] = (*way, index)
            elif hasattr(child, "children"):
                look(child, (*way, index))

    look(app.main, ())
    return found


@pytest.mark.parametrize("page", ["tradeoff", "scores", "activations"])
def test_a_chart_keeps_its_place_where_a_doubt_comes_and_goes(page: str) -> None:
    """Where its place is another one, Streamlit takes it away and makes a new one, when steps come fast."""
    app = ran(at_link(page, model="demo", variant="ash_s", p=42))
    assert any(":material/help:" in one.value for one in app.caption)
    before = places(app)
    assert before
    ran(app, model="demo", variant="ash_s", p=45)
    assert not any(":material/help:" in one.value for one in app.caption)
    assert places(app) == before
