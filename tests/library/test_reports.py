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


def compared_with(one: Found, table: int, rules: str = "ours") -> pd.DataFrame:
    """A table with a network beside it, as its own where it is one of the paper's."""
    return reports.compare(table, [one], rules) if one.network else reports.compare(table, [], rules, one)


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
    compared = compared_with(found(EVERY), table)
    published = paper.load(table)
    pd.testing.assert_frame_equal(compared[list(published)].reset_index(drop=True), published)


def test_the_papers_network_on_the_papers_sets_is_measured() -> None:
    one = found(EVERY)
    compared = compared_with(one, 1).query("model == 'resnet50'")
    assert set(compared.status) == {reports.MEASURED}
    row = compared.query("printed == 'ASH-S' and ood == 'sun' and metric == 'auroc'").iloc[0]
    assert row.measured == one.table.query("method == 'ash_s@90' and ood == 'sun'").auroc.iloc[0]
    assert row.difference == row.measured - row.value
    assert (row.n_id, row.n_ood, row.sets, row.on, row.device) == (400, 110, 1, "resnet50", "CPU")
    mean = compared.query("printed == 'ASH-S' and ood == 'mean' and metric == 'auroc'").iloc[0]
    assert mean.measured == pytest.approx(one.table.query("method == 'ash_s@90' and ood == 'mean'").auroc.iloc[0])
    assert (mean.sets, mean.n_ood) == (4, 460)


def test_another_network_stands_beside_averages_only_and_says_so() -> None:
    compared = compared_with(found(EVERY, "demo", "fashion_mnist", ("digits", "noise")), 1)
    means = compared[compared.ood == "mean"]
    assert set(means.status) == {reports.BUNDLED}
    assert means.beside.notna().all()
    facts = means[["beside_on", "beside_id", "beside_sets", "beside_n_id"]].drop_duplicates()
    assert facts.to_numpy().tolist() == [["demo", "fashion_mnist", 2, 400]]
    assert compared[compared.ood != "mean"].beside.isna().all()
    assert compared.measured.isna().all()
    assert compared.difference.isna().all()


def test_another_network_never_has_a_difference() -> None:
    own, other = found(["energy"]), found(EVERY, "demo", "fashion_mnist", ("digits", "noise"))
    for table in paper.TABLES:
        compared = reports.compare(table, [own], beside=other)
        assert compared.beside.notna().sum() > 0
        assert set(compared[compared.difference.notna()]["on"]) <= {"resnet50"}
        assert set(compared[compared.difference.notna()].method) <= {"energy"}
        assert (compared[compared.measured.notna()].model == "resnet50").all()


def test_a_network_of_the_paper_is_not_beside_its_own_lines() -> None:
    one = found(EVERY)
    compared = reports.compare(1, [one], beside=one)
    means = compared[compared.ood == "mean"]
    assert means[means.model == "resnet50"].beside.isna().all()
    assert means[means.model == "mobilenet_v2"].beside.notna().all()
    assert means[means.model == "mobilenet_v2"].difference.isna().all()


def test_a_network_stands_for_the_one_that_it_says_it_is() -> None:
    """Its name in the registry is not what counts."""
    other = replace(found(EVERY, "my_mobilenet"), network="mobilenet_v2")
    compared = reports.compare(1, [other])
    assert set(compared[compared.measured.notna()].model) == {"mobilenet_v2"}
    assert set(compared[compared.measured.notna()]["on"]) == {"my_mobilenet"}
    none = reports.compare(1, [replace(found(EVERY), network="")])
    assert none.measured.isna().all()


# Where a difference is taken


CIFAR = paper.TABLES[2].ood["densenet101_cifar10"]


def test_an_average_over_two_of_six_sets_has_no_difference() -> None:
    one = found(EVERY, "densenet101_cifar10", "cifar10", ("isun", "dtd"))
    for table in (2, 3):
        rows = compared_with(one, table).query("model == 'densenet101_cifar10' and printed != 'GODIN'")
        assert rows.measured.notna().all()
        assert rows.difference.isna().all()
        assert set(rows.differs_in) == {reports.SETS}
        assert set(rows.status) == {"measured, 2 of 6 OOD sets"}
    whole = compared_with(found(EVERY, "densenet101_cifar10", "cifar10", CIFAR), 2)
    assert whole.query("model == 'densenet101_cifar10' and printed != 'GODIN'").difference.notna().all()


def test_a_set_of_its_own_column_has_a_difference_where_others_are_missing() -> None:
    rows = compared_with(found(EVERY, sets=("dtd",)), 1).query("model == 'resnet50'")
    assert set(rows[rows.difference.notna()].ood) == {"dtd"}
    assert set(rows[rows.ood == "mean"].differs_in) == {reports.SETS}


def test_as_many_sets_as_the_papers_are_not_the_papers() -> None:
    rows = compared_with(found(EVERY, sets=("a", "b", "c", "d")), 1).query("model == 'resnet50' and ood == 'mean'")
    assert set(rows.differs_in) == {reports.SETS}
    assert set(rows.status) == {"measured, 0 of 4 OOD sets"}
    assert set(rows.note) == {"mean over a, b, c, d alone"}
    assert rows.difference.isna().all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id_set": "nips2017"}, "images"),
        ({"partial": {"imagenet": "1,000 of 50,000 images"}}, "images"),
        ({"partial": {"sun": "9 of 10,000 images"}}, "images"),
        ({"apart": (reports.WEIGHTS,)}, "weights"),
        ({"apart": (reports.PLACEMENT,)}, "placement"),
        ({"apart": (reports.WEIGHTS,), "id_set": "nips2017"}, "weights, images"),
        ({}, ""),
    ],
)
def test_what_is_not_the_papers_is_said_in_a_word_in_place_of_the_difference(
    change: dict[str, object], words: str
) -> None:
    rows = compared_with(replace(found(EVERY), **change), 1).query("model == 'resnet50'")
    means = rows[rows.ood == "mean"]
    assert set(means.differs_in) == {words}
    assert means.measured.notna().all()
    assert (means.difference.notna() == (words == "")).all()
    assert (rows.difference.notna() == (rows.differs_in == "")).all()


def test_accuracy_hangs_on_no_ood_image() -> None:
    rows = compared_with(replace(found(EVERY, sets=("sun",)), partial={"sun": "9 of 10,000 images"}), 4)
    accuracy = rows.metric == "id_accuracy"
    assert rows[accuracy].difference.notna().all()
    assert rows[~accuracy].difference.isna().all()
    less = compared_with(replace(found(EVERY), partial={"imagenet": "9 of 50,000 images"}), 4)
    assert less.difference.isna().all()


def test_a_network_that_is_not_bundled_is_another_one() -> None:
    compared = compared_with(found(EVERY, "vit_b_16", "mine", ("digits",)), 4)
    assert set(compared.status) == {reports.ANOTHER}


def test_rows_that_ship_say_so() -> None:
    one = found(EVERY)
    some = replace(one, table=one.table.assign(shipped=one.table.method == "ash_s@90"))
    compared = compared_with(some, 1).query("model == 'resnet50'")
    shipped = compared.method == "ash_s@90"
    assert set(compared[shipped].status) == {f"measured, {reports.NOT_SHIPPED}"}
    assert set(compared[~shipped].status) == {reports.MEASURED}


def test_sets_that_are_not_whole_say_so() -> None:
    one = replace(found(EVERY), partial={"sun": "9 of 10,000 images"})
    compared = compared_with(one, 1).query("model == 'resnet50'")
    assert set(compared[compared.ood == "sun"].note) == {"sun: 9 of 10,000 images"}
    assert set(compared[compared.ood.isin(["sun", "mean"])].status) == {"measured, part of the images"}
    assert set(compared[compared.ood == "places"].status) == {reports.MEASURED}


def test_some_of_the_sets_are_named() -> None:
    compared = compared_with(found(EVERY, sets=("sun", "mine")), 1).query("model == 'resnet50'")
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
    compared = compared_with(found(EVERY, id="nips2017", sets=("dtd",)), 1).query("model == 'resnet50'")
    assert set(compared[compared.ood == "mean"].status) == {reports.OTHER_IMAGES}


def test_what_is_missing_stands_in_the_note() -> None:
    one = Found("resnet50", "imagenet", reason="fetch it", missing={"odin": "perturbed images"}, network="resnet50")
    compared = compared_with(one, 1).query("model == 'resnet50'")
    assert compared.measured.isna().all()
    assert set(compared.status) == {reports.NOT_RUN}
    assert set(compared[compared.method == "odin"].note) == {"perturbed images"}
    assert set(compared[compared.method == "energy"].note) == {"fetch it"}


def test_godin_is_published_only_and_says_why() -> None:
    compared = compared_with(found(EVERY), 2)
    rows = compared[compared.printed == "GODIN"]
    assert set(rows.status) == {reports.PUBLISHED}
    assert set(rows.note) == {reports.GODIN}


def test_id_accuracy_belongs_to_no_set() -> None:
    compared = compared_with(found(EVERY), 4)
    row = compared.query("printed == 'ASH-S@90' and metric == 'id_accuracy'").iloc[0]
    assert row.status == reports.MEASURED
    assert 0 <= row.measured <= 100


def test_the_authors_rules_change_the_metrics_and_nothing_else() -> None:
    one = found(EVERY)
    ours, theirs = (compared_with(one, 3, rules) for rules in reports.RULES)
    changed = ours.measured != theirs.measured
    assert changed[ours.method.str.contains("msp") & (ours.metric == "aupr")].all()
    columns = [name for name in ours if name not in ("measured", "difference")]
    pd.testing.assert_frame_equal(ours[columns], theirs[columns])


# Counted, made wide


def test_every_line_is_counted_once() -> None:
    own, other = found(["energy"]), found(["energy"], "demo", "fashion_mnist", ("digits",))
    count = reports.counted(*(reports.compare(table, [own], beside=other) for table in paper.TABLES))
    assert count.total == sum(len(reports.lines(table)) for table in paper.TABLES) == 87
    assert count.elsewhere == 1 + 2 + 2  # Energy of Tables 1, 2 and 3, not on ResNet-50
    assert (count.measured, count.whole) == (2, 2)  # on ResNet-50, in Tables 1 and 3
    assert count.published == 2


def test_a_line_of_which_a_part_is_whole_is_not_whole() -> None:
    """Against one of four sets, or in its accuracy alone."""
    for table in (1, 4):
        count = reports.counted(compared_with(found(EVERY, sets=("sun",)), table))
        assert count.measured > 0
        assert count.whole == 0


def test_a_line_that_comes_twice_counts_by_the_better() -> None:
    own, other = found(["energy"]), found(["energy", "ash_s@90"], "demo", "fashion_mnist", ("digits",))
    count = reports.counted(*(compared_with(one, 4) for one in (other, own)))
    assert (count.measured, count.elsewhere) == (0, 1)  # Table 4 has no Energy
    count = reports.counted(*(compared_with(one, 1) for one in (other, own)))
    assert (count.measured, count.elsewhere, count.total) == (1, 3, 20)


def test_a_wide_table_has_one_row_a_line() -> None:
    compared = compared_with(found(EVERY, "densenet101_cifar10", "cifar10", CIFAR), 2)
    wide = reports.wide(compared, "mean")
    assert list(wide.index) == list(reports.lines(2).index)
    row = wide.loc["densenet101_cifar10 DICE"]
    assert (row["auroc published"], row["auroc spread"]) == (95.24, 0.24)
    assert row["auroc difference"] == pytest.approx(row["auroc measured"] - 95.24)
    five = reports.wide(compared_with(found(EVERY), 5), "mean")
    assert "resnet50 ASH-B@70 global" in five.index
    assert "id_accuracy measured" in reports.wide(compared_with(found(EVERY), 4), "mean")


# Files


def test_files_have_another_network_in_columns_of_its_own() -> None:
    own, other = found(["energy"], sets=("sun", "dtd")), found(EVERY, "demo", "fashion_mnist", ("digits",))
    compared = reports.compare(1, [own], beside=other)
    back = pd.read_csv(io.StringIO(report_files.csv_text(compared, {"made by": "a test"})), comment="#")
    assert set(back[back.difference.notna()].ood) == {"sun", "dtd"}
    assert back[back.beside.notna()].difference.isna().all()
    assert (back.beside.notna() == (back.beside_on == "demo")).all()
    text = report_files.html_text(1, compared, {})
    page = Page()
    page.feed(text)
    assert page.spans.count("difference") == compared.difference.notna().sum() == 4
    assert page.spans.count("beside") == compared.beside.notna().sum() > 0
    assert "<th>◇ demo, AUROC</th>" in text
    assert "demo does, another network" in text
    alone = report_files.html_text(1, reports.compare(1, [own]), {})
    assert "◇" not in alone


def test_csv_reads_back_under_its_origin() -> None:
    compared = compared_with(found(EVERY), 4)
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
    compared = compared_with(found(EVERY), table)
    text = report_files.html_text(table, compared, {"origin": "<script>alert(1)</script>"})
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.addresses == []
    assert "<script" not in text
    assert page.spans.count("published") == len(compared) + 1  # and one in the legend
    assert page.spans.count("measured") == compared.measured.notna().sum() + 1
