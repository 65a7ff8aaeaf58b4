"""One number is the same wherever a page shows it: card, sentence, mark under the pointer, table, CSV file.

What programs print is compared in `test_programs.py` and `test_tradeoff.py`.
"""

import io
import re
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from app_pages import open_page, texts, traces
from streamlit.testing.v1 import AppTest

from app.backend import evaluations, setups
from app.link.spec import OPENING, RunSpec
from app.ui import placement_values, plot
from app.views.placements import page as placements
from app.views.scores import page as scores
from app.views.tradeoff import page as tradeoff
from ash.methods import Method

pytestmark = pytest.mark.slow

NETWORKS = ("mobilenet_v2_photos", "demo")
METRICS = {"AUROC": "auroc", "FPR95": "fpr95", "ID accuracy": "id_accuracy", "AUPR": "aupr"}


def csv_of(frame: pd.DataFrame) -> pd.DataFrame:
    """A table as its download has it."""
    return pd.read_csv(io.StringIO(plot.csv_text(frame, {})), comment="#").set_index(str(frame.index.name))


def hovers(app: AppTest, key: str) -> dict[str, str]:
    """Id of a mark -> what stands under the pointer."""
    found: dict[str, str] = {}
    for trace in traces(app, key).values():
        found |= dict(zip(trace.get("customdata", ()), trace.get("hovertext", ()), strict=False))
    return found


def plain(text: str) -> str:
    return text.replace("\N{MINUS SIGN}", "-")


@pytest.mark.parametrize("model", NETWORKS)
@pytest.mark.parametrize("p", [65.0, 66.0])
def test_tradeoff(model: str, p: float) -> None:
    app = open_page("tradeoff", model=model, variant="ash_s", p=p)
    spec: RunSpec = app.session_state["spec"]
    view = tradeoff._view(spec, True, "test")
    frame = tradeoff._table(view, tradeoff._record(spec, view).front, whole=True)
    file, under = csv_of(frame), hovers(app, "pareto")
    cards = {metric.label: metric for metric in app.metric}
    for name, metric in METRICS.items():
        assert cards[name].value == f"{frame.loc[spec.method.__str__(), name]:.1f} %"
        for one in view.settings:
            shown = f"{frame.loc[one.id, name]:.2f}"
            assert f"{file.loc[one.id, name]:.2f}" == shown
            assert f"{name} {shown} %" in plain(under.get(one.id, f"{name} {shown} %"))
            assert f"{one[metric]:.2f}" == shown
    assert len(under) > 40
    gain = view.current.auroc - view.baseline.auroc
    assert f"{abs(gain):.1f} AUROC points" in texts(app)
    assert cards["AUROC"].delta == f"{gain:+.1f}"
    assert f"{frame.loc[view.current.id, 'Δ AUROC']:+.2f}" == f"{gain:+.2f}"


@pytest.mark.parametrize("model", NETWORKS)
def test_scores(model: str) -> None:
    spec = OPENING.having(model=model, variant="ash_s", p=80.0, tpr=90.0)
    app = open_page("scores", model=model, variant="ash_s", p="80", tpr="90")
    rows = app.table[0].value
    at = setups.setup(spec)
    after, before = (evaluations.evaluation(at, text, "test") for text in ("ash_s@80", "energy"))
    names = {name: scores._named(spec, name) for name in (at.id_set, *setups.chosen_sets(spec))}
    file = pd.read_csv(io.StringIO(plot.csv_text(scores.samples(names, after, before, 90.0), {})), comment="#")
    for (_, shown), name in zip(rows.iterrows(), names, strict=True):
        mine = file[file["set"] == name]
        assert shown["Accepted"] == f"{mine['accepted_after'].sum():,}"
        assert shown["Accepted, %"] == f"{100 * mine['accepted_after'].mean():.1f} %"
        assert shown["Energy, %"] == f"{100 * mine['accepted_before'].mean():.1f} %"
    of_ood = file[file["set"] != at.id_set].groupby("set")["accepted_after"].mean()
    assert f"accepts {100 * of_ood.mean():.1f} % of the OOD images" in texts(app)


def test_placements() -> None:
    spec = RunSpec(model="demo", variant="ash_s", p=80.0)
    app = open_page("placements", model="demo", variant="ash_s", p="80")
    shown = placement_values.shown(spec, "ash_s")
    frame = placements.table(shown)
    file, under = csv_of(frame), hovers(app, "placements_curves")
    grid: dict[str, str] = {}
    for trace in traces(app, "placements_grid").values():
        grid |= dict(zip(trace["customdata"], trace["text"], strict=True))
    for cell in shown.every():
        assert cell.setting is not None
        for name, metric in METRICS.items():
            assert (
                f"{frame.loc[cell.id, name]:.2f}" == f"{file.loc[cell.id, name]:.2f}" == f"{cell.setting[metric]:.2f}"
            )
        if cell.id in grid:
            assert grid[cell.id] == f"{cell.setting.auroc:.1f}"
        if cell.id in under:
            assert f"{cell.setting.auroc:.2f} %" in plain(under[cell.id])


def test_paper() -> None:
    app = open_page("paper", model="mobilenet_v2_photos", leaf="figure2")
    under = hovers(app, "paper_figure2")
    table = evaluations.table(setups.setup(replace(OPENING, split="all")), "energy")
    means = table[table["ood"] == "mean"].set_index("method")
    checked = 0
    for method in set(under) & set(means.index):
        found: Any = re.search(r"AUROC (\S+) %", under[method])
        assert found[1] == f"{means.loc[method, 'auroc']:.2f}", Method.parse(method)
        checked += 1
    assert checked > 40
