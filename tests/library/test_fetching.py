"""From a name to images in the data root, against a local server: the paper's sets in miniature, and weights."""

import dataclasses
import hashlib
import io
import json
import pickle
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from click.testing import CliRunner
from PIL import Image
from web_server import Site, serving

import ash.models
from ash.__main__ import main
from ash.data import DATASETS, Archive, DataError, DatasetEntry, get_dataset
from ash.datasets import downloading
from ash.fetching import fetch_steps

PATCH = """
import json, os
from torchvision.datasets import CIFAR10, CIFAR100, DTD, SVHN, imagenet
sums = json.loads(os.environ["MINI_SUMS"])
for one in (CIFAR10, CIFAR100):
    one.tgz_md5 = sums.get("archive")
    one.train_list = []
    one.test_list = [(one.test_list[0][0], sums.get("batch"))]
    one.meta = one.meta | {"md5": sums.get("meta")}
SVHN.split_list["test"][2] = DTD._MD5 = sums.get("archive")
imagenet.ARCHIVE_META.update({"val": ("ILSVRC2012_img_val.tar", sums.get("archive")),
                              "devkit": ("ILSVRC2012_devkit_t12.tar.gz", sums.get("devkit"))})
"""


def jpeg(value: int, size: int = 8) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (size, size), (value % 256, value // 256, 100)).save(file, "JPEG")
    return file.getvalue()


def packed(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, body in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return file.getvalue()


def md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASH_DATA", str(tmp_path / "root"))
    monkeypatch.setattr(downloading, "PAUSE", 0.0)
    return tmp_path / "root"


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


def serve(monkeypatch: pytest.MonkeyPatch, site: Site, name: str, body: bytes, **change: Any) -> DatasetEntry:
    """Registered set `name` with its first archive on the local site."""
    entry = DATASETS[name]
    site.files[entry.files[0].file] = body
    file = dataclasses.replace(entry.files[0], url=site.url(entry.files[0].file), size=None, checksum="")
    entry = dataclasses.replace(entry, files=(file,), **change)
    monkeypatch.setitem(DATASETS, name, entry)
    return entry


@pytest.fixture
def mini_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make torchvision's classes, in the process that unpacks, expect the checksums of miniatures."""
    (tmp_path / "patch").mkdir()
    (tmp_path / "patch" / "sitecustomize.py").write_text(PATCH)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "patch"))
    return lambda **sums: monkeypatch.setenv("MINI_SUMS", json.dumps(sums))


def fetch(name: str) -> Path:
    steps = fetch_steps(name)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


ISUN = {f"iSUN/iSUN_patches/{i}.jpeg": jpeg(i) for i in range(12)} | {"iSUN/readme.txt": b"hello"}


def test_a_set_is_fetched_unpacked_and_opened(root: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, site, "isun", packed(ISUN), count=12)
    with pytest.raises(DataError, match=r"iSUN is not in .*isun: run `python -m ash fetch isun`\."):
        get_dataset("isun")
    steps = list(fetch_steps("isun"))
    assert [*dict.fromkeys(step.stage for step in steps)] == ["download", "unpack", "verify"]
    images = get_dataset("isun")
    assert len(images) == 12
    assert images.labels.max() == -1
    assert images.image(3).size == (8, 8)
    assert DATASETS["isun"].status().path == root / "isun" / "iSUN" / "iSUN_patches"
    assert visible(root) == [".downloads", "isun"]
    assert visible(root / ".downloads") == []
    requests = len(site.asked)
    assert fetch("isun") == root / "isun" / "iSUN" / "iSUN_patches"
    assert len(site.asked) == requests  # what is present is not loaded again


def test_only_the_subset_of_places_is_unpacked(root: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["00000001", "00009999", "00010000", "00010001", "00099999", "00100000", "00328500"]
    files = {f"test_256/Places365_test_{name}.jpg": jpeg(i) for i, name in enumerate(names)}
    serve(monkeypatch, site, "places365", packed(files, "w"), count=3)
    fetch("places365")
    assert [name[-12:-4] for name in get_dataset("places365").names] == names[:3]


def test_too_few_images_are_not_kept(root: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, site, "isun", packed(ISUN))
    with pytest.raises(DataError, match=r"unpacks to 12 of 8,925 images\..*was deleted, for no checksum of it is"):
        fetch("isun")
    assert visible(root / ".downloads" / "isun") == []
    assert DATASETS["isun"].status().state == "listed"
    assert not (root / "isun").exists()


def test_a_hostile_archive_leaves_no_set(root: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, site, "isun", packed(ISUN | {"../../evil": b"x"}), count=12)
    with pytest.raises(DataError, match="leads out of its folder"):
        fetch("isun")
    assert visible(root) == [".downloads"]
    assert not list(root.parent.rglob("evil"))


@pytest.mark.parametrize("stage", ["download", "unpack"])
def test_whoever_stops_can_go_on(root: Path, site: Site, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    noise = {f"iSUN/iSUN_patches/{i}.jpeg": np.random.default_rng(i).bytes(200_000) for i in range(12)}
    serve(monkeypatch, site, "isun", packed(noise), count=12)
    steps = fetch_steps("isun")
    while (step := next(steps)).stage != stage or not step.done:
        pass
    with pytest.raises(DataError, match="isun is being fetched already"):
        fetch("isun")
    steps.close()
    assert visible(root) == [".downloads"]
    fetch("isun")
    assert len(get_dataset("isun")) == 12
    assert len(site.asked) == (2 if stage == "download" else 1)


def test_what_a_killed_fetch_left_is_cleared(root: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / ".fetch-isun-abc" / "isun" / "iSUN_patches").mkdir(parents=True)
    serve(monkeypatch, site, "isun", packed(ISUN), count=12)
    fetch("isun")
    assert visible(root) == [".downloads", "isun"]


def test_an_archive_put_there_by_hand_is_taken(root: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, site, "isun", b"", count=12)
    site.files.clear()
    with pytest.raises(DataError, match="answers 404"):
        fetch("isun")
    (root / "isun").mkdir()
    (root / "isun" / "iSUN.tar.gz").write_bytes(packed(ISUN))
    fetch("isun")
    assert len(get_dataset("isun")) == 12
    assert (root / "isun" / "iSUN.tar.gz").is_file()


def test_an_incomplete_copy_is_replaced(root: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, site, "isun", packed(ISUN), count=12)
    patches = root / "isun" / "iSUN" / "iSUN_patches"
    patches.mkdir(parents=True)
    (patches / "0.jpeg").write_bytes(jpeg(0))
    with pytest.raises(DataError, match=rf"holds 1 of 12 images\. Run .*, or use what is there as isun={patches}\."):
        get_dataset("isun")
    assert len(get_dataset(f"isun={patches}")) == 1
    fetch("isun")
    assert len(get_dataset("isun")) == 12


def cifar(classes: int) -> tuple[bytes, dict[str, bytes]]:
    """A miniature archive of CIFAR, and its files."""
    rng = np.random.default_rng(classes)
    key, base = ("labels", "cifar-10-batches-py") if classes == 10 else ("fine_labels", "cifar-100-python")
    labels = [*range(classes), *range(classes)]
    batch = {"data": rng.integers(0, 256, (2 * classes, 3072), dtype=np.uint8), key: labels, "filenames": ["a.png"]}
    meta = {"label_names" if classes == 10 else "fine_label_names": [str(i) for i in range(classes)]}
    names = ("test_batch", "batches.meta") if classes == 10 else ("test", "meta")
    files = {f"{base}/{name}": pickle.dumps(x, protocol=2) for name, x in zip(names, (batch, meta), strict=True)}
    return packed(files), files


@pytest.mark.slow
def test_cifar_through_torchvision(
    root: Path, site: Site, monkeypatch: pytest.MonkeyPatch, mini_torchvision: Any
) -> None:
    body, files = cifar(10)
    batch, meta = files.values()
    serve(monkeypatch, site, "cifar10", body, count=20)
    mini_torchvision(archive=md5(body), batch=md5(batch), meta=md5(meta))
    fetch("cifar10")
    images = get_dataset("cifar10")
    assert images.labels.tolist() == [*range(10), *range(10)]
    assert visible(root / "cifar10") == ["cifar-10-batches-py"]


@pytest.mark.slow
def test_what_torchvision_refuses_is_not_there(
    root: Path, site: Site, monkeypatch: pytest.MonkeyPatch, mini_torchvision: Any
) -> None:
    body, files = cifar(100)
    serve(monkeypatch, site, "cifar100", body, count=200)
    mini_torchvision(archive=md5(body), batch="0" * 32, meta=md5(files["cifar-100-python/meta"]))
    with pytest.raises(DataError, match=r"torchvision cannot unpack cifar-100-python\.tar\.gz: .*corrupted"):
        fetch("cifar100")
    assert visible(root) == [".downloads"]


@pytest.mark.slow
def test_svhn_through_torchvision(
    root: Path, site: Site, monkeypatch: pytest.MonkeyPatch, mini_torchvision: Any
) -> None:
    file = io.BytesIO()
    digits = np.arange(40) % 10 + 1
    scipy.io.savemat(file, {"X": np.zeros((32, 32, 3, 40), np.uint8), "y": digits[:, None].astype(np.uint8)})
    serve(monkeypatch, site, "svhn", file.getvalue(), count=30, per_class=3)
    mini_torchvision(archive=md5(file.getvalue()))
    fetch("svhn")
    assert get_dataset("svhn").labels.tolist() == [*range(1, 10), 0] * 3
    assert (root / "svhn" / "test_32x32.mat").is_file()
    assert not (root / "svhn" / "test_32x32.mat").is_symlink()


@pytest.mark.slow
def test_textures_through_torchvision(
    root: Path, site: Site, monkeypatch: pytest.MonkeyPatch, mini_torchvision: Any
) -> None:
    files = {f"dtd/images/{kind}/{kind}_{i}.jpg": jpeg(i) for kind in ("banded", "dotted") for i in range(3)}
    body = packed(files | {"dtd/labels/test1.txt": b"banded/banded_0.jpg\n"})
    serve(monkeypatch, site, "dtd", body, count=6, classes=2)
    mini_torchvision(archive=md5(body))
    assert fetch("dtd") == root / "dtd" / "dtd" / "images"
    assert get_dataset("dtd").labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert visible(root / "dtd") == ["dtd"]


def imagenet() -> tuple[bytes, bytes]:
    """Validation archive and development kit of four images in two classes."""
    fields = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("num_children", "O")]
    kinds = [(1, "n02", "dog, hound", "g", 0), (2, "n01", "cat", "g", 0), (3, "n00", "animal", "g", 2)]
    file = io.BytesIO()
    scipy.io.savemat(file, {"synsets": np.array(kinds, dtype=fields)[:, None]})
    base = "ILSVRC2012_devkit_t12/data"
    truth = b"1\n2\n2\n1\n"
    kit = packed({f"{base}/meta.mat": file.getvalue(), f"{base}/ILSVRC2012_validation_ground_truth.txt": truth})
    return packed({f"ILSVRC2012_val_{i:08d}.JPEG": jpeg(i) for i in range(4)}, "w"), kit


@pytest.mark.slow
def test_imagenet_is_explained_then_arranged_from_what_the_user_put_there(
    root: Path, monkeypatch: pytest.MonkeyPatch, mini_torchvision: Any
) -> None:
    bodies = imagenet()
    entry = DATASETS["imagenet"]
    with pytest.raises(DataError, match=rf"register at https://image-net\.org .*_val\.tar and .* into {root}/imagenet"):
        fetch("imagenet")
    (root / "imagenet").mkdir()
    for archive, body in zip(entry.files, bodies, strict=True):
        (root / "imagenet" / archive.file).write_bytes(body)
    with pytest.raises(DataError, match=r"ILSVRC2012_img_val\.tar is not the published file: its md5 is .* Replace it"):
        fetch("imagenet")
    mini_torchvision(archive=md5(bodies[0]), devkit=md5(bodies[1]))
    sums = [md5(body) for body in bodies]
    files = tuple(
        dataclasses.replace(a, size=None, checksum=f"md5:{s}") for a, s in zip(entry.files, sums, strict=True)
    )
    monkeypatch.setitem(DATASETS, "imagenet", dataclasses.replace(entry, files=files, count=4, classes=2))
    fetch("imagenet")
    images = get_dataset("imagenet")
    assert [name.split("/")[0] for name in images.names] == ["n01", "n01", "n02", "n02"]
    assert images.labels.tolist() == [0, 0, 1, 1]
    assert [name[-13:-5] for name in images.names] == ["00000001", "00000002", "00000000", "00000003"]


def test_weights_go_into_the_checkpoints(root: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    body = b"weights" * 1000
    site.files["r.pth"] = body
    found = hashlib.sha256(body).hexdigest()
    entry = dataclasses.replace(ash.models.get_model("resnet50"), url=site.url("r.pth"), url_hash=found[:8])
    monkeypatch.setitem(ash.models.MODELS, "resnet50", entry)
    path = fetch("resnet50")
    assert path == root / "checkpoints" / "resnet50.pth"
    assert path.read_bytes() == body
    assert fetch("resnet50") == path
    assert len(site.asked) == 1
    path.write_bytes(b"mine")
    with pytest.raises(DataError, match="is another file than the published one"):
        fetch("resnet50")
    assert path.read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("cifar11", "did you mean cifar10"),
        ("resnet51", "did you mean resnet"),
        ("demo", "have no public address"),
        ("../etc", "There is no data set or model"),
        ("https://example.org/x.tar", "There is no data set or model"),
    ],
)
def test_what_cannot_be_fetched_is_a_sentence(root: Path, name: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        fetch(name)
    assert not root.exists()


def test_an_own_set_has_nothing_to_fetch(root: Path) -> None:
    (root / "mine").mkdir(parents=True)
    (root / "mine" / "a.jpg").write_bytes(jpeg(1))
    with pytest.raises(DataError, match="'mine' is your own set"):
        fetch("mine")


def test_a_data_root_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot be written: .* Set ASH_DATA to another folder"):
        next(fetch_steps("isun", tmp_path / "file"))


def test_the_command_line(root: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, site, "isun", packed(ISUN), count=12)
    result = CliRunner().invoke(main, ["fetch", "isun", "svhm"])
    assert f"isun: {root}/isun/iSUN/iSUN_patches" in result.output
    assert "Error: There is no data set or model 'svhm': did you mean svhn?" in result.output
    assert result.exit_code == 1
    lines = CliRunner().invoke(main, ["data"]).output
    assert "isun                 ood  present     12 images" in lines
    assert "svhn                 ood  missing     10,000 images" in lines


def test_an_interrupt_says_how_to_go_on(root: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    serve(monkeypatch, site, "isun", packed(ISUN), count=12)
    monkeypatch.setattr(downloading, "_write", interrupt)
    result = CliRunner().invoke(main, ["fetch", "isun"])
    assert result.exit_code == 130
    assert "the same command goes on from there" in result.output
    assert not (root / ".isun.lock").exists(), "the lock file goes with the lock"


@pytest.mark.parametrize("name", [name for name, entry in DATASETS.items() if entry.files])
def test_what_the_registry_says_of_a_public_set(name: str) -> None:
    entry = DATASETS[name]
    assert entry.count
    assert entry.licence
    assert entry.rule.endswith(".")
    assert entry.homepage.startswith("http")
    assert all(file.url.startswith(("http://", "https://")) or entry.wall for file in entry.files)
    for file in entry.files:
        kind, _, digits = file.checksum.partition(":")
        assert not file.checksum or (kind == "md5" and len(digits) == 32)
        assert isinstance(file, Archive)


def test_checksums_are_torchvisions() -> None:
    from torchvision import datasets as tv
    from torchvision.datasets.imagenet import ARCHIVE_META

    sums = {
        "cifar10": [tv.CIFAR10.tgz_md5],
        "cifar100": [tv.CIFAR100.tgz_md5],
        "svhn": [tv.SVHN.split_list["test"][2]],
        "dtd": [tv.DTD._MD5],
        "imagenet": [ARCHIVE_META["val"][1], ARCHIVE_META["devkit"][1]],
        "places365": [tv.Places365._IMAGES_META[("test", True)][1]],
    }
    for name, published in sums.items():
        assert [file.checksum for file in DATASETS[name].files] == [f"md5:{one}" for one in published]
