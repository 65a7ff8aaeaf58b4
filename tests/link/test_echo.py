"""A control that was put to a value follows the session until the browser has told that it took the value over."""

import json

import pytest
from app_pages import at_link, ran, turn_to
from streamlit.testing.v1 import AppTest

from app.link import state, streamlit_private


@pytest.fixture
def app() -> AppTest:
    return ran(at_link("scores", p="50", variant="ash_p", model="demo"))


def written(app: AppTest) -> int:
    """How often values were put into controls in this session."""
    return int(app.session_state[state._WRITTEN])


def test_a_browser_that_has_everything_is_left_alone(app: AppTest) -> None:
    before = written(app)
    assert before > 0
    assert app.text_input(key=state.ECHO).value == str(before)
    ran(app)
    ran(app)
    assert written(app) == before


def test_a_control_that_the_page_before_had_too_keeps_its_value() -> None:
    app = ran(at_link("tradeoff", p="75", variant="ash_s", model="demo"))
    for page in ("scores", "activations", "tradeoff"):
        assert ran(turn_to(app, page)).slider(key="spec_p_here").value == 75
    before = written(app)
    ran(app)
    assert written(app) == before


def test_a_change_by_the_user_alone_writes_nothing(app: AppTest) -> None:
    before = written(app)
    app.slider(key="spec_p").set_value(62).run()
    assert app.session_state["spec"].p == 62
    assert written(app) == before


@pytest.mark.parametrize("told", [None, "0"])
def test_a_value_that_is_on_its_way_is_followed_by_the_newest(
    app: AppTest, monkeypatch: pytest.MonkeyPatch, told: str | None
) -> None:
    """After Back the slider was put to another value; before that arrives, the user moves it, who has the last word."""
    monkeypatch.setattr(streamlit_private, "told", lambda key: told)
    before = written(app)
    app.slider(key="spec_p").set_value(62).run()
    assert written(app) > before, "the value is sent again, behind the one that is on its way"
    assert app.session_state["spec"].p == 62
    assert app.slider(key="spec_p").value == 62


def test_what_a_control_showed_before_is_no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A threshold that is typed before the browser has the new preset comes with the old one, which is not loaded."""
    app = ran(at_link("tradeoff"))
    label, before = app.selectbox(key="preset").value, app.text_input(key=state.PUT_IN_ALL).value
    assert label
    app.selectbox(key="spec_variant").set_value("react").run()
    assert app.selectbox(key="preset").value not in (label, None)
    with monkeypatch.context() as late:
        late.setattr(streamlit_private, "told", lambda key: before)
        app.selectbox(key="preset").set_value(label)
        app.number_input(key="spec_c").set_value(2.5).run()
        assert (app.session_state["spec"].variant, app.session_state["spec"].c) == ("react", 2.5)
        assert app.selectbox(key="preset").value is None
    app.selectbox(key="preset").set_value(label).run()
    assert app.session_state["spec"].variant == "ash_s", "once it has the new one, the old one is a choice"


def test_a_control_that_was_left_out_is_no_choice() -> None:
    app = ran(at_link("scores", model="demo", method="adascale@70"))
    gone = app.slider(key="spec_other")._widget_state
    app.selectbox(key="spec_variant").set_value("ash_b").run()
    assert app.session_state["spec"].other == ""
    late = app._tree.get_widget_states()
    late.widgets.append(gone)
    app._run(late)
    assert app.session_state["spec"].other == ""
    assert not app.exception


def test_the_tick_of_a_table_that_another_has_followed_is_no_choice() -> None:
    """It tells the row that it was drawn with, or one that somebody chose meanwhile."""
    app = ran(at_link("tradeoff"))
    table = app.get_by_key("front_rows_0")
    before = list(table.value.index).index(str(app.session_state["spec"].method))
    app.selectbox(key="spec_variant").set_value("react").run()
    for row, variant in ((before, "react"), (0, table.value.index[0].partition("@")[0])):
        late = app._tree.get_widget_states()
        told = {"selection": {"rows": [row], "columns": [], "cells": []}}
        late.widgets.add(id=table.proto.id, string_value=json.dumps(told))
        app._run(late)
        assert not app.exception
        assert app.session_state["spec"].variant == variant


def test_a_value_that_arrives_late_is_no_choice(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a key is held on one slider of the percentile, the other tells what it had, then what it was put to."""
    before = app.text_input(key=state.PUT_IN_ALL).value
    monkeypatch.setattr(streamlit_private, "told", lambda key: before)
    for moved, follower in ((66, 50), (62, 50), (62, 66), (57, 62), (57, 57)):
        app.slider(key="spec_p_here").set_value(follower)
        app.slider(key="spec_p").set_value(moved).run()
        assert app.session_state["spec"].p == moved


def test_a_move_that_is_heard_after_another_page_has_begun_counts(app: AppTest) -> None:
    """Streamlit takes the key for that of the other page's control then, of which nothing is known yet."""
    app.slider(key="spec_p_here").set_value(62)
    known = app.session_state._state._state._key_id_mapper
    known.delete("spec_p_here")
    known["spec_p_here"] = "of-another-page-spec_p_here"
    app.run()
    assert not app.exception
    assert app.session_state["spec"].p == 62
    assert app.slider(key="spec_p").value == 62
