"""The later shapes in the explorer: SCALE from the sidebar, LTS's factor on one image, methods of a link, captions."""

from functools import partial

import numpy as np
import pytest
from app_pages import figure, open_page, texts

import ash
from app.backend import decisions, evaluations, samples, setups
from app.charts import sample
from app.link.spec import RunSpec
from ash.fitting import fit
from ash.methods import Method
from ash.scores import SCORES

pytestmark = pytest.mark.slow

page = partial(open_page, model="demo")


def at() -> setups.Setup:
    return setups.setup(RunSpec())


def test_scale_is_picked_in_the_sidebar_and_has_its_line_and_its_sentences() -> None:
    app = page("tradeoff", variant="ash_s", p=85)
    (variant,) = [box for box in app.selectbox if box.label == "Variant"]
    assert {"▼ SCALE", "◆ LTS", "□ BFAct"} <= set(variant.options)
    variant.select("scale").run()
    assert not app.exception
    assert "In use: SCALE" not in texts(app), "the controls say it"
    (p,) = [one for one in app.sidebar.slider if one.label == "Percentile p"]
    assert "none is removed" in p.help
    lines = {trace.get("name"): trace for trace in figure(app, "pareto")["data"]}
    assert len(lines["SCALE"]["x"]) == len(lines["LTS"]["x"]) == 20
    assert len(set(lines["LTS"]["x"])) == 1, "LTS changes no class"
    assert lines["SCALE"]["marker"]["symbol"] != lines["LTS"]["marker"]["symbol"]


def test_the_numbers_of_scale_and_lts_on_one_image() -> None:
    for variant, factor in (("scale", "factor"), ("lts", "logit_factor")):
        app = page("activations", variant=variant, p=85, source="digits", sample=7)
        record = sample.curve(samples.sample(at(), f"{variant}@85", "digits", 7).trace)
        number = f"{getattr(record, factor):.4g}"
        said = texts(app).replace("\\", "")
        assert record.top == 29  # 192 - round(163.2)
        assert "Sum the k = **29** largest of them: s2 = " in said
        assert f"**{number}**" in said
        notes = [note["text"] for note in figure(app, "activations_curve")["layout"]["annotations"]]
        assert any(note.endswith("(sum of the 29 largest)") for note in notes), notes
        headline = next(one.value for one in app.markdown if one.value.startswith("**"))
        all_of_it = f"all 192 units of this image of {setups.whole_set('digits').label}"
        wanted = {
            "scale": f"multiplies {all_of_it} by {number}",
            "lts": f"leaves {all_of_it} as they are and multiplies the logits by {number}",
        }
        assert wanted[variant] in headline.replace("\\", "")
        explained = "ratio s1/s2" if variant == "lts" else "exponent s1/s2"
        assert figure(app, "activations_quantity")["layout"]["xaxis"]["title"]["text"] == explained


@pytest.mark.parametrize("text", ["scale@85", "lts@85", "bfact@0.5"])
def test_one_image_is_judged_as_its_evaluation_says(text: str) -> None:
    whole = evaluations.evaluation(at(), text)
    one, found = samples.sample(at(), text, "digits", 7), decisions.decision(at(), text, "digits", 7)
    import torch

    score = float(SCORES["energy"](torch.from_numpy(one.shaped_logits)[None]))
    assert found.after.score == pytest.approx(score, rel=1e-5)
    assert samples.stored_score(at(), whole, "digits", 7) == pytest.approx(score, rel=1e-3)  # of rounded activations
    assert found.exact
    bias = found.after.logits[found.after.winner] - found.after.to_logit.sum()
    plain = decisions.decision(at(), "energy", "digits", 7).before
    expected = plain.logits[found.after.winner] - (
        plain.to_logit.sum() if plain.winner == found.after.winner else np.nan
    )
    factor = 1.0 if one.trace.logit_factor is None else float(one.trace.logit_factor[0])
    if np.isfinite(expected):
        assert bias == pytest.approx(factor * expected, abs=1e-4 * abs(found.after.score))
    if text.startswith(("scale", "lts")):
        variant = text.partition("@")[0]
        path = decisions.percentile_path(at(), variant, "energy", "digits", 7, 85.0)
        assert path.scores[path.p.index(85.0)] == pytest.approx(score, rel=1e-5)
        assert decisions.scores_without(at(), text, "digits", 7, (0,))[0] <= score + 1e-3


@pytest.mark.parametrize("name", ["scores", "samples", "lab", "placements", "activations"])
def test_every_page_shows_the_new_variants(name: str) -> None:
    for query in ({"variant": "lts", "p": 95}, {"variant": "bfact", "c": 0.5}):
        assert not page(name, **query).exception


def test_methods_beyond_the_sidebar_come_by_link() -> None:
    app = page("scores", method="vra@0.2,1.0")
    assert "In use: VRA @ 0.2, 1." in texts(app)
    assert "VRA @ 0.2, 1" in texts(page("activations", method="vra@0.2,1.0"))


def test_where_values_may_be_negative_the_variant_says_what_that_means() -> None:
    app = page("tradeoff", variant="lts", p=95, placement="layer4.0.add")
    assert "LTS counts them as 0 in its sums" in texts(app)


def test_ras_and_percentiles_of_the_training_set_are_swept_on_the_demo() -> None:
    """By the library, on what ships."""
    from ash.bank import open_bank
    from ash.identity import identity

    entry = ash.get_model("demo")
    done = fit(open_bank(identity(entry, "avgpool", ash.get_dataset("fashion_mnist_train"))))
    bank, other = (open_bank(identity(entry, "avgpool", ash.get_dataset(name))) for name in ("fashion_mnist", "digits"))
    methods = [Method.parse(text) for text in ("energy", "ras", "vra@60%,95%", "bfact@95%", "lts@95", "scale@85")]
    table = ash.sweep(ash.split(entry.build(), "avgpool")[1], bank, {"digits": other}, methods, fit=done).table()
    rows = table.query("ood == 'digits'").set_index("method")
    assert rows.id_accuracy["lts@95"] == rows.id_accuracy["energy"]
    assert (rows.id_accuracy > 50).all()
    assert rows.auroc.nunique() == len(methods)
