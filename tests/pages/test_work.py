"""Long work on pages: it goes on after a click, survives what others finish, and fails once."""

from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
import streamlit as st
from app_pages import at_link
from streamlit.runtime.scriptrunner_utils.exceptions import StopException
from streamlit.testing.v1 import AppTest

from app.backend import banks, deep, setups
from app.link.spec import RunSpec
from app.ui import work
from ash.errors import AshError

DEEP = "layer3.0.relu2"


def step(done: int, total: int = 4, **more: Any) -> banks.Step:
    return banks.Step("Digits", done, total, 0.0, float("inf"), **more)


def steps(closed: list[str], error: BaseException | None = None) -> Generator[banks.Step, None, None]:
    try:
        yield step(1)
        if error is not None:
            raise error
        yield step(2)
    finally:
        closed.append("closed")


def test_work_that_is_done_says_so() -> None:
    closed, failed, seen = list[str](), list[str](), list[int]()
    assert work.take(steps(closed), lambda one: seen.append(one.done), lambda: failed.append("failed"))
    assert (seen, closed, failed) == ([1, 2], ["closed"], [])


def test_work_for_a_moment_is_closed_after_it() -> None:
    closed = list[str]()
    assert not work.take(steps(closed), lambda _: None, lambda: pytest.fail("nothing failed"), seconds=0)
    assert closed == ["closed"]


@pytest.mark.parametrize("error", [AshError("full"), OSError("full"), RuntimeError("a bug"), MemoryError()])
def test_what_a_step_raises_ends_the_work_and_goes_on_to_the_boundary(error: Exception) -> None:
    closed, failed = list[str](), list[str]()
    with pytest.raises(type(error)):
        work.take(steps(closed, error), lambda _: None, lambda: failed.append("failed"))
    assert (closed, failed) == (["closed"], ["failed"])


def test_a_run_that_is_interrupted_closes_the_work_and_does_not_end_it() -> None:
    closed = list[str]()

    def interrupted(_: banks.Step) -> None:
        raise StopException

    with pytest.raises(StopException):
        work.take(steps(closed), interrupted, lambda: pytest.fail("it goes on in the next run"))
    assert closed == ["closed"]


def test_words_name_who_is_waited_for_and_show_no_markdown() -> None:
    assert work.words(banks.Step("Digits", 4200, 16000, 310.4, 38.0)) == (
        "Digits: 4,200 of 16,000 images, 310 a second, 38 s left"
    )
    text = work.words(step(1, by="process 12 on node_7"), "settings").replace("\\", "")
    assert "1 of 4 settings" in text
    assert "process 12 on node_7" in text


@pytest.mark.parametrize(("done", "total", "share"), [(1, 4, 0.25), (0, 0, 0.0), (5, 4, 1.0), (1, None, 0.0)])
def test_shares_stay_between_none_and_all(done: int, total: int | None, share: float) -> None:
    assert work.share(done, total) == share


# On pages


def opened(page: str = "tradeoff", **query: object) -> AppTest:
    return at_link(page, **{"placement": DEEP, "ood": "digits", **query})


def label(app: AppTest, key: str) -> str | None:
    return next((one.label for one in app.button if one.key == key), None)


def play(monkeypatch: pytest.MonkeyPatch, end: Callable[[], None]) -> list[setups.Setup]:
    """Extraction as a play that ends its script run in the middle."""
    calls = list[setups.Setup]()

    def compute(at: setups.Setup) -> Iterator[banks.Step]:
        calls.append(at)
        yield step(1)
        end()

    monkeypatch.setattr(banks, "compute_banks", compute)
    return calls


@pytest.mark.slow
def test_computing_goes_on_when_a_bank_of_somebody_elses_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    compute = banks.compute_banks
    calls = play(monkeypatch, st.stop)
    app = opened(n=81).run()
    app.button(key="prepare_button").click().run()
    assert label(app, "prepare_button") == "Cancel"
    other = setups.setup(RunSpec(placement=DEEP, images=81, ood=("noise",)))
    list(compute(other))  # a job of the Library, of this session or of another
    setups.look_again()
    app.run()
    assert label(app, "prepare_button") == "Cancel"
    assert len(calls) == 2
    assert calls[0] == calls[1]


@pytest.mark.slow
def test_computing_is_void_at_another_placement(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = play(monkeypatch, st.stop)
    app = opened(n=82).run()
    app.button(key="prepare_button").click().run()
    app.selectbox(key="spec_placement").select("layer4.0.relu2").run()
    assert label(app, "prepare_button") == "Compute"
    assert len(calls) == 1


@pytest.mark.slow
@pytest.mark.parametrize("error", [AshError("The disk is full."), RuntimeError("a bug")])
def test_a_failure_of_an_extraction_is_shown_once_and_not_begun_again(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail() -> None:
        raise error

    calls = play(monkeypatch, fail)
    app = opened(n=83).run()
    app.button(key="prepare_button").click().run()
    assert len(app.error) == 1
    app.run()
    assert not app.error
    assert label(app, "prepare_button") == "Compute"
    assert len(calls) == 1


@pytest.mark.slow
@pytest.mark.parametrize("page", ["tradeoff", "scores"])
def test_a_failure_at_a_deep_tail_is_shown_once_and_waits_for_a_click(
    page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(banks.compute_banks(setups.setup(RunSpec(placement=DEEP, images=84, ood=("digits",)))))
    begun = list[tuple[str, ...]]()

    def broken(at: setups.Setup, methods: tuple[str, ...]) -> Iterator[Any]:
        begun.append(methods)
        raise AshError("The disk is full.")
        yield

    with monkeypatch.context() as patch:
        patch.setattr(deep, "start", broken)
        app = opened(page, n=84, p={"tradeoff": 31, "scores": 32}[page]).run()
        assert [one.value for one in app.error] == ["The disk is full."]
        app.run()
        assert not app.error
        assert label(app, "deep_button") == "Go on"
        assert len(begun) == 1
    app.get_by_key("deep_button").click().run()
    assert not app.error
    assert label(app, "deep_button") != "Go on"
