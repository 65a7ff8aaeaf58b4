"""Blocks that browsers fetch once, when they are about to need them: made when asked for, and not held here."""

import gzip
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.serving import plotly_js
from ash.errors import EXPECTED, sentence

FOLDER = "charts/films"  # below the address of the app
MOST = 512  # blocks that can be asked for; of older ones a page goes on without
_KEPT = {"Cache-Control": "private, max-age=86400, immutable", "Content-Type": "application/octet-stream"}
_offers: "OrderedDict[str, Callable[[], bytes]]" = OrderedDict()
_lock = threading.Lock()
_turn = threading.Lock()  # one is made at a time: pages go before


def offer(make: Callable[[], bytes]) -> str:
    """The address, relative to the app, under which a block can be fetched: nobody guesses it."""
    name = secrets.token_urlsafe(18)
    with _lock:
        _offers[name] = make
        while len(_offers) > MOST:
            _offers.popitem(last=False)
    return f"{FOLDER}/{name}"


def routes() -> list[Route]:
    """For `streamlit.App`."""
    return [Route(plotly_js.path(f"{FOLDER}/{{name}}"), _send)]


def block(name: str) -> bytes | None:
    """The block of this name, made now; None where there is none any more."""
    with _lock:
        make = _offers.get(name)
    if make is None:
        return None
    with _turn:
        return make()


async def _send(request: Request) -> Response:
    try:
        found = await run_in_threadpool(block, request.path_params["name"])
    except EXPECTED as error:  # the page goes on without, and says it when it is next drawn
        return Response(sentence(error), 503, {"Cache-Control": "no-store"}, media_type="text/plain")
    if found is None:
        return Response("There is no such block any more.", 404, media_type="text/plain")
    return Response(gzip.compress(found, 5), headers={**_KEPT, "Content-Encoding": "gzip"})
