"""The pictures of one sample, by their records: places, flips, slopes, units, evidence, and the words of a verdict."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.charts import bins, verdict_words
from app.views.samples import class_activation_map, percentile_path, placed_score, slope, units_decided
from ash.metrics import accepts, threshold_at_tpr

finite = st.floats(-1e6, 1e6)


@pytest.mark.parametrize(
    ("above", "words"),
    [
        (0.42, "accepted as Sneaker, 0.4 IQR above the 95 % line"),
        (-1.26, "rejected as Sneaker, 1.3 IQR below the 95 % line"),
        (0.0, "accepted as Sneaker, on the 95 % line"),
        (-0.01, "rejected as Sneaker, less than 0.1 IQR below the 95 % line"),
        (123456.0, "accepted as Sneaker, 1.235e+05 IQR above the 95 % line"),
    ],
)
def test_a_verdict_in_words(above: float, words: str) -> None:
    assert verdict_words.verdict("Sneaker", above, 95.0) == words
    assert "*Sneaker*" in verdict_words.verdict("Sneaker", above, 95.0, lambda name: f"*{name}*")


@given(finite, finite, st.floats(1e-3, 1e3))
def test_the_sign_of_the_margin_is_the_verdict(score: float, line: float, unit: float) -> None:
    assert (verdict_words.margin(score, line, unit) >= 0) == accepts(score, line)
    assert verdict_words.margin(line, line, unit) == 0


def panel(value: float, scale: float = 1.0) -> placed_score.Panel:
    rng = np.random.default_rng(1)
    scores = (scale * (3 + rng.normal(size=400)), scale * rng.normal(size=300))
    return placed_score.panel("after", "ASH-S @ 90", {"a": "Garments", "ood": "Digits"}, scores, scale * value, 95.0)


def test_the_image_is_placed_by_its_margin_whatever_the_scale_of_the_scores() -> None:
    small, large = panel(2.5), panel(2.5, 1e5)
    assert large.margin == pytest.approx(small.margin)
    assert large.below == small.below
    assert small.histograms.scale.place(small.margin) == small.margin
    record = placed_score.Placed((small, large), "energy")
    (mark,) = [trace for trace in placed_score.figure(record, False).checked().data if trace.name == "this image"][1:]
    assert mark.x[0] == pytest.approx(small.margin, rel=1e-3)
    assert len(placed_score.table(record)) == 2
    assert "without shaping it lies" in placed_score.finding(record, 95.0)


@pytest.mark.parametrize("value", [-1e9, 1e9])
def test_an_image_outside_the_window_stands_in_the_bin_that_collects_the_rest(value: float) -> None:
    one = panel(value)
    scale = one.histograms.scale
    at = scale.place(one.margin)
    assert scale.left[0] < at < scale.right[0] if value < 0 else scale.left[-1] < at < scale.right[-1]


def test_a_path_tells_when_verdict_and_class_flip() -> None:
    known = np.arange(100.0)  # threshold 5, quartiles 24.75 and 74.25
    lines = [known, known, None, known]
    found = percentile_path.path(
        ("ash_b", "ASH-B"), (0, 40, 65, 90), np.array([54.5, 5.0, 9.0, 0.05]), ["Bag", "Bag", "Coat", "Coat"],
        lines, 65, 95.0,
    )  # fmt: skip
    assert threshold_at_tpr(known) == 5
    assert [point.margin for point in found.points] == [1.0, 0.0, None, pytest.approx(-0.1)]
    assert [point.side for point in found.points] == ["accepted", "accepted", "unknown", "rejected"]
    verdicts = "accepted up to p = 40, rejected from 90 (of 3 whose threshold is computed)"
    words = f"ASH-B: {verdicts}; its class: Bag up to p = 40, Coat from 65."
    assert percentile_path.finding(found) == words
    line, strip = percentile_path.figure(found, False).checked().data
    assert list(line.customdata) == ["0", "40", "90"]
    assert [symbol.endswith("-open") for symbol in line.marker.symbol] == [False, False, True]
    assert list(strip.text) == ["Bag", "Coat"]
    assert list(strip.width) == [65, 35]
    assert list(percentile_path.table(found).index) == ["0", "40", "65", "90"]


def test_paths_beside_each_other_have_one_scale() -> None:
    ids = [np.linspace(0.0, 4.0, 100)] * 3
    near, far = (
        percentile_path.path(("ash_s", "ASH-S"), (0.0, 50.0, 90.0), scores, ["a"] * 3, ids, 50.0, 95.0)
        for scores in ([1.0, 1.1, 1.2], [1.0, 6.0, 8.0])
    )
    alone = [percentile_path.figure(one, False).layout["yaxis"]["range"] for one in (near, far)]
    pairs = ((near, far), (far, near))
    both = [percentile_path.figure(one, False, [other]).layout["yaxis"]["range"] for one, other in pairs]
    assert alone[0] != alone[1]
    assert both[0] == both[1]


def test_a_path_without_thresholds_says_so_and_still_shows_the_classes() -> None:
    found = percentile_path.path(("ash_s", "ASH-S"), (0, 5), np.ones(2), ["Bag", "Bag"], [None, None], 5, 95.0)
    assert percentile_path.finding(found) == (
        "ASH-S: the thresholds are not computed here yet; its class is Bag at every p."
    )
    assert len(percentile_path.figure(found, True).checked().data) == 1


logits = st.integers(2, 30).flatmap(
    lambda n: st.tuples(*[st.lists(st.floats(-1e5, 1e5), min_size=n, max_size=n) for _ in (0, 1)])
)


@given(logits)
def test_a_slope_holds_the_leaders_of_both_sides(pair: tuple[list[float], list[float]]) -> None:
    before, after = (np.array(values) for values in pair)
    found = slope.record(before, after, [str(c) for c in range(len(before))])
    assert slope.TOP <= len(found.leaders) <= 2 * slope.TOP or len(found.leaders) == len(before)
    for side, values in enumerate((before, after)):
        named = {leader.name: leader for leader in found.leaders}
        assert values[int(found.winners[side])] == values.max()
        assert named[found.winners[side]].ranks[side] == 1
        for leader in found.leaders:
            exact = np.delete(values, int(leader.name))
            odds = values[int(leader.name)] - np.logaddexp.reduce(exact)
            assert leader.log_odds[side] == pytest.approx(odds)
    assert len(slope.figure(found, "ash_s", False).checked().data) == len(found.leaders)
    assert len(slope.table(found)) == len(found.leaders)


def test_a_label_beside_the_slopes_is_short_enough_for_a_phone() -> None:
    names = ["one with a very long name", "b", "c"]
    found = slope.record(np.array([2.0, 1.0, 0.0]), np.array([70.0, 0.0, -70.0]), names)
    notes = [note.text for note in slope.figure(found, "ash_s", False).checked().layout.annotations]
    assert "<b>★ one with a very…</b><br>0.6652" in notes
    assert "2. b  0.245" in notes
    assert max(len(line) for note in notes for line in re.sub("</?b>", "", note).split("<br>")) <= slope.ROOM + 2


def test_saturated_probabilities_are_written_and_not_rounded_to_1() -> None:
    found = slope.record(np.array([2.0, 1.0, 0.0]), np.array([70.0, 0.0, -70.0]), ["a", "b", "c"])
    assert slope.finding(found) == "a leads before and after: its softmax goes from 0.6652 to 1 \N{MINUS SIGN} 4e-31."
    assert slope.probability(1e5) == "1 \N{MINUS SIGN} less than 1e-99"
    assert slope.probability(-1e5) == "below 1e-99"


@given(st.lists(finite, max_size=12), st.floats(0.1, 10))
def test_labels_keep_their_order_and_their_distance(wanted: list[float], gap: float) -> None:
    placed = slope.spaced(wanted, gap)
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    for low, high in itertools.pairwise(order):
        assert placed[high] - placed[low] >= gap * (1 - 1e-6) - 1e-9
    apart = [high - low for low, high in zip(sorted(wanted), sorted(wanted)[1:], strict=False)]
    if all(distance > gap for distance in apart):
        assert placed == pytest.approx(wanted)


def decided(without: tuple[float, ...], threshold: float | None) -> units_decided.Decided:
    images = (units_decided.Excited("00001", "Bag", "data:,"),) * 3
    units = tuple(units_decided.Unit(n, 1.0, 2.0 - n, 1.5 - n, value, images) for n, value in enumerate(without))
    return units_decided.Decided(units, "Bag", 40, 256, 71.2, "energy", "energy", 8.0, threshold, True)


def test_units_are_the_kept_ones_that_add_most() -> None:
    to_logit = np.array([9.0, 1.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, -5.0])
    to_score = np.array([9.0, 99.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, -5.0])
    kept = np.array([0, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    assert units_decided.leading(to_logit, to_score, kept) == (2, 3, 4, 5, 6, 7, 1)
    assert units_decided.share_of((2, 3), to_logit) == pytest.approx(100 * 15 / 45)
    assert units_decided.leading(to_logit, to_score, np.zeros(10, int)) == ()


def test_a_unit_flips_the_verdict_where_the_score_without_it_is_on_the_other_side() -> None:
    found = decided((6.0, 7.5, 7.9), 7.0)
    assert [found.flips(unit) for unit in found.units] == [True, False, False]
    assert "3 of the 40 kept units give 71 % of what speaks for Bag" in units_decided.finding(found)
    assert units_decided.finding(found).endswith("; one of them alone decides the verdict.")
    picture = units_decided.figure(found, "ash_b", False).checked()
    assert list(picture.data[0].y) == ["★ unit 0", "unit 1", "unit 2"]
    assert list(picture.data[2].x) == [2.0, 0.5, 0.1]
    assert len(picture.layout.images) == 9
    assert list(units_decided.table(found)["verdict without it"]) == ["rejected", "accepted", "accepted"]
    assert "decides" not in units_decided.finding(decided((6.0,), None))
    assert units_decided.finding(decided((), 7.0)).startswith("No unit is kept")


def test_evidence_counts_the_positions_that_hold_half_of_it() -> None:
    values = np.array([[4.0, 1.0], [-9.0, 2.0]])
    assert class_activation_map.concentration(values) == 25.0
    assert class_activation_map.concentration(np.ones((4, 4))) == 50.0
    assert class_activation_map.concentration(-np.ones((4, 4))) == 0.0
    record = class_activation_map.Evidence(np.full((2, 2), 0.35), np.ones((2, 2)), values, ("Bag", "Coat"))
    assert "25 % of the positions after shaping, most in row 1, column 1 of 2 x 2" in class_activation_map.finding(
        record
    )
    picture = class_activation_map.figure(record, np.zeros((28, 28), np.uint8), False).checked()
    heats = [trace for trace in picture.data if trace.type == "heatmap"]
    assert [np.max(heat.z) for heat in heats] == [35.0, 1.0, 4.0]
    assert (heats[0].dx, heats[0].x0) == (14, 6.5)
    assert heats[2].zmin == -9
    assert list(class_activation_map.table(record)["for Coat, after"]) == values.ravel().tolist()


def test_the_unit_of_the_margin_is_that_of_the_scores_page() -> None:
    one = panel(2.5)
    rng = np.random.default_rng(1)
    known = 3 + rng.normal(size=400)
    assert one.margin == pytest.approx((2.5 - threshold_at_tpr(known)) / bins.spread(known))
