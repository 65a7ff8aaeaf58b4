"""The link that keeps a view, and the lines that say where a downloaded file comes from."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import streamlit as st

from app.backend.provenance import provenance as provenance_of
from app.link.spec import RunSpec, to_query

_PACKAGES = ("torch", "numpy", "streamlit", "plotly")


def full_link(spec: RunSpec) -> str:
    """The address of this page with every key, so that it shows the same view when a default has changed."""
    parts = urlsplit(st.context.url or "")
    return urlunsplit(
        (parts.scheme, parts.netloc, parts.path or "/", urlencode(to_query(spec, every=True), safe=","), "")
    )


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
    """The share popover: the link with all settings."""
    with st.popover("Share", icon=":material/link:", width="stretch", key="share"):
        st.caption("This link holds every setting of this view.")
        st.code(full_link(spec), language=None, wrap_lines=True)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
