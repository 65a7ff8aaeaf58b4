"""Scores beyond those of the paper in the sidebar: on every page, with every variant, and why some cannot be chosen."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from app_pages import at_demo, figure, open_page, ran, traces, turn_to
from PIL import Image
from streamlit.testing.v1 import AppTest

from app.backend import banks, engine, evaluations, requirements, setups
from app.backend.fits import fit_of
from app.link.spec import RunSpec, from_query, to_query
from ash.methods import Method
from ash.scores import SCORES

pytestmark = pytest.mark.slow


def spec_of(app: AppTest) -> RunSpec:
    spec: RunSpec = app.session_state["spec"]
    return spec


def words(app: AppTest) -> str:
    return "\n".join(one.value for one in (*app.markdown, *app.caption, *app.info)).replace("\\", "")


def test_gen_is_a_score_like_the_others_on_every_page() -> None:
    app = ran(at_demo("scores"), variant="ash_s", p="85")
    app.selectbox(key="spec_score").select("gen").run()
    assert not app.exception
    assert spec_of(app) == RunSpec(variant="ash_s", p=85.0, score="gen")
    assert "ASH-S @ 85, GEN accepts" in words(app)
    for page in ("tradeoff", "activations", "samples"):
        assert "GEN" in words(ran(turn_to(app, page))), page
    at = setups.setup(RunSpec())
    got = evaluations.evaluation(at, "ash_s@85:gen").id_scores
    x = Method.parse("ash_s@85").shape(torch.from_numpy(np.array(banks.activations(at, at.id_set)[:50])))
    with torch.inference_mode():
        want = SCORES["gen"](engine.parts(at)[1](x))
    np.testing.assert_allclose(got[:50], want.numpy(), rtol=1e-4)


def test_a_fitted_score_stays_while_the_controls_move() -> None:
    app = ran(at_demo("scores"), variant="ash_s", p="85")
    app.selectbox(key="spec_score").select("knn").run()
    assert not app.exception
    assert [one.value for one in app.error] == []
    assert str(spec_of(app).method) == "ash_s@85:knn"
    assert app.selectbox(key="spec_score").value == "knn"
    assert "ASH-S @ 85, KNN accepts" in words(app)
    assert "KNN accepts" in words(app).split("ASH-S @ 85, KNN accepts")[1], "against KNN without a shape"
    app.slider(key="spec_p").set_value(60).run()
    assert str(spec_of(app).method) == "ash_s@60:knn"
    app.selectbox(key="spec_variant").select("none").run()
    assert str(spec_of(app).method) == "knn"
    assert from_query(to_query(spec_of(app))) == (spec_of(app), [])
    app.selectbox(key="spec_score").select("msp").run()
    assert spec_of(app) == RunSpec(variant="none", p=60.0, score="msp")
    for page in ("tradeoff", "samples"):
        assert ran(turn_to(app, page), method="ash_s@85:vim"), page
        assert str(spec_of(app).method) == "ash_s@85:vim"


def test_what_the_page_shows_is_the_librarys() -> None:
    at = setups.setup(RunSpec())
    fit = fit_of(at)
    assert fit is not None
    got = evaluations.evaluation(at, "ash_s@85:knn@3").id_scores[:30]
    z = (
        Method.parse("ash_s@85")
        .shape(torch.from_numpy(np.array(banks.activations(at, at.id_set)[:30])))
        .flatten(1)
        .numpy()
    )
    z, bank = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (z, fit.features))
    want = np.sort(((z[:, None] - bank[None]) ** 2).sum(2), 1)[:, 2]
    np.testing.assert_allclose(got, -want, rtol=1e-4)


def test_what_cannot_be_chosen_says_why() -> None:
    """At a placement before others no score of the last layer, and no fit there either; each in one sentence."""
    app = ran(at_demo("lab"), placement="layer3.0.relu2")
    offered = app.selectbox(key="spec_score").options
    assert "GEN" in offered
    assert not {"KNN", "GradNorm", "ViM"} & set(offered)
    assert "GradNorm" in words(app)
    assert "cannot be chosen here: they read the last layer" in words(app)
    assert "cannot be chosen here: they need a fit on a training set, and the activations of" in words(app)
    app = ran(at_demo("lab"), model="mobilenet_v2_photos")
    assert "GradNorm" in app.selectbox(key="spec_score").options
    assert "they need a fit on a training set, and none is known for this network." in words(app)
    app = ran(at_demo("lab"))
    assert {"KNN", "GradNorm", "ViM", "Mahalanobis"} <= set(app.selectbox(key="spec_score").options)
    assert "cannot be chosen here" not in words(app)


def test_a_score_beyond_logits_is_compared_with_itself_on_trade_off() -> None:
    """Its AUROC against that of the sidebar's score would say what the score does, not what the shape does."""
    app = open_page("tradeoff", model="demo", method="ash_s@85:knn")
    (headline,) = [one.value for one in app.markdown if one.value.startswith("**ASH")]
    assert "KNN" in headline
    assert "Energy" not in headline
    assert {"ASH-P", "ASH-B", "ASH-S", "SCALE", "ReAct"} <= traces(app, "pareto").keys(), "the sweep is drawn as ever"


@pytest.mark.parametrize("method", ["gen@0.2", "ash_s@90:gen@0.2"])
def test_a_score_with_a_parameter_of_its_own_is_compared_with_itself(method: str) -> None:
    app = open_page("tradeoff", model="demo", method=method)
    (headline,) = [one.value for one in app.markdown if one.value.startswith("**") and "GEN" in one.value][:1]
    assert "Energy" not in headline


def test_adascale_is_chosen_computed_stopped_resumed_and_drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ASH_CACHE", str(tmp_path))
    app = ran(at_demo("tradeoff"), n="40", ood="digits", variant="ash_s", p="75")
    app.button(key="prepare_button").click().run()
    app.selectbox(key="spec_score").select("adascale").run()
    assert str(spec_of(app).method) == "adascale"
    assert "80 perturbed images are not computed" in words(app)

    steps = requirements.measure_steps([spec_of(app)], "adascale")
    told = []
    for step in steps:  # stopped within the second set
        told.append(step)
        if step.done > 40:
            break
    steps.close()
    assert told[0].label == "Fashion-MNIST, perturbed"
    assert told[-1].total == 80
    assert told[-1].rate > 0
    assert "40 perturbed images are not computed" in words(ran(app)), "what is finished is kept"
    assert "sends 40 images through the network" in words(app)
    assert "AdaSCALE is not drawn: the activations of 40" in words(ran(turn_to(app, "paper"), leaf="figure2"))
    ran(turn_to(app, "tradeoff"))
    app.button(key="prepare_method").click().run()
    ran(app)
    assert [one.label for one in app.metric] == ["AUROC", "FPR95", "ID accuracy", "AUPR"]
    assert any(one.value.startswith("**AdaSCALE") and "Energy" in one.value for one in app.markdown), "against Energy"
    at = setups.setup(spec_of(app))
    assert np.isfinite(evaluations.evaluation(at, "adascale").id_scores).all()

    slider = app.slider(key="spec_other")
    assert (slider.min, slider.max, slider.value) == (5, 99, 85)
    slider.set_value(60).run()
    assert str(spec_of(app).method) == "adascale@60"
    assert from_query(to_query(spec_of(app))) == (spec_of(app), [])
    assert "AdaSCALE @ 60 accepts" in words(ran(turn_to(app, "scores")))
    assert "AdaSCALE @ 60 puts" in words(ran(turn_to(app, "samples"), look="grid"))
    one = words(ran(turn_to(app, "samples"), look="one"))
    assert "under a variant of the sidebar, here ASH-S @ 75. AdaSCALE @ 60 judges the samples of the grid." in one
    ran(turn_to(app, "samples"), look="own")
    picture = io.BytesIO()
    Image.new("L", (28, 28), 90).save(picture, "PNG")
    app.file_uploader[0].set_value([("a.png", picture.getvalue(), "image/png")]).run()
    assert "AdaSCALE looks at perturbed images, which are not made of uploads" in app.error[0].value
    assert "AdaSCALE @ 60 is on Trade-off, Scores and Samples." in words(ran(turn_to(app, "activations")))
    ran(turn_to(app, "scores"))
    app.selectbox(key="spec_score").select("adascale_l").run()
    assert "AdaSCALE-L accepts" in words(ran(app)), "of the same perturbed images"
    ran(turn_to(app, "paper"), leaf="figure2")
    assert "AdaSCALE is not drawn" not in words(app)
    assert {"adascale", "adascale_l"} <= {*traces(app, "paper_figure2")["other methods"]["customdata"]}
    ran(turn_to(app, "scores"))
    app.selectbox(key="spec_score").select("energy").run()
    assert str(spec_of(app).method) == "ash_s@75", "the way back"
    assert {"adascale", "adascale_l"} <= {*requirements.baselines_here(spec_of(app))}, "and it stays measured"
    ran(turn_to(app, "tradeoff"), others="1")
    ids = [name for trace in figure(app, "pareto")["data"] for name in trace.get("customdata", [])]
    assert {"adascale", "adascale_l"} <= {*ids}
    ran(turn_to(app, "paper"), leaf="figure2")
    assert "AdaSCALE is not drawn" not in words(app)


def test_a_percentile_between_the_steps_of_the_slider_is_said() -> None:
    app = ran(at_demo("lab"), method="adascale@82.5")
    assert app.slider(key="spec_other").value == 82
    assert "In use: p = 82.5, from a link. Moving the slider replaces it." in words(app)


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ({"placement": "layer3.0.relu2"}, "they read the last layer, which the penultimate placement alone has"),
        (
            {"model": "mobilenet_v2_photos"},
            "the images of Textures (DTD), which would have to be perturbed, do not ship: choose other OOD sets",
        ),
    ],
)
def test_why_adascale_cannot_be_chosen(query: dict[str, str], why: str) -> None:
    app = ran(at_demo("lab"), **query)
    assert "AdaSCALE" not in app.selectbox(key="spec_score").options
    (said,) = [one for one in words(app).split("\n") if "AdaSCALE" in one and "cannot be chosen here" in one]
    assert why in said
    lack = requirements.lack(spec_of(app), "adascale")
    assert lack
    assert not lack.click


def test_the_page_says_why_adascale_of_a_link_cannot_be_had() -> None:
    app = ran(at_demo("tradeoff"), model="mobilenet_v2_photos", method="adascale")
    assert "AdaSCALE cannot be shown yet: the images of Textures (DTD), which would have to be" in words(app)
    assert not [one for one in app.button if one.key == "prepare_method"]


def test_only_the_images_of_the_chosen_sets_are_perturbed() -> None:
    """The opening network's own OOD sets hold one whose images do not ship: without it, AdaSCALE is to be had."""
    spec = RunSpec(model="demo", ood=("digits",), other="adascale")
    at = setups.setup(spec)
    assert at.sets == (at.id_set, "digits")
    assert requirements.images_of(spec, "adascale") == sum(len(setups.images(at, name)) for name in at.sets)
    whole = RunSpec(model="mobilenet_v2_photos")
    usual = setups.setup(whole)
    listed = {name for name in usual.ood if setups.is_listed(name)}
    assert "AdaSCALE" in requirements.more_scores(whole).missing
    without = replace(whole, ood=tuple(name for name in usual.ood if name not in listed))
    assert "adascale" in requirements.more_scores(without).there
    lack = requirements.lack(replace(without, other="adascale"), "adascale")
    assert lack is not None
    assert lack.click, lack.text
    assert setups.setup(without) == usual, "with another method, what ships is taken along"
    assert requirements.lack(without, "adascale") == lack, "beside another method too"
