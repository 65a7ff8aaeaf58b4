"""The program that draws the charts, served by the explorer itself: its file, its address, the way to it."""

from pathlib import Path

import streamlit as st
from starlette.responses import FileResponse
from starlette.routing import Route

FILE = Path(__file__).resolve().parents[2] / "assets" / "plotly" / "plotly-cartesian.min.js"
ADDRESS = "charts/plotly-cartesian-4.1.1.min.js"  # with its version, so that browsers may keep it; relative to the app
PRELOAD = f"<{ADDRESS}>; rel=preload; as=script"  # the header Link: loaded before the page knows of charts
_KEPT = {"Cache-Control": "public, max-age=31536000, immutable"}


def path(address: str) -> str:
    """The path of an address relative to the app, on this server."""
    base = str(st.get_option("server.baseUrlPath") or "").strip("/")
    return f"{base and '/' + base}/{address}"


def routes() -> list[Route]:
    """For `streamlit.App`."""
    return [Route(path(ADDRESS), _send)]


async def _send(_: object) -> FileResponse:
    return FileResponse(FILE, media_type="text/javascript", headers=_KEPT)
