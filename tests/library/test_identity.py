"""What makes a bank: code, images, labels and preprocessing; whatever of it changes, old activations are not used."""

import hashlib
import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ash.bank import SAMPLES, Bank, cache_root, find_bank, open_bank
from ash.data import ArrayImages, CsvImages, DataError, FolderImages, MemoryImages, Subset
from ash.datasets import content
from ash.extracting.takeover import take_over
from ash.extraction import Progress, extract, extract_steps, identity
from ash.files import read_json, write_json
from ash.fitting import fit, fit_path, load_fit, save_fit
from ash.identity import changes
from ash.images import is_read_anew
from ash.models import ModelEntry, Preprocess, get_model
from ash.networks.own import DemoNet

ROOT = Path(__file__).resolve().parents[2]
OLD = 1_600_000_000  # a time long before any bank of these tests


# Images


@pytest.fixture
def entry(tmp_path: Path) -> ModelEntry:
    """The demo network with random weights."""
    torch.manual_seed(0)
    torch.save(DemoNet().state_dict(), tmp_path / "weights.pt")
    return replace(get_model("demo"), checkpoint=tmp_path / "weights.pt")


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A cache for every test."""
    monkeypatch.setenv("ASH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Forty old images in two class folders; a file counts as settled as soon as it is written."""
    monkeypatch.setattr(content, "SETTLED_NS", 0)
    monkeypatch.setattr(content, "FEW", 0)
    rng = np.random.default_rng(0)
    for i in range(40):
        write(tmp_path / "images" / ("cat", "dog")[i % 2] / f"{i:02}.bmp", rng.integers(0, 255, (28, 28)))
    return tmp_path / "images"


def write(path: Path, pixels: np.ndarray) -> None:
    """A file of the same size and the same time, whatever the pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    os.utime(path, (OLD, OLD))


def replaced(folder: Path, name: str = "cat/00.bmp", by_another_file: bool = False) -> None:
    """Another image of the same size, with the same time of change."""
    before = (folder / name).stat()
    target = folder.parent / "new.bmp" if by_another_file else folder / name
    write(target, np.full((28, 28), 7))
    if by_another_file:
        target.rename(folder / name)
    after = (folder / name).stat()
    assert (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)


@pytest.mark.parametrize("by_another_file", [False, True])
def test_a_replaced_image_of_the_same_size_and_time_is_another_bank(
    entry: ModelEntry, folder: Path, by_another_file: bool
) -> None:
    first = extract(entry, "avgpool", FolderImages(folder, "pets"), batch_size=8)
    same = identity(entry, "avgpool", FolderImages(folder, "pets"))
    assert find_bank(same) == first.folder
    replaced(folder, by_another_file=by_another_file)
    data = FolderImages(folder, "pets")
    now = identity(entry, "avgpool", data)
    assert find_bank(now) is None
    assert changes(first.identity, now) == "the content of images has changed"
    steps: list[Progress] = []
    second = extract(entry, "avgpool", data, progress=steps.append, batch_size=8)
    assert "content" in steps[0].note
    assert str(first.folder) in steps[0].note
    assert first.folder.is_dir()
    assert second.folder != first.folder
    assert (np.abs(second.read() - first.read()).max(axis=(1, 2, 3)) > 1e-3).tolist() == [True] + 39 * [False]


def test_files_are_read_once_and_again_when_anything_of_them_changes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    original = content._read
    monkeypatch.setattr(content, "_read", lambda path: read.append(path) or original(path))
    data = FolderImages(folder, "pets")
    first = content.content_of(data).digest
    assert len(read) == 40
    assert content.content_of(FolderImages(folder, "pets")).digest == first == content.known_content(data)
    assert len(read) == 40
    replaced(folder)
    assert content.known_content(FolderImages(folder, "pets")) is None
    assert content.content_of(FolderImages(folder, "pets")).digest != first
    assert len(read) == 41
    assert content.content_of(Subset(data, 4)).digest != first
    assert len(read) == 41, "a subset is known by its own images"


def test_a_file_that_has_just_changed_is_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "SETTLED_NS", 10**12)
    content.content_of(FolderImages(folder, "pets"))
    assert content.known_content(FolderImages(folder, "pets")) is None


def test_damaged_digests_are_not_believed(folder: Path, cache: Path) -> None:
    data = FolderImages(folder, "pets")
    first = content.content_of(data).digest
    (file,) = (cache / "digests").iterdir()
    whole = file.read_bytes()
    for at in (0, 40, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert content.known_content(data) is None
        assert content.content_of(data).digest == first
    file.write_bytes(b"")
    assert content.content_of(data).digest == first


def test_a_cache_that_cannot_be_written_costs_the_reading_again(
    entry: ModelEntry, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_file").touch()
    monkeypatch.setenv("ASH_CACHE", str(tmp_path / "a_file"))  # also for root, whom no permission stops
    data = FolderImages(folder, "pets")
    bank = extract(entry, "avgpool", data, root=tmp_path / "elsewhere")
    assert bank.identity == identity(entry, "avgpool", data)
    assert content.known_content(data) is None


def _digest(folder: Path, results: Any) -> None:
    content.SETTLED_NS = 0
    results.put(content.content_of(FolderImages(folder, "pets")).digest)


@pytest.mark.slow
def test_two_processes_at_once_agree(folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    both = [context.Process(target=_digest, args=(folder, results)) for _ in range(2)]
    for process in both:
        process.start()
    found = {results.get(timeout=120) for _ in both}
    for process in both:
        process.join()
    assert found == {content.content_of(FolderImages(folder, "pets")).digest}
    assert content.known_content(FolderImages(folder, "pets"))


def test_an_image_that_changes_while_it_is_extracted_makes_no_bank(entry: ModelEntry, folder: Path) -> None:
    data = FolderImages(folder, "pets")
    steps = extract_steps(entry, "avgpool", data, batch_size=8)
    next(steps)
    replaced(folder, "dog/39.bmp")
    with pytest.raises(DataError, match=r"39\.bmp"):
        list(steps)
    again = FolderImages(folder, "pets")
    bank = extract(entry, "avgpool", again, batch_size=8)
    assert bank.identity.content == content.content_of(again).digest


def test_a_list_with_other_labels_and_preprocessing_make_another_bank(entry: ModelEntry, folder: Path) -> None:
    table = folder / "list.csv"
    table.write_text("image,label\ncat/00.bmp,0\ndog/01.bmp,1\n")
    first = extract(entry, "avgpool", CsvImages(table, "mine"))
    table.write_text("image,label\ncat/00.bmp,1\ndog/01.bmp,0\n")
    second = identity(entry, "avgpool", CsvImages(table, "mine"))
    assert find_bank(second) is None
    assert first.identity.content == second.content
    one = identity(entry, "avgpool", FolderImages(folder, "pets"))
    moved = replace(entry, preprocess=replace(entry.preprocess, mean=(0.5,)))
    assert changes(one, identity(moved, "avgpool", FolderImages(folder, "pets"))) == ("the preprocessing has changed")


def test_images_that_odin_moves_make_another_bank_for_every_step(entry: ModelEntry, folder: Path) -> None:
    data = FolderImages(folder, "pets")
    keys = {identity(entry, "avgpool", data, epsilon=step).key for step in (0.0, 0.001, 0.002)}
    assert len(keys) == 3


def test_code_of_the_users_counts_by_what_it_gives(entry: ModelEntry, folder: Path) -> None:
    strength = 1.0

    class Darker(FolderImages):
        def image(self, index: int) -> Image.Image:
            return super().image(index).point(lambda value: value * strength)

    class Own(Preprocess):
        def build(self) -> Any:
            built = super().build()
            built.transforms[-1] = type(built.transforms[-1])((strength,), (1.0,))
            return built

    mine = replace(entry, preprocess=Own(28, 28, (0.3,), (0.4,)))
    assert content.content_of(Darker(folder, "x")) == content.content_of(Darker(folder, "x"))
    before = content.content_of(Darker(folder, "x")), identity(mine, "avgpool", FolderImages(folder, "x"))
    assert before[1] == identity(mine, "avgpool", FolderImages(folder, "x"))
    strength = 0.5
    after = content.content_of(Darker(folder, "x")), identity(mine, "avgpool", FolderImages(folder, "x"))
    assert before[0] != after[0]
    assert before[1].transform != after[1].transform
    arrays = [MemoryImages(np.full((2, 8, 8), value, np.uint8), None, "x", "x") for value in (1, 1, 2)]
    assert [content.content_of(arrays[0]) == content.content_of(one) for one in arrays] == [True, True, False]


def test_images_as_stored_and_other_shapes_of_the_same_bytes_are_other_content(folder: Path) -> None:
    told = {content.content_of(FolderImages(folder, "x", upright=upright)).digest for upright in (True, False)}
    assert len(told) == 2

    class Strip(FolderImages):
        size = (2, 8)

        def image(self, index: int) -> Image.Image:
            return Image.new("L", self.size)

    class Square(Strip):
        size = (4, 4)

    assert content.content_of(Strip(folder, "x")).digest != content.content_of(Square(folder, "x")).digest


# Networks whose code was corrected


def test_a_corrected_network_is_extracted_beside_the_old_activations(entry: ModelEntry, folder: Path) -> None:
    class Corrected(DemoNet):
        def forward(self, x: Tensor) -> Tensor:
            x = self.layer4(self.layer3(self.layer2(self.layer1(self.relu(self.bn1(self.conv1(x)))))))
            return self.fc(self.flatten(self.avgpool(x * 2)))

    data = FolderImages(folder, "pets")
    old = extract(entry, "avgpool", data)
    new = replace(entry, architecture=Corrected)
    steps: list[Progress] = []
    bank = extract(new, "avgpool", data, progress=steps.append)
    assert steps[0].note.count("the network's code has changed") == 1
    np.testing.assert_allclose(bank.read(), 2 * old.read(), rtol=1e-4, atol=1e-5)
    assert open_bank(old.identity).folder == old.folder
    again: list[Progress] = []
    extract(new, "avgpool", data, progress=again.append)
    assert [step.note for step in again] == [""]
    fitted = fit(old)
    with pytest.raises(ValueError, match="code"):
        fitted.check(bank.identity)


# Banks of before


def made_earlier(bank: Bank) -> Path:
    """The same bank as it was made before content and code were told, and before files bore checksums."""
    manifest = read_json(bank.folder / "manifest.json")
    del manifest[SAMPLES]
    folder = cache_root() / bank.identity.earlier.folder
    shutil.move(bank.folder, folder)
    manifest["identity"] = bank.identity.earlier.fields
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    (folder / "plan.json").unlink()
    return folder


def files_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


@pytest.fixture
def earlier(entry: ModelEntry, folder: Path) -> Path:
    """A bank of before, whose images are two seconds older than it."""
    time.sleep(1.1)  # its date is kept in whole seconds
    return made_earlier(extract(entry, "avgpool", FolderImages(folder, "pets"), batch_size=8))


def test_an_untouched_earlier_bank_is_taken_over_as_it_is(
    entry: ModelEntry, folder: Path, earlier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, data = files_of(earlier), FolderImages(folder, "pets")
    old = Bank(earlier)
    save_fit(fit(old))
    assert fit_path(old.identity).parent == earlier
    bank = extract(entry, "avgpool", data)
    assert bank.folder == earlier
    assert bank.identity == identity(entry, "avgpool", data)
    after = files_of(earlier)
    assert {name: after[name] for name in before if name != "manifest.json"} == {
        name: file for name, file in before.items() if name != "manifest.json"
    }
    manifest = read_json(earlier / "manifest.json")
    assert manifest.pop(SAMPLES), "a checksum that banks of before have not is added"
    assert manifest == json.loads(before["manifest.json"][0])
    assert [path.name for path in earlier.parent.iterdir()] == [earlier.name]
    kept = load_fit(bank.identity)
    assert kept is not None
    assert kept.identity == bank.identity, "its fit goes with it"
    monkeypatch.setattr("ash.extracting.takeover._computed", lambda *_: pytest.fail("it was proved already"))
    monkeypatch.setattr("ash.bank._taken", {})
    assert open_bank(bank.identity).folder == earlier
    assert take_over(entry, data, bank.identity) == earlier


def test_an_earlier_bank_of_changed_images_or_code_is_not_taken_over(
    entry: ModelEntry, folder: Path, earlier: Path
) -> None:
    data = FolderImages(folder, "pets")

    class Doubled(DemoNet):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x * 2)

    corrected = replace(entry, architecture=Doubled)
    assert take_over(corrected, data, identity(corrected, "avgpool", data)) is None
    assert take_over(entry, data, identity(entry, "avgpool", data)) == earlier
    replaced(folder, "dog/39.bmp")
    data = FolderImages(folder, "pets")
    steps: list[Progress] = []
    bank = extract(entry, "avgpool", data, progress=steps.append)
    assert bank.folder != earlier
    assert earlier.is_dir()
    assert "newer" in steps[0].note


def test_an_earlier_bank_that_is_damaged_later_is_mended_where_it_is(
    entry: ModelEntry, folder: Path, earlier: Path
) -> None:
    data = FolderImages(folder, "pets")
    before = extract(entry, "avgpool", data).read().copy()
    shard = earlier / "shard-00000.npy"
    shard.write_bytes(shard.read_bytes()[:-4] + b"junk")
    bank = extract(entry, "avgpool", data)
    assert bank.folder == earlier
    assert not bank.damaged()
    np.testing.assert_allclose(bank.read(), before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("taken_over", [False, True])
def test_a_bank_that_was_labelled_otherwise_is_labelled_anew_where_it_is(
    entry: ModelEntry, folder: Path, taken_over: bool
) -> None:
    time.sleep(1.1)  # the date of a bank of before is kept in whole seconds
    data = FolderImages(folder, "pets")
    made = extract(entry, "avgpool", data, batch_size=8)
    labels, at = made.labels.tolist(), made_earlier(made) if taken_over else made.folder
    listed = (at / "samples.csv").read_text().replace(",-1\n", ",3\n")
    (at / "samples.csv").write_text(listed)
    manifest = read_json(at / "manifest.json")
    write_json(at / "manifest.json", {**manifest, SAMPLES: hashlib.sha256(listed.encode()).hexdigest()})
    (at / "shard-00007.lock").touch()  # of a process that was killed
    assert set(Bank(at).labels.tolist()) == {3}
    shards = {name: file for name, file in files_of(at).items() if name.startswith("shard-") and name[-4:] == ".npy"}
    for _ in range(2):
        bank = extract(entry, "avgpool", data)
        assert bank.folder == at
        assert bank.identity == identity(entry, "avgpool", data)
        assert bank.labels.tolist() == labels
        assert shards.items() <= files_of(at).items(), "the activations are not computed again"
        assert not list(at.glob("*.lock"))
        assert find_bank(bank.identity) == at


def test_what_ships_belongs_to_the_code_that_it_was_made_with(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = get_model("demo")
    path = ROOT / "assets" / "demo" / "images" / "digits.npz"
    who = identity(entry, "avgpool", ArrayImages(path, "digits", "Digits"))
    assert find_bank(who) is not None
    assert find_bank(replace(who, code="0" * 64)) is None


def test_images_that_are_turned_now_are_told_from_those_that_are_read_as_before(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (3, 2)).save(folder / "turned.png", exif=exif)
    Image.new("F", (3, 2)).save(folder / "fractions.tiff")
    told = {path.name: is_read_anew(str(path)) for path in (folder / "turned.png", folder / "fractions.tiff")}
    assert told == {"turned.png": True, "fractions.tiff": True}
    assert not is_read_anew(str(folder / "dog" / "37.bmp"))
    assert content.is_upright(FolderImages(folder, "pets"))
