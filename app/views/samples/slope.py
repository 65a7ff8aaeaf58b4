"""The leading classes before and after shaping as lines between two columns: who overtakes whom.

Softmax probabilities saturate (after ASH-S nearly all are 0 or 1), so they are written and not drawn: the height is the
logit, centred and scaled on each side by itself, which keeps the order and the gaps whatever the scale of the logits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app import theme
from app.charts.logits import relative
from app.charts.plain import Figure
from app.charts.score_words import score_text, short

TOP = 5
HEIGHT = 330  # pixels of the plot area
LINES = {1: 21, 2: 35}  # pixels between two labels, by their lines
ROOM = 20  # letters of a label that stand beside a phone's picture in one line
LETTERS = 16  # of a class in a label; the rest is in the hover text and the table

Pair = tuple[float, float]


@dataclass(frozen=True)
class Leader:
    """One class, (before, after): logit, log-odds of its softmax probability, rank (1 is the winner), height."""

    name: str
    logits: Pair
    log_odds: Pair
    ranks: tuple[int, int]
    heights: Pair


@dataclass(frozen=True)
class Slope:
    """The classes among the first TOP on either side, in the order after shaping."""

    leaders: tuple[Leader, ...]
    winners: tuple[str, str]


def record(before: NDArray[np.floating], after: NDArray[np.floating], classes: Sequence[str]) -> Slope:
    """The leading classes of logits (C,) before and after."""
    sides = [values.astype(np.float64) for values in (before, after)]
    orders = [np.argsort(-values, kind="stable") for values in sides]
    shown = sorted({int(c) for order in orders for c in order[:TOP]}, key=lambda c: -sides[1][c])
    heights = [relative(values) for values in sides]
    ranks = [np.argsort(order, kind="stable") + 1 for order in orders]
    odds = [{c: _log_odds(values, c) for c in shown} for values in sides]
    leaders = tuple(
        Leader(
            classes[c],
            (float(sides[0][c]), float(sides[1][c])),
            (odds[0][c], odds[1][c]),
            (int(ranks[0][c]), int(ranks[1][c])),
            (float(heights[0][c]), float(heights[1][c])),
        )
        for c in shown
    )
    return Slope(leaders, (classes[int(orders[0][0])], classes[int(orders[1][0])]))


def _log_odds(logits: NDArray[np.float64], index: int) -> float:
    """Log-odds of one class: its logit minus the log-sum-exp of the others, which does not saturate."""
    others = np.delete(logits, index)
    return float(logits[index] - np.logaddexp.reduce(others)) if len(others) else float("inf")


def finding(slope: Slope) -> str:
    """Who leads before and after, and with what probability."""
    old, new = slope.winners
    named = {leader.name: leader for leader in slope.leaders}
    before, after = (probability(named[name].log_odds[side]) for side, name in enumerate(slope.winners))
    if old == new:
        return f"{old} leads before and after: its softmax goes from {before} to {after}."
    return f"{new} (softmax {after} after) overtakes {old} (softmax {before} before)."


def probability(log_odds: float) -> str:
    """A softmax probability from its log-odds: `0.62`, `1 − 2e-08`, `below 1e-99`."""
    if abs(log_odds) > 228:  # 99 log 10: further digits say nothing
        return "1 \N{MINUS SIGN} less than 1e-99" if log_odds > 0 else "below 1e-99"
    return score_text(log_odds, "msp")


def spaced(wanted: Sequence[float], gap: float) -> list[float]:
    """Positions as near as possible to the wanted ones, in their order, at least `gap` apart."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    groups: list[list[float]] = []  # [sum of (wanted - offset), members]
    for i in order:
        groups.append([wanted[i], 1])
        while len(groups) > 1 and _centre(groups[-2], gap, last=True) + gap > _centre(groups[-1], gap, last=False):
            total, members = groups.pop()
            groups[-1] = [groups[-1][0] + total, groups[-1][1] + members]
    found = []
    for total, members in groups:
        first = total / members - gap * (members - 1) / 2
        found += [first + gap * k for k in range(int(members))]
    placed = [0.0] * len(wanted)
    for i, at in zip(order, found, strict=True):
        placed[i] = at
    return placed


def _centre(group: list[float], gap: float, last: bool) -> float:
    """Where the first or the last member of a group stands."""
    total, members = group
    half = gap * (members - 1) / 2
    return total / members + (half if last else -half)


def figure(slope: Slope, variant: str, dark: bool) -> Figure:
    """A line a class from the left column to the right one, labels at both ends; the winner after shaping is thick."""
    colour = theme.colours(dark)
    heights = np.array([leader.heights for leader in slope.leaders])
    low, high = float(heights.min()), float(heights.max())
    span = (high - low) or 1.0
    texts = [[_label(leader, slope, side) for leader in slope.leaders] for side in (0, 1)]
    gap = LINES[2 if any("<br>" in text for side in texts for text in side) else 1] / HEIGHT * 1.2 * span
    labels = [spaced(heights[:, side].tolist(), gap) for side in (0, 1)]
    bottom = min(low, *labels[0], *labels[1]) - 0.6 * gap
    top = max(high, *labels[0], *labels[1]) + 0.6 * gap
    layout = theme.layout(
        dark,
        height=HEIGHT + 50,
        margin={"l": 8, "r": 8, "t": 34, "b": 12},
        showlegend=False,
        hovermode="closest",
        xaxis={"range": [-1.5, 2.5], "visible": False, "fixedrange": True},
        yaxis={"range": [bottom, top], "visible": False, "fixedrange": True},
        annotations=[*_heads(colour), *_labels(texts, labels, colour)],
    )
    return Figure([_line(leader, slope, variant, colour) for leader in slope.leaders], layout)


def _line(leader: Leader, slope: Slope, variant: str, colour: dict[str, str]) -> dict[str, Any]:
    wins = leader.name == slope.winners[1]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": leader.name,
        "x": [0, 1],
        "y": [short(one) for one in leader.heights],
        "text": [
            f"{when}: rank {rank}, logit {theme.number(logit)}, softmax {probability(odds)}"
            for when, rank, logit, odds in zip(
                ("before", "after"), leader.ranks, leader.logits, leader.log_odds, strict=True
            )
        ],
        "line": {"color": colour[variant] if wins else colour["muted"], "width": 3.5 if wins else 1.3},
        "marker": {"size": 10 if wins else 7, "symbol": "star" if wins else "circle"},
        "hovertemplate": leader.name + "<br>%{text}<extra></extra>",
    }


def _heads(colour: dict[str, str]) -> list[dict[str, Any]]:
    plain = {"showarrow": False, "yref": "paper", "y": 1, "yanchor": "bottom", "font": {"color": colour["ink"]}}
    return [
        {**plain, "x": 0, "xanchor": "right", "text": "<b>before</b>"},
        {**plain, "x": 1, "xanchor": "left", "text": "<b>after</b>"},
    ]


def _label(leader: Leader, slope: Slope, side: int) -> str:
    """Rank, class and probability at one end of a line, in two lines where a phone has no room for one."""
    wins = leader.name == slope.winners[side]
    short_name = leader.name if len(leader.name) <= LETTERS else leader.name[: LETTERS - 1] + "…"
    name = f"★ {short_name}" if wins else f"{leader.ranks[side]}. {short_name}"
    value = probability(leader.log_odds[side])
    break_ = "<br>" if len(name) + len(value) > ROOM else "  "
    return f"{f'<b>{name}</b>' if wins else name}{break_}{value}"


def _labels(texts: list[list[str]], at: list[list[float]], colour: dict[str, str]) -> list[dict[str, Any]]:
    """The labels beside both ends."""
    found = []
    for side, (x, anchor, shift) in enumerate(((0, "right", -10), (1, "left", 10))):
        for text, y in zip(texts[side], at[side], strict=True):
            found.append(
                {
                    "x": x,
                    "y": y,
                    "xanchor": anchor,
                    "align": anchor,
                    "xshift": shift,
                    "yanchor": "middle",
                    "showarrow": False,
                    "text": text,
                    "font": {"size": 12, "color": colour["ink"]},
                }
            )
    return found


def table(slope: Slope) -> pd.DataFrame:
    """One row a class: rank, logit and softmax before and after."""
    columns: dict[str, list[Any]] = {"class": [leader.name for leader in slope.leaders]}
    for side, when in enumerate(("before", "after")):
        columns[f"rank {when}"] = [leader.ranks[side] for leader in slope.leaders]
        columns[f"logit {when}"] = [leader.logits[side] for leader in slope.leaders]
        columns[f"softmax {when}"] = [probability(leader.log_odds[side]) for leader in slope.leaders]
    return pd.DataFrame(columns)
