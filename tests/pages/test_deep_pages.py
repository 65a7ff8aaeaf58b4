"""Pages about one method at a placement whose tail is deep: passes with progress, stopped and resumed by their user."""

import numpy as np
import pytest
import torch
from app_pages import at_link, charts, ran
from streamlit.testing.v1 import AppTest

from app.backend import banks, engine, sample_rows, setups
from app.link.spec import RunSpec
from ash.methods import Method

pytestmark = pytest.mark.slow

VIEW = {"placement": "layer3.0.relu2", "n": 40, "ood": "digits"}


@pytest.fixture(scope="module")
def third_block() -> setups.Setup:
    """A deep placement with few images, its banks computed."""
    at = setups.setup(RunSpec(placement="layer3.0.relu2", images=40, ood=("digits",)))
    list(banks.compute_banks(at))
    return at


def opened(page: str, **query: object) -> AppTest:
    return at_link(page, **{**VIEW, **query})


def buttons(app: AppTest) -> dict[str | None, str]:
    return {one.key: one.label for one in app.button}


@pytest.mark.parametrize("page", ["scores", "samples", "activations"])
def test_a_stopped_page_goes_on_when_it_is_told_to(page: str, third_block: setups.Setup) -> None:
    p = {"scores": 21, "samples": 22, "activations": 23}[page]  # settings that nothing has evaluated yet
    app = opened(page, p=p)
    app.session_state["deep_stopped"] = (third_block, "energy")
    ran(app)
    assert buttons(app)["deep_button"] == "Go on"
    assert "passes of its own" in app.get("progress")[0].proto.text
    app.get_by_key("deep_button").click()
    ran(app)
    assert "deep_button" not in buttons(app)
    assert not app.get("progress")
    assert charts(app) or page == "samples"


def test_classes_of_ood_images_are_those_of_the_tail(third_block: setups.Setup) -> None:
    method = "ash_b@60"
    assert [one.total for one in sample_rows.class_steps(third_block, (method,))] == [40]
    assert list(sample_rows.class_steps(third_block, (method,))) == []
    _, tail = engine.parts(third_block)
    x = torch.from_numpy(np.array(banks.activations(third_block, "digits")))
    with torch.inference_mode():
        classes = tail(Method.parse(method).shape(x)).argmax(1).numpy()
    np.testing.assert_array_equal(sample_rows.predictions(third_block, method)["digits"], classes)
