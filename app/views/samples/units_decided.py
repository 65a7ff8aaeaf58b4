"""Which units decided: what they add to the winning logit and to the score, beside the ID images that excite them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app import theme
from app.charts.plain import Figure
from app.charts.score_words import score_text, shorts
from ash.metrics import accepts

MOST = 6  # units drawn, and two more that only the score would have chosen
ROW = 46  # pixels of a unit
WORDS = 16  # characters of a class that stands in the place of an image
PICTURES = 0.3  # share of the width that the images take

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Excited:
    """An image that excites a unit: its name, its class in words, its pixels as a data URI; "" if it does not ship."""

    name: str
    label: str
    uri: str


@dataclass(frozen=True)
class Unit:
    """One unit after shaping: its activation (sum over positions), what it adds, and the score without it (exact)."""

    number: int
    value: float
    to_logit: float
    to_score: float
    without: float
    images: tuple[Excited, ...] = ()


@dataclass(frozen=True)
class Decided:
    """The units that decided, largest first, of `kept` ones of `of`.

    `share`: what these units add, as a share of all that speaks for the `winner` (percent). `score` is the shaped
    score and `threshold` its line, None where that is not known. `exact`: the tail is linear.
    """

    units: tuple[Unit, ...]
    winner: str
    kept: int
    of: int
    share: float
    score_name: str
    noun: str
    score: float
    threshold: float | None
    exact: bool

    @property
    def quantity(self) -> str:
        """What units add to: the softmax score is ranked by its log-odds."""
        return "log-odds" if self.score_name == "msp" else self.noun

    def flips(self, unit: Unit) -> bool:
        """Whether the verdict would be another one without this unit."""
        line = self.threshold
        return line is not None and bool(accepts(self.score, line) != accepts(unit.without, line))


def leading(to_logit: Floats, to_score: Floats, kept: NDArray[np.integer]) -> tuple[int, ...]:
    """The kept units that add most to the winning logit, and those that add most to the score, first ones first."""
    alive = np.flatnonzero(kept)
    by_logit = alive[np.argsort(-to_logit[alive], kind="stable")][:MOST]
    by_score = alive[np.argsort(-to_score[alive], kind="stable")][:MOST]
    more = [unit for unit in by_score.tolist() if unit not in by_logit][:2]
    return tuple(sorted([*by_logit.tolist(), *more], key=lambda unit: -float(to_logit[unit])))


def share_of(units: Sequence[int], to_logit: Floats) -> float:
    """What these units add of all that is added to the logit by units that speak for it, in percent."""
    favour = float(np.maximum(to_logit, 0).sum(dtype=np.float64))
    return 100 * float(np.maximum(to_logit[list(units)], 0).sum(dtype=np.float64)) / favour if favour else 0.0


def finding(record: Decided) -> str:
    """How much a few units carry, and what the score would be without the first one."""
    if not record.units:
        return "No unit is kept: the logits are the biases alone."
    first, few = record.units[0], len(record.units)
    kept = "kept " if record.kept < record.of else ""
    text = (
        f"{few} of the {theme.count(record.kept)} {kept}units give {theme.percent(record.share, 0)} of what speaks for "
        f"{record.winner}. Without unit {first.number} alone the {record.noun} would be "
        f"{score_text(first.without, record.score_name)} instead of {score_text(record.score, record.score_name)}"
    )
    if record.threshold is None:
        return f"{text}."
    flips = sum(record.flips(unit) for unit in record.units)
    if not flips:
        return f"{text}; no unit alone decides the verdict."
    return f"{text}; {'one of them' if flips == 1 else f'each of {flips} of them'} alone decides the verdict."


def figure(record: Decided, variant: str, dark: bool) -> Figure:
    """A row a unit: its images, a bar for the logit, marks for the score; a star where it alone decides the verdict."""
    colour = theme.colours(dark)
    names = [f"{'★ ' if record.flips(unit) else ''}unit {unit.number}" for unit in record.units]
    traces = [_bars(record, names, colour[variant]), *_marks(record, names, colour)]
    height = ROW * len(record.units) + 138
    layout = theme.layout(
        dark,
        height=height,
        margin={"l": 8, "r": 14, "t": 84, "b": 54},
        bargap=0.45,
        xaxis={"title": {"text": "what the unit adds"}, "domain": [PICTURES + 0.03, 1], "zeroline": True, "nticks": 6}
        | {"zerolinecolor": colour["muted"], "fixedrange": True},
        yaxis={"autorange": "reversed", "ticks": "", "anchor": "free", "position": 0, "fixedrange": True},
        images=_images(record),
        annotations=[_head(colour), *_words(record, colour)],
    )
    layout["legend"] = {"y": 1.0, "x": 0, "yanchor": "bottom", "yref": "paper", "font": {"size": 12}}
    layout["legend"]["y"] = 1 + 26 / (height - 138)
    return Figure(traces, layout)


def _bars(record: Decided, names: list[str], tint: str) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "name": f"to the logit of {record.winner}",
        "x": shorts([unit.to_logit for unit in record.units]),
        "y": names,
        "marker": {"color": tint, "opacity": 0.75},
        "hovertemplate": "%{y}: %{x:.4g} to the logit<extra></extra>",
    }


def _marks(record: Decided, names: list[str], colour: dict[str, str]) -> list[dict[str, Any]]:
    base = {"type": "scatter", "mode": "markers", "y": names}
    lost = [record.score - unit.without for unit in record.units]
    return [
        {
            **base,
            "name": f"to the {record.quantity}",
            "x": shorts([unit.to_score for unit in record.units]),
            "marker": {"symbol": "diamond-open", "size": 11, "color": colour["ink"], "line": {"width": 2}},
            "hovertemplate": f"%{{y}}: %{{x:.4g}} to the {record.quantity}, to first order<extra></extra>",
        },
        {
            **base,
            "name": f"{record.quantity} lost without it",
            "x": shorts(lost),
            "marker": {"symbol": "x-thin-open", "size": 9, "color": colour["ink"], "line": {"width": 2}},
            "hovertemplate": f"%{{y}}: {record.quantity} lost without it: %{{x:.4g}}<extra></extra>",
        },
    ]


def _images(record: Decided) -> list[dict[str, Any]]:
    """The images of every unit, side by side left of its bar."""
    found = []
    for row, unit in enumerate(record.units):
        wide = PICTURES / max(len(unit.images), 1)
        for column, image in enumerate(unit.images):
            if not image.uri:
                continue
            found.append(
                {
                    "source": image.uri,
                    "xref": "paper",
                    "x": 0.01 + (column + 0.5) * wide,
                    "xanchor": "center",
                    "sizex": wide * 0.96,
                    "yref": "y",
                    "y": row,
                    "yanchor": "middle",
                    "sizey": 0.9,
                    "sizing": "contain",
                }
            )
    return found


def _short(label: str) -> str:
    return label if len(label) <= WORDS else f"{label[: WORDS - 1]}…"


def _words(record: Decided, colour: dict[str, str]) -> list[dict[str, Any]]:
    """The classes of the images that do not ship, in their places."""
    found = []
    for row, unit in enumerate(record.units):
        if absent := [_short(image.label) for image in unit.images if not image.uri]:
            text = {"text": "<br>".join(absent), "showarrow": False, "font": {"size": 10, "color": colour["muted"]}}
            place = {"x": 0.01, "xref": "paper", "xanchor": "left", "y": row, "yref": "y", "yanchor": "middle"}
            found.append({**text, **place, "align": "left"})
    return found


def _head(colour: dict[str, str]) -> dict[str, Any]:
    return {
        "text": "ID images that excite it most",
        "x": 0,
        "xref": "paper",
        "xanchor": "left",
        "y": 1,
        "yref": "paper",
        "yanchor": "bottom",
        "showarrow": False,
        "font": {"size": 12, "color": colour["muted"]},
    }


def table(record: Decided) -> pd.DataFrame:
    """One row a unit: what it adds, the score and the verdict without it, the images that excite it."""
    rows = []
    for unit in record.units:
        row: dict[str, Any] = {
            "unit": unit.number,
            "activation after": unit.value,
            f"to the logit of {record.winner}": unit.to_logit,
            f"to the {record.quantity} (first order)": unit.to_score,
            f"{record.quantity} without it": unit.without,
        }
        if record.threshold is not None:
            row["verdict without it"] = "accepted" if accepts(unit.without, record.threshold) else "rejected"
        row["images that excite it"] = ", ".join(f"{image.name}: {image.label}" for image in unit.images)
        rows.append(row)
    return pd.DataFrame(rows)
