"""What the app opens with, whatever that is: the bare address means it, and every other link keeps its meaning."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import parse_qsl, urlencode

import pytest
from app_pages import at_link, ran, turn_to
from hypothesis import example, given
from hypothesis import strategies as st
from test_spec import SAVED, specs
from test_trail import moves, opened, played

from app.link import state
from app.link.picks import Pick, reduce
from app.link.spec import RunSpec, from_query, keys, to_query

ELSEWHERE = RunSpec(variant="ash_s", p=80.0)
OPENINGS = (RunSpec(), ELSEWHERE, RunSpec(model="resnet50", variant="ash_s", p=90.0, on="textures"), RunSpec(c=2.0))
openings = pytest.mark.parametrize("opening", OPENINGS, ids=lambda opening: str(to_query(opening)))


@contextmanager
def opening_with(opening: RunSpec) -> Iterator[None]:
    """As if the app opened with another view: every module that knows `OPENING` knows this one."""
    knowing = [one for name, one in list(sys.modules.items()) if name.startswith("app.") and hasattr(one, "OPENING")]
    with pytest.MonkeyPatch.context() as patch:
        for module in knowing:
            patch.setattr(module, "OPENING", opening)
        yield


def through_the_address(query: Mapping[str, str]) -> dict[str, str]:
    """A query as the browser brings it back."""
    return dict(parse_qsl(urlencode(query), keep_blank_values=True))


@openings
@given(spec=specs | st.sampled_from(OPENINGS), every=st.booleans())
@example(spec=RunSpec(), every=False)
def test_a_link_reads_back_whatever_the_app_opens_with(opening: RunSpec, spec: RunSpec, every: bool) -> None:
    with opening_with(opening):
        query = to_query(spec, every)
        assert from_query(through_the_address(query)) == (spec, [])
        assert (query == {}) is (spec == opening and not every)


@openings
@pytest.mark.parametrize("query", [{}, {"v": "1"}, {"utm_source": "mail", "nonsense": "2"}], ids=str)
def test_an_address_that_says_nothing_is_the_opening(opening: RunSpec, query: dict[str, str]) -> None:
    with opening_with(opening):
        assert from_query(query) == (opening, [])
        assert reduce(RunSpec(model="vgg", p=3.0), Pick.reset()) == opening


@openings
@given(spec=specs)
def test_a_link_is_a_difference_from_the_same_spec_for_ever(opening: RunSpec, spec: RunSpec) -> None:
    default = RunSpec()
    differs = {key.key: key.write(spec.value(name)) for name, key in keys().items()
               if spec.value(name) != default.value(name)}  # fmt: skip
    with opening_with(opening):
        if differs:
            assert from_query(differs)[0] == spec
        if spec not in (opening, default):
            assert to_query(spec) == differs


def test_the_spec_of_links_has_a_link_of_its_own_where_the_app_opens_elsewhere() -> None:
    with opening_with(ELSEWHERE):
        assert to_query(RunSpec()) == {"model": "demo"}
        assert from_query({"model": "demo"}) == (RunSpec(), [])
        assert from_query({"p": "abc"})[0] == RunSpec()  # a link with a mistake is a link, not a bare address


@openings
@pytest.mark.parametrize("saved", SAVED, ids=lambda saved: saved["link"][:60])
def test_a_saved_link_means_what_it_meant(opening: RunSpec, saved: dict[str, str]) -> None:
    query = dict(parse_qsl(saved["link"].partition("?")[2], keep_blank_values=True))
    meant = from_query(query)
    with opening_with(opening):
        assert from_query(query) == (meant if keys_in(query) else (opening, []))


def keys_in(query: Mapping[str, str]) -> set[str]:
    return {key.key for key in keys().values()} & set(query)


@openings
@pytest.mark.parametrize("link", ["", "model=demo", "p=50&variant=ash_p"])
@given(some=moves)
def test_address_and_page_agree_wherever_a_session_began(opening: RunSpec, link: str, some: list[str]) -> None:
    with opening_with(opening):
        world = played(opened(link), some)
        assert world.address == world.shown == world.spec


@openings
def test_page_links_lead_from_and_to_the_opening(opening: RunSpec) -> None:
    with opening_with(opening):
        world = opened("")
        assert world.spec == opening
        for what in ("page", "up", "page"):
            world.act(what)
            world.rest()
        moved = replace(opening, p=opening.p + 1)
        assert world.spec == world.address == moved
        world.offered = opening
        world.act("offer")  # of a bare address, from a session that has been there
        world.rest()
        assert world.spec == world.address == opening
        world.act("back")
        world.rest()
        assert world.spec == world.address == moved


@pytest.mark.slow
def test_the_app_opens_goes_on_resets_and_comes_back() -> None:
    demo = RunSpec()
    with opening_with(ELSEWHERE):
        app = ran(at_link("guide"))
        assert (app.session_state["spec"], dict(app.query_params)) == (ELSEWHERE, {})
        ran(turn_to(app, "library"))
        assert (app.session_state["spec"], dict(app.query_params)) == (ELSEWHERE, {})

        app = ran(at_link("library", model="demo"))
        assert app.session_state["spec"] == demo
        app.query_params.clear()  # what a page change by Streamlit itself does
        ran(turn_to(app, "guide"))
        assert app.session_state["spec"] == demo
        assert dict(app.query_params) == {"model": "demo"}

        next(button for button in ran(turn_to(app, "library")).button if button.label == "Reset").click()
        ran(app)
        assert (app.session_state["spec"], dict(app.query_params)) == (ELSEWHERE, {})


def test_a_pick_before_any_page_was_drawn_starts_from_the_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    session: dict[str, object] = {}
    monkeypatch.setattr(state.st, "session_state", session)
    with opening_with(ELSEWHERE):
        state.dispatch(Pick.field("on", "digits"))
    assert session["spec"] == replace(ELSEWHERE, on="digits")
