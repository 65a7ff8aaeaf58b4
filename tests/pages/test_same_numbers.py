"""One number is the same wherever a page shows it: card, sentence, mark under the pointer, table, CSV file.

What programs print is compared in `test_programs.py` and `test_tradeoff.py`.
"""

import contextlib
import io
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from app_pages import open_page, texts, traces
from streamlit.testing.v1 import AppTest

from app.backend import evaluations, setups
from app.charts import sample_table
from app.link.spec import OPENING, RunSpec
from app.theme import number
from app.ui import placement_values, plot, sample_code
from app.ui.lessons.facts import Here
from app.views.placements import page as placements
from app.views.samples import cards
from app.views.scores import page as scores
from app.views.start import way
from app.views.tradeoff import page as tradeoff
from ash.methods import Method

pytestmark = pytest.mark.slow

AT = ("before", "after")
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
    view = tradeoff.view_of(spec, True, "test")
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


SAMPLE = {"model": "demo", "variant": "ash_s", "p": "80"}


def verdicts(app: AppTest) -> dict[str, list[str]]:
    """The table of one sample: row -> what stands before and after."""
    cells = [line.split(" | ") for line in texts(app).splitlines() if line.startswith("| ")]
    return {row[0].removeprefix("| "): [row[1], row[2].removesuffix(" |")] for row in cells if len(row) == 3}


def printed(spec: RunSpec, name: str, index: int) -> dict[str, str]:
    """What the sample's program prints: name -> number or class, each as a page writes it."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(sample_code.program(spec, name, index), "program", "exec"), {"__name__": "__main__"})
    found = {}
    for line in out.getvalue().splitlines():
        (key, text), numeric = line.rsplit(" ", 1), not line.startswith("class")
        found[key] = number(float(text)) if numeric else line.removeprefix("class before ").removeprefix("class after ")
    return found


def near(made: dict[str, str], *names: str) -> object:
    """Numbers of a program, which reads the image, against those of a page, which reads a bank of rounded values."""
    return pytest.approx([float(made[name]) for name in names], rel=2e-3)


@pytest.mark.parametrize(("source", "index"), [("id", 5), ("digits", 3)])
def test_one_sample_and_activations(source: str, index: int) -> None:
    spec = RunSpec(model="demo", variant="ash_s", p=80.0)
    name = "fashion_mnist" if source == "id" else source
    made = printed(spec, name, index)
    found = cards.table(spec)
    row = sample_table.frame(found, np.arange(len(found.images.set))).set_index("id").loc[f"{name}:{index}"]
    one = open_page("samples", look="one", source=source, sample=index, **SAMPLE)
    two = open_page("activations", source=source, sample=index, **SAMPLE)
    for page in (one, two):
        table = verdicts(page)
        assert [*map(float, table["Energy"])] == near(made, "score before", "score after")
        assert table["Energy"] == [number(row["score_before"]), number(row["score_after"])]
        assert [word.startswith("accepted") for word in table["Verdict"]] == [row[f"accepted_{n}"] for n in AT]
    assert f"{row['margin_after']:.1f} IQR".removeprefix("-") in texts(one)
    said = texts(two)
    (told,) = re.findall(r"multiplies them by ([\d.]+) and moves its energy from ([\d.]+) to", said)
    assert [*map(float, told)] == near(made, "factor", "score before")
    sums = [float(re.findall(rf"\b{name} = \*\*([\d.]+)\*\*", said)[0]) for name in ("s1", "s2", "t")]
    assert sums == near(made, "s1", "s2", "t")
    assert f"exp({number(float(made['s1']) / float(made['s2']))[:4]}" in said


def test_samples() -> None:
    app = open_page("samples", look="grid", **SAMPLE)
    found = cards.table(RunSpec(model="demo", variant="ash_s", p=80.0))
    file = sample_table.frame(found, np.arange(len(found.images.set)))
    wrong = (file["accepted_after"] != file["in_distribution"]).sum()
    said = texts(app)
    assert f"puts {wrong:,} of {len(file):,} samples on the wrong side" in said
    assert f"rescues {file['rescued'].sum():,} that Energy gets wrong and breaks {file['broken'].sum():,}" in said
    counts = {
        "OOD, accepted": (~file["in_distribution"] & file["accepted_after"]).sum(),
        "ID, rejected": (file["in_distribution"] & ~file["accepted_after"]).sum(),
        "Rescued": file["rescued"].sum(),
        "Broken": file["broken"].sum(),
    }
    assert {name: f"{name} ({many:,})" for name, many in counts.items()} == {
        name: app.button(key=f"only_{name}").label for name in counts
    }
    assert wrong == counts["OOD, accepted"] + counts["ID, rejected"]


def test_start() -> None:
    app = open_page("start", **SAMPLE)
    one = way.followed(Here(app.session_state["spec"]))
    index = list(setups.whole_set(one.data).names).index(one.name)
    made, said = printed(RunSpec(model="demo", variant="ash_s", p=80.0), one.data, index), texts(app)
    assert f"its energy, {made['score before']}." in said
    assert f"here {made['factor']}. Its energy is now {made['score after']}," in said
    assert f"k {one.kept} of" in made
    assert f"keeps the largest {one.kept} and" in said
    trade = open_page("tradeoff", split="all", **SAMPLE)
    deltas = {metric.label: metric.delta for metric in trade.metric}
    assert f"AUROC {deltas['AUROC']} points" in plain(said)
