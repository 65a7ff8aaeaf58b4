"""The Placements page from the entry point: what is there, what is missing, computing, cancel, resume, picks."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import takewhile

import pytest
import streamlit as st
from app_pages import ENTRY, at_demo, ran, texts, traces
from streamlit.testing.v1 import AppTest

from app.backend import banks, deep, evaluations, layer_status, protocol, setups
from app.charts.front import settings
from app.link.picks import Pick, reduce
from app.link.spec import PENULTIMATE, RunSpec
from app.ui import placements
from ash.errors import AshError
from ash.methods import Method

pytestmark = pytest.mark.slow

DEEP, BLOCK = "layer3.0.relu2", "layer4.0.relu2"
NUMBER = "30"  # images a set where a test computes activations


@pytest.fixture
def app() -> AppTest:
    return at_demo("placements")


def spec_of(app: AppTest) -> RunSpec:
    spec: RunSpec = app.session_state["spec"]
    return spec


def keys(app: AppTest) -> dict[str, str]:
    """Key -> label of the page's own buttons."""
    return {one.key: one.label for one in app.button if one.key and one.key.startswith(("compute_", "time_", "load_"))}


def shared() -> str:
    """The images that the tables of the other placements, which ship, are of."""
    at = setups.setup(RunSpec())
    return protocol.cut(protocol.ALL, {name: 2000 if name == at.id_set else 500 for name in at.sets})


# What is there


def test_it_opens_with_what_is_there_and_computes_nothing_else(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(banks, "compute_banks", lambda at: pytest.fail("nobody asked for it"))
    ran(app, n="31", variant="ash_s")  # no bank is there with 31 images
    assert "ASH-S is not computed yet at any of 3 placements." in texts(app)
    assert "7 data sets, 217 images" in texts(app)
    assert keys(app)["compute_all"] == "Compute all 3"
    rows = traces(app, "placements_grid")
    assert list(rows) == ["Third block", "Last block", "Penultimate layer"]
    assert not any(any(row["text"]) for row in rows.values())


def test_the_sentence_and_the_line_are_those_of_the_backend(app: AppTest) -> None:
    ran(app, variant="ash_s", p="80")
    rows = settings(evaluations.table(setups.setup(RunSpec()), "energy", shared()), "mean", setups.setup(RunSpec()).ood)
    base = next(row for row in rows if row.method == Method())
    line = [row for row in rows if row.variant == "ash_s"]
    held = [row.parameter for row in takewhile(lambda row: row.id_accuracy >= base.id_accuracy - 1, line)]
    assert 0 < len(held) < len(line)
    assert f"ASH-S stays within 1 point of the unshaped accuracy up to p = {held[-1]:g} at the penultimate" in texts(
        app
    )
    drawn = traces(app, "placements_curves")["Penultimate layer"]
    assert drawn["y"] == pytest.approx([row.id_accuracy for row in line], abs=1e-3)
    assert drawn["customdata"] == [f"{PENULTIMATE} {row.method}" for row in line]
    assert traces(app, "placements_curves")["current"]["customdata"] == [f"{PENULTIMATE} ash_s@80"]


def test_the_best_cell_is_chosen_on_validation_and_measured_on_test(app: AppTest) -> None:
    ran(app, variant="ash_s", p="50", budget="2", score="max_logit")  # no table of that score ships
    at = setups.setup(RunSpec())
    rows = settings(evaluations.table(at, "max_logit", "validation"), "mean", at.ood)
    base = next(row for row in rows if row.method == Method(score="max_logit"))
    inside = [row for row in rows if row.variant == "ash_s" and row.id_accuracy >= base.id_accuracy - 2]
    best = max(inside, key=lambda row: row.auroc - base.auroc)
    (shown,) = settings(evaluations.measure(at, best.id, "test"), "mean", at.ood)
    wanted = f"the best AUROC on the validation images **at the penultimate layer** with **p = {best.short}**"
    assert f"{wanted}; on the others it has {shown.auroc:.1f} %" in texts(app)
    assert "All images are measured." not in texts(app)
    app.toggle(key="spec_split").set_value(True).run()
    assert "on the validation images" not in texts(app)
    assert "the highest AUROC" in texts(app)


def test_a_percentile_between_the_marks_has_its_own_column_and_its_value(app: AppTest) -> None:
    ran(app, variant="ash_s", p="66")
    row = traces(app, "placements_grid")["Penultimate layer"]
    at = row["customdata"].index(f"{PENULTIMATE} ash_s@66")
    (one,) = settings(
        evaluations.measure(setups.setup(RunSpec()), "ash_s@66", shared()), "mean", setups.setup(RunSpec()).ood
    )
    assert row["text"][at] == f"{one.auroc:.1f}"


@pytest.mark.parametrize("query", [{"cells": "fpr95"}, {"cells": "id_accuracy", "all": "1"}, {"score": "msp"}])
def test_objective_score_and_range(app: AppTest, query: dict[str, str]) -> None:
    ran(app, budget="0.5", on="digits", **query)
    score = query.get("score", "energy")
    part = shared() if score == "energy" else "test"
    (one,) = settings(
        evaluations.measure(setups.setup(RunSpec()), str(Method("ash_b", 65.0, score)), part), "digits", ("digits",)
    )
    row = traces(app, "placements_grid")["Penultimate layer"]
    at = row["customdata"].index(f"{PENULTIMATE} {one.method}")
    assert row["text"][at] == f"{one[query.get('cells', 'auroc')]:.1f}"
    assert "At most 0.5 points of accuracy below unshaped" in texts(app)


@pytest.mark.parametrize("variant", ["react", "none"])
def test_a_variant_without_a_percentile_shows_another_and_offers_all(app: AppTest, variant: str) -> None:
    ran(app, variant=variant)
    assert "so what follows is ASH-S" in texts(app)
    assert spec_of(app).variant == variant
    assert traces(app, "placements_curves")["Penultimate layer"]["customdata"][0] == f"{PENULTIMATE} ash_s@0"
    (control,) = app.segmented_control
    assert control.value is None
    control.set_value("ash_p").run()
    assert not app.exception
    assert spec_of(app).variant == "ash_p"
    assert "so what follows" not in texts(app)


# Picks


def test_where_tables_ship_all_is_measured_and_chosen_on_their_images_and_the_page_says_so(app: AppTest) -> None:
    ran(app, variant="ash_s", p="50")
    assert "on the same images: 2,000 ID and 3,000 OOD" in texts(app)
    assert "validation and test images together" in texts(app)
    assert "on the validation images" not in texts(app)
    ran(app, split="all")
    assert "validation and test images together" not in texts(app)


@pytest.mark.parametrize(("score", "split"), [("energy", "test"), ("msp", "test"), ("msp", "all")])
def test_the_best_cell_loads_on_every_page(app: AppTest, score: str, split: str) -> None:
    ran(app, variant="ash_b", p="50", split=split, score=score)
    part = shared() if score == "energy" else "validation" if split == "test" else "all"
    at = setups.setup(RunSpec())
    rows = [row for row in settings(evaluations.table(at, score, part), "mean", at.ood) if row.variant == "ash_b"]
    p = max(rows, key=lambda row: (round(row.auroc, 9), row.id_accuracy)).parameter
    app.button(key="load_best_cell").click().run()
    assert not app.exception
    best = spec_of(app)
    assert (best.placement, best.variant, best.p) == (PENULTIMATE, "ash_b", p)
    assert "load_best_cell" not in keys(app)


def test_every_mark_and_cell_names_a_placement_of_the_network_and_a_method(app: AppTest) -> None:
    ran(app, variant="ash_s", more="layer2.0.add")
    ids = [
        text
        for chart in ("placements_curves", "placements_grid")
        for row in traces(app, chart).values()
        for text in row.get("customdata", [])
    ]
    nodes = {cut.name for cut in layer_status.cuts("demo")}
    assert len(ids) > 60
    for text in ids:
        spec = reduce(RunSpec(), Pick.cell(text))
        assert spec.placement in {*nodes, PENULTIMATE}
        assert text == f"{spec.placement} {spec.method}"


def test_other_placements_stand_in_network_order_and_unknown_ones_are_named(app: AppTest) -> None:
    ran(app, more="layer4.0.add,layer1.0.add,nowhere,avgpool", placement="layer2.0.relu2")
    rows = list(traces(app, "placements_grid"))
    assert rows == ["layer1.0.add", "layer2.0.relu2", "Third block", "layer4.0.add", "Last block", "Penultimate layer"]
    assert "demo has no placement nowhere" in texts(app)
    chosen = app.multiselect(key="spec_more")
    assert chosen.value == ["layer4.0.add", "layer1.0.add"]
    described = next(text for text in chosen.options if text.startswith("layer4.0.add"))
    assert described == "layer4.0.add: 192 × 4 × 4, 12 kB an image, before the ReLU, may be negative"
    assert not any(text.startswith((DEEP, "avgpool")) for text in chosen.options)
    chosen.set_value(["layer1.0.add"]).run()
    assert spec_of(app).placements.more == ("layer1.0.add",)


# Computing


def test_compute_all_fills_every_cell_with_the_backends_numbers(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placements, "SLICE", 0.2)
    ran(app, n=NUMBER, variant="ash_s", p="90")
    app.button(key="compute_all").click().run()
    assert not app.exception
    assert [one.value for one in app.error] == []
    assert "Not computed yet" not in texts(app)
    every = setups.setup(RunSpec(images=int(NUMBER)))
    part = protocol.usable(every, "test")
    n_id, n_ood = protocol.sizes(every, every.ood, part)
    assert f"Every placement is measured on the same images: {n_id} ID and {n_ood} OOD." in texts(app)
    assert (part == "all") == ("All images are measured." in texts(app))
    for label, node in (("Third block", DEEP), ("Last block", BLOCK), ("Penultimate layer", PENULTIMATE)):
        row = traces(app, "placements_grid")[label]
        at = setups.setup(RunSpec(placement=node, images=int(NUMBER)))
        for text, cell in zip(row["text"], row["customdata"], strict=True):
            (one,) = settings(evaluations.measure(at, cell.split(" ")[1], part), "mean", at.ood)
            assert text == f"{one.auroc:.1f}", cell
    accuracies = {trace["y"][0] for name, trace in traces(app, "placements_curves").items() if name == "Unshaped"}
    assert len(accuracies) == 1


def fake_banks(monkeypatch: pytest.MonkeyPatch, script: list[str]) -> list[str]:
    """Extraction as a play: `stop` ends the script run in the middle, `fail` raises, `done` lets it end."""
    calls: list[str] = []
    real = layer_status.missing_sets

    def missing_sets(at: setups.Setup) -> dict[str, int]:
        return {} if "done" in calls and at.placement == DEEP else real(at)

    def steps(at: setups.Setup) -> Iterator[banks.Step]:
        calls.append(script[len(calls)])
        yield banks.Step("Digits", 10, 217, 5.0, 41.4)
        if calls[-1] == "stop":
            st.stop()
        if calls[-1] == "fail":
            raise AshError("The disk is full.")

    monkeypatch.setattr(layer_status, "missing_sets", missing_sets)
    monkeypatch.setattr(banks, "compute_banks", steps)
    return calls


def test_cancel_leaves_the_queue_and_compute_goes_on(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fake_banks(monkeypatch, ["stop", "stop", "stop"])
    ran(app, n="32")
    app.button(key=f"compute_{DEEP}").click().run()
    assert keys(app)[f"compute_{DEEP}"] == "Cancel"
    assert keys(app)[f"compute_{BLOCK}"] == "Compute"
    app.selectbox(key="spec_cells").select("fpr95").run()  # a click elsewhere: the next run goes on with the queue
    assert calls == ["stop", "stop"]
    app.button(key=f"compute_{DEEP}").click().run()
    assert keys(app)[f"compute_{DEEP}"] == "Compute"
    app.run()
    assert calls == ["stop", "stop"]
    app.button(key=f"compute_{DEEP}").click().run()
    assert calls == ["stop", "stop", "stop"]


def test_a_queue_holds_for_what_it_was_started_with(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fake_banks(monkeypatch, ["stop", "stop"])
    ran(app, n="33")
    app.button(key="compute_all").click().run()
    assert keys(app)["compute_all"] == "Cancel all"
    app.selectbox(key="spec_images").select(100).run()
    assert calls == ["stop"]
    assert keys(app)["compute_all"] == "Compute all 3"


def test_a_failure_is_a_sentence_and_is_not_repeated(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fake_banks(monkeypatch, ["fail", "stop"])
    ran(app, n="34")
    app.button(key=f"compute_{BLOCK}").click().run()
    assert [one.value for one in app.error] == ["The disk is full."]
    app.run()
    assert not app.error
    assert calls == ["fail"]
    assert keys(app)[f"compute_{BLOCK}"] == "Compute"


def test_what_it_costs_is_measured_on_request(app: AppTest) -> None:
    ran(app, n="35")
    assert "7 data sets, 245 images, 3.1 MB." in texts(app)
    assert "about" not in texts(app).split("Not computed yet")[1].split("How to read")[0]
    app.button(key="time_all").click().run()
    assert not app.exception
    assert "245 images, 3.1 MB, about " in texts(app)
    assert f"Together: 735 images, {245 * (12544 + 12288 + 768) / 1e6:.1f} MB, about " in texts(app)
    assert "time_all" not in keys(app)


def test_a_deep_tail_says_how_many_settings_it_has_and_goes_on(app: AppTest) -> None:
    spec = RunSpec(placement=DEEP, variant="ash_p", p=70.0, images=int(NUMBER))
    at = setups.setup(spec)
    for _ in banks.compute_banks(at):
        pass
    for step in deep.deep_steps(at, "energy", ("energy", "ash_p@65")):
        assert step.total == 2
    query = {"placement": DEEP, "variant": "ash_p", "p": "72", "n": NUMBER}
    ran(app, **query)
    assert "2 of 11 settings" in texts(app)  # energy, nine percentiles, and p = 72
    assert keys(app)[f"compute_{DEEP}"] == "Go on"
    app.button(key=f"compute_{DEEP}").click().run()
    assert not app.exception
    row = traces(app, "placements_grid")["Third block"]
    assert all(row["text"])
    assert f"{DEEP} ash_p@72" in row["customdata"]


def test_settings_of_an_earlier_server_are_there_without_a_click() -> None:
    spec = RunSpec(placement=DEEP, variant="ash_s", images=29)
    at = setups.setup(spec)
    for _ in banks.compute_banks(at):
        pass
    evaluations.measure(at, "ash_s@90")
    st.cache_resource.clear()
    st.cache_data.clear()
    found = layer_status.standing(spec, DEEP, "ash_s")
    assert found.table is not None
    assert set(found.table["method"]) == {"ash_s@90"}
    assert set(found.wanted) - set(found.todo) == {"ash_s@90"}
    assert found.linear is False
    other = layer_status.standing(replace(spec, variant="ash_p"), DEEP, "ash_p")
    assert other.table is None
    assert other.todo == other.wanted


def test_what_is_computed_is_shown_without_torch(app: AppTest) -> None:
    ran(app, n=NUMBER, variant="ash_s", p="90")
    if "compute_all" in keys(app):
        app.button(key="compute_all").click().run()
    code = f"""
import sys
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash
app = AppTest.from_file({str(ENTRY)!r}, default_timeout=60)
app._page_hash = calc_hash("placements")
for key, value in dict(n={NUMBER!r}, variant="ash_s", p="90").items():
    app.query_params[key] = value
app.run()
assert not app.exception and not app.error, [one.value for one in (*app.exception, *app.error)]
assert "Not computed yet" not in str([one.value for one in app.markdown])
assert app.get_by_key("placements_grid") is not None
sys.exit("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ENTRY.parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
