"""What the page Paper says in words: how far the tables are measured, and what each of them shows here and there."""

import pandas as pd

from app.theme import percent
from ash.reports import ANOTHER, Count

FIGURES = {
    2: "accuracy against detection, every method",
    3: "accuracy against the percentile, three variants",
    4: "a ReLU that adapts to its input",
    5: "where to shape",
    6: "activations before and after",
}
RULES = {"ours": "this program's rules", "authors": "the authors' rules"}
NETWORKS = {
    "resnet50": "ResNet-50",
    "mobilenet_v2": "MobileNetV2",
    "densenet101_cifar10": "DenseNet, CIFAR-10",
    "densenet101_cifar100": "DenseNet, CIFAR-100",
}


def leaf_label(leaf: str) -> str:
    """`Table 1`, `Figure 2`."""
    return f"{leaf[:-1].capitalize()} {leaf[-1]}"


def standing(count: Count, whose: str) -> str:
    """How many lines of all five tables are measured, can be, or cannot."""
    return (
        f"The paper's five tables have {count.total} lines. On {whose}, {count.measured} are measured on this machine, "
        f"{count.runnable} can be run but are not measured, and {count.published} are published only."
    )


def finding(number: int, rows: pd.DataFrame) -> str:
    """One sentence: which line is best in print and which as measured, by AUROC; for Table 5 local against global."""
    if number == 5:
        return thresholds(rows)
    one = rows[rows["model"] == rows["model"].iloc[0]]
    name = NETWORKS[one["model"].iloc[0]]
    best = one.loc[one["auroc published"].idxmax()]
    text = f"Published on {name}: {best['printed']} is best, AUROC {percent(best['auroc published'], 2)}."
    known = one.dropna(subset="auroc measured")
    if known.empty:
        return f"{text} Nothing of it is measured here yet."
    here = known.loc[known["auroc measured"].idxmax()]
    where = "another network" if here["status"] == ANOTHER else str(here["status"])
    twin = "it is best too" if here["printed"] == best["printed"] else f"{here['printed']} is best"
    behind = ""
    if here["printed"] != best["printed"] and pd.notna(best["auroc measured"]):
        behind = f", {here['auroc measured'] - best['auroc measured']:.1f} points ahead of {best['printed']}"
    return f"{text} On {here['on']} ({where}) {twin}, {percent(here['auroc measured'], 2)}{behind}."


def thresholds(rows: pd.DataFrame) -> str:
    """At which p the threshold of each sample beats the one for all, in print and as measured."""
    parts = []
    for what in ("published", "measured"):
        wins: list[int] = []
        losses: list[int] = []
        for printed, pair in rows.dropna(subset=f"auroc {what}").groupby("printed", sort=False):
            values = pair[f"auroc {what}"]
            local, everywhere = values.filter(like="local"), values.filter(like="global")
            if len(local) and len(everywhere):
                p = int(str(printed).rpartition("@")[2])
                (wins if local.iloc[0] > everywhere.iloc[0] else losses).append(p)
        if wins or losses:
            parts.append(f"{_where(what)}: a threshold for each sample has the higher AUROC {_at(wins, losses)}")
    return ". ".join(parts) + "."


def _where(what: str) -> str:
    return "Published" if what == "published" else "Measured here"


def _at(wins: list[int], losses: list[int]) -> str:
    if not losses:
        return "at every p"
    if not wins:
        return "at no p"
    return f"at p = {_list(wins)}, one for all at p = {_list(losses)}"


def _list(numbers: list[int]) -> str:
    """`70, 75 and 99`, and `70 to 92` where there are many."""
    some = sorted(numbers)
    if len(some) > 4:
        return f"{some[0]} to {some[-1]} ({len(some)} settings)"
    return " and ".join(filter(None, (", ".join(map(str, some[:-1])), str(some[-1]))))
