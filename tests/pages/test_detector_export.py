"""Export a detector on a page: the command of the view, the file that it writes, and refusals in its words."""

import io
import shlex

import pytest
import torch
from app_pages import at_demo, open_page, ran, texts

from app.backend import detectors
from app.link.spec import RunSpec
from ash.errors import AshError


def test_the_command_is_of_the_view() -> None:
    spec = RunSpec(variant="ash_s", p=80.0, tpr=90.0)
    told = shlex.split(detectors.command(spec, "d.pt2"))
    assert told[:4] == ["python", "-m", "ash", "export"]
    options = dict(zip(told[4::2], told[5::2], strict=True))
    assert options == {
        "--model": "demo", "--placement": "avgpool", "--method": "ash_s@80", "--id": "fashion_mnist",
        "--accept": "90", "--out": "d.pt2",
    }  # fmt: skip
    deep = detectors.command(RunSpec(placement="layer3.0.relu2", dtype="float16"), "d.pt2")
    assert "--images 2000" in deep
    assert "--dtype float16" in deep
    assert "--images 50" in detectors.command(RunSpec(images=50), "d.pt2")


@pytest.mark.parametrize("page", ["tradeoff", "scores"])
def test_a_page_offers_it_and_makes_the_file(page: str) -> None:
    app = at_demo(page)
    app.session_state["detector"] = True
    app = ran(app, variant="ash_s", p="80")
    assert any("export --model demo" in one.value for one in app.code)
    assert any("score" in one.value for one in app.code)
    app.button(key="detector_make").click()
    ran(app)
    told, content = app.session_state["detector_made"]
    assert "ash_s@80" in told
    program = torch.export.load(io.BytesIO(content))
    assert len(program.module()(torch.zeros(2, 1, 28, 28))) == 3
    assert app.get_by_key("detector_file") is not None


def test_where_computing_is_off_there_is_the_command_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASH_COMPUTE", "off")
    app = at_demo("tradeoff")
    app.session_state["detector"] = True
    app = ran(app)
    assert any("export --model demo" in one.value for one in app.code)
    assert not [one for one in app.button if one.key == "detector_make"]
    with pytest.raises(AshError, match="is off"):
        list(detectors.write(("export",)))


def test_what_the_command_refuses_is_said_in_its_words() -> None:
    with pytest.raises(AshError, match="ASH-RAND"):
        list(detectors.write(detectors.arguments(RunSpec(variant="ash_rand"))))


def test_a_method_that_the_command_refuses_is_not_offered() -> None:
    app = at_demo("tradeoff")
    app.session_state["detector"] = True
    app = ran(app, variant="ash_rand", p="80")
    assert "ASH-RAND draws other values" in texts(app)
    assert not [one for one in app.code if "export" in one.value]
    assert not [one for one in app.button if one.key == "detector_make"]
    assert "AdaSCALE needs more" in detectors.refusal(RunSpec(other="adascale@70"))


def test_a_closed_expander_costs_nothing() -> None:
    app = open_page("tradeoff", model="demo")
    assert not [one for one in app.code if "export" in one.value]
