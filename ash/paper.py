"""The numbers that the paper prints, as data: Tables 1-5 and the few results and settings in its text.

One row for each number, in `assets/paper/*.csv`; percent, two decimals. `model`, `id`, `ood`, `method` and `metric` are
spelled as in the tables of a sweep (`ash.tables`), so that published and measured numbers join on them. These numbers
come from the authors' metric code or from earlier papers, not from `ash.metrics`. Imports no torch.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd

from ash.data import ASSETS
from ash.errors import AshError

FOLDER = ASSETS / "paper"

COLUMNS: dict[str, str] = {
    "table": "number of the table, 1-5",
    "model": "network, a name of ash.models",
    "id": "ID set, a name of ash.data",
    "printed": "method as printed, without its reference number and the mark (Ours)",
    "method": "the method as ash.methods reads it; its parameters are the paper's or, see basis, assumed",
    "percentile": "p of a method that prunes activations, NaN for others",
    "basis": "where the method's parameter is from: paper (printed there), assumed (not printed; the network's preset "
    "in ash.models), else empty",
    "threshold": "what a pruning threshold is computed from: local (each sample), global (one for all), else empty",
    "ood": "OOD set, a name of ash.data; mean is the average over the table's sets; empty where none is involved",
    "metric": "auroc, fpr95, aupr, id_accuracy",
    "value": "the number, percent",
    "plus_minus": "the +- value beside it, percent points, NaN where none is printed",
    "source": "who measured it, as far as the paper says: authors, cited (taken from earlier work), else empty",
    "flag": "what to know about this number, a key of FLAGS, else empty",
}
POINT_COLUMNS: dict[str, str] = {
    "place": "where in the paper",
    **{name: COLUMNS[name] for name in ("model", "id", "method", "basis")},
    "quantity": "size (values of the penultimate activation), percentile, id_accuracy, noise_low, noise_high, "
    "react_percentile",
    "value": "the number; accuracies in percent",
    "flag": COLUMNS["flag"],
}
FLAGS: dict[str, str] = {
    "misprint": "The same three numbers are printed for p = 70 and p = 75, so one of the two rows is a misprint.",
    "ties": "AUPR of max softmax, which saturates: the authors' code loses half of the mass of tied scores.",
    "rounded": "The text gives no decimals.",
}
_NUMBERS = ("table", "percentile", "value", "plus_minus")


class PaperError(AshError):
    """The paper has no such table."""


@dataclass(frozen=True)
class PaperTable:
    """What one table compares. `ood`: network -> the OOD sets that its averages are over; `columns` and `setting`: what
    is printed and under which conditions, for people."""

    number: int
    title: str
    ood: dict[str, tuple[str, ...]]
    metrics: tuple[str, ...]
    columns: str
    setting: str

    @property
    def file(self) -> Path:
        """The CSV file with its numbers."""
        return FOLDER / f"table{self.number}.csv"


_IMAGENET_OOD = ("inaturalist", "sun", "places", "dtd")
_CIFAR_OOD = ("svhn", "lsun_c", "lsun_r", "isun", "places365", "dtd")
_RESNET: dict[str, tuple[str, ...]] = {"resnet50": _IMAGENET_OOD}
_CIFAR: dict[str, tuple[str, ...]] = {"densenet101_cifar10": _CIFAR_OOD, "densenet101_cifar100": _CIFAR_OOD}

TABLES: dict[int, PaperTable] = {
    table.number: table
    for table in (
        PaperTable(
            1,
            "Detection on ImageNet, every method, two networks",
            {**_RESNET, "mobilenet_v2": _IMAGENET_OOD},
            ("fpr95", "auroc"),
            "FPR95 and AUROC against each OOD set, and their average.",
            "Penultimate layer, Energy score, ASH-P @ 60, ASH-B @ 65, ASH-S @ 90 on both networks. Only the ASH rows "
            "were measured for this paper; the others are said to be ReAct's, though DICE is younger than ReAct.",
        ),
        PaperTable(
            2,
            "Detection on CIFAR-10 and CIFAR-100, every method",
            _CIFAR,
            ("fpr95", "auroc"),
            "FPR95 and AUROC, averages over six OOD sets; DICE with its spread.",
            "DenseNet-101, penultimate layer, Energy score. The percentiles of ASH and the threshold of ReAct are not "
            "printed; those here are assumed.",
        ),
        PaperTable(
            3,
            "Max softmax and Energy, each with and without ASH",
            {**_CIFAR, **_RESNET},
            ("fpr95", "auroc", "aupr"),
            "FPR95, AUROC and AUPR (ID positive), averages over six OOD sets for CIFAR and four for ImageNet.",
            "Variant, percentile and the ImageNet network are not printed; with Energy, FPR95 and AUROC are those of "
            "ASH-S in Table 1 (ResNet-50) and Table 2. The plain scores differ from those tables by up to 2.2 points.",
        ),
        PaperTable(
            4,
            "Random values for what is kept, on ImageNet",
            _RESNET,
            ("fpr95", "auroc", "aupr", "id_accuracy"),
            "FPR95, AUROC and AUPR (ID positive), averages over four OOD sets, and ID accuracy of the shaped network.",
            "ASH-RAND draws the kept values between 0 and 10. The network is not printed; ASH-B and ASH-S have "
            "ResNet-50's numbers of Table 1.",
        ),
        PaperTable(
            5,
            "One pruning threshold for each sample, or one for all",
            _RESNET,
            ("fpr95", "auroc", "aupr"),
            "FPR95, AUROC and AUPR (ID positive) of ASH-B, with local and with global thresholds.",
            "Network, data and how the global threshold was found are not printed; the local numbers continue those of "
            "ResNet-50 on ImageNet in Table 4.",
        ),
    )
}


def load(table: int) -> pd.DataFrame:
    """A table's numbers, one a row in the paper's order, with the columns of COLUMNS; PaperError if there is none."""
    if table not in TABLES:
        raise PaperError(f"The paper has no Table {table!r}; it has Tables {min(TABLES)} to {max(TABLES)}.")
    return _read(TABLES[table].file).copy()


@cache
def methods(*tables: int) -> tuple[str, ...]:
    """Every method of some tables (none given: of all) in the paper's order, but for GODIN, of another network."""
    texts = [text for number in tables or TABLES for text in load(number)["method"]]
    return tuple(dict.fromkeys(text for text in texts if text != "godin"))


def points() -> pd.DataFrame:
    """The results and settings that the paper's text prints outside its tables, with the columns of POINT_COLUMNS."""
    return _read(FOLDER / "points.csv").copy()


@cache
def _read(path: Path) -> pd.DataFrame:
    """A file with its columns typed: an empty text is "", an empty number NaN."""
    header = pd.read_csv(path, nrows=0).columns
    types = {name: str for name in header if name not in _NUMBERS}
    numbers = [name for name in header if name in _NUMBERS]
    frame = pd.read_csv(path, dtype=types, keep_default_na=False, na_values={name: [""] for name in numbers})
    return frame.astype({name: int if name == "table" else float for name in numbers})
