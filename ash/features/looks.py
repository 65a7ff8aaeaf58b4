"""What reading a file of features has shown, kept in the cache for as long as the file looks the same."""

import hashlib
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from ash.bank import cache_root
from ash.datasets.content import SETTLED_NS
from ash.features.arrays import Seen, Stored, look_through
from ash.files import BankError, Look, look_of, read_json, write_json
from ash.images import DataError


def seen_of(one: Stored) -> tuple[Look, Seen]:
    """How a file of features looks, and what reading it shows: it is read where it looks other than it did.

    DataError where its values are no features, or it changes meanwhile.
    """
    now, look, kept = time.time_ns(), _look(one.path), _kept_at(one)
    with suppress(BankError, KeyError, TypeError):
        known = read_json(kept) if kept.is_file() else {}
        if known.get("look") == list(look):
            return look, Seen(str(known["digest"]), float(known["lowest"]))
    seen = look_through(one)
    if _look(one.path) != look:
        raise DataError(f"{one.path} has changed while it was read: try again when it is written.")
    if max(look[1], look[3]) < now - SETTLED_NS:  # else it may change again within one tick of the clock
        with suppress(OSError):  # a cache that cannot be written: it is read again after the next start
            write_json(kept, {"look": list(look), **asdict(seen)})
    return look, seen


def _look(path: Path) -> Look:
    try:
        return look_of(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def _kept_at(one: Stored) -> Path:
    name = hashlib.sha256(f"{one.path.resolve()} {one.key}".encode(errors="surrogateescape")).hexdigest()
    return cache_root().parent / "features" / f"{name[:16]}.json"
