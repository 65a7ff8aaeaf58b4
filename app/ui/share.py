"""The link that keeps a view, and the lines that say where a downloaded file comes from."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import streamlit as st

from app.backend.provenance import provenance as provenance_of
from app.link.spec import RunSpec, lasting_query, to_query
from app.serving import room
from app.ui.component import component

_PACKAGES = ("torch", "numpy", "streamlit", "plotly")
_ROOM_HEIGHT = 410  # pixels of the popover with a QR code
_QR_STYLE = "width: min(220px, 45vh); image-rendering: pixelated"  # seen whole on a low screen too
_FILES = Path(__file__).parent
_copied = component("ash_copy", (_FILES / "copy.js").read_text(), (_FILES / "copy.css").read_text())


def full_link(spec: RunSpec) -> str:
    """The address of this page with every key, for a file that says all that it shows."""
    return _link(to_query(spec, every=True))


def short_link(spec: RunSpec) -> str:
    """The address of this page with what is not as usual; in a lecturer's room, the few letters that stand for it."""
    if room.address():
        return room.short_link(urlsplit(st.context.url or "").path, urlencode(lasting_query(spec), safe=","))
    return lasting_link(spec)


def lasting_link(spec: RunSpec) -> str:
    """The address of this page with what is not as usual, for paper: no room's short link, which ends with it."""
    return _link(lasting_query(spec))


def _link(query: Mapping[str, str]) -> str:
    parts = urlsplit(st.context.url or "")
    return urlunsplit((parts.scheme, parts.netloc, parts.path or "/", urlencode(query, safe=","), ""))


def provenance(spec: RunSpec) -> dict[str, str]:
    """What a downloaded file says about itself. Call it in the page, not in a download callback."""
    facts = {name: str(value) for name, value in provenance_of(spec).items()}
    versions = ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)
    return {**facts, "versions": versions, "link": full_link(spec)}


def dated(origin: Mapping[str, str]) -> dict[str, str]:
    """`origin` with the time the file was made."""
    return {**origin, "made": datetime.now(UTC).isoformat(timespec="seconds")}


def file_name(*parts: object) -> str:
    """The parts joined to a name that every system takes: `scores-ash_s-90`."""
    return re.sub("[@:/]", "-", "-".join(map(str, parts)))


def download(label: str, make: Callable[[], str], name: str, key: str, icon: str = "download", **more: Any) -> None:
    """A button that downloads a file, .csv or .html, which is made when it is pressed; the page is not run again."""
    st.download_button(
        label,
        make,
        name,
        f"text/{name.rpartition('.')[2]}",
        key=key,
        on_click="ignore",
        icon=f":material/{icon}:",
        **more,
    )


def menu(spec: RunSpec) -> None:
    """The share popover: the link with all settings, a button that copies it; in a lecturer's room a QR code of it."""
    more = st.popover("Share", icon=":material/link:", width="stretch", key="share", on_change="rerun")
    # Where there is room for it is decided when it opens, still empty: so it is as high then as it will be.
    with more.container(height=_ROOM_HEIGHT if room.address() else "content", border=False):
        if not more.open:
            return  # a room remembers so many short links: one for each that somebody wants to see
        link = short_link(spec)
        st.caption("This link opens this view, with every setting as it is here.")
        _copied(data={"link": link}, key="share_link")
        if room.address():
            st.html(f'<img src="{_qr(link)}" alt="QR code of {link}" style="{_QR_STYLE}">')
            st.caption("Phones in this network open it. The short link lasts until this server ends.")


@lru_cache(maxsize=64)
def _qr(text: str) -> str:
    """The QR code of a text as a data URI: black on white with its quiet zone, on the dark theme too."""
    import segno

    uri: str = segno.make(text, error="m", micro=False).svg_data_uri(scale=4, dark="#000", light="#fff")
    return uri


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
