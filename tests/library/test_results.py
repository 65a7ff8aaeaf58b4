"""Results that ship: files that refuse changes, what they hold, and whether they are what the activations give."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ash
from app.backend.evaluations import STEP
from app.backend.layer_status import line
from ash import paper, reports, results
from ash.methods import Method
from ash.models import get_model
from ash.reports import Found
from ash.tables import METRICS, Sweep
from ash.variants import PRUNING

SETS = paper.TABLES[1].ood["resnet50"]


def found(methods: list[str]) -> Found:
    rng, m = np.random.default_rng(0), len(methods)
    some = Sweep(
        tuple(map(Method.parse, methods)),
        rng.normal(12.0, 6.0, (m, 400)).astype(np.float32),
        {name: rng.normal(8.0, 6.0, (m, 100 + 10 * i)).astype(np.float32) for i, name in enumerate(SETS)},
        rng.integers(0, 2, (m, 400)),
        np.zeros(400, np.int64),
    )
    return Found("resnet50", "imagenet", reports.measured(some, "resnet50", "avgpool", "imagenet"))


EVERY = list(paper.methods())


ORIGIN = {
    **dict.fromkeys(("weights_sha256", "device", "date", "versions", "command"), "x"),
    "files": "imagenet 12ab, sun 34cd",
    "incomplete": "sun: 9 of 10,000 images",
    "model": "resnet50",
    "placement": "avgpool",
    "id": "imagenet",
    "ood": ", ".join(SETS),
}


def test_results_read_back(tmp_path: Path) -> None:
    table = found(EVERY).table
    path = tmp_path / "one.csv"
    results.write(path, table, {**ORIGIN, "note": "with: a colon\nand two lines"})
    one = results.read(path)
    assert one.origin == {**ORIGIN, "note": "with: a colon and two lines"}
    assert (one.model, one.placement, one.id_set, one.ood) == ("resnet50", "avgpool", "imagenet", SETS)
    assert one.images == (400, 460)
    assert one.files == {"imagenet": "12ab", "sun": "34cd"}
    assert one.partial == {"sun": "9 of 10,000 images"}
    assert results.shipped(tmp_path)[0].file == path
    worst, where, count = results.largest_difference(one, table)
    assert worst < 1e-4
    assert count == len(table) * 4
    assert where
    pd.testing.assert_frame_equal(pd.read_csv(path, comment="#"), one.table, check_dtype=False)


def test_a_difference_is_named(tmp_path: Path) -> None:
    table = found(["energy", "msp"]).table
    results.write(tmp_path / "one.csv", table, ORIGIN)
    table.loc[(table.method == "msp") & (table.ood == "sun"), "fpr95"] += 0.5
    worst, where, _ = results.largest_difference(results.read(tmp_path / "one.csv"), table)
    assert worst == pytest.approx(0.5, abs=1e-3)
    assert where == "fpr95 of msp on sun"


def test_results_without_origin_are_refused(tmp_path: Path) -> None:
    table = found(["energy"]).table
    with pytest.raises(results.ResultsError, match=r"device is missing for one\.csv"):
        results.write(tmp_path / "one.csv", table, {**ORIGIN, "device": ""})


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("imagenet,sun,energy", "imagenet,places,energy", 1),
        lambda text: text.replace("# device: x", "# device: H100"),
        lambda text: text + text.splitlines()[-1] + "\n",
        lambda text: text.partition("\n")[2],
        lambda text: "",
    ],
    ids=["a row", "the origin", "one row more", "no checksum", "empty"],
)
def test_results_changed_by_hand_are_refused(tmp_path: Path, change: Callable[[str], str]) -> None:
    path = tmp_path / "one.csv"
    results.write(path, found(["energy"]).table, ORIGIN)
    before = path.read_text()
    assert change(before) != before
    path.write_text(change(before))
    with pytest.raises(results.ResultsError, match=r"one\.csv is not as `python -m ash results` wrote it"):
        results.read(path)


def test_line_ends_of_another_system_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "one.csv"
    results.write(path, found(["energy"]).table, ORIGIN)
    one = results.read(path)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    pd.testing.assert_frame_equal(results.read(path).table, one.table)


def test_damaged_files_are_named_each(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        results.write(tmp_path / f"{name}.csv", found(["energy"]).table, ORIGIN)
    for name in ("one", "two"):
        (tmp_path / f"{name}.csv").write_text((tmp_path / f"{name}.csv").read_text().replace("12ab", "12ac"))
    problems = results.damaged(tmp_path)
    assert [problem.split()[0] for problem in problems] == ["one.csv", "two.csv"]
    assert results.damaged() == []


def test_counts_and_lists_of_image_sets_read_back(tmp_path: Path) -> None:
    results.write(tmp_path / "one.csv", found(["energy"]).table, {**ORIGIN, "listed": "imagenet 56ef"})
    one = results.read(tmp_path / "one.csv")
    assert one.counts == {"imagenet": 400, **{name: 100 + 10 * i for i, name in enumerate(SETS)}}
    assert one.listed == {"imagenet": "56ef"}


@pytest.mark.parametrize("linear", [True, False])
def test_results_of_another_placement_hold_the_lines_of_the_page_placements(linear: bool) -> None:
    texts = set(map(str, results.line_methods(linear)))
    for variant in ("ash_p", "ash_b", "ash_s"):
        assert set(line(variant, "energy")) <= texts
    grid = {f"{variant}@{p}" for variant in PRUNING for p in range(0, 100, STEP)}
    assert texts == {"energy", *grid} if linear else len(texts) == 1 + 3 * len(results.LINE)


def test_nothing_in_common_is_no_agreement(tmp_path: Path) -> None:
    results.write(tmp_path / "one.csv", found(["energy"]).table, ORIGIN)
    with pytest.raises(results.ResultsError, match=r"Nothing in one\.csv"):
        results.largest_difference(results.read(tmp_path / "one.csv"), found(["msp"]).table)


# The files themselves


SHIPPED = results.shipped()


def test_the_files_are_small_and_of_this_programs_methods() -> None:
    assert {"densenet101_cifar10", "mobilenet_v2"} <= {one.model for one in SHIPPED}
    assert sum(one.file.stat().st_size for one in SHIPPED) < 1e6
    for one in SHIPPED:
        assert all(str(Method.parse(text)) == text for text in one.table.method)
        assert not one.table.duplicated(["method", "ood"]).any()
        numbers = one.table[[*METRICS]]
        assert numbers.stack().between(0, 100).all()


USUAL = [one for one in SHIPPED if "variant" not in one.origin and one.placement == get_model(one.model).penultimate]
INNER = [one for one in SHIPPED if one.placement != get_model(one.model).penultimate]


@pytest.mark.parametrize("one", INNER, ids=lambda one: one.file.stem)
def test_a_table_of_another_placement_says_which_and_holds_its_lines(one: results.Results) -> None:
    entry = get_model(one.model)
    assert one.file.stem == f"{one.model}_{one.placement}"
    assert one.placement in entry.placements
    linear = one.placement not in entry.deep_placements
    assert set(one.table.method) == set(map(str, results.line_methods(linear)))
    assert one.counts[one.id_set] <= results.SUBSET_ID
    assert all(one.counts[name] <= results.SUBSET_OOD for name in one.ood)


@pytest.mark.parametrize("one", USUAL, ids=lambda one: one.file.stem)
def test_every_method_is_there_or_named_as_left_out(one: results.Results) -> None:
    known = set(one.table.method)
    lacking = [method for method in results.every_method(get_model(one.model)) if str(method) not in known]
    assert all(method.needs_fit for method in lacking)
    assert one.origin["left_out"].startswith(f"{len(lacking)} methods (")
    assert "needs a training bank" in one.origin["left_out"]


ORACLES = {"densenet101_cifar10": "densenet_cifar10_isun", "mobilenet_v2_nips2017": "mobilenet_v2_nips2017_textures"}


@pytest.mark.parametrize("name", ORACLES)
def test_the_authors_code_gives_the_same(reference: Path, name: str) -> None:
    theirs = pd.read_csv(reference / "reference" / f"{ORACLES[name]}.csv").rename(columns={"id_acc": "id_accuracy"})
    theirs = theirs[theirs.score == "energy"]
    theirs.index = pd.Index([str(Method.parse(m if m != "none" else "energy")) for m in theirs.method])
    free = [not (m.startswith("ash_b") and (Method.parse(m).percentile or 0) < 55) for m in theirs.index]  # no ties
    ours = results.read(results.FOLDER / f"{name}.csv").table.query("ood != 'mean'").set_index("method")
    metrics = [*METRICS]
    difference = (ours.loc[theirs.index[free], metrics] - theirs.loc[free, metrics]).abs()
    print(f"{name}: {len(difference)} settings, largest differences {difference.max().to_dict()}")
    assert difference.max().max() < 0.002


def test_the_activations_give_what_ships(reference: Path) -> None:
    """The DenseNet's 10,000 + 8,925 activations, as the authors' code has written them, through this program."""
    one = results.read(results.FOLDER / "densenet101_cifar10.csv")
    names = ("test_features", "isun_features", "test_labels")
    ids, ood, labels = (np.load(reference / f"reference/densenet_cifar10_{name}.npy") for name in names)
    entry = get_model(one.model, reference / "data" / "checkpoints" / "densenet_cifar10.pth")
    assert entry.weights_hash() == one.origin["weights_sha256"]
    tail = ash.split(entry.build(), "penultimate")[1]
    methods = [Method.parse(text) for text in one.table.method.unique() if "odin" not in text]
    some = ash.sweep(tail, ids[:, :, None, None], {"isun": ood[:, :, None, None]}, methods, id_labels=labels)
    worst, where, count = results.largest_difference(one, some.table(one.model, one.placement, one.id_set))
    print(f"{len(methods)} methods, {count} numbers: the largest difference is {worst:.4f} points, {where}")
    assert count == 2 * 4 * len(methods)
    assert worst <= results.TOLERANCE
