"""Banks as they ship: rounded to so many bits, in one file, and what is damaged in it is named."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ash.bank import Bank, BankError
from ash.data import evenly, get_dataset
from ash.extracting import packing
from ash.extraction import extract
from ash.files import DamagedError, file_hash
from ash.models import get_model

VALUES = st.floats(-(2.0**100), 2.0**100, width=32)


ROWS = arrays(np.float32, st.tuples(st.integers(0, 4), st.integers(1, 6), st.just(2)), elements=VALUES)


@given(ROWS | arrays(np.float32, (3, 9), elements=st.sampled_from([0, 1, 1 + 2**-20, 1 + 2**-19, -1, -1 - 2**-20, 2])))
def test_rounded_values_keep_their_order_and_their_ties(x: np.ndarray) -> None:
    found = packing.rounded(x)
    before, after = (one.reshape(len(x), x.size // max(len(x), 1)) for one in (x, found))
    for row, other in zip(before, after, strict=True):
        assert np.array_equal(np.sign(row[:, None] - row), np.sign(other[:, None] - other))
    assert (found[x == 0] == 0).all()
    assert (found.view(np.uint32) & (2**13 - 1) == 0).all()


def test_values_are_hardly_moved() -> None:
    x = np.maximum(np.random.default_rng(0).standard_normal((50, 1280)), 0).astype(np.float32)
    moved = np.abs(packing.rounded(x) - x)[x > 0] / x[x > 0]
    print(f"moved by 2^{np.log2(moved.max()):.1f} at most, {(moved > 2**-11).mean():.2%} by more than rounding")
    assert moved.max() < 2**-7
    assert np.median(moved) < 2**-11


@given(arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 4)), elements=VALUES))
def test_a_packed_shard_reads_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, x: np.ndarray) -> None:
    path = tmp_path_factory.mktemp("packed") / "shard-00000.npz"
    path.write_bytes(packing.packed(x))
    assert np.array_equal(packing.unpacked(path, file_hash(path)), packing.rounded(x))


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    """A packed bank of 30 images."""
    whole = extract(get_model("demo"), "penultimate", evenly(get_dataset("digits"), 30), root=tmp_path / "whole")
    packing.pack(whole.read(), whole.folder, tmp_path / whole.folder.name)
    return Bank(tmp_path / whole.folder.name)


def test_a_packed_bank_is_the_same_bank(bank: Bank, tmp_path: Path) -> None:
    (folder,) = (path.parent for path in (tmp_path / "whole").rglob("manifest.json"))
    whole = Bank(folder)
    assert bank.identity == whole.identity
    assert (bank.names, bank.labels.tolist()) == (whole.names, whole.labels.tolist())
    assert np.array_equal(bank.read(), packing.rounded(whole.read()))
    assert np.array_equal(bank[7], bank.read()[7])
    assert [len(chunk) for chunk in bank.chunks(20)] == [20, 10]
    assert bank.damaged() == []


@pytest.mark.parametrize("at", [0, 40, -30, -1])
def test_a_flipped_byte_is_found_before_its_first_use(bank: Bank, at: int) -> None:
    path = bank.folder / "shard-00000.npz"
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    assert bank.damaged() == [path.name]
    with pytest.raises(BankError, match="missing or damaged"):
        bank.read()


def test_what_is_no_packed_shard_is_told(tmp_path: Path) -> None:
    path = tmp_path / "shard-00000.npz"
    for content in (b"", b"no archive"):
        path.write_bytes(content)
        with pytest.raises(DamagedError):
            packing.unpacked(path, file_hash(path))
    np.savez(path, planes=np.zeros((4, 3), np.uint8), shape=[2, 2])
    with pytest.raises(DamagedError, match="no packed shard"):
        packing.unpacked(path, file_hash(path))
