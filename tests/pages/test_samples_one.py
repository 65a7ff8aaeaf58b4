"""One sample on the page Samples, from the app's entry file: verdict, pictures, percentiles, pin, maps."""

import json

import numpy as np
import pytest
from app_pages import figure, open_page
from streamlit.testing.v1 import AppTest

from app.backend import banks, decisions, engine, evaluations, registry, samples, setups
from app.charts.bins import spread
from app.charts.verdict_words import margin, verdict
from app.link.picks import Pick, reduce
from app.link.spec import RunSpec
from app.views.samples import one_lines
from ash.methods import VARIANTS
from ash.metrics import threshold_at_tpr
from ash.shaping import kept_count

pytestmark = pytest.mark.slow

PICTURES = ("one_scores", "one_units", "one_percentiles")


def page(**query: object) -> AppTest:
    return open_page("samples", **{"look": "one", **query})


def drawn(app: AppTest, key: str) -> bool:
    try:
        app.get_by_key(key)
    except KeyError:
        return False
    return True


def texts(app: AppTest) -> str:
    return " ".join(one.value for one in (*app.markdown, *app.caption)).replace("\\", "")


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_every_variant_answers_why(variant: str) -> None:
    app = page(variant=variant, source="digits", sample=7)
    at, spec = setups.setup(RunSpec()), RunSpec(variant=variant)
    one = evaluations.evaluation(at, str(spec.method))
    above = margin(
        float(one.ood_scores["digits"][7]), threshold_at_tpr(one.id_scores), spread(one.id_scores)
    )  # the bank's score, the page's is that of the image itself
    decided = decisions.decision(at, str(spec.method), "digits", 7)
    name = registry.entry("demo").classes[decided.after.winner]
    assert f"This image of Digits is {verdict(name, above, 95.0, lambda word: f'*{word}*')}" in texts(app)
    prunes = VARIANTS[variant].parameter == "percentile"
    assert [drawn(app, key) for key in PICTURES] == [True, True, prunes]
    assert ("has no percentile" in texts(app)) != prunes


@pytest.mark.parametrize("score", ["msp", "max_logit"])
def test_other_scores_are_taken_apart_too(score: str) -> None:
    app = page(score=score, sample=3, variant="ash_s", p=95)
    names = [trace["name"] for trace in figure(app, "one_units")["data"]]
    assert names[1] == {"msp": "to the log-odds", "max_logit": "to the max logit"}[score]


def test_the_units_add_up() -> None:
    at = setups.setup(RunSpec())
    found = decisions.decision(at, "ash_s@90", "digits", 7)
    bias = engine.parts(at)[1].state_dict()
    for side in (found.before, found.after):
        (offset,) = (values[side.winner] for name, values in bias.items() if name.endswith("bias"))
        assert side.to_logit.sum() + float(offset) == pytest.approx(float(side.logits[side.winner]), rel=1e-4)
        assert side.score == pytest.approx(np.logaddexp.reduce(side.logits.astype(float)), rel=1e-6)
    assert found.kept.sum() == kept_count(len(found.kept), 90)
    assert not found.after.to_logit[found.kept == 0].any()


def test_units_show_the_images_with_the_largest_activation() -> None:
    at = setups.setup(RunSpec())
    values = np.asarray(banks.activations(at, at.id_set)).reshape(3000, -1)
    for unit, rows in zip((0, 86, 191), decisions.exciting(at, (0, 86, 191)), strict=True):
        assert sorted(values[list(rows), unit]) == sorted(np.sort(values[:, unit])[-3:])
        assert values[rows[0], unit] == values[:, unit].max()
    picture = figure(page(source="digits", sample=7), "one_units")
    assert len(picture["layout"]["images"]) == 3 * len(picture["data"][0]["y"])
    assert all(image["source"].startswith("data:image/png") for image in picture["layout"]["images"])


def test_the_path_holds_the_scores_of_the_sweep_and_a_point_loads_its_p() -> None:
    at = setups.setup(RunSpec())
    found = decisions.percentile_path(at, "ash_s", "energy", "digits", 7, 66.6)
    assert found.p == tuple(sorted([*range(0, 100, 5), 66.6]))
    for p, score in zip(found.p, found.scores, strict=True):
        if p != 66.6:
            assert evaluations.evaluation(at, f"ash_s@{p:g}").ood_scores["digits"][7] == pytest.approx(score, rel=1e-3)
    app = page(source="digits", sample=7, variant="ash_s", p=90)
    (line,) = [trace for trace in figure(app, "one_percentiles")["data"] if trace["type"] == "scatter"]
    assert line["customdata"] == [str(p) for p in range(0, 100, 5)]
    assert reduce(RunSpec(), Pick.field("p", float(line["customdata"][3]))).p == 15


def test_the_parts_are_in_the_link_and_drawn_alone() -> None:
    app = page(part="top5", variant="ash_s", p=95)
    assert drawn(app, "one_top5")
    assert not drawn(app, "one_percentiles")
    assert "below 1e-99" in json.dumps(figure(app, "one_top5"))
    app.segmented_control(key="spec_part").set_value("percentiles").run()
    assert drawn(app, "one_percentiles")
    assert "part" not in app.query_params


def test_one_is_pinned_compared_and_let_go() -> None:
    app = page(source="digits", sample=7)
    app.button(key="one_pin").click().run()
    assert app.session_state["spec"].pin == "digits:7"
    app.button(key="one_on").click().run()
    spec = app.session_state["spec"]
    assert (spec.source, spec.sample) != ("digits", 7)
    assert not app.exception
    for key in PICTURES:
        assert drawn(app, key)
        assert figure(app, f"{key}_pin") != figure(app, key)
    assert "This image of Digits is" in texts(app)
    app.button(key="one_unpin").click().run()
    assert app.session_state["spec"].pin == ""
    assert not drawn(app, "one_scores_pin")


@pytest.mark.parametrize(
    "pin", ["digits", "digits:", "digits:99999", "nowhere:1", "id:-1", ":", "id:x", "<b>:1", "²:²"]
)
def test_a_pin_that_is_no_sample_is_said(pin: str) -> None:
    app = page(pin=pin)
    assert "is no sample here" in app.warning[0].value.replace("\\", "")
    assert not drawn(app, "one_scores_pin")


def test_suggestions_are_stepped_through_and_come_round() -> None:
    app = page(source="digits", sample=7)
    found = samples.suggestions(setups.setup(RunSpec()), "ash_b@65", tuple(setups.setup(RunSpec()).ood), 0.95)
    seen = []
    for _ in range(len(found) + 1):
        app.button(key="one_on").click().run()
        seen.append((app.session_state["spec"].source, app.session_state["spec"].sample))
    assert seen == [(one.source, one.index) for one in (*found, found[0])]
    app.button(key="one_back").click().run()
    assert app.session_state["spec"].sample == found[-1].index


def test_a_method_beyond_the_sidebar_says_what_is_shown_instead() -> None:
    app = page(method="react@1.0+ash_s@90")
    assert "taken apart" in app.info[0].value.replace("\\", "")
    assert drawn(app, "one_units")


@pytest.mark.parametrize("placement", ["layer4.0.relu2", "layer3.0.relu2"])
def test_a_spatial_placement_shows_where(placement: str) -> None:
    spec = RunSpec(placement=placement, images=20, ood=("digits",))
    at = setups.setup(spec)
    for _ in banks.compute_banks(at):
        pass
    app = page(placement=placement, n=20, ood="digits", part="where", source="digits", sample=7)
    heats = [trace for trace in figure(app, "one_where")["data"] if trace["type"] == "heatmap"]
    assert len(heats) == 3
    one = decisions.decision(at, str(spec.method), "digits", 7)
    assert one.share is not None
    assert one.share.mean() == pytest.approx(0.35, abs=1e-3)
    assert one.after.evidence is not None
    assert one.after.evidence.sum() == pytest.approx(one.after.to_logit.sum(), rel=1e-4)
    assert one.exact == (placement == "layer4.0.relu2")
    assert ("not linear" in texts(app)) != one.exact
    app.segmented_control(key="spec_part").set_value("percentiles").run()
    assert not app.exception
    line = figure(app, "one_percentiles")["data"][0]
    assert line["customdata"] == ([str(p) for p in range(0, 100, 5)] if one.exact else ["65"])


def test_a_link_that_asks_for_maps_where_there_are_none_is_told_so() -> None:
    app = page(part="where", source="digits", sample=7)
    (told,) = app.warning
    assert "'Over the image' is not here: at this placement every channel is one number" in told.value.replace("\\", "")
    assert drawn(app, "one_percentiles")
    assert not page(part="top5", source="digits", sample=7).warning


def test_thresholds_of_a_deep_tail_are_computed_on_request_and_kept() -> None:
    spec = RunSpec(placement="layer3.0.relu2", variant="ash_p", images=20, ood=("digits",))
    at = setups.setup(spec)
    for _ in banks.compute_banks(at):
        pass
    app = page(placement="layer3.0.relu2", variant="ash_p", n=20, ood="digits")
    assert "not computed at 19 percentiles" in texts(app)
    app.button(key="one_lines_button").click().run()
    for _ in range(30):  # a real session runs again by itself after every slice
        if not drawn(app, "one_lines_button"):
            break
        app.run()
    (line,) = [trace for trace in figure(app, "one_percentiles")["data"] if trace["type"] == "scatter"]
    assert line["customdata"] == [str(p) for p in range(0, 100, 5)]
    assert one_lines.missing(at, spec) == ()
