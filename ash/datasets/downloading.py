"""One file over http(s), resumable: what is loaded stays in FILE.part until it is whole and its checksum is right."""

import errno
import hashlib
import http.client
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal
from urllib.parse import urlsplit

from ash.files import BankError, read_json, write_json
from ash.images import DataError

ATTEMPTS = 4  # in a row that bring nothing new
PAUSE = 0.5  # seconds, doubled for every attempt that brought nothing new
TIMEOUT = 30.0  # seconds without a byte
MAX_BYTES = 20_000_000_000
_CHUNK = 1 << 18
_STEP = 0.1  # seconds between two reports
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class FetchProgress:
    """How far a fetch is with one file: `done` of `total` bytes, or files while unpacking (None: not known)."""

    stage: Literal["download", "unpack", "verify"]
    file: str
    done: int
    total: int | None


@dataclass(frozen=True)
class _Origin:
    """What the loaded part is a part of: an ETag or date that a server recognises it by, and its whole size."""

    url: str
    validator: str = ""
    total: int | None = None


class _Cut(Exception):
    """The connection ended early, or the server is busy: worth another attempt."""


class _OnlyWeb(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if not _is_web(newurl):
            raise DataError(f"{req.full_url} redirects to {newurl[:200]!r}, which is no web address.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # half an IPv6 address, a port that is no number
        return False


def download_steps(
    url: str,
    target: Path,
    *,
    size: int | None = None,
    checksum: str = "",
    max_bytes: int = MAX_BYTES,
    by_hand: Path | None = None,
) -> Generator[FetchProgress, None, None]:
    """Load `url` into the file `target`, and go on where an earlier call stopped.

    `size` in bytes and `checksum` ("md5:" or "sha256:" and hex digits, of which a prefix is enough) are compared where
    they are given; `by_hand` is where a user may put the file, by default `target`. A connection that is cut is taken
    up again while it brings anything new. DataError, in a sentence, when the address is gone, the network is down, the
    disk is full, or what came is not the file: then it is deleted.
    """
    if not _is_web(url):
        raise DataError(f"{url} is no web address.")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    best, idle = _loaded(part), 0
    while True:
        try:
            yield from _attempt(url, part, size, checksum, max_bytes)
            break
        except _Cut as cut:
            idle = 0 if _loaded(part) > best else idle + 1
            best = max(best, _loaded(part))
            if idle >= ATTEMPTS:
                stays = f" The {best / 1e6:,.1f} MB that came stay." if best else ""
                raise DataError(
                    f"{target.name} cannot be loaded: {cut}.{stays} Run the same command again, or load {url} by other "
                    f"means and put it there as {by_hand or target}."
                ) from cut
        yield from _pause(PAUSE * 2**idle, FetchProgress("download", target.name, _loaded(part), size))
    wrong = yield from verify_steps(part, target.name, size, checksum)
    if wrong:
        part.unlink()
        _origin_path(part).unlink(missing_ok=True)
        raise DataError(
            f"{target.name} from {url} is not the published file: {wrong}. It was deleted; try again later."
        )
    part.replace(target)
    _origin_path(part).unlink(missing_ok=True)


def verify_steps(path: Path, name: str, size: int | None, checksum: str) -> Generator[FetchProgress, None, str]:
    """Compare a file with its published checksum or, without one, size; returns how it differs, "" if it does not."""
    total = path.stat().st_size
    if not checksum:
        return f"it has {total:,} bytes, published are {size:,}" if size is not None and total != size else ""
    kind, _, wanted = checksum.partition(":")
    digest = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(1 << 22), b""):
            digest.update(chunk)
            yield FetchProgress("verify", name, file.tell(), total)
    found = digest.hexdigest()
    return "" if found.startswith(wanted) else f"its {kind} is {found}, published is {wanted}"


def _loaded(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _origin_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _origin(part: Path) -> _Origin | None:
    try:
        return _Origin(**read_json(_origin_path(part)))
    except (BankError, TypeError):
        return None


def _pause(seconds: float, step: FetchProgress) -> Iterator[FetchProgress]:
    """Wait, in short steps at which the caller can stop."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        yield step
        time.sleep(min(left, 0.5))


def _attempt(url: str, part: Path, size: int | None, checksum: str, max_bytes: int) -> Iterator[FetchProgress]:
    """One connection: append what comes to the part, or begin it anew; _Cut when it ends before the file does."""
    have, origin, name = _loaded(part), _origin(part), part.stem
    if origin is None or origin.url != url or not (origin.validator or checksum):
        have, origin = 0, None  # nobody could say that the rest is of the same file
    elif origin.total == have:
        return
    with _open(url, have, origin) as response:
        start, total = _range(response)
        if response.status == 416 and total == have:
            return  # a wrong Content-Length: this was all
        new = _Origin(url, _validator(response), total)
        if start not in (0, have) or (start and origin and _differ(origin, new)):
            part.unlink(missing_ok=True)
            raise _Cut("the file has changed on the server")
        _check_offer(response, name, total, size, max_bytes)
        _check_room(part, name, (total or 0) - start)
        try:
            if start == 0:
                part.unlink(missing_ok=True)
                write_json(_origin_path(part), asdict(new))
            yield from _receive(response, part, start, total, max_bytes)
        except OSError as error:
            raise _full(error, part) from error


def _validator(response: http.client.HTTPResponse) -> str:
    """What the server will know this version of the file by: a strong ETag, or the date of its last change."""
    tag = _header(response, "ETag")
    return tag if tag and not tag.startswith("W/") else _header(response, "Last-Modified")


def _header(response: http.client.HTTPResponse, name: str) -> str:
    """A header of printable ASCII; "" where there is none, or one that could not be sent back."""
    value = str(response.headers.get(name, ""))
    return value if value.isascii() and value.isprintable() else ""


def _differ(one: _Origin, other: _Origin) -> bool:
    """Whether two answers are known to be of different files."""
    return any(a and b and a != b for a, b in ((one.validator, other.validator), (one.total, other.total)))


def _check_room(part: Path, name: str, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise DataError(f"{part.parent} has {free / 1e6:,.0f} MB free, {name} needs {needed / 1e6:,.0f} MB more.")


def _full(error: OSError, part: Path) -> DataError:
    loaded = f"The {_loaded(part) / 1e6:,.1f} MB that came stay"
    if error.errno in _FULL:
        return DataError(f"The disk of {part.parent} is full. {loaded}: make room and run the same command again.")
    return DataError(f"{part} cannot be written: {error.strerror}. {loaded}.")


def _open(url: str, have: int, origin: _Origin | None) -> http.client.HTTPResponse:
    """The response, redirects followed; status 200, 206 or 416."""
    headers = {"User-Agent": "ash-explorer", "Accept-Encoding": "identity"}
    if have and origin:
        headers |= {"Range": f"bytes={have}-"} | ({"If-Range": origin.validator} if origin.validator else {})
    host = urlsplit(url).netloc
    try:
        opener = urllib.request.build_opener(_OnlyWeb)
        return opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            return error  # type: ignore[return-value]
        with error:
            if error.code == 429 or error.code >= 500:
                raise _Cut(f"the server answers {error.code} {error.reason}") from error
            answer = " ".join(f"{error.code} {error.reason}".split())[:200].rstrip(".")
            raise DataError(f"{url} cannot be loaded: {host} answers {answer}.") from error
    except urllib.error.URLError as error:
        reason = getattr(error.reason, "strerror", None) or error.reason
        raise _Cut(f"no connection to {host} ({reason})") from error
    except (OSError, http.client.HTTPException) as error:
        raise _Cut(f"no answer ({error or type(error).__name__})") from error
    except (ValueError, OverflowError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{url} cannot be loaded: {host} sends what is no answer ({error}).") from error


def _range(response: http.client.HTTPResponse) -> tuple[int, int | None]:
    """First byte of the body in the file (-1: none or unclear), and the file's size where the server tells."""
    if response.status in (206, 416):
        number = r"[0-9]{1,18}"
        match = re.fullmatch(rf"bytes (?:({number})-{number}|\*)/({number}|\*)", _header(response, "Content-Range"))
        if not match:
            return -1, None
        return int(match[1] or -1), None if match[2] == "*" else int(match[2])
    length = _header(response, "Content-Length")
    return 0, int(length) if re.fullmatch("[0-9]{1,18}", length) else None


def _check_offer(
    response: http.client.HTTPResponse, name: str, total: int | None, size: int | None, max_bytes: int
) -> None:
    """DataError when the server offers something that cannot be the file."""
    host = urlsplit(response.url).netloc
    if response.headers.get_content_type() == "text/html":
        raise DataError(f"{host} sends a web page in the place of {name}; open {response.url} in a browser.")
    if total is not None and size is not None and total != size:
        raise DataError(f"{host} offers {total:,} bytes as {name}; published are {size:,}.")
    if total is not None and total > max_bytes:
        raise DataError(f"{name} has {total:,} bytes on {host}, more than the {max_bytes:,} that are allowed.")


def _receive(
    response: http.client.HTTPResponse, part: Path, start: int, total: int | None, max_bytes: int
) -> Iterator[FetchProgress]:
    done, told, name = start, 0.0, part.stem
    with part.open("ab", buffering=0) as file:
        yield FetchProgress("download", name, done, total)
        while chunk := _chunk(response):
            _write(file, chunk)
            done += len(chunk)
            if done > max_bytes:
                part.unlink()
                _origin_path(part).unlink()
                raise DataError(f"{name} has more than the {max_bytes:,} bytes that are allowed.")
            if time.monotonic() - told > _STEP:
                told = time.monotonic()
                yield FetchProgress("download", name, done, total)
    if total is not None and done < total:
        raise _Cut(f"the connection ended after {done:,} of {total:,} bytes")
    yield FetchProgress("download", name, done, total or done)


def _chunk(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _Cut(f"the connection was cut ({error or type(error).__name__})") from error


def _write(file: IO[bytes], chunk: bytes) -> None:
    """All of the chunk; an unbuffered file may take less at once, so that what is on disk is always a whole prefix."""
    view = memoryview(chunk)
    while view:
        view = view[file.write(view) :]
