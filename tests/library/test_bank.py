"""Banks: extraction resumes to the same bytes, damage is found and named, broken images are skipped and named."""

import gzip
import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ash
from ash.bank import (
    BUNDLED,
    SAMPLES,
    Bank,
    BankError,
    BankIdentity,
    cache_root,
    delete_bank,
    find_bank,
    list_banks,
    open_bank,
    verify_steps,
)
from ash.data import FolderImages, Subset
from ash.extracting import shards
from ash.extraction import extract, extract_steps, identity
from ash.files import read_json, write_json
from ash.models import ModelEntry, ModelError, get_model
from ash.networks.own import DemoNet

COUNT = 230


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> ModelEntry:
    """The demo network with random weights."""
    path = tmp_path_factory.mktemp("weights") / "weights.pt"
    torch.manual_seed(0)
    torch.save(DemoNet().state_dict(), path)
    return replace(get_model("demo"), checkpoint=path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two class folders of images, one of them broken."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for i in range(COUNT):
        path = root / ("cat", "dog")[i % 2] / f"{i:03}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (28, 28), dtype=np.uint8)).save(path)
    (root / "dog" / "017.png").write_bytes(b"junk")
    return root


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD_ROWS", 50)


def content(bank: Bank) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in bank.folder.iterdir() if path.name != "provenance.json"}


def test_a_bank_holds_the_stems_activations(entry: ModelEntry, folder: Path, tmp_path: Path) -> None:
    data, entry = FolderImages(folder, "pets"), replace(entry, class_names=("cat", "dog", *entry.classes[2:]))
    bank = extract(entry, "penultimate", data, root=tmp_path, batch_size=16)
    assert bank.shape == (COUNT - 1, 192, 1, 1)
    assert "dog/017.png" not in bank.names
    assert bank.skipped[0]["reason"].startswith("dog/017.png is not an image in a known format")
    assert bank.labels.tolist() == [0 if name.startswith("cat/") else 1 for name in bank.names]
    stem, _ = ash.split(entry.build(), "avgpool")
    row = bank.names.index("dog/019.png")
    image = data.image(data.names.index("dog/019.png"))
    with torch.inference_mode():
        expected = stem(entry.preprocess.build()(image)[None])[0]
    np.testing.assert_allclose(bank[row], expected, rtol=1e-4, atol=1e-5)
    for rows in (1, 7, 33, 49, 50, 51, COUNT):  # of shards of 50
        parts = list(bank.chunks(rows))
        assert max(map(len, parts)) <= rows
        np.testing.assert_array_equal(np.concatenate(parts), bank.read())
    assert bank.provenance["versions"]["torch"] == torch.__version__


def test_stopping_anywhere_and_resuming_gives_the_same_bytes(entry: ModelEntry, folder: Path, tmp_path: Path) -> None:
    data = FolderImages(folder, "pets")
    whole = content(extract(entry, "avgpool", data, root=tmp_path / "whole", batch_size=16))
    for stop in (1, 4, 9):
        steps = extract_steps(entry, "avgpool", data, root=tmp_path / "cut", batch_size=16)
        for _ in range(stop):
            step = next(steps)
        steps.close()
    again = list(extract_steps(entry, "avgpool", data, root=tmp_path / "cut", batch_size=16))
    assert again[0].done >= step.done - 50, "finished shards are not computed again"
    assert again[-1].done == COUNT
    assert content(open_bank(identity(entry, "avgpool", data), tmp_path / "cut")) == whole


def test_batch_size_and_workers_do_not_change_a_bank(entry: ModelEntry, folder: Path, tmp_path: Path) -> None:
    data = FolderImages(folder, "pets")
    one = extract(entry, "avgpool", data, root=tmp_path / "1", batch_size=16)
    two = extract(entry, "avgpool", data, root=tmp_path / "2", batch_size=16, workers=2)
    large = extract(entry, "avgpool", data, root=tmp_path / "3", batch_size=64)
    assert content(one) == content(two)
    np.testing.assert_allclose(large.read(), one.read(), rtol=1e-4, atol=1e-5)


def test_damage_is_named_and_only_that_shard_rebuilt(entry: ModelEntry, folder: Path, tmp_path: Path) -> None:
    data = FolderImages(folder, "pets")
    bank = extract(entry, "avgpool", data, root=tmp_path)
    whole = content(bank)
    bad = bank.folder / "shard-00002.npy"
    flipped = bytearray(bad.read_bytes())
    flipped[-5] ^= 1
    bad.write_bytes(flipped)
    (bank.folder / "shard-00001.npy").write_bytes(b"")
    fresh = Bank(bank.folder)
    assert fresh.damaged() == ["shard-00001.npy", "shard-00002.npy"]
    with pytest.raises(BankError, match=r"shard-00001.npy .* damaged; run the extraction again"):
        fresh.read()
    assert fresh[0] is not None
    first = next(extract_steps(entry, "avgpool", data, root=tmp_path))
    assert first.done == COUNT - 100
    assert content(extract(entry, "avgpool", data, root=tmp_path)) == whole


def test_another_identity_is_another_bank(entry: ModelEntry, folder: Path, tmp_path: Path) -> None:
    data = FolderImages(folder, "pets")
    who = identity(entry, "avgpool", data)
    extract(entry, "avgpool", data, root=tmp_path)
    other = tmp_path / "other.pt"
    torch.save(DemoNet().state_dict(), other)
    changed = [
        identity(replace(entry, checkpoint=other), "avgpool", data),
        identity(entry, "layer4.0.relu2", data),
        identity(entry, "avgpool", Subset(data, 20)),
        identity(entry, "avgpool", data, "float16"),
        identity(entry, "avgpool", data, precision="bfloat16"),
        identity(entry, "avgpool", data, epsilon=0.01),
        identity(replace(entry, preprocess=replace(entry.preprocess, mean=(0.5,))), "avgpool", data),
    ]
    assert len({who.key, *(one.key for one in changed)}) == 1 + len(changed)
    assert find_bank(who, tmp_path)
    for one in changed:
        with pytest.raises(BankError, match="There is no bank"):
            open_bank(one, tmp_path)


def test_banks_keep_the_key_that_they_had_before_content_and_code_were_told() -> None:
    who = BankIdentity("net", "w", "fc", "t", "set", "f", content="c", code="d")
    assert who.earlier == BankIdentity("net", "w", "fc", "t", "set", "f")
    assert who.earlier.key == "c1e35756d49c"
    assert len({who.key, who.earlier.key, BankIdentity("net", "w", "fc", "t", "set", "f", content="c").key}) == 3


def test_a_damaged_or_foreign_manifest_is_one_sentence(entry: ModelEntry, folder: Path, tmp_path: Path) -> None:
    data = Subset(FolderImages(folder, "pets"), 20)
    bank = extract(entry, "avgpool", data, root=tmp_path)
    manifest = bank.folder / "manifest.json"
    good = read_json(manifest)
    for damage in ("", "[1]", "{}", '{"identity": 3}'):
        manifest.write_text(damage)
        with pytest.raises(BankError, match="delete it and extract again"):
            open_bank(bank.identity, tmp_path)
    for wrong in ({"rows": good["rows"] + 1}, {"shards": []}, {"shards": good["shards"] * 2}):
        write_json(manifest, {**good, **wrong})
        with pytest.raises(BankError, match="delete it and extract again"):
            open_bank(bank.identity, tmp_path)
    good["identity"]["placement"] = "layer4"
    write_json(manifest, good)
    with pytest.raises(BankError, match="belongs to another bank"):
        open_bank(bank.identity, tmp_path)


def test_a_folder_that_cannot_be_written_is_one_sentence(entry: ModelEntry, folder: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(BankError, match=r"cannot be written: Not a directory\. Set ASH_CACHE"):
        extract(entry, "avgpool", FolderImages(folder, "pets"), root=blocked)


def test_nothing_but_broken_images_is_one_sentence(entry: ModelEntry, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.jpg"):
        (tmp_path / "images" / name).write_bytes(b"junk")
    with pytest.raises(BankError, match=r"None of the 2 images of broken is readable; first: a\.png"):
        extract(entry, "avgpool", FolderImages(tmp_path / "images", "broken"), root=tmp_path / "banks")


def test_float16_banks_round_and_refuse_what_overflows(entry: ModelEntry, folder: Path, tmp_path: Path) -> None:
    data = Subset(FolderImages(folder, "pets"), 20)
    half = extract(entry, "avgpool", data, root=tmp_path, dtype="float16").read()
    full = extract(entry, "avgpool", data, root=tmp_path).read()
    np.testing.assert_allclose(half, full, rtol=1e-3, atol=1e-4)
    assert half.dtype == np.float16
    state = {
        name: value * 1e9 if value.is_floating_point() and "fc" not in name else value
        for name, value in DemoNet().state_dict().items()
    }
    torch.save(state, tmp_path / "huge.pt")
    with pytest.raises(BankError, match="not finite in float16"):
        extract(replace(entry, checkpoint=tmp_path / "huge.pt"), "avgpool", data, root=tmp_path, dtype="float16")


class TestCheckpoints:
    """Weights of another network are refused with the first mismatches; wrappers and prefixes are understood."""

    def test_wrapped_and_prefixed_weights_load(self, entry: ModelEntry, tmp_path: Path) -> None:
        state = {f"module.{name}": value for name, value in entry.build().state_dict().items()}
        torch.save({"epoch": 3, "state_dict": state}, tmp_path / "wrapped.pt")
        wrapped = replace(entry, checkpoint=tmp_path / "wrapped.pt").build()
        assert torch.equal(wrapped.fc.weight, entry.build().fc.weight)

    def test_other_networks_junk_and_code_are_refused(self, entry: ModelEntry, tmp_path: Path) -> None:
        path = tmp_path / "weights.pt"
        bad = replace(entry, checkpoint=path)
        with pytest.raises(ModelError, match="There is no checkpoint"):
            bad.build()
        torch.save({**DemoNet().state_dict(), "fc.weight": torch.ones(7, 192)}, path)
        with pytest.raises(ModelError, match=r"fc.weight has the shape \(7, 192\), expected \(10, 192\)"):
            bad.build()
        torch.save({"net.weight": torch.ones(3)}, path)
        with pytest.raises(ModelError, match=r"conv1\.weight is missing; bn1\.weight is missing"):
            bad.build()
        torch.save(DemoNet(), path)
        with pytest.raises(ModelError, match="not a checkpoint that loads with weights_only=True"):
            bad.build()
        path.write_bytes(b"junk")
        with pytest.raises(ModelError, match="not a checkpoint"):
            bad.build()
        torch.save([1, 2], path)
        with pytest.raises(ModelError, match="holds no state_dict"):
            bad.build()


class TestHousekeeping:
    """Listing, verifying and deleting banks."""

    @pytest.fixture
    def bank(self, entry: ModelEntry, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bank:
        monkeypatch.setenv("ASH_CACHE", str(tmp_path))
        return extract(entry, "avgpool", FolderImages(folder, "pets"))

    def test_banks_are_listed_complete_or_not(self, bank: Bank, entry: ModelEntry, folder: Path) -> None:
        steps = extract_steps(entry, "layer4.0.relu2", FolderImages(folder, "pets"))
        next(steps)
        steps.close()
        mine = [info for info in list_banks() if not info.bundled]
        assert [(info.complete, info.rows) for info in mine] == [(True, COUNT - 1), (False, 0)]
        assert [info.identity.placement for info in mine if info.identity] == ["avgpool", "layer4.0.relu2"]
        assert mine[0].folder == bank.folder
        assert mine[0].bytes == sum(path.stat().st_size for path in bank.folder.iterdir())
        bundled = [info for info in list_banks() if info.bundled]
        assert bundled
        assert all(info.complete for info in bundled)
        (bank.folder / "manifest.json").write_text("{")
        assert [info.complete for info in list_banks(cache_root())] == [False, False]
        assert list_banks(cache_root() / "nowhere") == []

    def test_verification_names_damaged_shards(self, bank: Bank) -> None:
        (bank.folder / "shard-00003.npy").unlink()
        steps = verify_steps(bank.folder)
        assert [(step.done, step.total) for step in (next(steps) for _ in range(6))] == [(i, 5) for i in range(6)]
        with pytest.raises(StopIteration) as end:
            next(steps)
        assert end.value.value == ["shard-00003.npy"]

    def test_only_banks_of_the_cache_are_deleted(self, bank: Bank, tmp_path: Path) -> None:
        outside = tmp_path / "a" / "b" / "c"
        outside.mkdir(parents=True)
        bundled = next(info.folder for info in list_banks() if info.bundled)
        for other in (outside, bundled, cache_root(), bank.folder.parent, bank.folder / "..", Path("/")):
            with pytest.raises(BankError, match="is no bank in the cache"):
                delete_bank(other)
        with pytest.raises(BankError, match="There is no bank"):
            delete_bank(bank.folder.with_name("nothing"))
        delete_bank(bank.folder)
        assert not bank.folder.exists()
        assert [info for info in list_banks() if not info.bundled] == []

    def test_a_bank_at_work_is_not_deleted(self, bank: Bank, entry: ModelEntry, folder: Path) -> None:
        (bank.folder / "shard-00003.npy").unlink()
        steps = extract_steps(entry, "avgpool", FolderImages(folder, "pets"))
        next(steps)
        with pytest.raises(BankError, match="is being extracted: cancel that, or wait"):
            delete_bank(bank.folder)
        steps.close()
        delete_bank(bank.folder)
        assert not bank.folder.exists()


@pytest.mark.parametrize("change", [1, -1])
def test_a_list_of_samples_of_another_length_is_refused(tmp_path: Path, change: int) -> None:
    found = next(folder for folder in (BUNDLED / "demo" / "avgpool").iterdir() if folder.name.startswith("digits-"))
    copied = shutil.copytree(found, tmp_path / "bank")
    lines = gzip.decompress((copied / "samples.csv.gz").read_bytes()).splitlines(keepends=True)
    changed = b"".join([*lines, lines[-1]] if change > 0 else lines[:-1])
    (copied / "samples.csv.gz").write_bytes(gzip.compress(changed))
    stated = {**read_json(copied / "manifest.json"), SAMPLES: hashlib.sha256(changed).hexdigest()}
    write_json(copied / "manifest.json", stated)
    with pytest.raises(BankError, match=rf"{1000 + change} of 1000 rows"):
        _ = Bank(copied).names
