"""What the images of a set hold, as one hash, and whether they have changed since: a bank is known by it.

Image files are read once. Their digests stay in the cache, `digests/`, one file for each folder of images, for as long
as size, times and inode of the image stay; a cache that cannot be written costs the reading again. Imports no torch.
"""

import contextlib
import hashlib
import io
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ash.bank import cache_root
from ash.data import DataError, FileImages, ImageError, ImageSet, Subset
from ash.files import Look, look_of, write_atomically
from ash.images import READING

SETTLED_NS = 2_000_000_000  # a file that changed so short before it was read may change again within one clock tick
FEW = 64
_DIGEST = 16  # bytes
_THREADS = 8


@dataclass(frozen=True)
class Content:
    """What the images of a set hold, as a hash; of image files, `stamps` as they were when that was read."""

    digest: str
    paths: Sequence[str] = ()
    stamps: Sequence[Look] = ()

    def check(self, images: range) -> None:
        """DataError when a file of these images is not the one that was read any more."""
        for index in images if self.paths else ():
            if _look(self.paths[index]) != self.stamps[index]:
                raise DataError(
                    f"{self.paths[index]} has changed while its activations were computed: run it again when the "
                    "images stay as they are."
                )


def content_of(data: ImageSet) -> Content:
    """What a set's images hold: digests of files, the bytes of arrays, and the pixels of an image set of the user's.

    Files are read once; later only their status is asked for. DataError when one cannot be read or keeps changing.
    """
    whole, rows = _rows(data)
    if isinstance(whole, FileImages) and _is_ours(whole):
        paths = [f"{whole.root}/{whole.names[row]}" for row in rows]
        stamps, digests = _Digests(whole).of([whole.names[row] for row in rows])
        return Content(_joined(digests, whole.upright), paths, stamps)
    return Content(_hashed("array", whole.fingerprint.encode()) if _is_ours(whole) else _pixels(whole, rows))


def known_content(data: ImageSet) -> str | None:
    """The hash of a set's content where no more than a FEW of its images have to be read for it, else None."""
    whole, rows = _rows(data)
    if not _is_ours(whole):
        return None
    if not isinstance(whole, FileImages):
        return content_of(data).digest
    missing = _Digests(whole).known([whole.names[row] for row in rows]).count(None)
    return content_of(data).digest if missing <= FEW else None


def is_bytes(data: ImageSet) -> bool:
    """Whether a set's `fingerprint` is a hash of all its content already: a file that holds an array, or memory."""
    whole = _rows(data)[0]
    return _is_ours(whole) and not isinstance(whole, FileImages)


def files_of(data: ImageSet) -> list[str] | None:
    """The paths of a set's image files, None where it is not made of such."""
    whole, rows = _rows(data)
    return [f"{whole.root}/{whole.names[row]}" for row in rows] if isinstance(whole, FileImages) else None


def is_upright(data: ImageSet) -> bool:
    """Whether a set's images are turned as their EXIF data say; published ones are as stored."""
    return bool(getattr(_rows(data)[0], "upright", False))


def modified(paths: Sequence[str]) -> int:
    """The latest time, in ns, at which any of these files or its inode was changed."""
    return max(max(stamp[1], stamp[3]) for stamp in map(_look, paths))


def _rows(data: ImageSet) -> tuple[ImageSet, NDArray[np.int64]]:
    """The set that a subset is taken from, and which of its images."""
    rows = np.arange(len(data))
    whole = data
    while isinstance(whole, Subset) and _is_ours(whole):
        rows, whole = whole.rows[rows], whole.whole
    return whole, rows


def _is_ours(data: ImageSet) -> bool:
    """Whether `image` is this library's reading of bytes; a class of the user's may make of them what it likes."""
    return type(data).__module__.partition(".")[0] == "ash"


def _hashed(kind: str, content: bytes) -> str:
    return hashlib.sha256(f"{kind} {READING} ".encode() + content).hexdigest()


def _joined(digests: Sequence[bytes], upright: bool) -> str:
    return _hashed("files" if upright else "files as stored", b"".join(digests))


def _pixels(data: ImageSet, rows: NDArray[np.int64]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        try:
            image = data.image(int(row))
            digest.update(f"{image.mode} {image.size}".encode() + image.tobytes())
        except ImageError:
            digest.update(b"broken")
    return _hashed("pixels", digest.digest())


def _look(path: str) -> Look:
    try:
        return look_of(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def _read(path: str) -> tuple[Look, bytes, bool]:
    """A file's stamp and digest, and whether that may be kept; DataError when it cannot be read or keeps changing."""
    try:
        for _ in range(3):
            now = time.time_ns()
            with open(path, "rb", buffering=0) as file:
                before = look_of(file.fileno())
                digest = hashlib.blake2b(file.read(), digest_size=_DIGEST).digest()
                stamp = look_of(file.fileno())
            if stamp == before:
                return stamp, digest, max(stamp[1], stamp[3]) < now - SETTLED_NS
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    raise DataError(f"{path} changes while it is read: try again when it is written.")


class _Digests:
    """The digests of the image files below one folder, kept in one file of the cache."""

    def __init__(self, data: FileImages) -> None:
        self.root = data.root
        name = hashlib.sha256(os.path.realpath(data.root).encode(errors="surrogateescape")).hexdigest()[:16]
        self.path = cache_root().parent / "digests" / f"{name}.bin"

    def of(self, names: Sequence[str]) -> tuple[list[Look], list[bytes]]:
        """Looks and digests of files. What is not known is read, and kept where it can be."""
        stamps, digests = self._seen(names)
        missing = [at for at, digest in enumerate(digests) if digest is None]
        if missing:
            kept: dict[str, tuple[Look, bytes]] = {}
            paths = [f"{self.root}/{names[at]}" for at in missing]
            with ThreadPoolExecutor(_THREADS) as threads:
                for at, (stamp, digest, settled) in zip(missing, threads.map(_read, paths), strict=True):
                    stamps[at], digests[at] = stamp, digest
                    if settled:
                        kept[names[at]] = (stamp, digest)
            if kept:
                self._keep(kept)
        return stamps, [digest for digest in digests if digest is not None]

    def known(self, names: Sequence[str]) -> list[bytes | None]:
        """Digests of files, None for those that would have to be read."""
        return self._seen(names)[1]

    def _seen(self, names: Sequence[str]) -> tuple[list[Look], list[bytes | None]]:
        kept = self._kept()
        stamps = [_look(f"{self.root}/{name}") for name in names]
        found = (kept.get(name) for name in names)
        return stamps, [
            one[1] if one is not None and one[0] == stamp else None for one, stamp in zip(found, stamps, strict=True)
        ]

    def _kept(self) -> dict[str, tuple[Look, bytes]]:
        """File -> stamp and digest; nothing of a file that is damaged, whose own checksum comes first."""
        try:
            content = self.path.read_bytes()
        except OSError:
            return {}
        if hashlib.sha256(content[32:]).digest() != content[:32]:
            return {}
        with np.load(io.BytesIO(content[32:]), allow_pickle=False) as file:
            names = file["names"].tobytes().decode(errors="surrogateescape").split("\0")
            stamps, digests = map(tuple, file["stamps"].tolist()), file["digests"].tobytes()
        parts = (digests[at : at + _DIGEST] for at in range(0, len(digests), _DIGEST))
        return dict(zip(names, zip(stamps, parts, strict=True), strict=True))  # type: ignore[arg-type]

    def _keep(self, more: dict[str, tuple[Look, bytes]]) -> None:
        """Add to what is kept. Of two processes that do so at once the later one stays, and the other reads again."""
        kept = {**self._kept(), **more}
        buffer = io.BytesIO()
        np.savez(
            buffer,
            names=np.frombuffer("\0".join(kept).encode(errors="surrogateescape"), np.uint8),
            stamps=np.array([stamp for stamp, _ in kept.values()], np.int64),
            digests=np.frombuffer(b"".join(digest for _, digest in kept.values()), np.uint8),
        )
        content = buffer.getvalue()
        with contextlib.suppress(OSError):
            write_atomically(self.path, hashlib.sha256(content).digest() + content)
