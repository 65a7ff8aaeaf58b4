"""The sweep that ships is what its banks give, is used for nothing else, and stands before torch is loaded."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ash import demo, evaluated, shipped, sweep_files
from ash.bank import Bank
from ash.methods import Method
from ash.models import get_model

ROOT = Path(__file__).parents[2]
(MODEL,) = evaluated.MODELS


@pytest.fixture
def banks() -> dict[str, Bank]:
    return {name: demo._shipped_bank(demo.FOLDER, name, MODEL) for name in demo.PARTS[MODEL].sets}


@pytest.fixture
def folders(banks: dict[str, Bank]) -> dict[str, Path]:
    return {name: bank.folder for name, bank in banks.items()}


def test_it_is_what_its_banks_give(banks: dict[str, Bank]) -> None:
    """After a change of the first chart's methods: `python -m ash demo evaluate`."""
    ships, _ = sweep_files.from_bytes(evaluated.path_in(demo.FOLDER, MODEL).read_bytes())
    again = evaluated.compute(get_model(MODEL), banks)
    apart = evaluated.largest_difference(ships, again)
    metrics = ["auroc", "fpr95", "aupr", "id_accuracy"]
    points = (ships.table()[metrics] - again.table()[metrics]).abs().to_numpy().max()
    print(f"{len(ships.methods)} methods: largest difference {apart:.1e} of a score, {points:.1e} points of a metric")
    assert ships.methods == again.methods
    assert apart <= demo.SWEEP_TOLERANCE
    assert points < 0.005


def test_a_part_is_found_by_methods_and_sets(folders: dict[str, Path]) -> None:
    whole, _ = sweep_files.from_bytes(evaluated.path_in(demo.FOLDER, MODEL).read_bytes())
    some = {name: folders[name] for name in ("photos", "emoji", "clipart")}
    found = evaluated.find(MODEL, some, ["ash_s@75", "energy"])
    assert found is not None
    part, origin = found
    assert [str(method) for method in part.methods] == ["ash_s@75", "energy"]
    assert list(part.ood_scores) == ["emoji", "clipart"]
    row = whole.methods.index(Method.parse("ash_s@75"))
    assert np.array_equal(part.ood_scores["clipart"][0], whole.ood_scores["clipart"][row])
    assert set(origin) == {"device", "date"}


def test_it_is_not_used_for_what_it_is_not_of(folders: dict[str, Path], tmp_path: Path) -> None:
    assert evaluated.find(MODEL, folders, ["energy"]) is not None
    assert evaluated.find(MODEL, folders, ["ash_s@75.5"]) is None, "a method that is not in it"
    assert evaluated.find("demo", folders, ["energy"]) is None, "another network"
    assert evaluated.find(MODEL, {}, ["energy"]) is None, "no banks"
    assert evaluated.find(MODEL, {**folders, "more": folders["emoji"]}, ["energy"]) is None, "a set that is not in it"
    assert evaluated.find(MODEL, {**folders, "emoji": folders["clipart"]}, ["energy"]) is None, "another bank"
    own = shutil.copytree(folders["emoji"], tmp_path / "emoji")
    assert evaluated.find(MODEL, {**folders, "emoji": own}, ["energy"]) is None, "a bank of the user's own"
    reordered = dict(reversed(folders.items()))
    assert evaluated.find(MODEL, reordered, ["energy"]) is None, "another ID set"


def test_a_damaged_one_is_not_used_and_is_named(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(demo.FOLDER, tmp_path / "demo")
    monkeypatch.setattr(shipped, "FOLDER", copy)
    assert evaluated.find(MODEL, folders, ["energy"]) is not None
    path = evaluated.path_in(copy, MODEL)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert evaluated.find(MODEL, folders, ["energy"]) is None
    problems = demo.check(copy, ["noise"], lambda steps, text: steps, [MODEL]).problems
    assert f"sweeps/{path.name} does not match its checksum." in problems


@pytest.mark.slow
def test_numbers_that_were_made_up_are_found(tmp_path: Path) -> None:
    """Even with its checksum in order."""
    copy = shutil.copytree(demo.FOLDER, tmp_path / "demo")
    path = evaluated.path_in(copy, MODEL)
    done, origin = sweep_files.from_bytes(path.read_bytes())
    done.id_scores[3] *= 1.01
    path.write_bytes(sweep_files.to_bytes(done, origin))
    (problem,) = demo._compare_sweep(demo.PARTS[MODEL], copy)
    assert "not what its banks give" in problem


@pytest.mark.slow
def test_the_first_chart_of_a_fresh_copy_waits_for_no_torch(tmp_path: Path) -> None:
    lines = ["import sys", "from app.backend import evaluations, setups", "from app.link.spec import OPENING"]
    lines += ["at = setups.setup(OPENING)", "table = evaluations.table(at, OPENING.score)"]
    lines += ["print(len(table), str(OPENING.method) in set(table.method), 'torch' in sys.modules)"]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        cwd=ROOT, env={**os.environ, "ASH_CACHE": str(tmp_path)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    count, shown, torch = done.stdout.split()
    assert int(count) > 500
    assert (shown, torch) == ("True", "False")
