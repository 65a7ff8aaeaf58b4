"""Several checkpoints of one network: which files are meant, their names, mean and deviation, and the command line."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

import ash
from ash import plugins
from ash.__main__ import main
from ash.detector import from_link
from ash.models import MODELS
from ash.networks.own import DemoNet
from ash.networks.several import called, weights_files
from ash.protocol import choose
from ash.tables import METRICS

SETS = ["--id", "fashion_mnist", "--ood", "digits", "--ood", "letters", "--images", "40"]
METHODS = ["energy", "ash_s@60", "ash_s@90", "ash_b@65"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three trainings of the demo's network, for which its first weights are enough here."""
    folder = tmp_path_factory.mktemp("seeds")
    for seed in range(3):
        torch.manual_seed(seed)
        torch.save(DemoNet().state_dict(), folder / f"seed{seed}.pt")
    (folder / "notes.txt").write_text("no checkpoint")
    return folder


@pytest.fixture(scope="module")
def swept(seeds: Path) -> tuple[str, pd.DataFrame]:
    """What a sweep of the folder says and writes."""
    out = seeds / "out.csv"
    result = run("sweep", "--model", "demo", "--checkpoint", seeds, *SETS, "--methods", ",".join(METHODS), "--out", out)
    assert result.exit_code == 0, result.output
    return result.output, pd.read_csv(out)


def table(seed: int, labels: bool = True) -> pd.DataFrame:
    """A table of a sweep of made-up numbers."""
    rng = np.random.default_rng(seed)
    rows = [(ood, method) for method in METHODS for ood in ("digits", "letters", "mean")]
    frame = pd.DataFrame(rows, columns=["ood", "method"]).assign(percentile=np.nan, n_id=40)
    frame = frame.assign(
        **{name: rng.uniform(0, 100, len(rows)) for name in METRICS}, tied=rng.uniform(0, 1, len(rows))
    )
    return frame if labels else frame.assign(id_accuracy=np.nan)


def test_the_mean_and_the_deviation_are_numpys() -> None:
    tables = {f"seed{n}": table(n) for n in range(3)}
    found = ash.over_checkpoints(tables)
    assert list(found) == [*table(0), *(f"{name}_std" for name in METRICS), "checkpoints"]
    assert set(found.checkpoints) == {3}
    assert found[["ood", "method"]].equals(table(0)[["ood", "method"]])
    for name in METRICS:
        values = np.stack([one[name] for one in tables.values()])
        np.testing.assert_allclose(found[name], values.mean(0))
        np.testing.assert_allclose(found[f"{name}_std"], np.sqrt(((values - values.mean(0)) ** 2).sum(0) / 2))
    np.testing.assert_allclose(found.tied, np.mean([one.tied for one in tables.values()], axis=0))


def test_what_one_checkpoint_does_not_know_the_mean_does_not() -> None:
    found = ash.over_checkpoints({"a": table(0), "b": table(1, labels=False), "c": table(2)})
    assert found.id_accuracy.isna().all()
    assert found.id_accuracy_std.isna().all()
    assert found.auroc_std.notna().all()


def test_tables_that_have_no_mean_are_refused() -> None:
    assert list(ash.over_checkpoints({"a": table(0)})) == list(table(0))  # of one there is no deviation
    for other in (table(1)[:-1], table(1).replace("letters", "noise"), table(1).assign(n_id=41)):
        with pytest.raises(ash.AshError, match="checkpoints a and b are not of the same methods and sets"):
            ash.over_checkpoints({"a": table(0), "b": other})


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["r/seed0.pt", "r/seed1.pth.tar", "r/seed2.safetensors"], ("seed0", "seed1", "seed2")),
        (["r/s0/best.ckpt", "r/s1/best.ckpt"], ("s0", "s1")),
        (["r/s0/best.ckpt", "r/s0/last.ckpt", "r/s1/best.ckpt"], ("s0/best", "s0/last", "s1/best")),
        (["r/a.pt", "r/a.pth", "r/b.pt"], ("a.pt", "a.pth", "b")),
        (["r/a.pt", "r/a.pt", "r/b.pt"], ("a.pt", "a.pt (2)", "b")),
        (["r/a.pt", "r/a.pt"], ("a.pt", "a.pt (2)")),
        (["r/mean.pt", "r/other.pt", "r/MEAN.pt"], ("mean.pt", "other", "MEAN")),
        (["r/mean/best.ckpt", "r/s1/best.ckpt"], ("mean/best.ckpt", "s1")),
        (["r/s.pt/best.ckpt", "r/s.pth/best.ckpt"], ("s.pt", "s.pth")),
        (["r/mean", "r/other"], ("mean (2)", "other")),
        (["r/best.pt", "r/s1/best.pt"], ("best.pt", "s1")),
        (["r/" + 90 * "a" + ".pt", "r/b.pt"], (80 * "a", "b")),
        (["r/x" + 90 * "a" + ".pt", "r/y" + 90 * "a" + ".pt"], (77 * "a" + ".pt", 74 * "a" + " (2)")),
        (["r/ a.pt", "r/b\n.pt"], ("a", "b")),
    ],
)
def test_they_are_called_by_what_differs(paths: list[str], names: tuple[str, ...]) -> None:
    found = called([Path(path) for path in paths])
    assert found == names
    assert len({*found, "mean"}) == len(found) + 1
    assert all(name == name.strip() and name.isprintable() and 0 < len(name) <= 80 for name in found)


def test_which_file_is_which_is_said_where_its_name_does_not_say_it(seeds: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("mean", "other")):
        shutil.copy(seeds / f"seed{number}.pt", tmp_path / f"{name}.pt")
    words = ["sweep", "--model", "demo", "--checkpoint", tmp_path, *SETS, "--methods", "energy"]
    said = run(*words, "--out", tmp_path / "o.csv").output
    assert [line for line in said.splitlines() if line.startswith("Checkpoint")] == [
        f"Checkpoint mean.pt is {tmp_path / 'mean.pt'}",
        "Checkpoint mean.pt",
        "Checkpoint other",
    ]
    assert set(pd.read_csv(tmp_path / "o.csv").checkpoint) == {"mean", "mean.pt", "other"}


def test_files_of_a_folder_of_a_pattern_and_by_name(seeds: Path) -> None:
    every = tuple(seeds / f"seed{n}.pt" for n in range(3))
    assert weights_files([seeds]) == every
    assert weights_files([seeds / "seed[12].pt"]) == every[1:]
    assert weights_files([every[2], every[0]]) == (every[2], every[0])
    assert weights_files([seeds / "gone.pt"]) == (seeds / "gone.pt",)  # whoever reads it says that it is not there
    for nothing in (seeds / "none*.pt", seeds.parent):
        with pytest.raises(ash.AshError, match="There is no checkpoint in"):
            weights_files([nothing])


def test_a_sweep_of_a_folder(swept: tuple[str, pd.DataFrame], seeds: Path) -> None:
    said, found = swept
    assert "Mean and sample standard deviation (n - 1) over 3 checkpoints: seed0, seed1, seed2" in said
    assert "outdated" not in said  # activations of another checkpoint are none of an earlier state
    assert len(found) == 4 * len(METHODS) * 3
    assert list(dict.fromkeys(found.checkpoint)) == ["mean", "seed0", "seed1", "seed2"]
    whole, each = found[found.checkpoint == "mean"], found[found.checkpoint != "mean"]
    for _, row in whole.iterrows():
        of = each[(each.method == row.method) & (each.ood == row.ood)]
        assert len(of) == row.checkpoints == 3
        for name in METRICS:
            assert row[name] == pytest.approx(of[name].to_numpy().mean(), abs=2e-4)
            assert row[f"{name}_std"] == pytest.approx(of[name].to_numpy().std(ddof=1), abs=2e-4)
    assert ",3,mean\n" in (seeds / "out.csv").read_text()
    line = whole[(whole.method == "ash_s@90") & (whole.ood == "mean")].iloc[0]
    assert line.auroc_std > 0
    assert f"{line.auroc:.2f} ± {line.auroc_std:.2f}" in said


def test_each_row_is_that_of_its_file_alone(seeds: Path, swept: tuple[str, pd.DataFrame], tmp_path: Path) -> None:
    out, file = tmp_path / "one.csv", seeds / "seed1.pt"
    done = run("sweep", "--model", "demo", "--checkpoint", file, *SETS, "--methods", ",".join(METHODS), "--out", out)
    assert done.exit_code == 0, done.output
    assert "deviation" not in done.output
    alone = pd.read_csv(out)
    assert "checkpoint" not in alone
    within = swept[1][swept[1].checkpoint == "seed1"].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, within[list(alone)])


@pytest.mark.usefixtures("swept")
def test_one_method_is_chosen_for_all_by_the_mean_on_validation(seeds: Path, tmp_path: Path) -> None:
    words = ("sweep", "--model", "demo", *SETS, "--methods", ",".join(METHODS), "--choose", "--out", tmp_path / "o.csv")
    files = [part for n in range(3) for part in ("--checkpoint", seeds / f"seed{n}.pt")]
    done = run(*words, *files)
    assert done.exit_code == 0, done.output
    tables = {name: validation(entry) for name, entry in ash.get_models("demo", [seeds]).items()}
    best = choose(ash.over_checkpoints(tables))
    assert f"validation images, by the mean over 3 checkpoints, with any accuracy: {best}\n" in done.output
    found = (
        pd.read_csv(tmp_path / "o.csv").query("checkpoint == 'mean' and ood == 'mean'").set_index("method").loc[best]
    )
    assert f"AUROC {found.auroc:.2f} ± {found.auroc_std:.2f}, " in done.output


def validation(entry: ash.models.ModelEntry) -> pd.DataFrame:
    """The table of a checkpoint on the validation images, from the library's parts."""
    sets = {name: ash.data.evenly(ash.get_dataset(name), 40) for name in ("fashion_mnist", "digits", "letters")}
    banks = {name: ash.extract(entry, "penultimate", data) for name, data in sets.items()}
    _, tail = ash.split(entry.build(), entry.penultimate)
    ids, ood = banks.pop("fashion_mnist"), banks
    whole = ash.sweep(tail, ids, ood, ash.parse_methods(",".join(METHODS)))
    held = {name: ash.is_validation(bank.names, ash.get_dataset(name).names) for name, bank in ood.items()}
    own = ash.is_validation(ids.names, ash.get_dataset("fashion_mnist").names)
    return ash.validation_and_test(whole, own, held)[0].table()


def test_extract_and_fit_take_them_too(seeds: Path) -> None:
    done = run("extract", "--model", "demo", "--checkpoint", seeds, "--data", "digits", "--images", 30)
    assert done.exit_code == 0, done.output
    assert [f"seed{n}, digits=30: 30 x 192" in done.output for n in range(3)] == [True] * 3
    assert len({*re.findall(r": 30 x 192.* in (/.+)", done.output)}) == 3
    done = run("fit", "--model", "demo", "--checkpoint", seeds, "--data", "digits")
    assert done.exit_code == 0, done.output
    assert [line for line in done.output.splitlines() if line.startswith("Check")] == [
        f"Checkpoint seed{n}" for n in range(3)
    ]
    out = seeds / "fitted.csv"
    words = ("sweep", "--model", "demo", "--checkpoint", seeds, *SETS, "--methods", "react@90%", "--train", "digits")
    done = run(*words, "--out", out)
    assert done.exit_code == 0, done.output
    assert done.output.count("react@90%: ReAct") == 3  # the constant of each
    assert (pd.read_csv(out).query("checkpoint == 'mean'").auroc_std > 0).all()


def test_one_checkpoint_has_no_deviation_and_it_says_so(seeds: Path, tmp_path: Path) -> None:
    shutil.copy(seeds / "seed1.pt", tmp_path)
    out = tmp_path / "o.csv"
    done = run("sweep", "--model", "demo", "--checkpoint", tmp_path, *SETS, "--methods", "energy", "--out", out)
    assert done.exit_code == 0, done.output
    assert "This is one checkpoint: there is no deviation over several." in done.output
    assert "auroc_std" not in pd.read_csv(out)


def refusal(seeds: Path, *more: object) -> str:
    """What a sweep says that is refused: one sentence, and no file."""
    files = [part for one in (seeds / "seed0.pt", *more) for part in ("--checkpoint", one)]
    out = seeds / "refused.csv"
    done = run("sweep", "--model", "demo", *files, *SETS, "--methods", "energy", "--out", out)
    assert done.exit_code == 1
    assert not out.exists()
    assert "Traceback" not in done.output
    return done.output.strip()


def test_what_cannot_be_averaged_is_refused_in_a_sentence(seeds: Path, tmp_path: Path) -> None:
    copy = shutil.copy(seeds / "seed0.pt", tmp_path / "copy.pt")
    first = seeds / "seed0.pt"
    assert f"The checkpoints {first} and {copy} have the same content" in refusal(seeds, copy)
    assert f"The checkpoints {first} and {first} have the same content" in refusal(seeds, first)
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "other.pt")
    assert f"{tmp_path / 'other.pt'} is not a checkpoint of DemoNet" in refusal(seeds, tmp_path / "other.pt")
    torch.save(DemoNet(classes=7).state_dict(), tmp_path / "seven.pt")
    said = refusal(seeds, tmp_path / "seven.pt")
    assert (
        f"{tmp_path / 'seven.pt'} is not a checkpoint of DemoNet: fc.weight has the shape (7, 192), expected (10"
        in said
    )
    assert f"There is no checkpoint {tmp_path / 'gone.pt'}." in refusal(seeds, tmp_path / "gone.pt")


def test_a_plug_in_names_a_folder(seeds: Path, tmp_path: Path) -> None:
    def register(**weights: object) -> ash.models.ModelEntry:
        ash.register_model(
            "several", label="Several", preprocess=ash.Preprocess(28, 28, (0.5,), (0.5,)), classes=list("0123456789"),
            id_set="fashion_mnist", ood_sets=["digits"], placements={"avgpool": "Last"}, deep_placements=(), **weights,
        )(DemoNet)  # fmt: skip
        return ash.get_model("several")

    try:
        for weights in (seeds, f"{seeds}/*.pt", [seeds / f"seed{n}.pt" for n in range(3)]):
            entry = register(weights=weights)
            assert list(entry.each) == list(ash.get_models("several")) == ["seed0", "seed1", "seed2"]
            assert entry.checkpoint == seeds / "seed0.pt"
        assert len({*entry.hashes().values()}) == 3
        assert ash.get_models("several", [seeds / "seed1.pt"])[""].checkpoint == seeds / "seed1.pt"
        out = seeds / "detector.pt2"
        done = run("export", "model=several&checkpoint=seed1&method=energy", "--images", 120, "--out", out)
        assert done.exit_code == 0, done.output
        assert "Of the checkpoints seed0, seed1, seed2 this is seed1." in done.output
        done = run("export", "model=several&checkpoint=seed9&method=energy", "--images", 120, "--out", out)
        assert done.exit_code == 1
        assert "several has no checkpoint 'seed9': seed0, seed1, seed2." in done.output
        args = ("--methods", "energy", "--id-images", 120, "--ood-images", 120, "--out", tmp_path)
        done = run("results", "--model", "several", *args)
        assert done.exit_code == 0, done.output
        assert "Of the checkpoints seed0, seed1, seed2 this is seed0." in done.output
        assert "checkpoint: seed0, of seed0, seed1, seed2" in (tmp_path / "several.csv").read_text()
        made = from_link("model=several&checkpoint=seed1&method=energy&n=120")
        assert made.about.weights_sha256 == entry.hashes()["seed1"]
        with pytest.raises(ash.AshError, match="several has no checkpoint 'seed9'"):
            from_link("model=several&checkpoint=seed9&method=energy")
        assert not register(weights=seeds / "none").present
        assert list(register(weights=seeds / "seed0.pt").each) == [""]
        with pytest.raises(ash.AshError, match="The list of weights is empty"):
            register(weights=[])
    finally:
        MODELS.pop("several", None)
        plugins.reload()
