"""Published beside measured: joined, counted, written."""

import io
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from ash import authors, paper, report_files, reports
from ash.methods import Method
from ash.reports import Found
from ash.tables import Sweep

SETS = paper.TABLES[1].ood["resnet50"]
NETWORKS = {network for table in paper.TABLES.values() for network in table.ood}


def sweep(methods: list[str], sets: tuple[str, ...] = SETS, seed: int = 0) -> Sweep:
    rng = np.random.default_rng(seed)
    m = len(methods)
    return Sweep(
        tuple(map(Method.parse, methods)),
        rng.normal(12.0, 6.0, (m, 400)).astype(np.float32),
        {name: rng.normal(8.0, 6.0, (m, 100 + 10 * i)).astype(np.float32) for i, name in enumerate(sets)},
        rng.integers(0, 2, (m, 400)),
        np.zeros(400, np.int64),
    )


def found(methods: list[str], model: str = "resnet50", id: str = "imagenet", sets: tuple[str, ...] = SETS) -> Found:
    table = reports.measured(sweep(methods, sets), model, "avgpool", id).assign(device="CPU", date="2026-01-01")
    network = model if model in NETWORKS else ""
    return Found(model, id, table, reason="something is missing", network=network)


EVERY = sorted({method for table in paper.TABLES for method in paper.load(table).method} - {"godin"})


def beside(one: Found, table: int) -> dict[str, Found]:
    return dict.fromkeys(paper.TABLES[table].ood, one)


# Measured


def test_both_rules_are_in_the_table() -> None:
    some = sweep(["energy", "msp"])
    table = reports.measured(some, "demo", "avgpool", "id").set_index(["method", "ood"])
    for i, method in enumerate(("energy", "msp")):
        change = authors.softmax if method == "msp" else np.asarray
        for name in SETS:
            known, novel = change(some.id_scores[i]), change(some.ood_scores[name][i])
            row = table.loc[(method, name)]
            assert row.fpr95_authors == pytest.approx(100 * authors.fpr95(known, novel))
            assert row.aupr_authors == pytest.approx(100 * authors.aupr(known, novel))
        parts = table.loc[[(method, name) for name in SETS]]
        assert table.loc[(method, "mean")].aupr_authors == pytest.approx(parts.aupr_authors.mean())
    assert table.loc[("energy", "mean")].auroc == pytest.approx(table.loc[("energy", "mean")].auroc_authors)
    assert table.loc[("msp", "mean")].auroc != pytest.approx(table.loc[("msp", "mean")].auroc_authors, abs=1e-3)


# Joined


@pytest.mark.parametrize("table", paper.TABLES)
def test_published_numbers_stay_what_they_are(table: int) -> None:
    compared = reports.compare(table, beside(found(EVERY), table))
    published = paper.load(table)
    pd.testing.assert_frame_equal(compared[list(published)].reset_index(drop=True), published)


def test_the_papers_network_on_the_papers_sets_is_measured() -> None:
    one = found(EVERY)
    compared = reports.compare(1, beside(one, 1)).query("model == 'resnet50'")
    assert set(compared.status) == {reports.MEASURED}
    row = compared.query("printed == 'ASH-S' and ood == 'sun' and metric == 'auroc'").iloc[0]
    assert row.measured == one.table.query("method == 'ash_s@90' and ood == 'sun'").auroc.iloc[0]
    assert row.difference == row.measured - row.value
    assert (row.n_id, row.n_ood, row.sets, row.on, row.device) == (400, 110, 1, "resnet50", "CPU")
    mean = compared.query("printed == 'ASH-S' and ood == 'mean' and metric == 'auroc'").iloc[0]
    assert mean.measured == pytest.approx(one.table.query("method == 'ash_s@90' and ood == 'mean'").auroc.iloc[0])
    assert (mean.sets, mean.n_ood) == (4, 460)


def test_another_network_stands_beside_averages_only_and_says_so() -> None:
    compared = reports.compare(1, beside(found(EVERY, "demo", "fashion_mnist", ("digits", "noise")), 1))
    means = compared[compared.ood == "mean"]
    assert set(means.status) == {reports.BUNDLED}
    assert means.measured.notna().all()
    assert set(means.note) == {"demo on fashion_mnist, mean over its own 2 OOD sets"}
    single = compared[compared.ood != "mean"]
    assert single.measured.isna().all()


def test_a_network_that_is_not_bundled_is_another_one() -> None:
    compared = reports.compare(4, beside(found(EVERY, "vit_b_16", "mine", ("digits",)), 4))
    assert set(compared.status) == {reports.ANOTHER}


def test_rows_that_ship_say_so() -> None:
    one = found(EVERY)
    some = replace(one, table=one.table.assign(shipped=one.table.method == "ash_s@90"))
    compared = reports.compare(1, beside(some, 1)).query("model == 'resnet50'")
    shipped = compared.method == "ash_s@90"
    assert set(compared[shipped].status) == {f"measured, {reports.NOT_SHIPPED}"}
    assert set(compared[~shipped].status) == {reports.MEASURED}


def test_sets_that_are_not_whole_say_so() -> None:
    one = replace(found(EVERY), partial={"sun": "9 of 10,000 images"})
    compared = reports.compare(1, beside(one, 1)).query("model == 'resnet50'")
    assert set(compared[compared.ood == "sun"].note) == {"sun: 9 of 10,000 images"}
    assert set(compared[compared.ood.isin(["sun", "mean"])].status) == {"measured, part of the images"}
    assert set(compared[compared.ood == "places"].status) == {reports.MEASURED}


def test_some_of_the_sets_are_named() -> None:
    compared = reports.compare(1, beside(found(EVERY, sets=("sun", "mine")), 1)).query("model == 'resnet50'")
    means = compared[compared.ood == "mean"]
    assert set(means.status) == {"measured, 1 of 4 OOD sets"}
    assert set(means.note) == {"mean over sun alone"}
    here = found(EVERY, sets=("sun", "mine")).row("energy", "sun")
    assert here is not None
    assert means.query("method == 'energy' and metric == 'fpr95'").measured.iloc[0] == here["fpr95"]
    absent = compared[compared.ood == "places"]
    assert set(absent.status) == {reports.NOT_RUN}
    assert set(absent.note) == {"the images of places are missing: python -m ash fetch places"}


def test_other_images_are_not_the_papers() -> None:
    compared = reports.compare(1, beside(found(EVERY, id="nips2017", sets=("dtd",)), 1)).query("model == 'resnet50'")
    assert set(compared[compared.ood == "mean"].status) == {reports.OTHER_IMAGES}


def test_what_is_missing_stands_in_the_note() -> None:
    one = Found("resnet50", "imagenet", reason="fetch it", missing={"odin": "perturbed images"})
    compared = reports.compare(1, beside(one, 1))
    assert compared.measured.isna().all()
    assert set(compared.status) == {reports.NOT_RUN}
    assert set(compared[compared.method == "odin"].note) == {"perturbed images"}
    assert set(compared[compared.method == "energy"].note) == {"fetch it"}


def test_godin_is_published_only_and_says_why() -> None:
    compared = reports.compare(2, beside(found(EVERY), 2))
    rows = compared[compared.printed == "GODIN"]
    assert set(rows.status) == {reports.PUBLISHED}
    assert set(rows.note) == {reports.GODIN}


def test_id_accuracy_belongs_to_no_set() -> None:
    compared = reports.compare(4, beside(found(EVERY), 4))
    row = compared.query("printed == 'ASH-S@90' and metric == 'id_accuracy'").iloc[0]
    assert row.status == reports.MEASURED
    assert 0 <= row.measured <= 100


def test_the_authors_rules_change_the_metrics_and_nothing_else() -> None:
    one = found(EVERY)
    ours, theirs = (reports.compare(3, beside(one, 3), rules) for rules in reports.RULES)
    changed = ours.measured != theirs.measured
    assert changed[ours.method.str.contains("msp") & (ours.metric == "aupr")].all()
    columns = [name for name in ours if name not in ("measured", "difference")]
    pd.testing.assert_frame_equal(ours[columns], theirs[columns])


# Counted, made wide


def test_every_line_is_counted_once() -> None:
    compared = [reports.compare(table, beside(found(["energy"]), table)) for table in paper.TABLES]
    count = reports.counted(*compared)
    assert count.total == sum(len(reports.lines(table)) for table in paper.TABLES) == 87
    assert count.elsewhere == 1 + 2 + 2  # Energy of Tables 1, 2 and 3, not on ResNet-50
    assert (count.measured, count.whole) == (2, 2)  # on ResNet-50, in Tables 1 and 3
    assert count.published == 2


def test_a_line_that_comes_twice_counts_by_the_better() -> None:
    own, other = found(["energy"]), found(["energy", "ash_s@90"], "demo", "fashion_mnist", ("digits",))
    count = reports.counted(*(reports.compare(4, beside(one, 4)) for one in (other, own)))
    assert (count.measured, count.elsewhere) == (0, 1)  # Table 4 has no Energy
    count = reports.counted(*(reports.compare(1, beside(one, 1)) for one in (other, own)))
    assert (count.measured, count.elsewhere, count.total) == (1, 3, 20)


def test_a_wide_table_has_one_row_a_line() -> None:
    compared = reports.compare(2, beside(found(EVERY), 2))
    wide = reports.wide(compared, "mean")
    assert list(wide.index) == list(reports.lines(2).index)
    row = wide.loc["densenet101_cifar10 DICE"]
    assert (row["auroc published"], row["auroc spread"]) == (95.24, 0.24)
    assert row["auroc difference"] == pytest.approx(row["auroc measured"] - 95.24)
    five = reports.wide(reports.compare(5, beside(found(EVERY), 5)), "mean")
    assert "resnet50 ASH-B@70 global" in five.index
    assert "id_accuracy measured" in reports.wide(reports.compare(4, beside(found(EVERY), 4)), "mean")


# Files


def test_csv_reads_back_under_its_origin() -> None:
    compared = reports.compare(4, beside(found(EVERY), 4))
    text = report_files.csv_text(compared, {"made by": "a test\nof two lines"})
    assert text.startswith("# made by: a test of two lines\n")
    back = pd.read_csv(io.StringIO(text), comment="#")
    assert list(back.published) == list(compared.value)
    assert np.allclose(back.measured, compared.measured, atol=1e-4)


class Page(HTMLParser):
    """Tags that are open, the text of the cells, and every address that is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.spans: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href")]
        self.spans += [value or "" for name, value in attributes if tag == "span" and name == "class"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("table", paper.TABLES)
def test_the_page_is_whole_and_needs_no_network(table: int) -> None:
    compared = reports.compare(table, beside(found(EVERY), table))
    text = report_files.html_text(table, compared, {"origin": "<script>alert(1)</script>"})
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.addresses == []
    assert "<script" not in text
    assert page.spans.count("published") == len(compared) + 1  # and one in the legend
    assert page.spans.count("measured") == compared.measured.notna().sum() + 1
