"""Image sets: order, labels, fingerprints; every kind of image file becomes L or RGB, or a sentence."""

import csv
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from PIL import Image, ImageOps
from torchvision import datasets as torchvision_sets

import ash
from ash import images as images_module
from ash.data import (
    ArrayImages,
    CifarImages,
    CsvImages,
    DataError,
    FolderImages,
    ImageError,
    Subset,
    SvhnImages,
    evenly,
)
from ash.models import ModelError, Preprocess


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


def test_the_fingerprint_follows_the_sizes_of_files(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png")
    first = FolderImages(tmp_path, "x").fingerprint
    path.write_bytes(path.read_bytes() + b"more")
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
    monkeypatch.setattr(images_module, "MAX_PIXELS", 1000)
    with pytest.raises(ImageError, match="64 x 64 pixels are more than"):
        images.image(1)


def test_a_subset_is_evenly_spaced(tmp_path: Path) -> None:
    for i in range(10):
        save(tmp_path / f"{i}.png")
    some = Subset(FolderImages(tmp_path, "x"), 4)
    assert some.names == ["0.png", "2.png", "5.png", "7.png"]
    assert some.fingerprint != some.whole.fingerprint
    assert Subset(some.whole, 10).names == some.whole.names
    with pytest.raises(DataError, match="1 to 10 images, not 11"):
        Subset(some.whole, 11)


def test_a_subset_has_the_classes_of_its_images_and_a_fingerprint_of_its_own(tmp_path: Path) -> None:
    for i in range(10):
        save(tmp_path / "set" / "ab"[i // 5] / f"{i}.png")
        save(tmp_path / "other" / f"{i}.png")
    whole, other = FolderImages(tmp_path / "set", "x"), FolderImages(tmp_path / "other", "x")
    some = Subset(whole, 4)
    assert some.labels.tolist() == [0, 0, 1, 1]
    assert some.stated == [("a",), ("a",), ("b",), ("b",)]
    assert len({one.fingerprint for one in (some, Subset(whole, 5), Subset(other, 4))}) == 3


def test_evenly_takes_no_more_than_there_are(tmp_path: Path) -> None:
    for i in range(3):
        save(tmp_path / f"{i}.png")
    whole = FolderImages(tmp_path, "x")
    assert evenly(whole, 3) is evenly(whole, 9) is whole
    assert evenly(whole, 2).names == ["0.png", "1.png"]


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["test/b/1.png", "test/a/1.png"], [0, 1]),  # one folder around the class folders
        (["images/1.png", "images/2.png"], [-1, -1]),  # one folder around flat images
        (["9/x.png", "10/x.png", "2/x.png"], [2, 0, 1]),  # numbers: files by path, labels by number
        (["a/1.png", "b.png"], [-1, -1]),  # mixed
        (["a/deep/1.png", "a/2.png", "b/1.png"], [0, 0, 1]),
    ],
)
def test_where_the_classes_are(tmp_path: Path, names: list[str], labels: list[int]) -> None:
    for name in names:
        save(tmp_path / name)
    images = FolderImages(tmp_path, "x")
    assert list(images.names) == sorted(names)
    assert images.labels.tolist() == labels
    assert images.labels.dtype == np.int64


def test_hidden_files_are_no_images_and_links_are_followed_once(tmp_path: Path) -> None:
    save(tmp_path / "set" / "a" / "1.png")
    save(tmp_path / "elsewhere" / "2.png")
    (tmp_path / "set" / "._1.png").write_bytes(b"resource fork")
    save(tmp_path / "set" / "__MACOSX" / "3.png")
    (tmp_path / "set" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "loop").symlink_to(tmp_path / "set")
    assert list(FolderImages(tmp_path / "set", "x").names) == ["a/1.png", "b/2.png"]


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif", "avif"])
def test_exif_turns_an_image_as_it_turns_an_upload(tmp_path: Path, kind: str) -> None:
    from app.backend.decoding import Picture
    from app.backend.decoding import decode as upload

    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (4, 8, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / f"a.{kind}", exif=exif)
    image = FolderImages(tmp_path, "x").image(0)
    assert image.size == (4, 8)
    assert FolderImages(tmp_path, "x", upright=False).image(0).size == ((4, 8) if kind == "tif" else (8, 4))
    if kind in ("jpg", "png", "webp"):
        same = upload(f"a.{kind}", (tmp_path / f"a.{kind}").read_bytes())
        assert isinstance(same, Picture)
        assert np.array_equal(np.asarray(same.image), np.asarray(image))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_pillow_turns_it(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.arange(18, dtype=np.uint8).reshape(2, 3, 3)).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as stored:
        upright = ImageOps.exif_transpose(stored)
    assert np.array_equal(np.asarray(FolderImages(tmp_path, "x").image(0)), np.asarray(upright))


def test_published_sets_are_read_as_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ash.data import get_dataset

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4)).save(tmp_path / "a.jpg", exif=exif)
    (tmp_path / "one").mkdir()
    (tmp_path / "a.jpg").rename(tmp_path / "one" / "a.jpg")
    monkeypatch.setenv("ASH_DATA", str(tmp_path / "data"))
    assert get_dataset(f"mine={tmp_path}/one").image(0).size == (4, 8)
    entry = ash.data.DATASETS["isun"]
    assert entry.read(tmp_path / "one", entry.layouts[-1]).image(0).size == (8, 4)


@pytest.mark.parametrize(
    ("values", "read"),
    [
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[0, 100, 255]], np.float32), [0, 100, 255]),
        (np.array([[0, 257, 65535]], np.float32), [0, 1, 255]),
        (np.array([[0, 1, 255]], np.int32), [0, 1, 255]),
        (np.array([[0, 25700, 65535]], np.int32), [0, 100, 255]),
        (np.array([[-1, 0, 1]], np.float32), None),
        (np.array([[np.nan, 0, 1]], np.float32), None),
        (np.array([[0, 0, 1e6]], np.float32), None),
    ],
)
def test_grey_values_of_more_than_eight_bits(tmp_path: Path, values: np.ndarray, read: list[int] | None) -> None:
    Image.fromarray(values).save(tmp_path / "a.tif")
    images = FolderImages(tmp_path, "x")
    if read is None:
        with pytest.raises(ImageError, match=r"a\.tif .*not in 0 to 1"):
            images.image(0)
    else:
        assert np.asarray(images.image(0)).tolist() == [read]


def test_only_the_formats_that_are_offered_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    def started(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "check_call", started)
    monkeypatch.setattr(subprocess, "Popen", started)
    Image.new("RGB", (8, 8)).save(tmp_path / "x.eps")
    (tmp_path / "x.eps").rename(tmp_path / "a.png")
    Image.new("L", (8, 8)).save(tmp_path / "b.ico")
    (tmp_path / "b.ico").rename(tmp_path / "b.png")
    Image.new("L", (8, 8), 7).save(tmp_path / "c.jpg")
    (tmp_path / "c.jpg").rename(tmp_path / "c.png")  # another format that is offered
    images = FolderImages(tmp_path, "x")
    for index in (0, 1):
        with pytest.raises(ImageError, match="known format"):
            images.image(index)
    assert images.image(2).mode == "L"


def test_too_little_memory_is_no_broken_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a.png")
    for error in (MemoryError, KeyboardInterrupt):
        with monkeypatch.context() as patch:
            patch.setattr(images_module, "eight_bit", lambda image, error=error: (_ for _ in ()).throw(error()))
            with pytest.raises(error):
                FolderImages(tmp_path, "x").image(0)


def test_a_strip_is_refused_before_it_grows() -> None:
    transform = Preprocess(224, 224, (0.5,) * 3, (0.5,) * 3).build()
    for size in ((1, 100_000), (100_000, 1)):
        with pytest.raises(ImageError, match="million"):
            transform(Image.new("RGB", size))
    assert transform(Image.new("RGB", (1, 300))).shape == (3, 224, 224)


@pytest.mark.parametrize("wrong", [{"std": (0.0,)}, {"std": (1.0, 1.0)}, {"mean": (float("nan"),)}, {"crop": 0}])
def test_a_preprocess_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ModelError):
        Preprocess(**{"resize": 8, "crop": 8, "mean": (0.5,), "std": (0.5,), **wrong})


@pytest.mark.parametrize("name", ["a.jfif", "a.jpe", "a.JPE"])
def test_more_names_of_images(tmp_path: Path, name: str) -> None:
    Image.new("L", (2, 2)).save(tmp_path / name, "JPEG")
    assert len(FolderImages(tmp_path, "x")) == 1


def test_dark_sixteen_bits_stay_dark(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 200, np.uint16)).save(tmp_path / "a.png")
    Image.fromarray(np.full((4, 4), 257 * 30, np.uint16)).save(tmp_path / "b.png")
    images = FolderImages(tmp_path, "x")
    assert [np.asarray(images.image(i)).max() for i in range(2)] == [1, 30]


def test_pixels_are_counted_before_decoding(tmp_path: Path) -> None:
    """A PNG of 60,000 x 60,000 in a few bytes: refused by its header, at once and without its 10 GB."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    with pytest.raises(ImageError, match=r"a\.png is not a readable image: .*pixels"):
        FolderImages(tmp_path, "x").image(0)


def test_a_file_that_is_gone_is_no_broken_image(tmp_path: Path) -> None:
    images = FolderImages(save(tmp_path / "a.png").parent, "x")
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError, match=r"a\.png cannot be read: No such file") as caught:
        images.image(0)
    assert not isinstance(caught.value, ImageError)


@pytest.mark.parametrize("seed", range(8))
def test_random_damage_is_an_image_or_a_sentence(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for suffix in ("png", "jpg", "gif", "tif", "webp", "bmp", "ppm"):
        path = tmp_path / f"x.{suffix}"
        Image.fromarray(rng.integers(0, 255, (40, 30, 3), dtype=np.uint8)).save(path)
        body = bytearray(path.read_bytes())
        for at in rng.integers(0, len(body), 20):
            body[at] = rng.integers(256)
        path.write_bytes(body)
    images = FolderImages(tmp_path, "x")
    for index, name in enumerate(images.names):
        try:
            result = images.image(index).mode
        except ImageError as error:
            result = str(error)
        assert result in ("L", "RGB") or result.startswith(f"{name} is not ")


def test_a_set_of_many_files_is_quick_and_pickles_small(tmp_path: Path) -> None:
    for i in range(2000):
        (tmp_path / f"{i:05d}.png").touch()
    images = FolderImages(tmp_path, "x")
    copy = pickle.loads(pickle.dumps(images))
    assert list(copy.names) == list(images.names)
    assert copy.fingerprint == images.fingerprint
    assert len(pickle.dumps(images)) < 2000 * 60


# Lists


def listed(folder: Path, *rows: tuple[object, ...], header: tuple[str, ...] = ("image", "label")) -> Path:
    with (folder / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return folder / "list.csv"


def test_a_list_keeps_its_order_and_its_labels(tmp_path: Path) -> None:
    save(tmp_path / "b.png")
    save(tmp_path / "sub" / "a.png", value=50)
    images = CsvImages(
        listed(tmp_path, ("me", "b.png", 7), ("you", "./sub//a.png", 0), header=("by", "image", "label")), "x"
    )
    assert list(images.names) == ["b.png", "sub/a.png"]
    assert images.labels.tolist() == [7, 0]
    assert np.asarray(images.image(1))[0, 0, 0] == 50
    other = CsvImages(listed(tmp_path, ("b.png", 7), ("sub/a.png", 1)), "x")
    assert other.fingerprint != images.fingerprint
    assert pickle.loads(pickle.dumps(images)).labels.tolist() == [7, 0]


def test_images_may_lie_in_the_folder_of_the_lists_name(tmp_path: Path) -> None:
    save(tmp_path / "list" / "a.png")
    assert CsvImages(listed(tmp_path, ("a.png", 1)), "x").image(0).size == (8, 6)


def test_a_list_without_labels_has_unknown_ones(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    assert CsvImages(listed(tmp_path, ("a.png",), header=("image",)), "x").labels.tolist() == [-1]


def test_byte_order_mark_empty_lines_and_quotes(tmp_path: Path) -> None:
    save(tmp_path / "a, b.png")
    (tmp_path / "list.csv").write_text('\ufeffimage,label\r\n\r\n"a, b.png", 3\r\n')
    assert CsvImages(tmp_path / "list.csv", "x").labels.tolist() == [3]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([("a.png", "1"), ("c.png", "0")], r"line 3: there is no image c\.png in "),
        ([("a.png", "-1")], "line 2: the label must be"),
        ([("a.png", "1.0")], "line 2: the label must be"),
        ([("a.png", "")], "line 2: the label must be"),
        ([("a.png", "²")], "line 2: the label must be"),
        ([("a.png", "1"), ("b.png", "2"), ("./a.png", "1")], r"line 4: a\.png is listed already in line 2"),
        ([("/etc/passwd", "1")], "line 2: the path /etc/passwd must lie within the folder"),
        ([("sub/../../a.png", "1")], r"line 2: the path sub/\.\./\.\./a\.png must lie"),
        ([("C:\\a.png", "1")], "line 2: the path .* must lie"),
        ([("", "1")], "line 2: the image has no name"),
        ([("a.png",)], "line 2: 1 values under a header of 2 columns"),
        ([("a.png", "1", "x")], "line 2: 3 values under a header of 2 columns"),
        ([], "lists no images below its header"),
    ],
)
def test_a_wrong_list_is_a_sentence_with_its_line(tmp_path: Path, rows: list[Any], sentence: str) -> None:
    for name in ("a.png", "b.png"):
        save(tmp_path / name)
    path = listed(tmp_path, *rows)
    with pytest.raises(DataError, match=sentence) as caught:
        CsvImages(path, "x")
    assert str(path) in str(caught.value)


def test_a_list_needs_a_header_and_text(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    with pytest.raises(
        DataError, match=r"list\.csv, line 1: the header must have the columns image,label, not a\.png,1"
    ):
        CsvImages(listed(tmp_path, header=("a.png", "1")), "x")
    (tmp_path / "list.csv").write_bytes(b"image,label\n\xff\xfe,1\n")
    with pytest.raises(DataError, match="is not a CSV file in UTF-8"):
        CsvImages(tmp_path / "list.csv", "x")
    with pytest.raises(DataError, match=r"There is no file .*none\.csv"):
        CsvImages(tmp_path / "none.csv", "x")


# Sets in one file


def cifar_batch(folder: Path, classes: int, protocol: int = 2) -> Path:
    rng = np.random.default_rng(classes)
    base, name, meta = (
        ("cifar-10-batches-py", "test_batch", "batches.meta") if classes == 10 else ("cifar-100-python", "test", "meta")
    )
    key = "labels" if classes == 10 else "fine_labels"
    batch = {"data": rng.integers(0, 256, (30, 3072), dtype=np.uint8), key: rng.integers(0, classes, 30).tolist()}
    if classes == 100:
        batch["coarse_labels"] = [0] * 30
    (folder / base).mkdir(parents=True)
    (folder / base / name).write_bytes(pickle.dumps(batch, protocol=protocol))
    names = {"label_names" if classes == 10 else "fine_label_names": [str(i) for i in range(classes)]}
    (folder / base / meta).write_bytes(pickle.dumps(names))
    return folder / base / name


@pytest.mark.parametrize("classes", [10, 100])
def test_cifar_is_read_as_torchvision_reads_it(tmp_path: Path, classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    path = cifar_batch(tmp_path, classes)
    kind = torchvision_sets.CIFAR10 if classes == 10 else torchvision_sets.CIFAR100
    monkeypatch.setattr(kind, "train_list", [])
    monkeypatch.setattr(kind, "test_list", [(path.name, None)])
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": None})
    theirs, ours = kind(tmp_path, train=False), CifarImages(path, f"cifar{classes}")
    assert len(theirs) == len(ours) == 30
    assert ours.labels.tolist() == [label for _, label in theirs]
    for index, (image, _) in enumerate(theirs):
        assert np.array_equal(np.asarray(ours.image(index)), np.asarray(image))


def test_svhn_is_read_as_torchvision_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    content = {"X": rng.integers(0, 256, (32, 32, 3, 50), dtype=np.uint8), "y": rng.integers(1, 11, (50, 1))}
    scipy.io.savemat(tmp_path / "test_32x32.mat", content, do_compression=True)
    monkeypatch.setitem(torchvision_sets.SVHN.split_list, "test", ["", "test_32x32.mat", None])
    theirs, ours = torchvision_sets.SVHN(tmp_path, "test"), SvhnImages(tmp_path / "test_32x32.mat", "svhn")
    assert ours.labels.tolist() == [label for _, label in theirs]
    for index, (image, _) in enumerate(theirs):
        assert np.array_equal(np.asarray(ours.image(index)), np.asarray(image))
    some = SvhnImages(tmp_path / "test_32x32.mat", "svhn", per_class=2)
    seen: list[int] = []
    rows = [i for i, label in enumerate(ours.labels) if seen.append(label) or seen.count(label) <= 2]  # type: ignore[func-returns-value]
    assert some.labels.tolist() == [ours.labels[row] for row in rows]
    assert all(np.array_equal(some.image(i), ours.image(row)) for i, row in enumerate(rows))
    assert some.fingerprint != ours.fingerprint


@pytest.mark.parametrize("protocol", range(6))
def test_a_batch_that_was_pickled_again_is_read(tmp_path: Path, protocol: int) -> None:
    assert len(CifarImages(cifar_batch(tmp_path, 10, protocol), "x")) == 30


def test_a_pickle_that_runs_code_does_not(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "evil",))

    path = cifar_batch(tmp_path, 10)
    path.write_bytes(pickle.dumps({"data": Evil(), "labels": [1]}))
    with pytest.raises(DataError, match=r"test_batch is not a CIFAR batch \(it refers to pathlib"):
        len(CifarImages(path, "x"))
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("body", [b"", b"junk", pickle.dumps([1]), pickle.dumps({"data": [1], "labels": [1]})])
def test_a_damaged_file_of_a_set_is_a_sentence(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "x").write_bytes(body)
    with pytest.raises(DataError, match="x is not a CIFAR batch"):
        len(CifarImages(tmp_path / "x", "x"))
    with pytest.raises(DataError, match=r"x is not a \.mat file of SVHN"):
        len(SvhnImages(tmp_path / "x", "x"))


def test_sets_in_one_file_pickle_without_their_pixels(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((200, 28, 28), np.uint8), labels=np.arange(200))
    array, cifar = ArrayImages(tmp_path / "x.npz", "x", "X"), CifarImages(cifar_batch(tmp_path, 10), "x")
    for images in (array, cifar):
        images.image(0)
        copy = pickle.loads(pickle.dumps(images))
        assert len(pickle.dumps(images)) < 5000
        assert np.array_equal(copy.image(7), images.image(7))
        assert copy.labels.tolist() == images.labels.tolist()
        assert copy.names == images.names
