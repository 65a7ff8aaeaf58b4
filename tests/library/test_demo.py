"""What ships is what `demo build` makes: sizes, counts, checksums, recomputed activations, and the effect it shows."""

import gzip
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from ash import demo
from ash.bank import Bank, open_bank
from ash.data import DATASETS, ArrayImages, get_dataset
from ash.demo import sets as demo_sets
from ash.extracting import packing
from ash.extraction import identity
from ash.methods import parse_methods
from ash.models import get_model
from ash.splitting import split
from ash.sweeping import sweep

COUNTS = {demo_sets.ID_SET: 3_000, demo_sets.TRAIN_SET: 3_000, **dict.fromkeys(demo_sets.OOD_SETS, 1_000)}


def quiet(steps, text):  # the shape of demo.bar, without its output
    return steps


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the shipped demo, to be damaged."""
    return shutil.copytree(demo.FOLDER, tmp_path / "demo")


def idx(path: Path, values: np.ndarray) -> None:
    header = bytes((0, 0, 8, values.ndim)) + np.array(values.shape, ">i4").tobytes()
    path.write_bytes(gzip.compress(header + values.astype(np.uint8).tobytes()))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A stand-in for the Debian package: 300 training and 60 test pictures of noise."""
    folder, rng = tmp_path / "source", np.random.default_rng(0)
    folder.mkdir()
    for part, count in (("train", 300), ("t10k", 60)):
        idx(folder / f"{part}-images-idx3-ubyte.gz", rng.integers(0, 256, (count, 28, 28)))
        idx(folder / f"{part}-labels-idx1-ubyte.gz", np.arange(count) % 10)
    return folder


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets of a few pictures, so that a build takes seconds."""
    monkeypatch.setattr(demo_sets, "OOD_COUNT", 20)
    monkeypatch.setattr(demo_sets, "TRAIN_COUNT", 50)


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_pictures_and_labels(name, count):
    with np.load(demo.images_path(demo.FOLDER, name), allow_pickle=False) as file:
        images, labels = file["images"], file["labels"]
    assert images.shape == (count, 28, 28)
    assert images.dtype == np.uint8
    assert labels.shape == (count,)
    if name in demo_sets.OOD_SETS:
        assert (labels == -1).all()
        assert len(np.unique(images.reshape(count, -1), axis=0)) > 0.95 * count
    else:
        assert np.abs(np.bincount(labels, minlength=10) / count - 0.1).max() < 0.01


@pytest.mark.parametrize("name", [demo_sets.ID_SET, *demo_sets.OOD_SETS])
def test_banks_are_found_by_name(name):
    bank = open_bank(identity(get_model(demo.MODEL), "penultimate", get_dataset(name)))
    assert bank.shape == (COUNTS[name], 192, 1, 1)
    assert bank.read().dtype == np.float32
    assert set(demo_sets.OOD_SETS) <= set(DATASETS)


@pytest.mark.slow
def test_check_finds_nothing_wrong():
    """One set here; `python -m ash demo check` recomputes all 19,000 rows, in about a minute of one core."""
    report = demo.check(sets=["digits"], progress=quiet, models=[demo.MODEL])
    print(report)
    assert report.problems == ()
    assert [(row.name, row.rows) for row in report.comparisons] == [("digits", 1_000)]


@pytest.mark.parametrize("name", COUNTS)
def test_rows_of_every_bank_are_the_activations_of_their_pictures(name):
    """200 rows of every set, drawn at random, through the network and the transform that the registry gives."""
    entry, bank = get_model(demo.MODEL), demo._shipped_bank(demo.FOLDER, name)
    images = ArrayImages(demo.images_path(demo.FOLDER, name), name, name)
    rows = np.sort(np.random.default_rng(0).choice(len(bank), 200, replace=False))
    transform, stem = entry.preprocess.build(), split(entry.build(), "avgpool")[0]
    with torch.inference_mode():
        fresh = stem(torch.stack([transform(images.image(row)) for row in rows])).numpy()
    shipped = bank.read()[rows]
    print(f"{name}: largest difference {np.abs(fresh - shipped).max():.2e} of at most {shipped.max():.2f}")
    assert np.abs(fresh - shipped).max() <= demo.TOLERANCE * shipped.max()
    assert bank.names == list(images.names)
    assert np.array_equal(bank.labels, images.labels)


def test_a_flipped_byte_in_a_bank_is_named(copy):
    shard = next((copy / "banks").glob("*/*/noise-*/shard-00000.npz"))
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    problems = demo.check(copy, ["noise"], quiet).problems
    assert any(shard.relative_to(copy).as_posix() in problem and "checksum" in problem for problem in problems)


def test_a_changed_weight_is_found(copy):
    state = torch.load(copy / "weights.pt", weights_only=True)
    state["conv1.weight"][0, 0, 0, 0] += 0.1
    torch.save(state, copy / "weights.pt")
    report = demo.check(copy, ["noise"], quiet)
    assert report.problems[0] == "weights.pt does not match its checksum."
    assert any("other weights" in problem for problem in report.problems)
    assert report.comparisons[0].relative > demo.TOLERANCE
    assert "differs" in str(report)


def test_an_invented_bank_is_found(copy, tmp_path):
    """Numbers that were not computed from the weights: even with checksums in order, the comparison shows it."""
    folder = next((copy / "banks").glob("*/*/digits-*"))
    whole = Bank(folder, as_it_is=True).read() * 1.01
    old = shutil.copytree(folder, tmp_path / "old")
    (old / "samples.csv").write_bytes(gzip.decompress((old / "samples.csv.gz").read_bytes()))
    packing.pack(whole, old, folder)
    manifest = demo.read_json(copy / "manifest.json")
    demo.write_json(copy / "manifest.json", {**manifest, "files": demo._checksums(copy)})
    assert demo.check(copy, ["noise"], quiet).problems == ()
    assert demo.check(copy, ["noise"], quiet).problems == (), "a check changes nothing"
    (problem,) = demo.check(copy, ["digits"], quiet).problems
    assert "digits (demo) differs" in problem


def test_missing_and_foreign_files_are_named(copy):
    demo.images_path(copy, "letters").unlink()
    (copy / "notes.txt").write_text("not from the build")
    problems = demo.check(copy, ["letters"], quiet).problems
    assert "images/letters.npz is missing." in problems
    assert "notes.txt is not in the manifest." in problems
    assert any(problem.startswith("letters of demo cannot be compared") for problem in problems)


@pytest.mark.parametrize("name", ["images/digits.npz", "weights.pt", "samples.csv.gz", "shard-00000.npz"])
@pytest.mark.parametrize("cut", [0, 1000])
def test_a_truncated_file_is_named_and_the_rest_still_checked(copy, name, cut):
    path = next(path for pattern in (name, f"banks/*/*/digits-*/{name}") for path in copy.glob(pattern))
    path.write_bytes(path.read_bytes()[:cut])
    report = demo.check(copy, ["digits"], quiet)
    assert report.problems[0] == f"{path.relative_to(copy).as_posix()} does not match its checksum."
    assert report.problems[1].startswith("digits of demo cannot be compared: ")


def test_a_damaged_manifest_is_one_sentence(copy):
    (copy / "manifest.json").write_text("[]")
    with pytest.raises(demo.DemoError, match=r"manifest\.json is damaged"):
        demo.check(copy)


def test_no_demo_at_all_is_one_sentence(tmp_path):
    with pytest.raises(demo.DemoError, match=r"manifest\.json is missing; run `python -m ash demo build`"):
        demo.check(tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_build_from_a_small_source(source, tmp_path):
    out = demo.build(source, tmp_path / "out", epochs=1, seed=3, progress=quiet)
    report = demo.check(out, progress=quiet)
    assert report.problems == ()
    assert [row.rows for row in report.comparisons] == [60, 50] + 6 * [20]
    assert demo.read_json(out / "manifest.json")["made"][demo.MODEL]["seed"] == 3
    before = demo._checksums(out)
    demo.build(source, out, epochs=1, seed=3, progress=quiet)  # again, over the first one
    after = demo._checksums(out)
    assert {name for name in before if before[name] != after.get(name)} <= {
        name for name in before if name.endswith("provenance.json")
    }
    assert before.keys() == after.keys()
    assert len(list((out / "banks").glob("*/*/*"))) == len(demo_sets.SETS)


@pytest.mark.usefixtures("few")
def test_another_seed_is_another_demo(source):
    one, again, other = (demo_sets.make_sets(source, seed) for seed in (0, 0, 1))
    for name in demo_sets.OOD_SETS:
        assert np.array_equal(one[name][0], again[name][0])
        assert not np.array_equal(one[name][0], other[name][0])


def test_chimeras_join_two_kinds():
    pictures = np.repeat(np.arange(10, dtype=np.uint8), 28 * 28).reshape(10, 28, 28)  # the grey level is the class
    made = demo_sets.chimeras(pictures, np.arange(10), 200, np.random.default_rng(0))
    kind = np.array(demo_sets.KIND)
    assert (kind[made[:, 0, 0]] != kind[made[:, -1, 0]]).all()
    assert (made[:, 13] == made[:, 0]).all()
    assert (made[:, 14] == made[:, -1]).all()


def test_a_missing_source_names_file_package_and_option(tmp_path):
    with pytest.raises(demo_sets.SourceError) as failure:
        demo.build(tmp_path / "nowhere", tmp_path / "out")
    for word in ("train-labels-idx1-ubyte.gz", "dataset-fashion-mnist", "--source"):
        assert word in str(failure.value)
    assert not (tmp_path / "out").exists()


def test_build_leaves_a_foreign_folder_alone(source, tmp_path):
    with pytest.raises(demo.DemoError, match="not empty"):
        demo.build(source, tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"not gzip", gzip.compress(bytes(500))[:-9], gzip.compress(bytes(500)), b""],
    ids=["another format", "cut off", "nothing but zeros", "empty"],
)
def test_a_damaged_source_is_named(source, content):
    (source / "t10k-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(demo_sets.SourceError, match="t10k-images"):
        demo_sets.fashion_mnist(source, "t10k")


def test_missing_scikit_image_and_fonts_are_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(demo_sets.SourceError, match=r"pip install -r tests/requirements\.txt"):
        demo_sets.textures(1, np.random.default_rng(0))
    monkeypatch.setattr(demo_sets, "FONTS", tmp_path)
    with pytest.raises(demo_sets.SourceError, match="fonts-dejavu"):
        demo_sets.letters(1, np.random.default_rng(0))


@pytest.fixture(scope="module")
def shown() -> pd.DataFrame:
    """The table of the shipped banks: Energy, ASH-P, B and S at 19 percentiles."""
    entry = get_model(demo.MODEL)
    banks = {
        name: open_bank(identity(entry, "penultimate", get_dataset(name)))
        for name in (demo_sets.ID_SET, *demo_sets.OOD_SETS)
    }
    methods = parse_methods("energy,ash_p@5:95:5,ash_b@5:95:5,ash_s@5:95:5")
    tail = split(entry.build(), "avgpool")[1]
    return sweep(tail, banks.pop(demo_sets.ID_SET), banks, methods).table().set_index(["method", "ood"])


def test_the_demo_shows_a_gain_a_cliff_and_a_price(shown, capsys):
    mean = shown.xs("mean", level="ood")
    energy, usable = mean.loc["energy"], mean[mean.id_accuracy >= 90]
    best = usable.loc[usable.auroc.idxmax()]
    with capsys.disabled():
        for row in (energy, best):
            print(f"\n{row.name}: {row[['auroc', 'fpr95', 'id_accuracy']].astype(float).round(2).to_dict()}", end="")
    assert best.auroc >= energy.auroc + 3
    assert best.fpr95 <= energy.fpr95 - 10
    assert 0.2 < energy.id_accuracy - best.id_accuracy < 2  # the price
    assert shown.loc[("ash_s@95", "digits"), "auroc"] < 50 < shown.loc[("energy", "digits"), "auroc"]  # the cliff
    assert shown.loc["energy"].drop("mean").auroc.between(75, 92.5).sum() >= 2  # sets that are hard for Energy


def test_placements_of_the_demo_network():
    model = get_model(demo.MODEL).build()
    x = torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    for name in ("layer3.0.add", "layer3.0.relu2", "layer4.0.add", "layer4.0.relu2", "avgpool"):
        stem, tail = split(model, name)
        assert torch.equal(tail(stem(x)), model(x))
