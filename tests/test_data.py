"""Image sets: order, labels, fingerprints; every kind of image file becomes L or RGB, or a sentence."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ash import data
from ash.data import DATASETS, DataError, FolderImages, ImageError, Subset, get_dataset


def save(path: Path, mode: str = "RGB", value: int = 100, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (8, 6), value).save(path, **options)
    return path


def test_class_folders_give_labels_in_sorted_order(tmp_path: Path) -> None:
    for name in ("b/2.png", "a/1.png", "b/sub/3.png", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("") if name.endswith("txt") else save(tmp_path / name)
    images = FolderImages(tmp_path, "x")
    assert images.names == ["a/1.png", "b/2.png", "b/sub/3.png"]
    assert images.labels.tolist() == [0, 1, 1]


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    save(tmp_path / "b.png")
    save(tmp_path / "a.JPG")
    images = FolderImages(tmp_path, "x")
    assert images.names == ["a.JPG", "b.png"]
    assert images.labels.tolist() == [-1, -1]


def test_the_fingerprint_follows_the_list_of_files(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    first = FolderImages(tmp_path, "x").fingerprint
    assert FolderImages(tmp_path, "x").fingerprint == first
    save(tmp_path / "b.png")
    assert FolderImages(tmp_path, "x").fingerprint != first


@pytest.mark.parametrize(
    ("mode", "name", "expected"),
    [
        ("RGB", "x.png", "RGB"),
        ("L", "x.png", "L"),
        ("1", "x.png", "L"),
        ("P", "x.png", "RGB"),
        ("RGBA", "x.png", "RGB"),
        ("LA", "x.png", "RGB"),
        ("CMYK", "x.jpg", "RGB"),
        ("I;16", "x.png", "L"),
        ("F", "x.tiff", "L"),
    ],
)
def test_every_mode_is_read(tmp_path: Path, mode: str, name: str, expected: str) -> None:
    save(tmp_path / name, mode, 0)
    assert FolderImages(tmp_path, "x").image(0).mode == expected


def test_sixteen_bits_are_scaled_and_transparency_is_white(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 65535, np.uint16)).save(tmp_path / "a.png")
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "b.png")
    images = FolderImages(tmp_path, "x")
    assert np.asarray(images.image(0)).max() == 255
    assert np.asarray(images.image(1)).min() == 255


def test_broken_truncated_and_huge_images_are_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "b.png")
    whole = (tmp_path / "b.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "c.png").write_bytes(b"")
    (tmp_path / "d.png").write_text("<svg/>")
    images = FolderImages(tmp_path, "x")
    for index in (0, 2, 3):
        with pytest.raises(ImageError, match=rf"^{images.names[index]} is not a"):
            images.image(index)
    monkeypatch.setattr(data, "MAX_PIXELS", 1000)
    with pytest.raises(ImageError, match="64 x 64 pixels are more than"):
        images.image(1)


def test_sets_are_found_by_name_or_folder(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    assert get_dataset(f"mine={tmp_path}").name == "mine"
    assert get_dataset(str(tmp_path)).name == tmp_path.name
    with pytest.raises(DataError, match="did you mean digits"):
        get_dataset("digit")
    with pytest.raises(DataError, match="There is no folder /nowhere"):
        get_dataset("x=/nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no images"):
        get_dataset(str(tmp_path / "empty"))


def test_a_subset_is_evenly_spaced(tmp_path: Path) -> None:
    for i in range(10):
        save(tmp_path / f"{i}.png")
    some = Subset(FolderImages(tmp_path, "x"), 4)
    assert some.names == ["0.png", "2.png", "5.png", "7.png"]
    assert some.fingerprint != some.whole.fingerprint
    with pytest.raises(DataError, match="1 to 10 images, not 11"):
        Subset(some.whole, 11)


@pytest.mark.parametrize("name", DATASETS)
def test_bundled_sets_are_whole(name: str) -> None:
    images = DATASETS[name].open()
    assert len(images) == {"fashion_mnist": 10_000, "fashion_mnist_train": 3_000}.get(name, 1_000)
    assert images.image(len(images) - 1).size == (28, 28)
    assert len(set(images.names)) == len(images)
    known = (images.labels >= 0).all()
    assert known == (DATASETS[name].role == "id")
