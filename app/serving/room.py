"""A lecturer's room: the address that phones open, short links into it, and how many gave which answer.

`ash-explorer --room` opens it. All of it is in the memory of this server, bounded, and names nobody.
"""

import base64
import hashlib
import os
import threading
from collections import Counter, OrderedDict
from collections.abc import Hashable, Mapping
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from app.serving import plotly_js
from ash.errors import AshError

SETTING = "ASH_ROOM"  # environment: the address of this server in the room; none where there is no room
FOLDER = "go"  # below the address of the app: short links
MOST = 500  # short links, and questions, that are remembered; the oldest go first
LETTERS = 4  # of a short link; one more for each that another link has taken
_links: "OrderedDict[str, str]" = OrderedDict()  # code -> path and query
_answers: "OrderedDict[Hashable, Counter[str]]" = OrderedDict()
_lock = threading.Lock()


def address() -> str:
    """The address of the room, `http://192.168.1.20:8501`; "" where this server is none. AshError for another text."""
    said = os.environ.get(SETTING, "").strip().rstrip("/")
    if said and not said.startswith(("http://", "https://")):
        raise AshError(f"{SETTING} is '{said}': it has to be an address, as http://192.168.1.20:8501.")
    return said


# Short links


def short_link(path: str, query: str) -> str:
    """The short address in the room of a page of the app and its query; the same for the same view."""
    target = "/" + quote(path.strip("/")) + (f"?{query}" if query else "")  # never //, which is another server
    code = base64.b32encode(hashlib.sha256(target.encode()).digest()).decode().lower()
    with _lock:
        length = next(n for n in range(LETTERS, len(code)) if _links.get(code[:n], target) == target)
        _links[code[:length]] = target
        _links.move_to_end(code[:length])
        while len(_links) > MOST:
            _links.popitem(last=False)
    return f"{address()}/{FOLDER}/{code[:length]}"


def routes() -> list[Route]:
    """For `streamlit.App`."""
    return [Route(plotly_js.path(f"{FOLDER}/{{code}}"), _go)]


def _go(request: Request) -> Response:
    with _lock:
        target = _links.get(request.path_params["code"].lower())
    if target is None:
        return PlainTextResponse("There is no such short link any more: ask for it again.", 404)
    return RedirectResponse(target, 302, {"Cache-Control": "no-store"})


# Answers


def count_answer(question: Hashable, answer: str) -> None:
    """One more has given this answer. Whoever asks sees to it that a session answers once."""
    with _lock:
        _answers.setdefault(question, Counter())[answer] += 1
        _answers.move_to_end(question)
        while len(_answers) > MOST:
            _answers.popitem(last=False)


def answers(question: Hashable) -> Mapping[str, int]:
    """Answer -> how many in the room gave it."""
    with _lock:
        return dict(_answers.get(question, {}))
