"""Data sets by name: what is present, missing or incomplete in the data root; own sets; every way to name images."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_images import cifar_batch, save

from ash.data import (
    DATASETS,
    DataError,
    ImageError,
    data_root,
    dataset_entry,
    get_dataset,
    list_sets,
    own_sets,
)

PAPER_ID = ("cifar10", "cifar100", "imagenet")
PAPER_OOD = ("svhn", "lsun_c", "lsun_r", "isun", "places365", "dtd", "inaturalist", "sun", "places")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASH_DATA", str(tmp_path / "root"))
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def shrink(monkeypatch: pytest.MonkeyPatch, name: str, **change: object) -> None:
    import dataclasses

    monkeypatch.setitem(DATASETS, name, dataclasses.replace(DATASETS[name], **change))  # type: ignore[arg-type]


def test_the_data_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASH_DATA", "~/somewhere")
    assert data_root() == Path.home() / "somewhere"
    monkeypatch.delenv("ASH_DATA")
    monkeypatch.setenv("XDG_DATA_HOME", "/xdg")
    assert data_root() == Path("/xdg/ash")
    monkeypatch.delenv("XDG_DATA_HOME")
    assert data_root() == Path.home() / ".local" / "share" / "ash"


def test_the_papers_sets_are_known() -> None:
    assert all(DATASETS[name].role == "id" for name in PAPER_ID)
    assert all(DATASETS[name].role == "ood" for name in PAPER_OOD)
    counts = {"imagenet": 50_000, "isun": 8925, "dtd": 5640}
    assert all(DATASETS[name].count == counts.get(name, 10_000) for name in (*PAPER_ID, *PAPER_OOD))


@pytest.mark.parametrize("name", [name for name, entry in DATASETS.items() if entry.home])
def test_bundled_sets_are_whole(name: str) -> None:
    entry = DATASETS[name]
    images = entry.open()
    assert entry.status().state == "present"
    assert len(images) == entry.count
    assert images.image(len(images) - 1).size in ((28, 28), (224, 224))
    assert len(set(images.names)) == len(images)
    assert (images.labels >= 0).all() == (entry.role == "id")


@pytest.mark.parametrize("name", [*PAPER_ID, *PAPER_OOD])
def test_nothing_is_there_at_first(root: Path, name: str) -> None:
    status = DATASETS[name].status()
    ships = status.state == "listed"  # activations, no images
    assert ships == (name in ("cifar10", "isun", "dtd"))
    assert ships or (status.state, status.count, status.bytes) == ("missing", None, 0)
    with pytest.raises(DataError, match=rf"python -m ash fetch {name}`"):
        get_dataset(name)
    (root / name).mkdir()
    assert DATASETS[name].status().state == ("listed" if ships else "missing")


@pytest.mark.parametrize(
    ("name", "place", "labels"),
    [
        ("cifar10", "cifar10/test/{c}", [0, 0, 1, 1]),
        ("cifar10", "cifar10/{c}", [0, 0, 1, 1]),
        ("imagenet", "imagenet/val/n{c}", [0, 0, 1, 1]),
        ("isun", "isun/iSUN_patches", [-1] * 4),
        ("isun", "isun/iSUN/iSUN_patches", [-1] * 4),
        ("isun", "iSUN/iSUN_patches", [-1] * 4),
        ("isun", "isun", [-1] * 4),
        ("lsun_c", "lsun_c/LSUN/test", [-1] * 4),
        ("lsun_c", "LSUN/test", [-1] * 4),
        ("lsun_r", "lsun_r/LSUN_resize/LSUN_resize", [-1] * 4),
        ("lsun_r", "LSUN_resize/LSUN_resize", [-1] * 4),
        ("lsun_r", "LSUN_resize", [-1] * 4),
        ("dtd", "dtd/dtd/images/{c}", [0, 0, 1, 1]),
        ("dtd", "dtd/images/{c}", [0, 0, 1, 1]),
        ("dtd", "dtd/{c}", [0, 0, 1, 1]),
        ("dtd", "textures/{c}", [0, 0, 1, 1]),
        ("places365", "places365/test_256", [-1] * 4),
        ("places365", "places365/test_subset", [-1] * 4),
        ("inaturalist", "inaturalist/iNaturalist/images", [-1] * 4),
        ("inaturalist", "iNaturalist/images", [-1] * 4),
        ("sun", "SUN/images", [-1] * 4),
        ("places", "Places/images", [-1] * 4),
    ],
)
def test_layouts_that_occur(
    root: Path, monkeypatch: pytest.MonkeyPatch, name: str, place: str, labels: list[int]
) -> None:
    for i in range(4):
        save(root / place.format(c="ab"[i // 2]) / f"{i}.png")
    shrink(monkeypatch, name, count=4, classes=None if labels[0] < 0 else 2)
    assert DATASETS[name].status().state == "present"
    assert get_dataset(name).labels.tolist() == labels
    assert get_dataset(name).names[0].endswith("0.png")
    assert own_sets() == {}


@pytest.mark.parametrize("classes", [10, 100])
def test_cifar_batches_of_torchvision(root: Path, monkeypatch: pytest.MonkeyPatch, classes: int) -> None:
    name = f"cifar{classes}"
    path = cifar_batch(root / name, classes)
    status = DATASETS[name].status()
    assert (status.state, status.count, status.path) == ("incomplete", 30, path)
    with pytest.raises(DataError, match=r"30 of 10,000 images"):
        get_dataset(name)
    assert len(get_dataset(f"{name}={root / name}")) == len(get_dataset(f"{name}={path.parent}")) == 30
    shrink(monkeypatch, name, count=30, classes=None)
    assert len(get_dataset(name)) == 30
    path.write_bytes(path.read_bytes()[:100])
    assert "is not a CIFAR batch" in DATASETS[name].status().reason
    with pytest.raises(DataError, match="is not a CIFAR batch"):
        get_dataset(name)
    with pytest.raises(DataError, match="is not a CIFAR batch"):
        get_dataset(f"{name}={root / name}")


def test_a_whole_set_wins_over_an_incomplete_one(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(root / "isun" / "iSUN_patches" / "0.png")
    for i in range(3):
        save(root / "iSUN" / "iSUN" / "iSUN_patches" / f"{i}.png")
    shrink(monkeypatch, "isun", count=3)
    assert DATASETS["isun"].status().path == root / "iSUN" / "iSUN" / "iSUN_patches"
    shrink(monkeypatch, "isun", count=5)
    assert DATASETS["isun"].status().reason == "3 of 5 images"


def test_an_incomplete_set_opens_when_its_folder_is_named(root: Path) -> None:
    for kind in "abc":
        save(root / "dtd" / "images" / kind / "x.png")
    status = DATASETS["dtd"].status()
    assert (status.state, status.count, status.reason) == ("incomplete", 3, "3 of 5,640 images")
    with pytest.raises(DataError, match=rf"Textures \(DTD\) is incomplete: {root}/dtd/images holds 3 of 5,640 images"):
        get_dataset("dtd")
    for text in (f"dtd={root}/dtd", f"dtd={root}/dtd/images", f"mine={root}/dtd", f"{root}/dtd/images"):
        assert get_dataset(text).labels.tolist() == [0, 1, 2]


def test_the_wrong_number_of_classes_is_incomplete(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(3):
        save(root / "cifar10" / "test" / "cat" / f"{i}.png")
    shrink(monkeypatch, "cifar10", count=3)
    assert DATASETS["cifar10"].status().reason == "0 of 10 classes"


def test_the_first_of_places_in_path_order(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(7):
        save(root / "places365" / "test_256" / f"Places365_test_{i:08d}.png")
    shrink(monkeypatch, "places365", count=4, first=4)
    assert [name[-5] for name in get_dataset("places365").names] == ["0", "1", "2", "3"]


def test_own_sets_are_offered_by_name(root: Path) -> None:
    save(root / "mine" / "a.png")
    save(root / "listed" / "images" / "a.png")
    (root / "listed" / "images.csv").write_text("image,label\na.png,3\n")
    save(root / "both" / "a.png")
    (root / "both.csv").write_text("image,label\na.png,4\n")
    save(root / "checkpoints" / "a.png")
    save(root / ".hidden" / "a.png")
    save(root / "cifar10" / "a.png")
    (root / "empty").mkdir()
    (root / "numbers.csv").write_text("a,b\n1,2\n")
    assert list(own_sets()) == ["both", "listed", "mine"]
    labels = {name: get_dataset(name).labels.tolist() for name in own_sets()}
    assert labels == {"both": [4], "listed": [3], "mine": [-1]}
    entry = dataset_entry("both")
    assert (entry.role, entry.status().state, entry.status().count) == ("own", "present", 1)
    assert entry.open().name == "both"
    (root / "both.csv").write_text("image,label\nb.png,4\n")
    assert "there is no image b.png" in dataset_entry("both").status().reason
    assert "mine" in "\n".join(list_sets())


def test_sets_are_found_by_name_folder_or_list(root: Path, tmp_path: Path) -> None:
    save(tmp_path / "x" / "a.png")
    (tmp_path / "x.csv").write_text("image,label\na.png,1\n")
    save(tmp_path / "k=v" / "a.png")
    assert get_dataset("digits").name == "digits"
    assert get_dataset(f"mine={tmp_path}/x").name == "mine"
    assert get_dataset(f"{tmp_path}/x").name == "x"
    assert get_dataset(f"mine={tmp_path}/x.csv").labels.tolist() == [1]
    assert get_dataset(f"{tmp_path}/x.csv").name == "x"
    assert get_dataset(f"{tmp_path}/k=v").name == "k=v"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("digit", "There is no data set 'digit': did you mean digits?"),
        ("cifar", "did you mean cifar10"),
        ("qqq", "known sets: fashion_mnist"),
        ("", "There is no data set ''"),
        ("x=/nowhere", "There is no folder /nowhere"),
        ("x=", "x= names no folder and no CSV file"),
        ("x=/nowhere.csv", r"There is no file /nowhere\.csv"),
        ("a/b=/nowhere", "'a/b' is no name for a data set"),
        ("=/nowhere", "'' is no name for a data set"),
    ],
)
def test_what_is_not_there_is_a_sentence(root: Path, text: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        get_dataset(text)


def test_a_folder_without_images_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no images"):
        get_dataset(f"x={tmp_path}")


@pytest.mark.slow
def test_status_and_listing_need_no_torch() -> None:
    code = "import sys, ash.data, ash.fetching; list(ash.data.list_sets()); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0


def test_the_reference_data_is_understood(reference: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASH_DATA", str(reference / "data"))
    cifar, isun, photographs = (get_dataset(name) for name in ("cifar10", "isun", "nips2017"))
    labels = np.load(reference / "reference" / "densenet_cifar10_test_labels.npy")
    assert (cifar.labels == labels).all()
    assert len(isun) == 8925
    assert len(photographs) == 200
    assert photographs.labels[:3].tolist() == [388, 576, 326]
    assert DATASETS["dtd"].status().reason == "360 of 5,640 images"
    assert "nips2017" in own_sets()


def test_images_are_the_files_pixels(reference: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASH_DATA", str(reference / "data"))
    for name in ("cifar10", "isun", "nips2017"):
        images, status = get_dataset(name), dataset_entry(name).status()
        assert status.count == len(images)
        for index in range(0, len(images), 97):
            found = list((reference / "data" / name).rglob(images.names[index]))
            assert np.array_equal(np.asarray(images.image(index)), np.asarray(Image.open(found[0]).convert("RGB")))


def test_image_errors_are_data_errors() -> None:
    assert issubclass(ImageError, DataError)
