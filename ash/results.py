"""Results that ship: the table of a sweep with where it comes from, written by the command line and never by hand.

A file of `assets/results` is CSV under comment lines `# name: value`: `pandas.read_csv(file, comment="#")` reads it.
Its first line is the checksum of all others, so that a number changed by hand is found. The activations behind it do
not ship. Where they are at hand, whoever shows it measures again and asks `largest_difference`. Imports no torch.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ash import paper
from ash.data import ASSETS
from ash.errors import AshError
from ash.files import read_bytes, write_atomically
from ash.methods import Method, baselines, parse_methods
from ash.tables import METRICS
from ash.variants import LIMITING, PRUNING, RANKED

if TYPE_CHECKING:
    from ash.networks.entries import ModelEntry

FOLDER = ASSETS / "results"
TOLERANCE = 0.02  # points by which a metric measured again may differ: one of thousands of images across a threshold
_NEEDED = ("model", "weights_sha256", "placement", "id", "ood", "files", "device", "date", "versions", "command")
_CHECKSUM = "# sha256: "
GRID = "0:95:5"  # percentiles
THRESHOLDS = "0.25,0.5,0.75,1,1.25,1.5,2,3"  # of ReAct
SUBSET_ID, SUBSET_OOD = 2000, 500  # images per set away from the penultimate layer, where activations are large
# percentiles of a line at a tail that needs a pass for each setting, in the order of computing, coarse first
LINE = (65, 90, 30, 80, 50, 95, 70, 10, 60)


class ResultsError(AshError):
    """A file of results that is not one; the message names it."""


@dataclass(frozen=True)
class Results:
    """One file: `table` with the columns of a sweep, `origin` as it stands above it."""

    file: Path
    table: pd.DataFrame
    origin: dict[str, str]

    @property
    def model(self) -> str:
        """The network, a name of ash.models."""
        return self.origin["model"]

    @property
    def placement(self) -> str:
        """The node whose activation was shaped."""
        return self.origin["placement"]

    @property
    def id_set(self) -> str:
        """The ID set, a name of ash.data."""
        return self.origin["id"]

    @property
    def ood(self) -> tuple[str, ...]:
        """The OOD sets."""
        return tuple(self.origin["ood"].split(", "))

    @property
    def files(self) -> dict[str, str]:
        """Image set -> the first digits of its fingerprint."""
        return dict(part.rsplit(" ", 1) for part in self.origin["files"].split(", "))

    @property
    def listed(self) -> dict[str, str]:
        """Image set -> the same of the list that ships in place of its images, where that lists just these."""
        return dict(part.rsplit(" ", 1) for part in self.origin.get("listed", "").split(", ") if part)

    @property
    def partial(self) -> dict[str, str]:
        """Image set -> how many of its images these are, for the incomplete ones."""
        parts = self.origin.get("incomplete", "").split("; ")
        return {name: text for name, colon, text in (part.partition(": ") for part in parts) if colon}

    @cached_property
    def counts(self) -> dict[str, int]:
        """Image set -> how many of its images were measured, the ID set first."""
        sets = self.table.drop_duplicates("ood").set_index("ood").n_ood.drop("mean", errors="ignore")
        return {self.id_set: int(self.table.n_id.iloc[0]), **sets.astype(int).to_dict()}

    @property
    def images(self) -> tuple[int, int]:
        """Number of ID images, and of all OOD images together."""
        ids, *others = self.counts.values()
        return ids, sum(others)


def every_method(entry: "ModelEntry") -> list[Method]:
    """What a network's results hold: the paper's scores, every variant, threshold and combination, its own settings."""
    scores = ("energy", "msp", "max_logit", "odin")
    texts = [f"{variant}@{GRID}:{score}" for variant in ("ash_p", "ash_b", "ash_s", "ash_rand") for score in scores]
    texts += [f"{variant}_global@{GRID}" for variant in ("ash_p", "ash_b", "ash_s")]
    texts += [f"react@{c}" for c in THRESHOLDS.split(",")]
    clip = f"react@{entry.react_threshold}"
    texts += [f"react@{GRID.replace('0', '50', 1)}%", f"dice@{GRID}", f"{clip}+dice@{GRID}", f"{clip}+ash_s@{GRID}"]
    return list(dict.fromkeys([*baselines(entry), *parse_methods(",".join((*paper.methods(), *texts)))]))


def clip_thresholds(values: NDArray[np.floating], own: float) -> tuple[float, ...]:
    """Thresholds of ReAct to try: quantiles of ID activations (n, ...), three digits each, and the model's `own`."""
    sample = values[:: max(1, len(values) // 2000)]
    quantiles = np.quantile(sample, [0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.999])
    rounded = {float(f"{q:.3g}") for q in quantiles if q > 0}
    return tuple(sorted(rounded | {own}))


def front_methods(score: str, clips: Sequence[float]) -> tuple[str, ...]:
    """What a front of accuracy and AUROC is drawn of: the score alone, variants over GRID or at `clips`."""
    shaped = [str(method) for variant in RANKED for method in parse_methods(f"{variant}@{GRID}:{score}")]
    return (score, *shaped, *(str(Method.parse(f"{variant}@{c}:{score}")) for variant in LIMITING for c in clips))


def line_methods(linear: bool) -> list[Method]:
    """What results at another placement than the penultimate hold: the score alone, and lines of its variants.

    `linear`: whether one pass gives all percentiles; then the whole grid, as it costs no more.
    """
    marks, variants = (GRID, PRUNING) if linear else (",".join(map(str, sorted(LINE))), PRUNING[:3])
    texts = [f"{variant}@{mark}" for variant in variants for mark in marks.split(",")]
    return parse_methods(",".join((Method().score, *texts)))


def write(path: Path, table: pd.DataFrame, origin: Mapping[str, object]) -> None:
    """Write a sweep's table under its origin; ResultsError where the origin leaves something out."""
    lacking = [name for name in _NEEDED if not origin.get(name)]
    if lacking:
        raise ResultsError(f"Results need their origin: {', '.join(lacking)} is missing for {path.name}.")
    text = comments(origin) + table.to_csv(index=False, float_format="%.4f", lineterminator="\n")
    write_atomically(path, f"{_CHECKSUM}{_hash(text)}\n{text}".encode())


def comments(origin: Mapping[str, object]) -> str:
    """Where numbers come from, as lines `# name: value` above a CSV."""
    return "".join(f"# {name}: {' '.join(str(value).split())}\n" for name, value in origin.items())


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def read(path: Path) -> Results:
    """The results of a file; ResultsError when it was changed, has no origin or is no table of a sweep."""
    text = read_bytes(path).decode(errors="replace").replace("\r\n", "\n")  # a damaged one fails its checksum
    first, _, text = text.partition("\n")
    if first != f"{_CHECKSUM}{_hash(text)}":
        raise ResultsError(f"{path.name} is not as `python -m ash results` wrote it: make it again, never by hand.")
    head = [line for line in text.splitlines() if line.startswith("# ")]
    origin = {name: value.strip() for name, _, value in (line[2:].partition(":") for line in head)}
    lacking = [name for name in _NEEDED if name not in origin]
    if lacking:
        raise ResultsError(f"{path.name} does not say where its numbers come from ({', '.join(lacking)}).")
    names = ("model", "id", "ood", "method")
    table = pd.read_csv(io.StringIO(text), skiprows=len(head), dtype=dict.fromkeys(names, str))
    if not {"method", "ood", "n_id", "n_ood", *METRICS} <= set(table.columns) or table.empty:
        raise ResultsError(f"{path.name} is no table of a sweep.")
    return Results(path, table, origin)


def shipped(folder: Path = FOLDER) -> tuple[Results, ...]:
    """All results that ship, of penultimate and other placements, in the order of their file names."""
    return tuple(read(path) for path in sorted(folder.glob("*.csv")))


def damaged(folder: Path = FOLDER) -> list[str]:
    """What is wrong with results that ship, a sentence for each file that cannot be used."""
    found = []
    for path in sorted(folder.glob("*.csv")):
        try:
            read(path)
        except ResultsError as error:
            found.append(str(error))
    return found


def largest_difference(one: Results, fresh: pd.DataFrame) -> tuple[float, str, int]:
    """How far a new table of the same banks is from these results: points, where, and how many numbers were compared.

    Compared is what both hold: methods, OOD sets, metrics; ResultsError where that is nothing.
    """
    key = ["method", "ood"]
    metrics = [name for name in METRICS if name in fresh]
    fresh = fresh.set_index(key)[metrics].add_suffix("_new")
    both = one.table.set_index(key)[metrics].join(fresh, how="inner")
    if both.empty:
        raise ResultsError(f"Nothing in {one.file.name} is in the new table.")
    apart = pd.DataFrame({name: (both[name] - both[f"{name}_new"]).abs() for name in metrics}).stack()
    (method, ood, metric), worst = apart.idxmax(), float(apart.max())
    return worst, f"{metric} of {method} on {ood}", len(apart)
