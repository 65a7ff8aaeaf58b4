"""Unpacking archives of strangers: tar, tar.gz, tgz and zip into one folder, whole or not at all.

Every member must be a plain file or folder with a relative name; links, devices, absolute names, `..` and names that
come twice are refused, and so is more than the stated number of files and bytes, counted as they are written. That is
stricter than `tarfile`'s `filter="data"`, which lets links within the folder and duplicates pass, strips absolute names
to relative ones and bounds nothing; and it is one rule for tar and zip.
"""

import lzma
import re
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any

from ash.images import DataError

MAX_FILES = 500_000
MAX_BYTES = 40_000_000_000
MOST_HEADER = 1 << 14  # bytes of a long name or of one member's further facts, which tarfile reads at once
_HEADERS = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)
_CHUNK = 1 << 20
_PADDING = 1 << 26


class _HostileError(Exception):
    """A tar that no publisher makes; not one of tarfile's errors, after which it would try another compression."""


_DAMAGE = (
    _HostileError,
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, NotImplementedError, ValueError, RuntimeError),
)


class ArchiveError(DataError):
    """The archive itself is damaged, hostile, too large, or not what it should be."""


@dataclass(frozen=True)
class _Member:
    name: str
    folder: bool
    open: Callable[[], IO[bytes]]


def unpack_steps(
    archive: Path, target: Path, *, members: str = "", max_files: int = MAX_FILES, max_bytes: int = MAX_BYTES
) -> Generator[tuple[int, int], None, None]:
    """Unpack into the folder `target`, which must not exist: yields bytes of the archive read, and its size.

    `members` is a regular expression that the names to unpack match in full, "" for all. Everything goes into a hidden
    folder beside `target` that is renamed at the end and removed when the caller stops or anything fails. ArchiveError
    for an archive that is damaged, hostile or too large, DataError when it cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        raise DataError(f"{target} is there already; remove it before {archive.name} is unpacked into it.")
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield from _unpack(archive, temporary, re.compile(members), max_files, max_bytes)
        temporary.chmod(0o755)
        temporary.rename(target)
    except DataError:
        raise
    except _DAMAGE as error:
        raise _damaged(archive, error) from error
    except OSError as error:
        if error.errno is None:  # gzip's word for damage
            raise _damaged(archive, error) from error
        raise DataError(f"{archive.name} cannot be unpacked into {target.parent}: {error.strerror}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _damaged(archive: Path, error: Exception) -> ArchiveError:
    what = (str(error) or type(error).__name__).splitlines()[0].rstrip(".:")
    return ArchiveError(f"{archive} is damaged or no archive ({what}).")


def _unpack(
    archive: Path, folder: Path, wanted: re.Pattern[str], max_files: int, max_bytes: int
) -> Generator[tuple[int, int], None, None]:
    size, files, written = archive.stat().st_size, 0, 0
    with archive.open("rb") as raw:
        for member in _members(archive, raw):
            files += 1
            if files > max_files:
                raise ArchiveError(f"{archive.name} holds more than {max_files:,} files; it is not what it should be.")
            name = _safe(archive, member.name)
            path = folder / name
            if member.folder:
                if not wanted.pattern:
                    path.mkdir(parents=True, exist_ok=True)
            elif not wanted.pattern or wanted.fullmatch(name.as_posix()):
                for count in _write(archive, member, path):
                    written += count
                    if written > max_bytes:
                        limit = f"{max_bytes / 1e9:g} GB"
                        raise ArchiveError(f"{archive.name} unpacks to more than {limit}; it is not what it should be.")
                    yield raw.tell(), size
            yield raw.tell(), size
    if not any(folder.iterdir()):
        raise ArchiveError(f"{archive.name} holds none of the files that it should.")


def _write(archive: Path, member: _Member, path: Path) -> Iterator[int]:
    """Write one file, yielding the bytes of every chunk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        target = path.open("xb")
    except (FileExistsError, IsADirectoryError) as error:
        raise ArchiveError(f"{archive.name} holds {member.name} twice.") from error
    with target, member.open() as source:
        while chunk := source.read(_CHUNK):
            target.write(chunk)
            yield len(chunk)


def _safe(archive: Path, name: str) -> PurePosixPath:
    """The member's relative path; ArchiveError for a name that leads anywhere else."""
    path = PurePosixPath(name)
    windows = PureWindowsPath(name)
    if path.is_absolute() or windows.drive or windows.root or ".." in path.parts or "\\" in name or "\0" in name:
        raise ArchiveError(f"{archive.name} holds {name!r}, which leads out of its folder.")
    return path


def _members(archive: Path, raw: IO[bytes]) -> Iterator[_Member]:
    zipped = raw.read(4).startswith(b"PK")
    raw.seek(0)
    return _zip_members(archive, raw) if zipped else _tar_members(archive, raw)


class _BoundedInfo(tarfile.TarInfo):
    """A member of a tar whose headers are small: tarfile itself reads them whole, whatever size they state."""

    def _proc_member(self, tar: tarfile.TarFile) -> Any:  # what tarfile documents as the place to override
        if self.type == tarfile.GNUTYPE_SPARSE:
            raise _HostileError("it holds a file with holes")
        if self.type in _HEADERS:
            if not 0 <= self.size <= MOST_HEADER:
                raise _HostileError(f"it holds a header of {self.size:,} bytes")
            tar.header_bytes += self.size + tarfile.BLOCKSIZE  # type: ignore[attr-defined]
            if tar.header_bytes > MOST_HEADER:  # type: ignore[attr-defined]
                raise _HostileError(f"it holds more than {MOST_HEADER:,} bytes of headers before one file")
        return super()._proc_member(tar)  # type: ignore[misc]

    def _refuse(self, *_: Any) -> Any:
        raise _HostileError("it holds a file with holes")

    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse


class _BoundedTar(tarfile.TarFile):
    """A tar of such members, which remembers nothing of those that were read."""

    tarinfo = _BoundedInfo
    header_bytes = 0  # since the last file

    def next(self) -> tarfile.TarInfo | None:
        self.header_bytes = 0
        found = super().next()
        self.members.clear()  # type: ignore[attr-defined]  # or 300,000 files are 300 MB of memory
        self.pax_headers = {}
        return found


def _tar_members(archive: Path, raw: IO[bytes]) -> Iterator[_Member]:
    with _BoundedTar.open(fileobj=raw, mode="r:*") as tar:
        while (info := tar.next()) is not None:
            if not (info.isreg() or info.isdir()):
                raise ArchiveError(f"{archive.name} holds {info.name}, a link or device.")
            yield _Member(info.name, info.isdir(), lambda info=info: _opened(tar, info))  # type: ignore[misc]
        if tar.fileobj and len(tar.fileobj.read(_PADDING)) == _PADDING:  # to the end, where gzip's checksum is
            raise tarfile.ReadError("more bytes after the last file than any padding has")


def _opened(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(info)
    if file is None:
        raise tarfile.ReadError(f"{info.name} has no content")
    return file


def _zip_members(archive: Path, raw: IO[bytes]) -> Iterator[_Member]:
    with zipfile.ZipFile(raw) as pack:  # type: ignore[arg-type]
        for info in pack.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise ArchiveError(f"{archive.name} holds {info.filename}, a link or device.")
            if info.flag_bits & 1:
                raise ArchiveError(f"{archive.name} is encrypted; it is not what it should be.")
            yield _Member(info.filename, info.is_dir(), lambda info=info: pack.open(info))  # type: ignore[misc]
