"""Claims: one holder at a time, nobody after its process has died, and no file left behind."""

import errno
import os
import signal
from pathlib import Path

import pytest

from ash.extracting import claims
from ash.extracting.claims import claim, wait
from ash.files import BankError


def test_a_claim_excludes_until_it_is_released(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "shard.lock"
    first = claim(path)
    assert first is not None
    assert claim(path) is None
    first.release()
    first.release()
    assert not path.exists()
    with wait(path):
        assert claim(path) is None


def test_shared_claims_exclude_only_exclusive_ones(tmp_path: Path) -> None:
    path = tmp_path / "extract.lock"
    one, two = claim(path, shared=True), claim(path, shared=True)
    assert one is not None
    assert two is not None
    assert claim(path) is None
    one.release()
    assert path.exists(), "the other still shares it"
    assert claim(path) is None
    two.release()
    assert not path.exists()
    assert claim(path)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_the_claim_of_a_dead_process_is_free(tmp_path: Path, end: signal.Signals) -> None:
    path, (told, tell) = tmp_path / "lock", os.pipe()
    child = os.fork()
    if not child:
        held = claim(path)
        os.write(tell, b"held" if held else b"free")
        signal.pause()
    assert os.read(told, 4) == b"held"
    assert claim(path) is None
    os.kill(child, end)
    os.waitpid(child, 0)
    assert claim(path)


def test_a_forked_child_does_not_keep_its_parents_claim(tmp_path: Path) -> None:
    held = claim(tmp_path / "lock")
    assert held is not None
    child = os.fork()
    if not child:
        signal.pause()
    try:
        held.release()
        assert claim(tmp_path / "lock"), "a worker that lives on must not hold what its parent let go"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_file_removed_between_opening_and_locking_is_claimed_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, lock = tmp_path / "lock", claims.fcntl.flock
    removed = []

    def remove_first(handle: int, how: int) -> None:
        if not removed:
            removed.append(path.unlink())
        lock(handle, how)

    monkeypatch.setattr(claims.fcntl, "flock", remove_first)
    with wait(path):
        assert path.exists()
        assert claim(path) is None


def test_a_file_system_without_locks_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(claims.fcntl, "flock", refuse)
    with pytest.raises(BankError, match=r"without file locks \(No locks available\): set ASH_CACHE to another one"):
        claim(tmp_path / "lock")
