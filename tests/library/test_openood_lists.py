"""OpenOOD's lists: sets by name once the folders are there, with labels, parts, and what is near and far."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ash.data import DataError, dataset_entry, get_dataset, near_and_far, own_sets
from ash.datasets import openood_lists
from ash.labels import read


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with three lists of one benchmark, as OpenOOD's folders lie."""
    monkeypatch.setenv("ASH_DATA", str(tmp_path))
    base = tmp_path / "openood"
    for file in ("cifar10/test/a/1.png", "cifar10/test/b/2.png", "tin/x.png", "svhn/y.png"):
        path = base / "images_classic" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), len(file), np.uint8)).save(path)
    lists = base / "benchmark_imglist" / "cifar10"
    lists.mkdir(parents=True)
    (lists / "test_cifar10.txt").write_text("cifar10/test/a/1.png 0\ncifar10/test/b/2.png 3\n")
    (lists / "val_cifar10.txt").write_text("cifar10/test/b/2.png {'label': 3, 'super': 1}\n")
    (lists / "test_tin.txt").write_text("x.png -1\n")  # some copies leave the set's folder out
    (lists / "test_svhn.txt").write_text("svhn/y.png -1\n")
    return tmp_path


def test_lists_are_sets_by_name_with_their_labels(root: Path) -> None:
    names = ("openood.cifar10", "openood.cifar10.svhn", "openood.cifar10.tin", "openood.cifar10.val")
    assert tuple(sorted(own_sets())) == names
    data = get_dataset("openood.cifar10")
    assert list(data.names) == ["cifar10/test/a/1.png", "cifar10/test/b/2.png"]
    assert read(data, [f"class {number}" for number in range(10)]).checked().tolist() == [0, 3]
    assert get_dataset("openood.cifar10.val").labels.tolist() == [3]
    assert get_dataset("openood.cifar10.tin").image(0).size == (8, 8)
    assert get_dataset("openood.cifar10.svhn").labels.tolist() == [-1]


def test_near_and_far_are_openoods(root: Path) -> None:
    sets = ("openood.cifar10.tin", "openood.cifar10.svhn")
    assert near_and_far("openood.cifar10", sets) == {"near": sets[:1], "far": sets[1:]}
    assert near_and_far("openood.cifar10", sets[:1]) == {}
    assert near_and_far("openood.cifar10", (*sets, "mine")) == {}
    assert near_and_far("openood.cifar10", (sets[0], "openood.cifar10.val")) == {}


def test_the_list_is_part_of_what_the_set_is_known_by(root: Path) -> None:
    path = root / "openood" / "benchmark_imglist" / "cifar10" / "test_cifar10.txt"
    before = get_dataset("openood.cifar10")
    path.write_text("cifar10/test/a/1.png 1\ncifar10/test/b/2.png 3\n")
    after = get_dataset("openood.cifar10")
    assert before.names == after.names
    assert before.fingerprint != after.fingerprint
    assert before.look != after.look


def test_a_list_that_looks_the_same_is_read_once_and_its_images_are_looked_at_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_now: list[Path] = []
    bytes_of = openood_lists.read_bytes
    monkeypatch.setattr(openood_lists, "read_bytes", lambda path, most: read_now.append(path) or bytes_of(path, most))
    entry = dataset_entry("openood.cifar10")
    before = entry.status()
    assert entry.status() == before
    assert get_dataset("openood.cifar10").labels.tolist() == [0, 3]
    assert len(read_now) == 1
    image = root / "openood" / "images_classic" / "cifar10" / "test" / "b" / "2.png"
    Image.new("L", (9, 9)).save(image)  # another one in its place
    after = entry.status()
    assert after.look != before.look
    assert after.bytes == sum(path.stat().st_size for path in image.parents[1].rglob("*.png"))
    image.unlink()
    assert f"lists cifar10/test/b/2.png, which is not in {image.parents[3]}" in entry.status().reason
    assert len(read_now) == 1
    (root / "openood" / "benchmark_imglist" / "cifar10" / "test_cifar10.txt").write_text("cifar10/test/a/1.png 1\n")
    assert get_dataset("openood.cifar10").labels.tolist() == [1]
    assert len(read_now) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "lists no images"),
        ("cifar10/test/a/1.png\n", "line 1: it must be a path, a blank and a class number"),
        ("cifar10/test/a/1.png 0\ncifar10/test/a/9.png 1\n", "lists cifar10/test/a/9.png, which is not in"),
        ("../../secret.png 0\n", r"line 1: \.\./\.\./secret.png 0 is no image of the folder"),
        ("nowhere/1.png 0\n", "nowhere/1.png is in neither .*images_classic nor .*images_largescale"),
        ("cifar10/test/a/1.png __import__('os')\n", "line 1: it must be"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused_with_its_line(root: Path, text: str, words: str) -> None:
    (root / "openood" / "benchmark_imglist" / "cifar10" / "test_cifar10.txt").write_text(text)
    with pytest.raises(DataError, match=words):
        get_dataset("openood.cifar10")


def test_without_the_folders_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASH_DATA", str(tmp_path))
    assert own_sets() == {}
    (tmp_path / "openood").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "openood" / "1.png")
    assert own_sets() == {"openood": "openood"}, "a folder of images is one, whatever its name"
    with pytest.raises(DataError, match=r"no data set 'openood\.cifar10'"):
        get_dataset("openood.cifar10")
