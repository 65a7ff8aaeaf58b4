"""The command line, from banks to the table; every wrong argument is answered with one sentence."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import ash
from ash import reports, results
from ash.__main__ import main
from ash.bank import open_bank
from ash.data import evenly
from ash.extraction import identity
from ash.models import MODELS

COLUMNS = [
    *("model", "placement", "id", "ood", "method", "variant", "percentile", "score"),
    *("auroc", "fpr95", "aupr", "id_accuracy", "n_id", "n_ood"),
    *("tied", "beyond_range"),
]
IDS = ["--model", "demo", "--placement", "penultimate", "--id", "fashion_mnist"]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(12):
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    (folder / "9.png").write_bytes(b"junk")
    return folder


def test_a_sweep_of_the_demo(tmp_path: Path, pictures: Path) -> None:
    out = tmp_path / "results.csv"
    methods = "energy,ash_s@5:95:45,ash_b@65,react@1.0:msp"
    result = run("sweep", *IDS, "--ood", "digits", "--ood", f"mine={pictures}", "--methods", methods, "--out", str(out))
    assert result.exit_code == 0, result.output
    assert "skipped: 9.png is not an image in a known format" in result.output
    table = pd.read_csv(out)
    assert list(table.columns) == COLUMNS
    assert len(table) == 6 * 3
    assert list(table.ood[:3]) == ["digits", "mine", "mean"]
    assert list(table.method[::3]) == ["energy", "ash_s@5", "ash_s@50", "ash_s@95", "ash_b@65", "react@1.0:msp"]
    assert set(table.placement) == {"avgpool"}
    assert list(table.n_ood[:3]) == [1000, 11, 1011]
    assert table.auroc.between(0, 100).all()
    row = table[(table.method == "ash_b@65") & (table.ood == "digits")].iloc[0]
    assert row.auroc == pytest.approx(by_hand("ash_b@65", "digits"), abs=1e-3)


def test_a_sweep_of_some_images_names_the_sets_as_one_of_all_images_does(tmp_path: Path) -> None:
    out = tmp_path / "results.csv"
    result = run("sweep", *IDS, "--ood", "digits", "--methods", "energy", "--images", "20", "--out", str(out))
    assert result.exit_code == 0, result.output
    table = pd.read_csv(out)
    assert set(table.id) == {"fashion_mnist"}
    assert list(table.ood) == ["digits", "mean"]
    assert set(table.n_id) == set(table.n_ood) == {20}


def test_two_sets_of_one_name_are_refused_whatever_is_taken_of_them(tmp_path: Path, pictures: Path) -> None:
    fewer = tmp_path / "more" / "pictures"
    fewer.mkdir(parents=True)
    (pictures / "0.png").rename(fewer / "0.png")
    sets = ("--ood", str(pictures), "--ood", str(fewer))
    result = run("sweep", *IDS, *sets, "--methods", "energy", "--images", "5", "--out", str(tmp_path / "o.csv"))
    assert result.exit_code == 1
    assert "Two of the sets have the name 'pictures'" in result.output


def by_hand(method: str, ood: str) -> float:
    """AUROC in percent from the library's parts, one setting, no sweep."""
    import torch

    entry = ash.get_model("demo")
    _, tail = ash.split(entry.build(), "avgpool")
    scores = []
    for name in (entry.id_set, ood):
        x = torch.from_numpy(open_bank(identity(entry, "avgpool", ash.get_dataset(name))).read().copy())
        with torch.inference_mode():
            scores.append(ash.energy(tail(ash.Method.parse(method).shape(x))).numpy())
    return 100 * ash.auroc(*scores)


def test_extract_says_where_the_bank_is_and_does_not_repeat_itself(tmp_path: Path, pictures: Path) -> None:
    arguments = ("extract", "--model", "demo", "--data", f"mine={pictures}", "--out", str(tmp_path / "banks"))
    first, second = run(*arguments), run(*arguments)
    assert first.exit_code == second.exit_code == 0
    assert "mine" in first.output
    assert "11 x" in first.output
    assert "1 of 12 images of mine were skipped." in second.output


def test_models_and_data_are_listed() -> None:
    assert "avgpool (Penultimate layer)" in run("models").output
    assert "3,000 images" in run("data").output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["extract", "--model", "dem", "--data", "digits"], "did you mean demo?"),
        (["extract", "--model", "demo", "--data", "digit"], "did you mean digits"),
        (["extract", "--model", "demo", "--data", "x=/nowhere"], "There is no folder /nowhere"),
        (["extract", "--model", "demo", "--placement", "layer9", "--data", "digits"], "no placement 'layer9'. Nearest"),
        (["sweep", *IDS, "--ood", "digits", "--methods", "ash_x@5", "--out", "x.csv"], "did you mean ash_"),
        (["sweep", *IDS, "--ood", "digits", "--methods", "ash_s@100", "--out", "x.csv"], "p must lie in [0, 100)"),
        (["sweep", *IDS, "--ood", "digits", "--methods", "energy", "--out", "no/x.csv"], "no folder no to write x.csv"),
        (["paper", "--table", "1", "--model", "resnet5", "--out", "x"], "did you mean resnet5"),
        (
            ["results", "--model", "densenet101_cifar10"],
            "The images of cifar10 are missing: python -m ash fetch cifar10",
        ),
        (["results", "--model", "demo", "--std", "0.5,0.5"], "demo takes 1 positive numbers after --std"),
        (["results", "--model", "demo", "--std", "1e-300"], "std, is above 0 and finite, in 32 bits too: 1e-300"),
    ],
)
def test_a_wrong_argument_is_one_sentence(arguments: list[str], sentence: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert sentence in result.output
    assert "Traceback" not in result.output


# The paper, and results that ship


def test_a_table_of_the_paper_on_the_bundled_network(tmp_path: Path) -> None:
    words = ("paper", "--table", "5", "--images", "80", "--out", str(tmp_path / "report"))
    first, second = run(*words), run(*words)
    assert first.exit_code == 0, first.output
    assert "Of 28 lines 0 are measured on the network they were published for" in first.output
    assert "28 on another network only" in first.output
    assert "resnet50, beside it: demo, because the weights of ResNet-50 on ImageNet are missing" in first.output
    table = pd.read_csv(tmp_path / "report" / "table5.csv", comment="#")
    assert set(table.status) == {reports.BUNDLED}
    assert table.measured.isna().all()
    assert table.difference.isna().all()
    assert table.beside.notna().all()
    assert set(table.beside_on) == {"demo"}
    assert set(table.beside_n_id) == {80}
    assert set(table.beside_n_ood) == {6 * 80}
    head = (tmp_path / "report" / "table5.csv").read_text().partition("table,model")[0]
    assert "# made by: python -m ash paper --table 5 --images 80\n" in head
    assert ash.get_model("demo").weights_hash() in head
    page = (tmp_path / "report" / "table5.html").read_text()
    assert "Table 5" in page
    assert "<script" not in page
    assert second.exit_code == 0


def test_a_network_of_the_table_alone(tmp_path: Path) -> None:
    result = run("paper", "--table", "5", "--model", "resnet50", "--out", str(tmp_path))
    assert result.exit_code == 1
    assert "python -m ash fetch imagenet" in result.output


def test_a_method_that_needs_training_activations_is_fitted_once(tmp_path: Path) -> None:
    words = (
        "results",
        "--model",
        "demo",
        "--ood",
        "digits",
        "--methods",
        "energy,dice@90,godin",
        "--out",
        str(tmp_path),
    )
    first, second = run(*words), run(*words)
    assert first.exit_code == second.exit_code == 0, first.output
    assert "Fitted" not in second.output
    assert "2 methods, 4 rows" in second.output
    assert f"left out: 1 methods: {reports.GODIN}" in second.output
    one = results.read(tmp_path / "demo.csv")
    assert list(one.table.method.unique()) == ["energy", "dice@90"]
    assert one.origin["fitted"] == "3,000 images of fashion_mnist_train"
    assert one.origin["command"] == "python -m ash results --model demo --ood digits --methods 'energy,dice@90,godin'"
    assert one.images == (3000, 1000)
    expected = by_hand("energy", "digits")
    assert one.table.query("method == 'energy' and ood == 'digits'").auroc.iloc[0] == pytest.approx(expected, abs=1e-3)


def test_results_of_another_placement_have_a_file_of_their_own(tmp_path: Path) -> None:
    """On evenly spaced images, as the explorer takes them there, and with the methods of its page."""
    words = ("--ood", "digits", "--placement", "layer4.0.relu2", "--id-images", "40", "--ood-images", "20")
    result = run("results", "--model", "demo", *words, "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    one = results.read(tmp_path / "demo_layer4.0.relu2.csv")
    assert one.placement == "layer4.0.relu2"
    assert one.counts == {"fashion_mnist": 40, "digits": 20}
    assert one.partial == {"fashion_mnist": "40 of 3,000 images", "digits": "20 of 1,000 images"}
    assert set(one.table.method) == set(map(str, results.line_methods(linear=True)))
    assert one.origin["command"].endswith("--placement layer4.0.relu2 --id-images 40 --ood-images 20")
    same = evenly(ash.get_dataset("fashion_mnist"), 40).fingerprint
    assert same.startswith(one.files["fashion_mnist"])


def test_what_needs_training_activations_is_left_out_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "demo", replace(ash.get_model("demo"), train_set=""))
    words = ("results", "--model", "demo", "--ood", "digits", "--methods", "energy,dice@80:90:5,mahalanobis")
    result = run(*words, "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert "left out: 4 methods: needs a training bank, and no training set is known for demo" in result.output
    assert results.read(tmp_path / "demo.csv").origin["left_out"].startswith("4 methods (dice, mahalanobis): needs")


def test_a_sweep_says_what_is_doubtful_and_what_does_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    result = run("sweep", *IDS, "--ood", "digits", "--methods", "react@90,ash_b@2,ash_b_nonzero@2", "--out", str(out))
    assert result.exit_code == 0, result.output
    table = pd.read_csv(out).set_index(["method", "ood"])
    assert list(table.columns[-2:]) == ["tied", "beyond_range"]
    assert list(table.index.get_level_values(0).unique()) == ["react@90.0", "ash_b@2", "ash_b_nonzero@2"]
    share = table.loc[("ash_b@2", "mean")].tied
    assert share > 1 > table.loc[("ash_b_nonzero@2", "mean")].tied
    assert f"{share:.1f} % of the samples" in result.output
    assert "react@90%" in result.output


def test_perturbed_images_that_do_not_ship_are_missed_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASH_CACHE", str(tmp_path / "cache"))
    sets = ("--id", "photos", "--ood", "emoji", "--ood", "dtd")
    args = ("--methods", "adascale@70", "--out", str(tmp_path / "out.csv"))
    result = run("sweep", "--model", "mobilenet_v2_photos", *sets, *args)
    assert result.exit_code == 1
    assert "The images of Textures (DTD) are not here: run `python -m ash fetch dtd`." in result.output
    assert not [*(tmp_path / "cache").rglob("*.npy")]


@pytest.mark.parametrize("step", ["1e38", "-1", "nan"])
def test_a_step_that_no_image_survives_is_refused_at_once(step: str, tmp_path: Path) -> None:
    result = run("extract", "--model", "demo", "--data", "digits", "--epsilon", step)
    assert result.exit_code == 2
    assert "a number from 0 to 10" in result.output
    result = run("sweep", *IDS, "--ood", "digits", "--methods", "odin", "--epsilon", step, "--out", str(tmp_path / "o"))
    assert result.exit_code == 2
    assert "--epsilon" in result.output
    with pytest.raises(ash.AshError, match="from 0 to 10, not"):
        ash.extract(ash.get_model("demo"), "avgpool", ash.get_dataset("digits"), epsilon=float(step))
