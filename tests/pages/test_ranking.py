"""Every method on every network: chosen on validation, measured on test; the sentence is true whoever wins."""

from typing import Any

import pandas as pd
import pytest
import streamlit as st

from app.backend import evaluations, ranking, setups
from app.backend.ranking import Best
from app.link.spec import RunSpec
from app.views.tradeoff import ranking as view
from ash.methods import VARIANTS

pytestmark = pytest.mark.slow


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> setups.Setup:
    """The small network alone: the others take longer to evaluate."""
    at = setups.setup(RunSpec())
    monkeypatch.setattr(ranking, "networks", lambda score: {"Small": at})
    return at


@pytest.mark.parametrize("budget", [None, 1.0])
@pytest.mark.parametrize(("split", "chosen_on"), [("test", "validation"), ("all", "all")])
def test_each_variant_has_its_best_setting(
    demo: setups.Setup, budget: float | None, split: str, chosen_on: str
) -> None:
    todo = list(ranking.left("energy"))
    assert [step.label for step in ranking.steps("energy")] == todo
    assert ranking.left("energy") == {}
    rows = evaluations.table(demo, "energy", chosen_on).query("ood == 'mean'").set_index("method")
    shown = evaluations.table(demo, "energy", split).query("ood == 'mean'").set_index("method")
    found = {one.variant: one for one in ranking.best("energy", budget, split)}
    floor = -1.0 if budget is None else rows.id_accuracy["energy"] - budget
    for variant in VARIANTS:
        mine = rows[(rows.variant == variant) & (rows.id_accuracy >= floor)]
        assert (variant in found) == bool(len(mine))
        if len(mine):
            one = found[variant]
            assert rows.auroc[one.method] == mine.auroc.max()
            assert one.auroc == shown.auroc[one.method]
            assert one.gain == pytest.approx(shown.auroc[one.method] - shown.auroc["energy"])
            assert (one.fpr95, one.id_accuracy) == (shown.fpr95[one.method], shown.id_accuracy[one.method])


def one(network: str, variant: str, auroc: float, gain: float) -> Best:
    method = "energy" if variant == "none" else f"{variant}@80"
    return Best(network, variant, method, auroc, 30.0, 75.0, gain)


def test_the_sentence_is_true_whoever_wins() -> None:
    plain = [one("A", "none", 90.0, 0.0), one("B", "none", 80.0, 0.0)]
    same = [*plain, one("A", "ash_s", 91.0, 1.0), one("B", "ash_s", 85.0, 5.0)]
    assert "ASH-S is best on all 2 networks." in view.sentence(same)
    other = view.sentence([*same, one("B", "ash_b", 86.0, 6.0)])
    assert other.startswith("The best method differs by network: ")
    assert "ASH-S on A; " in other
    assert "ASH-B on B." in other
    assert "no shaping on A" in view.sentence([*plain, one("B", "ash_s", 85.0, 5.0)])
    assert view.sentence(plain[:1]) == "On the one network that is evaluated, A, no shaping is best."


def test_the_table_has_a_row_for_each_method_and_the_spread_of_its_gain() -> None:
    shown = view.table([one("A", "ash_s", 91.0, 1.0), one("B", "ash_s", 85.0, -5.0), one("A", "none", 90.0, 0.0)])
    assert list(shown) == ["Method", "A", "B", "Gain"]
    assert shown["Method"].tolist()[0] == "no shaping"
    assert shown["A"].tolist() == ["90.0 / 30.0 / 75.0", "@ 80: 91.0 / 30.0 / 75.0"]
    assert shown["B"].tolist() == ["none in the budget", "@ 80: 85.0 / 30.0 / 75.0"]
    assert shown["Gain"].tolist()[1].replace("\N{MINUS SIGN}", "-") == "-5.0 to +1.0"


def test_what_is_drawn_is_what_is_evaluated(demo: setups.Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr("app.ui.plot.rows", lambda frame, key: drawn.append(frame))
    monkeypatch.setattr(ranking, "left", lambda score: {"Large": demo})
    monkeypatch.setattr(st, "button", lambda label, **_: drawn.append(label))
    view.body(RunSpec(budget=1.0))
    assert drawn[0] == "Measure 1 more network"
    pd.testing.assert_frame_equal(drawn[1], view.table(ranking.best("energy", 1.0, "test")))
