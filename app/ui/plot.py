"""show(figure, key, alt, ...): the one seam between a figure and Streamlit.

A click on a mark and the choice of a row in the table are the same thing: an id, turned into a `Pick` by `on_pick`.
The id of a mark is its `customdata` (or the first entry of it), the id of a row is its index label. Never a position.
"""

import html
import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import pandas as pd
import streamlit as st

from app.charts.plain import Figure
from app.link import streamlit_private
from app.link.picks import Pick
from app.link.state import current, dispatch, send_alone
from app.serving import plotly_js
from app.theme import MARKS, OBJECTIVE_LABELS
from app.ui import chart, share
from ash.methods import STEPS, Method

OnPick = Callable[[str], Pick]
Table: TypeAlias = pd.DataFrame | Callable[[], pd.DataFrame]
_CONFIG: dict[str, Any] = {
    "displaylogo": False,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d", "sendChartToCloud"],
}  # of every chart, on a page and in a file
_ON_PAGES = {**_CONFIG, "modeBarButtonsToRemove": [*_CONFIG["modeBarButtonsToRemove"], "toImage"]}  # chart.js has one

_MADE_OF: dict[str, Callable[[Method], object]] = {
    "variant": lambda one: one.variant,
    "parameter": lambda one: STEPS[one.variant].parameter if one.parameter is not None else None,
    "value": lambda one: one.parameter,
    "score": lambda one: one.score,
}


@dataclass(frozen=True)
class Live:
    """Where the browser finds a chart at all percentiles (`app.charts.film`), and what the slider shows at this one."""

    film: str
    p: int


def dark() -> bool:
    """Whether this browser shows the dark theme; light when it does not say."""
    return bool(st.context.theme.type == "dark")


def show(
    figure: Figure,
    key: str,
    alt: str,
    *,
    on_pick: OnPick | None = None,
    selected: str | None = None,
    table: Table | None = None,
    filename: str = "figure",
    columns: Mapping[str, Any] | None = None,
    images: str = "",
    live: Live | None = None,
) -> None:
    """Draw a figure, its table twin and its downloads.

    `alt`: one sentence with the finding, read by screen readers. `selected`: the id whose row is ticked. `table`: a
    frame of at most a few thousand rows, or a function that makes one; called only while the table is open.
    `columns`: the `column_config` of the table. `images`: what downloads say of the images that it is of, where those
    are not simply all. `live`: how the chart moves with the slider (`app.ui.live`).
    """
    shown = {"alt": alt, "config": _ON_PAGES, "filename": filename, "picks": on_pick is not None}
    about = json.dumps({**shown, "live": live and asdict(live)})
    chart.mount(f'{about[:-1]}, "figure": {figure.to_json()}}}'.encode(), key, _chart_callback(key, on_pick))
    if live:
        send_alone()
    label = "Table and downloads" if table is not None else "Downloads"
    with st.expander(label, key=f"{key}_more", on_change="rerun", icon=":material/table:") as more:
        if more.open:
            frame = table() if callable(table) else table
            if frame is not None:
                rows(frame, f"{key}_rows", on_pick=on_pick, selected=selected, columns=columns)
            _downloads(figure, frame, key, alt, filename, images)


def rows(
    frame: pd.DataFrame,
    key: str,
    *,
    on_pick: OnPick | None = None,
    selected: str | None = None,
    columns: Mapping[Any, Any] | None = None,
    height: int | Literal["auto", "content", "stretch"] = "auto",
    style: Callable[[pd.DataFrame], Any] | None = None,
) -> None:
    """A table whose index holds the ids; choosing a row is a pick, by mouse or by keyboard.

    `columns`: the `column_config`, by name or, where columns stand in groups, by place. `style` makes a pandas `Styler`
    of the frame, for colours.
    """
    config = dict(columns) if columns else None
    shown = style(frame) if style else frame
    if on_pick is None:
        st.dataframe(shown, key=key, column_config=config, hide_index=True, height=height, placeholder="–")
        return
    ids = [str(label) for label in frame.index]
    live = _generation(key, selected)
    ticked: Any = {"selection": {"rows": [ids.index(selected)] if selected in ids else []}}
    st.dataframe(
        shown,
        key=live,
        column_config=config,
        hide_index=True,
        height=height,
        placeholder="–",
        on_select=_rows_callback(key, live, ids, selected, on_pick),
        selection_mode="single-row",
        selection_default=ticked,
    )


def _generation(key: str, selected: str | None) -> str:
    """The widget key of a table: a new one, with a fresh tick, when something else than the table changed the pick."""
    number, last = st.session_state.get(f"{key}_tick", (0, selected))
    if last != selected:
        number += 1
    st.session_state[f"{key}_tick"] = (number, selected)
    return f"{key}_{number}"


def _rows_callback(key: str, live: str, ids: list[str], selected: str | None, on_pick: OnPick) -> Callable[[], None]:
    def picked() -> None:
        told = streamlit_private.value_of(live)
        if told is None:
            return
        rows, number = told["selection"]["rows"], st.session_state[f"{key}_tick"][0]
        chosen = ids[rows[0]] if rows and rows[0] < len(ids) else None
        # A table that another has followed tells the tick that it was drawn with: the browser has it still, and
        # somebody was quick with another control.
        if chosen is None or (live != f"{key}_{number}" and chosen == selected):
            return
        st.session_state[f"{key}_tick"] = number, chosen
        dispatch(on_pick(chosen))

    return picked


def _chart_callback(key: str, on_pick: OnPick | None) -> Callable[[], None]:
    def picked() -> None:
        told = streamlit_private.value_of(key)
        if on_pick is not None and told is not None:
            dispatch(on_pick(told["picked"]))

    return picked


def _downloads(figure: Figure, frame: pd.DataFrame | None, key: str, alt: str, filename: str, images: str) -> None:
    origin = {**share.provenance(current()), **({"images": images} if images else {})}
    with st.container(horizontal=True):
        if frame is not None:
            share.download("Table (CSV)", lambda: csv_text(frame, share.dated(origin)), f"{filename}.csv", f"{key}_csv")
            share.download(
                "Table (LaTeX)", lambda: latex_text(frame, share.dated(origin)), f"{filename}.tex", f"{key}_tex"
            )
        share.download(
            "Figure (HTML)", lambda: html_text(figure, alt, share.dated(origin)), f"{filename}.html", f"{key}_html"
        )


def metric_columns(form: str = "%.2f") -> dict[str, object]:
    """How a table shows the metrics, by their display names."""
    return {name: st.column_config.NumberColumn(format=form) for name in OBJECTIVE_LABELS.values()}


def csv_text(frame: pd.DataFrame, origin: Mapping[str, str]) -> str:
    """The table as CSV under comment lines with its origin; `pandas.read_csv(..., comment="#")` reads it back."""
    out = io.StringIO()
    for name, value in origin.items():
        out.write(f"# {name}: {value}\n")
    tidy(frame).to_csv(out, index=frame.index.name is not None)
    return out.getvalue()


def tidy(frame: pd.DataFrame) -> pd.DataFrame:
    """The table for programs: no sign in front of a name, and of a table of methods what each is made of, by columns.

    Its numbers are not rounded: what a page shows of them is rounded once, where it is shown.
    """
    signs = re.compile(f"^[{''.join(mark.sign for mark in MARKS.values())}] ")
    texts = [name for name in frame if pd.api.types.is_string_dtype(frame[name])]
    found = frame.assign(**{name: frame[name].str.replace(signs, "", regex=True) for name in texts})
    if frame.index.name != "method":
        return found
    methods = [Method.parse(text) for text in frame.index]
    for place, (name, of) in enumerate(_MADE_OF.items()):
        found.insert(place, name, [of(one) for one in methods])
    return found.drop(columns=["Method", "p or c"], errors="ignore")


def latex_text(frame: pd.DataFrame, origin: Mapping[str, str]) -> str:
    """The table for LaTeX's booktabs under comment lines with its origin, without the signs that stand for marks."""
    text = "".join(f"% {name}: {' '.join(value.split())}\n" for name, value in origin.items())
    text += frame.to_latex(index=False, float_format="%.2f", na_rep="--", escape=True)
    for sign, word in {**{f"{mark.sign} ": "" for mark in MARKS.values()}, "Δ": r"$\Delta$"}.items():
        text = text.replace(sign, word)
    return text


def html_text(figure: Figure, alt: str, origin: Mapping[str, str]) -> str:
    """One file that needs no network: plotly.js, the figure, what it shows and where it comes from."""
    page: str = figure.checked().to_html(
        include_plotlyjs=False, full_html=True, auto_play=False, config={**_CONFIG, "responsive": True}
    )
    lines = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in origin.items())
    style = "font:14px sans-serif;margin:1em;overflow-wrap:anywhere"
    note = f'<div style="{style}"><p>{html.escape(alt)}</p><dl>{lines}</dl></div>'
    program = f"<script>{plotly_js.text()}</script></head>"
    return page.replace("</head>", program, 1).replace("</body>", f"{note}</body>")
