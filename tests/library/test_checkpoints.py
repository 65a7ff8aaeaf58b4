"""Weights load strictly whatever a training script wrapped them in, and any other file is refused with its reason."""

import argparse
import os
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import densenet121, mnasnet0_5, resnet18

from ash.files import file_hash
from ash.models import ModelError, get_model
from ash.networks.checkpoints import checksum_path, damage, load_weights, not_as_fetched, weights_hash
from ash.networks.own import DemoNet


def saved(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


def same(model: nn.Module, other: nn.Module) -> bool:
    state = other.state_dict()
    return all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.pth"


class TestAccepted:
    """Wrappers, prefixes, old names and old formats."""

    @pytest.mark.parametrize("wrapper", ["", "state_dict", "model", "net", "ema", "model_ema"])
    @pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "net.", "model.module.", "ema."])
    @pytest.mark.parametrize("zipped", [True, False])
    def test_wrappers_and_prefixes(self, wrapper: str, prefix: str, zipped: bool, path: Path) -> None:
        trained, fresh = DemoNet(), DemoNet()
        state = {prefix + name: value for name, value in trained.state_dict().items()}
        content = {"epoch": 3, wrapper: state} if wrapper else state
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        load_weights(fresh, path)
        assert same(trained, fresh)

    @pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
    def test_safetensors(self, prefix: str, tmp_path: Path) -> None:
        trained, fresh = DemoNet(), DemoNet()
        path = tmp_path / "weights.safetensors"
        save_file({prefix + name: value for name, value in trained.state_dict().items()}, path)
        load_weights(fresh, path, weights_hash(path))
        assert same(trained, fresh)
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(ModelError, match=r"no \.safetensors file, or is damaged"):
            load_weights(fresh, path)

    def test_the_mean_of_weights_is_taken_where_it_is_alone(self, path: Path) -> None:
        trained, mean, fresh = DemoNet(), DemoNet(), DemoNet()
        both = {"ema": mean.state_dict(), "net": {"state_dict": trained.state_dict()}}
        load_weights(fresh, saved(both, path))
        assert same(trained, fresh)
        load_weights(fresh, saved({"ema": both["ema"]}, path))
        assert same(mean, fresh)

    def test_torchvisions_densenet_files_have_old_names(self, path: Path) -> None:
        trained, fresh = densenet121(weights=None), densenet121(weights=None)
        old = {re.sub(r"(norm|conv)([12])\.", r"\1.\2.", name): v for name, v in trained.state_dict().items()}
        assert "features.denseblock1.denselayer1.norm.1.weight" in old
        load_weights(fresh, saved(old, path))
        assert same(trained, fresh)

    def test_counters_that_old_files_lack_and_versions_that_plain_dicts_lack(self, path: Path) -> None:
        trained, fresh = mnasnet0_5(weights=None), mnasnet0_5(weights=None)
        state = {name: value for name, value in trained.state_dict().items() if "num_batches" not in name}
        load_weights(fresh, saved(dict(state), path))
        assert same(trained, fresh)


class TestRefused:
    """One sentence: which file, what is wrong with it, what to do."""

    def test_another_network_is_named_by_its_first_names_and_shapes(self, path: Path) -> None:
        with pytest.raises(ModelError) as refused:
            load_weights(DemoNet(), saved(resnet18().state_dict(), path))
        sentence = str(refused.value)
        assert f"{path} is not a checkpoint of DemoNet: " in sentence
        assert "conv1.weight has the shape (64, 3, 7, 7), expected (16, 1, 3, 3)" in sentence
        assert "layer1.1.conv1.weight (64, 64, 3, 3) is not in the network" in sentence
        assert "more like it" in sentence
        assert len(sentence) < 600
        with pytest.raises(
            ModelError, match=r"conv1\.weight is missing; bn1\.weight is missing; and 60 more like it; a"
        ):
            load_weights(DemoNet(), saved({"a": torch.ones(3)}, path))

    @pytest.mark.parametrize("share", [0, 10, 0.01, 0.5, 0.999])
    @pytest.mark.parametrize("zipped", [True, False])
    def test_a_half_downloaded_file(self, share: float, zipped: bool, path: Path) -> None:
        torch.save(DemoNet().state_dict(), path, _use_new_zipfile_serialization=zipped)
        whole = path.read_bytes()
        path.write_bytes(whole[: share if isinstance(share, int) else int(share * len(whole))])
        sentence = r"weights.pth \([\d,]+ bytes\) is not a checkpoint: it is damaged or only half downloaded; get it"
        with pytest.raises(ModelError, match=sentence):
            load_weights(DemoNet(), path)

    def test_code_is_not_run(self, path: Path) -> None:
        advice = r"save model\.state_dict\(\) instead"
        with pytest.raises(ModelError, match=rf"weights_only=True: it holds a pickled ash.networks.own.Demo.*{advice}"):
            load_weights(DemoNet(), saved(DemoNet(), path))
        mixed = {"model": DemoNet().state_dict(), "args": argparse.Namespace(lr=1)}
        with pytest.raises(ModelError, match=r"it holds a pickled argparse\.Namespace, not only tensors"):
            load_weights(DemoNet(), saved(mixed, path))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.save(torch.jit.script(DemoNet()), path)
            with pytest.raises(ModelError, match=f"it holds a TorchScript program; {advice}"):
                load_weights(DemoNet(), path)

    @pytest.mark.parametrize("content", [b"<!DOCTYPE html><html>", b"{}", b"PK\x03\x04"])
    def test_other_files(self, content: bytes, path: Path) -> None:
        path.write_bytes(content)
        with pytest.raises(ModelError, match="is not a checkpoint") as refused:
            load_weights(DemoNet(), path)
        assert "arbitrary code" not in str(refused.value)

    def test_no_state_dict(self, path: Path) -> None:
        with pytest.raises(ModelError, match="holds no state_dict: save one"):
            load_weights(DemoNet(), saved([1, 2], path))
        with pytest.raises(ModelError, match=r"holds no state_dict \(its keys: weights, epoch\)"):
            load_weights(DemoNet(), saved({"weights": DemoNet().state_dict(), "epoch": 3}, path))

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match="is a folder; give the checkpoint file"):
            load_weights(DemoNet(), tmp_path)
        with pytest.raises(ModelError, match=r"There is no checkpoint .*none.pth"):
            load_weights(DemoNet(), tmp_path / "none.pth")


def test_another_file_of_the_same_size_and_time_has_another_hash(tmp_path: Path) -> None:
    """As weights have that were unpacked, or copied with their times, in place of others of the same network."""
    path, other = tmp_path / "w.pt", tmp_path / "other" / "w.pt"
    other.parent.mkdir()
    for file, value in ((path, 1.0), (other, 2.0)):
        torch.save({"w": torch.full((4,), value)}, file)
        os.utime(file, ns=(10**18, 10**18))
    before, seen = weights_hash(path), path.stat()
    other.replace(path)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (seen.st_size, seen.st_mtime_ns)
    assert weights_hash(path) != before


class TestOwnFilesThatAreDamaged:
    """torch.load does not compare the checksums in its files; nobody else states those of a file of one's own."""

    def test_a_flipped_byte_gives_the_same_weights_or_a_sentence(self, path: Path) -> None:
        entry, whole = get_model("demo").with_checkpoint(path), DemoNet()
        torch.save(whole.state_dict(), path)
        content, refused = path.read_bytes(), []
        for at in np.random.default_rng(0).integers(0, len(content), 60):
            path.write_bytes(content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :])
            try:
                assert same(entry.build(), whole), f"byte {at}"  # of the padding
            except ModelError as error:
                refused.append(str(error))
        assert len(refused) > 50
        assert all(str(path) in one for one in refused)
        path.write_bytes(content[:-1000])
        with pytest.raises(ModelError, match="half downloaded"):
            entry.weights_hash()
        path.write_bytes(content)
        assert same(entry.build(), whole)

    @pytest.mark.parametrize(
        ("content", "what"),
        [
            (b"", "half downloaded"),
            (b"<html>", "torch.save, as it is by default, has not written it"),
            (bytes(99), "has not written it"),
        ],
    )
    def test_what_is_no_file_of_weights_is_known_before_it_is_loaded(
        self, content: bytes, what: str, path: Path
    ) -> None:
        path.write_bytes(content)
        assert what in get_model("demo").with_checkpoint(path).fault()

    def test_files_of_other_forms_are_known_before_they_are_loaded(self, tmp_path: Path) -> None:
        safe, zipped = tmp_path / "x.safetensors", tmp_path / "x.pt"
        save_file(DemoNet().state_dict(), safe)
        content = safe.read_bytes()
        assert damage(safe) == ""
        for other in (content[: len(content) // 2], content + b"more", content[:5], b"PK\x03\x04" + content):
            safe.write_bytes(other)
            assert "no .safetensors file, or is damaged" in damage(safe)
        zipped.write_bytes(content)
        assert damage(zipped).endswith("give its name the end .safetensors.")
        with zipfile.ZipFile(zipped, "w") as archive:
            archive.writestr("picture.png", b"no weights")
        assert damage(zipped).endswith("torch.save, as it is by default, has not written it.")
        torch.jit.script(nn.Sequential(nn.Flatten())).save(str(zipped))
        assert "TorchScript" in damage(zipped)

    def test_what_zipfile_says_of_its_own_objects_is_not_repeated(self, path: Path) -> None:
        torch.save(DemoNet().state_dict(), path)
        content = path.read_bytes()
        at = content.index(b"PK\x01\x02") + 8  # the flags of a part: one bit says that it is encrypted
        path.write_bytes(content[:at] + bytes([content[at] | 1]) + content[at + 1 :])
        said = get_model("demo").with_checkpoint(path).fault()
        assert said.endswith("is damaged or only half downloaded: get it again.")

    def test_a_file_without_checksums_is_taken_as_it_is(self, path: Path) -> None:
        whole = DemoNet()
        torch.serialization.set_crc32_options(False)
        try:
            torch.save(whole.state_dict(), path)
        finally:
            torch.serialization.set_crc32_options(True)
        assert same(get_model("demo").with_checkpoint(path).build(), whole)
        torch.save(whole.state_dict(), path, _use_new_zipfile_serialization=False)
        assert same(get_model("demo").with_checkpoint(path).build(), whole)


def test_fetched_weights_stay_the_published_ones(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(b"\x80published")  # as torch.save began before it left checksums
    digest = file_hash(path)
    assert not_as_fetched(path, digest, digest[:8]) == ""
    assert checksum_path(path).is_file(), "noted at the first use"
    assert "delete it and fetch it again" in not_as_fetched(path, "0" * 64, digest[:8])
    checksum_path(path).unlink()
    assert not_as_fetched(path, "0" * 64, digest[:8]) == "", "the user's own file under this name"
    named = tmp_path / f"net-{digest[:8]}.pth"
    assert "damaged" in not_as_fetched(named, "0" * 64, digest[:8])


class TestStrictCheckpoints:
    """Kinds of number, not only names and shapes."""

    @pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
    def test_other_precisions_load(self, tmp_path: Path, kind: torch.dtype) -> None:
        state = {k: v.to(kind) if v.is_floating_point() else v for k, v in DemoNet().state_dict().items()}
        torch.save(state, tmp_path / "x.pt")
        load_weights(DemoNet(), tmp_path / "x.pt")

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            (lambda x: x.to(torch.int64), "fc.weight holds whole numbers"),
            (lambda x: x > 0, "fc.weight holds true/false numbers"),
            (lambda x: x.to(torch.complex64), "fc.weight holds complex numbers"),
            (lambda x: x.to_sparse(), "fc.weight is sparse"),
            (lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8), "quantised"),
            (lambda x: x.to("meta"), "fc.weight has no values"),
            (lambda x: x.fill_(torch.nan), "fc.weight holds NaN"),
        ],
    )
    def test_one_sentence_each(self, tmp_path: Path, change: Callable[[torch.Tensor], Any], sentence: str) -> None:
        state = DemoNet().state_dict()
        state["fc.weight"] = change(state["fc.weight"].clone())
        torch.save(state, tmp_path / "x.pt")
        with pytest.raises(ModelError, match=sentence):
            load_weights(DemoNet(), tmp_path / "x.pt")

    def test_a_name_with_and_without_its_prefix(self, tmp_path: Path) -> None:
        state = DemoNet().state_dict()
        torch.save({**state, "module.fc.bias": state["fc.bias"]}, tmp_path / "x.pt")
        with pytest.raises(ModelError, match=r"module\.fc\.bias .*is not in the network"):
            load_weights(DemoNet(), tmp_path / "x.pt")

    def test_bytes_that_are_not_those_that_were_hashed(self, tmp_path: Path) -> None:
        torch.save(DemoNet().state_dict(), tmp_path / "x.pt")
        with pytest.raises(ModelError, match="changed while it was in use"):
            load_weights(DemoNet(), tmp_path / "x.pt", "0" * 64)
