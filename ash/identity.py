"""What makes a bank: the one place that builds a BankIdentity, for the explorer, the command line and the library.

An identity holds hashes of all that decides the activations: weights and code of the network; list and content of the
images; preprocessing; precision. Two of them take work, which is kept in the cache until something changes:

    digests/   the digest of every image file, for as long as its size, times and inode stay
    codes/     the code of the networks that ship or come with torchvision, for as long as their source stays

A cache that cannot be written costs the work again. Imports no torch before a network must be traced.
"""

import contextlib
import hashlib
import inspect
import io
import math
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ash.bank import BUNDLED, Bank, BankError, BankIdentity, cache_root, takeover
from ash.data import DataError, FileImages, ImageError, ImageSet, Subset, file_hash
from ash.files import Look, look_of, read_json, write_atomically, write_json
from ash.fitting import perturbation, perturbed_transform
from ash.images import READING
from ash.networks import curated, torchvision_models
from ash.networks.entries import ModelEntry, Preprocess

if TYPE_CHECKING:
    from torch import nn

PENULTIMATE = "penultimate"  # as in ash.splitting, which imports torch
DTYPES = ("float32", "float16")
PRECISIONS = ("float32", "bfloat16", "float16")


def identity(
    entry: ModelEntry,
    placement: str,
    data: ImageSet,
    dtype: str = "float32",
    precision: str = "float32",
    epsilon: float = 0.0,
) -> BankIdentity:
    """Which bank this model, placement and data set have, as weights, code and images are now.

    `epsilon` > 0: that of the images as ODIN perturbs them. Reads every image file whose digest is not known. BankError
    for a dtype, precision or step that there is not; ModelError, SplitError, DataError.
    """
    return identified(entry, placement, data, dtype, precision, epsilon)[0]


def identified(
    entry: ModelEntry, placement: str, data: ImageSet, dtype: str, precision: str, epsilon: float
) -> "tuple[BankIdentity, Content]":
    """`identity`, and the content as it was read for that: whether files have changed since can be asked of it."""
    content = content_of(data)
    return _built(entry, placement, data, content.digest, code_of(entry), dtype, precision, epsilon), content


def known_identity(who: BankIdentity, entry: ModelEntry, data: ImageSet) -> BankIdentity:
    """The identity of now for what a bank is of, without work: what takes reading images or tracing is the bank's."""
    content, code = known_content(data) or who.content, known_code(entry) or who.code
    now = _built(entry, who.placement, data, content, code, who.dtype, who.precision)
    return replace(now, transform=now.transform + perturbation(who.transform))


def _built(
    entry: ModelEntry,
    placement: str,
    data: ImageSet,
    content: str,
    code: str,
    dtype: str = "float32",
    precision: str = "float32",
    epsilon: float = 0.0,
) -> BankIdentity:
    if dtype not in DTYPES:
        raise BankError(f"A bank holds float32 or float16, not {dtype}.")
    known_precision(precision)
    if not (epsilon >= 0 and math.isfinite(epsilon)):
        raise BankError(f"ODIN's step epsilon is 0 or more, not {epsilon:g}.")
    return BankIdentity(
        model=entry.name,
        weights=entry.weights_hash(),
        placement=entry.penultimate if placement == PENULTIMATE else placement,
        transform=perturbed_transform(transform_of(entry.preprocess), epsilon),
        dataset=data.name,
        files=data.fingerprint,
        dtype=dtype,
        precision=precision,
        content=content,
        code=code,
    )


def known_precision(precision: str) -> None:
    """BankError when there is no such precision."""
    if precision not in PRECISIONS:
        raise BankError(f"The precision of an extraction is {', '.join(PRECISIONS)}, not {precision}.")


def transform_of(preprocess: Preprocess) -> str:
    """Printed preprocessing; of the user's own kind, whose code may be any, with a hash of what it makes of probes."""
    if type(preprocess) is Preprocess:
        return repr(preprocess)
    from PIL import Image

    build, digest = preprocess.build(), hashlib.sha256()
    for size in ((37, 53), (256, 256), (640, 480)):
        pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        for image in (Image.fromarray(pixels), Image.fromarray(pixels[..., 0])):
            digest.update(np.ascontiguousarray(build(image)))
    return f"{preprocess!r}, gives {digest.hexdigest()}"


# What has changed

_WORDS = {
    "weights": "the network's weights have",
    "code": "the network's code has",
    "transform": "the preprocessing has",
    "files": "the list of images has",
    "content": "the content of images has",
}


def changes(old: BankIdentity, now: BankIdentity) -> str:
    """What has changed since a bank was made, in words: "the network's code has changed"; "" for nothing."""
    names = [name for name in _WORDS if getattr(old, name) and getattr(old, name) != getattr(now, name)]
    if {"files", "content"} <= {*names}:  # another list has other content
        names.remove("content")
    return " and ".join(f"{_WORDS[name]} changed" for name in names)


def outdated(who: BankIdentity, root: Path | None = None) -> tuple[Path, str] | None:
    """The newest complete bank of the same name that is not this identity's, and what has changed since in words."""
    places = ((base / who.folder).parent for base in ((cache_root(), BUNDLED) if root is None else (root,)))
    named = f"{who.folder.name.rpartition('-')[0]}-*/manifest.json"
    folders: list[Path] = []
    for place in places:
        with contextlib.suppress(OSError):  # a cache that cannot be read: whoever writes into it says so
            folders += [path.parent for path in place.glob(named)]
    for folder in sorted(folders, key=_made, reverse=True):
        with contextlib.suppress(BankError):
            old = Bank(folder).identity
            same = all(getattr(old, name) == getattr(who, name) for name in ("dataset", "dtype", "precision"))
            if folder.name == who.folder.name or not same or perturbation(old.transform) != perturbation(who.transform):
                continue
            return folder, changes(old, who) or takeover(folder, who) or "it is not known to be of the same images"
    return None


def _made(folder: Path) -> float:
    with contextlib.suppress(OSError):
        return (folder / "manifest.json").stat().st_mtime
    return 0.0


# The content of images

Stamp = Look  # a file's, as it was when it was read
SETTLED_NS = 2_000_000_000  # a file that changed so short before it was read may change again within one clock tick
FEW = 64
_DIGEST = 16  # bytes
_THREADS = 8


@dataclass(frozen=True)
class Content:
    """What the images of a set hold, as a hash; of image files, `stamps` as they were when that was read."""

    digest: str
    paths: Sequence[str] = ()
    stamps: Sequence[Stamp] = ()

    def check(self, images: range) -> None:
        """DataError when a file of these images is not the one that was read any more."""
        for index in images if self.paths else ():
            if _stamp(self.paths[index]) != self.stamps[index]:
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
    return max(max(stamp[1], stamp[3]) for stamp in map(_stamp, paths))


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


def _stamp(path: str) -> Stamp:
    try:
        return look_of(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def _read(path: str) -> tuple[Stamp, bytes, bool]:
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

    def of(self, names: Sequence[str]) -> tuple[list[Stamp], list[bytes]]:
        """Stamps and digests of files. What is not known is read, and kept where it can be."""
        stamps, digests = self._looked(names)
        missing = [at for at, digest in enumerate(digests) if digest is None]
        if missing:
            kept: dict[str, tuple[Stamp, bytes]] = {}
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
        return self._looked(names)[1]

    def _looked(self, names: Sequence[str]) -> tuple[list[Stamp], list[bytes | None]]:
        kept = self._kept()
        stamps = [_stamp(f"{self.root}/{name}") for name in names]
        found = (kept.get(name) for name in names)
        return stamps, [
            one[1] if one is not None and one[0] == stamp else None for one, stamp in zip(found, stamps, strict=True)
        ]

    def _kept(self) -> dict[str, tuple[Stamp, bytes]]:
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

    def _keep(self, more: dict[str, tuple[Stamp, bytes]]) -> None:
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


# The code of networks

_SHIPPED = Path(__file__).parent / "networks" / "codes.json"  # of the networks of own.py: nobody has to trace them
_codes: dict[Callable[[], "nn.Module"], str] = {}  # those that this process has traced


def code_of(entry: ModelEntry) -> str:
    """Hash of what a network computes besides its weights (`ash.networks.code`).

    A network of this library or of torchvision is traced once for as long as its source is the same; one of the user's,
    whose code may lie anywhere, once a process. SplitError where it cannot be traced, and whatever its function raises.
    """
    known = known_code(entry)
    if known is not None:
        return known
    from ash.networks.code import code_hash
    from ash.splitting import weightless

    source, build = source_of(entry.architecture), entry.architecture
    code = code_hash((build() if source is None else weightless(build)).eval())
    _codes[build] = code
    if source is not None:
        with contextlib.suppress(OSError):
            write_json(_code_path(source), {"code": code})
    return code


def known_code(entry: ModelEntry) -> str | None:
    """The code of a network where it does not have to be traced for it, else None."""
    if entry.architecture in _codes:
        return _codes[entry.architecture]
    source = source_of(entry.architecture)
    if source is None:
        return None
    if source in shipped_codes():
        return shipped_codes()[source]
    with contextlib.suppress(BankError):
        found = read_json(_code_path(source)).get("code") if _code_path(source).is_file() else None
        return found if isinstance(found, str) else None
    return None


def source_of(architecture: Callable[[], "nn.Module"]) -> str | None:
    """Hash of all that decides the code of a network of this library or of torchvision; None for the user's."""
    function = architecture.func if isinstance(architecture, partial) else architecture
    given = architecture.args if isinstance(architecture, partial) else ()
    if function is torchvision_models.build:
        told = f"torchvision {version('torchvision')}, torch {version('torch')}"
    elif getattr(function, "__module__", "") == curated.__name__:
        told = f"{inspect.getsource(function)} {file_hash(Path(curated.__file__).with_name('own.py'))}"
    else:
        return None
    return hashlib.sha256(f"{told} {given}".encode()).hexdigest()


def _code_path(source: str) -> Path:
    return cache_root().parent / "codes" / f"{source[:16]}.json"


@cache
def shipped_codes() -> dict[str, str]:
    """`source_of` -> `code_of` of the networks that ship; those of another state of own.py are not in it."""
    try:
        return {str(source): str(code) for source, code in read_json(_SHIPPED).items()}
    except BankError:
        return {}
