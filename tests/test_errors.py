"""Expected failures are one sentence, a bug is called a bug and keeps its traceback; nothing is lost on the way."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from app_pages import open_page, ran, turn_to
from click.testing import CliRunner, Result

import ash
from app.errors import plain
from ash import shipped
from ash.__main__ import main
from ash.bank import cache_root, find_bank, list_banks
from ash.commands import sweep as sweep_command
from ash.data import data_root, get_dataset
from ash.errors import AshError, sentence
from ash.extraction import identity
from ash.files import expand
from ash.models import get_model
from ash.networks.checkpoints import find_weights

ROOT = Path(__file__).parents[1]
SWEEP = ["sweep", "--model", "demo", "--id", "fashion_mnist", "--ood", "digits", "--methods", "energy"]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def said_once(result: Result) -> str:
    """What a command says of an expected failure: its last line, under status 1 and without a traceback."""
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    return result.output.strip().splitlines()[-1]


def test_every_failure_of_the_library_has_one_base() -> None:
    with pytest.raises(AshError, match="100"):
        ash.Method.parse("ash_s@100")
    with pytest.raises(AshError, match="no_such_network"):
        ash.get_model("no_such_network")
    with pytest.raises(AshError, match="no_such_set"):
        ash.get_dataset("no_such_set")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device", "a.npy"), "a.npy: No space left on device."),
        (FileNotFoundError(2, "No such file or directory", "a", None, "b"), "a -> b: No such file or directory."),
        (OSError("nothing known"), "nothing known"),
        (AshError("The bank is missing."), "The bank is missing."),
    ],
)
def test_the_sentence_of_a_failure(error: OSError | AshError, words: str) -> None:
    assert words in sentence(error)


def test_on_a_page_a_command_of_a_sentence_is_code_and_all_else_is_as_written() -> None:
    assert "`git checkout -- assets/demo`" in plain(shipped.AGAIN)  # code: Streamlit makes no dash of it
    assert plain("`a`, **b** and `c_*d`") == r"`a`, \*\*b\*\* and `c_*d`"
    for text in ("a ` b", "``a`` -- b", "`a\nb`", "``"):
        assert plain(text).replace("\\", "") == text
        assert len(plain(text)) == len(text) + sum(map(text.count, "`*-")), "all of it is escaped"


# The command line


def test_a_bug_keeps_its_traceback_and_is_called_unexpected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("operands could not be broadcast together")  # as numpy says it of our mistakes

    monkeypatch.setattr(sweep_command, "evaluate", broken)
    result = run(*SWEEP, "--out", tmp_path / "o.csv")
    assert result.exit_code == 70
    assert "Traceback" in result.output
    assert "unexpected" in result.output


def test_a_disk_that_fails_is_not_a_bug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "/cache/shard.npy")

    monkeypatch.setattr(sweep_command, "evaluate", full)
    assert said_once(run(*SWEEP, "--out", tmp_path / "o.csv")) == "Error: /cache/shard.npy: No space left on device."
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["folder", "no/o.csv", "file/o.csv", "/proc/o.csv", "n" * 300])
def test_what_cannot_be_written_is_found_before_the_work(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_command, "evaluate", lambda *_, **__: pytest.fail("the work was begun"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    out = tmp_path / place
    result = run(*SWEEP, "--out", out)
    assert result.exit_code in (1, 2)  # 2: click's own word on a folder
    assert "Traceback" not in result.output
    assert out.name[:20] in result.output


@pytest.mark.parametrize(
    "command",
    [
        ["paper", "--table", "2", "--out"],
        ["results", "--model", "demo", "--out"],
    ],
)
def test_reports_that_cannot_be_written_are_not_begun(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "Nothing was begun" in said_once(run(*command, tmp_path / "file" / "report"))


def test_a_table_that_cannot_be_written_in_the_end_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert "/dev/full cannot be written" in said_once(run(*SWEEP, "--out", "/dev/full"))
    (kept,) = tmp_path.glob("ash-*")
    assert list(pd.read_csv(kept).method) == ["energy", "energy"]


def test_a_table_is_replaced_whole(tmp_path: Path) -> None:
    out = tmp_path / "o.csv"
    out.write_text("old")
    assert run(*SWEEP, "--out", out).exit_code == 0
    assert len(pd.read_csv(out)) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["o.csv"]


@pytest.mark.slow
def test_a_reader_that_has_seen_enough_is_no_failure() -> None:
    command = f"{sys.executable} -m ash data | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr


# Folders of the user


def test_without_a_home_folder_the_named_ones_are_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "TORCH_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert cache_root().parts[:-1] == Path(str(cache_root().parent)).parts
    find_weights("resnet50", "https://example.org/resnet50-0676ba61.pth", "0676ba61")
    for setting, folder in (("ASH_CACHE", cache_root), ("ASH_DATA", data_root)):
        monkeypatch.delenv(setting)
        with pytest.raises(AshError, match=setting):
            folder()


@pytest.mark.parametrize(("setting", "data"), [("ASH_CACHE", "digits"), ("ASH_DATA", "svhn")])
def test_somebody_whose_home_is_not_known(setting: str, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(setting, "~nosuchuser/ash")
    assert setting in said_once(run("extract", "--model", "demo", "--data", data, "--images", "1"))
    with pytest.raises(AshError, match="nosuchuser"):
        expand("~nosuchuser/weights.pt")


def unusable(kind: str, folder: Path) -> Path:
    """A place for a cache in which nothing can be read or written, also not by root."""
    (folder / "file").write_text("")
    (folder / "loop").symlink_to("loop")
    return {"file": folder / "file", "loop": folder / "loop", "long": folder / ("n" * 300), "proc": Path("/proc/ash")}[
        kind
    ]


UNUSABLE = ["file", "loop", "long", "proc"]


@pytest.mark.parametrize("kind", UNUSABLE)
def test_an_unusable_cache_does_not_hide_what_ships(kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ASH_CACHE", str(unusable(kind, tmp_path)))
    assert all(bank.bundled for bank in list_banks())
    assert find_bank(identity(get_model("demo"), "penultimate", get_dataset("digits"))) is not None
    assert run(*SWEEP, "--out", tmp_path / "o.csv").exit_code == 0
    assert "cannot be written" in said_once(run("extract", "--model", "demo", "--data", "digits", "--images", "3"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", UNUSABLE)
def test_pages_open_on_an_unusable_cache(kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ASH_CACHE", str(unusable(kind, tmp_path)))
    app = open_page("tradeoff")
    for page in ("scores", "paper", "library", "samples"):
        assert len(ran(turn_to(app, page)).title) == 1, page


def test_a_loop_of_links_in_the_cache_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ASH_CACHE", str(tmp_path))
    folder = tmp_path / "banks" / "demo" / "avgpool" / "digits-000000000000"
    folder.mkdir(parents=True)
    (folder / "manifest.json").symlink_to("manifest.json")
    (folder / "plan.json").symlink_to(folder)
    assert [bank.identity for bank in list_banks() if not bank.bundled] == [None]


@pytest.mark.slow
def test_the_submodules_are_there_without_an_import_of_their_own() -> None:
    code = "import ash; print(ash.data.FolderImages.__name__, ash.methods.Method.__name__, ash.shaping.ash_p.__name__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["FolderImages", "Method", "ash_p"]
