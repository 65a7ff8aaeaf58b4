"""Python for this view, page by page: run, and what it prints is what the page shows."""

import contextlib
import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from app.backend import evaluations, layer_status, setups
from app.charts import sample_table, score_words
from app.charts.sample_table import NOT_ID, Filters
from app.link.spec import RunSpec
from app.theme import count
from app.ui import code, placement_values, sample_code
from app.views.placements import page as placements
from app.views.samples import cards
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
    whole = placements._program(spec, standings, shown)
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
