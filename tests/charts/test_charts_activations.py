"""Charts of the Activations page: the records equal `ash.shaping`, and a few facts of the figures."""

import numpy as np
import pytest
import torch

from app.charts import distribution, logits, mosaic, ranked, sample, sample_summary
from ash import shaping
from ash.methods import Method
from ash.traces import trace

METHODS = ["energy", "ash_p@65", "ash_b@65", "ash_s@90", "ash_s@0", "ash_b@0", "ash_s@99.9", "ash_rand@70", "react@1.0"]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def shaped(x: np.ndarray, method: Method) -> np.ndarray:
    return method.shape(torch.from_numpy(x.copy())).numpy()


def curve(x: np.ndarray, method: Method) -> sample.Curve:
    return sample.curve(trace(torch.from_numpy(x[:1].copy()), method))


def bank(rng: np.random.Generator, negative: bool = False) -> np.ndarray:
    x = rng.normal(size=(300, 10, 2, 2)).astype(np.float32)
    x = x if negative else np.maximum(x, 0)
    x[3] = 0
    return x


@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize("negative", [True, False])
@pytest.mark.parametrize("text", METHODS)
def test_counts_are_those_of_the_shaped_bank(rng: np.random.Generator, text: str, negative: bool, log: bool) -> None:
    x, method = bank(rng, negative), Method.parse(text)
    one = ranked.rank(x)
    kept = ranked.keep(one, method, x)
    within = ranked.bins([(one, kept)], log)
    assert within.log == (log and not negative)
    for values, found in ((x, ranked.before(one, within)), (shaped(x, method), ranked.after(one, kept, x, within))):
        assert found.zeros == np.count_nonzero(values == 0)
        assert found.negative == np.count_nonzero(values < 0)
        assert found.bars.sum() + found.zeros == found.total == values.size
        nonzero = values[values != 0].astype(np.float64)
        place = np.log10(nonzero) if within.log else nonzero
        expected = np.bincount(np.searchsorted(within.edges[1:-1], place, "right"), minlength=within.count)
        assert np.abs(expected - found.bars).sum() <= 0.02 * values.size  # a value on an edge may fall on either side


@pytest.mark.parametrize("text", ["ash_p@65", "ash_b@65", "ash_s@90"])
def test_sums_and_exponents_are_those_of_shaping(rng: np.random.Generator, text: str) -> None:
    x, method = bank(rng), Method.parse(text)
    one, rows = ranked.rank(x), torch.from_numpy(x).flatten(1).double()
    assert method.percentile is not None
    mask = shaping.kept_mask(torch.from_numpy(x), method.percentile).flatten(1)
    np.testing.assert_allclose(one.s1, rows.sum(1))
    kept = ranked.keep(one, method, x)
    assert kept.s2 is not None
    np.testing.assert_allclose(kept.s2, (rows * mask).sum(1))
    if kept.exponent is not None:
        alive = one.s1 > 0
        np.testing.assert_allclose(kept.exponent[alive], one.s1[alive] / kept.s2[alive])


def test_shares_add_up_to_one(rng: np.random.Generator) -> None:
    x, method = bank(rng), Method.parse("ash_s@90")
    one = ranked.rank(x)
    kept = ranked.keep(one, method, x)
    within = ranked.bins([(one, kept)], True)
    before, after = ranked.before(one, within), ranked.after(one, kept, x, within)
    record = distribution.distribution(within, ("ID set", "OOD set"), (before, before + before), (after, after + after))
    for group in record.groups:
        assert group.before.sum() + group.zeros[0] == pytest.approx(1)
        assert group.after.sum() + group.zeros[1] == pytest.approx(1)
    assert record.groups[1].images == 2 * record.groups[0].images
    table = distribution.values_table(record)
    assert len(table) == within.count + 1
    np.testing.assert_allclose(table.drop(columns="value").sum(), 100)


def test_values_figure_tells_id_and_ood_apart_without_colour(rng: np.random.Generator) -> None:
    x, method = bank(rng), Method.parse("ash_b@65")
    one = ranked.rank(x)
    kept = ranked.keep(one, method, x)
    within = ranked.bins([(one, kept)], True)
    counts = ranked.before(one, within), ranked.after(one, kept, x, within)
    record = distribution.distribution(within, ("A", "B"), (counts[0],) * 2, (counts[1],) * 2)
    figure = distribution.values_figure(record, True, dark=False).checked()
    filled = [trace for trace in figure.data if trace.type == "bar"]
    assert [trace.yaxis for trace in filled] == ["y", "y2"]
    assert [trace.marker.pattern.shape for trace in filled] == [None, "/"]
    assert figure.layout.yaxis.type == "log"
    assert "Exact zeros" in figure.layout.annotations[0].text


def test_quantity(rng: np.random.Generator) -> None:
    record = distribution.quantity("sum", rng.normal(1, 1, 500), rng.normal(0, 1, 400))
    assert [share.sum() for share in record.shares] == pytest.approx([1, 1])
    assert 0.65 < record.wins < 0.85
    assert "ID image has the larger one" in distribution.quantity_finding(record)
    constant = distribution.quantity("sum", np.ones(5), np.ones(5))
    assert constant.shares[0].sum() == pytest.approx(1)
    assert "pairs" not in distribution.quantity_finding(constant)


@pytest.mark.parametrize("text", METHODS)
def test_curve_is_the_shaped_sample(rng: np.random.Generator, text: str) -> None:
    method = Method.parse(text)
    x = bank(rng)[:1]
    record = curve(x, method)
    k = record.n if method.percentile is None else shaping.kept_count(record.n, method.percentile)
    assert (record.n, record.k) == (40, k)
    assert (np.diff(record.before) <= 0).all()
    assert record.s1 == pytest.approx(float(x.sum(dtype=np.float64)))
    assert (record.s2 is None) == (method.percentile is None)
    if record.s2 is not None:
        assert record.s2 == pytest.approx(float(np.sort(x.ravel())[record.n - k :].sum(dtype=np.float64)))
    if method.percentile is not None:
        assert not record.after[k:].any()
        assert record.t == (None if k == 0 else record.before[k - 1])
    if record.factor is not None:
        np.testing.assert_allclose(record.after[:k], record.factor * record.before[:k], rtol=1e-5)
    if record.level is not None:
        np.testing.assert_allclose(record.after[:k], record.level, rtol=1e-5)
    if text == "react@1.0":
        assert (record.t, record.change.changed) == (1.0, np.count_nonzero(x > 1))
    assert sample.steps(record)
    assert sample.curve_finding(record)
    assert len(sample.curve_table(record)) == 40


@pytest.mark.parametrize("text", METHODS)
def test_a_sample_of_zeros_breaks_nothing(text: str) -> None:
    method, x = Method.parse(text), np.zeros((1, 40), np.float32)
    record = curve(x, method)
    assert record.s1 == 0
    assert not record.s2
    assert "nan" not in " ".join([*sample.steps(record), sample.curve_finding(record)])
    assert len(sample.curve_figure(record, dark=True).checked().data) >= 1


def test_curve_draws_few_points_but_both_sides_of_k(rng: np.random.Generator) -> None:
    method = Method.parse("ash_p@90")
    x = np.maximum(rng.normal(size=(1, 64, 14, 14)), 0).astype(np.float32)
    record = curve(x, method)
    figure = sample.curve_figure(record, dark=False).checked()
    whole = next(trace for trace in figure.data if trace.name == "before")
    assert len(whole.x) <= sample.MOST_POINTS + 2
    assert {record.k, record.k + 1} <= set(whole.x)


@pytest.mark.parametrize("text", ["ash_s@90", "scale@85", "lts@85", "react@1.0"])
def test_what_stands_above_a_curve_has_short_lines(rng: np.random.Generator, text: str) -> None:
    x = rng.gamma(1.0, 1.0, (1, 100_352)).astype(np.float32)
    record = curve(x, Method.parse(text))
    notes = [note.text for note in sample.curve_figure(record, dark=False).checked().layout.annotations]
    assert "s1 = " in notes[0]
    assert max(len(line) for note in notes for line in note.split("<br>")) <= sample.NARROW + 2


def test_logits(rng: np.random.Generator) -> None:
    before, after = np.array([1.0, 3.0, 2.0], np.float32), np.array([8.0, 3.0, -2.0], np.float32)
    record = logits.record(before, after, ("a", "b", "c"))
    assert record.winners == (1, 0)
    assert record.energies == pytest.approx((np.log(np.exp(before).sum()), np.log(np.exp(after).sum())))
    assert logits.finding(record).startswith("a overtakes b")
    assert np.abs(logits.relative(before)).max() == pytest.approx(1)
    figure = logits.figure(record, "ash_s", compare=False, dark=False).checked()
    assert [trace.name for trace in figure.data] == ["before", "after"]
    assert [list(trace.text).index(next(t for t in trace.text if "★" in t)) for trace in figure.data] == [1, 0]
    many = logits.record(rng.normal(size=1000), rng.normal(size=1000), tuple(map(str, range(1000))))
    assert len(many.names) == logits.MOST_CLASSES
    assert set(many.winners) <= set(many.order)
    assert logits.finding(many)


def test_mosaic(rng: np.random.Generator) -> None:
    maps = np.maximum(rng.normal(size=(100, 7, 5)), 0).astype(np.float32)
    channels = mosaic.strongest(maps)
    assert len(channels) == mosaic.MOST_TILES
    assert maps[channels[0]].sum() == pytest.approx(maps.sum((1, 2)).max())
    record = mosaic.mosaic(maps, channels, own_scale=False)
    assert record.picture.shape == (8 * 8 - 1, 8 * 6 - 1)
    np.testing.assert_array_equal(record.picture[8:15, 6:11], maps[channels[9]])
    assert np.isnan(record.picture[7]).all()
    own = mosaic.mosaic(maps, channels, own_scale=True)
    assert np.nanmax(own.picture) == 1
    assert len(mosaic.mosaic_figure(own, "ash_s", dark=False).checked().data) == 1


def test_positions(rng: np.random.Generator) -> None:
    x = rng.normal(size=(1, 12, 4, 4)).astype(np.float32)
    mask = shaping.kept_mask(torch.from_numpy(x), 75)[0].numpy()
    record = mosaic.positions(x[0], shaped(x, Method.parse("ash_p@75"))[0], mask)
    assert record.share.shape == (4, 4)
    assert record.share.mean() == pytest.approx(0.25)
    np.testing.assert_allclose(record.before, x[0].sum(0))
    picture = np.zeros((28, 28), np.uint8)
    heat = mosaic.overlay_figure(record, "share", picture, dark=False).checked().data[1]
    assert (heat.x0, heat.dx) == (3.0, 7.0)  # the first block covers the pixels 0 to 6
    assert "row" in mosaic.positions_finding(record)


def verdict_of(scores: tuple[float, float], lines: tuple[float, float] | None) -> sample_summary.Verdict:
    return sample_summary.Verdict("this bag", "units", "energy", scores, lines, ("Bag", "Shirt"), "Bag", True)


@pytest.mark.parametrize("text", METHODS)
def test_sentence(rng: np.random.Generator, text: str) -> None:
    method, x = Method.parse(text), bank(rng)[:1].reshape(1, -1)
    record = curve(x, method)
    said = sample_summary.sentence(verdict_of((11.2, 38.9), (10.0, 40.0)), record)
    if method.variant == "none":
        assert said == "Without shaping, this bag has the energy 38.9: rejected as in-distribution."
    else:
        assert "moves its energy from 11.2 to 38.9: accepted before, rejected after." in said
    if method.percentile is not None:
        assert f"keeps {record.k} of 40 units of this bag" in said
    assert "accepted" not in sample_summary.sentence(verdict_of((1.0, 2.0), None), record)


def test_a_score_on_the_threshold_is_accepted() -> None:
    assert verdict_of((10.0, 10 * (1 - 1e-8)), (10.0, 10.0)).accepted == (True, False)
    rows = sample_summary.rows(verdict_of((10.0, 9.0), (10.0, 10.0)))
    assert rows[0] == ("Class", "✓ Bag", "✕ Shirt")
    assert rows[-1] == ("Verdict", "accepted, ✓ right", "rejected, ✕ wrong")
    assert len(sample_summary.rows(verdict_of((1.0, 2.0), None))) == 2
