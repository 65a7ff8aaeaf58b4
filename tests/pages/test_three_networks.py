"""Every page and every view of it, on each of the networks that ship, with nothing but what ships: it works offline."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.backend import library
from app.link.options import GUIDES, LEAVES
from app.ui import texts
from tests.app_pages import open_page

pytestmark = pytest.mark.slow

NETWORKS = ("mobilenet_v2_photos", "densenet101_cifar10", "demo")
VIEWS: tuple[tuple[str, dict[str, object]], ...] = (
    ("tradeoff", {}),
    ("tradeoff", {"others": 1, "all": 1}),
    *(("scores", {"curve": curve}) for curve in ("hist", "scrub", "roc", "pr")),
    *(("activations", {"view": view}) for view in ("units", "maps", "logits")),
    ("placements", {}),
    *(("samples", {"look": look}) for look in ("story", "grid", "own")),
    *(("samples", {"look": "one", "part": part}) for part in ("percentiles", "top5", "where")),
    *(("lab", {"room": room}) for room in ("steps", "predict", "relu")),
    ("lessons", {}),
    *(("lessons", {"lesson": lesson}) for lesson in texts.lessons()),
    *(("paper", {"leaf": leaf}) for leaf in LEAVES),
    *(("library", {"shelf": shelf}) for shelf in ("models", "data", "activations")),
    *(("guide", {"guide": guide}) for guide in GUIDES[:1]),
)


@pytest.fixture(autouse=True)
def _a_fresh_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No data, no cache: what is here is what ships."""
    monkeypatch.setenv("ASH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("ASH_CACHE", str(tmp_path / "cache"))
    library.refresh()
    yield
    library.refresh()


@pytest.mark.parametrize(("page", "asked"), VIEWS, ids=lambda one: one if isinstance(one, str) else str(one))
@pytest.mark.parametrize("network", NETWORKS)
def test_every_view_works_with_what_ships(network: str, page: str, asked: dict[str, object]) -> None:
    app = open_page(page, model=network, v=1, variant="ash_s", p=80, **asked)
    said = " ".join(one.value for one in (*app.info, *app.warning))
    assert "so nothing can be measured here yet" not in said
    assert app.title or app.subheader or app.markdown
