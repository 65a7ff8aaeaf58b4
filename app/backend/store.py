"""Sweeps on disk, so that a restarted server draws its first chart before torch is even loaded.

A file is found by a hash of everything that decides its content: the banks, the methods, and the source of the library
and of the plug-ins that compute it. A damaged or outdated file is computed again.
"""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import ash
from ash import plugins, sweep_files
from ash.bank import cache_root
from ash.files import read_bytes, write_atomically
from ash.tables import Sweep

MOST_BYTES = 2 * 10**9  # of all files; the oldest go first. A sweep of the demo takes 10 MB, one setting 0.1 MB


@cache
def _code() -> str:
    folder = Path(str(ash.__file__)).parent
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(folder.rglob("*.py")))).hexdigest()


def path_of(banks: Sequence[str], methods: Sequence[str]) -> Path:
    """The file of a sweep over banks (their keys, the ID set first) and methods."""
    text = json.dumps([_code(), sorted(plugins.texts().values()), list(banks), list(methods)])
    return cache_root().parent / "sweeps" / f"{hashlib.sha256(text.encode()).hexdigest()[:20]}.npz"


def save(path: Path, sweep: Sweep, device: str) -> dict[str, str]:
    """Keep a sweep and its origin (device, date), which is returned. A cache that cannot be written is left alone."""
    origin = {"device": device, "date": datetime.now(UTC).isoformat(timespec="seconds")}
    content = sweep_files.to_bytes(sweep, origin)
    with contextlib.suppress(OSError):
        write_atomically(path, content)
        _forget_oldest(path.parent)
    return origin


def _forget_oldest(folder: Path) -> None:
    files = sorted(((file.stat(), file) for file in folder.glob("*.npz")), key=lambda one: one[0].st_mtime)
    left = sum(status.st_size for status, _ in files)
    for status, file in files[:-1]:
        if left <= MOST_BYTES:
            return
        file.unlink(missing_ok=True)
        left -= status.st_size


def load(path: Path, methods: Sequence[str]) -> tuple[Sweep, dict[str, str]] | None:
    """The sweep and its origin (device, date), or None when there is no intact file; a damaged one is removed."""
    try:
        return sweep_files.from_bytes(read_bytes(path), methods)
    except OSError:
        return None
    except sweep_files.UNREADABLE:
        with contextlib.suppress(OSError):
            path.unlink()
        return None
