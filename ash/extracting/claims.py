"""Claims: who works on what, among processes that share a folder.

A claim is a lock on a small file. The kernel drops it when its process ends, however that ends, so the work of a killed
process is free at once and nothing has to be cleaned up. `flock` also works between machines where the file system
carries it (NFS 4, Lustre mounted with `flock`, GPFS, CephFS).

Why not the library `filelock`: its `FileLock` is the same `flock`, but exclusive alone and silent about who holds it; a
bank in use must be held by many at once against its deletion, and a page says which process it waits for.
"""

import contextlib
import errno
import os
import platform
import stat
from pathlib import Path

from ash.files import BankError

try:
    import fcntl
except ImportError:  # Windows: claims always succeed, so a bank is extracted by one process at a time
    fcntl = None  # type: ignore[assignment]

_PLAIN = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # a link may lead nowhere, a pipe waits
_handles: set[int] = set()  # of the claims of this process
_MOST = 200  # bytes of a claim's file that are read


def _forget() -> None:
    """In a forked child: it shares the parent's locks and would hold them for longer than the parent lives."""
    for handle in _handles:
        with contextlib.suppress(OSError):
            os.close(handle)
    _handles.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class Claim:
    """A lock on the file at `path` that this process holds until `release`."""

    def __init__(self, path: Path, handle: int) -> None:
        self.path, self._handle = path, handle
        _handles.add(handle)

    def release(self) -> None:
        """Let go, and remove the file unless others share it. Twice does no harm."""
        if self._handle not in _handles:
            return
        with contextlib.suppress(OSError):  # without the file the claim is gone as well
            if fcntl:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while others share it
            if _is(self._handle, self.path):
                self.path.unlink()
        _handles.discard(self._handle)
        os.close(self._handle)
        self._handle = -1

    def __enter__(self) -> "Claim":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def claim(path: Path, *, shared: bool = False) -> Claim | None:
    """Lock a file, or None when another holds it. Shared claims exclude exclusive ones, not each other.

    Makes the file and its folder, and leaves in the file whose it is (`holder`). OSError when they cannot be made or
    something else lies there, a link for example;
    BankError where the file system has no locks.
    """
    return _locked(path, shared, wait=False)


def holder(path: Path) -> str:
    """Who holds an exclusive claim, in words: `process 4711 on node7`; "" where nobody does or it cannot be read."""
    try:
        with path.open("rb") as file:
            words = file.read(_MOST).decode().partition("\n")[0].split()
    except (OSError, UnicodeDecodeError):
        return ""
    if len(words) != 2 or not words[0].isdecimal():
        return ""
    number, machine = words
    return f"process {number}" if machine == _machine() else f"process {number} on {machine}"


def _machine() -> str:
    return "".join(platform.node().split()) or "localhost"


def wait(path: Path, *, shared: bool = False) -> Claim:
    """Like `claim`, but wait for as long as another holds it."""
    held = _locked(path, shared, wait=True)
    assert held is not None
    return held


def tidy(folder: Path) -> None:
    """Remove the lock files that killed processes left in a folder; those that somebody holds stay."""
    for path in folder.glob("*.lock"):
        with contextlib.suppress(OSError, BankError):
            if held := claim(path):
                held.release()


def _locked(path: Path, shared: bool, wait: bool) -> Claim | None:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | _PLAIN, 0o644)
        except FileNotFoundError:
            continue  # the folder was deleted in between
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise OSError(errno.EINVAL, "This is no regular file", str(path))
        try:
            if fcntl:
                fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(handle)
            return None
        except OSError as error:
            os.close(handle)
            raise BankError(
                f"{path.parent} is on a file system without file locks ({error.strerror}): set ASH_CACHE to another "
                "one, or mount it with flock."
            ) from error
        except BaseException:  # an interrupt while waiting
            os.close(handle)
            raise
        if _is(handle, path):
            if not shared:
                with contextlib.suppress(OSError):  # a full disk: it only informs
                    os.pwrite(handle, f"{os.getpid()} {_machine()}\n".encode(), 0)
            return Claim(path, handle)
        os.close(handle)  # its last holder removed the file between opening and locking


def _is(handle: int, path: Path) -> bool:
    """Whether an open file is still the one at the path."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
