"""Labels where they enter: every layout of folders and lists is read as a network's classes, or refused; and said."""

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from torch import nn

import ash
from ash.__main__ import main
from ash.data import DataError, FolderImages, Subset, get_dataset, own_sets, sets_left_out
from ash.datasets.csv_images import MOST_LINE, CsvImages
from ash.datasets.imagenet_wnids import WNIDS
from ash.labels import LabelError, check_labels, class_counts, read
from ash.models import get_model
from ash.names import RESERVED

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PIXELS = Image.new("L", (2, 2))


def folder(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        PIXELS.save(root / name)
    return root


def labels(root: Path, *names: str, classes: tuple[str, ...] = CIFAR) -> list[int]:
    return read(FolderImages(folder(root, *names), "x"), classes).checked().tolist()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["dog/1.png", "airplane/1.png"], [0, 5]),  # by name, whatever other folders there are
        (["airplane/1.png"], [0]),  # one class alone
        (["Dog/1.png", "DOG /2.png", "AirPlane/1.png"], [0, 5, 5]),  # capitals and spaces
        (["dog/deep/er/1.png", "cat/2.png"], [3, 5]),  # sub-folders of a class
        (["test/dog/1.png", "test/cat/1.png"], [3, 5]),  # one folder around them
        (["train/cat/1.png", "val/cat/1.png", "val/dog/1.png"], [3, 3, 5]),  # splits are no classes
        (["alice/cat/1.png", "bob/dog/1.png"], [3, 5]),  # the level that has the classes
        (["train/0/1.png", "val/9/1.png"], [0, 9]),
        (["0/1.png", "2/1.png", "9/1.png"], [0, 2, 9]),  # a gap shifts nothing
        (["00/1.png", "02/1.png", "09/1.png"], [0, 2, 9]),  # leading zeros
        (["3/1.png"], [3]),
        (["a.png", "b.png"], [-1, -1]),  # flat: no labels
        (["images/a.png", "images/b.png"], [-1, -1]),  # one folder around flat images
        (["cat/1.png", "b.png"], [-1, 3]),  # mixed: what lies beside has no class
        (["cat/1.png", ".dog/2.png", "__MACOSX/3.png"], [3]),  # hidden folders
    ],
)
def test_folders_are_classes_by_name_or_by_number(tmp_path: Path, names: list[str], expected: list[int]) -> None:
    assert labels(tmp_path, *names) == expected


@pytest.mark.parametrize(
    ("names", "foreign"),
    [
        (["cat/1.png", "unicorn/1.png"], "unicorn"),
        (["zero/1.png", "one/1.png"], "one"),  # sorted, they would be 1 and 0
        (["train/1.png", "val/1.png"], "val"),
        (["1/1.png", "10/1.png"], "10"),  # counted from 1
        (["1/1.png", "cat/1.png"], "1"),  # numbers beside names
        (["things/1.png", "b.png"], "things"),
        (["-1/1.png", "0/1.png"], "-1"),
        (["²/1.png", "0/1.png"], "²"),
        ([f"{name}{number}/1.png" for number, name in enumerate("abcdefghij")], "a0"),  # as many as there are classes
    ],
)
def test_what_is_no_class_is_refused_and_named(tmp_path: Path, names: list[str], foreign: str) -> None:
    reading = read(FolderImages(folder(tmp_path, *names), "mine"), CIFAR, "DenseNet")
    assert set(reading.labels.tolist()) == {-1}  # as an OOD set it is fine
    with pytest.raises(LabelError) as caught:
        reading.checked()
    assert all(word in str(caught.value) for word in ("mine", f"'{foreign}'", "DenseNet", "airplane = 0", "0 to 9"))


def test_a_reading_is_said(tmp_path: Path) -> None:
    for number in range(12):
        folder(tmp_path, *([] if number == 3 else [f"{number}/1.png"]))
    words = read(FolderImages(tmp_path, "mine"), tuple(f"kind {n}" for n in range(12))).words
    assert "11 classes from folder names" in words
    assert "0 images in kind 3 (3)" in words
    assert "0 = kind 0" in words
    assert "ImageFolder" in words  # which takes 10 for the third
    split = read(FolderImages(folder(tmp_path / "s", "train/cat/1.png", "val/dog/1.png"), "s"), CIFAR).words
    assert "cat = 3" in split
    assert "train, val are read together" in split
    assert (
        "1 images without a class" in read(FolderImages(folder(tmp_path / "m", "cat/1.png", "b.png"), "m"), CIFAR).words
    )
    assert "no labels" in read(FolderImages(folder(tmp_path / "f", "1.png"), "f"), CIFAR).words


def test_punctuation_that_no_folder_can_have(tmp_path: Path) -> None:
    classes = ("T-shirt/top", "Ankle boot")
    assert labels(tmp_path, "T-shirt_top/1.png", "ankle-boot/1.png", classes=classes) == [0, 1]


@pytest.mark.parametrize(
    ("classes", "name"),
    [
        (("HER2+", "normal"), "HER2-"),
        ((">10", "normal"), "<10"),
        (("c", "c++"), "c#"),
        (("1", "2"), "-1"),
        (("\u0915\u093e", "normal"), "\u0915\u093f"),  # Devanagari: one consonant, two vowel signs
    ],
)
def test_names_that_differ_by_a_sign_are_two(tmp_path: Path, classes: tuple[str, ...], name: str) -> None:
    with pytest.raises(LabelError, match="no class"):
        labels(tmp_path, f"{name}/1.png", f"{classes[1]}/1.png", classes=classes)


@pytest.mark.parametrize("name", ["jack_o_lantern", "Jack-O'-Lantern", "jack o lantern"])
def test_what_parts_words_does_not_matter(tmp_path: Path, name: str) -> None:
    assert labels(tmp_path, f"{name}/1.png", classes=("x", "jack-o'-lantern")) == [1]
    decomposed = unicodedata.normalize("NFD", "caf\u00e9")  # as some file systems write it
    assert labels(tmp_path / "n", f"{decomposed}/1.png", "x/1.png", classes=("x", "CAF\u00c9")) == [1, 0]


def test_a_split_is_no_class_where_classes_lie_in_it(tmp_path: Path) -> None:
    """CIFAR-100 and COCO have a class `train`."""
    classes = ("apple", "bear", "train", "test")
    assert labels(tmp_path / "a", "train/apple/1.png", "train/bear/1.png", classes=classes) == [0, 1]
    assert labels(tmp_path / "b", "test/bear/1.png", "train/apple/1.png", classes=classes) == [1, 0]
    assert labels(tmp_path / "c", "test/train/1.png", "test/bear/1.png", classes=classes) == [1, 2]
    assert labels(tmp_path / "d", "train/1.png", "test/1.png", classes=classes) == [3, 2]  # classes of their own
    assert labels(tmp_path / "e", "train/deep/1.png", "bear/deep/1.png", classes=classes) == [1, 2]


@pytest.mark.parametrize(("written", "expected"), [("12", [0, 1]), ("32", [2, 1]), ("01", [0, 1])])
def test_numbers_that_are_names_are_read_alike_in_lists_and_folders(
    tmp_path: Path, written: str, expected: list[int]
) -> None:
    """Classes called 1, 2, 3: a 0 beside them can only be a number."""
    classes, names = ("1", "2", "3"), [f"{written[0]}/a.png", f"{written[1]}/b.png"]
    folder(tmp_path, *names)
    rows = "".join(f"{name},{text}\n" for name, text in zip(names, written, strict=True))
    (tmp_path / "list.csv").write_text(f"image,label\n{rows}")
    assert read(CsvImages(tmp_path / "list.csv", "x"), classes).checked().tolist() == expected
    found = read(FolderImages(tmp_path, "x"), classes)
    assert dict(zip(sorted(names), found.labels.tolist(), strict=True)) == dict(zip(names, expected, strict=True))


def test_two_classes_of_one_name_are_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="'crane'"):
        labels(tmp_path, "crane/1.png", "dog/1.png", classes=("crane", "dog", "crane"))


def test_wordnet_ids_are_classes_of_imagenet(tmp_path: Path) -> None:
    entry = get_model("resnet50")
    assert (len(set(WNIDS)), sorted(WNIDS) == list(WNIDS), entry.classes[388]) == (1000, True, "giant panda")
    names = ["n02510455/1.png", "n01440764/1.png"]
    assert labels(tmp_path, *names, classes=entry.classes) == [0, 388]
    assert "no class" in read(FolderImages(tmp_path, "x"), CIFAR).problem


def test_a_subset_is_read_like_its_set(tmp_path: Path) -> None:
    names = ["cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"]
    some = Subset(FolderImages(folder(tmp_path, *names), "x"), 2)
    assert read(some, CIFAR).labels.tolist() == [3, 5]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("image,label\na.png,cat\nb.png,airplane\n", [3, 0]),
        ("\ufeffimage,label\r\na.png,3\r\nb.png,0\r\n", [3, 0]),  # BOM, CRLF
        (" Image , LABEL\na.png, 3\nb.png,0\n", [3, 0]),
        ("image,labels\na.png,3\nb.png,0\n", [3, 0]),
        ("image,label\na.png,007\nb.png,0\n", [7, 0]),
        ("image\na.png\nb.png\n", [-1, -1]),
        ("image,class of it\na.png,1\nb.png,2\n", [-1, -1]),
        ("image,label\n./a.png,3\nb.png,0\n\n", [3, 0]),
    ],
)
def test_lists_are_read(tmp_path: Path, text: str, expected: list[int]) -> None:
    folder(tmp_path, "a.png", "b.png")
    (tmp_path / "x.csv").write_text(text, newline="")
    images = CsvImages(tmp_path / "x.csv", "x")
    reading = read(images, CIFAR)
    assert reading.checked().tolist() == expected
    assert expected[0] >= 0 or ("no labels" in reading.words and "image" in reading.words)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("a.png,1.0", "line 2: the label must be"),
        ("a.png,-1", "line 2: the label must be"),
        ("a.png,nan", "line 2: the label must be"),
        ("a.png,", "line 2: the label must be"),
        ("a.png,1\na.png,1", "listed already"),
        ("/etc/a.png,1", "must lie within"),
        ("../a.png,1", "must lie within"),
        ("c.png,1", "there is no image c.png"),
        ("a.png,1,2", "3 values under a header of 2"),
        ("a.png,10", "label 10, which is no class"),
        ("a.png,unicorn", "'unicorn' is no class"),
        ("a.png,cat\nb.png,5", "'5' is no class"),
        (f"a.png,{'x' * MOST_LINE}", "more than"),
    ],
)
def test_lists_that_are_wrong_are_sentences(tmp_path: Path, rows: str, words: str) -> None:
    folder(tmp_path, "a.png", "b.png")
    (tmp_path / "x.csv").write_text(f"image,label\n{rows}\n")
    with pytest.raises((DataError, LabelError), match=words):
        read(CsvImages(tmp_path / "x.csv", "x"), CIFAR).checked()


def test_names_in_a_list_are_another_set_than_other_names(tmp_path: Path) -> None:
    folder(tmp_path, "a.png")
    prints = []
    for name in ("cat", "dog"):
        (tmp_path / "x.csv").write_text(f"image,label\na.png,{name}\n")
        prints.append(CsvImages(tmp_path / "x.csv", "x").fingerprint)
    assert prints[0] != prints[1]


def test_the_counts_are_the_sets_own(tmp_path: Path) -> None:
    images = FolderImages(folder(tmp_path, "b/1.png", "b/2.png", "a/1.png", "c.png"), "x")
    assert class_counts(images) == {"": 1, "a": 1, "b": 2}
    garments = (302, 308, 310, 298, 324, 285, 298, 293, 297, 285)
    assert class_counts(get_dataset("fashion_mnist")) == {str(n): count for n, count in enumerate(garments)}
    assert class_counts(get_dataset("digits")) == {"": 1000}


# Library


@pytest.mark.parametrize("wrong", [[0, 3], [0, -2], [0.5, 1]])
@pytest.mark.parametrize("deep", [False, True])
def test_a_sweep_refuses_labels_that_are_no_classes(wrong: list[float], deep: bool) -> None:
    tail = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3)) if deep else nn.Linear(4, 3)
    x = np.random.default_rng(0).random((2, 4), np.float32)
    methods = ash.parse_methods("energy")
    with pytest.raises(LabelError):
        ash.sweep(tail.eval(), x, {"o": x}, methods, id_labels=wrong)
    assert ash.sweep(tail.eval(), x, {"o": x}, methods, id_labels=[2, -1]).id_labels.tolist() == [2, -1]
    with pytest.raises(LabelError):
        ash.accuracy(np.zeros((1, 3)), [3])
    with pytest.raises(ash.AshError, match="mean"):
        ash.sweep(tail.eval(), x, {"mean": x}, methods)


def test_unknown_is_a_label_and_whole_numbers_of_any_type() -> None:
    assert check_labels(np.array([-1.0, 2.0]), 3).tolist() == [-1, 2]
    assert check_labels(np.array([255], np.uint8), 256).tolist() == [255]
    with pytest.raises(LabelError, match="-2"):
        check_labels([-2], 3)


# Command line


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ASH_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return tmp_path


def garments(root: Path, called: dict[int, str], each: int = 3) -> Path:
    data = get_dataset("fashion_mnist")
    for label, name in called.items():
        (root / name).mkdir(parents=True)
        for row in np.flatnonzero(data.labels == label)[:each]:
            data.image(int(row)).save(root / name / f"{row}.png")
    return root


def run(*words: object) -> str:
    done = CliRunner().invoke(main, [str(word) for word in words])
    return f"{done.exit_code} {done.output}"


def test_the_command_line_says_how_labels_are_read_and_refuses_others(home: Path) -> None:
    good = garments(home / "good", {0: "t_shirt", 9: "Ankle boot"})
    bad = garments(home / "bad", {0: "shirts", 9: "boots"})
    sweep = ("sweep", "--model", "demo", "--ood", "digits", "--methods", "energy", "--out", home / "o.csv", "--id")
    assert "Ankle boot = 9" in run(*sweep, f"good={good}")
    assert float((home / "o.csv").read_text().splitlines()[1].split(",")[11]) > 60
    refused = run(*sweep, f"bad={bad}")
    assert refused.startswith("1 ")
    assert "'boots', 'shirts' are no classes of" in refused
    assert run("extract", "--model", "demo", "--data", f"bad={bad}").startswith("0 ")  # as an OOD set it is fine
    assert "0 images in" in run("data", f"good={good}", "--model", "demo")
    assert "boots 3, shirts 3" in run("data", f"bad={bad}")


def test_a_bank_that_was_labelled_otherwise_is_labelled_anew(home: Path) -> None:
    data = get_dataset(f"set={garments(home / 'set', {2: '2', 4: '4'})}")
    bank = ash.extract(get_model("demo"), "penultimate", data)
    assert set(bank.labels.tolist()) == {2, 4}
    listed = bank.folder / "samples.csv"
    listed.write_text(listed.read_text().replace(",2\n", ",0\n").replace(",4\n", ",1\n"))
    again = ash.extract(get_model("demo"), "penultimate", data)
    assert again.labels.tolist() == bank.labels.tolist()


# Names


@pytest.mark.parametrize("name", [*RESERVED, "Mean", "ALL"])
def test_reserved_names_are_refused_everywhere(home: Path, name: str) -> None:
    folder(home / "data" / name, "1.png")
    assert name not in own_sets()
    said = [line for line in sets_left_out() if f"'{name}'" in line]
    assert bool(said) == (name != "checkpoints")  # which holds weights
    for text in (f"{name}={home}/data/{name}", f"{home}/data/{name}"):
        with pytest.raises(DataError, match=f"'{name}' means something else"):
            get_dataset(text)
    assert name == "checkpoints" or f"'{name}'" in run("data")


@pytest.mark.parametrize("name", ["with space", "a,b", "a+b", "x" * 62])
def test_other_folders_are_left_out_with_why(home: Path, name: str) -> None:
    folder(home / "data" / name, "1.png")
    assert own_sets() == {}
    assert any(name in line and "no name for a data set" in line for line in sets_left_out())


def test_names_in_other_scripts_are_offered_and_linked(home: Path) -> None:
    from app.link.spec import RunSpec, from_query, to_query

    folder(home / "data" / "größe_日本", "1.png")
    assert list(own_sets()) == ["größe_日本"]
    spec = RunSpec(ood=("größe_日本",), source="größe_日本")
    assert from_query(to_query(spec)) == (spec, [])
    for field in ("ood", "id"):
        assert from_query({field: "mean"})[1]
    assert from_query({"on": "mean", "set": "all", "among": "id", "source": "id"})[1] == []


def test_a_choice_that_a_link_cannot_say_is_said() -> None:
    from app.link.picks import Pick, reduce, unsayable
    from app.link.spec import RunSpec

    pick = Pick.field("ood", ("a b",))
    assert reduce(RunSpec(), pick) == RunSpec()
    assert "cannot be chosen" in unsayable(pick)
    assert unsayable(Pick.field("ood", ("digits",))) == ""


# Left out


def test_files_that_are_not_read_are_counted_and_named(home: Path) -> None:
    root = folder(home / "set", "a.png", "sub/b.png")
    for name in ("notes.txt", "c.heic"):
        (root / name).write_bytes(b"x")
    (root / "gone.png").symlink_to("/nowhere/x.png")
    (root / "loop.png").symlink_to("loop.png")
    (root / "again").symlink_to(root / "sub")
    (root / os.fsdecode(b"caf\xe9.png")).write_bytes((root / "a.png").read_bytes())
    images = FolderImages(root, "set")
    assert len(images) == 2
    assert images.left_out["links that lead nowhere"] == ["gone.png", "loop.png"]
    said = run("data", f"set={root}")
    assert all(word in said for word in ("c.heic", "notes.txt", "gone.png", "again", r"caf\xe9.png"))
    extracted = run("extract", "--model", "demo", "--data", f"set={root}")
    assert extracted.startswith("0 ")
    assert all(word in extracted for word in ("left out", "gone.png", r"caf\xe9.png"))


def test_a_folder_with_nothing_to_read_says_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "a.heic").touch()
    with pytest.raises(DataError, match=r"holds no images .*a\.heic"):
        FolderImages(tmp_path, "x")
