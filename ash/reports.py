"""The paper's numbers beside what was measured: joined and counted. (`ash.report_files` writes them.)

`compare` joins a published table (`ash.paper`) with `Found`, what was measured for its networks. A difference is taken
only where network and data are the paper's; another network stands beside. Imports no torch.
"""

from collections.abc import Collection, Hashable, Iterable, Mapping
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
# in which a number differs from the paper's
WEIGHTS, PLACEMENT, IMAGES, SETS = "weights", "placement", "images", "sets"
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
    """What was measured on one network.

    `model` and `id_set`: on which network and ID set. `table`: rows of `measured`, with the columns `device` and
    `date`, or none; `shipped` is true in rows of `ash.results`. `reason`: why a method is not in it; `missing`: method
    -> its own reason. `partial`: image set -> how much of it was there, where that is not all. `network`: which of the
    paper's networks it is, "" for none of them. `apart`: what else than the images is not the paper's, of WEIGHTS and
    PLACEMENT.
    """

    model: str
    id_set: str
    table: pd.DataFrame = field(default_factory=pd.DataFrame)
    reason: str = ""
    missing: Mapping[str, str] = field(default_factory=dict)
    partial: Mapping[str, str] = field(default_factory=dict)
    network: str = ""
    apart: tuple[str, ...] = ()

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

    def mean(self, method: str, sets: Collection[str] | None = None) -> tuple[dict[str, Any], tuple[str, ...]] | None:
        """The mean of a method over those of some sets that were measured (None: all), and over which."""
        over = {ood: row for ood, row in self._rows.get(method, {}).items() if sets is None or ood in sets}
        if not over:
            return None
        rows = list(over.values())
        means = {name: sum(row[name] for row in rows) / len(rows) for name in (*_NUMBERS, *_DOUBTS) if name in rows[0]}
        return {**rows[0], **means, "n_ood": sum(row["n_ood"] for row in rows)}, tuple(over)


def lines(table: int) -> pd.DataFrame:
    """The lines of a table in the paper's order: table, model, id, printed, threshold, method, basis; the index is the
    line's id."""
    frame = paper.load(table)[["table", *KEY, "id", "method", "basis", "source"]].drop_duplicates()
    return frame.set_index(line_ids(frame))


def line_ids(frame: pd.DataFrame) -> pd.Index:
    """One text for each row that names its line: `resnet50 ASH-B@65 local`."""
    texts = frame["model"] + " " + frame["printed"] + (" " + frame["threshold"]).where(frame["table"] == 5, "")
    return pd.Index(texts, name="line")


def compare(table: int, own: Iterable[Found], rules: str = "ours", beside: Found | None = None) -> pd.DataFrame:
    """Every number of a table with what was measured on the same network, and beside it what another one does.

    `own`: what was measured on the paper's networks, each for the lines of its own `network`; one that is none of them
    is not taken. `beside`: of any network; it stands beside the averages of the lines that are not its own. `rules`:
    whose metrics, of RULES. Adds to the columns of `ash.paper`:

    * measured, on (a name of ash.models), sets (how many OOD sets it is over), n_id, n_ood, device, date, status, note;
    * differs_in: what of a measured number is not the paper's, of WEIGHTS, PLACEMENT, IMAGES and SETS, comma-separated;
    * difference: measured minus published, NaN where something differs;
    * beside, beside_on, beside_id, beside_sets, beside_n_id, beside_n_ood, beside_device, beside_date: those of the
      other network, which has no difference.
    """
    numbers = paper.load(table)
    by_network = {one.network: one for one in own if one.network}
    cells = []
    for row in numbers.to_dict("records"):
        network = row["model"]
        cell = _cell(row, by_network.get(network, Found("", "")), paper.TABLES[table].ood[network], rules)
        other = _beside(row, beside, rules) if beside is not None and beside.network != network else _NOTHING_BESIDE
        if not cell["on"] and other["beside_on"]:
            cell["status"] = BUNDLED if other["beside_on"] == BUNDLED_MODEL else ANOTHER
        cells.append({**cell, **other})
    joined = pd.concat([numbers, pd.DataFrame(cells)], axis=1)
    joined["difference"] = (joined["measured"] - joined["value"]).where(joined["differs_in"] == "")
    return joined.set_index(line_ids(joined))


def _cell(row: dict[Hashable, Any], found: Found, wanted: Collection[str], rules: str) -> dict[str, object]:
    """What was measured for one number on its own network. `wanted`: the OOD sets of the paper's average."""
    method, ood = row["method"], row["ood"]
    if ood in ("mean", ""):
        one, over = found.mean(method, wanted) or found.mean(method) or (None, ())
    else:
        one, over = found.row(method, ood), (ood,)
    if one is None:
        return {**_EMPTY, **_not_measured(row, found)}
    differs, sets = _differs(row, found, wanted, over), f"{len({*over} & {*wanted})} of {len(wanted)}"
    doubts = [f"{one[name]:.1f} % of the samples {what}" for name, what in _DOUBTS.items() if one.get(name, 0) > 0]
    return {
        "measured": _metric(row, one, rules),
        "on": found.model,
        "sets": len(over),
        **{name: one[name] for name in _FACTS},
        "differs_in": ", ".join(differs),
        "status": _status(row, found, differs, sets) + (f", {NOT_SHIPPED}" if one.get("shipped") is True else ""),
        "note": "; ".join([*_notes(row, found, differs, over), *doubts]),
    }


def _metric(row: dict[Hashable, Any], one: Mapping[str, Any], rules: str) -> float:
    authors_too = rules == "authors" and row["metric"] in _AUTHORS
    return float(one[f"{row['metric']}_authors" if authors_too else row["metric"]])


def _differs(row: dict[Hashable, Any], found: Found, wanted: Collection[str], over: Collection[str]) -> list[str]:
    """What of a measured number is not the paper's, a word each."""
    accuracy = row["ood"] == ""  # no OOD image has a part in it
    incomplete = not {row["id"], *(() if accuracy else over)}.isdisjoint(found.partial)
    words = list(found.apart)
    if found.id_set != row["id"] or incomplete:
        words.append(IMAGES)
    if row["ood"] == "mean" and set(over) != set(wanted):
        words.append(SETS)
    return words


def _status(row: dict[Hashable, Any], found: Found, differs: Collection[str], sets: str) -> str:
    """How far a measured number is the paper's. `sets`: how many of the paper's OOD sets it is over."""
    if found.id_set != row["id"]:
        return OTHER_IMAGES
    if WEIGHTS in differs:
        return f"{MEASURED} with other weights"
    if PLACEMENT in differs:
        return f"{MEASURED} at another placement"
    if SETS in differs:
        return f"{MEASURED}, {sets} OOD sets"
    return f"{MEASURED}, part of the images" if IMAGES in differs else MEASURED


def _notes(row: dict[Hashable, Any], found: Found, differs: Collection[str], over: Collection[str]) -> list[str]:
    """What a measured number is over, as far as that is not what the paper's is over."""
    notes = [f"ID set {found.id_set}"] if found.id_set != row["id"] else []
    notes += ["the weights are not the published file"] if WEIGHTS in differs else []
    notes += [f"mean over {', '.join(over)} alone"] if SETS in differs else []
    sets = (found.id_set, *(over if row["ood"] else ()))
    return notes + [f"{name}: {found.partial[name]}" for name in sets if name in found.partial]


_FACTS = ("n_id", "n_ood", "device", "date")
_NAN = float("nan")
_EMPTY = {"measured": _NAN, "on": "", "sets": 0, "n_id": 0, "n_ood": 0, "device": "", "date": "", "differs_in": ""}
_NOTHING_BESIDE = {
    "beside": _NAN, "beside_on": "", "beside_id": "", "beside_sets": 0,
    "beside_n_id": 0, "beside_n_ood": 0, "beside_device": "", "beside_date": "",
}  # fmt: skip


def _beside(row: dict[Hashable, Any], found: Found, rules: str) -> dict[str, object]:
    """What another network does by the method of a number: over its own OOD sets, and so beside averages only."""
    mean = found.mean(row["method"]) if row["ood"] in ("mean", "") else None
    if mean is None:
        return _NOTHING_BESIDE
    one, over = mean
    return {
        "beside": _metric(row, one, rules),
        "beside_on": found.model,
        "beside_id": found.id_set,
        "beside_sets": len(over),
        **{f"beside_{name}": one[name] for name in _FACTS},
    }


def _not_measured(row: dict[Hashable, Any], found: Found) -> dict[str, str]:
    method, ood = row["method"], row["ood"]
    if found.mean(method) is not None:  # of the line, but not on this set
        return {"status": NOT_RUN, "note": f"the images of {ood} are missing: python -m ash fetch {ood}"}
    if Method.parse(method).score == "godin":
        return {"status": PUBLISHED, "note": GODIN}
    return {"status": NOT_RUN, "note": found.missing.get(method, found.reason)}


@dataclass(frozen=True)
class Count:
    """Lines of some tables: measured on the network they were published for, on another one only, not measured but with
    a method that runs, published only. `whole`: those of the first of which every number is of the paper's weights and
    images."""

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
    numbers = pd.concat(compared, keys=range(len(compared)), names=["compared"])
    facts = {
        "own": numbers["measured"].notna(),
        "beside": numbers["beside"].notna(),
        "more": numbers["status"] != PUBLISHED,
    }
    line = pd.DataFrame(facts).groupby([numbers["table"], "line"]).any()  # what is so of any number of a line
    alike = numbers["measured"].notna() & (numbers["differs_in"] == "")
    whole = alike.groupby([numbers["table"], "compared", "line"]).all().groupby(["table", "line"]).any()
    own, rest = line["own"], ~line["own"] & ~line["beside"]
    counts = (whole, own, ~own & line["beside"], rest & line["more"], rest & ~line["more"])
    return Count(*(int(count.sum()) for count in counts))


def wide(compared: pd.DataFrame, ood: str) -> pd.DataFrame:
    """One row a line for one OOD set (or `mean`): for each metric published, measured, difference and beside, then the
    rest."""
    chosen = compared[compared["ood"].isin([ood, ""])]
    rows = []
    for line, cells in chosen.groupby(level="line", sort=False):
        first = cells.iloc[0]
        row: dict[str, object] = {"line": line, **{name: first[name] for name in ("model", "printed", "method")}}
        for _, cell in cells.iterrows():
            row[f"{cell['metric']} published"] = cell["value"]
            for what in ("measured", "difference", "beside"):
                row[f"{cell['metric']} {what}"] = cell[what]
            if pd.notna(cell["plus_minus"]):
                row[f"{cell['metric']} spread"] = cell["plus_minus"]
        flags = {paper.FLAGS[flag] for flag in cells["flag"] if flag}
        measured, beside = (_first(cells, what) for what in ("measured", "beside"))
        row |= {name: measured[name] for name in (*_FACTS, "sets", "on", "status", "note")}
        row["differs_in"] = max(cells["differs_in"], key=len)  # of accuracy, which hangs on no OOD set, it is less
        row |= {name: beside[name] for name in cells if str(name).startswith("beside_")}
        rows.append({**row, "basis": first["basis"], "flag": " ".join(sorted(flags))})
    return pd.DataFrame(rows).set_index("line")


def _first(cells: pd.DataFrame, what: str) -> pd.Series:
    """The first of a line's numbers where something is known, else the first."""
    known = cells[cells[what].notna()]
    return (known if len(known) else cells).iloc[0]
