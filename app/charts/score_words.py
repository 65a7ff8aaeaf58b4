"""Scores in words and tables: numbers for people, the sentence on top of the page, the counts, the bars as rows."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from app import theme
from app.charts.bins import Histograms, bar_id


def short(value: float) -> float:
    """Four significant digits: what a picture needs, and the same bytes every time."""
    return float(f"{value:.4g}") + 0.0


def shorts(values: Sequence[float] | np.ndarray) -> list[float]:
    """`short` for a list."""
    return [short(value) for value in values]


def score_text(value: float, score: str) -> str:
    """A score for people: of the softmax score the probability, because its log-odds mean little to most."""
    if score != "msp" or math.isinf(value):
        return theme.number(value)
    odds = math.exp(-abs(value))
    rest = odds / (1 + odds)  # the smaller of p and 1 - p, exact where p rounds to 1
    return f"{rest:.3g}" if value < 0 else f"1 \N{MINUS SIGN} {rest:.2g}" if rest < 1e-3 else f"{1 - rest:.4g}"


def span_text(low: float, high: float, score: str) -> str:
    """The scores of one bar: `below 3.1`, `3.1 to 3.4`, `8 or more`."""
    unit = "probability " if score == "msp" else "score "
    if math.isinf(low):
        return f"{unit}below {score_text(high, score)}"
    if math.isinf(high):
        return f"{unit}{score_text(low, score)} or more"
    return f"{unit}{score_text(low, score)} to {score_text(high, score)}"


def fpr_name(tpr: float) -> str:
    """`FPR95`, for the false positive rate at this TPR in percent."""
    return f"FPR{tpr:g}"


def finding(record: Histograms, before: str) -> str:
    """The sentence above the picture. `before`: the label of the score without shaping."""
    start = f"At the threshold that accepts {record.tpr:g} % of {record.id.label}, {record.method} accepts "
    old = {bars.name: bars for bars in record.before}
    if len(record.ood) == 1:
        bars = record.ood[0]
        text = f"{start}{theme.count(bars.accepted)} of the {theme.count(bars.n)} images in {bars.label}"
        return text + (f"; {before} accepts {theme.count(old[bars.name].accepted)}." if old else ".")
    mean = float(np.mean([bars.share for bars in record.ood]))
    text = f"{start}{theme.percent(mean)} of the OOD images (mean of {len(record.ood)} sets)"
    if old:
        text += f"; {before} accepts {theme.percent(float(np.mean([old[bars.name].share for bars in record.ood])))}"
    worst = max(record.ood, key=lambda bars: bars.share)
    return f"{text}. It accepts most of {worst.label}: {theme.percent(worst.share)}."


def counts(record: Histograms, before: str) -> pd.DataFrame:
    """What the threshold does to each set: images accepted and rejected, accepted share with and without shaping."""
    old = {bars.name: bars for bars in record.before}
    rows = []
    for bars in (record.id, *record.ood):
        row = {"Set": bars.label + (" (ID)" if bars is record.id else "")}
        row |= {"Accepted": theme.count(bars.accepted), "Rejected": theme.count(bars.n - bars.accepted)}
        row["Accepted, %"] = theme.percent(bars.share)
        if old:
            row[f"{before}, %"] = theme.percent(old[bars.name].share)
        rows.append(row)
    return pd.DataFrame(rows).set_index("Set")


def table(record: Histograms, score: str) -> pd.DataFrame:
    """Every bar that holds an image, one row each; the index holds the ids of the bars."""
    rows = {}
    for bars in (record.id, *record.ood):
        for k, count in enumerate(bars.counts):
            if count:
                low, high = record.scale.cuts[k : k + 2]
                share = short(100 * count / bars.n)
                values = (bars.label, low, high, span_text(low, high, score), count, share, k >= record.scale.line)
                rows[bar_id(bars.name, record.scale, k)] = values
    names = ["set", "score_from", "score_below", "bar", "images", "percent", "accepted"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=names)
