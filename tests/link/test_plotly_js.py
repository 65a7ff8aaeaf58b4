"""The program of the charts: it is the explorer's own, of the version that figures are checked against."""

import re
from collections.abc import Iterator
from pathlib import Path

import plotly
import pytest
from app_pages import at_demo
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.serving import plotly_js as program
from ash.errors import AshError

HARMS = {
    "flipped": lambda whole: whole[:9000] + bytes([whole[9000] ^ 1]) + whole[9001:],
    "truncated": lambda whole: whole[: len(whole) // 2],
    "empty": lambda _: b"",
    "gone": lambda _: None,
}


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The program's file, in a copy that nobody has used."""
    path = tmp_path / program.FILE.name
    path.write_bytes(program.FILE.read_bytes())
    monkeypatch.setattr(program, "FILE", path)
    program.packed.cache_clear()
    yield path
    program.packed.cache_clear()


def test_it_is_of_the_version_that_checks_the_figures_and_its_address_says_so() -> None:
    (version,) = re.findall(r"plotly\.js \(cartesian - minified\) v([\d.]+)", program.text())
    checks = re.search(r"plotly\.js v([\d.]+)", plotly.offline.get_plotlyjs()[:300])
    assert checks
    assert version == checks[1]
    assert version in program.ADDRESS
    assert "MIT" in (program.FILE.parent / "LICENSE").read_text()


@pytest.mark.parametrize("harm", list(HARMS))
def test_a_damaged_one_is_never_sent_and_one_sentence_says_how_to_get_it_again(copy: Path, harm: str) -> None:
    whole = copy.read_bytes()
    left = HARMS[harm](whole)
    copy.unlink() if left is None else copy.write_bytes(left)
    browser = TestClient(Starlette(routes=program.routes()))
    for encoding in ("gzip", "identity"):
        answer = browser.get(program.path(program.ADDRESS), headers={"Accept-Encoding": encoding})
        assert (answer.status_code, answer.headers["cache-control"]) == (503, "no-store")
        assert answer.headers["content-type"].startswith("text/plain")
    with pytest.raises(AshError, match=r"plotly-cartesian.*git checkout -- assets/plotly"):
        program.text()
    copy.write_bytes(whole)
    answer = browser.get(program.path(program.ADDRESS))
    assert (answer.status_code, answer.text) == (200, program.text())
    assert "immutable" in answer.headers["cache-control"]


@pytest.mark.parametrize("harm", ["truncated", "gone"])
def test_a_page_with_a_chart_says_it(copy: Path, harm: str) -> None:
    left = HARMS[harm](copy.read_bytes())
    copy.unlink() if left is None else copy.write_bytes(left)
    app = at_demo("scores").run()
    assert not app.exception
    (said,) = (one.value for one in app.error)
    assert "plotly" in said
    assert "`git checkout -- assets/plotly`" in said
