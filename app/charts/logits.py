"""The logits of one image before and after shaping: who wins, and how far the scale moves."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app import theme
from app.charts.plain import Figure
from app.charts.score_words import shorts
from ash.methods import STEPS

Floats = NDArray[np.floating]
MOST_CLASSES = 12  # classes drawn


@dataclass(frozen=True)
class Logits:
    """Logits of some classes, before and after; `order` and the winners (before, after) are class indices."""

    names: tuple[str, ...]
    order: tuple[int, ...]
    before: Floats
    after: Floats
    winners: tuple[int, int]
    energies: tuple[float, float]


def record(before: Floats, after: Floats, classes: Sequence[str]) -> Logits:
    """All classes when there are few, otherwise the ones that lead before or after."""
    energies = tuple(float(np.logaddexp.reduce(values.astype(np.float64))) for values in (before, after))
    winners = int(before.argmax()), int(after.argmax())
    order = tuple(range(len(before)))
    if len(before) > MOST_CLASSES:
        leading = [index for pair in zip(np.argsort(-after), np.argsort(-before), strict=True) for index in pair]
        order = tuple(int(index) for index in list(dict.fromkeys(leading))[:MOST_CLASSES])
    names = tuple(classes[index] if index < len(classes) else f"class {index}" for index in order)
    return Logits(names, order, before[list(order)], after[list(order)], winners, (energies[0], energies[1]))


def finding(logits: Logits) -> str:
    """Winner and energy before and after."""
    old, new = (logits.names[logits.order.index(index)] for index in logits.winners)
    change = f"{old} stays ahead" if old == new else f"{new} overtakes {old}"
    return f"{change}; the energy goes from {theme.number(logits.energies[0])} to {theme.number(logits.energies[1])}."


def relative(values: Floats) -> Floats:
    """Logits minus their mean, divided by the largest distance from it: what is left when only the scale changed."""
    centred = values - values.mean()
    return centred / max(float(np.abs(centred).max()), 1e-12)


def figure(logits: Logits, variant: str, compare: bool, dark: bool) -> Figure:
    """A pair of bars a class, outline before and filled after, the winners starred. `compare`: relative logits."""
    colour = theme.colours(dark)
    tint = colour[variant]
    pairs = (relative(logits.before), relative(logits.after)) if compare else (logits.before, logits.after)
    traces = []
    for when, values, winner in zip(("before", "after"), pairs, logits.winners, strict=True):
        if when == "after" and variant not in STEPS:
            continue
        filled = when == "after"
        text = [
            ("★ " if index == winner else "") + theme.number(float(v))
            for index, v in zip(logits.order, values, strict=True)
        ]
        traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": when,
                "x": shorts(values),
                "y": list(logits.names),
                "text": text,
                "textposition": "outside",
                "cliponaxis": False,
                "textfont": {"size": 12, "color": colour["ink"]},
                "marker": {"color": tint if filled else colour["background"], "line": {"color": tint, "width": 1.5}},
                "hovertemplate": "%{y}: %{x:.4g}<extra>" + when + "</extra>",
            }
        )
    span = np.concatenate(pairs)
    pad = 0.3 * float(span.max() - min(span.min(), 0) or 1)  # for the numbers, in a narrow picture too
    layout = theme.layout(
        dark,
        height=90 + (46 if variant in STEPS else 30) * len(logits.names),
        margin={"l": 90, "r": 16, "t": 34, "b": 48},
        barmode="group",
        bargap=0.25,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        xaxis={
            "title": {"text": "logit, centred and scaled to its largest" if compare else "logit"},
            "range": [min(float(span.min()), 0.0) - (pad if span.min() < 0 else 0), max(float(span.max()), 0.0) + pad],
            "zeroline": True,
            "zerolinecolor": colour["muted"],
        },
        yaxis={"autorange": "reversed", "ticks": ""},
    )
    return Figure(traces, layout)


def table(logits: Logits) -> pd.DataFrame:
    """One row a class: logits before and after, raw and relative."""
    return pd.DataFrame(
        {
            "class": logits.names,
            "before": logits.before,
            "after": logits.after,
            "before, relative": relative(logits.before),
            "after, relative": relative(logits.after),
        }
    )
