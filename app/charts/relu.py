"""The modified ReLU (the paper's Figure 4): what each variant makes of a value, with the thresholds of real images."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.charts.plain import Figure
from app.theme import ALGORITHMS, colours, layout, number, percent
from ash.methods import STEPS

HEIGHT = 560
PLAIN = "relu"  # the first panel: nothing is shaped
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Images:
    """One number an image of a group: threshold `t` (smallest kept value), ASH-B's `level` s1/k, ASH-S's `factor`."""

    role: str
    label: str
    t: Floats
    level: Floats
    factor: Floats
    high: float

    def median(self, values: Floats) -> float:
        """The value of the median image by threshold, so that all three numbers are one image's."""
        return float(values[np.argsort(self.t, kind="stable")[len(self.t) // 2]])


def finding(groups: tuple[Images, Images], p: float) -> str:
    """How the cut-off moves with the image."""
    from ash.metrics import auroc

    (a, b), (c, d) = (np.quantile(group.t, [0.1, 0.9]) for group in groups)
    larger = 100 * auroc(groups[0].t, groups[1].t)
    return (
        f"At p = {p:g} the cut-off lies between {number(a)} and {number(b)} for 80 % of the ID images and between "
        f"{number(c)} and {number(d)} for 80 % of the OOD images; the ID image has the higher one in {percent(larger)} "
        "of all pairs."
    )


def output(variant: str, x: Floats, group: Images) -> Floats:
    """What a variant makes of values x of the group's median image."""
    level, factor = np.full_like(x, group.median(group.level)), group.median(group.factor)
    made = {"prune": x, "fill": level, "scale": x * factor}[STEPS[variant].does]
    return np.where(x >= group.median(group.t), made, 0.0)


def figure(groups: tuple[Images, Images], dark: bool) -> Figure:
    """Four panels: ReLU, and the three variants at the median ID and OOD image; a band for 80 % of the thresholds."""
    colour, plot = colours(dark), Figure([], {})
    high = max(group.high for group in groups)
    x = np.linspace(-0.25 * high, high, 501)
    for panel, name in enumerate((PLAIN, *ALGORITHMS)):
        axes = {"xaxis": f"x{panel + 1}" if panel else "x", "yaxis": f"y{panel + 1}" if panel else "y"}
        if name == PLAIN:
            plot.data.append(_line(x, np.maximum(x, 0), "ReLU", colour["ink"], "solid", axes, False))
            continue
        for group, dash in zip(groups, ("solid", "dash"), strict=True):
            values = _broken(x, output(name, x, group), group.median(group.t))
            label = f"median {group.role.upper()} image"
            plot.data.append(_line(*values, label, colour[group.role], dash, axes, panel == 1))
    plot.layout = _layout(groups, x, dark)
    return plot


def _broken(x: Floats, y: Floats, t: float) -> tuple[Floats, Floats]:
    """The curve with a gap at its jump, so that the jump is no slope."""
    at = int(np.searchsorted(x, t))
    return np.insert(x, at, t), np.insert(y, at, np.nan)


def _line(
    x: Floats, y: Floats, name: str, colour: str, dash: str, axes: dict[str, str], legend: bool
) -> dict[str, Any]:
    shown = [None if np.isnan(value) else round(float(value), 4) for value in y]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [round(float(value), 4) for value in x],
        "y": shown,
        "line": {"color": colour, "dash": dash, "width": 2.2},
        "hovertemplate": "%{x:.3g} becomes %{y:.3g}<extra>" + name + "</extra>",
        "legendgroup": name,
        "showlegend": legend,
        **axes,
    }


def _layout(groups: tuple[Images, Images], x: Floats, dark: bool) -> dict[str, Any]:
    colour, found = colours(dark), {}
    shapes, notes = [], []
    for panel, name in enumerate((PLAIN, *ALGORITHMS)):
        number_ = str(panel + 1) if panel else ""
        left, bottom = 0.54 * (panel % 2), 0.57 * (panel < 2)
        top = max((float(output(name, x, group).max()) for group in groups), default=0.0) if name != PLAIN else x[-1]
        zero = {"zeroline": True, "zerolinecolor": colour["muted"], "zerolinewidth": 1}
        found[f"xaxis{number_}"] = {"domain": [left, left + 0.46], "anchor": f"y{number_}", "nticks": 6, **zero}
        found[f"yaxis{number_}"] = {
            "domain": [bottom, bottom + 0.4], "anchor": f"x{number_}", "nticks": 5, **zero,
            "range": [-0.08 * top, 1.08 * top],
        }  # fmt: skip
        label = "ReLU" if name == PLAIN else STEPS[name].label
        notes.append(
            {
                "text": f"<b>{label}</b>", "x": left, "xref": "paper", "xanchor": "left", "y": bottom + 0.4,
                "yref": "paper", "yanchor": "bottom", "showarrow": False,
            }
        )  # fmt: skip
        for group in groups if name != PLAIN else ():
            low, high = np.quantile(group.t, [0.1, 0.9])
            shapes.append(
                {
                    "type": "rect", "xref": f"x{number_}", "yref": f"y{number_} domain", "x0": float(low),
                    "x1": float(high), "y0": 0, "y1": 1, "fillcolor": colour[group.role], "opacity": 0.13,
                    "line": {"width": 0}, "layer": "below",
                }
            )  # fmt: skip
    for name in ("xaxis3", "xaxis4"):
        found[name]["title"] = {"text": "value of a unit"}
    for name in ("yaxis", "yaxis3"):
        found[name]["title"] = {"text": "after shaping"}
    return layout(
        dark, height=HEIGHT, margin={"l": 8, "r": 8, "t": 56, "b": 8}, shapes=shapes, annotations=notes, **found,
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.06, "x": 0},
    )  # fmt: skip
