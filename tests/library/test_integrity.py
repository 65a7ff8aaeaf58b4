"""What makes numbers is verified before its first use, and no file in the place of another makes anybody wait."""

import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.sparse

from ash import shipped
from ash.bank import BUNDLED, SAMPLES, Bank, BankError, BankIdentity
from ash.data import CifarImages, CsvImages, DataError, SvhnImages
from ash.datasets import cifar_pickle
from ash.datasets.archives import ArchiveError, unpack_steps
from ash.errors import EXPECTED
from ash.extracting import claims
from ash.files import (
    DamagedError,
    file_hash,
    map_npy,
    open_regular,
    parse_npz,
    read_json,
    read_npz,
    write_atomically,
    write_json,
)
from ash.models import ModelError, get_model
from ash.networks.checkpoints import load_weights
from ash.networks.own import DemoNet


def flipped(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@pytest.fixture
def in_time() -> Iterator[None]:
    """The test ends within ten seconds, or it hangs."""

    def late(*_: object) -> None:
        raise AssertionError("it waits for ever")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


class TestRegularFiles:
    """A pipe, a folder, a socket, a device or a link to nowhere is refused at once."""

    @pytest.fixture(params=["pipe", "folder", "socket", "device", "dangling link"])
    def odd(
        self, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[..., Path]:
        def make(path: Path) -> Path:
            path.unlink(missing_ok=True)
            if request.param == "pipe":
                os.mkfifo(path)
            elif request.param == "folder":
                path.mkdir()
            elif request.param == "socket":
                monkeypatch.chdir(path.parent)  # the names of sockets are short
                socket.socket(socket.AF_UNIX).bind(path.name)
            else:
                path.symlink_to("/dev/zero" if request.param == "device" else tmp_path / "no" / "where")
            return path

        return make

    @pytest.mark.usefixtures("in_time")
    def test_in_the_place_of_any_file_it_is_refused(self, odd: Callable[..., Path], tmp_path: Path) -> None:
        path = odd(tmp_path / "x.csv")
        reads: list[Callable[[], Any]] = [
            lambda: open_regular(path),
            lambda: read_json(path),
            lambda: read_npz(path),
            lambda: map_npy(path, ""),
            lambda: file_hash(path),
            lambda: CsvImages(path, "x"),
            lambda: len(CifarImages(path, "x")),
            lambda: len(SvhnImages(path, "x")),
            lambda: load_weights(DemoNet(), path),
        ]
        for read in reads:
            with pytest.raises(EXPECTED):
                read()

    @pytest.mark.usefixtures("in_time")
    @pytest.mark.parametrize("name", ["samples.csv", "manifest.json", "shard-00000.npy"])
    def test_in_a_bank(self, odd: Callable[..., Path], tmp_path: Path, name: str) -> None:
        folder = bank(tmp_path)
        odd(folder / name)
        with pytest.raises(EXPECTED):
            used(folder)

    @pytest.mark.usefixtures("in_time")
    def test_as_a_lock(self, odd: Callable[..., Path], tmp_path: Path) -> None:
        path = odd(tmp_path / "extract.lock")
        with pytest.raises(EXPECTED):
            claims.claim(path)


def used(folder: Path) -> Any:
    """All that a bank holds."""
    opened = Bank(folder)
    return opened.labels, opened.read()


def bank(root: Path, older: bool = False) -> Path:
    """A complete bank of three rows, as it is written now or as it was before there were checksums of samples."""
    folder = root / "m" / "p" / "made"
    folder.mkdir(parents=True)
    extract(folder)
    if older:
        import json

        about = read_json(folder / "manifest.json")
        del about[SAMPLES]
        (folder / "manifest.json").write_text(json.dumps(about))
    return folder


def extract(folder: Path) -> None:
    """Write what `bank` holds, as an extraction does whose only shard is not finished."""
    from ash.extracting.shards import Plan, Shards
    from ash.images import ImageSet

    class Images(ImageSet):
        name = label = fingerprint = "made"  # type: ignore[assignment]
        names = ("a", "b", "c")  # type: ignore[assignment]
        labels = np.array([4, 5, 6])  # type: ignore[assignment]

        def image(self, index: int) -> Any:
            raise NotImplementedError

    shards = Shards(folder, Plan(2, 3), 3)
    assert shards.take() == 0
    shards.write(0, np.arange(6, dtype=np.float32).reshape(3, 2), [])
    shards.finish(BankIdentity("m", "w", "p", "t", "made", "f"), Images(), Images.labels, (2,))


class TestBanks:
    """Activations, labels and what the manifest says of them."""

    @pytest.mark.parametrize("name", ["samples.csv", "manifest.json", "shard-00000.npy"])
    def test_no_flipped_byte_makes_another_number(self, tmp_path: Path, name: str) -> None:
        path = bank(tmp_path) / name
        whole, refused = path.read_bytes(), 0
        for at in range(0, len(whole), max(1, len(whole) // 60)):
            flipped(path, at)
            try:
                labels, rows = used(path.parent)
            except BankError as error:
                refused += 1
                assert "damaged" in str(error)  # noqa: PT017
            else:  # the name of a checksum, or a space
                assert (labels.tolist(), rows.tolist()) == ([4, 5, 6], [[0, 1], [2, 3], [4, 5]])
            path.write_bytes(whole)
        assert refused > 20
        assert Bank(path.parent).labels.tolist() == [4, 5, 6]

    def test_an_older_bank_works_and_is_verified_from_its_first_use_on(self, tmp_path: Path) -> None:
        folder = bank(tmp_path, older=True)
        assert Bank(folder).labels.tolist() == [4, 5, 6]
        assert not list(folder.glob("*.lock"))
        samples = folder / "samples.csv"
        samples.write_bytes(samples.read_bytes().replace(b"5", b"7"))
        with pytest.raises(BankError, match=r"samples\.csv is damaged"):
            Bank(folder).labels  # noqa: B018

    def test_an_older_bank_that_cannot_be_written_works(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = bank(tmp_path, older=True)
        monkeypatch.setattr(claims, "claim", lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "no")))
        assert Bank(folder).labels.tolist() == [4, 5, 6]


class TestShipped:
    """assets/demo, in a copy."""

    @pytest.fixture
    def copy(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        import shutil

        folder = tmp_path / "demo"
        shutil.copytree(shipped.FOLDER, folder, ignore=shutil.ignore_patterns("banks"))
        monkeypatch.setattr(shipped, "FOLDER", folder)
        return folder

    def test_weights(self, copy: Path) -> None:
        from dataclasses import replace

        entry = replace(get_model("demo"), checkpoint=copy / "weights.pt")
        entry.build()
        flipped(copy / "weights.pt", 500_000)
        for use in (entry.build, entry.weights_hash):
            with pytest.raises(ModelError, match=r"weights\.pt is damaged.*git checkout"):
                use()

    def test_the_manifest_itself(self, copy: Path) -> None:
        digest = file_hash(copy / "weights.pt")
        assert shipped.complaint(copy / "weights.pt", digest) == ""
        manifest = copy / "manifest.json"
        for text in (b"weights.pt", digest.encode(), b'"files"'):
            whole = manifest.read_bytes()
            flipped(manifest, whole.index(text) + 2)
            assert shipped.complaint(copy / "weights.pt", digest), text
            manifest.write_bytes(whole)

    @pytest.mark.parametrize("name", ["manifest.json", "provenance.json", "samples.csv.gz", "shard-00000.npz"])
    @pytest.mark.parametrize("harm", ["flipped", "truncated", "empty"])
    def test_every_file_of_a_bank_is_to_be_had_again(self, copy: Path, name: str, harm: str) -> None:
        import shutil

        ships = next((BUNDLED / "demo" / "avgpool").glob("digits-*"))
        folder = shutil.copytree(ships, copy / ships.relative_to(BUNDLED.parent))
        file = folder / name
        if harm == "flipped":
            flipped(file, file.stat().st_size // 2)
        else:
            file.write_bytes(file.read_bytes()[: 0 if harm == "empty" else -9])
        with pytest.raises(BankError, match=rf"{re.escape(name)} .*damaged.*; get it again, .*git checkout"):
            _ = (used(folder), Bank(folder).provenance)

    def test_images(self, copy: Path) -> None:
        from ash.data import ArrayImages

        path = copy / "images" / "noise.npz"
        assert len(ArrayImages(path, "noise", "Noise", shipped=True)) == 1000
        flipped(path, 5000)
        images = ArrayImages(path, "noise", "Noise", shipped=True)
        for use in (lambda: images.labels, lambda: images.fingerprint, lambda: images.image(0)):
            with pytest.raises(DataError, match=r"noise\.npz is damaged"):
                use()


class Pointers:
    """An array of objects made of bytes: their values would be addresses."""

    def __reduce__(self) -> Any:
        return np.ndarray, ((100,), "O", b"\x41" * 800)


class Deep:
    """A call of what the batch may name, with what it may not."""

    def __reduce__(self) -> Any:
        return np.dtype, ("O",)


@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "batch",
    [
        {"data": Pointers(), "labels": [0]},
        {"data": Deep(), "labels": [0]},
        {"data": np.array([None] * 3072).reshape(1, 3072), "labels": [0]},
        {"data": np.zeros((1, 3072), np.float32), "labels": [0]},
        {"data": np.zeros((1, 3071), np.uint8), "labels": [0]},
        {"data": np.zeros((1, 3072), np.uint8), "labels": [0, 1]},
        {"data": np.zeros((1, 3072), np.uint8), "labels": [True]},
        {"data": np.zeros((1, 3072), np.uint8), "labels": [-1]},
        {"data": np.zeros((1, 3072), np.uint8), "labels": [10**30]},
        {"data": np.zeros((1, 3072), np.uint8), "labels": "0"},
        [1],
    ],
    ids=[
        *("pointers", "a call", "objects", "floats", "a value too few", "a label too many"),
        *("a truth as label", "a negative label", "a huge label", "text for labels", "no dictionary"),
    ],
)
def test_a_batch_in_any_other_form_is_refused(batch: Any, protocol: int) -> None:
    with pytest.raises(DamagedError):
        cifar_pickle.parse(pickle.dumps(batch, protocol=protocol))


@pytest.mark.usefixtures("in_time")
def test_a_key_whose_hash_takes_for_ever_is_refused() -> None:
    body = b"\x80\x02})" + b"q\x00h\x00\x86" * 60 + b"K\x01s."  # a pair of a pair of a pair ...
    with pytest.raises(DamagedError):
        cifar_pickle.parse(body)


@pytest.mark.parametrize(
    "content",
    [
        {"y": np.array([[1], "a", [2]], object)},
        {"y": {"a": 1}},
        {"y": "text"},
        {"y": scipy.sparse.csc_matrix(np.ones((3, 1)))},
        {"y": np.array([[0.5], [1], [2]])},
        {"y": np.array([[np.nan], [1], [2]])},
        {"y": np.ones((3, 1)), "X": np.ones((1, 1))},
        {"y": np.ones((3, 1)), "X": np.ones((32, 32, 3, 2), np.uint8)},
        {"y": np.ones((3, 1)), "X": np.ones((32, 32, 3, 3))},
        {"X": np.ones((32, 32, 3, 3), np.uint8)},
    ],
    ids=range(10),
)
def test_another_mat_file_is_a_sentence(tmp_path: Path, content: dict[str, Any]) -> None:
    scipy.io.savemat(tmp_path / "x.mat", content)
    images = SvhnImages(tmp_path / "x.mat", "x")
    with pytest.raises(DataError, match=r"x\.mat is not a \.mat file of SVHN"):
        images.labels, images.image(0)


def test_a_mat_file_that_unpacks_to_too_much_is_refused_before_any_of_it_is_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = {"y": np.ones((3000, 1)), "X": np.zeros((32, 32, 3, 3000), np.uint8)}
    scipy.io.savemat(tmp_path / "x.mat", content, do_compression=True)
    size = (tmp_path / "x.mat").stat().st_size
    assert size < 100_000, "nine megabytes of zeros pack into very little"
    assert len(SvhnImages(tmp_path / "x.mat", "x").labels) == 3000
    monkeypatch.setattr("ash.datasets.array_images.MOST_UNPACKED", 1_000_000)
    monkeypatch.setattr("scipy.io.loadmat", lambda *_, **__: pytest.fail("it is read"))
    with pytest.raises(DataError, match="unpacks to more than 1,000,000 bytes"):
        SvhnImages(tmp_path / "x.mat", "x").image(0)


def header(kind: bytes, size: int) -> bytes:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [b"L", b"K", b"x", b"g", b"X", b"S"])
@pytest.mark.parametrize("many", [False, True])
def test_headers_of_an_archive_are_bounded(tmp_path: Path, kind: bytes, many: bool) -> None:
    size = 512 if many else 50_000_000
    one = header(kind, size) + b"1" * size
    (tmp_path / "x.tar").write_bytes(one * (200 if many else 1))
    with pytest.raises(ArchiveError, match=r"header|holes"):
        list(unpack_steps(tmp_path / "x.tar", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_json_that_is_nested_too_deep_or_was_changed_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("[" * 100_000)
    with pytest.raises(BankError, match="is damaged"):
        read_json(path)
    write_json(path, {"rows": 5})
    assert read_json(path) == {"rows": 5}
    path.write_bytes(path.read_bytes().replace(b"5", b"6", 1))
    with pytest.raises(BankError, match="is damaged"):
        read_json(path)


def test_a_line_without_an_end_is_a_sentence(tmp_path: Path) -> None:
    with (tmp_path / "x.csv").open("wb") as file:
        file.write(b"image,label\n")
        file.truncate(2 * 10**9)  # zeros that take no room
    with pytest.raises(DataError, match="a line of more than"):
        CsvImages(tmp_path / "x.csv", "x")


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(-1,)", "(2, 2)"])
@pytest.mark.parametrize("kind", ["|O", "<f4"])
def test_an_array_is_as_large_as_its_bytes(shape: str, kind: str) -> None:
    import io
    import zipfile

    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as pack:
        pack.writestr("a.npy", b"\x93NUMPY\x01\x00\x76\x00" + text.encode() + b"\0" * 8)
    with pytest.raises(DamagedError):
        parse_npz(buffer.getvalue())


class TestLeftovers:
    """What killed processes leave goes with the next run; what is being written stays."""

    def test_a_temporary_file_of_a_killed_process(self, tmp_path: Path) -> None:
        code = (
            "import os, sys, pathlib; from ash import files\n"
            "os.replace = lambda *a: (print('here', flush=True), __import__('time').sleep(60))\n"
            "files.write_atomically(pathlib.Path(sys.argv[1]), b'half')"
        )
        command = [sys.executable, "-c", code, str(tmp_path / "fit.npz")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as child:
            assert child.stdout
            child.stdout.readline()
            write_atomically(tmp_path / "fit.npz", b"whole")
            assert len(list(tmp_path.glob(".fit.npz-*"))) == 1, "the other one is at work"
            child.kill()
        write_atomically(tmp_path / "fit.npz", b"whole")
        assert [path.name for path in tmp_path.iterdir()] == ["fit.npz"]

    @pytest.mark.parametrize("begun", [True, False])
    def test_those_of_a_killed_extraction(self, tmp_path: Path, begun: bool) -> None:
        """Of a shard that was being written, and of the files that say what the bank is, which stay as they are."""
        folder = bank(tmp_path)
        names = {path.name for path in folder.iterdir() if path.suffix != ".lock"}
        for name in names | {"plan.json", "provenance.json"}:
            (folder / f".{name}-abcdefgh").write_bytes(b"half")
        (folder / "shard-00000.json").unlink()
        if begun:
            (folder / "shard-00000.npy").unlink()
        extract(folder)
        assert {path.name for path in folder.iterdir() if path.suffix != ".lock"} == names
        assert used(folder)[1].shape == (3, 2)

    def test_other_hidden_files_stay(self, tmp_path: Path) -> None:
        (tmp_path / ".fit.npz-notes").touch()
        (tmp_path / ".other-abcdefgh").touch()
        write_atomically(tmp_path / "fit.npz", b"whole")
        assert len(list(tmp_path.iterdir())) == 3

    def test_locks_that_nobody_holds(self, tmp_path: Path) -> None:
        (tmp_path / "extract.lock").touch()
        held = claims.claim(tmp_path / "shard-00000.lock")
        assert held
        claims.tidy(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["shard-00000.lock"]
        held.release()
