"""The paper's numbers beside what was measured: joined, counted, and written as CSV and as a page of HTML.

`compare` joins a published table (`ash.paper`) with `Found`, what was measured for its networks. Imports no torch.
"""

import html
import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from ash import authors, paper
from ash.methods import Method
from ash.tables import Sweep

MEASURED, ANOTHER, OTHER_IMAGES = "measured", "measured on another network", "measured on other images"
BUNDLED, NOT_RUN, PUBLISHED = "bundled model only", "not run", "published only"
GODIN = "needs a network trained with a divided head (Generalized ODIN); none is published"
METRIC_LABELS = {"auroc": "AUROC", "fpr95": "FPR95", "aupr": "AUPR", "id_accuracy": "ID accuracy"}
RULES = ("ours", "authors")
SIGNS = {"published": "○", "measured": "●"}
_AUTHORS = ("auroc", "fpr95", "aupr")  # the metrics that the authors' rules change
_NUMBERS = (*METRIC_LABELS, *(f"{name}_authors" for name in _AUTHORS))
KEY = ["model", "printed", "threshold"]  # of a line of a table


def measured(some: Sweep, model: str, placement: str, id: str) -> pd.DataFrame:
    """The table of a sweep, and `auroc_authors`, `fpr95_authors`, `aupr_authors`: by the authors' rules.

    Their max softmax is the float32 probability, with its ties, which moves the AUROC as well.
    """
    from ash.metrics import auroc

    table, rows = some.table(model, placement, id), []
    for i, method in enumerate(some.methods):
        change = authors.softmax if method.score == "msp" else (lambda scores: scores)
        known = change(some.id_scores[i])
        cells = []
        for scores in some.ood_scores.values():
            novel = change(scores[i])
            cells.append([100 * rule(known, novel) for rule in (auroc, authors.fpr95, authors.aupr)])
        rows += [*cells, [sum(column) / len(cells) for column in zip(*cells, strict=True)]]
    theirs = pd.DataFrame(rows, columns=[f"{name}_authors" for name in _AUTHORS])
    return pd.concat([table, theirs], axis=1)


@dataclass(frozen=True)
class Found:
    """What was measured for the lines of one of the paper's networks.

    `model` and `id_set`: on which network and ID set, not always the paper's. `table`: rows of `measured`, with the
    column `device` and `date`, or none. `status` and `reason`: of a method that is not in it; `missing`: method -> its
    own reason.
    """

    model: str
    id_set: str
    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    status: str = NOT_RUN
    reason: str = ""
    missing: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def _rows(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Method -> OOD set -> its row; means are made anew, over the sets that are asked for."""
        rows: dict[str, dict[str, dict[str, Any]]] = {}
        for row in self.table.to_dict("records"):
            if row["ood"] != "mean":
                rows.setdefault(row["method"], {})[row["ood"]] = row
        return rows

    def row(self, method: str, ood: str) -> dict[str, Any] | None:
        """The measured row of a method on one set, None where there is none."""
        return self._rows.get(method, {}).get(ood)

    def mean(self, method: str, sets: Collection[str] | None = None) -> tuple[dict[str, Any], int] | None:
        """The mean of a method over those of some sets that were measured (None: all), and over how many."""
        rows = [row for ood, row in self._rows.get(method, {}).items() if sets is None or ood in sets]
        if not rows:
            return None
        means = {name: sum(row[name] for row in rows) / len(rows) for name in _NUMBERS if name in rows[0]}
        return {**rows[0], **means, "n_ood": sum(row["n_ood"] for row in rows)}, len(rows)


def lines(table: int) -> pd.DataFrame:
    """The lines of a table in the paper's order: table, model, id, printed, threshold, method, basis; the index is the
    line's id."""
    frame = paper.load(table)[["table", *KEY, "id", "method", "basis", "source"]].drop_duplicates()
    return frame.set_index(line_ids(frame))


def line_ids(frame: pd.DataFrame) -> pd.Index:
    """One text for each row that names its line: `resnet50 ASH-B@65 local`."""
    texts = frame["model"] + " " + frame["printed"] + (" " + frame["threshold"]).where(frame["table"] == 5, "")
    return pd.Index(texts, name="line")


def compare(table: int, found: Mapping[str, Found], rules: str = "ours") -> pd.DataFrame:
    """Every number of a table with what was measured for it.

    `found`: network of the paper -> what was measured for its lines. `rules`: whose metrics, of RULES. Adds to the
    columns of `ash.paper`: measured, difference (measured minus published), on (the network measured), sets (how many
    OOD sets the number is over), n_id, n_ood, device, date, status, note.
    """
    numbers = paper.load(table)
    cells = [_cell(row, found[row["model"]], paper.TABLES[table], rules) for _, row in numbers.iterrows()]
    joined = pd.concat([numbers, pd.DataFrame(cells)], axis=1)
    joined["difference"] = joined["measured"] - joined["value"]
    return joined.set_index(line_ids(joined))


def _cell(row: pd.Series, found: Found, about: paper.PaperTable, rules: str) -> dict[str, object]:
    """What was measured for one number."""
    method, ood, same = row["method"], row["ood"], found.model == row["model"]
    theirs, wanted = same and found.id_set == row["id"], about.ood[row["model"]]
    one: dict[str, Any] | None
    if ood in ("mean", ""):
        mean = (found.mean(method, wanted) if same else None) or found.mean(method)
        one, sets = mean or (None, 0)
    else:
        one, sets = (found.row(method, ood) if same else None), 1
    if one is None:
        return {**_EMPTY, **_not_measured(row, found)}
    metric = f"{row['metric']}_authors" if rules == "authors" and row["metric"] in _AUTHORS else row["metric"]
    names = ("n_id", "n_ood", "device", "date")
    cell = {"measured": float(one[metric]), "on": found.model, "sets": sets, **{name: one[name] for name in names}}
    if not same:
        note = f"{found.model} on {found.id_set}, mean over its own {sets} OOD sets"
        return {**cell, "status": ANOTHER, "note": note}
    if not theirs:
        return {**cell, "status": OTHER_IMAGES, "note": f"ID set {found.id_set}"}
    if ood in (*wanted, "") or sets == len(wanted):
        return {**cell, "status": MEASURED, "note": ""}
    here = ", ".join(name for name in wanted if found.row(method, name))
    return {**cell, "status": f"{MEASURED}, {sets} of {len(wanted)} OOD sets", "note": f"mean over {here} alone"}


_EMPTY = {"measured": float("nan"), "on": "", "sets": 0, "n_id": 0, "n_ood": 0, "device": "", "date": ""}


def _not_measured(row: pd.Series, found: Found) -> dict[str, str]:
    method, ood = row["method"], row["ood"]
    if found.mean(method) is not None:  # of the line, but not on this set
        if found.model == row["model"]:
            return {"status": NOT_RUN, "note": f"the images of {ood} are missing: python -m ash fetch {ood}"}
        return {"status": NOT_RUN, "note": f"{found.model} has other OOD sets; the average is beside its own"}
    if Method.parse(method).score == "godin":
        return {"status": PUBLISHED, "note": GODIN}
    return {"status": found.status, "note": found.missing.get(method, found.reason)}


@dataclass(frozen=True)
class Count:
    """Lines of some tables: measured, not measured but with a method that runs, published only."""

    measured: int
    runnable: int
    published: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.measured + self.runnable + self.published


def counted(*compared: pd.DataFrame) -> Count:
    """How the lines of some compared tables stand."""
    measured = runs = published = 0
    for frame in compared:
        for _, line in frame.groupby(level="line", sort=False):
            if line["measured"].notna().any():
                measured += 1
            elif (line["status"] == PUBLISHED).all():
                published += 1
            else:
                runs += 1
    return Count(measured, runs, published)


def wide(compared: pd.DataFrame, ood: str) -> pd.DataFrame:
    """One row a line for one OOD set (or `mean`): for each metric published, measured and difference, then the rest."""
    chosen = compared[compared["ood"].isin([ood, ""])]
    rows = []
    for line, cells in chosen.groupby(level="line", sort=False):
        first = cells.iloc[0]
        row: dict[str, object] = {"line": line, **{name: first[name] for name in ("model", "printed", "method")}}
        for _, cell in cells.iterrows():
            for what, name in (("published", "value"), ("measured", "measured"), ("difference", "difference")):
                row[f"{cell['metric']} {what}"] = cell[name]
            if pd.notna(cell["plus_minus"]):
                row[f"{cell['metric']} spread"] = cell["plus_minus"]
        flags = {paper.FLAGS[flag] for flag in cells["flag"] if flag}
        best = cells[cells["measured"].notna()]
        best = best.iloc[0] if len(best) else first
        row |= {name: best[name] for name in ("n_id", "n_ood", "sets", "device", "date", "on", "status", "note")}
        rows.append({**row, "basis": first["basis"], "flag": " ".join(sorted(flags))})
    return pd.DataFrame(rows).set_index("line")


# Files


def csv_text(compared: pd.DataFrame, origin: Mapping[str, object]) -> str:
    """Every number as CSV under comment lines with its origin; `pandas.read_csv(..., comment="#")` reads it back."""
    out = io.StringIO()
    for name, value in origin.items():
        out.write(f"# {name}: {' '.join(str(value).split())}\n")
    names = {"value": "published"}
    compared.rename(columns=names).to_csv(out, index=False, float_format="%.4f")
    return out.getvalue()


_STYLE = """
:root {color-scheme: light dark; --ink: #1F2937; --muted: #5B6472; --line: #D5DAE1; --panel: #F4F6F8; --here: #0072B2;
  --back: #FFFFFF}
@media (prefers-color-scheme: dark) {:root {--ink: #E5E7EB; --muted: #A3ADBA; --line: #364152; --panel: #1B222C;
  --here: #56B4E9; --back: #11161D}}
body {font: 15px/1.45 sans-serif; color: var(--ink); background: var(--back); margin: 2rem auto; max-width: 76rem;
  padding: 0 1rem}
h1 {font-size: 1.5rem} h2 {font-size: 1.15rem; margin-top: 2rem}
.scroll {overflow-x: auto}
table {border-collapse: collapse; font-variant-numeric: tabular-nums}
caption {text-align: left; color: var(--muted); padding: 0.3rem 0}
th, td {padding: 0.3rem 0.6rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top;
  white-space: nowrap}
th {background: var(--panel)} th:first-child, td:first-child, td.text {text-align: left}
td.text {white-space: normal; min-width: 14rem}
.published {color: var(--muted); font-style: italic}
.measured {color: var(--here); font-weight: 600}
.difference {font-size: 0.85em}
dl {display: grid; grid-template-columns: max-content 1fr; gap: 0.2rem 1.2rem}
dt {color: var(--muted)} dd {margin: 0; overflow-wrap: anywhere}
"""


def html_text(table: int, compared: pd.DataFrame, origin: Mapping[str, object]) -> str:
    """One page that needs no network: the table as the paper has it with what was measured in each cell, and origin."""
    about, count = paper.TABLES[table], counted(compared)
    title = f"Table {table}: {about.title}"
    facts = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(str(value))}</dd>" for name, value in origin.items())
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>
<h1>{html.escape(title)}</h1>
<p>{html.escape(about.columns)} {html.escape(about.setting)}</p>
<p><span class="published">{SIGNS["published"]} published</span> in the paper,
<span class="measured">{SIGNS["measured"]} measured</span> here, difference in points. Of {count.total} lines
{count.measured} are measured, {count.runnable} have a method that runs but are not measured, {count.published} are
published only.</p>
<div class="scroll"><table>{_head(compared)}{_body(compared)}</table></div>
<h2>Where the numbers come from</h2><dl>{facts}</dl>
</body></html>
"""


def _columns(compared: pd.DataFrame) -> list[tuple[str, str]]:
    return list(dict.fromkeys(zip(compared["ood"], compared["metric"], strict=True)))


def _head(compared: pd.DataFrame) -> str:
    names = [f"{METRIC_LABELS[metric]}{f', {ood}' if ood else ''}" for ood, metric in _columns(compared)]
    cells = "".join(f"<th>{html.escape(name)}</th>" for name in ("Method", *names, "Images", "Device, date", "Status"))
    return f"<thead><tr>{cells}</tr></thead>"


def _body(compared: pd.DataFrame) -> str:
    rows = []
    for line, cells in compared.groupby(level="line", sort=False):
        values = {(cell["ood"], cell["metric"]): cell for _, cell in cells.iterrows()}
        inner = "".join(_number(values[name]) for name in _columns(compared))
        best = cells[cells["measured"].notna()]
        first = best.iloc[-1] if len(best) else cells.iloc[0]
        images = f"{int(first['n_id']):,} + {int(first['n_ood']):,}" if len(best) else ""
        when = ", ".join(filter(None, (str(first["device"]), str(first["date"])[:10])))
        status = ": ".join(filter(None, (str(first["status"]), str(first["note"]))))
        rows.append(
            f"<tr><td>{html.escape(str(line))}</td>{inner}<td>{images}</td><td>{html.escape(when)}</td>"
            f'<td class="text">{html.escape(status)}</td></tr>'
        )
    return f"<tbody>{''.join(rows)}</tbody>"


def _number(cell: pd.Series) -> str:
    spread = f" ± {cell['plus_minus']:.2f}" if pd.notna(cell["plus_minus"]) else ""
    text = f'<span class="published">{SIGNS["published"]} {cell["value"]:.2f}{spread}</span>'
    if pd.notna(cell["measured"]):
        difference = f"{cell['difference']:+.2f}".replace("-", "\N{MINUS SIGN}")
        text += f'<br><span class="measured">{SIGNS["measured"]} {cell["measured"]:.2f}</span>'
        text += f'<br><span class="difference">{difference}</span>'
    return f"<td>{text}</td>"
