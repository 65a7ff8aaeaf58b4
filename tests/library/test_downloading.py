"""Downloads against a local server: resumed, restarted, refused; what arrives is the file, byte for byte."""

import errno
import hashlib
import json
import random
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from web_server import Site, serving

from ash.data import DataError
from ash.datasets import downloading
from ash.datasets.downloading import FetchProgress, download_steps

ROOT = Path(__file__).parents[2]
BODY = random.Random(0).randbytes(3_000_000)
MD5 = "md5:" + hashlib.md5(BODY).hexdigest()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(downloading, "PAUSE", 0.0)
    with serving() as site:
        site.files["x.bin"] = BODY
        yield site


def load(site: Site, target: Path, **options: Any) -> list[FetchProgress]:
    return list(download_steps(site.url("x.bin"), target, **options))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_and_nothing_else(site: Site, tmp_path: Path) -> None:
    steps = load(site, tmp_path / "in" / "x.bin", size=len(BODY), checksum=MD5)
    assert (tmp_path / "in" / "x.bin").read_bytes() == BODY
    assert names(tmp_path / "in") == ["x.bin"]
    done = [step.done for step in steps if step.stage == "download"]
    assert done == sorted(done)
    assert done[-1] == len(BODY) == steps[0].total
    assert steps[-1] == FetchProgress("verify", "x.bin", len(BODY), len(BODY))


def test_cut_connections_are_taken_up_where_they_ended(site: Site, tmp_path: Path) -> None:
    site.cuts = [100_000, 1, 900_000, 0, 700_000]
    load(site, tmp_path / "x.bin", checksum=MD5)
    assert (tmp_path / "x.bin").read_bytes() == BODY
    assert site.asked == ["", "bytes=100000-", "bytes=100001-", "bytes=1000001-", "bytes=1000001-", "bytes=1700001-"]


def test_a_later_call_goes_on(site: Site, tmp_path: Path) -> None:
    steps = download_steps(site.url("x.bin"), tmp_path / "x.bin", checksum=MD5)
    while next(steps).done == 0:
        pass
    steps.close()
    have = (tmp_path / "x.bin.part").stat().st_size
    assert 0 < have < len(BODY)
    first = load(site, tmp_path / "x.bin", checksum=MD5)[0]
    assert first == FetchProgress("download", "x.bin", have, len(BODY))
    assert site.asked[-1] == f"bytes={have}-"
    assert (tmp_path / "x.bin").read_bytes() == BODY


def test_what_was_whole_before_the_kill_is_not_loaded_again(site: Site, tmp_path: Path) -> None:
    (tmp_path / "x.bin.part").write_bytes(BODY)
    origin = {"url": site.url("x.bin"), "validator": site.etag, "total": len(BODY)}
    (tmp_path / "x.bin.part.json").write_text(json.dumps(origin))
    load(site, tmp_path / "x.bin", checksum=MD5)
    assert site.asked == []
    assert names(tmp_path) == ["x.bin"]


def test_a_server_without_ranges_starts_again(site: Site, tmp_path: Path) -> None:
    site.ranges, site.cuts = False, [100_000, 200_000]
    load(site, tmp_path / "x.bin", checksum=MD5)
    assert (tmp_path / "x.bin").read_bytes() == BODY
    assert len(site.asked) == 3


def test_a_server_that_always_cuts_ends_in_a_sentence(site: Site, tmp_path: Path) -> None:
    site.ranges, site.cuts = False, [1_000_000] * 50
    with pytest.raises(DataError, match=r"after 1,000,000 of 3,000,000 bytes\. The 1\.0 MB that came stay\. Run"):
        load(site, tmp_path / "x.bin")
    assert 4 <= len(site.asked) <= 6
    assert (tmp_path / "x.bin.part").stat().st_size == 1_000_000


def test_a_file_that_changed_in_between_is_loaded_anew(site: Site, tmp_path: Path) -> None:
    site.ranges, site.cuts = False, [1_000_000] * 9
    with pytest.raises(DataError):
        load(site, tmp_path / "x.bin")
    new = bytes(reversed(BODY))
    site.ranges, site.cuts, site.etag, site.files["x.bin"] = True, [], '"two"', new
    load(site, tmp_path / "x.bin")
    assert (tmp_path / "x.bin").read_bytes() == new


def test_without_a_mark_of_the_version_only_a_checksum_allows_resuming(site: Site, tmp_path: Path) -> None:
    site.etag, site.cuts = "", [1_000_000]
    load(site, tmp_path / "x.bin")
    assert site.asked == ["", ""]
    site.cuts = [1_000_000]
    load(site, tmp_path / "y.bin", checksum=MD5)
    assert site.asked[2:] == ["", "bytes=1000000-"]
    assert (tmp_path / "x.bin").read_bytes() == (tmp_path / "y.bin").read_bytes() == BODY


def test_a_content_length_that_promises_too_much(site: Site, tmp_path: Path) -> None:
    site.length = len(BODY) + 10
    load(site, tmp_path / "x.bin", checksum=MD5)
    assert (tmp_path / "x.bin").read_bytes() == BODY


def test_a_content_length_that_promises_too_little(site: Site, tmp_path: Path) -> None:
    site.length = 1000
    with pytest.raises(DataError, match="is not the published file: its md5 is"):
        load(site, tmp_path / "x.bin", checksum=MD5)
    with pytest.raises(DataError, match=r"offers 1,000 bytes as x\.bin; published are 3,000,000"):
        load(site, tmp_path / "x.bin", size=len(BODY))
    assert names(tmp_path) == []


def test_a_wrong_checksum_deletes_the_file(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"its md5 is [0-9a-f]{32}, published is 0000.*deleted"):
        load(site, tmp_path / "x.bin", checksum="md5:" + "0" * 32)
    assert names(tmp_path) == []


def test_a_prefix_of_a_checksum_is_enough(site: Site, tmp_path: Path) -> None:
    load(site, tmp_path / "x.bin", checksum="sha256:" + hashlib.sha256(BODY).hexdigest()[:8])
    assert names(tmp_path) == ["x.bin"]


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_gone_address_is_a_sentence_at_once(site: Site, tmp_path: Path, status: int) -> None:
    site.status = [status]
    with pytest.raises(DataError, match=rf"x\.bin cannot be loaded: 127\.0\.0\.1:\d+ answers {status} "):
        load(site, tmp_path / "x.bin")
    assert len(site.asked) == 1


def test_a_busy_server_is_asked_again(site: Site, tmp_path: Path) -> None:
    site.status = [503, 429, 500]
    load(site, tmp_path / "x.bin", checksum=MD5)
    assert (tmp_path / "x.bin").read_bytes() == BODY


def test_no_network_is_a_sentence(site: Site, tmp_path: Path) -> None:
    sentence = r"x\.bin cannot be loaded: no connection to 127\.0\.0\.1:9 .*load http://127\.0\.0\.1:9/x by other means"
    with pytest.raises(DataError, match=sentence):
        list(download_steps("http://127.0.0.1:9/x", tmp_path / "x.bin"))


def test_redirects_are_followed_on_the_web_only(site: Site, tmp_path: Path) -> None:
    with serving() as other:
        other.redirect = site.url("x.bin")
        list(download_steps(other.url("a"), tmp_path / "x.bin", checksum=MD5))
        assert (tmp_path / "x.bin").read_bytes() == BODY
        for address in ("ftp://127.0.0.1/x", "file:///etc/passwd"):
            other.redirect = address
            with pytest.raises(DataError, match=r"which is no web address|cannot be loaded: .* answers 302"):
                list(download_steps(other.url("a"), tmp_path / "y.bin"))
    with pytest.raises(DataError, match="is no web address"):
        list(download_steps("file:///etc/passwd", tmp_path / "y.bin"))
    assert names(tmp_path) == ["x.bin"]


@pytest.mark.parametrize("length", ["9" * 5000, "-5", "1e9", "many"])
def test_a_content_length_that_is_no_number_of_bytes(site: Site, tmp_path: Path, length: str) -> None:
    site.length = length
    load(site, tmp_path / "x.bin", checksum=MD5)
    assert (tmp_path / "x.bin").read_bytes() == BODY


@pytest.mark.parametrize("address", ["http://[::1", "http://127.0.0.1:x/", "//", "http://", "\u00e9" * 10])
def test_a_redirect_to_no_address_is_a_sentence(site: Site, tmp_path: Path, address: str) -> None:
    site.redirect = address
    with pytest.raises(DataError):
        load(site, tmp_path / "x.bin")
    assert names(tmp_path) == []


def test_a_log_in_page_is_not_a_file(site: Site, tmp_path: Path) -> None:
    site.content_type = "text/html; charset=utf-8"
    with pytest.raises(DataError, match=r"sends a web page in the place of x\.bin"):
        load(site, tmp_path / "x.bin")
    assert names(tmp_path) == []


def test_too_large_is_refused_before_and_while_loading(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"3,000,000 bytes on .*, more than the 1,000 that are allowed"):
        load(site, tmp_path / "x.bin", max_bytes=1000)
    site.length = -1
    with pytest.raises(DataError, match=r"x\.bin has more than the 1,000,000 bytes that are allowed"):
        load(site, tmp_path / "x.bin", max_bytes=1_000_000)
    assert names(tmp_path) == []


def test_a_disk_without_room_is_known_before(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloading.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 2_000_000}))
    with pytest.raises(DataError, match=r"has 2 MB free, x\.bin needs 3 MB more"):
        load(site, tmp_path / "x.bin")


def test_a_disk_that_fills_keeps_what_came(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, room = downloading._write, [1_500_000]

    def full(file: Any, chunk: bytes) -> None:
        write(file, chunk[: room[0]])
        room[0] -= len(chunk)
        if room[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(downloading, "_write", full)
    with pytest.raises(DataError, match=r"is full\. The 1\.5 MB that came stay: make room and run the same command"):
        load(site, tmp_path / "x.bin", checksum=MD5)
    assert (tmp_path / "x.bin.part").stat().st_size == 1_500_000
    room[0] = 1 << 40
    load(site, tmp_path / "x.bin", checksum=MD5)
    assert site.asked[-1] == "bytes=1500000-"
    assert (tmp_path / "x.bin").read_bytes() == BODY


def test_a_limit_of_the_system_is_a_full_disk_too(site: Site, tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from ash.datasets.downloading import download_steps\n"
    code += "list(download_steps(sys.argv[1], Path(sys.argv[2])))"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_234_567, 1_234_567))

    command = [sys.executable, "-B", "-c", code, site.url("x.bin"), str(tmp_path / "x.bin")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, preexec_fn=limit)
    assert "is full. The 1.2 MB that came stay" in result.stderr
    assert (tmp_path / "x.bin.part").read_bytes() == BODY[:1_234_567]
