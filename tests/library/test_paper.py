"""The paper's numbers: complete, consistent with themselves, and equal to the paper's own tables, read again here."""

import re
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pandas as pd
import pytest

from ash import paper
from ash.methods import Method, baselines
from ash.models import MODELS

# The 392 numbers of the tables are 388 values and the 4 +- values of DICE in Table 2.
VALUES = {1: 200, 2: 40, 3: 36, 4: 28, 5: 84}
PLUS_MINUS = {1: 0, 2: 4, 3: 0, 4: 0, 5: 0}
METRICS = {"auroc", "fpr95", "aupr", "id_accuracy"}

# (model, printed, metric) -> printed average minus the average of its four parts, where rounding to two decimals does
# not explain it. Every average of Table 1, the only table that prints the parts, follows.
DO_NOT_FOLLOW: dict[tuple[str, str, str], float] = {}
# Averages whose third decimal is exactly 5: the paper rounds 8 of them up and 4 down. Printed minus computed.
HALVES = {
    ("resnet50", "Mahalanobis", "fpr95"): 0.005,
    ("resnet50", "Mahalanobis", "auroc"): 0.005,
    ("resnet50", "Energy", "fpr95"): 0.005,
    ("resnet50", "Dice", "auroc"): -0.005,
    ("resnet50", "Dice + React", "fpr95"): -0.005,
    ("resnet50", "ASH-P", "fpr95"): -0.005,
    ("resnet50", "ASH-P", "auroc"): 0.005,
    ("resnet50", "ASH-S", "fpr95"): 0.005,
    ("mobilenet_v2", "ODIN", "fpr95"): 0.005,
    ("mobilenet_v2", "Mahalanobis", "auroc"): 0.005,
    ("mobilenet_v2", "ReAct", "auroc"): 0.005,
    ("mobilenet_v2", "Dice + React", "auroc"): -0.005,
}
# The same method, network, sets and metric with two values: Table 3 minus Table 1 (ImageNet) or Table 2 (CIFAR).
DIFFER = {
    ("densenet101_cifar10", "msp", "fpr95"): -0.04,
    ("densenet101_cifar10", "msp", "auroc"): 0.06,
    ("densenet101_cifar100", "msp", "fpr95"): -0.07,
    ("densenet101_cifar100", "msp", "auroc"): 0.09,
    ("resnet50", "msp", "fpr95"): -2.19,
    ("resnet50", "msp", "auroc"): 0.83,
    ("densenet101_cifar10", "energy", "fpr95"): 0.04,
    ("densenet101_cifar10", "energy", "auroc"): 0.06,
    ("densenet101_cifar100", "energy", "fpr95"): -0.16,
    ("densenet101_cifar100", "energy", "auroc"): 0.04,
    ("resnet50", "energy", "fpr95"): -0.94,
    ("resnet50", "energy", "auroc"): 0.88,
}


@pytest.fixture(scope="module")
def numbers() -> pd.DataFrame:
    """All five tables, one row a number."""
    return pd.concat([paper.load(table) for table in paper.TABLES], ignore_index=True)


def test_all_392_numbers_are_there(numbers: pd.DataFrame) -> None:
    assert numbers.groupby("table").value.count().to_dict() == VALUES
    assert numbers.groupby("table").plus_minus.count().to_dict() == PLUS_MINUS
    assert numbers.value.count() + numbers.plus_minus.count() == 392


def test_columns_and_their_words(numbers: pd.DataFrame) -> None:
    assert list(numbers) == list(paper.COLUMNS)
    assert set(numbers.metric) == METRICS
    assert set(numbers.basis) == {"", "paper", "assumed"}
    assert set(numbers.threshold) == {"", "local", "global"}
    assert set(numbers.source) == {"", "authors", "cited"}
    assert set(numbers.flag) | set(paper.points().flag) == {"", *paper.FLAGS}


def test_values_are_percentages_with_two_decimals(numbers: pd.DataFrame) -> None:
    assert numbers.value.between(0, 100).all()
    hundredths = pd.concat([numbers.value, numbers.plus_minus.dropna()]) * 100
    assert (hundredths - hundredths.round()).abs().max() < 1e-9
    assert numbers[numbers.metric.isin(["aupr", "id_accuracy"])].value.min() > 70
    assert set(numbers[(numbers.metric == "auroc") & (numbers.value < 50)].printed) == {"Mahalanobis"}


@pytest.mark.parametrize("table", paper.TABLES)
def test_every_row_of_a_table_has_every_column_once(table: int) -> None:
    frame = paper.load(table)
    key = ["model", "printed", "threshold"]
    assert not frame.duplicated([*key, "ood", "metric"]).any()
    cells = frame.groupby(key).apply(lambda row: frozenset(zip(row.ood, row.metric, strict=True)))
    assert cells.nunique() == 1
    methods = frame.groupby(["model", "threshold"]).printed.apply(frozenset).groupby("model").apply(frozenset)
    assert methods.nunique() == 1, "networks with different methods"


def test_descriptions_fit_the_numbers_and_the_registry() -> None:
    for number, table in paper.TABLES.items():
        frame = paper.load(number)
        assert table.number == number
        assert set(frame.model) == set(table.ood)
        assert set(frame.metric) == set(table.metrics)
        for model, sets in table.ood.items():
            assert MODELS[model].ood_sets[: len(sets)] == sets
            rows = frame[frame.model == model]
            assert set(rows.id) == {MODELS[model].id_set}
            assert set(rows.ood) <= {*sets, "mean", ""}
        assert ((frame.ood == "") == (frame.metric == "id_accuracy")).all()


def test_methods_are_ours(numbers: pd.DataFrame) -> None:
    """Every line has a method that parses; what is assumed is a preset of the network or its DICE."""
    for row in numbers.drop_duplicates(["model", "method", "basis"]).itertuples():
        method = Method.parse(row.method)
        assert str(method) == row.method
        assert row.percentile == method.pruned or (pd.isna(row.percentile) and method.pruned is None)
        assert (row.basis == "") == (not method.steps)
        if row.basis == "assumed":
            known = {*MODELS[row.model].presets.values(), *map(str, baselines(MODELS[row.model]))}
            assert row.method.removesuffix(":msp") in known


def test_a_threshold_for_all_samples_is_the_methods(numbers: pd.DataFrame) -> None:
    for row in numbers.itertuples():
        steps = Method.parse(row.method).steps
        needs = {step.variant.needs for step in steps}
        assert (row.threshold == "global") == ("id" in needs)
        assert (row.threshold == "local") == any(step.local for step in steps)


def test_a_printed_percentile_is_the_methods() -> None:
    for table in (4, 5):
        for row in paper.load(table).itertuples():
            assert row.printed.endswith(f"@{row.percentile:g}")
            assert row.basis == "paper"
    stated = paper.points().query("quantity == 'percentile'")
    ash = paper.load(1).query("source == 'authors'")
    assert set(zip(ash.model, ash.method, ash.percentile, strict=True)) == set(
        zip(stated.model, stated.method, stated.value, strict=True)
    )


def test_only_dice_in_table_2_has_a_spread(numbers: pd.DataFrame) -> None:
    spread = numbers.dropna(subset="plus_minus")
    assert set(zip(spread.table, spread.printed, strict=True)) == {(2, "DICE")}
    assert list(zip(spread.id, spread.metric, spread.plus_minus, strict=True)) == [
        ("cifar10", "fpr95", 1.58),
        ("cifar10", "auroc", 0.24),
        ("cifar100", "fpr95", 1.69),
        ("cifar100", "auroc", 0.73),
    ]


def test_the_misprint_is_flagged(numbers: pd.DataFrame) -> None:
    """Two rows of Table 4 agree in every OOD metric; no two others do. The AUPRs of max softmax have a flag too."""
    frame = paper.load(4)
    detection = frame[frame.metric != "id_accuracy"].pivot(index="printed", columns="metric", values="value")
    repeated = detection[detection.duplicated(keep=False)]
    assert set(repeated.index) == {"ASH-RAND@70", "ASH-RAND@75"}
    flagged = frame[frame.flag == "misprint"]
    assert len(flagged) == repeated.size == 6
    assert set(flagged.printed) == set(repeated.index)
    assert "id_accuracy" not in set(flagged.metric)
    softmax = numbers.method.str.contains("msp") & (numbers.metric == "aupr")
    assert ((numbers.flag == "ties") == softmax).all()


def test_averages_follow_from_their_parts() -> None:
    hundredths = paper.load(1).assign(value=lambda frame: (100 * frame.value).round().astype(int))
    cells = hundredths.pivot(index=["model", "printed", "metric"], columns="ood", values="value")
    excess = 4 * cells["mean"] - cells.drop(columns="mean").sum(axis=1)  # in 1/400 points; rounding explains 2
    assert len(excess) == 40
    assert (excess[excess.abs() > 2] / 400).to_dict() == DO_NOT_FOLLOW
    assert (excess[excess.abs() == 2] / 400).to_dict() == HALVES


def test_what_is_printed_twice(numbers: pd.DataFrame) -> None:
    """ASH rows repeat exactly in Tables 1-4, which is how Table 3's variant is known; plain scores do not."""
    key = ["model", "method", "metric"]
    means = numbers[(numbers.ood == "mean") & (numbers.method != "")]
    twice = means[means.duplicated(key, keep=False)].sort_values("table", kind="stable").groupby(key).value
    change = (twice.last() - twice.first()).round(2)
    assert change[change != 0].to_dict() == DIFFER
    same = change[change == 0]
    assert set(same.index.droplevel("metric")) == {
        ("resnet50", "ash_b@65"),
        ("resnet50", "ash_s@90"),
        ("densenet101_cifar10", "ash_s@95"),
        ("densenet101_cifar100", "ash_s@90"),
    }
    assert (twice.max() - twice.min())[same.index].max() == 0


def test_points_of_the_text() -> None:
    points = paper.points()
    assert list(points) == list(paper.POINT_COLUMNS)
    assert not points.duplicated(["place", "model", "method", "quantity"]).any()
    accuracy = points[points.quantity == "id_accuracy"].set_index("method").value
    assert accuracy.to_dict() == {
        "energy": 76.13,
        "react@1.0": 74.82,
        "ash_p@65": 76.01,
        "ash_s@65": 76.01,
        "ash_b@0": 0,
    }
    for method in filter(None, points.method):
        assert str(Method.parse(method)) == method
    assert set(points.model) - {""} <= set(MODELS)


@pytest.mark.parametrize("table", [0, 6, "1"])
def test_an_unknown_table_is_refused(table: int) -> None:
    with pytest.raises(paper.PaperError, match=rf"no Table {table!r}; it has Tables 1 to 5"):
        paper.load(table)


@pytest.mark.slow
def test_reading_needs_no_torch() -> None:
    code = "import sys, ash.paper; ash.paper.load(1); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0


# The paper's own markdown, read by its headers: cell -> text, where a cell is a table, a row's names, a column's names.

Cell = tuple[int, tuple[str, ...], tuple[str, ...]]
ROW_NAMES = {1: 2, 2: 1, 3: 1, 4: 1, 5: 1}  # leading columns that name a row
SPELLING = {
    "resnet50": "ResNet",
    "mobilenet_v2": "MobileNet",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "imagenet": "ImageNet",
    "inaturalist": "iNaturalist",
    "sun": "SUN",
    "places": "Places",
    "dtd": "Textures",
    "mean": "Average",
    "local": "Local threshold",
    "global": "Global threshold",
    "auroc": "AUROC",
    "fpr95": "FPR95",
    "aupr": "AUPR",
    "id_accuracy": "ID ACC",
}


def is_number(text: str) -> bool:
    return re.match(r"\d", text) is not None


def filled(names: list[str]) -> list[str]:
    """A merged cell's name is printed once, over its first column."""
    for i in range(1, len(names)):
        names[i] = names[i] or names[i - 1]
    return names


def cells_of(table: int, lines: list[str]) -> dict[Cell, str]:
    """The numbers of one markdown table by the names of their rows and columns."""
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    rows = [row for row in rows if not set("".join(row)) <= {"-"}]
    lead = ROW_NAMES[table]
    heads = [filled(row[lead:]) for row in rows if not is_number(row[lead])]
    columns = [tuple(re.sub(r"\s*[↑↓]", "", name) for name in names) for names in zip(*heads, strict=True)]
    cells: dict[Cell, str] = {}
    above = [""] * lead
    for row in (row for row in rows if is_number(row[lead])):
        above = [name or last for name, last in zip(row[:lead], above, strict=True)]
        names = tuple(re.sub(r" (\[\d+\]|\(Ours\))", "", name) for name in above)
        cells |= {(table, names, column): text for column, text in zip(columns, row[lead:], strict=True)}
    return cells


@pytest.fixture(scope="module")
def markdown(reference: Path) -> str:
    return (reference / "paper.md").read_text()


def names_of(row: pd.Series) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of a number's row and column as the paper's table has them."""
    metric = SPELLING[row.metric]
    if row.table == 1:
        return (SPELLING[row.model], row.printed), ("OOD Datasets", SPELLING[row.ood], metric)
    if row.table in (2, 3):
        return (row.printed,), (SPELLING[row.id], metric)
    top = "ImageNet benchmark" if row.table == 4 else SPELLING[row.threshold]
    return (row.printed,), (top, metric, "")


def test_every_number_is_the_papers(markdown: str, numbers: pd.DataFrame) -> None:
    lines = markdown.splitlines()
    blocks = [list(group) for inside, group in groupby(lines, lambda line: line.startswith("|")) if inside]
    assert len(blocks) == 5
    printed = {cell: text for table, block in enumerate(blocks, 1) for cell, text in cells_of(table, block).items()}
    ours = {}
    for _, row in numbers.iterrows():
        spread = "" if pd.isna(row.plus_minus) else rf" \pm {row.plus_minus:.2f}"
        ours[(row.table, *names_of(row))] = f"{row.value:.2f}{spread}"
    assert len(printed) == len(ours) == 388
    assert ours == printed
    assert sum(len(re.findall(r"\d+\.\d\d", text)) for text in printed.values()) == 392


def test_the_mark_of_the_authors_is_the_papers(markdown: str) -> None:
    marked = re.findall(r"\| (\S+) \(Ours\)", markdown)
    for table, count in ((1, 6), (2, 3)):
        rows = paper.load(table).query("source == 'authors'")
        models = 1 if table == 2 else 2
        assert list(rows.drop_duplicates(["printed"]).printed) * models == marked[:count]
        del marked[:count]
    assert not marked


def test_every_point_is_the_papers(markdown: str) -> None:
    text = {
        ("section 2", "size"): r"\$(\d+) \\times 1 \\times 1\$",
        ("section 3.1", "percentile"): r"\$p = (\d+)\\%\$",
        ("section 3.2", "id_accuracy"): r"from ([\d.]+)% to ([\d.]+)%|ID accuracy \(([\d.]+)%\)|accuracy drop to (\d)",
        ("section 5", "react_percentile"): r"at the (\d+) percentile",
        ("table 4", "noise_low"): r"random numbers between (\d+) and",
        ("table 4", "noise_high"): r"random numbers between \d+ and (\d+)",
    }
    points = paper.points()
    for (place, quantity), rows in points.groupby(["place", "quantity"]):
        found = re.findall(text[place, quantity], markdown)
        values = {float(one) for match in found for one in ([match] if isinstance(match, str) else match) if one}
        assert set(rows.value) == values, (place, quantity)
