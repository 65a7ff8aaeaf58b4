"""Files that are whole or not there: how everything in a cache is written and read.

What is read is a regular file, whatever lies at its path: a pipe or a device in its place would wait for ever. JSON
bears a checksum of itself, and an array is used only when the bytes it is made of were compared.
"""

import contextlib
import errno
import glob
import hashlib
import io
import json
import lzma
import math
import os
import stat
import struct
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ash.errors import AshError

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be removed anyway
    fcntl = None  # type: ignore[assignment]

SEAL = "checksum"  # the key in a JSON object under which the rest's SHA-256 is kept
MOST_BYTES = 2**33  # of a file that is read whole, and that an .npz may unpack to
MOST_JSON = 2**28
LONGEST_LINE = 2**20  # characters of a text that is read line by line
_RANDOM = "[a-z0-9_]" * 8  # how tempfile ends a name
DAMAGE = (  # what the bytes of an archive or an array raise where they are not what was written
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, tokenize.TokenError),
    *(ValueError, TypeError, SyntaxError, KeyError, EOFError, NotImplementedError, RuntimeError, OverflowError),
)


class BankError(AshError):
    """A bank is missing, incomplete, damaged or in use; the message says which, where and what to do."""


def expand(path: Path | str) -> Path:
    """A path with `~` and `~name` resolved; AshError where that account or its home folder is not known."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise AshError(f"{path}: there is no such home folder here; write the full path.") from error


def user_folder(setting: str, xdg: str, default: str) -> Path:
    """A folder of this user's: what the environment variable `setting` names, or `ash` in `xdg`'s or in ~/`default`.

    AshError where that needs a home folder and there is none.
    """
    given = os.environ.get(setting)
    try:
        if given:
            return Path(given).expanduser().absolute()
        base = os.environ.get(xdg)
        return (Path(base) if base else Path.home() / default).absolute() / "ash"
    except RuntimeError as error:  # an account without a home folder, or ~somebody who is not known
        asked = f"{setting}={given}" if given else "This account"
        raise AshError(f"{asked} has no home folder here: set {setting} to the full path of a folder.") from error


class DamagedError(AshError):
    """The bytes of a file are not what was written, or no such file at all; the message says why, not what to do."""


class LongLineError(AshError):
    """A line of a text is too long to be read."""


def open_regular(path: Path | str) -> io.BufferedReader:
    """Open a file for reading; OSError also for what is no regular file (a pipe, a device, a folder), without waiting.

    A name that leads nowhere is an OSError as well.
    """
    flags = [getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY")]
    handle = os.open(path, os.O_RDONLY | sum(flags))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "This is no regular file", os.fspath(path))
    return os.fdopen(handle, "rb")


Look = tuple[int, int, int, int]  # of a file: size, time of change in ns, inode, time of its inode's change in ns


def look_of(file: Path | str | int) -> Look:
    """What is seen of a file, by its path or open, without reading it; OSError.

    Another file in its place looks other even where its size and its time of change were made the same.
    """
    about = os.stat(file)
    return about.st_size, about.st_mtime_ns, about.st_ino, about.st_ctime_ns


def read_bytes(path: Path | str, most: int = MOST_BYTES) -> bytes:
    """All bytes of a regular file; OSError, also for one of more than `most` bytes."""
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > most:
            raise OSError(errno.EFBIG, f"The file has more than {most:,} bytes", os.fspath(path))
        return file.read()


def file_hash(path: Path) -> str:
    """SHA-256 of a regular file's bytes, hex; OSError."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def lines_of(file: IO[str], most: int = LONGEST_LINE) -> Iterator[str]:
    """The lines of a text; LongLineError at one of more than `most` characters, before it is in memory."""
    while line := file.readline(most + 1):
        if len(line) > most:
            raise LongLineError(f"it has a line of more than {most:,} characters")
        yield line


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, also when the process is killed or the disk is full.

    What killed processes left of the same file is removed first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_unfinished(path.parent, path.name)
    handle, temporary = _temporary(path)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(temporary, 0o644)  # mkstemp's files are private; a bank may be shared
            if not fcntl:
                file.close()  # Windows renames no open file; elsewhere it stays locked until it has its name
            os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _temporary(path: Path) -> tuple[int, str]:
    """A new file beside `path`, locked for as long as it is open, so that nobody takes it for a dead process's."""
    while True:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        if _lock(handle) is False or os.fstat(handle).st_nlink == 0:  # taken for a dead one's before it was locked
            os.close(handle)
            continue
        return handle, temporary


def _lock(handle: int) -> bool | None:
    """Lock an open file until it is closed: whether that worked; None where the file system has no locks."""
    if not fcntl:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def remove_unfinished(folder: Path, name: str) -> None:
    """Remove what killed processes left of a file that was being written; what a process still writes stays."""
    for temporary in folder.glob(f".{glob.escape(name)}-{_RANDOM}"):
        with contextlib.suppress(OSError), open_regular(temporary) as file:
            if _lock(file.fileno()):
                temporary.unlink()


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON object atomically, keys sorted, so that equal content is equal bytes, and with its checksum."""
    write_atomically(path, json_bytes(content))


def json_bytes(content: dict[str, Any]) -> bytes:
    """The bytes that `write_json` writes."""
    return _plain({**content, SEAL: _digest(content)})


def _plain(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(_plain(content)).hexdigest()


def read_json(path: Path, again: str = "delete it and extract again.") -> dict[str, Any]:
    """Read a JSON object, without its checksum; BankError when the file is damaged, which says what to do then.

    Older files have no checksum.
    """
    try:
        content = json.loads(read_bytes(path, MOST_JSON))
        if not isinstance(content, dict):
            raise ValueError("not an object")
        if content.pop(SEAL, None) not in (None, _digest(content)):
            raise ValueError("it does not match its checksum")
    except (OSError, ValueError, RecursionError) as error:
        raise BankError(f"{path} is damaged ({error}); {again}") from error
    return content


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz by name, every one read to its last byte, where its checksum is; DamagedError, OSError.

    No array holds Python objects, and all of them together have at most MOST_BYTES.
    """
    return parse_npz(read_bytes(path))


def parse_npz(content: bytes, only: Sequence[str] = (), most: int = MOST_BYTES) -> dict[str, NDArray[Any]]:
    """`read_npz` of bytes in memory: all arrays, or those of some names, as far as they are there."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as pack:
            members = pack.infolist()
            if sum(member.file_size for member in members) > most:
                raise ValueError(f"it unpacks to more than {most:,} bytes")
            names = {member: member.filename.removesuffix(".npy") for member in members}
            return {name: _array(pack.read(one)) for one, name in names.items() if not only or name in only}
    except OSError as error:  # a decoder's word for damage: the disk was read before
        raise DamagedError(str(error)) from error
    except DAMAGE as error:
        raise DamagedError(str(error) or type(error).__name__) from error


def npz_bytes(**arrays: NDArray[Any]) -> bytes:
    """An .npz for what ships, the same bytes whenever it is made: each array deflated, or by LZMA, which takes five
    times as long to read, where that saves a twentieth.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as pack:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(array, order="C"), allow_pickle=False)
            content = member.getvalue()
            small = len(lzma.compress(content)) < 0.95 * len(zlib.compress(content))
            how = zipfile.ZIP_LZMA if small else zipfile.ZIP_DEFLATED
            pack.writestr(zipfile.ZipInfo(f"{name}.npy"), content, how, 9)
    return buffer.getvalue()


def _array(content: bytes) -> NDArray[Any]:
    header = io.BytesIO(content)
    shape, order, dtype = npy_header(header, len(content))
    return np.frombuffer(content, dtype, offset=header.tell()).reshape(shape, order=order).copy(order="K")


def npy_header(file: BinaryIO, size: int | None = None) -> tuple[tuple[int, ...], Any, np.dtype[Any]]:
    """Shape, order and dtype of the .npy that begins here; ValueError unless they fill its `size` bytes exactly.

    Without a size, and for objects, nothing of that is compared.
    """
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if size is not None and (
        dtype.hasobject or min(shape, default=0) < 0 or file.tell() + math.prod(shape) * dtype.itemsize != size
    ):
        raise ValueError(f"{size:,} bytes are not an array of shape {shape} and type {dtype}")
    return shape, "F" if fortran else "C", dtype


def map_npy(path: Path, sha256: str) -> NDArray[Any]:
    """The array of an .npy as a memory map of the very file whose checksum was compared; DamagedError, OSError."""
    with open_regular(path) as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise DamagedError("it does not match its checksum")
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        try:
            shape, order, dtype = npy_header(file, size)
            return np.memmap(file, dtype, "r", file.tell(), shape, order)
        except DAMAGE as error:
            raise DamagedError(str(error)) from error
