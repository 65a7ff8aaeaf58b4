"""Score histograms: one panel per OOD set with the ID set, threshold, accepted part, and outlines without shaping."""

import math
import textwrap

import numpy as np

from app import theme
from app.charts.axes import round_top
from app.charts.bins import Bars, Histograms, Scale, bar_id
from app.charts.plain import Figure, Part
from app.charts.score_words import fpr_name, short, shorts, span_text

LONG = 24  # letters of a set's name beside which its numbers would not fit on a phone
SINGLE, ROW, GAP = 300, 74, 46  # heights in pixels of the plot area and of the title line between two rows
AXIS_TITLES = {
    "relative": "(score \N{MINUS SIGN} threshold) / ID inter-quartile range",
    "rank": "share of ID images with a lower score (%)",
}


def axis_title(axis: str, score: str) -> str:
    """What the horizontal axis shows."""
    raw = "log-odds of the max softmax" if score == "msp" else "score"
    return AXIS_TITLES.get(axis, raw)


def ticks(scale: Scale, tpr: float) -> Part:
    """Tick positions and texts: round numbers, the threshold, `<` and `>` under the bars that collect the rest."""
    low, high = scale.left[1], scale.right[-2 if scale.above else -1]
    raw = (high - low) / 7
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * k for k in (1, 2, 2.5, 5, 10) if power * k >= raw)
    inside = np.arange(math.ceil(low / step + 1e-9), math.floor(high / step + 1e-9) + 1) * step
    if scale.axis != "rank":
        inside = inside[(inside > low + step / 4) & (inside < high - step / 4)]
    first = "below all" if scale.axis == "rank" else f"< {theme.number(low)}"
    values, texts = [(scale.left[0] + scale.right[0]) / 2, *inside], [first, *map(theme.number, shorts(inside))]
    if scale.above:
        values, texts = [*values, (scale.left[-1] + scale.right[-1]) / 2], [*texts, f"> {theme.number(high)}"]
    mark = f"<br><b>{tpr:g} % of ID accepted \N{RIGHTWARDS ARROW}</b>"
    if scale.axis == "relative":
        texts[values.index(0.0)] += mark
    else:
        values, texts = [*values, scale.at], [*texts, mark]
    return {"tickvals": shorts(values), "ticktext": texts, "tickangle": 0}


def bar_trace(bars: Bars, scale: Scale, first: int, last: int, score: str) -> Part:
    """Bins first..last - 1 of one data set as bars; customdata: id, scores in words, count, size of the set."""
    bins = [k for k in range(first, last) if bars.counts[k]]  # the outline of an empty bar would be a line
    width = np.subtract(scale.right, scale.left)
    cuts = scale.cuts
    return {
        "type": "bar",
        "x": shorts([(scale.left[k] + scale.right[k]) / 2 for k in bins]),
        "width": shorts(width[bins]),
        "y": shorts(bars.heights(scale)[bins]),
        "customdata": [
            [bar_id(bars.name, scale, k), span_text(cuts[k], cuts[k + 1], score), bars.counts[k], bars.n] for k in bins
        ],
        "hovertemplate": f"{bars.label}<br>%{{customdata[1]}}<br>"
        "%{customdata[2]:,} of %{customdata[3]:,} images<extra></extra>",
    }


def _outline(bars: Bars, scale: Scale, colour: str, dash: str) -> Part:
    """The edge of a histogram as a line, without the bins that collect the rest."""
    inside = range(1, len(scale.left) - (1 if scale.above else 0))
    held = [k for k in inside if bars.counts[k]] or [1]
    first, last = held[0], held[-1]
    heights = bars.heights(scale)[first : last + 1]
    left, right = scale.left[first], scale.right[last]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": shorts([left, *scale.left[first : last + 1], right, right]),
        "y": shorts([0, *heights, heights[-1], 0]),
        "line": {"shape": "hv", "width": 1.3, "color": colour, "dash": dash},
        "hoverinfo": "skip",
        "visible": True,
    }


def hatching(dark: bool) -> Part:
    """The pattern of what is wrongly accepted."""
    colour = theme.colours(dark)["ood"]
    return {
        "shape": "/",
        "fgcolor": colour,
        "bgcolor": "rgba(0,0,0,0)",
        "fillmode": "replace",
        "size": 6,
        "solidity": 0.45,
    }


def _faded(opacity: float) -> Part:
    """How the other bars look while one is chosen: still readable."""
    return {"unselected": {"marker": {"opacity": opacity}}}


def panel_traces(record: Histograms, bars: Bars, score: str, dark: bool) -> list[Part]:
    """ID bars, rejected and accepted OOD bars, and the two outlines without shaping."""
    colour, scale = theme.colours(dark), record.scale
    edge, hatch = {"color": colour["ood"], "width": 1}, hatching(dark)
    traces = [
        {
            "name": f"{record.id.label} (ID)",
            "marker": {"color": colour["id"], "opacity": 0.45, "line": {"width": 0}},
            **_faded(0.3),
        }
        | bar_trace(record.id, scale, 0, len(scale.left), score),
        {"name": "OOD, rejected", "marker": {"color": colour["ood"], "opacity": 0.55, "line": edge}, **_faded(0.35)}
        | bar_trace(bars, scale, 0, scale.line, score),
        {"name": "OOD, accepted", "marker": {"color": colour["ood"], "pattern": hatch, "line": edge}, **_faded(0.65)}
        | bar_trace(bars, scale, scale.line, len(scale.left), score),
    ]
    if record.before:
        old, fits = {one.name: one for one in record.before}, record.before_scale is not None
        ghost = {} if fits else {"x": [], "y": [], "visible": False}  # there all the same: a percentile on, it may fit
        before = record.before_scale or scale
        line = {"name": "ID without shaping"} | _outline(old[record.id.name], before, colour["id"], "dot") | ghost
        if record.scale.axis != "rank":  # there the ID set is flat by definition
            traces.append(line)
        outline = _outline(old[bars.name], before, colour["ink"], "solid")
        traces.append({"name": "OOD without shaping"} | outline | ghost)
    return traces


def _panel_title(record: Histograms, bars: Bars) -> str:
    assert bars.auroc is not None
    area = theme.percent(100 * bars.auroc)
    numbers = f"{fpr_name(record.tpr)} {theme.percent(bars.share)}, AUROC {area}"
    return titled(bars.label, numbers)


def titled(label: str, numbers: str, half: bool = False) -> str:
    """What stands above a panel of a set: its name and its numbers, in lines that a phone has room for.

    `half`: of a panel that is half as wide; the numbers have a line of their own, the name two at the most.
    """
    if half:
        name = "<br>".join(textwrap.wrap(label, LONG, max_lines=2, placeholder="\N{HORIZONTAL ELLIPSIS}"))
        return f"<b>{name}</b><br>{numbers}"
    return f"<b>{label}</b>{'<br>' if len(label) > LONG else ': '}{numbers}"


def _top(record: Histograms, bars: Bars) -> float:
    """The upper end of a panel's axis: the next round number, so that it stays while p moves a little."""
    drawn = [(bars, record.scale), (record.id, record.scale)]
    if record.before_scale is not None:
        drawn += [(one, record.before_scale) for one in record.before if one.name == bars.name]
    highest = 1.12 * max(float(one.heights(scale).max()) for one, scale in drawn)
    return min(round_top(max(highest, 1.0)), 112.0)


def _annotations(record: Histograms, bars: Bars, top: float, dark: bool) -> list[Part]:
    ink = theme.colours(dark)["ink"]
    plain = {"showarrow": False, "yref": "paper", "font": {"color": ink, "size": 13}}
    title = {
        "text": _panel_title(record, bars),
        "x": 0,
        "xref": "paper",
        "xanchor": "left",
        "y": top,
        "yanchor": "bottom",
        "align": "left",
    }
    label = (
        f"\N{SQUARE WITH UPPER RIGHT TO LOWER LEFT FILL} {theme.count(bars.accepted)} of {theme.count(bars.n)} accepted"
    )
    count = {"text": label, "x": 1, "xref": "paper", "xanchor": "right", "y": top, "yanchor": "top"}
    background = {"bgcolor": theme.colours(dark)["background"], "opacity": 0.9, "borderpad": 1}
    return [plain | title, plain | count | background]


def figure(record: Histograms, score: str, dark: bool) -> Figure:
    """One panel under the other on one x axis; each with its OOD set's FPR and AUROC in its title."""
    rows = len(record.ood)
    plot = SINGLE if rows == 1 else ROW
    area = rows * plot + (rows - 1) * GAP
    data: list[Part] = []
    layout: Part = {"annotations": [], "shapes": []}
    for row, bars in enumerate(record.ood):
        top = 1 - row * (plot + GAP) / area
        bottom, axis = top - plot / area, "y" if row == 0 else f"y{row + 1}"
        for trace in panel_traces(record, bars, score, dark):
            data.append(trace | {"yaxis": axis, "xaxis": "x", "legendgroup": trace["name"], "showlegend": row == 0})
        layout[axis.replace("y", "yaxis")] = {
            "title": {"text": "% of the set", "font": {"size": 13 if rows == 1 else 11}},
            "domain": [round(max(bottom, 0.0), 6), round(top, 6)],
            "range": [0, _top(record, bars)],
            "nticks": 6 if rows == 1 else 3,
            "fixedrange": True,
            "anchor": "x",
        }
        layout["shapes"].append(threshold_line(record.scale.at, dark, axis))
        layout["annotations"] += _annotations(record, bars, round(top, 6), dark)
    layout["xaxis"] = x_axis(record, score, f"y{rows}" if rows > 1 else "y")
    chosen = theme.layout(
        dark, height=area + 150, barmode="overlay", bargap=0, margin={"l": 52, "r": 12, "t": 84, "b": 56}
    )
    chosen["legend"] = {"y": 1 + 42 / area, "x": 0, "font": {"size": 12}, "itemsizing": "constant"}
    return Figure(data, chosen | layout)


def x_axis(record: Histograms, score: str, anchor: str = "y") -> Part:
    """The score axis under the lowest panel: title, range, ticks, the threshold among them."""
    return {
        "title": {"text": axis_title(record.scale.axis, score), "font": {"size": 13}},
        "range": shorts(record.scale.span),
        "anchor": anchor,
        "zeroline": False,
        **ticks(record.scale, record.tpr),
    }


def threshold_line(at: float, dark: bool, axis: str = "y") -> Part:
    """The line between rejected and accepted, over the height of one panel."""
    ink = theme.colours(dark)["ink"]
    return {
        "type": "line",
        "x0": short(at),
        "x1": short(at),
        "y0": 0,
        "y1": 1,
        "yref": f"{axis} domain",
        "line": {"color": ink, "width": 2},
    }
