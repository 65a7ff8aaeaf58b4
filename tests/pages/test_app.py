"""The app from its entry file, without a browser: every page, links in, presets, controls, errors."""

import pytest
from app_pages import at_link, ran, turn_to
from streamlit.testing.v1 import AppTest

from app.backend import registry, setups
from app.link.fields import write_number
from app.link.spec import OPENING, RunSpec
from app.views.tradeoff import page as tradeoff
from ash.errors import AshError
from ash.methods import VARIANTS

P = write_number(RunSpec().p)
PAGES = ["tradeoff", "scores", "activations", "placements", "samples", "lab", "lessons", "library", "guide"]


@pytest.fixture
def app() -> AppTest:
    return at_link("tradeoff", model="demo")


def spec_of(app: AppTest) -> RunSpec:
    assert not app.exception
    spec: RunSpec = app.session_state["spec"]
    return spec


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens(page: str) -> None:
    app = at_link(page).run()
    assert spec_of(app) == OPENING
    assert len(app.title) == 1
    assert not app.error
    assert not app.query_params
    pictures = [one.url for element in app.get("image") for one in element.proto.imgs]
    assert all(url.startswith("data:") for url in pictures), "no file that is gone when the next run begins"


@pytest.mark.slow
@pytest.mark.parametrize("variant", list(VARIANTS))
def test_every_variant_on_every_page(app: AppTest, variant: str) -> None:
    app.query_params["variant"] = variant
    for page in PAGES:
        ran(turn_to(app, page))
        assert len(app.title) == 1, page
        assert spec_of(app).variant == variant, page


def test_another_model_brings_its_own_preset_and_says_what_is_missing(app: AppTest) -> None:
    app.query_params["placement"] = "layer4.0.relu2"
    app.query_params["ood"] = "digits"
    app.run().selectbox(key="spec_model").select("densenet101_cifar100").run()
    spec = spec_of(app)
    assert (spec.model, str(spec.method), spec.placement, spec.ood) == (
        "densenet101_cifar100", "ash_b@85", "penultimate", (),
    )  # fmt: skip
    assert not app.error
    assert not app.warning
    assert "weights of DenseNet-101 on CIFAR-100 are missing" in app.info[0].value.replace("\\", "")
    assert "python -m ash fetch densenet101_cifar100" in app.code[0].value
    app.slider(key="spec_p").set_value(91).run()
    app.selectbox(key="spec_model").select("demo").run()
    assert str(spec_of(app).method) == "ash_b@91"  # no preset, so it is kept


@pytest.mark.slow
@pytest.mark.parametrize("label", list(registry.presets("demo")))
def test_every_preset_loads(app: AppTest, label: str) -> None:
    app.run().selectbox(key="preset").select(label).run()
    assert str(spec_of(app).method) == registry.presets("demo")[label]
    assert app.selectbox(key="preset").value == label
    assert not app.error


def test_a_deep_link_sets_every_control(app: AppTest) -> None:
    for key, value in {"p": "42", "variant": "ash_s", "score": "msp"}.items():
        app.query_params[key] = value
    app.run()
    assert spec_of(app) == RunSpec(p=42.0, variant="ash_s", score="msp")
    assert app.slider(key="spec_p").value == 42
    assert app.selectbox(key="spec_variant").value == "ash_s"
    assert app.selectbox(key="spec_score").value == "msp"
    assert not app.warning


def test_junk_in_a_link_is_named_once_and_the_page_still_opens(app: AppTest) -> None:
    app.query_params["p"] = "abc"
    app.query_params["placement"] = "nowhere"
    app.query_params["whatever"] = "1"
    app.run()
    assert spec_of(app) == RunSpec()
    shown = [warning.value.replace("\\", "") for warning in app.warning]
    assert shown == [
        f"The link says p=abc instead of a percentile in [0, 100): {P} is used.",
        "The link says placement=nowhere, which is not known here: "
        f"{list(registry.placements(RunSpec().model))[-1]} is used.",
    ]
    app.slider(key="spec_p").set_value(50).run()
    assert not app.warning


@pytest.mark.parametrize("page", ["tradeoff", "library", "guide"])
def test_an_id_set_that_is_not_here_is_named_and_the_networks_own_takes_its_place(app: AppTest, page: str) -> None:
    app.query_params.update({"id": "gone", "on": "digits", "p": "70"})
    ran(turn_to(app, page))
    assert spec_of(app) == RunSpec(on="digits", p=70.0)
    assert len(app.title) == 1
    shown = [warning.value.replace("\\", "") for warning in app.warning]
    assert shown == [
        f"The link says id=gone, which is not known here: {registry.entry(RunSpec().model).id_set} is used."
    ]


def test_a_fraction_from_a_link_survives_and_is_shown(app: AppTest) -> None:
    app.query_params["p"] = "66.7"
    app.run().selectbox(key="spec_score").select("msp").run()
    assert spec_of(app).p == 66.7
    assert any("p = 66.7" in caption.value for caption in app.sidebar.caption)
    app.slider(key="spec_p").set_value(70).run()
    assert spec_of(app).p == 70.0


def test_zero_is_a_percentile(app: AppTest) -> None:
    app.run().slider(key="spec_p").set_value(0).run()
    assert spec_of(app).p == 0.0
    assert app.query_params["p"] == "0"


def test_only_what_applies_is_enabled(app: AppTest) -> None:
    app.run().selectbox(key="spec_variant").select("none").run()
    assert app.slider(key="spec_p").disabled
    app.selectbox(key="spec_variant").select("react").run()
    app.number_input(key="spec_c").set_value(2.5).run()
    assert str(spec_of(app).method) == "react@2.5"
    assert not [slider for slider in app.slider if slider.key == "spec_p"]


def test_the_configuration_goes_along_to_another_page(app: AppTest) -> None:
    app.run().slider(key="spec_p").set_value(80).run()
    app.query_params.clear()  # what a page change does to the link
    turn_to(app, "scores").run()
    assert spec_of(app).p == 80.0
    assert app.query_params["p"] == "80"


def test_reset(app: AppTest) -> None:
    app.query_params["p"] = "42"
    app.query_params["budget"] = "2"
    app.run()
    next(button for button in app.button if button.label == "Reset").click().run()
    assert spec_of(app) == OPENING
    assert not app.query_params


def test_ood_sets_can_be_chosen(app: AppTest) -> None:
    sets = list(setups.setup(RunSpec()).ood)
    app.run().multiselect(key="spec_ood").select(sets[0]).run()
    assert spec_of(app).ood == (sets[0],)
    app.multiselect(key="spec_ood").unselect(sets[0]).run()
    assert spec_of(app).ood == ()
    assert not app.exception


def test_an_expected_error_is_its_own_sentence(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    def render(spec: RunSpec) -> None:
        raise AshError("The bank is missing. Run `python -m ash extract`.")

    monkeypatch.setattr(tradeoff, "render", render)
    app.run()
    assert [error.value.replace("\\", "") for error in app.error] == [
        "The bank is missing. Run `python -m ash extract`."
    ]
    assert not app.exception


def test_an_unexpected_error_is_a_number_here_and_a_traceback_in_the_log(
    app: AppTest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def render(spec: RunSpec) -> None:
        raise ZeroDivisionError("secret path")

    monkeypatch.setattr(tradeoff, "render", render)
    app.run()
    (error,) = app.error
    number = error.value.split("id ")[1].split(")")[0]
    assert "secret" not in error.value
    assert not app.exception
    assert number in caplog.text
    assert "ZeroDivisionError: secret path" in caplog.text
