"""Colours, symbols, dashes, numbers and lists as text, the same on every page.

Never colour alone: each variant has its mark. Pure (no streamlit): charts take `dark` as an argument, and
`app.ui.plot.dark()` reads it from the browser.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ash.methods import STEPS, VARIANTS
from ash.variants import PRUNING

ALGORITHMS = tuple(name for name in PRUNING if STEPS[name].does != "random")
"""The variants of the paper's Algorithms 1 to 3, in its order."""


@dataclass(frozen=True)
class Mark:
    """How one variant is drawn: plotly symbol and dash, and the sign in front of its name in a list."""

    symbol: str
    dash: str
    sign: str


class _Marks(dict[str, Mark]):
    """Variants by name; one that the user has registered has a mark of those that are left."""

    def __missing__(self, name: str) -> Mark:
        own = VARIANTS.users()
        return SPARE[own.index(name) % len(SPARE)] if name in own else OTHER


SPARE = (
    Mark("star", "8px,2px", "★"),
    Mark("hexagon", "2px,6px", "⬢"),
    Mark("pentagon", "10px,4px,2px,4px", "⬟"),
    Mark("cross", "12px,3px", "✚"),
)
OTHER = Mark("hexagon", "dot", "⬢")  # fitted methods, global thresholds, several steps
MARKS: dict[str, Mark] = _Marks(
    {
        "none": Mark("circle-open", "dot", "○"),
        "ash_p": Mark("triangle-up", "dash", "▲"),
        "ash_b": Mark("square", "solid", "■"),
        "ash_s": Mark("circle", "longdash", "●"),
        "ash_rand": Mark("x", "dashdot", "✕"),
        "react": Mark("diamond-open", "longdashdot", "◇"),
        "scale": Mark("triangle-down", "6px,2px,2px,2px", "▼"),
        "lts": Mark("diamond", "14px,4px", "◆"),
        "bfact": Mark("square-open", "4px,6px", "□"),
    }
)
_SCREENS_AND_PAPER = {
    "background": ("#FFFFFF", "#11161D", "#FFFFFF"),
    "panel": ("#F4F6F8", "#1B222C", "#FFFFFF"),
    "ink": ("#0F172A", "#E5E7EB", "#444"),
    "muted": ("#5B6472", "#A3ADBA", "#444"),
    "grid": ("#E3E7EC", "#2C3541", "#DDD"),
    "ash_p": ("#0072B2", "#56B4E9", "#0072B2"),
    "ash_b": ("#B84A00", "#E69F00", "#B84A00"),
    "ash_s": ("#00795A", "#009E73", "#00795A"),
    "ash_rand": ("#A8497B", "#CC79A7", "#A8497B"),
    "scale": ("#7B4FC9", "#B79CF2", "#6A3FB8"),
    "lts": ("#8A6D00", "#F0E442", "#7A6000"),
    "id": ("#0072B2", "#56B4E9", "#0072B2"),
    "ood": ("#B84A00", "#E69F00", "#B84A00"),
}  # role or variant -> colour on a light screen, on a dark one, and in print
OBJECTIVE_LABELS: dict[str, str] = {
    "id_accuracy": "ID accuracy",
    "auroc": "AUROC",
    "fpr95": "FPR95",
    "aupr": "AUPR",
}
LOWER_IS_BETTER = frozenset({"fpr95"})


class _Colours(dict[str, str]):
    """Steps without a colour of their own are drawn in ink: ReAct, BFAct, what is fitted, plug-ins; no shaping too."""

    def __missing__(self, name: str) -> str:
        if name not in VARIANTS and name not in STEPS:
            raise KeyError(name)
        return self["ink"]


_LIGHT, _DARK, PAPER = (
    _Colours({name: three[kind] for name, three in _SCREENS_AND_PAPER.items()}) for kind in range(3)
)


def colours(dark: bool) -> dict[str, str]:
    """Role or variant name -> colour on a screen. `PAPER` is that of print.

    All but the surfaces and the grid stand as text somewhere, at 4.5:1 against the background.
    """
    return _DARK if dark else _LIGHT


def veil(colour: str) -> str:
    """A colour behind a label, through which marks still show: the label itself is drawn in full."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.85)"


def variant_label(name: str) -> str:
    """`■ ASH-B`, and `○ No shaping` for none."""
    label = "No shaping" if name == "none" else STEPS[name].label if name in STEPS else name
    return f"{MARKS[name].sign} {label}"


def _minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")


def percent(value: float, digits: int = 1) -> str:
    """A share that is already in percent: `93.4 %`."""
    return _minus(f"{value:.{digits}f} %")


def points(difference: float, digits: int = 1) -> str:
    """A difference of two percentages: `+3.1 points`."""
    shown = f"{difference:+.{digits}f}"
    return _minus(shown if float(shown) else f"{0:.{digits}f}") + " points"


def count(number: int) -> str:
    """`10,000`."""
    return f"{number:,}"


def counted(number: int, noun: str) -> str:
    """`1 set`, `6 sets`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def size(byte_count: float) -> str:
    """`812 kB`, `26 MB`, `4.1 GB`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if byte_count >= factor:
            shown = byte_count / factor
            return f"{shown:.1f} {unit}" if shown < 10 and unit != "kB" else f"{shown:,.0f} {unit}"
    return f"{byte_count:.0f} bytes"


def number(value: float) -> str:
    """Four significant digits: `0.03217`, `1.234e+05`."""
    return _minus(f"{value:.4g}")


def layout(dark: bool, **changes: Any) -> dict[str, Any]:
    """Arguments for `figure.update_layout`: theme, margins, legend above the plot; `changes` win."""
    colour = colours(dark)
    axis = {
        "gridcolor": colour["grid"],
        "linecolor": colour["muted"],
        "zerolinecolor": colour["grid"],
        "tickcolor": colour["muted"],
        "ticks": "outside",
        "ticklen": 4,
        "title": {"standoff": 8},
        "automargin": True,
    }
    template = {
        "layout": {
            "font": {"family": "Source Sans, Source Sans Pro, sans-serif", "size": 14, "color": colour["ink"]},
            "paper_bgcolor": colour["background"],
            "plot_bgcolor": colour["background"],
            "colorway": [colour[name] for name in ("id", "ood", "ash_s", "ash_rand", "none")],
            "xaxis": axis,
            "yaxis": axis,
            "hoverlabel": {
                "bgcolor": colour["panel"],
                "bordercolor": colour["muted"],
                "font": {"color": colour["ink"]},
            },
            "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0, "title": {"text": ""}},
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": colour["muted"], "activecolor": colour["ink"]},
        }
    }
    return {
        "template": template,
        "height": 440,
        "margin": {"l": 56, "r": 16, "t": 40, "b": 48},
        "hovermode": "closest",
        "dragmode": "zoom",
        **changes,
    }


def slider(names: Sequence[str], start: int, dark: bool, redraw: bool = True, **more: Any) -> dict[str, Any]:
    """A slider over the frames of a figure, by their names; `redraw`: whether a frame changes more than its data."""
    colour = colours(dark)
    now = {"frame": {"duration": 0, "redraw": redraw}, "transition": {"duration": 0}, "mode": "immediate"}
    return {
        "active": start,
        "steps": [{"label": name, "method": "animate", "args": [[name], now]} for name in names],
        "x": 0,
        "len": 1,
        "yanchor": "top",
        "bgcolor": colour["grid"],
        "activebgcolor": colour["id"],
        "bordercolor": colour["muted"],
        "tickcolor": colour["muted"],
        "font": {"color": colour["muted"], "size": 12},
        **more,
    }
