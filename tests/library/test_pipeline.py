"""From real images to the authors' numbers: the whole pipeline, by library, command line and app.

Needs the reference data. The subsets are evenly spaced, and what they must give comes from the rows of the reference
activations, whose own numbers over all rows are checked in test_oracle.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from benchmarks.pipeline import authors

import ash
from app.backend import banks as banks_
from app.backend import evaluations, setups
from app.link.spec import RunSpec
from ash.data import evenly
from ash.models import get_model
from ash.splitting import split

pytestmark = pytest.mark.slow

COUNT, FEW = 1000, 200  # images a set, by the library and by the other ways; tests/benchmarks/pipeline.py takes all
METHODS = "energy,react@1.0,ash_p@90,ash_b@95,ash_s@95,ash_s@90"
NAMES = ["auroc", "fpr95", "aupr", "id_accuracy"]
TOLERANCE = 0.05  # points
MODEL, ID, OOD = "densenet101_cifar10", "cifar10", "isun"
Expected = Callable[[int], pd.DataFrame]


@pytest.fixture(scope="module")
def root(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root as a user has it: two sets and a checkpoint under their names."""
    data, root = reference / "data", tmp_path_factory.mktemp("root")
    (root / "checkpoints").mkdir()
    (root / "checkpoints" / f"{MODEL}.pth").symlink_to(data / "checkpoints" / "densenet_cifar10.pth")
    (root / "cifar10").symlink_to(data / "cifar10")
    (root / "isun").symlink_to(data / "isun")
    return root


@pytest.fixture(scope="module")
def expected(reference: Path) -> Expected:
    """Metrics of the reference activations of so many images a set, rows as `evenly` takes them."""
    checkpoint = reference / "data" / "checkpoints" / "densenet_cifar10.pth"
    tail = split(get_model(MODEL, checkpoint).build(), "penultimate")[1]

    def of(count: int) -> pd.DataFrame:
        def rows(name: str) -> np.ndarray:
            values = np.load(reference / "reference" / f"densenet_cifar10_{name}.npy")
            return values[np.linspace(0, len(values), count, endpoint=False).astype(int)]

        ood = {OOD: rows("isun_features")}
        methods = ash.parse_methods(METHODS)
        result = ash.sweep(tail, rows("test_features"), ood, methods, id_labels=rows("test_labels"))
        return result.table().query("ood == @OOD").set_index("method")[NAMES]

    return of


def compare(
    who: str, count: int, found: pd.DataFrame, expected: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (found["n_id"] == count).all()
    assert (found["n_ood"] == count).all()
    difference = (found.loc[expected.index, NAMES] - expected).abs().max()
    with capsys.disabled():
        print(f"\n{who}, {count} + {count} images, largest difference in points:", difference.round(4).to_dict())
    assert difference.max() <= TOLERANCE


def test_the_library(root: Path, expected: Expected, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASH_DATA", str(root))
        entry = get_model(MODEL)
        banks = [
            ash.extract(entry, "penultimate", evenly(ash.get_dataset(name), COUNT), root=tmp_path) for name in (ID, OOD)
        ]
        tail = ash.split(entry.build(), "penultimate")[1]
    found = ash.sweep(tail, banks[0], {OOD: banks[1]}, ash.parse_methods(METHODS))
    compare("library", COUNT, found.table().query("ood == @OOD").set_index("method"), expected(COUNT), capsys)


def test_the_command_line(root: Path, expected: Expected, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.csv"
    words = [sys.executable, "-m", "ash", "sweep", "--model", MODEL, "--id", ID, "--ood", OOD, "--methods", METHODS]
    words += ["--images", str(FEW), "--out", str(out)]
    there = {**os.environ, "ASH_DATA": str(root), "ASH_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(words, env=there, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(out)
    found = table[table["ood"].str.startswith(OOD)].set_index("method")
    compare("command line", FEW, found, expected(FEW), capsys)


def test_the_app(root: Path, expected: Expected, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASH_DATA", str(root))
        setups.look_again()
        at = setups.setup(RunSpec(model=MODEL, images=FEW, ood=(OOD,)))
        assert {ID, OOD} <= set(at.sets)  # and what ships of this network, if it is of as many images
        assert banks_.missing_sets(at) == {ID: FEW, OOD: FEW}
        for step in banks_.compute_banks(at):
            assert step.done <= step.total
        found = pd.concat([evaluations.measure(at, str(method)) for method in ash.parse_methods(METHODS)])
    setups.look_again()
    compare("app", FEW, found.query("ood == @OOD").set_index("method"), expected(FEW), capsys)


def test_mobilenet_on_photographs_and_textures(
    reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All 200 + 360 images of the second oracle; a CSV list with labels as ID set."""
    data = reference / "data"
    entry = get_model("mobilenet_v2", data / "checkpoints" / "mobilenet_v2_dequantized.pth")
    sets = [ash.get_dataset(f"{name}={data / name}") for name in ("nips2017", "textures")]
    banks = [ash.extract(entry, "penultimate", images, root=tmp_path) for images in sets]
    expected = authors(reference / "reference" / "mobilenet_v2_nips2017_textures.csv")
    found = ash.sweep(
        ash.split(entry.build(), "penultimate")[1],
        banks[0],
        {"textures": banks[1]},
        [ash.Method.parse(text) for text in expected.index],
    )
    difference = (
        found.table().query("ood == 'textures'").set_index("method").loc[expected.index, NAMES] - expected
    ).abs()
    with capsys.disabled():
        print(f"\nMobileNetV2, {len(expected)} settings, largest difference:", difference.max().round(4).to_dict())
    assert difference.max().max() <= TOLERANCE
