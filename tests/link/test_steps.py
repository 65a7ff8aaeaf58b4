"""The run of a step of the percentile: the chart goes first, and alone; any other run begins with the controls."""

import pytest
from app_pages import open_page
from streamlit.testing.v1 import AppTest

from app import sidebar
from app.link import state
from app.ui import plot

Order = list[str]


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> Order:
    """What is drawn, in its order: the controls, charts, and a pause after one."""
    seen: Order = []
    for where, name, word in ((sidebar, "draw", "controls"), (plot.chart, "mount", "chart"), (state.time, "sleep", "")):
        real = getattr(where, name)

        def drawn(*given: object, real: object = real, word: str = word, **named: object) -> object:
            if word or given == (state.ALONE,):
                seen.append(word or "pause")
            return real(*given, **named)  # type: ignore[operator]

        monkeypatch.setattr(where, name, drawn)
    return seen


def moved(app: AppTest, order: Order, p: int) -> AppTest:
    order.clear()
    app.slider(key="spec_p").set_value(p).run()
    assert not app.exception
    assert app.query_params["p"] == str(p)
    return app


@pytest.mark.parametrize("page", ["tradeoff", "scores", "activations"])
def test_a_step_sends_its_chart_first_and_all_the_rest_after_it(page: str, order: Order) -> None:
    app = open_page(page, model="demo", variant="ash_s", p=60)
    assert order[0] == "controls"
    assert "pause" not in order
    for p in (61, 75):
        moved(app, order, p)
        assert order[:2] == ["chart", "pause"]
        assert order.count("pause") == 1
        assert order[-1] == "controls"
    assert order.count("controls") == 1


def test_any_other_run_begins_with_the_controls(order: Order) -> None:
    app = open_page("scores", model="demo", variant="ash_s", p=60)
    for change in (
        lambda: app.selectbox(key="spec_variant").set_value("ash_b"),
        lambda: app.slider(key="spec_tpr").set_value(90.0),
        lambda: app,
    ):
        order.clear()
        change().run()
        assert not app.exception
        assert order[0] == "controls"
        assert "pause" not in order
    moved(app, order, 62)
    assert order[0] == "chart"


def test_a_step_where_a_setting_has_to_be_measured_begins_with_the_controls(order: Order) -> None:
    app = open_page("scores", model="demo", placement="layer3.0.relu2", variant="ash_s", p=60)
    moved(app, order, 61)
    assert order[0] == "controls"
