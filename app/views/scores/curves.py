"""ROC and precision-recall pictures of one method against each OOD set, with the point of the threshold."""

from collections.abc import Mapping
from typing import Any

from app import theme
from app.charts.plain import Figure
from app.charts.score_words import score_text
from app.charts.scores import titled
from app.views.scores.roc_pr import Curve, Kind

NAMES: dict[str, tuple[str, ...]] = {
    "roc": ("FPR: OOD accepted (%)", "TPR: ID accepted (%)"),
    "pr": ("Recall: ID accepted (%)", "Precision: share of ID among the accepted (%)"),
}
PANEL, GAP = 200, 74  # pixels of one panel of many, and between two rows


def _line(one: Curve, first: bool, variant: str, score: str, dark: bool) -> dict[str, Any]:
    colour = theme.colours(dark)
    x, y = ("FPR", "TPR") if one.kind == "roc" else ("Recall (TPR)", "Precision")
    paint = colour[variant] if first else colour["muted"]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": one.method,
        "x": one.x,
        "y": one.y,
        "customdata": [score_text(value, score) for value in one.thresholds],
        "line": {"color": paint, "width": 2.6 if first else 1.3, "dash": "solid" if first else "dash"},
        "hovertemplate": f"{one.method}<br>threshold %{{customdata}}<br>"
        f"{y} %{{y:.1f}} %<br>{x} %{{x:.1f}} %<extra></extra>",
    }


def _chance(one: Curve, dark: bool) -> dict[str, Any]:
    """What a score without any information gives."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "no information",
        "x": [0, 100],
        "y": [0, 100] if one.kind == "roc" else [one.base, one.base],
        "line": {"color": theme.colours(dark)["muted"], "width": 1, "dash": "dot"},
        "hoverinfo": "skip",
        "legendgroup": "chance",
    }


def _point(one: Curve, first: bool, variant: str, tpr: float, dark: bool) -> dict[str, Any]:
    colour = theme.colours(dark)
    marker: dict[str, Any] = {"size": 11 if first else 8, "color": colour[variant] if first else colour["background"]}
    marker |= {"symbol": "circle" if first else "circle-open", "line": {"color": colour["ink"], "width": 1.5}}
    if not first:
        marker["color"] = colour["ink"]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"threshold at {tpr:g} % TPR",
        "x": [one.x[one.point]],
        "y": [one.y[one.point]],
        "marker": marker,
        "hoverinfo": "skip",
        "showlegend": False,
    }


def figure(record: Mapping[str, tuple[Curve, ...]], variant: str, score: str, tpr: float, dark: bool) -> Figure:
    """One panel per OOD set in two columns (one set: one panel); the marker is the threshold of the page."""
    columns = 1 if len(record) == 1 else 2
    rows, large = -(-len(record) // columns), columns == 1
    plot = 380 if large else PANEL
    area, low = rows * plot + (rows - 1) * GAP, _lowest(record)
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = {"annotations": []}
    for index, (label, lines) in enumerate(record.items()):
        row, column = divmod(index, columns)
        number = "" if index == 0 else str(index + 1)
        axes = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
        data.append(_chance(lines[0], dark) | axes | {"showlegend": index == 0})
        for which, one in enumerate(lines):
            drawn = _line(one, which == 0, variant, score, dark)
            data += [drawn | axes | {"legendgroup": one.method, "showlegend": index == 0}]
            data += [_point(one, which == 0, variant, tpr, dark) | axes | {"legendgroup": one.method}]
        top = round(1 - row * (plot + GAP) / area, 6)
        x = (0.0, 1.0) if large else (0.0, 0.46) if column == 0 else (0.54, 1.0)
        y = (max(round(top - plot / area, 6), 0.0), top)
        titles = (index + columns >= len(record), column == 0)
        layout |= _axes(lines[0].kind, number, x, y, low, titles, large)
        layout["annotations"].append(_title(label, lines, x[0], top, large))
    room = 16 * max(note["text"].count("<br>") for note in layout["annotations"][:columns])  # of lines below a first
    chosen = theme.layout(dark, height=area + 130 + room, margin={"l": 56, "r": 12, "t": 70 + room, "b": 52})
    chosen["legend"] = {"y": 1 + (26 + room) / area, "x": 0, "font": {"size": 12}}
    return Figure(data, chosen | layout)


def _lowest(record: Mapping[str, tuple[Curve, ...]]) -> float:
    """Where the vertical axes start: precision often lives between its base rate and 100 %."""
    lines = [one for both in record.values() for one in both]
    if lines[0].kind == "roc":
        return 0.0
    seen = [y for one in lines for x, y in zip(one.x, one.y, strict=True) if x >= 5] + [one.base for one in lines]
    return 10.0 * int((min(seen) - 1e-9) // 10)


def _axes(
    kind: Kind,
    number: str,
    x: tuple[float, float],
    y: tuple[float, float],
    low: float,
    titles: tuple[bool, bool],
    large: bool,
) -> dict[str, Any]:
    names = NAMES[kind] if large else tuple(name.split(":")[0] + " (%)" for name in NAMES[kind])
    texts = [{"text": name if wanted else "", "font": {"size": 13}} for name, wanted in zip(names, titles, strict=True)]
    edge = (100 - low) / 60
    horizontal = {
        "range": [-1.5, 101.5],
        "tickvals": [0, 25, 50, 75, 100] if large else [0, 50, 100],
        "zeroline": False,
    }
    vertical = {"range": [low - edge, 100 + edge], "nticks": 6, "zeroline": False}
    return {
        f"xaxis{number}": horizontal | {"domain": x, "anchor": f"y{number}", "title": texts[0]},
        f"yaxis{number}": vertical | {"domain": y, "anchor": f"x{number}", "title": texts[1]},
    }


def _title(label: str, lines: tuple[Curve, ...], left: float, top: float, large: bool) -> dict[str, Any]:
    name = "AUROC" if lines[0].kind == "roc" else "AUPR"
    areas = f"{name} {theme.percent(lines[0].area)}"
    if len(lines) > 1:
        areas += f" (was {lines[1].area:.1f})"
    return {
        "text": titled(label, areas, half=not large),
        "align": "left",
        "xref": "paper",
        "yref": "paper",
        "x": left,
        "y": top,
        "xanchor": "left",
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"size": 13 if large else 12},
    }
