"""Unpacking: what is good arrives whole, what is hostile, damaged or too large leaves nothing behind."""

import io
import os
import resource
import signal
import stat
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ash.data import DataError
from ash.datasets.archives import unpack_steps

ROOT = Path(__file__).parents[2]
FILES = {"set/a/1.png": b"one" * 1000, "set/b/2.png": b"two", "set/notes.txt": b""}


def tar(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:
        for info, content in members:
            info.size = len(content) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(content))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def zipped(path: Path, files: dict[str, bytes], mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return path


def unpack(archive: Path, target: Path, **options: object) -> list[tuple[int, int]]:
    return list(unpack_steps(archive, target, **options))  # type: ignore[arg-type]


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz", "x.tgz", "x.zip"])
def test_a_good_archive_arrives_whole(tmp_path: Path, name: str) -> None:
    if name.endswith("zip"):
        archive = zipped(tmp_path / name, FILES)
    else:
        members = [(member(file), body) for file, body in FILES.items()]
        folder = (member("set/empty", tarfile.DIRTYPE), b"")
        archive = tar(tmp_path / name, folder, *members, mode="w" if name == "x.tar" else "w:gz")
    steps = unpack(archive, tmp_path / "out")
    assert content(tmp_path / "out") == FILES
    assert steps == sorted(steps)
    assert steps[-1][1] == archive.stat().st_size
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o755
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", name]


def test_only_the_members_that_are_asked_for(tmp_path: Path) -> None:
    archive = tar(tmp_path / "x.tar", *((member(name), body) for name, body in FILES.items()), mode="w")
    unpack(archive, tmp_path / "out", members=r"set/./\d\.png")
    assert set(content(tmp_path / "out")) == {"set/a/1.png", "set/b/2.png"}
    with pytest.raises(DataError, match=r"x\.tar holds none of the files that it should"):
        unpack(archive, tmp_path / "other", members="nothing")


HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "parent": (lambda p: tar(p, (member("ok"), b"1"), (member("../evil"), b"x")), "leads out"),
    "deep parent": (lambda p: tar(p, (member("a/../../evil"), b"x")), "leads out"),
    "absolute": (lambda p: tar(p, (member("/tmp/evil"), b"x")), "leads out"),
    "drive": (lambda p: tar(p, (member("C:/evil"), b"x")), "leads out"),
    "backslash": (lambda p: zipped(p, {"..\\evil": b"x"}), "leads out"),
    "zip parent": (lambda p: zipped(p, {"../evil": b"x"}), "leads out"),
    "zip absolute": (lambda p: zipped(p, {"/evil": b"x"}), "leads out"),
    "symlink": (lambda p: tar(p, (member("s", tarfile.SYMTYPE, "/etc"), b""), (member("s/evil"), b"x")), "a link"),
    "inner symlink": (lambda p: tar(p, (member("s", tarfile.SYMTYPE, "ok"), b"")), "a link"),
    "hard link": (lambda p: tar(p, (member("h", tarfile.LNKTYPE, "../../victim"), b"")), "a link"),
    "device": (lambda p: tar(p, (member("null", tarfile.CHRTYPE), b"")), "link or device"),
    "pipe": (lambda p: tar(p, (member("pipe", tarfile.FIFOTYPE), b"")), "link or device"),
    "zip symlink": (lambda p: zipped(p, {"s": b"/etc/passwd"}, stat.S_IFLNK | 0o777), "a link"),
    "twice": (lambda p: tar(p, (member("a"), b"1"), (member("./a"), b"2")), "twice"),
    "file as folder": (lambda p: tar(p, (member("a"), b"1"), (member("a/b"), b"2")), "cannot be unpacked"),
    "folder as file": (lambda p: tar(p, (member("a/b"), b"1"), (member("a"), b"2")), "twice"),
    "long name": (lambda p: tar(p, (member("n" * 300), b"1")), "File name too long"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_archive_leaves_nothing(tmp_path: Path, kind: str) -> None:
    make, sentence = HOSTILE[kind]
    archive = make(tmp_path / "x.archive")
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match=sentence):
        unpack(archive, tmp_path / "in" / "out")
    assert list((tmp_path / "in").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "x.archive"]


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_bombs_stop_at_the_limit(tmp_path: Path, kind: str) -> None:
    many = {f"{i}": b"" for i in range(50)}
    big = {"zeros": bytes(10_000_000)}
    for files, options, sentence in (
        (many, {"max_files": 49}, "more than 49 files"),
        (big, {"max_bytes": 5_000_000}, r"more than 0\.005 GB"),
    ):
        path = tmp_path / f"{len(files)}.{kind}"
        archive = zipped(path, files) if kind == "zip" else tar(path, *((member(n), b) for n, b in files.items()))
        with pytest.raises(DataError, match=sentence):
            unpack(archive, tmp_path / "out", **options)
        assert not (tmp_path / "out").exists()
    assert len(list(tmp_path.iterdir())) == 2


def test_damaged_archives_are_a_sentence(tmp_path: Path) -> None:
    whole = tar(tmp_path / "x.tgz", *((member(f"{i}"), os.urandom(9000)) for i in range(9))).read_bytes()
    for name, body in {
        "cut.tgz": whole[: len(whole) // 2],
        "flipped.tgz": whole[:5000] + bytes(200) + whole[5200:],
        "page.tar": b"<html>Sign in</html>" * 100,
        "empty.tar": b"",
        "cut.zip": zipped(tmp_path / "x.zip", FILES).read_bytes()[:-30],
    }.items():
        (tmp_path / name).write_bytes(body)
        with pytest.raises(DataError, match=rf"{name} is damaged or no archive \([^\n]+\)\.$"):
            unpack(tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_whoever_stops_leaves_nothing(tmp_path: Path) -> None:
    archive = tar(tmp_path / "x.tar", *((member(f"{i}"), b"x") for i in range(9)), mode="w")
    steps = unpack_steps(archive, tmp_path / "out")
    next(steps)
    assert len(list(tmp_path.iterdir())) == 2
    steps.close()
    assert list(tmp_path.iterdir()) == [archive]


def test_what_is_there_is_not_touched(tmp_path: Path) -> None:
    archive = tar(tmp_path / "x.tar", (member("a"), b"x"), mode="w")
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match="is there already"):
        unpack(archive, tmp_path / "out")


def test_a_killed_unpack_is_not_there(tmp_path: Path) -> None:
    archive = tar(tmp_path / "x.tar", *((member(f"{i}"), b"x") for i in range(9)), mode="w")
    code = "import sys, time; from pathlib import Path; from ash.datasets.archives import unpack_steps\n"
    code += "for step in unpack_steps(Path(sys.argv[1]), Path(sys.argv[2])): print(flush=True), time.sleep(1)"
    command = [sys.executable, "-c", code, str(archive), str(tmp_path / "out")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    time.sleep(0.1)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_a_sentence(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the write fails part-way with an error of the system."""
    archive = tar(tmp_path / "x.tar", (member("small"), b"x"), (member("big"), bytes(3_000_000)), mode="w")
    code = "import sys; from pathlib import Path; from ash.datasets.archives import unpack_steps\n"
    code += "list(unpack_steps(Path(sys.argv[1]), Path(sys.argv[2])))"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    command = [sys.executable, "-B", "-c", code, str(archive), str(tmp_path / "out")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, preexec_fn=limit)
    assert "DataError: x.tar cannot be unpacked" in result.stderr
    assert "File too large" in result.stderr
    assert list(tmp_path.iterdir()) == [archive]
