"""What the page Paper says in words: how far the tables are measured, and what each of them shows here and there."""

from collections.abc import Collection, Mapping

import pandas as pd

from app.theme import percent
from ash.reports import Count

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
    parts = [
        f"{count.measured} are measured on the network they were published for, {count.whole} of them with the "
        "paper's weights and all of its images"
    ]
    if count.elsewhere:
        parts.append(f"{count.elsewhere} on {whose} only")
    parts += [f"{count.runnable} can be run but are not measured", f"{count.published} are published only"]
    return f"The paper's five tables have {count.total} lines: {'; '.join(parts)}."


def finding(number: int, rows: pd.DataFrame, beside: str) -> str:
    """Which line is best in print and which as measured on the same network, by AUROC, and which on a network that is
    none of the table's, whose name is `beside`; for Table 5 local against global."""
    if number == 5:
        return thresholds(rows, beside)
    known = rows.dropna(subset="auroc measured")
    one = rows[rows["model"] == (known if len(known) else rows)["model"].iloc[0]]
    best = one.loc[one["auroc published"].idxmax()]
    published = percent(best["auroc published"], 2)
    text = f"Published on {NETWORKS[best['model']]}: {best['printed']} is best, AUROC {published}."
    known = one.dropna(subset="auroc measured")
    if known.empty:
        text += " Nothing of it is measured here yet."
    else:
        here = known.loc[known["auroc measured"].idxmax()]
        differs = f" (differs in {here['differs_in']})" if here["differs_in"] else ""
        text += f" Measured on it{differs}, {_best(known, 'auroc measured', best['printed'])}."
    others = rows.dropna(subset="auroc beside").drop_duplicates("method")
    if len(others) and not set(others["beside_on"]) & set(rows["on"]):
        text += f" On {beside}, another network, {_best(others, 'auroc beside')}."
    return text


def _best(known: pd.DataFrame, column: str, printed: str = "") -> str:
    """`ASH-S is best of 9 methods, 98.26 %`; `printed`: the method that is best in print."""
    here = known.loc[known[column].idxmax()]
    if here["printed"] == printed:
        return f"it is best too of {len(known)} methods, {percent(here[column], 2)}"
    ahead = known[known["printed"] == printed][column]
    behind = f", {here[column] - ahead.iloc[0]:.1f} points ahead of {printed}" if len(ahead) else ""
    return f"{here['printed']} is best of {len(known)} methods, {percent(here[column], 2)}{behind}"


def thresholds(rows: pd.DataFrame, beside: str) -> str:
    """At which p the threshold of each sample beats the one for all: in print, as measured on the same network, and on
    another one, whose name is `beside`."""
    parts = []
    where = {"published": "Published", "measured": "Measured here", "beside": f"On {beside}, another network"}
    for what, text in where.items():
        wins: dict[float, bool] = {}
        for printed, pair in rows.dropna(subset=f"auroc {what}").groupby("printed", sort=False):
            values = pair[f"auroc {what}"]
            local, everywhere = values.filter(like="local"), values.filter(like="global")
            if len(local) and len(everywhere):
                wins[float(str(printed).rpartition("@")[2])] = bool(local.iloc[0] > everywhere.iloc[0])
        if wins:
            parts.append(f"{text}: {duel(wins)}.")
    return " ".join(parts)


def duel(wins: Mapping[float, bool]) -> str:
    """`a threshold for each sample has the higher AUROC at p = 70 to 98, one for all at p = 99`.

    `wins`: p -> whether the first one has.
    """
    local, everywhere = (spans([p for p in wins if wins[p] is kind], wins) for kind in (True, False))
    first = "a threshold for each sample has the higher AUROC"
    if not everywhere:
        return f"{first} at every p"
    if not local:
        return "one threshold for all has the higher AUROC at every p"
    return f"{first} at p = {local}, one for all at p = {everywhere}"


def spans(some: Collection[float], every: Collection[float]) -> str:
    """Numbers among others, neighbours joined: 5, 10, 15, 90 of 5, 10, ..., 90 is `5 to 15 and 90`."""
    runs: list[list[float]] = []
    before = None
    for at, number in enumerate(sorted(every)):
        if number in some:
            if before == at - 1 and runs:
                runs[-1].append(number)
            else:
                runs.append([number])
            before = at
    texts = [f"{run[0]:g}" if len(run) == 1 else f"{run[0]:g} to {run[-1]:g}" for run in runs]
    return " and ".join(filter(None, (", ".join(texts[:-1]), *texts[-1:])))
