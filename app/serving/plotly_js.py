"""The program that draws the charts, served by the explorer itself: its file, its address, the way to it."""

import gzip
import hashlib
from functools import cache

import streamlit as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ash.errors import AshError
from ash.shipped import ASSETS, again

FILE = ASSETS / "plotly" / "plotly-cartesian.min.js.gz"
_SHA256 = "8a7a75d40bde9906edca840974753676a1acef767338b45ace6606e6089f7469"  # of the file
ADDRESS = "charts/plotly-cartesian-4.1.1.min.js"  # with its version, so that browsers may keep it; relative to the app
PRELOAD = f"<{ADDRESS}>; rel=preload; as=script"  # the header Link: loaded before the page knows of charts
_KEPT = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}


def path(address: str) -> str:
    """The path of an address relative to the app, on this server."""
    base = str(st.get_option("server.baseUrlPath") or "").strip("/")
    return f"{base and '/' + base}/{address}"


def routes() -> list[Route]:
    """For `streamlit.App`."""
    return [Route(path(ADDRESS), _send)]


@cache
def packed() -> bytes:
    """The program as it ships, by gzip, compared with its checksum when it is first used, and kept.

    AshError where its file is missing or damaged; the next use looks again.
    """
    try:
        content = FILE.read_bytes()
    except OSError as error:
        raise AshError(f"{FILE}, which draws the charts, cannot be read: {again('assets/plotly')}") from error
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise AshError(f"{FILE} is damaged, its checksum is not the one that ships: {again('assets/plotly')}")
    return content


def text() -> str:
    """The program itself; AshError as by `packed`."""
    return gzip.decompress(packed()).decode()


async def _send(request: Request) -> Response:
    try:
        content = packed()
    except AshError as error:  # a page with a chart says it, see `app.ui.chart`
        return PlainTextResponse(str(error), 503, {"Cache-Control": "no-store"})
    if "gzip" not in request.headers.get("accept-encoding", ""):  # no browser, but what asks without saying so
        return Response(text(), media_type="text/javascript", headers=_KEPT)
    return Response(content, media_type="text/javascript", headers={**_KEPT, "Content-Encoding": "gzip"})
