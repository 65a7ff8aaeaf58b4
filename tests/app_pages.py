"""The pages of the app without a browser, by Streamlit's AppTest: one way to open them, for all tests."""

from pathlib import Path

from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

ENTRY = Path(__file__).parents[1] / "app" / "main.py"
PATIENCE = 600  # seconds that one run of a page may take, on a machine that others use too


def at_link(page: str, /, **query: object) -> AppTest:
    """A new session at a page's link, before its first run."""
    app = AppTest.from_file(str(ENTRY), default_timeout=PATIENCE)
    for key, value in query.items():
        app.query_params[key] = str(value)
    return turn_to(app, page)


def turn_to(app: AppTest, page: str) -> AppTest:
    """Choose the page of the next run; `AppTest.switch_page` knows only pages that are files."""
    app._page_hash = calc_hash(page)
    return app


def ran(app: AppTest) -> AppTest:
    """Run once; nothing has failed, and the page shows no error."""
    app.run()
    assert not app.exception
    assert [one.value for one in app.error] == []
    return app


def open_page(page: str, /, **query: object) -> AppTest:
    """A page in a new session, drawn once without an error."""
    return ran(at_link(page, **query))
