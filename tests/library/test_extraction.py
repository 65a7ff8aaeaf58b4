"""What the forward pass does to a bank: batches, memory, precision, decoding; and what a bank would cost."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from extraction_children import content, images, random_demo
from torch import Tensor, nn

from ash.bank import BUNDLED, Bank, BankError, find_bank
from ash.data import FolderImages, Subset, get_dataset
from ash.extracting import shards, stems
from ash.extracting.cost import cost
from ash.extracting.stems import Stem, best_batch
from ash.extraction import extract, extract_steps, identity
from ash.models import get_model
from ash.networks.entries import ModelEntry
from ash.networks.own import DenseNetBC

CPU = torch.device("cpu")
COUNT = 75


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> ModelEntry:
    return random_demo(tmp_path_factory.mktemp("weights") / "weights.pt")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> FolderImages:
    return images(tmp_path_factory.mktemp("images"), COUNT)


@pytest.fixture(scope="module")
def densenet(tmp_path_factory: pytest.TempPathFactory) -> ModelEntry:
    path = tmp_path_factory.mktemp("weights") / "densenet.pt"
    torch.manual_seed(0)
    torch.save(DenseNetBC(10).state_dict(), path)
    return get_model("densenet101_cifar10", path)


@pytest.mark.parametrize("name", ["demo", "resnet50"])
def test_pixels_become_the_input_of_the_models_own_transform(name: str, data: FolderImages, entry: ModelEntry) -> None:
    preprocess = get_model(name).preprocess
    stem = Stem(replace(entry, preprocess=preprocess), "conv1", CPU)
    stem._module = nn.Identity()  # type: ignore[assignment]
    pictures = [data.image(i) for i in range(4)]
    pixels = np.stack([np.asarray(stem.geometry(one)).reshape(stem.pixels) for one in pictures])
    expected = torch.stack([preprocess.build()(one) for one in pictures])
    assert torch.equal(stem(torch.from_numpy(pixels)), expected)


@pytest.fixture
def _one_thread() -> Iterator[None]:
    """A hundred thin layers on two threads wait for each other more than they compute, on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("_one_thread")
def test_the_batch_size_changes_no_more_than_rounding(densenet: ModelEntry, data: FolderImages, tmp_path: Path) -> None:
    few, sizes = Subset(data, 30), (1, 8, 11, 30)
    banks = {n: extract(densenet, "avgpool", few, root=tmp_path / str(n), batch_size=n).read() for n in sizes}
    for values in banks.values():
        np.testing.assert_allclose(values, banks[30], rtol=1e-4, atol=1e-5)


class TestMemory:
    """Batches that do not fit are halved, and the bank says so."""

    @pytest.fixture
    def room(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
        """A device with room for room[0] images; the sizes that were tried follow."""
        sizes, split = [5], stems.splitting.split

        def small(model: nn.Module, placement: str) -> tuple[nn.Module, nn.Module]:
            stem, tail = split(model, placement)

            def forward(x: Tensor) -> Tensor:
                sizes.append(len(x))
                if len(x) > sizes[0]:
                    raise torch.OutOfMemoryError("CUDA out of memory.")
                return type(stem).forward(stem, x)

            stem.forward = forward
            return stem, tail

        monkeypatch.setattr(stems.splitting, "split", small)
        return sizes

    def test_a_batch_is_halved_once_and_for_all(
        self, entry: ModelEntry, data: FolderImages, tmp_path: Path, room: list[int]
    ) -> None:
        bank = extract(entry, "avgpool", data, root=tmp_path / "small", batch_size=16)
        room[0] = 10**6
        np.testing.assert_allclose(
            bank.read(), extract(entry, "avgpool", data, root=tmp_path / "large").read(), rtol=1e-4, atol=1e-5
        )
        assert bank.provenance["remarks"][0].startswith("Batches halved to 4: out of memory on CPU")
        assert [size for size in room[1:] if size > 5][:2] == [16, 8]
        assert bank.provenance["batch_size"] == 16

    def test_one_image_too_large_is_one_sentence(
        self, entry: ModelEntry, data: FolderImages, tmp_path: Path, room: list[int]
    ) -> None:
        room[0] = 0
        with pytest.raises(BankError, match="One image does not fit into the memory of CPU"):
            extract(entry, "avgpool", data, root=tmp_path)

    def test_other_failures_are_not_taken_for_it(self, entry: ModelEntry) -> None:
        stem = Stem(entry, "avgpool", CPU)
        with pytest.raises(RuntimeError, match="expected input"):
            stem(torch.zeros(2, 28, 28, 3, dtype=torch.uint8))


class _Timed:
    """A stem whose images a second are given by batch size."""

    pixels, limit = (1, 1, 1), None

    def __init__(self, rates: dict[int, float], room: int = 10**6) -> None:
        self.rates, self.room = rates, room

    def __call__(self, pixels: Tensor) -> None: ...

    def seconds(self, size: int) -> float:
        if size > self.room:
            self.limit = self.room
        return size / self.rates[size]


@pytest.mark.parametrize(
    ("rates", "room", "largest", "best"),
    [
        ({8: 10, 16: 9}, 10**6, 2048, 8),
        ({8: 10, 16: 20, 32: 40, 64: 41}, 10**6, 2048, 32),
        ({8: 10, 16: 20, 32: 40, 64: 80}, 10**6, 64, 64),
        ({8: 10, 16: 20, 32: 40}, 16, 2048, 16),
        ({8: 10}, 10**6, 3, 8),
    ],
)
def test_the_batch_is_doubled_while_it_pays_and_fits(
    rates: dict[int, float], room: int, largest: int, best: int
) -> None:
    stem = _Timed(rates, room)
    assert best_batch(stem, largest) == best  # type: ignore[arg-type]
    assert stem.limit is None


def test_the_batch_a_bank_was_begun_with_is_kept(entry: ModelEntry, data: FolderImages, tmp_path: Path) -> None:
    steps = extract_steps(entry, "avgpool", data, root=tmp_path, batch_size=9)
    next(steps)
    steps.close()
    bank = extract(entry, "avgpool", data, root=tmp_path, batch_size=64)
    assert json.loads((bank.folder / "plan.json").read_text())["batch_size"] == 9
    assert bank.provenance["batch_size"] == 9
    assert not list(bank.folder.glob("*.lock"))


def test_a_damaged_plan_is_one_sentence(entry: ModelEntry, data: FolderImages, tmp_path: Path) -> None:
    plan = tmp_path / identity(entry, "avgpool", data).folder / "plan.json"
    plan.parent.mkdir(parents=True)
    for damage in ("", "{}", '{"batch_size": 0, "shard_rows": 5}', '{"batch_size": 8, "shard_rows": "many"}'):
        plan.write_text(damage)
        with pytest.raises(BankError, match=r"plan\.json is damaged .* delete it and extract again"):
            extract(entry, "avgpool", data, root=tmp_path)


def test_a_bank_of_an_earlier_version_keeps_its_shards(
    entry: ModelEntry, data: FolderImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD_ROWS", 50)  # those had no plan.json, and full shards
    bank = extract(entry, "avgpool", data, root=tmp_path, batch_size=shards.EARLIER_BATCH)
    whole = {name: value for name, value in content(bank.folder).items() if name != "plan.json"}
    (bank.folder / "plan.json").unlink()
    (bank.folder / "shard-00001.npy").write_bytes(b"damaged")
    monkeypatch.setattr(shards, "LEAST_ROWS", 10)  # a new bank would have other shards
    again = extract(entry, "avgpool", data, root=tmp_path)
    assert {name: value for name, value in content(again.folder).items() if name != "plan.json"} == whole


@pytest.mark.parametrize("lost", [0, 1])
def test_without_its_plan_a_bank_is_rebuilt_the_same(
    entry: ModelEntry, data: FolderImages, tmp_path: Path, lost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD_ROWS", 25)  # three equal shards: one could be taken for another
    bank = extract(entry, "avgpool", data, root=tmp_path)
    whole = {name: value for name, value in content(bank.folder).items() if name != "plan.json"}
    (bank.folder / "plan.json").unlink()
    (bank.folder / "shard-00002.npy").unlink()
    (bank.folder / f"shard-0000{lost}.json").write_text('{"rows": "many"}')
    monkeypatch.setattr(shards, "SHARD_ROWS", 25 if lost == 0 else 50)
    again = content(extract(entry, "avgpool", data, root=tmp_path).folder)
    assert {name: value for name, value in again.items() if name != "plan.json"} == whole
    assert "plan.json" in again


def test_a_lost_list_of_samples_is_written_again(entry: ModelEntry, data: FolderImages, tmp_path: Path) -> None:
    bank = extract(entry, "avgpool", data, root=tmp_path)
    whole = content(bank.folder)
    for damage in ("", "name,label\n", "name,label\n" + "a,b\n" * COUNT):
        (bank.folder / "samples.csv").write_text(damage)
        assert content(extract(entry, "avgpool", data, root=tmp_path).folder) == whole


class TestPrecision:
    """Autocast is part of a bank's identity; full precision is not, so that old banks keep their keys."""

    def test_reduced_precision_is_another_bank_with_close_values(
        self, entry: ModelEntry, data: FolderImages, tmp_path: Path
    ) -> None:
        full = extract(entry, "avgpool", data, root=tmp_path)
        half = extract(entry, "avgpool", data, root=tmp_path, precision="bfloat16")
        assert half.folder != full.folder
        assert half.identity.precision == half.provenance["precision"] == "bfloat16"
        assert Bank(half.folder).identity == identity(entry, "avgpool", data, precision="bfloat16")
        assert half.read().dtype == np.float32
        difference = np.abs(half.read() - full.read()).max() / full.read().max()
        assert 0 < difference < 0.03

    def test_full_precision_is_not_in_the_key(self, entry: ModelEntry, data: FolderImages) -> None:
        who = identity(entry, "avgpool", data)
        assert "precision" not in who.fields
        assert who.key != identity(entry, "avgpool", data, precision="bfloat16").key
        shipped = find_bank(identity(get_model("demo"), "avgpool", get_dataset("digits")), BUNDLED)
        assert shipped, "banks from before there was a precision are found"

    def test_what_a_device_cannot_do_is_one_sentence(
        self, entry: ModelEntry, data: FolderImages, tmp_path: Path
    ) -> None:
        for precision, sentence in (("float16", "needs a CUDA GPU; on cpu take bfloat16"), ("int8", "not int8")):
            with pytest.raises(BankError, match=sentence):
                extract(entry, "avgpool", data, root=tmp_path, precision=precision, device=CPU)
        with pytest.raises(BankError, match="float32 or float16, not int8"):
            extract(entry, "avgpool", data, root=tmp_path, dtype="int8")


DEADLY = """
import multiprocessing, os, signal, sys
from pathlib import Path
import ash
from ash.bank import BankError
from ash.data import FolderImages

class Deadly(FolderImages):
    def image(self, index):
        if index == 30 and multiprocessing.parent_process():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().image(index)

checkpoint, data, root = map(Path, sys.argv[1:])
try:
    ash.extract(ash.get_model("demo", checkpoint), "avgpool", Deadly(data, "pets"), root=root, workers=1)
except BankError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_killed_decoding_process_is_one_sentence(entry: ModelEntry, data: FolderImages, tmp_path: Path) -> None:
    """In a process of its own: torch reports the death from a signal handler, so anywhere, in pytest's code as well."""
    words = [sys.executable, "-c", DEADLY, str(entry.weights), str(data.path), str(tmp_path)]
    done = subprocess.run(words, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=120)
    assert re.match(r"A decoding process was killed, .* take fewer with --workers", done.stdout), done.stderr
    assert not list(tmp_path.rglob("*.lock")), "nothing stays claimed"


class TestCost:
    """Bytes and seconds, known before anything is extracted."""

    def test_bytes_are_those_of_the_activations(
        self, entry: ModelEntry, data: FolderImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ASH_CACHE", str(tmp_path))
        for placement, dtype in (("layer4.0.relu2", "float32"), ("avgpool", "float16"), ("penultimate", "float32")):
            price = cost(entry, placement, COUNT, dtype)
            bank = extract(entry, placement, data, dtype=dtype)
            assert price.bytes == bank.read().nbytes
            assert price.seconds == pytest.approx(COUNT / price.rate)
            assert price.device.startswith("CPU")

    def test_the_rate_is_measured_once(
        self, entry: ModelEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ASH_CACHE", str(tmp_path))
        first = cost(entry, "avgpool", 1000)
        monkeypatch.setattr(stems, "Stem", None)
        assert cost(entry, "avgpool", 1000) == first
        assert cost(entry, "avgpool", 3000).seconds == pytest.approx(3 * first.seconds)
        with pytest.raises(TypeError):
            cost(entry, "layer4.0.relu2", 1000)

    def test_a_cache_that_cannot_be_written_does_not_matter(
        self, entry: ModelEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("ASH_CACHE", str(tmp_path / "file"))
        assert cost(entry, "avgpool", 10).bytes == 10 * 192 * 4
