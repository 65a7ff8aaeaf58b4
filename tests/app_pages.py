"""The pages of the app without a browser, by Streamlit's AppTest: one way to open them, for all tests."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from app.backend import banks, setups
from app.charts.plain import Figure
from app.link.spec import RunSpec
from ash import plugins
from ash.errors import AshError

ENTRY = Path(__file__).parents[1] / "app" / "main.py"
PATIENCE = 600  # seconds that one run of a page may take, on a machine that others use too
# Each AppTest reads what every installed package says of itself, 70 ms; none is installed meanwhile.
manifest_scanner.scan_component_manifests = cache(manifest_scanner.scan_component_manifests)


def at_link(page: str, /, **query: object) -> AppTest:
    """A new session at a page's link, before its first run; without a query it is at the app's opening view."""
    return turn_to(_asked(AppTest.from_file(str(ENTRY), default_timeout=PATIENCE), query), page)


def at_demo(page: str) -> AppTest:
    """`at_link` of a page that shows the demo; the test is skipped where the demo's activations are not here."""
    try:
        missing = banks.missing_sets(setups.setup(RunSpec()))
    except AshError as error:
        pytest.skip(f"the demo is not in assets/: {error}")
    if missing:
        pytest.skip(f"banks of the demo are missing: {', '.join(missing)}")
    return at_link(page, model="demo")


def forget_plugins() -> None:
    """Read the plug-ins anew, and forget what the app has made of those before."""
    plugins.reload()
    st.cache_resource.clear()
    st.cache_data.clear()


def _asked(app: AppTest, query: Mapping[str, object]) -> AppTest:
    for key, value in query.items():
        app.query_params[key] = str(value)
    return app


def turn_to(app: AppTest, page: str) -> AppTest:
    """Choose the page of the next run; `AppTest.switch_page` knows only pages that are files."""
    app._page_hash = calc_hash(page)
    return app


def ran(app: AppTest, /, **query: object) -> AppTest:
    """Run once, with these changes of the link; nothing has failed, and the page shows no error."""
    _asked(app, query).run()
    assert not app.exception
    assert [one.value for one in app.error] == []
    for one in charts(app):
        Figure(**json.loads(one.proto.bytes)["figure"]).checked()
    return app


def charts(app: AppTest) -> list[Any]:
    """The charts of the page, among the components."""
    return [one for one in app.get("bidi_component") if one.proto.component_name == "ash_chart"]


def open_page(page: str, /, **query: object) -> AppTest:
    """A page in a new session, drawn once without an error."""
    return ran(at_link(page, **query))


def figure(app: AppTest, key: str) -> dict[str, Any]:
    """A chart as it is sent to the browser, every property of it checked by Plotly."""
    found: dict[str, Any] = sent(app, key)["figure"]
    Figure(**found).checked()
    return found


def sent(app: AppTest, key: str) -> dict[str, Any]:
    """What is sent to the browser with a chart: `figure`, `config`, `alt`, `picks`."""
    found: dict[str, Any] = json.loads(app.get_by_key(key).proto.bytes)
    return found


def traces(app: AppTest, key: str) -> dict[str, dict[str, Any]]:
    """The traces of a chart by name; of two with one name the first."""
    found: dict[str, dict[str, Any]] = {}
    for trace in figure(app, key)["data"]:
        found.setdefault(trace.get("name", ""), trace)
    return found


def texts(app: AppTest) -> str:
    """Everything the page says, without the escapes of markdown and with plain spaces."""
    shown = [*app.markdown, *app.caption, *app.info, *app.warning]
    return "\n".join(one.value.replace("\\", "").replace("\u00a0", " ") for one in shown)
