"""Paper page: the published tables and figures beside what is measured here, and the conventions that move numbers."""

from typing import Any

import streamlit as st

from app.backend import paper as measured
from app.backend import registry
from app.errors import plain
from app.link.options import LEAVES
from app.link.spec import PENULTIMATE, RunSpec
from app.link.state import bind
from app.ui import facts, shipped
from app.views.paper import figures, line, table, words
from app.views.paper import rules as paper_rules
from ash import paper, reports

_STYLE = """<style>
.st-key-paper_leaf [data-testid="stButtonGroup"] > div {flex-wrap: wrap; row-gap: 0.25rem}
.st-key-paper_legend p {margin-bottom: 0}
</style>"""


def render(spec: RunSpec) -> None:
    """Draw the page for this spec, then go on with what is being measured."""
    st.title("Paper")
    st.html(_STYLE + facts.STYLE)
    with st.spinner("Measuring the paper's methods"):
        own, other = measured.own(spec), measured.beside(spec)
        usual = measured.own(spec.having(beside="own")) if registry.entry(spec.model).paper_name else own
    compared = {number: reports.compare(number, own, spec.paper.rules, other) for number in paper.TABLES}
    best = [reports.compare(number, usual) for number in paper.TABLES] if usual is not own else []
    st.markdown(plain(words.standing(reports.counted(*compared.values(), *best), _whose(spec))))
    with st.container(key="paper_leaf"):
        st.segmented_control(
            "Table or figure",
            LEAVES,
            format_func=words.leaf_label,
            required=True,
            label_visibility="collapsed",
            **bind("leaf"),
        )
    kind, number = spec.paper.leaf[:-1], int(spec.paper.leaf[-1])
    if kind == "table":
        st.subheader(f"Table {number}: {paper.TABLES[number].title}")
        _controls(spec, number)
        progress = table.draw(spec, number, compared[number])
    else:
        st.subheader(f"Figure {number}: {words.FIGURES[number]}")
        figures.draw(spec, number)
    paper_rules.draw(spec)
    shipped.section()
    if kind == "table":
        with st.expander("Command for this table", icon=":material/terminal:"):
            st.code(_command(spec, number), language="bash", wrap_lines=True)
        line.go_on(progress)


def _command(spec: RunSpec, number: int) -> str:
    """What measures a table on the command line, and writes it."""
    beside = f" --model {spec.model}" if spec.paper.beside == "sidebar" else ""
    rules = f" --rules {spec.paper.rules}" if spec.paper.rules != "ours" else ""
    return f"python -m ash paper --table {number}{beside}{rules} --out table{number}"


def _whose(spec: RunSpec) -> str:
    """The sidebar's network, and where it is cut if that is not the usual place."""
    label = registry.entry(spec.model).label
    if spec.placement != PENULTIMATE:
        label += f" at {registry.placement_label(spec.model, spec.placement)}"
    return f"the bundled network ({label})" if spec.model == reports.BUNDLED_MODEL else label


def _controls(spec: RunSpec, number: int) -> None:
    """What stands beside the paper's networks, by whose rules, on which OOD set of the table."""
    one = registry.entry(spec.model)
    sidebar = f"Sidebar's choice: {one.label}" if one.paper_name else f"Beside: {one.label}"
    beside = {"sidebar": sidebar, "own": "The paper's own networks alone"}
    rules = {"ours": "Metrics: this program's rules", "authors": "Metrics: the authors' rules"}
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        _choice("What stands beside the paper's networks", beside, 330, "beside")
        _choice("Whose rules", rules, 260, "rules")
        columns = table.columns(number)
        if len(columns) > 1:
            _choice("OOD set", columns, 260, "column", to_widget=lambda name: name if name in columns else "mean")


def _choice(label: str, options: dict[str, str], width: int, field: str, **more: Any) -> None:
    st.selectbox(
        label,
        list(options),
        format_func=lambda option: options.get(option, option),
        label_visibility="collapsed",
        width=width,
        **bind(field, **more),
    )
