"""Networks by name: the curated entries tell the truth, and any torchvision classifier gets an entry by itself."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from sklearn.datasets import load_sample_image
from torchvision import models as torchvision_registry
from torchvision.models import get_model_weights

import ash
from ash import paper
from ash.__main__ import main
from ash.data import DATASETS
from ash.methods import Method
from ash.models import MODELS, ModelError, Preprocess, cuts_of, get_model, offered_models, torchvision_names
from ash.networks import torchvision_models
from ash.networks.checkpoints import note_checksum, weights_hash

ROOT = Path(__file__).parents[2]
WIDTHS = {
    "demo": 192,
    "resnet50": 2048,
    "mobilenet_v2": 1280,
    "mobilenet_v2_photos": 1280,
    "densenet101_cifar10": 342,
    "densenet101_cifar100": 342,
}


@pytest.fixture
def data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data root and torch hub of this test alone."""
    monkeypatch.setenv("ASH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "data" / "checkpoints").mkdir(parents=True)
    return tmp_path / "data"


class TestCurated:
    """What the registry states so that nobody has to trace a network is what tracing finds."""

    @pytest.mark.parametrize("name", MODELS)
    def test_placements_are_cuts_in_network_order_after_their_relu(self, name: str) -> None:
        entry, cuts = MODELS[name], {cut.name: cut for cut in cuts_of(name)}
        shown = [cuts[placement] for placement in entry.placements]
        assert [name for name in cuts if name in entry.placements] == list(entry.placements)
        assert tuple(cut.name for cut in shown if not cut.linear) == entry.deep_placements
        assert not any(cut.before_relu or cut.signed for cut in shown)
        assert [cut.penultimate for cut in shown] == [False] * (len(shown) - 1) + [True]
        assert entry.penultimate == shown[-1].name
        assert shown[-1].size == WIDTHS[name]
        assert {cut.name: cut.size for cut in shown} == entry.sizes

    @pytest.mark.parametrize("name", MODELS)
    def test_data_presets_and_classes(self, name: str) -> None:
        entry = MODELS[name]
        assert {entry.id_set, *entry.ood_sets} <= set(DATASETS)
        assert [str(Method.parse(text)) for text in entry.presets.values()] == list(entry.presets.values())
        labels = list(entry.presets)
        assert labels[0] == "Energy, unshaped"
        assert len([label for label in labels if label.startswith("Paper: ASH-")]) == 3
        with torch.device("meta"):
            logits = entry.architecture().eval()(torch.empty(1, *entry.preprocess.shape))
        assert len(set(entry.classes)) >= len(entry.classes) - 2  # ImageNet: two cranes, two maillots
        assert logits.shape == (1, len(entry.classes))

    def test_the_papers_percentiles(self) -> None:
        papers = {
            name: [text for label, text in entry.presets.items() if label.startswith("Paper")]
            for name, entry in MODELS.items()
        }
        assert papers["resnet50"] == papers["mobilenet_v2"] == ["ash_p@60", "ash_b@65", "ash_s@90"]
        assert papers["densenet101_cifar10"] == ["ash_p@90", "ash_b@95", "ash_s@95"]
        assert papers["densenet101_cifar100"] == ["ash_p@80", "ash_b@85", "ash_s@90"]

    @pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2"])
    def test_weights_are_torchvisions_first(self, name: str) -> None:
        weights, entry = get_model_weights(name).IMAGENET1K_V1, MODELS[name]
        assert entry.url == weights.url
        assert entry.url.endswith(f"-{entry.url_hash}.pth")
        assert entry.preprocess == torchvision_models.preprocess_of(name, weights.transforms())
        assert entry.classes == tuple(weights.meta["categories"])

    def test_the_printed_preprocessing_of_old_banks_has_not_changed(self) -> None:
        printed = "Preprocess(resize=28, crop=28, mean=(0.286,), std=(0.353,))"
        assert repr(MODELS["demo"].preprocess) == printed
        assert repr(replace(MODELS["demo"].preprocess, interpolation="bicubic")) == (
            "Preprocess(resize=28, crop=28, mean=(0.286,), std=(0.353,), interpolation='bicubic')"
        )


class TestWeights:
    """Where weights are looked for, and what is said where there are none."""

    def test_the_first_that_is_there(self, data_root: Path) -> None:
        entry, folder = MODELS["resnet50"], data_root / "checkpoints"
        hub = data_root.parent / "torch" / "hub" / "checkpoints"
        hub.mkdir(parents=True)
        assert entry.weights == folder / "resnet50.pth"
        assert not entry.present
        names = ("resnet50-0676ba61.pth", "resnet50.pth.tar", "resnet50.pt", "resnet50.pth")
        for path in (hub / names[0], *(folder / name for name in names)):
            path.write_bytes(b"")
            assert entry.weights == path
            assert entry.present
        (hub / "checkpoint_100.pth.tar").write_bytes(b"")  # the published name of both DenseNets tells nothing
        assert not MODELS["densenet101_cifar100"].present
        shipped = MODELS["densenet101_cifar10"]
        assert shipped.weights == shipped.bundled
        (folder / "densenet101_cifar10.pth").write_bytes(b"")  # the user's own comes first
        assert shipped.weights == folder / "densenet101_cifar10.pth"
        mine = entry.with_checkpoint("~/mine.pth")
        assert mine.weights == Path.home() / "mine.pth"
        assert (mine.name, mine.placements, mine.present) == (entry.name, entry.placements, False)

    def test_missing_weights_say_how_to_get_them(self, data_root: Path) -> None:
        place = data_root / "checkpoints" / "resnet50.pth"
        for use in (MODELS["resnet50"].build, MODELS["resnet50"].weights_hash):
            with pytest.raises(ModelError, match=f"fetch resnet50`, or put them at {place}, or name a checkpoint"):
                use()
        unpublished = replace(MODELS["resnet50"], url="")
        with pytest.raises(ModelError, match=f"are missing: put them at {place}"):
            unpublished.build()

    def test_a_hash_follows_the_file(self, data_root: Path) -> None:
        path = data_root / "checkpoints" / "resnet50.pth"
        path.write_bytes(b"\x80one")
        first = MODELS["resnet50"].weights_hash()
        assert first == "4a20325445a7a317f1d007364eecb211857007ede9a58ab1df46e1715c35bc2d"
        path.write_bytes(b"\x80two!")
        assert MODELS["resnet50"].weights_hash() != first

    def test_offered_are_the_curated_and_those_that_are_here(self, data_root: Path) -> None:
        assert list(offered_models()) == list(MODELS)
        for name in ("resnet18.pth", "swin_t.pth.tar", "resnet50.pth", "notes.txt", "fasterrcnn_resnet50_fpn.pth"):
            (data_root / "checkpoints" / name).write_bytes(b"")
        assert list(offered_models()) == [*MODELS, "resnet18", "swin_t"]

    @pytest.mark.slow
    def test_names_and_places_are_known_without_torch(self, data_root: Path) -> None:
        code = (
            "import sys; from ash.models import *; import ash.data, ash.bank\n"
            "entry = get_model('resnet50', 'x.pth'); entry.penultimate, entry.weights, entry.present\n"
            "offered_models(); sys.exit(bool({'torch', 'torchvision'} & set(sys.modules)))"
        )
        (data_root / "checkpoints" / "resnet18.pth").write_bytes(b"")
        assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


class TestTorchvision:
    """Every image classifier of torchvision by its registry name; anything else is refused with a sentence."""

    def test_names(self) -> None:
        names = torchvision_names()
        assert {"resnet50", "vit_b_16", "swin_t", "convnext_tiny"} <= set(names)
        assert not {"fasterrcnn_resnet50_fpn", "quantized_resnet50", "r3d_18"} & set(names)
        assert torchvision_models.names_in_source() == sorted(names)

    def test_every_one_has_published_weights_with_a_hash_and_a_transform_that_is_ours(self) -> None:
        for name in torchvision_names():
            weights = torchvision_models.weights_of(name)
            assert torchvision_models.url_hash(weights.url)
            assert torchvision_models.preprocess_of(name, weights.transforms()).shape[0] == 3
            first = get_model_weights(name).__members__.get("IMAGENET1K_V1")
            assert weights == first or (first is None and weights == get_model_weights(name).DEFAULT)

    @pytest.mark.parametrize(
        "name",
        [
            *("alexnet", "resnet50", "convnext_tiny", "efficientnet_b0", "efficientnet_b3", "efficientnet_v2_l"),
            *("inception_v3", "maxvit_t", "mnasnet1_3", "regnet_y_128gf", "swin_t", "swin_v2_s", "vit_h_14"),
        ],
    )
    def test_transforms_are_bitwise_torchvisions(self, name: str) -> None:
        picture = Image.fromarray(load_sample_image("china.jpg"))
        transform = torchvision_models.weights_of(name).transforms()
        ours = torchvision_models.preprocess_of(name, transform)
        assert torch.equal(ours.build()(picture), transform(picture))

    def test_a_transform_that_cannot_be_said_is_refused(self) -> None:
        good = {"resize_size": [256], "crop_size": [224], "mean": [0.5], "std": [0.5]}
        way = SimpleNamespace(value="bilinear")
        assert torchvision_models.preprocess_of("x", SimpleNamespace(**good, interpolation=way)) == Preprocess(
            256, 224, (0.5,), (0.5,)
        )
        for change in ({"resize_size": [256, 300]}, {"interpolation": SimpleNamespace(value="nearest")}, {"mean": []}):
            strange = SimpleNamespace(**{**good, "interpolation": way, **change})
            with pytest.raises(ModelError, match="The transform of x is not one resize, centre crop and normalisation"):
                torchvision_models.preprocess_of("x", strange)

    @pytest.mark.parametrize(
        ("name", "penultimate", "shape", "signed"),
        [
            ("alexnet", "classifier.5", (4096,), False),
            ("densenet121", "adaptive_avg_pool2d", (1024, 1, 1), False),
            ("convnext_tiny", "classifier.0.permute_1", (768, 1, 1), True),
            ("googlenet", "avgpool", (1024, 1, 1), False),
            ("regnet_y_400mf", "avgpool", (440, 1, 1), False),
            ("squeezenet1_1", "features.12.cat", (512, 13, 13), False),
            ("swin_t", "avgpool", (768, 1, 1), True),
            ("vit_b_16", "getitem_5", (768,), True),
        ],
    )
    def test_an_entry_makes_itself(self, name: str, penultimate: str, shape: tuple[int, ...], signed: bool) -> None:
        entry, cuts = get_model(name), cuts_of(name)
        last = next(cut for cut in cuts if cut.penultimate)
        assert (last.name, last.shape, last.signed) == (penultimate, shape, signed)
        assert entry.penultimate == penultimate
        assert ("may be negative" in entry.note) == signed
        assert "IMAGENET1K_V1" in entry.note
        assert len(entry.classes) == 1000
        assert len(entry.placements) > 1
        assert [cut.name for cut in cuts if cut.name in entry.placements] == list(entry.placements)
        assert entry.deep_placements == tuple(c.name for c in cuts if c.name in entry.placements and not c.linear)

    def test_stage_ends_are_shown_after_their_relu(self) -> None:
        assert get_model("densenet121").placements == {
            "features.transition2.relu": "Stage end, 512 × 28 × 28",
            "features.transition3.relu": "Stage end, 1024 × 14 × 14",
            "relu": "Stage end, 1024 × 7 × 7",
            "adaptive_avg_pool2d": "Penultimate layer",
        }

    def test_networks_are_built_as_for_their_published_weights(self) -> None:
        with torch.device("meta"):
            assert torchvision_models.build("googlenet").transform_input
            assert torchvision_models.build("vit_h_14").image_size == 518
        assert get_model("vit_h_14").preprocess.shape == (3, 518, 518)
        assert "IMAGENET1K_SWAG_E2E_V1" in get_model("vit_h_14").note

    @pytest.mark.parametrize(
        ("name", "sentence"),
        [
            ("resnet-50", "There is no model 'resnet-50': did you mean resnet50?"),
            ("ViT_B_16", "did you mean vit_b_16?"),
            ("densenet101_cifar", "did you mean densenet101_cifar10?"),
            (
                "zzzz",
                "There is no model 'zzzz': known are .*demo, resnet50, .*, torchvision's classifiers and timm/NAME",
            ),
            ("fasterrcnn_resnet50_fpn", "is a torchvision network for object detection"),
            ("fcn_resnet50", "is a torchvision network for segmentation"),
            ("quantized_resnet50", "is a torchvision network for quantized inference"),
            ("r3d_18", "is a torchvision network for video"),
            ("raft_large", "is a torchvision network for optical flow"),
        ],
    )
    def test_other_names_are_refused_with_a_sentence(self, name: str, sentence: str) -> None:
        with pytest.raises(ModelError, match=sentence):
            get_model(name)

    def test_a_network_that_cannot_be_cut_says_why(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Branching(torch.nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x if x.sum() > 0 else -x

        torchvision_models._entry.cache_clear()
        monkeypatch.setattr(torchvision_models, "build", lambda name: Branching())
        with pytest.raises(ModelError, match="resnet18 is not offered: Branching cannot be traced"):
            get_model("resnet18")


class TestCommandLine:
    """`models` shows what there is; `--checkpoint` reaches extraction and sweep."""

    def run(self, *arguments: str) -> str:
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        return result.output

    def test_models(self, data_root: Path) -> None:
        listing = self.run("models")
        assert f"missing; they belong at {data_root / 'checkpoints' / 'resnet50.pth'}" in listing
        assert "present at" in listing.split("resnet50:")[0]
        one = self.run("models", "resnet50")
        assert "layer3.5.add " in one
        lines = {line.split()[0]: line for line in one.splitlines() if line.startswith("  ")}
        assert lines["layer3.5.add"].split(maxsplit=1)[1] == (
            "1024 x 14 x 14 = 200,704     deep            may be negative, before its ReLU"
        )
        assert lines["layer4.2.relu_2"].split(maxsplit=1)[1] == (
            "2048 x 7 x 7 = 100,352       one linear map  not negative"
        )

    def test_a_checkpoint_of_a_torchvision_network(self, data_root: Path, tmp_path: Path) -> None:
        torch.manual_seed(0)
        rng = np.random.default_rng(0)
        for folder in ("mine/tench", "mine/goldfish", "ood"):
            (tmp_path / folder).mkdir(parents=True)
            for i in range(2):
                pixels = rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / folder / f"{i}.png")
        model = torchvision_registry.squeezenet1_1(weights=None)
        checkpoint = tmp_path / "mine.pth"
        torch.save({"state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, checkpoint)
        use = ("--model", "squeezenet1_1", "--checkpoint", str(checkpoint))
        said = self.run("extract", *use, "--placement", "features.10.cat", "--data", f"mine={tmp_path / 'mine'}")
        assert "mine: 4 x 384 x 13 x 13" in said
        out = tmp_path / "table.csv"
        sets = ("--id", f"mine={tmp_path / 'mine'}", "--ood", f"ood={tmp_path / 'ood'}")
        self.run("sweep", *use, *sets, "--methods", "energy,ash_s@90", "--out", str(out))
        assert "squeezenet1_1,features.12.cat,mine,ood,ash_s@90" in out.read_text()


@pytest.mark.slow
@torch.inference_mode()
def test_the_published_densenet_gives_the_reference_activations(reference: Path) -> None:
    """The first 200 test images of CIFAR-10 in path order, against the authors' network on the same pixels."""
    entry = get_model("densenet101_cifar10", reference / "data" / "checkpoints" / "densenet_cifar10.pth")
    assert entry.weights_hash().startswith(entry.url_hash)
    stem, tail = ash.split(entry.build(), entry.penultimate)
    transform = entry.preprocess.build()
    images = ash.get_dataset(f"cifar={reference / 'data' / 'cifar10' / 'test'}")
    rows = range(200)
    activations = stem(torch.stack([transform(images.image(row)) for row in rows]))
    expected = np.load(reference / "reference" / "densenet_cifar10_test_features.npy")[:200]
    np.testing.assert_allclose(activations.flatten(1).numpy(), expected, atol=2e-5)
    labels = np.load(reference / "reference" / "densenet_cifar10_test_labels.npy")[:200]
    assert (tail(activations).argmax(1).numpy() == labels).mean() > 0.9
    assert (images.labels[:200] == labels).all()


def test_the_networks_of_the_paper_say_which_they_are() -> None:
    named = {entry.paper_name: name for name, entry in MODELS.items() if entry.paper_name}
    assert set(named) == {network for table in paper.TABLES.values() for network in table.ood}
    assert not get_model("demo").paper_name
    assert not get_model("resnet18").paper_name


def test_weights_are_the_published_ones_by_their_hash_or_the_checksum_of_their_fetch(tmp_path: Path) -> None:
    path = tmp_path / "some.pth"
    path.write_bytes(b"\x80weights")
    sha256 = weights_hash(path)
    entry = MODELS["mobilenet_v2"].with_checkpoint(path)
    assert not entry.has_published_weights()
    assert replace(entry, url_hash=sha256[:8]).has_published_weights()
    fetched = replace(entry, url_hash="")
    assert not fetched.has_published_weights()
    note_checksum(path, sha256)
    assert fetched.has_published_weights()
    assert not replace(fetched, url="").has_published_weights()


def test_a_mobilenet_checkpoint_loads_strictly(reference: Path) -> None:
    path = reference / "data" / "checkpoints" / "mobilenet_v2_dequantized.pth"
    model = get_model("mobilenet_v2", path).build()
    state = torch.load(path, weights_only=True)
    assert torch.equal(model.classifier[1].weight, state["classifier.1.weight"])
    with pytest.raises(ModelError, match=r"not a checkpoint of DenseNetBC: conv1.weight is missing"):
        get_model("densenet101_cifar10", path).build()


def test_imagenets_classes_are_read_from_torchvisions_source_without_importing_it() -> None:
    from torchvision.models import ResNet50_Weights

    from ash.networks.torchvision_models import imagenet_classes

    assert imagenet_classes() == tuple(ResNet50_Weights.IMAGENET1K_V1.meta["categories"])
    code = (
        "import sys; from ash.networks.torchvision_models import imagenet_classes as of;"
        "print(len(of()), 'torchvision' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1000", "False"]
