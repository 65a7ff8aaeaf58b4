"""A local HTTP server for the tests of downloads: it serves bytes, and misbehaves on request."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What is served, and how. `asked` records the Range header of every request, "" without one."""

    files: dict[str, bytes] = field(default_factory=dict)
    etag: str = '"one"'  # "" for none
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)  # bytes sent before the connection is cut, one per request
    status: list[int] = field(default_factory=list)  # error answers that come first
    length: int | str | None = None  # a wrong Content-Length, -1 for none
    redirect: str = ""
    content_type: str = "application/octet-stream"
    asked: list[str] = field(default_factory=list)
    address: str = ""

    def url(self, name: str) -> str:
        return f"{self.address}/{name}"


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            site.asked.append(asked)
            if site.status:
                self.send_error(site.status.pop(0))
            elif site.redirect:
                self.send_response(302)
                self.send_header("Location", site.redirect)
                self.end_headers()
            elif self.path[1:] not in site.files:
                self.send_error(404)
            else:
                self._serve(site.files[self.path[1:]], asked)

        def _serve(self, body: bytes, asked: str) -> None:
            match = re.fullmatch(r"bytes=(\d+)-", asked) if site.ranges else None
            if match and self.headers.get("If-Range", site.etag) != site.etag:
                match = None
            start = int(match[1]) if match else 0
            if match and start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.end_headers()
                return
            self.send_response(206 if match else 200)
            if match:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            if site.etag:
                self.send_header("ETag", site.etag)
            self.send_header("Content-Type", site.content_type)
            if site.length != -1:
                self.send_header("Content-Length", str(len(body) - start if site.length is None else site.length))
            self.end_headers()
            self.wfile.write(body[start:][: site.cuts.pop(0)] if site.cuts else body[start:])

    return Handler


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Clients that hang up are part of the tests."""


@contextmanager
def serving() -> Iterator[Site]:
    """A site on a free port of this machine."""
    site = Site()
    server = _Server(("127.0.0.1", 0), _handler(site))
    site.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
