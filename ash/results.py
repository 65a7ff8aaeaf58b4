"""Results that ship: the table of a sweep with where it comes from, written by the command line and never by hand.

A file of `assets/results` is CSV under comment lines `# name: value`: `pandas.read_csv(file, comment="#")` reads it.
The activations behind it do not ship. Where they are at hand, whoever shows it measures again and asks
`largest_difference`. Imports no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ash.bank import write_atomically
from ash.data import ASSETS

FOLDER = ASSETS / "results"
METRICS = ("auroc", "fpr95", "aupr", "id_accuracy")
TOLERANCE = (
    0.02  # points by which a recomputed metric may differ: one image of thousands on the other side of a threshold
)
_NEEDED = ("model", "weights_sha256", "placement", "id", "ood", "device", "date", "versions", "command")


class ResultsError(ValueError):
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
    def images(self) -> tuple[int, int]:
        """Number of ID images, and of all OOD images together."""
        sets = self.table.drop_duplicates("ood").set_index("ood").n_ood
        return int(self.table.n_id.iloc[0]), int(sets.drop("mean", errors="ignore").sum())


def write(path: Path, table: pd.DataFrame, origin: Mapping[str, object]) -> None:
    """Write a sweep's table under its origin; ResultsError where the origin leaves something out."""
    lacking = [name for name in _NEEDED if not origin.get(name)]
    if lacking:
        raise ResultsError(f"Results need their origin: {', '.join(lacking)} is missing for {path.name}.")
    lines = [f"# {name}: {' '.join(str(value).split())}" for name, value in origin.items()]
    text = "\n".join(lines) + "\n" + table.to_csv(index=False, float_format="%.4f")
    write_atomically(path, text.encode())


def read(path: Path) -> Results:
    """The results of a file; ResultsError when it has no origin or is no table of a sweep."""
    origin: dict[str, str] = {}
    with path.open(encoding="utf-8") as file:
        for line in file:
            if not line.startswith("# "):
                break
            name, _, value = line[2:].partition(":")
            origin[name.strip()] = value.strip()
    lacking = [name for name in _NEEDED if name not in origin]
    if lacking:
        raise ResultsError(f"{path.name} does not say where its numbers come from ({', '.join(lacking)}).")
    table = pd.read_csv(path, skiprows=len(origin), dtype=dict.fromkeys(("model", "id", "ood", "method"), str))
    if not {"method", "ood", "n_id", "n_ood", *METRICS} <= set(table.columns) or table.empty:
        raise ResultsError(f"{path.name} is no table of a sweep.")
    return Results(path, table, origin)


def shipped(folder: Path = FOLDER) -> tuple[Results, ...]:
    """All results that ship, in the order of their file names."""
    return tuple(read(path) for path in sorted(folder.glob("*.csv")))


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
