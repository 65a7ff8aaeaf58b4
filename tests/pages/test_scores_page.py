"""The Scores page through the app: sentence, pictures, bars, scrub and the downloads agree with the library."""

import io
from functools import partial

import pandas as pd
import pytest
from app_pages import figure, open_page, texts

from app.backend import evaluations, registry, setups
from app.link.spec import RunSpec
from app.ui.plot import csv_text
from app.views.scores import page as scores
from app.views.scores.parts import bar_images
from ash.methods import VARIANTS
from ash.metrics import fpr_at_tpr, threshold_at_tpr

pytestmark = pytest.mark.slow

page = partial(open_page, "scores")


def test_the_sentence_counts_what_the_library_counts() -> None:
    one = evaluations.evaluation(setups.setup(RunSpec()), "ash_b@65", "test")
    near = one.ood_scores["photographs"]
    accepted = round(fpr_at_tpr(one.id_scores, near) * len(near))
    text = " ".join(block.value for block in page(set="photographs").markdown).replace("\\", "")
    assert f"ASH-B @ 65 accepts {accepted:,} of the {len(near):,} images in Photographs" in text


def test_a_line_says_of_how_many_images_and_one_click_takes_all() -> None:
    app = page(set="photographs")
    assert "Measured on 2,700 ID + 900 OOD test images." in texts(app)
    app.toggle(key="spec_split").set_value(True).run()
    assert "Measured on all 3,000 ID + 1,000 OOD images." in texts(app)
    one = evaluations.evaluation(setups.setup(RunSpec()), "ash_b@65")
    accepted = round(1000 * fpr_at_tpr(one.id_scores, one.ood_scores["photographs"]))
    assert app.table[0].value.loc["Photographs", "Accepted"] == f"{accepted:,}"


def test_the_images_of_a_bar_are_those_of_its_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part has rows of its own: the picture is that of the row in the bank."""
    spec = RunSpec()
    at, after = setups.setup(spec), evaluations.evaluation(setups.setup(spec), "ash_b@65", "test")
    values, asked = after.ood_scores["digits"], []

    def picture(at: setups.Setup, name: str, row: int) -> tuple[str, None]:
        asked.append(row)
        return "0", None

    monkeypatch.setattr("app.backend.samples.picture", picture)
    monkeypatch.setattr("app.views.scores.parts.page_link", lambda *_: None)
    monkeypatch.setattr("app.ui.pictures.show", lambda *_: None)
    low = float(sorted(values)[-5])
    bar_images(spec, after, "digits", low, float("inf"))
    whole = evaluations.evaluation(at, "ash_b@65").ood_scores["digits"]
    assert sorted(whole[asked].tolist()) == sorted(values.tolist())[-5:]


@pytest.mark.parametrize("axis", ["relative", "raw", "rank"])
@pytest.mark.parametrize("score", ["energy", "msp"])
def test_every_axis_and_score_draws_each_set(axis: str, score: str) -> None:
    spec = figure(page(axis=axis, score=score), "scores_hist")
    sets = list(setups.setup(RunSpec()).ood)
    accepted = [trace for trace in spec["data"] if trace.get("name") == "OOD, accepted"]
    assert len(accepted) == len(sets)


@pytest.mark.parametrize("curve", ["roc", "pr"])
def test_the_curves_replace_the_histograms(curve: str) -> None:
    app = page(curve=curve)
    assert figure(app, f"scores_{curve}")["data"]
    with pytest.raises(KeyError):
        app.get_by_key("scores_hist")


def test_the_threshold_moves_the_counts() -> None:
    app = page(set="photographs")
    app.slider(key="spec_tpr").set_value(80.0).run()
    one = evaluations.evaluation(setups.setup(RunSpec()), "ash_b@65", "test")
    table = app.table[0].value
    near = one.ood_scores["photographs"]
    rejected = len(near) - round(fpr_at_tpr(one.id_scores, near, 0.8) * len(near))
    assert table.loc["Photographs", "Rejected"] == f"{rejected:,}"
    assert app.query_params["tpr"] == "80"


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_what_has_no_percentile_says_that_there_is_nothing_to_scrub(variant: str) -> None:
    text = " ".join(block.value for block in page(variant=variant, curve="scrub").caption)
    assert ("nothing to scrub" in text) == (VARIANTS[variant].parameter != "percentile")


@pytest.mark.parametrize("split", ["test", "all"])
def test_scores_of_every_image_read_back(split: str) -> None:
    one = evaluations.evaluation(setups.setup(RunSpec()), "ash_b@65", split)
    plain = evaluations.evaluation(setups.setup(RunSpec()), "energy", split)
    spec = RunSpec(split=split)
    names = {name: scores._named(spec, name) for name in scores.shown_sets(spec)}
    text = csv_text(scores.samples(names, one, plain, 95.0), {"method": "ash_b@65"})
    frame = pd.read_csv(io.StringIO(text), comment="#")
    near = frame[frame["set"] == "photographs"]
    assert len(frame) == len(one.id_scores) + sum(len(values) for values in one.ood_scores.values())
    assert near["accepted_after"].mean() == fpr_at_tpr(one.id_scores, one.ood_scores["photographs"])
    assert near["accepted_before"].mean() == fpr_at_tpr(plain.id_scores, plain.ood_scores["photographs"])
    assert frame["sample"].is_unique
    assert set(frame.loc[frame["set"] == "fashion_mnist", "label"]) == set(registry.entry("demo").classes)
    line = threshold_at_tpr(one.id_scores)
    assert (near["score_after"].to_numpy() >= line).sum() == near["accepted_after"].sum()


def test_a_chosen_bar_lists_its_images_and_closes() -> None:
    app = page(set="photographs")
    bars = next(trace for trace in figure(app, "scores_hist")["data"] if trace.get("name") == "OOD, accepted")
    app.session_state["scores_bar"] = ((setups.setup(RunSpec()), "ash_b@65"), bars["customdata"][0][0])
    app.run()
    count = bars["customdata"][0][2]
    assert any(f"{count} images" in block.value for block in app.markdown)
    app.button(key="scores_close").click().run()
    assert not any(f"{count} images" in block.value for block in app.markdown)
    assert not app.exception


def test_a_setting_whose_cut_falls_among_equals_says_so() -> None:
    at = setups.setup(RunSpec())
    p = 5
    rows = evaluations.measure(at, f"ash_b@{p}")
    share = rows[rows["ood"] == "mean"].tied.item()
    warnings = " ".join(one.value for one in page(variant="ash_b", p=str(p)).warning)
    assert share > 1
    assert f"{share:.1f} % of the samples" in warnings
    assert f"ash\\_b\\_nonzero@{p}" in warnings or f"ash_b_nonzero@{p}" in warnings
    assert not page(variant="ash_p", p="60").warning


def test_a_setting_that_changes_nothing_says_so() -> None:
    warnings = " ".join(one.value for one in page(variant="react", c="90").warning)
    assert "changes no score" in warnings
    assert "react@90%" in warnings.replace("\\", "")
