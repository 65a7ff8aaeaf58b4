"""Validation and test: the split is fixed, whole and disjoint; the choice is what a plain loop over the table gives."""

import hashlib
import math
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ash.__main__ import main
from ash.commands import sweep as sweep_command
from ash.data import evenly, get_dataset, near_and_far
from ash.errors import AshError
from ash.methods import Method
from ash.protocol import ProtocolError, choose, is_validation, validation_and_test, validation_count
from ash.tables import Sweep

names = st.lists(st.text(max_size=8), min_size=2, max_size=400, unique=True)


@pytest.mark.parametrize(
    ("n", "held"),
    [(0, 0), (1, 0), (2, 1), (3, 2), (199, 100), (200, 100), (300, 100), (1000, 100), (1001, 101), (10_000, 1000)],
)
def test_a_tenth_is_for_validation_and_at_least_a_hundred_or_half(n: int, held: int) -> None:
    assert validation_count(n) == held


@given(names, st.randoms())
def test_the_split_hangs_on_names_alone(every: list[str], random: Random) -> None:
    held = is_validation(every)
    assert held.sum() == validation_count(len(every))
    assert held.any()
    assert not held.all()
    mixed = list(every)
    random.shuffle(mixed)
    side = dict(zip(mixed, is_validation(mixed).tolist(), strict=True))
    assert [side[name] for name in every] == held.tolist()
    some = every[::3]
    assert is_validation(some, every).tolist() == held[::3].tolist()


def test_it_is_the_smallest_hashes_on_every_machine() -> None:
    held = is_validation(get_dataset("clipart").names)
    ranked = sorted(get_dataset("clipart").names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    assert {name for name, one in zip(get_dataset("clipart").names, held, strict=True) if one} == set(ranked[:100])
    found = is_validation(["a", "b", "c", "d"]).tolist()
    assert found == [False, False, True, True]  # for ever: their hashes begin with ca, 3e, 2e, 18


def test_an_image_is_on_one_side_in_every_selection() -> None:
    whole = get_dataset("photos")
    side = dict(zip(whole.names, is_validation(whole.names).tolist(), strict=True))
    for count in (10, 333, 1000):
        some = evenly(whole, count).names
        assert is_validation(some, whole.names).tolist() == [side[name] for name in some]


def test_what_cannot_be_split_is_said() -> None:
    with pytest.raises(ProtocolError, match="A set of 1 images cannot be split"):
        is_validation(["one.png"])
    with pytest.raises(ProtocolError, match=r"1 images are not of the set to be split, 'c' for one"):
        is_validation(["a", "c"], ["a", "b"])


def made(seed: int = 0, labels: bool = True) -> Sweep:
    rng = np.random.default_rng(seed)
    methods = tuple(Method.parse(text) for text in ("energy", "ash_p@50", "ash_s@80", "ash_b@65", "react@1.0"))
    scores = {"digits": rng.normal(size=(5, 30)), "noise": rng.normal(-1, 1, (5, 50))}
    truth = rng.integers(0, 3, 40) if labels else None
    return Sweep(methods, rng.normal(size=(5, 40)), scores, rng.integers(0, 3, (5, 40)), truth)


def test_the_parts_of_a_sweep_are_its_samples() -> None:
    whole, rng = made(), np.random.default_rng(1)
    held = {name: rng.random(n) < 0.4 for name, n in (("id", 40), ("digits", 30), ("noise", 50))}
    validation, test = validation_and_test(whole, held["id"], held)
    for part, keep in ((validation, True), (test, False)):
        assert np.array_equal(part.id_scores, whole.id_scores[:, held["id"] == keep])
        assert whole.id_labels is not None
        known = whole.id_labels[held["id"] == keep]
        right = np.mean(whole.id_predictions[:, held["id"] == keep] == known, axis=1)
        assert np.array_equal(part.id_accuracy(), right)
        for name in ("digits", "noise"):
            assert np.array_equal(part.ood_scores[name], whole.ood_scores[name][:, held[name] == keep])
    assert test.table().n_ood.tolist()[:3] == [int((~held[name]).sum()) for name in ("digits", "noise")] + [
        int((~held["digits"]).sum() + (~held["noise"]).sum())
    ]
    assert test.table()[["tied", "beyond_range"]].isna().all().all()
    with pytest.raises(ProtocolError, match="None of the 30 images of digits is for validation"):
        validation_and_test(whole, held["id"], {**held, "digits": np.zeros(30, bool)})
    with pytest.raises(ProtocolError, match="None of the 40 images of the ID set is for test"):
        validation_and_test(whole, np.ones(40, bool), held)


def plainly(table: pd.DataFrame, budget: float | None, goal: str, sets: list[str]) -> str | None:
    """`choose` by a loop."""
    best: tuple[float, float] | None = None
    found = None
    (base,) = set(table.query("method == 'energy'").id_accuracy)
    for method in dict.fromkeys(table.method):
        rows = table[(table.method == method) & table.ood.isin(sets)]
        value = sum(rows[goal]) / len(rows) * (-1 if goal == "fpr95" else 1)
        accuracy = rows.id_accuracy.iloc[0]
        allowed = budget is None or accuracy >= base - budget - 1e-9
        if allowed and not math.isnan(value) and (best is None or (value, accuracy) > best):
            best, found = (value, accuracy), method
    return found


@given(
    st.integers(0, 200),
    st.sampled_from([None, 0.0, 2.5, 10.0]),
    st.sampled_from(["auroc", "fpr95", "aupr"]),
    st.sampled_from([["digits"], ["noise"], ["digits", "noise"]]),
)
def test_the_choice_is_that_of_a_plain_loop(seed: int, budget: float | None, goal: str, sets: list[str]) -> None:
    table = made(seed).table()
    assert choose(table, budget, goal, sets) == plainly(table, budget, goal, sets)


def test_among_equals_the_most_accurate_then_the_first() -> None:
    whole = made()
    same = replace(whole, id_scores=whole.id_scores[:1].repeat(5, 0), id_predictions=whole.id_predictions.copy())
    same = replace(same, ood_scores={name: one[:1].repeat(5, 0) for name, one in whole.ood_scores.items()})
    assert whole.id_labels is not None
    same.id_predictions[:] = whole.id_labels
    assert choose(same.table()) == "energy"
    same.id_predictions[[0, 1, 3]] = -1
    assert choose(same.table()) == "ash_s@80"


def test_near_and_far_are_averaged_apart() -> None:
    assert near_and_far("photos", ["emoji", "clipart_objects", "mine", "dtd"]) == {
        "near": ("clipart_objects",),
        "far": ("emoji", "dtd"),
    }
    assert near_and_far("photos", ["emoji", "dtd"]) == {}
    assert near_and_far("mine", ["emoji", "clipart_objects"]) == {}
    table = made().table(groups={"near": ("digits",), "far": ("digits", "noise")}).query("method == 'ash_s@80'")
    rows = table.set_index("ood")[["auroc", "fpr95", "aupr", "id_accuracy", "n_ood"]]
    assert rows.index.tolist() == ["digits", "noise", "mean", "near", "far"]
    assert rows.loc["near"].tolist() == rows.loc["digits"].tolist()
    assert rows.loc["far"].tolist() == rows.loc["mean"].tolist()
    assert choose(made().table(groups={"near": ("noise",)})) == choose(made().table())


def test_a_choice_that_cannot_be_made() -> None:
    table = made().table()
    assert choose(made(labels=False).table(), 1.0) is None
    assert choose(made(labels=False).table()) is not None
    for arguments, why in (
        ({"goal": "id_accuracy"}, "The best 'id_accuracy' cannot be chosen"),
        ({"sets": ["nowhere"]}, "no rows for nowhere"),
        ({"sets": []}, "no rows for any OOD set"),
    ):
        with pytest.raises(ProtocolError, match=why):
            choose(table, **arguments)
    with pytest.raises(ProtocolError, match="needs the unshaped network"):
        choose(table[table.method != "energy"], 1.0)


# The command line


def sweep(*more: str) -> str:
    words = ("sweep", "--model", "demo", "--placement", "penultimate", "--id", "fashion_mnist", "--ood", "digits")
    done = CliRunner().invoke(
        main, [*words, "--ood", "letters", "--methods", "ash_p@60,ash_b@50:90:10,ash_s@65", *more]
    )
    assert done.exit_code == 0, done.output
    return done.output


def test_the_command_line_chooses_on_validation_and_reports_on_test(tmp_path: Path) -> None:
    out = tmp_path / "test.csv"
    said = sweep("--choose", "--budget", "1", "--out", str(out))
    assert "Chosen on 300 ID + 200 OOD validation images, at most 1 point of accuracy" in said
    assert "On the other 2,700 ID + 1,800 OOD images: AUROC" in said
    table = pd.read_csv(out)
    assert list(table.n_ood[:3]) == [900, 900, 1800]
    assert set(table.n_id) == {2700}
    found = said.partition("the unshaped network: ")[2].split()[0]
    row = table[(table.method == found) & (table.ood == "mean")].iloc[0]
    assert f"AUROC {row.auroc:.2f}, FPR95 {row.fpr95:.2f}" in said
    sweep("--out", str(out))
    assert set(pd.read_csv(out).n_id) == {3000}


@pytest.mark.parametrize("goal", ["auroc", "fpr95"])
def test_where_no_method_asked_for_is_chosen_it_is_said_why_and_what_is(tmp_path: Path, goal: str) -> None:
    out = tmp_path / "test.csv"
    said = sweep("--methods", "ash_b@95,ash_p@90", "--choose", "--budget", "0", "--goal", goal, "--out", str(out))
    assert "below the unshaped network: energy, without shaping\n" in said
    assert "None of the methods asked for is at most 0 points of accuracy below the unshaped network." in said
    assert "The nearest, ash_p@90, loses 1.7 points." in said
    assert set(pd.read_csv(out).method) == {"ash_b@95", "ash_p@90"}
    said = sweep("--methods", "ash_b@95", "--choose", "--goal", goal, "--out", str(out))
    assert "with any accuracy: energy, without shaping\nNone of the methods asked for has a better" in said
    said = sweep("--methods", "energy,ash_b@95", "--choose", "--budget", "0", "--out", str(out))
    assert "energy\nOn the other" in said


def test_what_cannot_be_chosen_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_command, "evaluate", lambda *_, **__: pytest.fail("the work was begun"))
    words = ["sweep", "--model", "demo", "--ood", "noise", "--methods", "energy", "--out", str(tmp_path / "o.csv")]
    for more, why in (
        (("--id", "digits", "--budget", "1"), "--budget needs labels: none of the 100 validation images of Digits has"),
        (("--id", "fashion_mnist", "--images", "1"), "for validation: take more of them."),
    ):
        done = CliRunner().invoke(main, [*words, *more, "--choose"])
        assert done.exit_code == 1
        assert why in done.output.splitlines()[-1]


def test_a_budget_of_scores_that_are_not_the_networks_own_is_beside_energy(tmp_path: Path) -> None:
    out = tmp_path / "o.csv"
    said = sweep("--methods", "gradnorm", "--choose", "--budget", "1", "--out", str(out))
    assert "below the unshaped network: gradnorm\n" in said


def test_a_budget_without_a_choice_is_refused(tmp_path: Path) -> None:
    words = ["sweep", "--model", "demo", "--id", "fashion_mnist", "--ood", "digits", "--methods", "energy"]
    done = CliRunner().invoke(main, [*words, "--budget", "1", "--out", str(tmp_path / "o.csv")])
    assert done.exit_code == 2
    assert "--budget limits what --choose may choose" in done.output


@pytest.mark.parametrize(
    ("option", "value"), [("--budget", "nan"), ("--epsilon", "nan"), ("--epsilon", "inf"), ("--epsilon", "11")]
)
def test_a_number_that_is_none_is_refused_before_anything_is_measured(option: str, value: str, tmp_path: Path) -> None:
    out = tmp_path / "o.csv"
    words = ["sweep", "--model", "demo", "--id", "fashion_mnist", "--ood", "digits", "--methods", "energy", "--choose"]
    done = CliRunner().invoke(main, [*words, option, value, "--out", str(out)])
    assert done.exit_code == 2
    assert option in done.output
    assert ("not a finite number" if value == "nan" else "is not in the range") in done.output
    assert not out.exists()


def test_a_set_whose_activations_ship_is_measured_without_its_images(tmp_path: Path) -> None:
    words = ["sweep", "--model", "mobilenet_v2_photos", "--id", "photos", "--ood", "dtd", "--methods", "energy"]
    done = CliRunner().invoke(main, [*words, "--choose", "--out", str(tmp_path / "o.csv")])
    assert done.exit_code == 0, done.output
    assert "Chosen on 100 ID + 120 OOD validation images" in done.output
    assert issubclass(ProtocolError, AshError)
