"""A folder of features as a network: what is read of it, what is refused in a sentence, its identity, its numbers."""

import io
import os
import socket
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from features_folder import CLASSES, WIDTH, write_folder

import ash
from ash import plugins
from ash.__main__ import main
from ash.bank import find_bank, open_bank
from ash.commands import explorer
from ash.errors import AshError
from ash.identity import identity
from ash.metrics import auroc

NAME = "mine"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data root and a cache of one's own."""
    monkeypatch.setenv("ASH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("ASH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    plugins.reload()
    yield tmp_path / "data"
    monkeypatch.undo()
    plugins.reload()


def changed(path: Path, **arrays: Any) -> None:
    """The same .npz with some arrays others, or (None) gone."""
    with np.load(path) as file:
        now = {**file, **arrays}
    np.savez(path, **{name: value for name, value in now.items() if value is not None})


def command(*words: str) -> Any:
    return CliRunner().invoke(main, list(words))


def bank(part: str, **more: Any) -> Any:
    entry = ash.get_model(NAME)
    return ash.extract(entry, "penultimate", ash.get_dataset(f"{NAME}.{part}"), **more)


@pytest.mark.parametrize("npy", [False, True])
def test_a_folder_in_the_data_root_is_a_network(data: Path, npy: bool) -> None:
    arrays = write_folder(data / NAME, npy=npy)
    entry = ash.get_model(NAME)
    assert list(entry.placements) == ["features"]
    assert (entry.id_set, entry.ood_sets, entry.train_set) == (
        f"{NAME}.id", (f"{NAME}.noise", f"{NAME}.shapes"), f"{NAME}.train",
    )  # fmt: skip
    assert entry.classes == tuple(f"kind {number}" for number in range(CLASSES))
    for part in ("id", "train", "noise", "shapes"):
        kept = bank(part)
        assert np.array_equal(kept.read(), arrays[part])
        if part in ("id", "train"):
            assert np.array_equal(kept.labels, arrays[f"{part}_labels"])
    _, tail = ash.split(entry.build(), "penultimate")
    result = ash.sweep(tail, bank("id"), {"noise": bank("noise")}, ash.parse_methods("max_logit"))
    logits = {part: arrays[part].astype(float) @ arrays["weight"].T.astype(float) for part in ("id", "noise")}
    expected = 100 * auroc(logits["id"].max(1), logits["noise"].max(1))
    assert result.table().query("ood == 'noise'")["auroc"].iloc[0] == pytest.approx(expected, abs=0.02)


def test_a_folder_elsewhere_is_named_as_a_plug_in_is(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "other")
    monkeypatch.setenv(plugins.VARIABLE, str(tmp_path / "other"))
    plugins.reload()
    assert ash.get_model("other").id_set == "other.id"
    assert plugins.registered()[tmp_path / "other"]["model"] == ("other",)


@pytest.mark.parametrize("kind", ["float16", "float64", ">f4", "fortran"])
@pytest.mark.parametrize("npy", [False, True])
def test_any_kind_of_floating_point_number_becomes_float32(data: Path, kind: str, npy: bool) -> None:
    arrays = write_folder(data / NAME, npy=npy)
    values = arrays["noise"]
    other = np.asfortranarray(values) if kind == "fortran" else values.astype(kind)
    path = data / NAME / "ood" / ("noise.npy" if npy else "noise.npz")
    np.save(path, other) if npy else np.savez(path, features=other)
    kept = bank("noise").read()
    assert kept.dtype == np.float32
    assert np.array_equal(kept, other.astype(np.float32))


def test_values_below_zero_are_told_from_none(data: Path) -> None:
    arrays = write_folder(data / NAME)
    assert "not negative" in command("models", NAME).output
    changed(data / NAME / "ood" / "noise.npz", features=arrays["noise"] - 1)
    plugins.reload()
    assert "may be negative" in command("models", NAME).output


def test_a_changed_file_is_another_bank(data: Path) -> None:
    arrays = write_folder(data / NAME)
    before = {part: identity(ash.get_model(NAME), "penultimate", bank_set(part)) for part in ("id", "noise")}
    stamp = (data / NAME / "ood" / "noise.npz").stat()
    changed(data / NAME / "ood" / "noise.npz", features=arrays["noise"][::-1])
    os.utime(data / NAME / "ood" / "noise.npz", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    plugins.reload()
    after = {part: identity(ash.get_model(NAME), "penultimate", bank_set(part)) for part in ("id", "noise")}
    assert after["id"] == before["id"]
    assert after["noise"].content != before["noise"].content
    assert np.array_equal(open_bank(before["noise"]).read(), arrays["noise"])  # what was computed of it stays its own
    assert np.array_equal(open_bank(after["noise"]).read(), arrays["noise"][::-1])
    changed(data / NAME / "head.npz", bias=np.ones(CLASSES, np.float32))
    plugins.reload()
    assert identity(ash.get_model(NAME), "penultimate", bank_set("id")).weights != before["id"].weights


def bank_set(part: str) -> Any:
    return ash.get_dataset(f"{NAME}.{part}")


def test_a_file_that_changes_while_the_program_runs_is_not_taken_for_what_was_read(data: Path) -> None:
    write_folder(data / NAME)
    ash.get_model(NAME)
    np.savez(data / NAME / "ood" / "noise.npz", features=np.ones((5, WIDTH), np.float32))
    assert len(bank("noise")) > 5
    with pytest.raises(AshError, match="changed since it was read"):
        bank("noise", dtype="float16")


def test_a_second_start_reads_no_features(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(data / NAME, npy=True)
    for path in (data / NAME).rglob("*.npy"):
        os.utime(path, (1, 1))
    monkeypatch.setattr("ash.features.looks.SETTLED_NS", -(10**10))  # as if they had been written long ago
    ash.get_model(NAME)
    plugins.reload()
    monkeypatch.setattr("ash.features.looks.look_through", lambda one: pytest.fail("it was read again"))
    assert ash.get_model(NAME).present


def test_the_command_line_shows_it_and_works_with_it(data: Path, tmp_path: Path) -> None:
    write_folder(data / NAME)
    listing = command("data").output
    assert "mine.id " in listing
    assert "300 rows of features" in listing
    assert "300 samples without images" in command("data", "mine.id").output
    assert "features (Penultimate layer)" in command("models", NAME).output
    assert command("fit", "--model", NAME).exit_code == 0
    out = tmp_path / "table.csv"
    sets = ("--id", "mine.id", "--ood", "mine.noise", "--ood", "mine.shapes")
    methods = "energy,ash_s@80,knn,vim,react@90%,odin"
    done = command("sweep", "--model", NAME, *sets, "--methods", methods, "--choose", "--out", str(out))
    assert done.exit_code == 0, done.output
    assert out.read_text().count("mine.shapes") == 6
    done = command("extract", "--model", NAME, "--data", "mine.id", "--images", "50")
    assert "50 x 16" in done.output, done.output
    assert command("results", "--model", NAME, "--methods", "energy,ash_p@60", "--out", str(tmp_path)).exit_code == 0
    assert (tmp_path / f"{NAME}.csv").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("extract", "--model", NAME, "--data", "letters"), "takes its own sets alone, not Letters"),
        (("extract", "--model", "demo", "--data", "mine.id"), "they belong to mine alone, not to demo"),
        (("fetch", "mine.noise"), "there are no images of it"),
        (("export", "--model", NAME, "--method", "ash_s@80", "--out", "d.pt2"), "A detector takes images"),
        (("extract", "--model", NAME, "--data", "mine.id", "--epsilon", "0.1"), "no ODIN"),
        (("extract", "--model", NAME, "--data", "mine.id", "--precision", "bfloat16"), "no precision of it"),
    ],
)
def test_what_needs_images_is_refused_in_a_sentence(data: Path, words: tuple[str, ...], said: str) -> None:
    write_folder(data / NAME)
    done = command(*words)
    assert (done.exit_code, said in done.output) == (1, True), done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize(("name", "said"), [("demo", "There is a model 'demo' already"), ("a b", "is no name")])
def test_a_folder_whose_name_cannot_be_is_left_out_in_a_sentence(data: Path, name: str, said: str) -> None:
    write_folder(data / name)
    write_folder(data / NAME)
    (problem,) = plugins.problems()
    assert said in str(problem)
    assert ash.get_model("demo").features is None
    assert ash.get_model(NAME).present


def test_a_bank_that_was_deleted_is_written_again(data: Path) -> None:
    write_folder(data / NAME)
    who = identity(ash.get_model(NAME), "penultimate", bank_set("id"))
    found = find_bank(who)
    assert found is not None
    ash.bank.delete_bank(found)
    assert find_bank(who) is None
    assert bank("id").folder == found


def _no_file(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _array(name: str, **arrays: Any) -> Callable[[Path], None]:
    return lambda folder: changed(folder / name, **arrays)


def _of(name: str, key: str, make: Callable[[Any], Any]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        with np.load(folder / name) as file:
            value = make(file[key])
        changed(folder / name, **{key: value})

    return change


def _with(value: float, row: int = 7, column: int = 3) -> Callable[[Any], Any]:
    def put(values: Any) -> Any:
        values[row, column] = value
        return values

    return put


def _objects(folder: Path) -> None:
    np.savez(folder / "id.npz", features=np.array([[1.0], "text"], dtype=object), labels=np.zeros(2, int))


def _cut(folder: Path) -> None:
    path = folder / "id.npz"
    path.write_bytes(path.read_bytes()[:-2000])


def _lying(folder: Path) -> None:
    """An array whose header promises more than is there."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**9, WIDTH)})
    with zipfile.ZipFile(folder / "ood" / "noise.npz", "w") as pack:
        pack.writestr("features.npy", header.getvalue() + bytes(64))


def _text(folder: Path) -> None:
    (folder / "ood" / "notes.csv").write_text("a,b\n")


MALFORMED: dict[str, tuple[Callable[[Path], None], str]] = {
    "no head": (_no_file("head.npz"), "head.npz is missing"),
    "no id": (_no_file("id.npz"), "id.npz is missing"),
    "no ood": (lambda folder: [one.unlink() for one in (folder / "ood").iterdir()] and None, "holds no OOD set"),
    "transposed": (_of("head.npz", "weight", np.transpose), "transposed: save weight.T"),
    "no bias": (_array("head.npz", bias=None), "has no array 'bias', only weight"),
    "bias of others": (_array("head.npz", bias=np.zeros(3, np.float32)), "and a bias (3,)"),
    "head of others": (_of("head.npz", "weight", lambda one: one[:, :-1]), "takes 15"),
    "head not finite": (_of("head.npz", "weight", _with(np.nan, row=1)), "not finite"),
    "classes too few": (_array("head.npz", classes=np.array(["a", "b"])), "it is 5 texts"),
    "classes as objects": (_array("head.npz", classes=np.array(["a"] * 5, object)), "Python objects"),
    "one class": (_array("head.npz", weight=np.ones((1, 16), "f4"), bias=np.ones(1, "f4")), "has one class"),
    "maps": (_of("id.npz", "features", lambda one: one[:, :, None, None]), "take the mean over the map"),
    "one long row": (_of("id.npz", "features", np.ravel), "not (N, D)"),
    "whole numbers": (_of("id.npz", "features", lambda one: one.astype(int)), "save it as float32"),
    "complex": (_of("ood/noise.npz", "features", lambda one: one.astype(complex)), "save it as float32"),
    "objects": (_objects, "Python objects, which are never loaded"),
    "NaN": (_of("ood/noise.npz", "features", _with(np.nan)), "holds nan in row 7, column 3"),
    "infinite": (_of("train.npz", "features", _with(-np.inf)), "holds -inf in row 7, column 3"),
    "too large": (_of("id.npz", "features", lambda one: _with(1e300)(one.astype(float))), "more than float32 holds"),
    "empty": (_of("ood/noise.npz", "features", lambda one: one[:0]), "has 0 rows"),
    "a single image": (_of("ood/noise.npz", "features", lambda one: one[:1]), "has 1 rows"),
    "other features": (_of("ood/shapes.npz", "features", lambda one: one[:, :9]), "has 9 features a row"),
    "no labels": (_array("id.npz", labels=None), "has no array 'labels', only features"),
    "too few labels": (_of("id.npz", "labels", lambda one: one[:-1]), "whole numbers, a class for every row"),
    "labels outside": (_of("id.npz", "labels", lambda one: one + 1), "the classes of the head are 0 to 4"),
    "labels below": (_of("train.npz", "labels", lambda one: one - 1), "the classes of the head are 0 to 4"),
    "labels as fractions": (_of("id.npz", "labels", lambda one: one / 2), "it is 300 whole numbers"),
    "half a file": (_cut, "is damaged"),
    "no archive": (lambda folder: (folder / "ood/noise.npz").write_text("text") and None, "is damaged, or no .npz"),
    "a lying header": (_lying, "is damaged"),
    "another file": (_text, "ood/notes.csv is neither .npz nor .npy"),
    "twice": (lambda folder: np.save(folder / "ood/noise.npy", np.ones((3, WIDTH), "f4")), "take one of them away"),
    "a name": (lambda folder: np.save(folder / "ood/id.npy", np.ones((3, WIDTH), "f4")), "means something else here"),
    "no name": (lambda folder: np.save(folder / "ood/a b.npy", np.ones((3, WIDTH), "f4")), "is no name for a data set"),
}


@pytest.mark.parametrize("fault", MALFORMED)
def test_a_malformed_folder_is_refused_in_one_sentence(data: Path, fault: str) -> None:
    change, said = MALFORMED[fault]
    write_folder(data / NAME)
    change(data / NAME)
    done = command("models", NAME)
    assert done.exit_code == 1, done.output
    sentence = done.output.splitlines()[-1]
    assert sentence.startswith("Error: mine: the model 'mine' cannot be used: ")
    assert said in sentence
    assert "Traceback" not in done.output
    assert len(sentence) < 400
    assert "incomplete" in command("data").output
    assert command("models").exit_code == 0  # everything else works
    assert len(plugins.problems()) == 1


def test_a_port_that_somebody_has_is_not_announced(data: Path) -> None:
    with socket.socket() as other:
        other.bind(("localhost", 0))
        other.listen()
        port = other.getsockname()[1]
        done = CliRunner().invoke(explorer.main, ["--no-browser", "--port", str(port)])
    assert done.exit_code == 1
    assert f"Port {port} is in use" in done.output
    assert "http" not in done.output
