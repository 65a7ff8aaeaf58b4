"""Histograms, ROC / PR curves and the scrub: the records count right, the figures say what the records say."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve, roc_curve

from app.charts import bins, score_words, scores
from app.views.scores import curves, scrub
from app.views.scores import roc_pr as rates
from ash.metrics import auroc, fpr_at_tpr, threshold_at_tpr

AXES = bins.AXES
LABELS = {"id": "Clothes", "far": "Noise", "near": "Photographs"}


def sets(seed: int = 0, heavy: bool = False) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    raw = [rng.normal(mean, 1, n).astype(np.float32) for mean, n in ((3, 1000), (0, 400), (2, 300))]
    own, far, near = [np.exp(values * 3) if heavy else values for values in raw]
    return own, {"far": far, "near": near}


def record(axis: str, tpr: float = 95.0, heavy: bool = False, labels: dict[str, str] = LABELS) -> bins.Histograms:
    return bins.histograms("ASH-S @ 90", labels, sets(1, heavy), sets(2), axis, tpr)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("heavy", [False, True])
@pytest.mark.parametrize("tpr", [50.0, 95.0, 99.9, 100.0])
def test_counts_sum_to_n_and_the_hatched_ones_are_the_accepted(axis: str, heavy: bool, tpr: float) -> None:
    own, others = sets(1, heavy)
    shown = record(axis, tpr, heavy)
    line = threshold_at_tpr(own, tpr / 100)
    assert shown.scale.threshold == line
    assert shown.id.accepted >= round(tpr / 100 * len(own), 9)
    for bars in (shown.id, *shown.ood):
        values = own if bars.name == "id" else others[bars.name]
        assert sum(bars.counts) == bars.n == len(values)
        assert sum(bars.counts[shown.scale.line :]) == bars.accepted == int((values >= line).sum())
    for bars in shown.ood:
        assert bars.accepted == round(fpr_at_tpr(own, others[bars.name], tpr / 100) * bars.n)
        assert bars.auroc == auroc(own, others[bars.name])


@pytest.mark.parametrize("axis", AXES)
def test_the_bars_lie_side_by_side_and_are_few(axis: str) -> None:
    for labels in (LABELS, {"id": "Clothes", "near": "Photographs"}):
        scale = record(axis, labels=labels).scale
        assert len(scale.left) == len(scale.right) == len(scale.cuts) - 1 <= 70
        assert (scale.cuts[0], scale.cuts[-1]) == (-math.inf, math.inf)
        assert all(np.diff(scale.cuts) > 0)
        inside = slice(1, -1 if scale.above else None)
        np.testing.assert_allclose(scale.left[inside][1:], scale.right[inside][:-1])
        assert scale.right[0] < scale.left[1]  # the bar that collects the rest stands apart


def test_what_lies_outside_the_window_is_collected_at_its_ends() -> None:
    own = np.linspace(0, 1, 1001)
    others = {"far": np.array([-1e6, -50, 1e5, 1e6, 0.5])}
    for axis in ("relative", "raw"):
        shown = bins.histograms("m", {"id": "ID", "far": "Far"}, (own, others), None, axis, 95.0)
        assert (shown.ood[0].counts[0], shown.ood[0].counts[-1]) == (2, 2)
        assert scores.ticks(shown.scale, 95.0)["ticktext"][0].startswith("<")
        heights = shown.ood[0].heights(shown.scale)
        assert heights[0] == heights[-1] == 40.0


def test_on_the_rank_axis_the_id_set_is_flat_and_the_threshold_lies_at_what_is_rejected() -> None:
    shown = record("rank")
    assert shown.scale.at == 5.0
    assert shown.id.counts[0] == 0
    inside = shown.id.heights(shown.scale)[1:]
    assert inside.max() / inside.min() < 1.2


@pytest.mark.parametrize("axis", AXES)
def test_constant_scores_and_a_single_image_draw(axis: str) -> None:
    for own, far in ((np.ones(50), np.ones(7)), (np.array([2.0]), np.array([1.0]))):
        shown = bins.histograms("m", {"id": "ID", "far": "Far"}, (own, {"far": far}), None, axis, 95.0)
        assert sum(shown.ood[0].counts) == len(far)
        assert shown.ood[0].accepted == int((far >= own[0]).sum())
        scores.figure(shown, "energy", dark=False).checked()


def test_without_shaping_each_score_keeps_its_own_threshold() -> None:
    own, others = sets(2)
    for axis in AXES:
        before = {bars.name: bars for bars in record(axis).before}
        assert before["near"].accepted == round(fpr_at_tpr(own, others["near"]) * len(others["near"]))
    far_off = bins.histograms(
        "m", LABELS, (1e4 + sets(1)[0], {k: 1e4 + v for k, v in sets(1)[1].items()}), sets(2), "raw", 95
    )
    assert far_off.before_scale is None
    assert far_off.before


@given(st.sampled_from(AXES), st.integers(0, 60))
def test_a_bar_id_finds_exactly_the_images_of_the_bar(axis: str, index: int) -> None:
    own, others = sets(1)
    shown = record(axis)
    index %= len(shown.scale.left)
    for bars in (shown.id, *shown.ood):
        found = bins.parse_bar(bins.bar_id(bars.name, shown.scale, index))
        assert found is not None
        values = own if found[0] == "id" else others[found[0]]
        assert int(((values >= found[1]) & (values < found[2])).sum()) == bars.counts[index]


@given(st.text())
def test_no_bar_id_raises(text: str) -> None:
    bins.parse_bar(text)


def test_the_figure_has_a_panel_for_each_set_and_names_its_numbers() -> None:
    shown = record("relative")
    figure = scores.figure(shown, "energy", dark=False).checked()
    assert {axis.title.text for axis in figure.select_yaxes()} == {"% of the set"}
    bars = [trace for trace in figure.data if trace.type == "bar"]
    assert [trace.name for trace in bars] == ["Clothes (ID)", "OOD, rejected", "OOD, accepted"] * 2
    assert sum(row[2] for row in bars[5].customdata) == shown.ood[1].accepted
    assert bars[5].marker.pattern.shape == "/"
    assert bins.parse_bar(bars[5].customdata[0][0]) is not None
    texts = " ".join(note.text for note in figure.layout.annotations)
    assert f"FPR95 {shown.ood[1].share:.1f} %" in texts
    assert f"{shown.ood[1].accepted} of 300 accepted" in texts
    assert {shape.x0 for shape in figure.layout.shapes} == {0.0}
    assert tuple(figure.layout.xaxis.range) == tuple(
        scores.figure(record("relative", 80), "energy", False).checked().layout.xaxis.range
    )


def test_a_title_has_lines_that_a_phone_has_room_for() -> None:
    long = "Textures (DTD) (1,200 of 5,640 images)"
    assert scores.titled("Digits", "AUROC 90.0 %") == "<b>Digits</b>: AUROC 90.0 %"
    assert scores.titled(long, "AUROC 90.0 %") == f"<b>{long}</b><br>AUROC 90.0 %"
    assert scores.titled("Digits", "AUROC 90.0 %", half=True) == "<b>Digits</b><br>AUROC 90.0 %"
    lines = scores.titled(3 * long, "AUROC 90.0 %", half=True).split("<br>")
    assert len(lines) == 3
    assert max(map(len, lines[:2])) <= scores.LONG + len("</b>")


def test_the_same_record_gives_the_same_bytes() -> None:
    first, second = (scores.figure(record("raw"), "msp", True).to_json() for _ in range(2))
    assert first == second


def test_the_finding_counts_one_set_and_averages_many() -> None:
    one = record("relative", labels={"id": "Clothes", "near": "Photographs"})
    assert score_words.finding(one, "Energy") == (
        f"At the threshold that accepts 95 % of Clothes, ASH-S @ 90 accepts {one.ood[0].accepted} of the 300 images in "
        f"Photographs; Energy accepts {one.before[1].accepted}."
    )
    many = record("relative")
    mean = np.mean([bars.share for bars in many.ood])
    assert f"accepts {mean:.1f} % of the OOD images (mean of 2 sets)" in score_words.finding(many, "Energy")


def test_tables_hold_every_image() -> None:
    shown = record("relative")
    table = score_words.table(shown, "energy")
    assert table.groupby("set")["images"].sum().to_dict() == {"Clothes": 1000, "Noise": 400, "Photographs": 300}
    assert table[table["accepted"]].groupby("set")["images"].sum()["Photographs"] == shown.ood[1].accepted
    assert list(score_words.counts(shown, "Energy").index) == ["Clothes (ID)", "Noise", "Photographs"]


@pytest.mark.parametrize(
    ("value", "score", "text"),
    [
        (12.3456, "energy", "12.35"),
        (0.0, "msp", "0.5"),
        (-3.0, "msp", "0.0474"),
        (3.0, "msp", "0.9526"),
        (20.0, "msp", "1 − 2.1e-09"),
        (800.0, "msp", "1 − 0"),
    ],
)
def test_scores_are_written_for_people(value: float, score: str, text: str) -> None:
    assert score_words.score_text(value, score) == text


@pytest.mark.parametrize("kind", ["roc", "pr"])
def test_curves_lie_on_those_of_scikit_learn(kind: rates.Kind) -> None:
    own, others = sets(3)
    one = rates.curve(kind, "m", own, others["near"], 95.0)
    truth, values = np.repeat([1, 0], [len(own), 300]), np.concatenate([own, others["near"]])
    if kind == "roc":
        x, y, _ = roc_curve(truth, values, drop_intermediate=False)
    else:
        y, x, _ = precision_recall_curve(truth, values)
    known = np.column_stack([x, y])
    for point in np.column_stack([one.x, one.y]) / 100:
        assert np.abs(known - point).sum(1).min() < 1e-3
    assert len(one.x) == len(one.y) == len(one.thresholds) <= rates.MOST
    assert one.thresholds[one.point] == pytest.approx(threshold_at_tpr(own), rel=1e-3)


def test_the_point_of_a_roc_curve_is_the_fpr_of_the_page() -> None:
    own, others = sets(3)
    for tpr in (50.0, 95.0, 99.9):
        one = rates.curve("roc", "m", own, others["near"], tpr)
        assert one.y[one.point] >= tpr - 1e-2
        assert one.x[one.point] == pytest.approx(100 * fpr_at_tpr(own, others["near"], tpr / 100), rel=1e-3, abs=1e-9)


def test_a_thinned_curve_keeps_its_ends_and_its_area() -> None:
    rng = np.random.default_rng(0)
    own, far = rng.normal(1, 1, 10_000), rng.normal(0, 1, 5000)
    one = rates.curve("roc", "m", own, far, 95.0)
    assert 100 < len(one.x) <= rates.MOST
    assert (one.x[0], one.y[0], one.x[-1], one.y[-1]) == (0, 0, 100, 100)
    assert np.trapezoid(one.y, one.x) / 1e4 == pytest.approx(auroc(own, far), abs=1e-3)
    assert one.area == 100 * auroc(own, far)


def test_tied_scores_make_one_point() -> None:
    one = rates.curve("roc", "m", np.array([1.0, 1, 2, 2]), np.array([1.0, 1]), 95.0)
    assert (one.x, one.y) == ((0.0, 0.0, 100.0), (0.0, 50.0, 100.0))


def test_the_curve_figure_draws_the_method_thick_and_the_unshaped_score_thin() -> None:
    new, old = ("ASH-S @ 90", *sets(1)), ("Energy", *sets(2))
    shown = rates.curves("pr", {"far": "Noise", "near": "Photographs"}, new, old, 95.0)
    figure = curves.figure(shown, "ash_s", "energy", 95.0, dark=True).checked()
    lines = {trace.name: trace.line.width for trace in figure.data if trace.mode == "lines"}
    assert lines["ASH-S @ 90"] > lines["Energy"] > lines["no information"]
    assert len([trace for trace in figure.data if trace.mode == "markers"]) == 4
    assert set(rates.table(shown)["set"]) == {"Noise", "Photographs"}
    assert rates.finding(shown).startswith("AUPR of ASH-S @ 90 on the mean of 2 sets: ")


@pytest.mark.parametrize("axis", ["relative", "rank"])
def test_the_scrub_has_a_frame_for_each_percentile(axis: str) -> None:
    pairs = [sets(seed) for seed in range(100)]
    own = np.stack([one for one, _ in pairs])
    others = {name: np.stack([ood[name] for _, ood in pairs]) for name in ("far", "near")}
    shown = scrub.scrub(("ASH-S", "Clothes", "mean of 2 OOD sets"), own, others, np.full(100, 0.9), axis, 95.0)
    assert [frame.p for frame in shown.frames] == list(range(100))
    for p in (0, 42, 99):
        rates = [fpr_at_tpr(own[p], others[name][p]) for name in others]
        assert shown.frames[p].fpr == pytest.approx(100 * np.mean(rates), rel=1e-3)
        hatched = sum(value or 0 for value in shown.frames[p].ood[shown.scale.line :])
        if axis == "relative":  # every bar has the same width there, so heights are shares
            assert hatched == pytest.approx(shown.frames[p].fpr, rel=5e-3)
        else:
            assert bins.scale_of(axis, own[p], {}, 0.95, scrub.BINS).left == shown.scale.left
    figure = scrub.figure(shown, 65, dark=False).checked()
    text = figure.to_json()
    assert len(text) < 600_000
    assert text == scrub.figure(shown, 65, dark=False).checked().to_json()
    assert len(figure.frames) == len(figure.layout.sliders[0].steps) == 100
    assert all(
        [trace["type"] for trace in frame["data"]] == ["bar"] * 3 + ["scatter"] for frame in json.loads(text)["frames"]
    )
    assert len(scrub.table(shown)) == 100
