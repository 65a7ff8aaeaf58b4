"""The seam between a figure and Streamlit: downloads, tables whose ids are labels, colours that can be told apart."""

import io
from itertools import combinations

import pandas as pd
import plotly.graph_objects as go
import pytest

from app import theme
from app.charts.plain import Figure, scatter
from app.link.options import OBJECTIVES
from app.ui import plot
from ash.methods import VARIANTS

ORIGIN = {"source": "bundled", "note": "a <b> & c"}


def _luminance(colour: str) -> float:
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_every_mark_stands_out_and_every_text_can_be_read(dark: bool) -> None:
    colour = theme.colours(dark)
    for name in (*VARIANTS, "id", "ood"):
        assert _contrast(colour[name], colour["background"]) >= 3, name
    for name in ("ink", "muted"):
        assert _contrast(colour[name], colour["background"]) >= 4.5, name


def test_print_has_a_colour_for_every_line() -> None:
    for name in (*VARIANTS, "id", "ood", "muted"):
        assert theme.PAPER[name].startswith("#"), name
    assert theme.ALGORITHMS == ("ash_p", "ash_b", "ash_s")


def test_no_two_variants_share_symbol_dash_or_sign() -> None:
    assert set(theme.MARKS) == set(VARIANTS)
    for one, other in combinations(theme.MARKS.values(), 2):
        assert one.symbol != other.symbol
        assert one.dash != other.dash
        assert one.sign != other.sign
    assert set(theme.OBJECTIVE_LABELS) == set(OBJECTIVES)


def test_numbers() -> None:
    assert theme.percent(93.44) == "93.4 %"
    assert theme.points(3.14) == "+3.1 points"
    assert theme.points(-0.12) == "\N{MINUS SIGN}0.1 points"
    assert theme.points(-0.04) == "0.0 points"
    assert theme.count(10000) == "10,000"
    assert [theme.counted(n, "set") for n in (0, 1, 1234)] == ["0 sets", "1 set", "1,234 sets"]
    assert [theme.listed(some) for some in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
    assert theme.number(-0.0321749) == "\N{MINUS SIGN}0.03217"


@pytest.mark.parametrize("dark", [False, True])
def test_the_layout_is_valid_and_the_same_every_time(dark: bool) -> None:
    figures = [go.Figure(layout=theme.layout(dark, height=300)) for _ in range(2)]
    assert figures[0].to_json() == figures[1].to_json()
    assert figures[0].layout.height == 300


def test_a_table_reads_back_under_its_origin() -> None:
    frame = pd.DataFrame({"auroc": [97.25, 94.0]}, index=pd.Index(["ash_b@65", "energy"], name="method"))
    text = plot.csv_text(frame.rename_axis("cell"), ORIGIN)
    assert text.startswith("# source: bundled\n")
    pd.testing.assert_frame_equal(
        pd.read_csv(io.StringIO(text), comment="#", index_col="cell"), frame.rename_axis("cell")
    )


def test_a_table_of_methods_is_tidy_for_programs_and_not_rounded() -> None:
    names = ["ash_s@90:msp", "react@1.25", "react@1.0+ash_s@90", "knn"]
    shown = {"Method": ["● ASH-S", "◇ ReAct", "ReAct + ASH-S", "k nearest"], "p or c": ["90", "c=1.25", "", ""]}
    frame = pd.DataFrame({**shown, "AUROC": [97.8049123, 1.0, 2.0, 3.0]}, index=pd.Index(names, name="method"))
    back = pd.read_csv(io.StringIO(plot.csv_text(frame, ORIGIN)), comment="#")
    assert list(back) == ["method", "variant", "parameter", "value", "score", "AUROC"]
    assert back["AUROC"][0] == 97.8049123
    assert back.loc[:1, ["variant", "parameter", "value", "score"]].to_numpy().tolist() == [
        ["ash_s", "percentile", 90.0, "msp"],
        ["react", "threshold", 1.25, "energy"],
    ]
    assert back.loc[2:, ["variant", "score"]].to_numpy().tolist() == [["react+ash_s", "energy"], ["none", "knn"]]
    assert back.loc[2:, ["parameter", "value"]].isna().all(axis=None)


def test_a_table_for_latex_has_no_sign_that_latex_does_not_know() -> None:
    label = f"{theme.MARKS['ash_s'].sign} ASH-S"
    frame = pd.DataFrame({"Method": [label, "5 % & more"], "AUROC (%)": [95.123, None], "Δ AUROC": [1.0, -2.0]})
    text = plot.latex_text(frame, ORIGIN)
    assert text.isascii()
    assert text.startswith("% source: bundled\n")
    assert r"ASH-S & 95.12 & 1.00 \\" in text
    assert r"5 \% \& more & -- & -2.00 \\" in text
    assert r"$\Delta$ AUROC" in text


def test_a_figure_file_needs_no_network_and_says_where_it_is_from() -> None:
    page = plot.html_text(Figure([scatter(x=[1], y=[2])], {}), "One <point>.", ORIGIN)
    assert "One &lt;point&gt;." in page
    assert "a &lt;b&gt; &amp; c" in page
    assert '<script src="http' not in page
    assert "<link" not in page


def test_a_figure_file_with_frames_waits_until_it_is_asked_to_play() -> None:
    frames = [{"name": f"{p}", "data": [scatter(y=[p])]} for p in (1, 2)]
    page = plot.html_text(Figure([scatter(y=[1])], {}, frames), "Two frames.", ORIGIN)
    assert "Plotly.addFrames" in page
    assert "Plotly.animate(" not in page.partition("Plotly.addFrames")[2]
