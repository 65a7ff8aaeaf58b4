"""Networks of timm by name, untrained: cut where the logits are made, with the transform and classes that timm says."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

import ash
from app.link.spec import RunSpec, from_query, to_query
from ash import fetching
from ash.__main__ import main
from ash.bank import BankIdentity
from ash.data import DataError, MemoryImages
from ash.fetching import FetchProgress
from ash.identity import Recipe
from ash.models import ModelError, cuts_of, get_model, offered_models
from ash.networks import timm_models
from ash.networks.checkpoints import find_weights
from ash.networks.known_codes import code_of

timm = pytest.importorskip("timm", reason="timm is not installed")
CUT = {  # name -> values that enter the head; each once went wrong, or is another kind of head
    "resnetv2_18": 512,
    "mobilenetv3_small_050": 1024,
    "ghostnet_050": 1280,
    "regnetx_002": 368,
    "vit_tiny_patch16_224": 192,
    "levit_128s": 384,
    "efficientformerv2_s0": 176,
}


@pytest.fixture
def data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root without weights, and no other program's cache."""
    monkeypatch.setenv("ASH_DATA", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "checkpoints").mkdir()
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("name", CUT)
@torch.inference_mode()
def test_the_penultimate_tensor_is_what_timm_says_it_is(name: str) -> None:
    entry = get_model(f"timm/{name}")
    network: Any = entry.architecture().eval()
    stem, tail = ash.split(network, entry.penultimate)
    x = torch.randn(2, *entry.preprocess.shape)
    activation = stem(x)
    said = network.forward_head(network.forward_features(x), pre_logits=True)
    assert entry.penultimate_size == CUT[name] == said[0].numel()
    assert torch.equal(activation.flatten(1), said.flatten(1))
    assert torch.equal(tail(activation), network(x))
    assert next(cut.linear for cut in cuts_of(f"timm/{name}") if cut.penultimate), "one pass for all percentiles"
    found = ash.splitting.linear_tail(tail, tuple(activation.shape[1:]))
    assert found is not None
    torch.testing.assert_close(activation.flatten(1) @ found.weight.T + found.bias, network(x), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_transforms_are_bitwise_timms() -> None:
    from timm.data import create_transform, resolve_model_data_config

    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (310, 417, 3), dtype=np.uint8))
    for name in ("mobilenetv3_small_050", "resnet10t", "vit_tiny_patch16_224"):
        network = timm.create_model(name)
        for change in ({}, {"crop_mode": "squash"}, {"crop_pct": 0.777, "interpolation": "bilinear"}):
            network.pretrained_cfg = {**network.pretrained_cfg, **change}
            ours = timm_models.preprocess_of(name, network)
            theirs = create_transform(**resolve_model_data_config(network), is_training=False)
            assert torch.equal(ours.build()(picture), theirs(picture)), (name, change)
    network.pretrained_cfg = {**network.pretrained_cfg, "crop_mode": "border"}
    with pytest.raises(ModelError, match="not one resize, centre crop"):
        timm_models.preprocess_of("x", network)


def test_a_relu_within_a_norm_is_seen() -> None:
    entry = get_model("timm/densenet121")
    assert "may be negative" not in entry.note
    assert next(cut.signed for cut in cuts_of("timm/densenet121") if cut.penultimate) is False


def test_a_fetch_takes_the_files_of_the_repository(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = {
        "architecture": "resnet10t",
        "num_classes": 1000,
        "pretrained_cfg": {"tag": "c3_in1k"},
    }  # as timm writes it
    asked: list[str] = []

    def download(url: str, target: Path, **_: object) -> Iterator[FetchProgress]:
        asked.append(url.removeprefix("https://huggingface.co/"))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(about))
        yield FetchProgress("download", target.name, 1, 1)

    monkeypatch.setattr(fetching, "download_steps", download)
    for name in ("timm/resnet10t.c3_in1k", "hf-hub:some/one", "hf-hub:some/one@v1.0"):
        assert len(list(fetching.fetch_steps(name))) >= 1
    repository = "timm/resnet10t.c3_in1k/resolve/main/model.safetensors"
    files = [
        f"some/one/resolve/{at}/{file}" for at in ("main", "v1.0") for file in ("config.json", "model.safetensors")
    ]
    assert asked == [repository, *files], "of a revision both of its files"
    folder = data_root / "checkpoints"
    assert (folder / "timm" / "resnet10t.c3_in1k.safetensors").is_file()
    stems = {path.stem for path in (folder / "hf-hub" / "some").glob("[!.]*.safetensors")}
    assert stems == {path.stem for path in (folder / "hf-hub" / "some").glob("[!.]*.json")} == {"one", "one@v1.0"}
    with pytest.raises(DataError, match="has no network 'resnet-10t'"):
        list(fetching.fetch_steps("timm/resnet-10t"))


def test_an_entry_says_what_the_configuration_says(data_root: Path) -> None:
    entry = get_model("timm/resnet10t.c3_in1k")
    assert entry.label == "resnet10t.c3_in1k (timm)"
    assert entry.url == "https://huggingface.co/timm/resnet10t.c3_in1k/resolve/main/model.safetensors"
    assert "Weights c3_in1k, licence apache-2.0." in entry.note
    assert entry.classes == get_model("resnet50").classes
    assert entry.weights == data_root / "checkpoints" / "timm" / "resnet10t.c3_in1k.safetensors"
    assert not entry.present
    assert len(entry.placements) > 2
    names = timm_models.class_names({"architecture": "x", "num_classes": 11821, "tag": "in12k"}, 11821)
    assert len(names) == 11821


def test_other_names_are_refused_in_a_sentence() -> None:
    for name, words in {
        "timm/resnet-10t": "has no network 'resnet-10t': did you mean timm/resnet10t",
        "timm/resnet10t.in5k": "no weights 'in5k' of resnet10t: known are .*c3_in1k",
        "timm/../../etc/passwd": "names no network",
        "hf-hub:someone": "names no network",
        "hf-hub:some/one@../main": "names no network",
        "timm/resnet10t@main": "names no network",
        "hf-hub:some/one": r"configuration of hf-hub:some/one is not here: run `python -m ash fetch hf-hub:some/one`",
        "timm/vit_small_patch16_dinov3": "no classifier",
    }.items():
        with pytest.raises(ModelError, match=words):
            get_model(name)


def test_without_timm_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm_models, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"timm is not installed here: run `pip install timm`"):
        get_model("timm/resnet10t")
    assert timm_models.names_in_source() == []
    assert not any(name.startswith("timm/") for name in offered_models())


def test_a_network_that_cannot_be_traced_is_cut_at_its_head(monkeypatch: pytest.MonkeyPatch, data_root: Path) -> None:
    class Branching(nn.Module):
        """Python that hangs on values; as timm's networks are made."""

        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc, self.num_classes = nn.Conv2d(3, 6, 3), nn.Linear(6, 1000), 1000
            self.pretrained_cfg = {"input_size": (3, 32, 32), "tag": "none", "mean": (0.5,) * 3, "std": (0.5,) * 3}

        def forward_features(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x) if x.sum() > 0 else -self.conv(x)

        def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
            return x.mean((2, 3)) if pre_logits else self.fc(x.mean((2, 3)))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.forward_head(self.forward_features(x))

        def get_classifier(self) -> nn.Module:
            return self.fc

    class Otherwise(Branching):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(x)

    timm_models._entry.cache_clear()
    monkeypatch.setattr(timm_models, "build", lambda name: Branching())
    weights = data_root / "mine.pt"
    torch.save(Branching().state_dict(), weights)
    entry = get_model("timm/resnet18", weights)
    assert list(entry.placements) == ["pre_logits"]
    assert "cannot be traced by torch.fx" in entry.note
    assert "its only placement" in entry.note
    model = entry.build()
    stem, tail = ash.split(model, "penultimate")
    with torch.inference_mode():
        x = torch.randn(3, 3, 32, 32)
        assert torch.equal(tail(stem(x)), model.pre_logits.network(x))
    assert torch.equal(model.classifier.weight, torch.load(weights)["fc.weight"])
    assert code_of(entry)
    timm_models._entry.cache_clear()
    monkeypatch.setattr(timm_models, "build", lambda name: Otherwise())
    with pytest.raises(ModelError, match="not offered: Otherwise cannot be traced"):
        get_model("timm/resnet18")
    timm_models._entry.cache_clear()


@pytest.mark.slow
def test_a_network_of_the_hub_is_what_its_configuration_says(data_root: Path) -> None:
    """Its two files, as a fetch leaves them and as other programs keep them."""
    from safetensors.torch import save_file

    network = timm.create_model("resnet10t", num_classes=3)
    about = {
        "architecture": "resnet10t",
        "num_classes": 3,
        "label_names": ["ant", "bee", "cat"],
        "model_args": {"output_stride": 16},
        "pretrained_cfg": {**network.pretrained_cfg, "input_size": [3, 64, 64], "license": "mit", "tag": None},
    }
    place = data_root / "checkpoints" / "hf-hub" / "some"
    place.mkdir(parents=True)
    (place / "one.json").write_text(json.dumps(about))
    save_file(network.state_dict(), place / "one.safetensors")
    entry = get_model("hf-hub:some/one")
    assert entry.present
    assert entry.classes == ("ant", "bee", "cat")
    assert entry.preprocess.shape == (3, 64, 64)
    assert "Licence mit." in entry.note
    assert torch.equal(entry.build().fc.weight, network.fc.weight)
    assert offered_models()["hf-hub:some/one"] == "some/one (model hub)"
    (place / "one.json").write_text("[]")
    with pytest.raises(ModelError, match="is not the configuration of a network of timm"):
        get_model("hf-hub:some/one")
    url = "https://huggingface.co/some/one/resolve/main/model.safetensors"
    snapshot = data_root / "hub" / "models--some--one" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"x")
    refs = data_root / "hub" / "models--some--one" / "refs"
    refs.mkdir()
    (refs / "main").write_text("abc")
    assert find_weights("hf-hub:some/two", url, "") == snapshot / "model.safetensors"
    assert find_weights("hf-hub:some/one", url, "") == place / "one.safetensors", "the user's own comes first"


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize("revision", ["v1.0", "a-branch", COMMIT])
def test_a_revision_of_the_hub_is_a_network_of_its_own(data_root: Path, revision: str) -> None:
    """Found in the hub's cache by `refs/REVISION`, or by a commit's snapshot; the newest is another network."""
    from safetensors.torch import save_file

    repository = data_root / "hub" / "models--some--one"
    (repository / "refs").mkdir(parents=True)
    networks = {}
    for seed, (commit, refs) in enumerate({COMMIT: ("v1.0", "a-branch"), "f" * 40: ("main",)}.items()):
        torch.manual_seed(seed)
        networks[commit] = timm.create_model("resnet10t", num_classes=3 + seed)
        (folder := repository / "snapshots" / commit).mkdir(parents=True)
        about = {"architecture": "resnet10t", "num_classes": 3 + seed, "pretrained_cfg": {"license": "mit"}}
        (folder / "config.json").write_text(json.dumps(about))
        save_file(networks[commit].state_dict(), folder / "model.safetensors")
        for ref in refs:
            (repository / "refs" / ref).write_text(commit)
    old, new = get_model(f"hf-hub:some/one@{revision}"), get_model("hf-hub:some/one")
    assert torch.equal(old.build().fc.weight, networks[COMMIT].fc.weight)
    assert (len(old.classes), len(new.classes)) == (3, 4)
    assert old.url == f"https://huggingface.co/some/one/resolve/{revision}/model.safetensors"
    assert old.label == f"some/one@{revision} (model hub)"
    pixels = MemoryImages(np.zeros((2, 8, 8), np.uint8), None, "a", "a")
    banks = {Recipe(entry, "penultimate", pixels).identity("", "").folder for entry in (old, new)}
    assert {place.parts[0] for place in banks} == {f"hf-hub_some_one_{revision}", "hf-hub_some_one"}
    with pytest.raises(ModelError, match=r"configuration of hf-hub:some/one@v2 is not here: run `python -m ash fetch"):
        get_model("hf-hub:some/one@v2")
    place = data_root / "checkpoints" / "hf-hub" / "some" / f"one@{revision}.safetensors"
    place.parent.mkdir(parents=True)
    save_file(networks[COMMIT].state_dict(), place)
    assert offered_models()[old.name] == old.label
    assert get_model(old.name).weights == place


@pytest.mark.slow
def test_a_checkpoint_is_extracted_and_swept_on_the_command_line(data_root: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    (data_root / "checkpoints" / "timm").mkdir()
    torch.save(timm.create_model("resnet10t").state_dict(), data_root / "checkpoints" / "timm" / "resnet10t.pt")
    assert offered_models()["timm/resnet10t"] == "resnet10t (timm)"
    for folder in ("mine/tench", "ood"):
        (tmp_path / folder).mkdir(parents=True)
        for i in range(2):
            pixels = np.random.default_rng(i).integers(0, 255, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / f"{i}.png")
    sets = ("--id", f"mine={tmp_path / 'mine'}", "--ood", f"ood={tmp_path / 'ood'}")
    out = tmp_path / "table.csv"
    done = CliRunner().invoke(
        main, ["sweep", "--model", "timm/resnet10t", *sets, "--methods", "energy,ash_s@90", "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    assert "timm/resnet10t,global_pool.pool,mine,ood,ash_s@90" in out.read_text()
    assert BankIdentity("timm/a", "", "p", "", "s", "").folder.parts[0] == "timm_a"


def test_such_names_are_part_of_a_link() -> None:
    for name in (
        "timm/resnet10t.c3_in1k",
        "hf-hub:some.org/a-net",
        "hf-hub:some.org/a-net@v1.0",
        f"hf-hub:a/b@{COMMIT}",
    ):
        spec, notices = from_query(to_query(RunSpec(model=name)))
        assert (spec.model, notices) == (name, [])
    for name in (
        "timm/../x",
        "timm/a/b",
        "hf-hub:a",
        "hf-hub:a/b@",
        "hf-hub:a/b@c/d",
        "timm/a@b",
        "/etc/passwd",
        "timm/",
        "other/x",
    ):
        assert from_query({"model": name})[0].model != name


@pytest.mark.slow
def test_the_code_is_the_same_in_another_process() -> None:
    code = (
        "from ash.networks.code import code_hash; from ash.networks.timm_models import build;"
        "print(code_hash(build('timm/mobilenetv3_small_050').eval()))"
    )
    done = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True) for _ in range(2)]
    assert done[0].stdout == done[1].stdout != ""
    assert "timm" not in timm_models.names_in_source()[0].removeprefix("timm/")
