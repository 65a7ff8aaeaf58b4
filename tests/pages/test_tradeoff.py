"""The Trade-off page: sentences for every sign, numbers, picks, missing banks, its program."""

import io
import itertools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from app_pages import at_demo, ran, texts, traces
from click.testing import CliRunner
from streamlit.testing.v1 import AppTest

from app.backend import banks, engine, evaluations, setups
from app.backend import deep as deep_tails
from app.charts.front import Setting, settings
from app.link.spec import RunSpec
from app.ui import code, deep_progress, prepare
from app.views.tradeoff import page as tradeoff
from ash.__main__ import main
from ash.methods import Method, parse_methods

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "1 s"), (38, "38 s"), (240, "4 min"), (9000, "2.5 h")])
def test_durations(seconds: float, words: str) -> None:
    assert prepare.duration(seconds) == words


# The page


@pytest.fixture
def app() -> AppTest:
    return at_demo("tradeoff")


def expected(
    method: str, on: str = "mean", ood: tuple[str, ...] = (), part: str = "test", at: setups.Setup | None = None
) -> Setting:
    at = at or setups.setup(RunSpec())
    (one,) = settings(evaluations.measure(at, method, part), on, ood or at.ood)
    return one


def test_cards_sentence_and_chart_agree_with_the_backend(app: AppTest) -> None:
    ran(app, p="66", variant="ash_b")
    one, base = expected("ash_b@66"), expected("energy")
    shown = {metric.label: (metric.value, metric.delta) for metric in app.metric}
    assert shown["AUROC"][0] == f"{one.auroc:.1f} %"
    assert shown["FPR95"][0] == f"{one.fpr95:.1f} %"
    assert shown["ID accuracy"] == (f"{one.id_accuracy:.1f} %", f"{one.id_accuracy - base.id_accuracy:+.1f}")
    sentences = [text.value.replace("\\", "") for text in app.markdown]
    assert any("ASH-B at p = 66" in text and "mean of 6 OOD sets" in text for text in sentences)
    current = traces(app, "pareto")["current"]
    assert current["customdata"] == ["ash_b@66"]


def test_one_set_and_fewer_sets_change_the_numbers(app: AppTest) -> None:
    sets = list(setups.setup(RunSpec()).ood)
    ran(app, ood=",".join(sets[:2]))
    assert app.metric[0].value == f"{expected('ash_b@65', ood=tuple(sets[:2])).auroc:.1f} %"
    app.selectbox(key="spec_on").select(sets[1]).run()
    assert not app.exception
    assert app.metric[0].value == f"{expected('ash_b@65', on=sets[1]).auroc:.1f} %"


def test_every_objective_pair_and_option_draws(app: AppTest) -> None:
    for x, y in itertools.combinations(("id_accuracy", "auroc", "fpr95", "aupr"), 2):
        app.query_params.clear()
        ran(app, x=x, y=y, budget="0.5", all="1")
        assert "Pareto front" in traces(app, "pareto")


def test_energy_itself_has_cards_without_a_delta(app: AppTest) -> None:
    ran(app, variant="none")
    assert all(not metric.delta for metric in app.metric)
    assert any("everything else is measured against it" in text.value for text in app.markdown)


@pytest.mark.parametrize(("split", "part"), [("test", "validation"), ("all", "all")])
def test_the_best_within_the_budget_loads_as_chosen_on_validation(app: AppTest, split: str, part: str) -> None:
    ran(app, budget="1", variant="none", split=split)
    app.button(key="load_best").click().run()
    assert not app.exception
    spec: RunSpec = app.session_state["spec"]
    found = expected(str(spec.method), part=part)
    base = expected("energy", part=part)
    allowed = [
        one
        for one in settings(evaluations.table(setups.setup(RunSpec()), "energy", part), "mean", setups.setup(spec).ood)
        if one.id_accuracy >= base.id_accuracy - 1
    ]
    assert found.auroc == max(one.auroc for one in allowed) > base.auroc


def test_one_line_says_what_is_chosen_and_measured_on_what(app: AppTest) -> None:
    said = texts(ran(app, budget="1"))
    assert "Chosen on 300 ID + 600 OOD validation images, measured on the other 2,700 ID + 5,400 OOD." in said
    assert "With noise (Noise) alone for validation, " in said
    shown = [metric.value for metric in app.metric]
    app.toggle(key="spec_split").set_value(True).run()
    said = texts(app)
    assert "Chosen and measured on all 3,000 ID + 6,000 OOD images" in said
    assert "alone for validation" not in said
    assert app.query_params["split"] == "all"
    assert app.metric[0].value == f"{expected('ash_b@65', part='all').auroc:.1f} %"
    assert [metric.value for metric in app.metric] != shown


def test_a_set_that_cannot_be_split_is_said_and_all_images_are_used(
    app: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    why = "Digits: A set of 1 images cannot be split into validation and test: it takes two."
    monkeypatch.setattr("app.backend.protocol.problem", lambda at: why)
    said = texts(ran(app))
    assert f"{why} Chosen and measured on all" in said
    assert app.metric[0].value == f"{expected('ash_b@65', part='all').auroc:.1f} %"


def test_near_and_far_sets_are_measured_apart(app: AppTest) -> None:
    ran(app, on="far")
    far = tuple(name for name in setups.setup(RunSpec()).ood if name != "chimeras")
    assert app.metric[0].value == f"{expected('ash_b@65', ood=far).auroc:.1f} %"
    assert "mean of 5 far OOD sets" in texts(app)
    app.selectbox(key="spec_on").select("near").run()
    assert app.metric[0].value == f"{expected('ash_b@65', on='chimeras').auroc:.1f} %"
    assert "against Chimeras" in texts(app)


@pytest.mark.parametrize("score", ["msp", "max_logit"])
def test_another_score_has_its_own_baseline(app: AppTest, score: str) -> None:
    ran(app, score=score)
    assert traces(app, "pareto")["baseline"]["customdata"] == [score]


# Banks that are missing, tails that are slow


def test_missing_banks_are_offered_and_not_computed_without_a_click(
    app: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(banks, "missing_sets", lambda at: {"digits": 500, "noise": 500})
    app.run()
    assert not app.exception
    (offer,) = app.info
    assert "2 data sets, 1,000 images" in offer.value
    assert app.button(key="prepare_button").label == "Compute"


def test_computing_ends_in_the_page_and_cancel_stops_it(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    left = {"digits": 2}
    monkeypatch.setattr(banks, "missing_sets", lambda at: dict(left))

    def steps(at: setups.Setup) -> Iterator[banks.Step]:
        yield banks.Step("Digits", 1, 2, 10.0, 0.1)
        left.clear()
        yield banks.Step("Digits", 2, 2, 10.0, 0.0)

    monkeypatch.setattr(banks, "compute_banks", steps)
    app.run().button(key="prepare_button").click().run()
    assert not app.exception
    assert "Pareto front" in traces(app, "pareto")
    assert len(app.metric) == 4


@pytest.fixture(scope="module")
def third_block() -> setups.Setup:
    """A placement whose tail is deep, with few images, so that its banks are quick."""
    at = setups.setup(RunSpec(placement="layer3.0.relu2", images=60, ood=("digits",)))
    list(banks.compute_banks(at))
    return setups.setup(RunSpec(placement="layer3.0.relu2", images=60, ood=("digits",)))


def test_a_deep_tail_fills_in_setting_by_setting(
    app: AppTest, third_block: setups.Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not engine.is_linear(third_block)
    monkeypatch.setattr(deep_progress, "SLICE", 0.2)
    for key, value in (("placement", third_block.placement), ("n", "60"), ("ood", "digits"), ("p", "70")):
        app.query_params[key] = value
    ran(app)
    assert "current" in traces(app, "pareto")
    found = deep_tails.deep_table(third_block, "energy")
    assert found is not None
    assert set(found["method"]) == {"ash_b@70", *deep_tails.deep_methods(third_block, "energy")}


def test_a_stopped_deep_tail_goes_on_in_the_middle_of_a_setting(third_block: setups.Setup) -> None:
    methods = ("msp", "ash_s@70:msp", "ash_b@70:msp")
    seen = [next(deep_tails.deep_steps(third_block, "msp", methods)) for _ in range(2)]
    assert [step.done for step in seen] == [0, 0]
    (work,) = deep_tails._known(third_block, "msp").works
    assert 0 < work.share < 1
    before, steps = work.share, work.steps
    rest = list(deep_tails.deep_steps(third_block, "msp", methods))
    assert work.steps is steps, "a new sweep was begun"
    assert work.share == 1 > before
    assert [step.done for step in rest] == sorted(step.done for step in rest)
    assert list(deep_tails.deep_steps(third_block, "msp", methods)) == []
    for method in methods:
        pd.testing.assert_frame_equal(evaluations.measure(third_block, method), deep_table(third_block, method))


def deep_table(at: setups.Setup, method: str) -> pd.DataFrame:
    found = deep_tails.deep_table(at, "msp")
    assert found is not None
    return found[found["method"] == method].reset_index(drop=True)


# Python for this view


def test_the_program_prints_the_numbers_of_the_page(app: AppTest) -> None:
    sets = setups.setup(RunSpec()).ood[:2]
    spec = replace(RunSpec(), variant="ash_s", p=66.0, ood=sets)
    text = code.program(spec)
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, timeout=300, check=True
    )
    printed = pd.read_csv(io.StringIO(done.stdout)).set_index(["ood", "method"])
    assert {method for _, method in printed.index} == {"energy", "ash_s@66"}
    for method in ("energy", "ash_s@66"):
        for on in (*sets, "mean"):
            one = expected(method, on=on, ood=sets)
            for name in ("auroc", "fpr95", "aupr", "id_accuracy"):
                assert printed.loc[(on, method), name] == pytest.approx(one[name], abs=0.0051)


def test_page_program_and_command_line_choose_the_same_and_print_the_same_digits(app: AppTest, tmp_path: Path) -> None:
    ood, table = ("digits", "letters", "chimeras"), tmp_path / "table.csv"
    ran(app, ood=",".join(ood), budget="1", p="66", variant="ash_b")
    text = tradeoff.program(app.session_state["spec"], True, "auroc")
    done = subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    first, _, rest = done.stdout.partition("\n")
    found = first.removeprefix("# the best setting, chosen on validation images: ")
    app.button(key="load_best").click().run()
    assert str(app.session_state["spec"].method) == found
    printed = pd.read_csv(io.StringIO(rest)).set_index(["method", "ood"])
    assert {method for method, _ in printed.index} == {"energy", "ash_b@66", found}
    for method, on in printed.index:
        sets = {"near": ("chimeras",), "far": ood[:2], "mean": ood}.get(on, (on,))
        one = expected(method, ood=sets)
        for name in ("auroc", "fpr95", "aupr", "id_accuracy"):
            assert f"{printed.loc[(method, on), name]:.2f}" == f"{one[name]:.2f}"
    shown = dict(zip(("auroc", "fpr95", "id_accuracy", "aupr"), (one.value for one in app.metric), strict=True))
    assert shown["auroc"] == f"{expected(found, ood=ood).auroc:.1f} %"
    candidates = code.in_ranges(
        map(Method.parse, dict.fromkeys(evaluations.table(setups.setup(RunSpec()), "energy").method))
    )
    words = ["sweep", "--model", "demo", "--placement", "penultimate", "--id", "fashion_mnist", "--methods", candidates]
    said = CliRunner().invoke(
        main, [*words, *(f"--ood={name}" for name in ood), "--choose", "--budget=1", "--out", str(table)]
    )
    assert f"the unshaped network: {found}\n" in said.output
    rows = pd.read_csv(table).set_index(["method", "ood"])
    for on in (*ood, "mean", "near", "far"):
        for name in ("auroc", "fpr95", "aupr", "id_accuracy"):
            assert f"{rows.loc[(found, on), name]:.2f}" == f"{printed.loc[(found, on), name]:.2f}"


def test_methods_are_written_as_ranges_where_they_are_some() -> None:
    methods = evaluations.grid_methods(setups.setup(RunSpec()), "msp")
    text = code.in_ranges(map(Method.parse, methods))
    assert "ash_b@0:95:5:msp" in text
    assert parse_methods(text) == [Method.parse(one) for one in methods]
    odd = ["ash_s@90", "ash_s@95", "ash_s@70", "react@1.0+ash_s@90", "dice@90", "ash_p@1", "ash_p@2", "ash_p@4"]
    assert code.in_ranges(map(Method.parse, odd)) == ",".join(str(Method.parse(one)) for one in odd)


@pytest.mark.parametrize("placement", ["avgpool", "layer4.0.relu2"])
def test_the_program_is_valid_and_short(app: AppTest, placement: str) -> None:
    text = code.program(RunSpec(placement=placement, variant="none"))
    compile(text, "program", "exec")
    assert len(text.splitlines()) < 30
    assert 'parse_methods("energy")' in text


def test_one_image_has_no_interval_and_no_label_no_accuracy(monkeypatch: pytest.MonkeyPatch) -> None:
    at = setups.setup(RunSpec())
    whole = evaluations.evaluation(at, "energy")
    first = next(iter(whole.ood_scores))
    for scores, id_scores, why in (
        (whole.ood_scores[first][:1], whole.id_scores, "single image"),
        (whole.ood_scores[first][:9], whole.id_scores[:1], "single image"),
        (whole.ood_scores[first][:9] * 0, whole.id_scores[:3] * 0, "all scores are equal"),
        (whole.ood_scores[first][:9], whole.id_scores[:3], ""),
    ):
        few = replace(whole, id_scores=id_scores, ood_scores={first: scores})
        monkeypatch.setattr("app.backend.evaluations.evaluation", lambda *_, few=few: few)
        assert why in evaluations.no_interval(at, "energy", (first,))
        assert bool(evaluations.no_interval(at, "energy", (first,))) == bool(why)
        evaluations.intervals.clear()
        assert (evaluations.intervals(at, "energy", (first,)) is None) == bool(why)
    evaluations.intervals.clear()


def test_a_card_without_labels_says_why(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Setting(Method(), float("nan"), 94.0, 30.0, 99.0)
    monkeypatch.setattr(
        "app.views.tradeoff.page.view_of", lambda *_: tradeoff.View((nothing,), nothing, nothing, (), "here")
    )
    shown = ran(app, variant="none")
    assert {one.value for one in shown.metric if one.label == "ID accuracy"} == {"not defined"}
    assert any("no label" in one.value for one in shown.caption)
