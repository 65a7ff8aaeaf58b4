"""Weights that ship and are damaged: every page opens, says it once where numbers would be, and leads elsewhere."""

from pathlib import Path

import pytest
from app_pages import at_link, ran, texts

from app.main import ANY_TIME, SECTIONS
from ash import shipped

pytestmark = pytest.mark.slow
MODEL = "mobilenet_v2_photos"  # with sets of which activations alone ship, and those hang on the weights
PAGES = [name for pages in SECTIONS.values() for name, *_ in pages]


@pytest.fixture(autouse=True)
def damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    real = shipped.complaint

    def complaint(path: Path, sha256: str) -> str:
        return real(path, "0" * 64 if path.stem == MODEL else sha256)

    monkeypatch.setattr(shipped, "complaint", complaint)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_keeps_its_title_and_sidebar(page: str) -> None:
    app = ran(at_link(page, model=MODEL))
    assert len(app.title) == 1
    assert page == "guide" or "Model" in [one.label for one in app.selectbox]
    said = texts(app).replace("\\", "")
    if page not in ANY_TIME:
        assert "cannot be used, so nothing can be measured here yet" in said
        assert f"{MODEL}.pt is damaged" in said
        assert not app.metric


def test_another_network_is_one_choice_away() -> None:
    app = ran(at_link("tradeoff", model=MODEL))
    app.selectbox(key="spec_model").set_value("demo")
    assert [one.label for one in ran(app).metric]
