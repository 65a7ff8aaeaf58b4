"""Entry point, `streamlit run app/main.py`: page set-up, link, sidebar, and the page inside an error boundary.

To add a page: write `app/views/name/page.py` with `render(spec: RunSpec) -> None`, and add a line to `SECTIONS` and
one to `_view`. What it lets people choose is its record in `app/link/options.py`.
"""

import sys
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # `streamlit run` puts only the folder of this file on the path
    sys.path.insert(0, str(ROOT))

import streamlit as st  # noqa: E402

import app.link.streamlit_private  # noqa: E402, F401  (first: it keeps a log quiet that the others start)
from app import sidebar  # noqa: E402
from app.backend import engine, requirements, setups  # noqa: E402
from app.errors import boundary, plain  # noqa: E402
from app.link import state  # noqa: E402
from app.link.spec import PENULTIMATE, RunSpec  # noqa: E402
from app.link.streamlit_private import Page  # noqa: E402
from app.serving import door, films, plotly_js, room  # noqa: E402
from app.theme import colours  # noqa: E402
from app.ui import appearance, plot, prepare, shipped, texts  # noqa: E402

# section -> (folder in app/views, title, what the page is for)
SECTIONS: dict[str, list[tuple[str, str, str]]] = {
    "Explore": [
        ("tradeoff", "Trade-off", "Accuracy against detection for every setting."),
        ("scores", "Scores", "Score histograms, ROC and PR of one setting."),
        ("activations", "Activations", "Activations before and after shaping."),
        ("placements", "Placements", "The same methods at every point of the network."),
        ("samples", "Samples", "Images that a method accepts, rejects, rescues or breaks."),
    ],
    "Learn": [
        ("start", "Start", "What this is about, and one picture on its way through all of it."),
        ("lab", "Shape lab", "The algorithms step by step on twelve values of an image."),
        ("lessons", "Lessons", "Short lessons with the numbers of the chosen network."),
    ],
    "Reference": [
        ("paper", "Paper", "The paper's tables and figures beside what is measured here."),
        ("library", "Library", "Models, data sets and activations: what is here, and how to get the rest."),
        ("guide", "Guide", "How to use all this with your own networks and data, and what it is built of."),
    ],
}
HOME = SECTIONS["Explore"][0][0]  # what the address without a name opens
ANY_TIME = ("paper", "library", "guide")  # pages that need neither weights nor images
# pages about the variants of the sidebar, whatever method is loaded
ONE_STEP = ("activations", "placements", "lab")


def _view(name: str, spec: RunSpec) -> None:
    """Draw a page; what it needs is loaded when it is first opened."""
    match name:
        case "tradeoff":
            from app.views.tradeoff import page
        case "scores":
            from app.views.scores import page  # type: ignore[no-redef]
        case "activations":
            from app.views.activations import page  # type: ignore[no-redef]
        case "placements":
            from app.views.placements import page  # type: ignore[no-redef]
        case "samples":
            from app.views.samples import page  # type: ignore[no-redef]
        case "start":
            from app.views.start import page  # type: ignore[no-redef]
        case "lab":
            from app.views.lab import page  # type: ignore[no-redef]
        case "lessons":
            from app.views.lessons import page  # type: ignore[no-redef]
        case "paper":
            from app.views.paper import page  # type: ignore[no-redef]
        case "library":
            from app.views.library import page  # type: ignore[no-redef]
        case "guide":
            from app.views.guide import page  # type: ignore[no-redef]
    page.render(spec)


def _render(name: str, title: str) -> None:
    with boundary():
        spec = state.current()
        if name in ONE_STEP and spec.other:
            spec = _with_variant(spec)
        asked = replace(spec, placement=PENULTIMATE) if name == "placements" else spec  # it compares all of them
        if name not in ANY_TIME and requirements.unready(asked):
            prepare.nothing_here(spec, title)
            if name == "tradeoff":
                shipped.draw(spec)
        else:
            if name not in ANY_TIME:
                prepare.left_out(spec)
            _view(name, spec)


def _with_variant(spec: RunSpec) -> RunSpec:
    """The spec with its variant in place of a method that this page cannot show, and a line that says so."""
    shown = replace(spec, other="")
    st.info(
        plain(
            f"This page shows what a variant does to activations, here {shown.method.label}. "
            f"{spec.method.label} is on Trade-off, Scores and Samples."
        ),
        icon=":material/info:",
    )
    return shown


def _page(name: str, title: str, purpose: str, default: bool) -> Page:
    run: Callable[[], None] = partial(_render, name, title)
    # No `icon`: Streamlit would fetch it from a font server for the browser's tab.
    return st.Page(run, title=title, url_path=name, default=default, help=purpose)


def _controls(page: Page, spec: RunSpec) -> Collection[str] | None:
    """What the sidebar shows where a page is about less than all of it; None for everything."""
    if page.url_path == "lab" and spec.lab.room == "predict":
        return texts.PREDICT
    if page.url_path == "start":
        return texts.START
    if page.url_path == "guide":
        return ()
    return texts.controls(spec.lessons.lesson) if page.url_path == "lessons" else None


def _wordmark(dark: bool) -> str:
    """The icon with the name beside it, in a colour that is readable on this theme."""
    icon = appearance.ICON.replace("<svg ", '<svg width="64" height="64" ', 1)
    name = (
        f'<text x="76" y="42" font-family="sans-serif" font-size="27" fill="{colours(dark)["ink"]}">ASH explorer</text>'
    )
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 270 64">{icon}{name}</svg>'


def draw() -> None:
    """The pages, the link, the sidebar and the page in use."""
    sections = {
        section: [_page(*entry, default=entry[0] == HOME) for entry in entries] for section, entries in SECTIONS.items()
    }
    names = [entry[0] for entries in SECTIONS.values() for entry in entries]
    pages = [page for some in sections.values() for page in some]
    state.remember_pages(dict(zip(names, pages, strict=True)))
    page = st.navigation(sections, position="hidden")
    st.set_page_config(page_title=f"{page.title} - ASH explorer", page_icon=appearance.FAVICON, layout="wide")
    st.logo(_wordmark(plot.dark()), size="large", icon_image=appearance.ICON)
    appearance.style()
    with boundary():
        spec = state.read_link(sidebar.known, page.url_path)
        state.write_link()
        draw_sidebar = partial(sidebar.draw, spec, sections, _controls(page, spec))
        sidebar_last = state.is_step() and engine.is_linear(setups.setup(spec))  # it is the chart that is waited for
        if not sidebar_last:
            draw_sidebar()
        state.echo_so_far()
        for notice in state.notices():
            st.warning(plain(notice), icon=":material/link_off:")
        page.run()
        if sidebar_last:
            draw_sidebar()
        engine.warm_up()
    state.echo()
    appearance.watch()


def main() -> None:
    """One run of the script."""
    with state.first_meeting(), setups.one_run():
        draw()


if __name__ == "__main__":  # every browser runs this file
    main()
else:  # the server imports it once, and looks for this
    routes = [*door.routes(HOME), *plotly_js.routes(), *films.routes(), *room.routes()]
    server = st.App(__file__, routes=routes, middleware=door.middleware(), lifespan=door.opening)
