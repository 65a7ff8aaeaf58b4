"""A table of the paper: every line published and measured, with its downloads. (The chosen line is in `paper_line`.)"""

from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.backend import paper as measured
from app.backend import registry, requirements, setups, shipping
from app.errors import plain
from app.link.picks import Pick
from app.link.spec import RunSpec
from app.link.state import current
from app.theme import colours
from app.ui import plot, share
from app.views.paper import line as paper_line
from app.views.paper import words
from app.views.paper.line import METRICS, SHORT
from ash import paper, reports
from ash.report_files import ALIKE, SIGNS, csv_text, html_text

_LINE = "paper_line"  # the chosen line of this session, by table
SETS = {
    "mean": "Average over the OOD sets",
    "inaturalist": "iNaturalist",
    "sun": "SUN",
    "places": "Places",
    "dtd": "Textures",
}
_PARTS = {"published": SIGNS["published"], "measured": SIGNS["measured"], "difference": "Δ"}
_OWN = "Same network"  # the group of columns in which a difference can stand
# Streamlit does not find the groups of columns behind a straight quotation mark in a name
_QUOTES = str.maketrans("'\"", "\N{RIGHT SINGLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}")


def columns(number: int) -> dict[str, str]:
    """The OOD sets that a table prints numbers for -> what they are called here, the average first."""
    printed = [name for name in paper.load(number)["ood"].unique() if name]
    return {name: SETS[name] for name in SETS if name in printed}


def draw(spec: RunSpec, number: int, compared: pd.DataFrame) -> DeltaGenerator:
    """The finding, the table with its downloads, and the chosen line; returns the place for its progress."""
    column = spec.paper.column if spec.paper.column in columns(number) else "mean"
    rows = reports.wide(compared, column)
    beside = registry.entry(spec.model).label
    st.markdown(f"**{plain(words.finding(number, rows, beside))}**")
    if number == 5:
        _duels(spec)
    frame = _frame(rows, beside)
    _legend(rows, beside)
    chosen = _chosen(number, rows)
    plot.rows(
        frame,
        f"paper_table{number}",
        on_pick=lambda line: _pick(number, rows, line),
        selected=chosen if rows.loc[chosen, "method"] == str(spec.method) else None,  # a tick is what is loaded
        columns=_columns(frame, beside),
        height="content",
        style=lambda frame: _styled(frame, plot.dark()),
    )
    _downloads(spec, number, compared)
    with st.container(border=True, key="paper_line_details"):
        progress = paper_line.draw(spec, chosen, rows.loc[chosen])
    about = paper.TABLES[number]
    st.caption(plain(f"{about.columns} {about.setting}"))
    return progress


def _duels(spec: RunSpec) -> None:
    """Where each sample's own threshold beats one for all, and where it does not, network by network."""
    texts = []
    for model, wins in measured.threshold_duels(spec).items():
        if wins:
            steps = f"{len(wins)} percentiles from {min(wins):g} to {max(wins):g}"
            if model != spec.model and (there := shipping.shipped(model)):
                steps += f", of results that ship ({there.id_set} against {', '.join(there.ood)})"
            texts.append(f"* {plain(registry.entry(model).label)}, {steps}: {plain(words.duel(wins))}.")
    st.markdown("\n".join(texts))


def _legend(rows: pd.DataFrame, beside: str) -> None:
    """What the signs mean; of a network beside, that it is another one."""
    with st.container(key="paper_legend"):
        if len(known := rows[rows["beside_on"] != ""]):
            ids, sets = setups.set_label(known["beside_id"].iloc[0]), int(known["beside_sets"].max())
            st.caption(
                plain(
                    f"{SIGNS['beside']} {beside} is another network than that of the lines it stands beside, with "
                    f"images of its own ({ids}, {sets} OOD set{'s' * (sets > 1)}). It has columns of its own and no Δ: "
                    "how far its numbers lie from the published ones is no error of either."
                )
            )
        differences = [name for name in rows if name.endswith("difference")]
        none = "" if rows[differences].notna().any(axis=None) else " (no line here)"
        st.caption(
            f"{SIGNS['published']} grey: published, from the paper. {SIGNS['measured']} blue: measured on the same "
            "network, on this machine unless the status says that activations are not shipped. "
            f"Δ: {ALIKE}{none}; elsewhere *Differs in* says what is not. A click on a heading sorts; a row loads its "
            "method on every page."
        )


def _frame(rows: pd.DataFrame, beside: str) -> pd.DataFrame:
    """The table as it is shown, its columns in groups: what is of the paper's network, and what of the one beside it.

    The index is the line. Columns of differences and of another network are there only where they hold a number.
    """
    shown: dict[tuple[str, str], Any] = {}
    local = rows.index.str.extract(r" (local|global)$", expand=False)
    shown["", "Method"] = (
        rows["printed"] + local.map(lambda text: f", {text}" if isinstance(text, str) else "").to_numpy()
    )
    if rows["model"].nunique() > 1:
        shown["", "Network"] = rows["model"].map(words.NETWORKS)
    metrics = [metric for metric in METRICS if f"{metric} published" in rows]
    for metric in metrics:
        for part, sign in _PARTS.items():
            values = rows[f"{metric} {part}"].astype(float)
            if part != "difference" or values.notna().any():
                shown[_OWN, f"{sign} {SHORT[metric]}"] = values
    if (rows["differs_in"] != "").any():
        shown[_OWN, "Differs in"] = rows["differs_in"]
    for metric in metrics:
        values = rows[f"{metric} beside"].astype(float)
        if values.notna().any():
            shown[beside.translate(_QUOTES), f"{SIGNS['beside']} {SHORT[metric]}"] = values
    known = rows["n_id"] > 0
    shown["", "Status"] = rows["status"]
    shown["", "n ID"] = rows["n_id"].where(known)
    shown["", "n OOD"] = rows["n_ood"].where(known)
    shown["", "Date"] = rows["date"].astype(str).str[:10]
    shown["", "Device"] = rows["device"]
    shown["", "Runs as"] = rows["method"]
    return pd.DataFrame(shown, index=rows.index)


def _columns(frame: pd.DataFrame, beside: str) -> dict[int, object]:
    """How each column is shown, by its place, the index being the first: in groups, columns have no name to say."""
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    others = sum(name.startswith(SIGNS["beside"]) for _, name in frame) or 1
    wide = max(90, (7 * len(beside) + 24) // others)  # pixels, for the name of the network above them
    known: dict[str, object] = {"Method": text("Method", pinned=True), "Date": text("Date", width=90)}
    for metric in METRICS:
        name = SHORT[metric]
        known[f"○ {name}"] = number(format="○ %.2f", help=f"{name}, published", width=80)
        known[f"● {name}"] = number(format="● %.2f", help=f"{name}, measured on the same network", width=80)
        known[f"Δ {name}"] = number(format="%+.2f", help=f"{name}: {ALIKE}", width=70)
        known[f"◇ {name}"] = number(format="◇ %.2f", help=f"{name} of another network, not of the paper's", width=wide)
    known["Differs in"] = text(help="What of a measured number is not the paper's; it has no Δ then", width=145)
    known["Status"] = text(width=250)
    for name in ("n ID", "n OOD"):
        known[name] = number(format="localized", help="Images behind the measured number", width=70)
    return {at: known[name] for at, (_, name) in enumerate(frame, 1) if name in known}


def _styled(frame: pd.DataFrame, dark: bool) -> Any:
    """Published numbers in grey, measured ones in blue on a tint."""
    colour = colours(dark)
    published = [name for name in frame if name[1].startswith(SIGNS["published"])]
    measured = [name for name in frame if name[1].startswith(SIGNS["measured"])]
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
    own = measured.own_spec(row["model"])
    if spec.paper.beside == "own" and not requirements.unready(own):
        return Pick.line(f"{own.model} {row['method']}")
    return Pick.method(row["method"])


def _downloads(spec: RunSpec, number: int, compared: pd.DataFrame) -> None:
    origin = {"table": f"Table {number} of the paper", "rules": f"metrics by {words.RULES[spec.paper.rules]}"}
    if not requirements.unready(spec):
        origin |= share.provenance(spec)
    with st.container(horizontal=True):
        share.download(
            "Table (CSV)",
            lambda: csv_text(compared, share.dated(origin)),
            f"ash-table{number}.csv",
            f"paper_csv{number}",
        )
        share.download(
            "Report (HTML)",
            lambda: html_text(number, compared, share.dated(origin)),
            f"ash-table{number}.html",
            f"paper_html{number}",
        )
