"""The Activations page from the app's entry file: pictures, quick picks, samples, and the program it shows."""

import contextlib
import io
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from app_pages import figure, open_page
from streamlit.testing.v1 import AppTest

from app.backend import evaluations, samples, setups
from app.charts import sample
from app.link.spec import RunSpec
from app.views.activations import sample_code
from ash.methods import VARIANTS

pytestmark = pytest.mark.slow

LAST_BLOCK = "layer4.0.relu2"


@pytest.fixture
def no_banks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache folder without banks, so that only what ships is there."""
    monkeypatch.setenv("ASH_CACHE", str(tmp_path))


page = partial(open_page, "activations", model="demo")


def headline(app: AppTest) -> str:
    return next(one.value for one in app.markdown if one.value.startswith("**")).strip("*").replace("\\", "")


@pytest.mark.parametrize("view", ["units", "maps", "logits"])
@pytest.mark.parametrize("variant", list(VARIANTS))
def test_every_picture_of_every_variant(variant: str, view: str) -> None:
    app = page(variant=variant, view=view)
    assert "energy" in headline(app)
    assert "accepted" in headline(app)


def test_the_sentence_has_the_numbers_of_the_sample() -> None:
    app = page(variant="ash_s", p=90, source="digits", sample=7)
    one = samples.sample(setups.setup(RunSpec()), "ash_s@90", "digits", 7)
    record = sample.curve(one.trace)
    assert f"keeps {record.k} of {record.n} units of this image of" in headline(app)
    assert f"multiplies them by {record.factor:.4g}" in headline(app).replace("\N{MINUS SIGN}", "-")


def test_only_the_chosen_picture_is_drawn() -> None:
    app = page(view="logits")
    keys = {"activations_curve": False, "activations_logits": True, "activations_values": True}
    for key, drawn in keys.items():
        try:
            app.get_by_key(key)
            assert drawn
        except KeyError:
            assert not drawn


def test_next_previous_and_quick_picks() -> None:
    app = page()
    app.button(key="sample_next").click().run()
    assert app.session_state["spec"].sample == 1
    app.button(key="sample_previous").click().run()
    assert app.session_state["spec"].sample == 0
    assert app.button(key="sample_previous").disabled
    app.button(key="quick_OOD accepted").click().run()
    assert app.session_state["spec"].source != "id"
    assert headline(app).endswith("accepted after.")
    app.button(key="quick_ID rejected").click().run()
    assert app.session_state["spec"].source == "id"
    assert headline(app).endswith("rejected after.")


@pytest.mark.parametrize("method", ["ash_b@65", "ash_s@90", "energy"])
def test_quick_picks_are_what_they_say(method: str) -> None:
    from ash.metrics import threshold_at_tpr

    found = {
        one.label: one for one in samples.suggestions(setups.setup(RunSpec()), method, ("digits", "letters"), 0.95)
    }
    done = evaluations.evaluation(setups.setup(RunSpec()), method)
    line = threshold_at_tpr(done.id_scores)
    assert done.id_scores[found["Confident ID"].index] == done.id_scores.max()
    assert done.id_scores[found["Borderline ID"].index] == line
    assert done.id_scores[found["ID rejected"].index] == done.id_scores.min()
    one = found["OOD accepted"]
    assert done.ood_scores[one.source][one.index] == max(done.ood_scores[name].max() for name in ("digits", "letters"))
    if method == "energy":
        assert "Fixed" not in found
        assert "Broken" not in found


def test_another_data_set_starts_at_its_first_image() -> None:
    app = page(sample=5000)
    app.selectbox(key="spec_source").select("digits").run()
    spec = app.session_state["spec"]
    assert (spec.source, spec.sample) == ("digits", 0)
    assert not app.warning


def test_a_number_beyond_the_end_is_said() -> None:
    app = page(source="digits", sample=99999)
    assert "has no number 99,999" in app.warning[0].value.replace("\\", "")
    assert app.number_input(key="spec_sample").value == 999


@pytest.mark.usefixtures("no_banks")
def test_without_banks_the_sample_is_shown_and_the_rest_is_offered() -> None:
    app = page(placement=LAST_BLOCK, view="maps")
    assert "accepted" not in headline(app)
    assert figure(app, "activations_mosaic_after")["data"][0]["type"] == "heatmap"
    assert app.button(key="prepare_button").label == "Compute"


def test_maps_are_one_click_away() -> None:
    app = page(view="maps")
    app.button(key="to_maps").click().run()
    assert app.session_state["spec"].placement == LAST_BLOCK


def test_moving_the_percentile_back_draws_the_same() -> None:
    app = page(variant="ash_s", p=80)
    first = figure(app, "activations_values")
    app.slider(key="spec_p").set_value(85).run()
    assert figure(app, "activations_values") != first
    app.slider(key="spec_p").set_value(80).run()
    assert figure(app, "activations_values") == first


@pytest.mark.parametrize("variant", ["none", "ash_s", "react"])
def test_the_program_prints_the_numbers_of_the_page(variant: str) -> None:
    spec = RunSpec(variant=variant, source="letters", sample=3)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(sample_code.program(spec, "letters", 3), "program", "exec"), {})
    printed = dict(line.rsplit(" ", 1) for line in out.getvalue().splitlines())
    one = samples.sample(setups.setup(RunSpec()), str(spec.method), "letters", 3)
    record = sample.curve(one.trace)
    assert float(printed["s1"]) == pytest.approx(record.s1, rel=1e-6)
    assert ("s2" in printed) == (record.s2 is not None) == (variant == "ash_s")
    if record.s2 is not None:
        assert float(printed["s2"]) == pytest.approx(record.s2, rel=1e-6)
    assert int(printed["zeros after"]) == (one.shaped == 0).sum()
    shaped_energy = torch_energy(one.shaped_logits)
    assert float(printed["score after"]) == pytest.approx(shaped_energy, rel=1e-5)


def torch_energy(logits: Any) -> float:
    import torch

    from ash import energy

    return float(energy(torch.tensor(logits)[None]))
