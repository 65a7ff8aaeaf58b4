"""The paper's numbers beside what was measured: joined and counted. (`ash.report_files` writes them.)

`compare` joins a published table (`ash.paper`) with `Found`, what was measured for its networks. Imports no torch.
"""

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from ash import authors, paper
from ash.methods import Method
from ash.tables import Sweep

MEASURED, ANOTHER, OTHER_IMAGES = "measured", "measured on another network", "measured on other images"
BUNDLED, NOT_RUN, PUBLISHED = "bundled model only", "not run", "published only"
BUNDLED_MODEL = "demo"
NOT_SHIPPED = "activations not shipped"
GODIN = "needs a network trained with a divided head (Generalized ODIN); none is published"
METRIC_LABELS = {"auroc": "AUROC", "fpr95": "FPR95", "aupr": "AUPR", "id_accuracy": "ID accuracy"}
RULES = ("ours", "authors")
_AUTHORS = ("auroc", "fpr95", "aupr")  # the metrics that the authors' rules change
_NUMBERS = (*METRIC_LABELS, *(f"{name}_authors" for name in _AUTHORS))
_DOUBTS = {"tied": "have equal values at the cut, an arbitrary choice", "beyond_range": "lie beyond the float's range"}
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
    columns `device` and `date`, or none; `shipped` is true in rows of `ash.results`. `reason`: why a method is not in
    it; `missing`: method -> its own reason. `partial`: image set -> how much of it was there, where that is not all.
    """

    model: str
    id_set: str
    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    reason: str = ""
    missing: Mapping[str, str] = field(default_factory=dict)
    partial: Mapping[str, str] = field(default_factory=dict)

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
        means = {name: sum(row[name] for row in rows) / len(rows) for name in (*_NUMBERS, *_DOUBTS) if name in rows[0]}
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
    cells = [_cell(row, found[row["model"]], paper.TABLES[table], rules) for row in numbers.to_dict("records")]
    joined = pd.concat([numbers, pd.DataFrame(cells)], axis=1)
    joined["difference"] = joined["measured"] - joined["value"]
    return joined.set_index(line_ids(joined))


def _cell(row: dict[Hashable, Any], found: Found, about: paper.PaperTable, rules: str) -> dict[str, object]:
    """What was measured for one number."""
    method, ood, same = row["method"], row["ood"], found.model == row["model"]
    one: dict[str, Any] | None
    if ood in ("mean", ""):
        mean = (found.mean(method, about.ood[row["model"]]) if same else None) or found.mean(method)
        one, sets = mean or (None, 0)
    else:
        one, sets = (found.row(method, ood) if same else None), 1
    if one is None:
        return {**_EMPTY, **_not_measured(row, found)}
    metric = f"{row['metric']}_authors" if rules == "authors" and row["metric"] in _AUTHORS else row["metric"]
    names = ("n_id", "n_ood", "device", "date")
    status, note = _standing(row, found, about.ood[row["model"]], sets)
    doubts = [f"{one[name]:.1f} % of the samples {what}" for name, what in _DOUBTS.items() if one.get(name, 0) > 0]
    note = "; ".join(filter(None, (note, *doubts)))
    if one.get("shipped") is True:
        status = f"{status}, {NOT_SHIPPED}"
    cell = {"measured": float(one[metric]), "on": found.model, "sets": sets, **{name: one[name] for name in names}}
    return {**cell, "status": status, "note": note}


def _standing(row: dict[Hashable, Any], found: Found, wanted: Collection[str], sets: int) -> tuple[str, str]:
    """Whose measurement stands beside a number, and over what if that is not what the paper's is over."""
    ood = row["ood"]
    if found.model != row["model"]:
        status = BUNDLED if found.model == BUNDLED_MODEL else ANOTHER
        return status, f"{found.model} on {found.id_set}, mean over its own {sets} OOD sets"
    here = [name for name in ([ood] if ood in wanted else wanted) if found.row(row["method"], name)]
    notes = [f"{name}: {found.partial[name]}" for name in here if name in found.partial]
    if found.id_set != row["id"]:
        return OTHER_IMAGES, "; ".join([f"ID set {found.id_set}", *notes])
    if ood in (*wanted, "") or sets == len(wanted):
        return f"{MEASURED}, part of the images" if notes else MEASURED, "; ".join(notes)
    return f"{MEASURED}, {sets} of {len(wanted)} OOD sets", "; ".join([f"mean over {', '.join(here)} alone", *notes])


_EMPTY = {"measured": float("nan"), "on": "", "sets": 0, "n_id": 0, "n_ood": 0, "device": "", "date": ""}


def _not_measured(row: dict[Hashable, Any], found: Found) -> dict[str, str]:
    method, ood = row["method"], row["ood"]
    if found.mean(method) is not None:  # of the line, but not on this set
        if found.model == row["model"]:
            return {"status": NOT_RUN, "note": f"the images of {ood} are missing: python -m ash fetch {ood}"}
        return {"status": NOT_RUN, "note": f"{found.model} has other OOD sets; the average is beside its own"}
    if Method.parse(method).score == "godin":
        return {"status": PUBLISHED, "note": GODIN}
    return {"status": NOT_RUN, "note": found.missing.get(method, found.reason)}


@dataclass(frozen=True)
class Count:
    """Lines of some tables: measured on the network they were published for, on another one only, not measured but with
    a method that runs, published only. `whole`: those of the first that are measured on all of the paper's images."""

    whole: int
    measured: int
    elsewhere: int
    runnable: int
    published: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.measured + self.elsewhere + self.runnable + self.published


def counted(*compared: pd.DataFrame) -> Count:
    """How the lines of some compared tables stand; a line that comes twice counts once, by the better of the two."""
    numbers = pd.concat(compared)
    known = numbers["measured"].notna()
    facts = {
        "known": known,
        "own": known & (numbers["on"] == numbers["model"]),
        "whole": known & numbers["status"].isin([MEASURED, f"{MEASURED}, {NOT_SHIPPED}"]),
        "more": numbers["status"] != PUBLISHED,
    }
    line = pd.DataFrame(facts).groupby([numbers["table"], numbers.index]).any()  # what is so of any number of a line
    known, own = line["known"], line["own"]
    counts = (own & line["whole"], own, known & ~own, ~known & line["more"], ~known & ~line["more"])
    return Count(*(int(count.sum()) for count in counts))


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
