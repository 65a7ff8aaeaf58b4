"""The chosen line of a table of the paper: its facts, loading it into the explorer, measuring it."""

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.backend import library, paper, registry, requirements
from app.errors import plain
from app.link import state
from app.link.picks import Pick
from app.link.spec import RunSpec
from app.link.state import dispatch
from app.theme import count
from app.ui import facts, work
from app.ui.prepare import NOT_HERE
from app.views.paper import words
from ash import reports
from ash.report_files import SIGNS

_JOB = work.Task("paper_job")  # what this session is measuring: a spec and a method
METRICS = ("auroc", "fpr95", "aupr", "id_accuracy")
SHORT = {**reports.METRIC_LABELS, "id_accuracy": "Accuracy"}


def draw(spec: RunSpec, line: str, row: pd.Series) -> DeltaGenerator:
    """What is known of the chosen line, and what can be done about it; returns the place for its progress."""
    own, at, lack = _to_measure(spec, row)
    name = words.NETWORKS[row["model"]]
    kind = {"local": ", one threshold a sample", "global": ", one threshold for all"}.get(line.rpartition(" ")[2], "")
    st.markdown(f"##### {plain(row['printed'] + kind)} on {plain(name)}")
    facts.facts(_facts(row))
    with st.container(horizontal=True, vertical_alignment="center"):
        _load_buttons(spec, own, row)
        if lack is not None and lack.click and (lack.by_passes or library.may_compute()):
            _measure_button(at, row["method"])
    progress = st.container()
    if lack is not None and pd.isna(row["auroc measured" if at is own else "auroc beside"]):
        _missing(spec, at, row, lack)
    return progress


def _to_measure(spec: RunSpec, row: pd.Series) -> tuple[RunSpec, RunSpec, requirements.Lack | None]:
    """The spec of the line's own network; and the one that a click can measure, its own or else the sidebar's where
    that stands beside it, with what it lacks."""
    sidebar = spec.paper.beside == "sidebar"
    same = sidebar and registry.entry(spec.model).paper_name == row["model"]
    own = spec if same else paper.own_spec(row["model"])
    lacks = [(at, requirements.lack(at, row["method"])) for at in ((own, spec) if sidebar and not same else (own,))]
    at, lack = next(((at, lack) for at, lack in lacks if lack is not None and lack.click), lacks[-1])
    return own, at, lack


def _facts(row: pd.Series) -> dict[str, str]:
    published, measured, beside = [], [], []
    for metric in METRICS:
        if f"{metric} published" in row and pd.notna(row[f"{metric} published"]):
            spread = row.get(f"{metric} spread")
            more = f" ± {spread:.2f}" if spread is not None and pd.notna(spread) else ""
            published.append(f"{SHORT[metric]} {row[f'{metric} published']:.2f}{more}")
            if pd.notna(row[f"{metric} measured"]):
                change = row[f"{metric} difference"]
                more = f" (Δ {change:+.2f})".replace("-", "\N{MINUS SIGN}") if pd.notna(change) else ""
                measured.append(f"{SHORT[metric]} {row[f'{metric} measured']:.2f}{more}")
            if pd.notna(row[f"{metric} beside"]):
                beside.append(f"{SHORT[metric]} {row[f'{metric} beside']:.2f}")
    where = _where(row["on"], row) if measured else ""
    other = row.filter(like="beside_").rename(lambda name: name.removeprefix("beside_"))
    another = f"; no Δ, for it is another network: {_where(other['on'], other)}" if beside else ""
    basis = {"paper": "parameter printed in the paper", "assumed": "parameter not printed; the network's preset here"}
    return {
        f"{SIGNS['published']} Published": ", ".join(published),
        f"{SIGNS['measured']} Measured": ", ".join(measured),
        "Differs in": row["differs_in"],
        "On": where,
        f"{SIGNS['beside']} Beside": ", ".join(beside) + another,
        "Status": ": ".join(filter(None, (row["status"], row["note"]))),
        "Runs as": ", ".join(filter(None, (row["method"], basis.get(row["basis"], "")))),
        "Note": row["flag"],
    }


def _where(network: str, row: pd.Series) -> str:
    """On which network, images and device something was measured, and when."""
    images = f"{count(int(row['n_id']))} ID and {count(int(row['n_ood']))} OOD images"
    return ", ".join(filter(None, (network, images, str(row["device"]), str(row["date"])[:16].replace("T", " "))))


def _load_buttons(spec: RunSpec, own: RunSpec, row: pd.Series) -> None:
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
    if spec.model != own.model:
        st.button(
            f"Load with {words.NETWORKS[row['model']]}",
            icon=":material/deployed_code:",
            key="paper_load_network",
            on_click=dispatch,
            args=(Pick.line(f"{own.model} {row['method']}"),),
        )
    state.page_link("tradeoff", "Trade-off")


def _missing(spec: RunSpec, at: RunSpec, row: pd.Series, lack: requirements.Lack) -> None:
    if row["status"] == reports.PUBLISHED:
        return
    text = f"Not measured here on {registry.entry(at.model).label}: {lack.text}."
    if lack.click:
        todo = requirements.images_of(at, row["method"])
        text += f" Measure this row sends {count(todo)} images through the network once." if todo else ""
    st.caption(plain(text))
    if lack.click and not lack.by_passes and not library.may_compute():
        st.caption(f":material/lock: {NOT_HERE}")
    if lack.commands:
        st.code("\n".join(lack.commands), language="bash", wrap_lines=True)
    if spec.paper.beside == "own":
        st.caption("The same method runs on the sidebar's network: let it stand beside the paper's, above the table.")


# Measuring


def _measure_button(at: RunSpec, method: str) -> None:
    busy = _JOB.what is not None
    start = ("Measure this row", "play_arrow", lambda: _JOB.start((at, method)))
    work.button("paper_measure", busy, start, ("Cancel", "stop", _JOB.stop), type="secondary" if busy else "primary")


def go_on(place: DeltaGenerator) -> None:
    """Measure in this script run what was asked for; a click anywhere interrupts it, the next run goes on with it."""
    if _JOB.what is None:
        return
    spec, method = _JOB.what
    bar = place.progress(0.0, f"Measuring {plain(method)}")
    _JOB.take(requirements.measure_steps([spec], method), work.shower(bar))
    st.rerun()
