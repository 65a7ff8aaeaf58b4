"""The Shape lab through the app: stepping, keys, the link, the three rooms, and the way there from Activations."""

import re

import numpy as np
import pytest
import torch
from app_pages import figure, open_page
from streamlit.testing.v1 import AppTest

from app.backend import samples, setups
from app.link.spec import RunSpec
from app.views.lab import algorithm_facts
from app.views.lab.algorithm_facts import VARIANTS
from app.views.lab.algorithm_steps import LINES
from ash import shaping
from ash.methods import VARIANTS as ALL

pytestmark = pytest.mark.slow

LAST_BLOCK = "layer4.0.relu2"


def page(name: str = "lab", **query: object) -> AppTest:
    return open_page(name, **query)


def headline(app: AppTest) -> str:
    return (
        next(one.value for one in app.markdown if re.match("##|[*]{2}At p", one.value)).replace("\\", "").strip("*# ")
    )


def current(app: AppTest) -> str:
    (found,) = [one.value for one in app.markdown if "▶" in one.value]
    return found


def activation(placement: str = "penultimate", name: str = "fashion_mnist", number: int = 0) -> np.ndarray:
    x: np.ndarray = samples.sample(setups.setup(RunSpec(placement=placement)), "energy", name, number).x
    return x


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_stepping_goes_through_every_line_and_ends_at_the_library(variant: str) -> None:
    app = page(variant=variant, p=65)
    for line in range(len(LINES[variant])):
        assert headline(app).startswith(f"Line {line + 1} of {len(LINES[variant])}: ")
        assert f";{line + 1}. " in current(app)
        assert app.session_state["spec"].lab.step == line
        assert app.query_params.get("step", ["0"]) in (str(line), [str(line)])
        if line < len(LINES[variant]) - 1:
            app.button(key="lab_next").click().run()
    assert app.button(key="lab_next").disabled
    x = activation().ravel()
    twelve = torch.from_numpy(x[list(algorithm_facts.chosen_units(x))])[None]
    wanted = getattr(shaping, variant)(twelve, 65)[0].numpy()
    np.testing.assert_allclose(figure(app, "lab_film")["data"][1]["y"], wanted, rtol=1e-3)


def test_first_previous_last_and_their_keys() -> None:
    app = page(variant="ash_s", step=3)
    buttons = {name: app.button(key=f"lab_{name}") for name in ("first", "previous", "next", "last")}
    assert [one.proto.shortcut.lower() for one in buttons.values()] == ["home", "left", "right", "end"]
    buttons["previous"].click().run()
    assert app.session_state["spec"].lab.step == 2
    app.button(key="lab_last").click().run()
    assert app.session_state["spec"].lab.step == 6
    app.button(key="lab_first").click().run()
    assert app.session_state["spec"].lab.step == 0
    assert app.button(key="lab_first").disabled
    assert app.button(key="lab_previous").disabled


def test_a_step_beyond_the_end_is_the_last_line() -> None:
    assert headline(page(variant="ash_p", step=99)).startswith("Line 4 of 4")


@pytest.mark.parametrize("room", ["steps", "relu"])
@pytest.mark.parametrize("variant", list(ALL))
def test_every_variant_has_an_algorithm_or_a_stand_in(variant: str, room: str) -> None:
    app = page(variant=variant, room=room)
    assert any("none of Algorithms 1 to 3" in one.value for one in app.caption) == (variant not in VARIANTS)
    assert app.get_by_key("lab_bars" if room == "steps" else "lab_relu")


def test_another_algorithm_is_the_sidebar_s_and_starts_at_its_first_line() -> None:
    app = page(variant="ash_b", step=5)
    app.segmented_control(key="lab_variant").set_value("ash_s").run()
    spec = app.session_state["spec"]
    assert (spec.variant, spec.lab.step) == ("ash_s", 0)
    assert app.selectbox(key="spec_variant").value == "ash_s"


def test_the_sample_of_the_explorer_is_the_one_that_is_shaped() -> None:
    app = page(source="digits", sample=7)
    x = activation(name="digits", number=7).ravel()
    at = algorithm_facts.chosen_units(x)
    assert figure(app, "lab_bars")["layout"]["xaxis"]["ticktext"] == [str(i) for i in at]
    np.testing.assert_allclose(figure(app, "lab_bars")["data"][1]["y"], x[list(at)], rtol=1e-3)
    app.button(key="sample_next").click().run()
    assert figure(app, "lab_bars")["layout"]["xaxis"]["ticktext"] != [str(i) for i in at]


def test_a_map_is_flattened_and_said_to_be() -> None:
    app = page(placement=LAST_BLOCK)
    shape = activation(LAST_BLOCK).shape
    assert any(f"flattened from {' x '.join(map(str, shape))}" in one.value.replace("\\", "") for one in app.caption)


def test_the_modified_relu_has_the_cuts_of_both_images() -> None:
    app = page(room="relu", variant="ash_s", p=90, source="digits", sample=3)
    text = headline(app)
    for name, number in (("fashion_mnist", 0), ("digits", 3)):
        x = torch.from_numpy(activation(name=name, number=number).copy())[None]
        t = float(x[shaping.kept_mask(x, 90)].min())
        assert f"t = {t:.4g}" in text
    assert len(figure(app, "lab_relu")["frames"]) == 100


def test_the_image_beside_is_the_pinned_one_of_the_other_side() -> None:
    app = page(room="relu", pin="letters:5")
    assert app.selectbox(key="lab_beside_set").value == "letters"
    assert app.number_input(key="lab_beside_number").value == 5
    app.number_input(key="lab_beside_number").set_value(6).run()
    assert app.session_state["spec"].pin == "letters:6"
    app.selectbox(key="lab_beside_set").select("digits").run()
    assert app.session_state["spec"].pin == "digits:0"
    app.selectbox(key="spec_source").select("digits").run()  # now the pinned one is on the same side
    assert app.selectbox(key="lab_beside_set").value == "id"


@pytest.mark.parametrize(
    "pin", ["", "id:3", "nowhere:1", "digits", "digits:-1", "digits:99999999999999999999", "digits:²"]
)
def test_a_pin_that_does_not_fit_is_left_alone(pin: str) -> None:
    assert page(room="relu", pin=pin).number_input(key="lab_beside_number").value == 0


def test_predict_is_a_room() -> None:
    page(room="predict")


def test_activations_lead_here_with_the_sample() -> None:
    app = page("activations", source="digits", sample=7)
    links = [one.proto for one in app.get("page_link")]
    (found,) = [one for one in links if one.label == "Open in Shape lab"]
    assert "source=digits" in found.query_string
    assert "sample=7" in found.query_string
