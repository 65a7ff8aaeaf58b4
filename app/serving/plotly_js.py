"""The program that draws the charts, served by the explorer itself: its file, its address, the way to it."""

import gzip
from pathlib import Path

import streamlit as st
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

FILE = Path(__file__).resolve().parents[2] / "assets" / "plotly" / "plotly-cartesian.min.js.gz"
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


def text() -> str:
    """The program itself."""
    return gzip.decompress(FILE.read_bytes()).decode()


async def _send(request: Request) -> Response:
    if "gzip" not in request.headers.get("accept-encoding", ""):  # no browser, but what asks without saying so
        return Response(text(), media_type="text/javascript", headers=_KEPT)
    return FileResponse(FILE, media_type="text/javascript", headers={**_KEPT, "Content-Encoding": "gzip"})
