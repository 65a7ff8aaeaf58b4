"""The table of samples: filters, counts and orders against a naive pandas version; what it says against the library."""

import io

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from app.backend import banks, evaluations, sample_rows, setups
from app.backend.engine import parts
from app.charts.sample_table import (
    FILTERS,
    NO_CLASS,
    NOT_ID,
    Filters,
    Images,
    SampleTable,
    frame,
    how_many,
    judge,
    select,
)
from app.link.options import ORDERS
from app.link.spec import RunSpec
from app.ui.plot import csv_text
from app.views.samples import pairs
from ash.methods import Method
from ash.metrics import threshold_at_tpr

CLASSES = ("Crane", "Boat", "Crane", "all")  # two of one name, and one that is called like an option
NAMES = ("b/Cat.png", "a/cat.png", "dog.png", "100%.png", "Straße.png")


@st.composite
def tables(draw: st.DrawFn) -> SampleTable:
    """Few images, few different scores, so that ties are everywhere; now and then an infinite score."""
    sizes = draw(st.lists(st.integers(1, 8), min_size=1, max_size=3))
    n, k = sum(sizes), len(CLASSES)
    codes = np.repeat(np.arange(len(sizes), dtype=np.int16), sizes)
    true = np.where(codes == 0, draw(_ints(n, -1, k - 1)), -1)
    names = [NAMES[i] for i in draw(_ints(n, 0, len(NAMES) - 1))]
    images = Images(
        tuple("xyz"[: len(sizes)]), CLASSES, codes, np.concatenate([np.arange(s) for s in sizes]), names, true
    )
    cuts = np.cumsum(sizes)[:-1]

    def judged() -> tuple[list[np.ndarray], list[np.ndarray]]:
        scores = np.array(draw(_ints(n, -3, 3)), np.float32)
        scores[draw(_ints(n, 0, 30)) == 0] = np.inf
        return np.split(scores, cuts), np.split(draw(_ints(n, 0, k - 1)), cuts)

    tpr = draw(st.sampled_from((0.5, 0.95, 1.0)))
    return SampleTable(images, judge(*judged(), tpr), judge(*judged(), tpr))


def _ints(n: int, low: int, high: int) -> st.SearchStrategy[np.ndarray]:
    return st.lists(st.integers(low, high), min_size=n, max_size=n).map(np.array)


filters = st.builds(
    Filters,
    among=st.sampled_from(("all", "id", NOT_ID, "y", "z", "elsewhere")),
    verdict=st.sampled_from(("all", "accepted", "rejected")),
    change=st.sampled_from(("all", "rescued", "broken")),
    true=st.sampled_from(("", NO_CLASS, *CLASSES)),
    predicted=st.sampled_from(("", *CLASSES)),
    scores=st.just(()) | st.lists(st.floats(-4, 4), min_size=2, max_size=2).map(lambda pair: tuple(sorted(pair))),
    find=st.sampled_from(("", "CAT", "0%", "a", ".png", "ss")),
)


def naive(table: SampleTable) -> pd.DataFrame:
    """The columns that filters look at, row by row."""
    rows = frame(table, np.arange(len(table)))
    rows["among"] = ["id" if own else name for name, own in zip(rows["set"], rows["in_distribution"], strict=True)]
    right_now = rows["accepted_after"] == rows["in_distribution"]
    right_before = rows["accepted_before"] == rows["in_distribution"]
    rows["rescued"], rows["broken"] = right_now & ~right_before, right_before & ~right_now
    return rows


def passes(rows: pd.DataFrame, chosen: Filters, but: str = "") -> pd.Series:
    """The rows that pass all filters but one."""
    good = pd.Series(True, index=rows.index)
    if but != "among" and chosen.among == NOT_ID:
        good &= ~rows["in_distribution"]
    elif but != "among" and chosen.among != "all":
        good &= rows["among"] == chosen.among
    if but != "verdict" and chosen.verdict != "all":
        good &= rows["accepted_after"] == (chosen.verdict == "accepted")
    if but != "change" and chosen.change != "all":
        good &= rows[chosen.change]
    truth = rows["true"].where(rows["in_distribution"], NO_CLASS)
    for name, column in (("true", truth), ("predicted", rows["predicted_after"])):
        if but != name and getattr(chosen, name):
            good &= column == getattr(chosen, name)
    if but != "scores" and chosen.scores:
        good &= rows["score_after"].astype(float).between(*chosen.scores)
    if but != "find" and chosen.find:
        good &= rows["file"].map(lambda name: chosen.find.casefold() in name.casefold())
    return good


@given(tables(), filters, st.sampled_from(ORDERS), st.booleans())
def test_rows_and_order_are_those_of_pandas(table: SampleTable, chosen: Filters, order: str, descending: bool) -> None:
    rows = naive(table)
    keys = {"score": rows["score_after"], "margin": rows["margin_after"].abs(), "change": rows["change"]}
    key = keys.get(order, rows["file"].rank(method="dense"))
    kept = (-key if descending else key)[passes(rows, chosen)].sort_values(kind="stable")
    assert select(table, chosen, order, descending).rows.tolist() == kept.index.tolist()
    assert how_many(table, chosen) == len(kept)


@given(tables(), filters)
def test_every_option_counts_what_choosing_it_would_leave(table: SampleTable, chosen: Filters) -> None:
    rows, found = naive(table), select(table, chosen)
    default = Filters()
    for name in FILTERS:
        left = passes(rows, chosen, but=name)
        for option, count in found.counts[name].items():
            value = getattr(chosen, name) if option == "used" else option or getattr(default, name)
            only = Filters(**{name: value})
            assert count == (left & passes(rows, only)).sum(), (name, option)
        assert found.without.get(name, left.sum()) == left.sum()
    assert set(found.without) == set(chosen.used)


@given(tables())
def test_margins_agree_with_verdicts_and_never_are_nan(table: SampleTable) -> None:
    for judged in (table.before, table.after):
        assert ((judged.margin >= 0) == judged.accepted).all()
    assert not np.isnan(table.change).any()
    assert not (table.rescued & table.broken).any()


@given(tables())
def test_the_story_shows_different_samples_that_are_what_they_are_called(table: SampleTable) -> None:
    scenes = pairs.story(table)
    assert len({scene.row for scene in scenes}) == len(scenes) <= pairs.SHOWN
    for scene in scenes:
        own, accepted = table.is_id[scene.row], table.after.accepted[scene.row]
        what = {"Rescued": table.rescued, "Broken": table.broken}
        if scene.title in what:
            assert what[scene.title][scene.row]
        elif scene.title in ("Confident ID", "Borderline ID"):
            assert own
            assert accepted
        else:
            assert accepted == ("accepted" in scene.title)
            assert own == scene.title.startswith("ID")


def test_a_table_is_closed_for_writing() -> None:
    at = setups.setup(RunSpec())
    table = sample_rows.every_sample(at, "ash_b@65", at.ood, 0.95)
    with pytest.raises(ValueError, match="read-only"):
        table.after.score[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        table.images.true[0] = 0


@pytest.mark.parametrize("method", ["ash_s@80", "ash_rand@50:msp", "energy", "react@1.0+ash_p@60"])
def test_the_table_holds_the_scores_and_the_classes_of_the_library(method: str) -> None:
    at = setups.setup(RunSpec())
    table = sample_rows.every_sample(at, method, at.ood[1:3], 0.9)
    one, plain = evaluations.evaluation(at, method), evaluations.evaluation(at, Method.parse(method).score)
    head = 200  # samples through the network itself
    for code, name in enumerate((at.id_set, *at.ood[1:3])):
        mine = table.images.set == code
        for judged, by in ((table.before, plain), (table.after, one)):
            scores = by.ood_scores[name] if code else by.id_scores
            assert np.array_equal(judged.score[mine], scores)
            assert np.array_equal(judged.accepted[mine], scores >= threshold_at_tpr(by.id_scores, 0.9))
        x = torch.from_numpy(np.array(banks.activations(at, name)[:head]))
        for judged, steps in ((table.before, Method()), (table.after, Method.parse(method))):
            logits = parts(at)[1](steps.shape(x)).numpy()
            top = np.sort(logits)[:, -2:]
            clear = top[:, 1] - top[:, 0] > 1e-4 * np.abs(top[:, 1])
            assert np.array_equal(judged.predicted[mine][:head][clear], logits.argmax(1)[clear])
            assert clear.mean() > 0.9


def test_classes_of_a_global_threshold_come_from_the_threshold_of_the_id_set() -> None:
    at = setups.setup(RunSpec())
    line = np.quantile(banks.activations(at, at.id_set), 0.9)
    found = sample_rows.predictions(at, "ash_p_global@90")
    for name in at.ood:
        x = torch.from_numpy(np.array(banks.activations(at, name)))
        wanted = parts(at)[1](torch.where(x >= line, x, 0)).argmax(1).numpy()
        assert np.mean(found[name] == wanted) > 0.99


def test_the_export_reads_back_with_ids_that_name_the_images() -> None:
    at = setups.setup(RunSpec())
    table = sample_rows.every_sample(at, "ash_b@65", at.ood, 0.95)
    chosen = select(table, Filters(change="broken"), "change", True)
    text = csv_text(frame(table, chosen.rows), {"method": "ash_b@65"})
    read = pd.read_csv(io.StringIO(text), comment="#", dtype={"file": str})
    assert read["broken"].all()
    assert read["change"].is_monotonic_decreasing
    assert read["id"].is_unique
    for row in read.head(20).itertuples():
        assert row.id == f"{row.set}:{row.number}"
        assert setups.whole_set(row.set).names[row.number] == row.file
    assert (read["score_after"] >= threshold_at_tpr(evaluations.evaluation(at, "ash_b@65").id_scores)).equals(
        read["accepted_after"]
    )
