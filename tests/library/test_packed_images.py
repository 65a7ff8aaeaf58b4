"""Sets in one file: a zip archive of images, and lists of images that do not ship while their activations do."""

import io
from pathlib import Path

import pytest
from PIL import Image

from ash.data import DataError, ImageError, dataset_entry, evenly, get_dataset
from ash.datasets.packed_images import ListedImages, PackedImages, listing, pack
from ash.extraction import extract
from ash.models import get_model

COLOURS = {"a.webp": (200, 30, 30), "b.webp": (30, 200, 30), "c.webp": (30, 30, 200)}


def webp(colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), colour).save(buffer, "WEBP", lossless=True)
    return buffer.getvalue()


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """Three images of one colour each, with classes and authors."""
    rows = [{"image": name, "label": str(i), "author": f"author {i}"} for i, name in enumerate(COLOURS)]
    path = tmp_path / "colours.zip"
    path.write_bytes(pack([(row, webp(colour)) for row, colour in zip(rows, COLOURS.values(), strict=True)]))
    return path


def test_images_labels_and_what_else_is_known(packed: Path) -> None:
    images = PackedImages(packed, "colours", "Colours")
    assert list(images.names) == list(COLOURS)
    assert images.labels.tolist() == [0, 1, 2]
    assert [row["author"] for row in images.rows] == ["author 0", "author 1", "author 2"]
    assert [images.image(i).getpixel((5, 5)) for i in range(3)] == list(COLOURS.values())
    assert images.has_images
    assert evenly(images, 2).has_images


def test_the_same_images_make_the_same_file(packed: Path) -> None:
    images = [(row, webp(COLOURS[row["image"]])) for row in PackedImages(packed, "c", "C").rows]
    assert pack(images) == packed.read_bytes()


def test_a_flipped_byte_in_an_image_is_refused_and_makes_another_set(packed: Path) -> None:
    before, content = PackedImages(packed, "c", "C").fingerprint, bytearray(packed.read_bytes())
    content[content.index(b"WEBPVP8L") + 20] ^= 1
    packed.write_bytes(content)
    assert PackedImages(packed, "c", "C").fingerprint != before
    with pytest.raises(DataError, match="damaged"):
        PackedImages(packed, "c", "C").image(0)


@pytest.mark.parametrize("content", [b"", b"not a zip", pack([({"image": "a.webp", "label": "x"}, b"")])])
def test_what_is_no_such_archive_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        _ = PackedImages(path, "x", "X").names


@pytest.fixture
def listed(tmp_path: Path) -> ListedImages:
    path = tmp_path / "listed.csv"
    path.write_bytes(listing([{"image": f"{i}.png", "label": str(i % 10)} for i in range(40)]))
    return ListedImages(path, "listed", "Listed", instructions="Get them there.")


def test_a_listed_set_has_names_and_labels_but_no_images(listed: ListedImages) -> None:
    assert len(listed) == 40
    assert listed.labels[13] == 3
    assert not listed.has_images
    assert not evenly(listed, 5).has_images
    with pytest.raises(ImageError, match=r"7\.png does not ship.*Get them there"):
        listed.image(7)


def test_nothing_is_extracted_from_a_listed_set(listed: ListedImages, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not here"):
        extract(get_model("demo"), "penultimate", listed, root=tmp_path)


@pytest.fixture
def no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASH_DATA", str(tmp_path / "data"))


@pytest.mark.usefixtures("no_data")
@pytest.mark.parametrize(("name", "count"), [("cifar10", 10_000), ("isun", 8_925), ("dtd", 1_200)])
def test_sets_whose_activations_ship_are_listed_and_not_opened(name: str, count: int) -> None:
    entry = dataset_entry(name)
    status, images = entry.status(), entry.listed()
    assert (status.state, status.count) == ("listed", count)
    assert images is not None
    assert len(images) == count
    with pytest.raises(DataError, match=f"fetch {name}"):
        get_dataset(name)
