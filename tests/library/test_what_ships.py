"""The two larger networks that ship: sizes, licences, checks, the paper's effect, and the authors' numbers."""

import random
import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ash import demo
from ash.bank import open_bank
from ash.data import DATASETS, dataset_entry, get_dataset
from ash.datasets.packed_images import PackedImages
from ash.demo import pictures
from ash.identity import identity
from ash.methods import Method, parse_methods
from ash.models import get_model
from ash.networks.curated import PICTURES
from ash.splitting import split
from ash.sweeping import sweep

ROOT = Path(__file__).parents[2]
LIMIT, LARGEST = 60_000_000, 10_000_000  # bytes: of a checkout, of one file
PHOTOS, DENSENET = "mobilenet_v2_photos", "densenet101_cifar10"
COUNTS = {"photos": 1000, **{name: count for name, (count, _) in pictures.OOD_MAKERS.items()}}
GRID = (60, 65, 70, 75, 80, 85, 90, 95)


def quiet(steps, text):  # the shape of demo.bar, without its output
    return steps


def ships(name: str):  # type: ignore[no-untyped-def]  # the set as it is in a fresh clone
    return dataset_entry(name).listed() or get_dataset(name)


@cache
def table(model: str, methods: str) -> pd.DataFrame:
    """Rows of methods from the shipped banks, by method and OOD set."""
    entry, part = get_model(model), demo.PARTS[model]
    banks = {name: open_bank(identity(entry, "penultimate", ships(name))) for name in part.sets}
    tail = split(entry.build(), "penultimate")[1]
    found = sweep(tail, banks.pop(entry.id_set), banks, parse_methods(methods))
    return found.table().set_index(["method", "ood"])


def test_a_checkout_is_small():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("this is no git checkout")
    sizes = {name: (ROOT / name).stat().st_size for name in listed.stdout.decode().split("\0") if name}
    print(f"{sum(sizes.values()) / 1e6:.1f} MB, the largest file {max(sizes.values()) / 1e6:.1f} MB")
    assert sum(sizes.values()) <= LIMIT
    assert max(sizes.values()) <= LARGEST


@pytest.mark.parametrize("name", COUNTS)
def test_pictures_are_what_the_network_sees(name):
    images = get_dataset(name)
    assert isinstance(images, PackedImages)
    assert len(images) == len(set(images.names)) == COUNTS[name]
    assert {images.image(i).size for i in range(0, len(images), 37)} == {(224, 224)}
    pixels = {np.asarray(images.image(i)).tobytes() for i in range(len(images))}
    assert len(pixels) > 0.95 * len(images)
    assert DATASETS[name].licence not in ("", "none stated")


def test_every_photograph_names_its_author_page_and_licence():
    rows = get_dataset("photos").rows
    assert all(row["author"] and row["page"].startswith("http") for row in rows)
    assert {row["licence"] for row in rows} == {"CC BY 2.0"}
    assert len({row["label"] for row in rows}) > 300


def test_no_clip_art_is_in_both_sets():
    signs, objects = ({row["source"] for row in get_dataset(name).rows} for name in ("clipart", "clipart_objects"))
    assert not signs & objects


def test_photographs_show_the_papers_effect(capsys):
    """What the first page opens with: ASH-S @ 75, the largest multiple of five that costs less than a point."""
    methods = ",".join(f"ash_{variant}@{p}" for variant in "pbs" for p in GRID)
    mean = table(PHOTOS, f"energy,react@1.0,react@1.3,{methods}").xs("mean", level="ood")
    with capsys.disabled():
        for name in ("energy", "ash_p@60", "react@1.3", "ash_b@65", "ash_b@80", "ash_s@75", "ash_s@80", "ash_s@90"):
            print(
                f"\n{name:<10} {mean.loc[name, ['auroc', 'fpr95', 'id_accuracy']].astype(float).round(2).to_dict()}",
                end="",
            )
    energy, chosen = mean.loc["energy"], mean.loc["ash_s@75"]
    assert chosen.auroc >= energy.auroc + 5
    assert chosen.fpr95 <= energy.fpr95 - 20
    assert chosen.id_accuracy >= energy.id_accuracy - 1
    best = {v: max(mean.loc[f"ash_{v}@{p}", "auroc"] for p in GRID) for v in "pbs"}
    assert best["s"] > best["b"] > mean.loc[["react@1.0", "react@1.3"], "auroc"].max() > best["p"] > energy.auroc


ALLOWED = {"auroc": 0.02, "id_accuracy": 0.02, "fpr95": 0.02}  # points


@pytest.mark.parametrize("ood", ["isun", "dtd"])
def test_the_densenet_has_the_authors_numbers(reference, ood, capsys):
    """Every setting of the authors' code with the Energy score, without ties at ASH-B's cut, from what ships."""
    oracle = pd.read_csv(reference / f"reference/densenet_cifar10_{ood}.csv").rename(columns={"id_acc": "id_accuracy"})
    oracle = oracle[oracle.score == "energy"]
    oracle.index = [str(Method.parse("energy" if name == "none" else name)) for name in oracle.method]
    oracle = oracle[[not _tied(name) for name in oracle.index]]
    assert len(oracle) == 52
    columns = list(ALLOWED)
    ours = table(DENSENET, ",".join(oracle.index)).xs(ood, level="ood").loc[oracle.index]
    worst = (ours[columns] - oracle[columns]).abs().max()
    with capsys.disabled():
        print(f"\n{ood}: {len(oracle)} settings, largest differences {worst.astype(float).round(4).to_dict()}", end="")
    assert (worst <= pd.Series(ALLOWED)).all()


def _tied(name: str) -> bool:
    """Whether ASH-B fills kept zeros: which of them, the authors' code leaves to the device."""
    method = Method.parse(name)
    return method.variant == "ash_b" and (method.percentile or 0) < 55


def test_a_check_of_the_large_networks_finds_nothing_wrong():
    report = demo.check(sets=["photos", "pages"], progress=quiet, models=[PHOTOS])
    print(report)
    assert report.problems == ()
    assert [(row.name, row.rows) for row in report.comparisons] == [("photos", 100), ("pages", 100)]


def test_any_flipped_byte_is_found(tmp_path):
    """20 of 20, over weights, pictures, lists, activations and sweeps."""
    copy, rng = shutil.copytree(demo.FOLDER, tmp_path / "demo"), random.Random(0)
    kinds = [
        "weights/*",
        "images/*.zip",
        "images/*.csv",
        "banks/*/*/*/shard-*.npz",
        "banks/*/*/*/samples.csv.gz",
        "sweeps/*",
    ]
    for number in range(20):
        path = rng.choice(sorted(copy.glob(kinds[number % len(kinds)])))
        content = bytearray(path.read_bytes())
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        original = path.read_bytes()
        path.write_bytes(content)
        problems = demo.check(copy, models=[], progress=quiet).problems
        assert problems == (f"{path.relative_to(copy).as_posix()} does not match its checksum.",)
        path.write_bytes(original)


def test_every_set_of_the_near_and_far_list_is_there():
    assert set(PICTURES) == set(pictures.OOD_MAKERS)
    assert all(dataset_entry(name).status().state == "present" for name in COUNTS)
