"""A network with so much that its settings take long: a first look, the rest in steps that are stopped and resumed."""

from collections.abc import Iterator

import numpy as np
import pytest
from app_pages import at_link, charts, figure, forget_plugins, open_page, ran, sent, texts
from features_folder import ROWS, write_folder

from app.backend import engine, evaluations, grids, provenance, setups
from app.link.spec import RunSpec
from ash import plugins

NAME = "large_folder"
LINK = {"model": NAME, "variant": "ash_s", "p": "65"}
SPEC = RunSpec(model=NAME, variant="ash_s", p=65.0)


@pytest.fixture(autouse=True)
def at(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[setups.Setup]:
    """A folder of features that counts as large, of which nothing is measured yet."""
    path = tmp_path_factory.mktemp("features") / NAME
    write_folder(path)
    monkeypatch.setenv(plugins.VARIABLE, str(path))
    monkeypatch.setenv("ASH_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(evaluations, "AT_ONCE", 1000)
    monkeypatch.setattr(grids, "FIRST_IMAGES", ROWS // 2)
    forget_plugins()
    yield setups.setup(SPEC)
    monkeypatch.undo()
    forget_plugins()


def test_a_first_look_then_all_of_it(at: setups.Setup) -> None:
    app = at_link("tradeoff", **LINK)
    app.session_state["grid_stopped"] = at, "energy"
    ran(app)
    assert f"on {ROWS // 2} rows of each set" in texts(app)
    assert [trace for trace in figure(app, "first_look")["data"] if trace["name"] == "ASH-S"]
    assert provenance.provenance(SPEC)["device"], "says where, and measures nothing for it"
    assert not evaluations.has_grid(at, "energy")
    app.button(key="grid_button").click().run()
    assert not app.exception
    assert "first look" not in texts(app)
    assert "highest AUROC" in texts(app)
    assert sent(app, "pareto")
    assert evaluations.has_grid(at, "energy")


@pytest.mark.parametrize("method", ["knn", "odin", "react@90%+ash_s@80:msp"])
def test_whatever_is_loaded_has_a_first_look(at: setups.Setup, method: str) -> None:
    """A score that is fitted, one that looks at perturbed images, a method of several steps and another score."""
    app = at_link("tradeoff", **LINK, method=method)
    app.session_state["grid_stopped"] = at, "energy"
    ran(app)
    assert figure(app, "first_look")["data"] or "cannot be shown yet" in texts(app)


def test_other_pages_do_not_wait_for_it(at: setups.Setup) -> None:
    assert charts(open_page("scores", **LINK))
    assert not evaluations.has_grid(at, "energy")


@pytest.mark.parametrize(("page", "more"), [("lessons", {"lesson": "pruning"}), ("paper", {"leaf": "figure2"})])
def test_what_is_about_every_setting_measures_it_first(at: setups.Setup, page: str, more: dict[str, str]) -> None:
    app = at_link(page, **LINK, **more)
    app.session_state["grid_stopped"] = at, "energy"
    ran(app)
    assert not charts(app)
    app.button(key="grid_button").click().run()
    assert not app.exception
    assert evaluations.has_grid(at, "energy")


def test_the_steps_go_on_where_they_stopped_and_give_the_same(
    at: setups.Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = evaluations.grid_methods(at, "energy")
    once = engine.fresh(at, methods)
    first = grids.steps(at, "energy")
    begun = next(first)
    assert 0 < begun.done < begun.total
    first.close()
    assert next(grids.steps(at, "energy")).done > begun.done
    monkeypatch.setattr(grids, "kept", lambda *_: False)  # a cache that cannot be written
    last = list(grids.steps(at, "energy"))[-1]
    assert last.done == last.total
    np.testing.assert_array_equal(evaluations.grid(at, "energy").id_scores, once.id_scores)
    assert not list(grids.steps(at, "energy"))


def test_what_breaks_a_step_is_begun_anew(at: setups.Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(grids, "start", lambda *_: iter(()))
        with pytest.raises(StopIteration):
            grids._advance(at, "energy", (), grids._work(at, "energy"))
    assert list(grids.steps(at, "energy"))[-1].left == 0
