"""Python for this view, page by page: run, and what it prints is what the page shows."""

import contextlib
import io
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from app.backend import banks, evaluations, layer_status, lessons, setups
from app.backend.uploads import Uploads
from app.charts import sample_table, score_words
from app.charts.sample_table import NOT_ID, Filters
from app.link.spec import RunSpec
from app.theme import count
from app.ui import code, placement_values, sample_code, sample_picker, texts
from app.ui.lessons import facts_choice, programs, questions
from app.ui.lessons.facts import Here
from app.views.lab import relu_live, sample
from app.views.samples import cards
from app.views.samples import own as own_page
from app.views.scores import page as scores
from ash.methods import Method
from ash.reference import shape

pytestmark = pytest.mark.slow

SETS = ("digits", "chimeras")
SPEC = RunSpec(model="demo", variant="ash_s", p=66.0, ood=SETS)


def printed(program: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(program, "program", "exec"), {"__name__": "__main__"})
    return out.getvalue()


@pytest.mark.parametrize(("tpr", "split", "part"), [(90.0, "test", "test"), (95.0, "all", "all")])
def test_scores_what_the_threshold_does(tpr: float, split: str, part: str) -> None:
    spec = replace(SPEC, tpr=tpr, split=split)
    at = setups.setup(spec)
    after, before = (evaluations.evaluation(at, text, part) for text in ("ash_s@66", "energy"))
    counts = score_words.counts(scores._record(spec, after, before), "Energy")
    rows = pd.read_csv(io.StringIO(printed(code.counts_program(spec, SETS)))).set_index(["method", "set"])
    for name, (_, shown) in zip(("fashion_mnist", *SETS), counts.iterrows(), strict=True):
        now, old = rows.loc[("ash_s@66", name)], rows.loc[("energy", name)]
        assert count(int(now["accepted"])) == shown["Accepted"]
        assert count(int(now["rejected"])) == shown["Rejected"]
        assert f"{now['accepted in %']:.1f} %" == shown["Accepted, %"]
        assert f"{old['accepted in %']:.1f} %" == shown["Energy, %"]


@pytest.mark.parametrize(
    "chosen",
    [
        Filters(),
        Filters(among=NOT_ID, verdict="accepted"),
        Filters(among="id", verdict="rejected", change="broken"),
        Filters(among="digits", scores=(0.0, 12.5), find="1"),
    ],
    ids=["all", "OOD accepted", "ID broken", "a set, scores, a name"],
)
def test_samples_those_that_pass_the_filters(chosen: Filters) -> None:
    found = cards.table(SPEC)
    kept = sample_table.frame(found, np.sort(sample_table.select(found, chosen).rows))
    text = printed(code.samples_program(SPEC, chosen))
    rows = pd.read_csv(io.StringIO(text), comment="#")
    assert rows["file"].astype(str).tolist() == kept["file"].tolist()
    for name in ("score_before", "score_after"):
        np.testing.assert_allclose(rows[name], kept[name].astype(float), rtol=1e-5)
    for name in ("accepted_before", "accepted_after", "rescued", "broken"):
        assert rows[name].tolist() == kept[name].tolist()
    wrong = int((kept["accepted_after"] != kept["in_distribution"]).sum())
    assert f"{wrong} wrong, {kept['rescued'].sum()} rescued, {kept['broken'].sum()} broken" in text


def test_a_filter_by_class_is_said_to_be_left_out() -> None:
    assert "filters by class (predicted)" in code.samples_program(SPEC, Filters(predicted="Bag"))


def test_placements_on_the_images_that_all_have() -> None:
    spec = replace(SPEC, placement="layer4.0.relu2")
    names = layer_status.compared(spec)[0]
    standings = placement_values.standings(spec, names, "ash_s")
    shown = placement_values.record(spec, standings, "ash_s")
    whole = placement_values.program(spec, standings, shown)
    compile(whole, "program", "exec")
    assert '"fashion_mnist": 2000' in whole
    places, most = ("avgpool", "layer4.0.relu2"), layer_status.fewest(standings)
    most = {name: most[name] for name in ("fashion_mnist", *SETS)}
    text = printed(code.placements_program(spec, places, ("energy", "ash_s@90"), most, False))
    parts = [part for part in text.split("placement,") if part.strip()]
    rows = pd.concat([pd.read_csv(io.StringIO("placement," + part)) for part in parts])
    means = rows[rows["ood"] == "mean"].set_index(["placement", "method"])
    for place in shown.places:
        if (node := setups.setup(replace(spec, placement=place.name)).placement) in places:
            one = place.find(Method("ash_s", 90.0))
            assert one is not None
            for name in ("auroc", "fpr95", "id_accuracy"):
                assert means.loc[(node, "ash_s@90"), name] == pytest.approx(one[name], abs=0.011)


def test_shape_lab_its_twelve_values() -> None:
    values = np.array([0.0, 1.5, 0.25, 3.0, 0.5, 0.75, 2.0, 0.1, 0.2, 0.3, 0.4, 1.0], np.float32)
    lines = dict(
        line.split(" ", 1) for line in printed(sample_code.values_program(Method("ash_s", 65.0), values)).splitlines()
    )
    assert lines["k"] == "4 of 12"
    np.testing.assert_allclose(eval(lines["after"]), shape(torch.from_numpy(values)[None], "ash_s", 65.0)[0], rtol=1e-6)


def test_modified_relu_of_its_two_images() -> None:
    both = [SPEC, sample.beside(SPEC)]
    record = relu_live.relu("ash_s", tuple(sample.image(one, sample.chosen(one)) for one in both), 66.0)
    pair = [(sample_picker.data_set(one), one.sample) for one in both]
    parts = printed(sample_code.pair_program(SPEC, Method("ash_s", 66.0), pair)).split("image ")[1:]
    assert [part.split("\n")[0] for part in parts] == [f"{index} of {name}" for name, index in pair]
    for part, cut in zip(parts, record.now, strict=True):
        lines = dict(line.split(" ", 1) for line in part.splitlines()[1:])
        assert lines["k"] == f"{cut.k} of {cut.n}"
        assert float(lines["t"]) == pytest.approx(cut.t)
        assert float(lines["factor"]) == pytest.approx(cut.slope)


@pytest.mark.parametrize(
    "spec", [SPEC, replace(SPEC, other="knn"), replace(SPEC, placement="layer4.0.relu2", images=2)]
)
def test_own_images_as_a_folder(spec: RunSpec, tmp_path: Path) -> None:
    own = Uploads()
    list(banks.compute_banks(setups.setup(spec)))
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 30 + number, 4), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        own.add(f"{number}.png", (tmp_path / f"{number}.png").read_bytes())
    list(own.work(setups.setup(spec), str(evaluations.unshaped(spec).method), str(spec.method)))
    shown = own_page.frame(spec, own, own_page._lines(spec))
    program = code.own_program(spec).replace("own=FOLDER", f"own={tmp_path}")
    rows = pd.read_csv(io.StringIO(printed(program)))
    assert rows["file"].tolist() == shown["file"].tolist()
    for when in ("before", "after"):
        assert rows[f"predicted_{when}"].tolist() == shown[f"predicted_{when}"].tolist()
        assert rows[f"accepted_{when}"].tolist() == shown[f"accepted_{when}"].tolist()
        for name in ("score", "threshold"):
            np.testing.assert_allclose(rows[f"{name}_{when}"], shown[f"{name}_{when}"].astype(float), rtol=1e-5)


@pytest.mark.parametrize("name", [*texts.questions()])
def test_predict_the_curves_that_it_is_judged_by(name: str) -> None:
    here = Here(replace(SPEC, ood=SETS))
    program, found = programs.program(here, texts.questions()[name]), questions.outcome(here, name)
    assert found is not None
    if name == "earlier":  # it is the program of Placements, which is run above
        assert compile(program, "program", "exec")
        assert "energy,ash_p@" in program
        assert "for placement in [" in program
        return
    text = printed(program)
    if name == "sure":
        assert [float(line.split()[-2]) for line in text.splitlines()] == [
            pytest.approx(one, abs=0.006) for one in astuple(lessons.sure(here.at, here.sets))
        ]
        return
    if name == "exponent":
        rows = pd.read_csv(io.StringIO(text), comment="#", skiprows=1, names=["p", "exponential", "plain"])
        for column, line in zip(("exponential", "plain"), found.picture.lines, strict=False):
            np.testing.assert_allclose(rows[column], [y for _, y in line.points], atol=0.0051)
        return
    table = pd.read_csv(io.StringIO(text))
    of = found.values["least"] if name == "harmed" else ""
    rows = table[table["ood"] == (next(one for one, label in here.labels.items() if label == of) if of else "mean")]
    numbers = rows.set_index("method")
    on = "auroc" if "AUROC" in found.picture.y else "id_accuracy"
    if name == "chosen":
        spots = sorted((one.id_accuracy, one.auroc) for one in facts_choice.grid(here))
        printed_ones = sorted(zip(numbers["id_accuracy"], numbers["auroc"], strict=True))
        np.testing.assert_allclose(printed_ones, spots, atol=0.0051)
        return
    for line in found.picture.lines:
        methods = {"one threshold for all": "ash_b_global", "own percentile": "ash_b"}
        method = methods.get(line.name, line.role)
        shown = [(p, y) for p, y in line.points if p]
        made = [numbers.loc[f"{method}@{p:g}", on] for p, _ in shown]
        np.testing.assert_allclose(made, [y for _, y in shown], atol=0.0051)
