"""Distributions over whole sets: the values before and after shaping (Figure 6), and one number of every image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app import theme
from app.charts.axes import round_top
from app.charts.plain import Figure, bar, scatter
from app.charts.ranked import Bins, Counts
from app.charts.score_words import shorts
from ash.methods import Method

Floats = NDArray[np.floating]
ROLES = ("id", "ood")
BARS = 40
LEAST = 1e-3  # percent of the values, the smallest bar drawn
SUM = "sum s1 of all values of an image"


@dataclass(frozen=True)
class Group:
    """One group of images: shares (count,) of its values, and the shares that are 0 or negative as (before, after)."""

    role: str
    label: str
    images: int
    before: Floats
    after: Floats
    zeros: tuple[float, float]
    negative: tuple[float, float]


@dataclass(frozen=True)
class Distribution:
    """ID and OOD values over the same bins."""

    within: Bins
    groups: tuple[Group, Group]


def distribution(
    within: Bins, labels: Sequence[str], before: Sequence[Counts], after: Sequence[Counts]
) -> Distribution:
    """Counts of the ID and of the OOD images as shares: bars and zeros of a group add up to 1."""
    groups = []
    for role, label, old, new in zip(ROLES, labels, before, after, strict=True):
        zeros, negative = (
            (old.zeros / old.total, new.zeros / new.total),
            (old.negative / old.total, new.negative / new.total),
        )
        groups.append(Group(role, label, old.rows, old.bars / old.total, new.bars / new.total, zeros, negative))
    return Distribution(within, (groups[0], groups[1]))


def zeros_text(group: Group) -> str:
    """`Exact zeros: 41.2 % → 90.1 %`, before and after."""
    before, after = (theme.percent(100 * share) for share in group.zeros)
    return f"Exact zeros: {before} \N{RIGHTWARDS ARROW} {after}"


def values_finding(record: Distribution, method: Method) -> str:
    """One sentence on what shaping did to both groups."""
    one, two = record.groups
    if not method.steps:
        return (
            f"Without shaping, {theme.percent(100 * one.zeros[0])} of the ID values and "
            f"{theme.percent(100 * two.zeros[0])} of the OOD values are exactly 0."
        )
    if method.does == "logits":
        return (
            f"{method.label} leaves every value as it is and multiplies the logits alone: "
            f"{theme.percent(100 * one.zeros[0])} of the ID values and {theme.percent(100 * two.zeros[0])} of the OOD "
            "values are exactly 0."
        )
    return (
        f"{method.label} takes the share of exact zeros from {theme.percent(100 * one.zeros[0])} to "
        f"{theme.percent(100 * one.zeros[1])} for ID and from {theme.percent(100 * two.zeros[0])} to "
        f"{theme.percent(100 * two.zeros[1])} for OOD."
    )


def interval(within: Bins, index: int) -> str:
    """A bin in words; the outer ones are open."""
    edges = 10**within.edges if within.log else within.edges
    low, high = theme.number(edges[index]), theme.number(edges[index + 1])
    if index == 0:
        return f"below {high}"
    return f"{low} or more" if index == within.count - 1 else f"{low} to {high}"


def values_figure(record: Distribution, shaped: bool, dark: bool) -> Figure:
    """ID above OOD on one axis: outline before, filled after if `shaped`, share of the values on a log axis."""
    colour, within = theme.colours(dark), record.within
    traces: list[dict[str, Any]] = []
    edges = within.edges
    names = [interval(within, index) for index in range(within.count)]
    floor = _floor(record)
    for row, group in enumerate(record.groups, start=1):
        axes = {"xaxis": "x", "yaxis": "y" if row == 1 else f"y{row}"}
        filled = {
            "type": "bar",
            "name": "after",
            "x": ((edges[:-1] + edges[1:]) / 2).tolist(),
            "y": shorts(100 * group.after),
            "width": within.step,
            "marker": {"color": colour[group.role], "opacity": 0.75, "line": {"width": 0}},
            "customdata": names,
            "hovertemplate": "%{customdata}: %{y:.3g} % of the values<extra>" + f"{group.role.upper()}, after</extra>",
        }
        if group.role == "ood":
            hatch = {"shape": "/", "size": 6, "solidity": 0.25, "fillmode": "overlay", "fgcolor": colour["background"]}
            filled["marker"]["pattern"] = hatch
        outline = {
            "type": "scatter",
            "mode": "lines",
            "name": "before",
            "x": edges.tolist(),
            "y": [max(one, floor / 10) for one in shorts(100 * np.append(group.before, group.before[-1]))],
            "line": {"shape": "hv", "color": colour["ink"], "width": 1.8, "dash": "solid" if row == 1 else "dot"},
            "hoverinfo": "skip",
        }
        traces += [{**one, **axes, "showlegend": False} for one in ([filled] if shaped else [])]
        traces.append({**outline, **axes, "showlegend": False})
    return Figure(traces, _values_layout(record, dark, floor))


def _floor(record: Distribution) -> float:
    """Lower end of the share axis in percent: the decade of the smallest bar, but not below LEAST."""
    shares = np.concatenate([np.concatenate([group.before, group.after]) for group in record.groups])
    smallest = shares[shares > 0].min(initial=1.0)
    return float(10 ** np.floor(np.log10(max(100 * smallest, LEAST))))


def _values_layout(record: Distribution, dark: bool, floor: float) -> dict[str, Any]:
    within, colour = record.within, theme.colours(dark)
    share = {"type": "log", "range": [float(np.log10(floor)), 2.0], "title": {"text": "% of values"}, "dtick": 1}
    share |= {"tickformat": "~g", "exponentformat": "none"}
    notes = [
        {
            "text": f"<b>{group.role.upper()}</b>: {group.label}, {theme.count(group.images)} images<br>"
            + zeros_text(group),
            "x": 0,
            "xref": "paper",
            "xanchor": "left",
            "xshift": -48,  # over the axis, too, so that it fits beside another column
            "yshift": 7,  # above its highest number
            "y": top,
            "yref": "paper",
            "yanchor": "bottom",
            "showarrow": False,
            "align": "left",
            "font": {"size": 13, "color": colour["ink"]},
        }
        for group, top in zip(record.groups, (1.0, 0.42), strict=True)
    ]
    return theme.layout(
        dark,
        height=470,
        margin={"l": 56, "r": 12, "t": 52, "b": 48},
        bargap=0,
        barmode="overlay",
        xaxis={
            "title": {"text": "value of a unit" + (" (log)" if within.log else "")},
            "anchor": "y2",
            **_value_ticks(within),
        },
        yaxis={**share, "domain": [0.58, 1.0]},
        yaxis2={**share, "domain": [0.0, 0.42]},
        annotations=notes,
    )


def _value_ticks(within: Bins) -> dict[str, Any]:
    ends = {"range": [float(within.edges[0]), float(within.edges[-1])]}
    if not within.log:
        return ends
    first, last = int(np.ceil(within.edges[0])), int(np.floor(within.edges[-1]))
    every = max(1, (last - first) // 6)
    exponents = list(range(first, last + 1, every))
    texts = [f"{10.0**e:g}" if -4 <= e <= 4 else f"10<sup>{e}</sup>" for e in exponents]
    return {**ends, "tickvals": exponents, "ticktext": texts}


def values_table(record: Distribution) -> pd.DataFrame:
    """One row per bin and one for exact zeros; shares in percent."""
    columns: dict[str, Any] = {
        "value": ["exactly 0", *(interval(record.within, i) for i in range(record.within.count))]
    }
    for group in record.groups:
        for when, zeros, shares in zip(("before", "after"), group.zeros, (group.before, group.after), strict=True):
            columns[f"{group.role.upper()} {when} (%)"] = 100 * np.concatenate([[zeros], shares])
    return pd.DataFrame(columns)


@dataclass(frozen=True)
class Quantity:
    """One number an image: shares (bars,) of (ID, OOD) between `edges`; `wins`: share of pairs where ID is larger."""

    name: str
    edges: Floats
    shares: tuple[Floats, Floats]
    medians: tuple[float, float]
    wins: float


def quantity(name: str, id_values: Floats, ood_values: Floats) -> Quantity:
    """Histogram of one number an image; the outer 0.5 % at either end are counted in the outer bars."""
    from ash.metrics import auroc

    low, high = np.quantile(np.concatenate([id_values, ood_values]), [0.005, 0.995])
    if not high > low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, BARS + 1)
    shares = [np.histogram(one.clip(low, high), edges)[0] / len(one) for one in (id_values, ood_values)]
    medians = float(np.median(id_values)), float(np.median(ood_values))
    return Quantity(name, edges, (shares[0], shares[1]), medians, auroc(id_values, ood_values))


def quantity_finding(record: Quantity) -> str:
    """Which side is larger, and how often."""
    larger, share = ("ID", record.wins) if record.wins >= 0.5 else ("OOD", 1 - record.wins)
    name = record.name[0].upper() + record.name[1:]
    return (
        f"{name}: median {theme.number(record.medians[0])} for ID, {theme.number(record.medians[1])} for OOD; "
        f"the {larger} image has the larger one in {theme.percent(100 * share)} of all ID-OOD pairs."
        if 0.5 < share < 1
        else f"{name}: median {theme.number(record.medians[0])} for ID, {theme.number(record.medians[1])} for OOD."
    )


def quantity_figure(record: Quantity, dark: bool) -> Figure:
    """ID filled, OOD as a dashed outline, medians as named lines."""
    colour, edges = theme.colours(dark), record.edges
    filled = bar(
        name="ID",
        x=((edges[:-1] + edges[1:]) / 2).tolist(),
        y=shorts(100 * record.shares[0]),
        width=float(edges[1] - edges[0]),
        marker={"color": colour["id"], "opacity": 0.6, "line": {"width": 0}},
        hovertemplate="%{x:.4g}: %{y:.3g} % of the images<extra>ID</extra>",
    )
    outline = scatter(
        name="OOD",
        x=edges.tolist(),
        y=shorts(100 * np.append(record.shares[1], record.shares[1][-1])),
        mode="lines",
        line={"shape": "hv", "color": colour["ood"], "width": 2.2, "dash": "dash"},
        hovertemplate="%{x:.4g}: %{y:.3g} % of the images<extra>OOD</extra>",
    )
    layout = theme.layout(
        dark,
        height=300,
        margin={"l": 56, "r": 12, "t": 30, "b": 48},
        bargap=0,
        xaxis={"title": {"text": record.name}, "range": [float(edges[0]), float(edges[-1])]},
        yaxis={
            "title": {"text": "% of images"},
            "range": [0.0, round_top(105 * max(one.max() for one in record.shares))],
        },
    )
    return Figure([filled, outline], layout)


def quantity_table(record: Quantity) -> pd.DataFrame:
    """One row per bar; shares in percent."""
    low, high = record.edges[:-1], record.edges[1:]
    return pd.DataFrame({"from": low, "to": high, "ID (%)": 100 * record.shares[0], "OOD (%)": 100 * record.shares[1]})


def explained(method: Method) -> str:
    """The per-image number that decides what this variant does, as an axis title."""
    return {
        "scale": "exponent s1/s2",
        "multiply": "exponent s1/s2",
        "logits": "ratio s1/s2",
        "prune": "sum s2 of the kept values",
        "random": "sum s2 of the kept values",
    }.get(method.does, "")
