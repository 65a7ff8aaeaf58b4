"""A table of the paper: every line published and measured, and the chosen line with what can be done about it."""

from typing import Any

import pandas as pd
import streamlit as st

from app import backend, plot, share, state
from app.charts import paper_words as words
from app.errors import plain
from app.spec import Pick, RunSpec
from app.state import current, dispatch
from app.theme import colours, count
from app.views import library_parts, prepare
from ash import paper, reports

_LINE = "paper_line"  # the chosen line of this session, by table
_JOB = "paper_job"  # what this session is measuring: a spec and a method
SETS = {
    "mean": "Average over the OOD sets",
    "inaturalist": "iNaturalist",
    "sun": "SUN",
    "places": "Places",
    "dtd": "Textures",
}
_METRICS = ("auroc", "fpr95", "aupr", "id_accuracy")
_SHORT = {**reports.METRIC_LABELS, "id_accuracy": "Accuracy"}
_PARTS = (("published", reports.SIGNS["published"]), ("measured", reports.SIGNS["measured"]), ("difference", "Δ"))


def columns(number: int) -> dict[str, str]:
    """The OOD sets that a table prints numbers for -> what they are called here, the average first."""
    printed = [name for name in paper.load(number)["ood"].unique() if name]
    return {name: SETS[name] for name in SETS if name in printed}


def draw(spec: RunSpec, number: int, compared: pd.DataFrame) -> None:
    """The finding, the table with its downloads, and the chosen line."""
    column = spec.column if spec.column in columns(number) else "mean"
    rows = reports.wide(compared, column)
    st.markdown(f"**{plain(words.finding(number, rows))}**")
    _legend()
    chosen = _chosen(number, rows)
    plot.rows(
        _frame(rows),
        f"paper_table{number}",
        on_pick=lambda line: _pick(number, rows, line),
        selected=chosen,
        columns=_columns(rows),
        height="content",
        style=lambda frame: _styled(frame, plot.dark()),
    )
    _downloads(spec, number, compared)
    with st.container(border=True, key="paper_line_details"):
        _details(spec, chosen, rows.loc[chosen])
    about = paper.TABLES[number]
    st.caption(plain(f"{about.columns} {about.setting}"))


def _legend() -> None:
    with st.container(key="paper_legend"):
        st.caption(
            f"{reports.SIGNS['published']} grey: published, from the paper. {reports.SIGNS['measured']} blue: measured "
            "on this machine. Δ: measured minus published, in points. A click on a heading sorts; a row loads its "
            "method on every page."
        )


def _frame(rows: pd.DataFrame) -> pd.DataFrame:
    """The table as it is shown; the index is the line."""
    shown: dict[str, Any] = {}
    if rows["model"].nunique() > 1:
        shown["Network"] = rows["model"].map(words.NETWORKS)
    local = rows.index.str.extract(r" (local|global)$", expand=False)
    shown["Method"] = rows["printed"] + local.map(lambda text: f", {text}" if isinstance(text, str) else "").to_numpy()
    for metric in _METRICS:
        if f"{metric} published" in rows:
            for part, sign in _PARTS:
                shown[f"{sign} {_SHORT[metric]}"] = rows[f"{metric} {part}"].astype(float).round(4)
    known = rows["n_id"] > 0
    shown["Status"] = rows["status"]
    shown["n ID"] = rows["n_id"].where(known)
    shown["n OOD"] = rows["n_ood"].where(known)
    shown["Date"] = rows["date"].astype(str).str[:10]
    shown["Device"] = rows["device"]
    shown["Runs as"] = rows["method"]
    return pd.DataFrame(shown, index=rows.index)


def _columns(rows: pd.DataFrame) -> dict[str, object]:
    number = st.column_config.NumberColumn
    found: dict[str, object] = {"Method": st.column_config.TextColumn(pinned=True)}
    for metric in _METRICS:
        name = _SHORT[metric]
        found[f"○ {name}"] = number(format="○ %.2f", help=f"{name}, published", width=86)
        found[f"● {name}"] = number(format="● %.2f", help=f"{name}, measured here", width=86)
        found[f"Δ {name}"] = number(format="%+.2f", help="Measured minus published, in points", width=76)
    for name in ("n ID", "n OOD"):
        found[name] = number(format="localized", help="Images behind the measured number", width=70)
    return found


def _styled(frame: pd.DataFrame, dark: bool) -> Any:
    """Published numbers in grey, measured ones in blue on a tint."""
    colour = colours(dark)
    published = [name for name in frame if name.startswith(reports.SIGNS["published"])]
    measured = [name for name in frame if name.startswith(reports.SIGNS["measured"])]
    return (
        frame.style.set_properties(subset=published, color=colour["muted"])
        .set_properties(subset=measured, color=colour["id"])
        .set_properties(subset=measured, **{"background-color": colour["panel"]})
    )


def _chosen(number: int, rows: pd.DataFrame) -> str:
    """The chosen line; before anyone has chosen, the first that the loaded method is, or the first network's last."""
    kept: str = st.session_state.get(f"{_LINE}{number}", "")
    if kept in rows.index:
        return kept
    loaded = rows.index[rows["method"] == str(current().method)]
    return str(loaded[0] if len(loaded) else rows.index[rows["model"] == rows["model"].iloc[0]][-1])


def _pick(number: int, rows: pd.DataFrame, line: str) -> Pick:
    """Choose a line and load its method; with its network where that is what is shown and it is here."""
    st.session_state[f"{_LINE}{number}"] = line
    spec, row = current(), rows.loc[line]
    if spec.beside == "own" and not backend.unready(backend.own_spec(row["model"])):
        return Pick.line(f"{row['model']} {row['method']}")
    return Pick.method(row["method"])


def _downloads(spec: RunSpec, number: int, compared: pd.DataFrame) -> None:
    origin = {"table": f"Table {number} of the paper", "rules": f"metrics by {words.RULES[spec.rules]}"}
    if not backend.unready(spec):
        origin |= share.provenance(spec)
    with st.container(horizontal=True):
        st.download_button(
            "Table (CSV)",
            lambda: reports.csv_text(compared, share.dated(origin)),
            f"ash-table{number}.csv",
            "text/csv",
            key=f"paper_csv{number}",
            on_click="ignore",
            icon=":material/download:",
        )
        st.download_button(
            "Report (HTML)",
            lambda: reports.html_text(number, compared, share.dated(origin)),
            f"ash-table{number}.html",
            "text/html",
            key=f"paper_html{number}",
            on_click="ignore",
            icon=":material/download:",
        )


# The chosen line


def _details(spec: RunSpec, line: str, row: pd.Series) -> None:
    """What is known of the chosen line, and what can be done about it."""
    at = backend.own_spec(row["model"]) if spec.beside == "own" else spec
    name = words.NETWORKS[row["model"]]
    kind = {"local": ", one threshold a sample", "global": ", one threshold for all"}.get(line.rpartition(" ")[2], "")
    st.markdown(f"##### {plain(row['printed'] + kind)} on {plain(name)}")
    library_parts.facts(_facts(row))
    lack = backend.lack(at, row["method"])
    with st.container(horizontal=True, vertical_alignment="center"):
        _load_buttons(spec, row, name)
        if lack is not None and lack.click:
            _measure_button(at, row["method"])
    if lack is not None and pd.isna(row["auroc measured"]):
        _missing(spec, at, row, lack)


def _facts(row: pd.Series) -> dict[str, str]:
    published, measured = [], []
    for metric in _METRICS:
        if f"{metric} published" in row and pd.notna(row[f"{metric} published"]):
            spread = row.get(f"{metric} spread")
            more = f" ± {spread:.2f}" if spread is not None and pd.notna(spread) else ""
            published.append(f"{_SHORT[metric]} {row[f'{metric} published']:.2f}{more}")
            if pd.notna(row[f"{metric} measured"]):
                change = f"{row[f'{metric} difference']:+.2f}".replace("-", "\N{MINUS SIGN}")
                measured.append(f"{_SHORT[metric]} {row[f'{metric} measured']:.2f} ({change})")
    images = f"{count(int(row['n_id']))} ID and {count(int(row['n_ood']))} OOD images" if measured else ""
    where = ", ".join(
        filter(None, (str(row["on"]), images, str(row["device"]), str(row["date"])[:16].replace("T", " ")))
    )
    basis = {"paper": "parameter printed in the paper", "assumed": "parameter not printed; the network's preset here"}
    return {
        f"{reports.SIGNS['published']} Published": ", ".join(published),
        f"{reports.SIGNS['measured']} Measured": ", ".join(measured),
        "On": where if measured else "",
        "Status": ": ".join(filter(None, (row["status"], row["note"]))),
        "Runs as": ", ".join(filter(None, (row["method"], basis.get(row["basis"], "")))),
        "Note": row["flag"],
    }


def _load_buttons(spec: RunSpec, row: pd.Series, name: str) -> None:
    """To the explorer with this method, on the sidebar's network or on the paper's."""
    if row["method"] == "godin":
        return
    loaded = str(spec.method) == row["method"]
    st.button(
        "Loaded" if loaded else "Load the method",
        icon=":material/check:" if loaded else ":material/input:",
        key="paper_load",
        disabled=loaded,
        on_click=dispatch,
        args=(Pick.method(row["method"]),),
    )
    if spec.model != row["model"]:
        st.button(
            f"Load with {name}",
            icon=":material/deployed_code:",
            key="paper_load_network",
            on_click=dispatch,
            args=(Pick.line(f"{row['model']} {row['method']}"),),
        )
    state.page_link("tradeoff", "Trade-off")


def _missing(spec: RunSpec, at: RunSpec, row: pd.Series, lack: backend.Lack) -> None:
    if row["status"] == reports.PUBLISHED:
        return
    text = f"Not measured here: {lack.text}."
    if lack.click:
        todo = backend.images_of(at, row["method"])
        text += f" Measure this row sends {count(todo)} images through the network once." if todo else ""
    st.caption(plain(text))
    if lack.commands:
        st.code("\n".join(lack.commands), language="bash", wrap_lines=True)
    if spec.beside == "own":
        st.caption("The same method runs on the bundled network: choose the sidebar's network above the table.")


# Measuring


def _measure_button(at: RunSpec, method: str) -> None:
    """One button under one key for Measure and Cancel: an old one would stay on the page while it measures."""
    busy = st.session_state.get(_JOB) is not None
    st.button(
        "Cancel" if busy else "Measure this row",
        icon=":material/stop:" if busy else ":material/play_arrow:",
        type="secondary" if busy else "primary",
        key="paper_measure",
        on_click=_stop if busy else _start,
        args=() if busy else (at, method),
    )


def _start(at: RunSpec, method: str) -> None:
    st.session_state[_JOB] = (backend.setup(at), at, method)


def _stop() -> None:
    st.session_state.pop(_JOB, None)


def go_on(spec: RunSpec) -> None:
    """Measure in this script run what was asked for; a click anywhere interrupts it, the next run goes on with it."""
    job = st.session_state.get(_JOB)
    if job is None:
        return
    at, asked, method = job
    if backend.setup(asked) != at:  # the OOD sets have changed since
        _stop()
        return
    bar = st.progress(0.0, f"Measuring {plain(method)}")
    try:
        for step in backend.measure_steps(asked, method):
            bar.progress(min(step.done / max(step.total, 1), 1.0), prepare.step_words(step))
    except Exception:
        _stop()  # otherwise every run of the page would start the same failure again
        raise
    _stop()
    st.rerun()
