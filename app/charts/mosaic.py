"""Spatial activations of one image: the channels as tiles of one picture, and where in the image values are kept."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app import theme
from app.charts.plain import Figure, heatmap, image

Floats = NDArray[np.floating]
MOST_TILES = 64
QUANTITIES = {"share": "Share kept", "before": "Sum before", "after": "Sum after"}


@dataclass(frozen=True)
class Mosaic:
    """Tiles of the strongest channels, row by row: `picture` with NaN between, `channel` the number under each cell.

    With `own_scale` every tile is divided by its largest magnitude, so that weak channels show too.
    """

    channels: tuple[int, ...]
    of: int
    picture: Floats
    channel: NDArray[np.integer]
    own_scale: bool


def strongest(maps: Floats, most: int = MOST_TILES) -> tuple[int, ...]:
    """The channels (C, H, W) with the largest sum of magnitudes, strongest first."""
    return tuple(int(c) for c in np.argsort(-np.abs(maps).sum((1, 2)), kind="stable")[:most])


def mosaic(maps: Floats, channels: tuple[int, ...], own_scale: bool) -> Mosaic:
    """Lay the named channels of (C, H, W) out as a near-square grid with a gap of one cell."""
    _, height, width = maps.shape
    columns = int(np.ceil(np.sqrt(len(channels))))
    rows = -(-len(channels) // columns)
    picture = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan, np.float32)
    numbers = np.full(picture.shape, -1, np.int32)
    for place, index in enumerate(channels):
        top, left = (place // columns) * (height + 1), (place % columns) * (width + 1)
        tile = maps[index]
        peak = float(np.abs(tile).max()) if own_scale else 1.0
        picture[top : top + height, left : left + width] = tile / (peak or 1.0)
        numbers[top : top + height, left : left + width] = index
    return Mosaic(channels, len(maps), picture, numbers, own_scale)


def scale(dark: bool, tint: str) -> list[list[Any]]:
    """0 is the panel's grey, so that a removed value is seen as nothing, then towards the tint and the ink."""
    colour = theme.colours(dark)
    if colour[tint] == colour["ink"]:
        return [[0.0, colour["panel"]], [1.0, colour["ink"]]]
    return [[0.0, colour["panel"]], [0.55, colour[tint]], [1.0, colour["ink"]]]


def _signed(dark: bool, tint: str) -> list[list[Any]]:
    colour = theme.colours(dark)
    low, high = colour["ood"], colour["id"]
    return [[0.0, low], [0.5, colour["panel"]], [1.0, high if tint != "id" else colour[tint]]]


def _colours(values: Floats, dark: bool, tint: str) -> dict[str, Any]:
    """Colour axis from 0, or symmetric about it when there are negative values."""
    peak = float(np.nanmax(np.abs(values), initial=0.0)) or 1.0
    if np.nanmin(values, initial=0.0) < 0:
        return {"zmin": -peak, "zmax": peak, "colorscale": _signed(dark, tint)}
    return {"zmin": 0.0, "zmax": peak, "colorscale": scale(dark, tint)}


def mosaic_figure(record: Mosaic, tint: str, dark: bool) -> Figure:
    """All tiles as one heat map; hover names the channel."""
    title = {"text": "share of the channel's largest" if record.own_scale else "value", "side": "bottom"}
    bar = {"orientation": "h", "thickness": 10, "y": -0.02, "yanchor": "top", "outlinewidth": 0, "title": title}
    heat = heatmap(
        z=record.picture,
        customdata=record.channel,
        hovertemplate="channel %{customdata}: %{z:.4g}<extra></extra>",
        hoverongaps=False,
        colorbar=bar,
        **_colours(record.picture, dark, tint),
    )
    height, width = record.picture.shape
    none = {"visible": False, "showgrid": False}
    layout = theme.layout(
        dark,
        height=470,
        margin={"l": 4, "r": 4, "t": 8, "b": 70},
        xaxis={**none, "range": [-0.5, width - 0.5], "constrain": "domain"},
        yaxis={**none, "range": [height - 0.5, -0.5], "scaleanchor": "x", "constrain": "domain"},
    )
    return Figure([heat], layout)


def mosaic_finding(record: Mosaic, after: bool) -> str:
    """How much of the picture is zero."""
    inside = record.picture[record.channel >= 0]
    gone = sum(not np.any(record.picture[record.channel == index]) for index in record.channels)
    when = "after shaping" if after else "before shaping"
    return (
        f"The {len(record.channels)} strongest of {record.of} channels {when}: "
        f"{theme.percent(100 * float(np.mean(inside == 0)))} of their values are exactly 0, {gone} channels are empty."
    )


def mosaic_table(before: Floats, after: Floats, channels: tuple[int, ...]) -> pd.DataFrame:
    """One row a channel: sums, largest values and how many values are left."""
    picked = list(channels)
    old, new = before[picked], after[picked]
    return pd.DataFrame(
        {
            "channel": picked,
            "sum before": old.sum((1, 2)),
            "sum after": new.sum((1, 2)),
            "largest before": old.max((1, 2)),
            "largest after": new.max((1, 2)),
            "not zero before": np.count_nonzero(old, (1, 2)),
            "not zero after": np.count_nonzero(new, (1, 2)),
        }
    )


@dataclass(frozen=True)
class Positions:
    """For every position (H, W) of the map: share of channels kept, and the sum over channels before and after."""

    share: Floats
    before: Floats
    after: Floats


def positions(before: Floats, after: Floats, mask: NDArray[np.bool_]) -> Positions:
    """Where an image's values (C, H, W) lie and where they are kept; `mask` is True for what survives."""
    return Positions(mask.mean(0), before.sum(0), after.sum(0))


def glass(values: Floats) -> dict[str, Any]:
    """Colour axis from clear to orange, blue for negative sums, so that the image stays visible under it."""
    peak = float(np.abs(values).max(initial=0.0)) or 1.0
    orange, blue = "rgba(230,130,0,{})", "rgba(40,140,255,{})"
    up = [[0.0, orange.format(0)], [1.0, orange.format(0.9)]]
    if values.min(initial=0.0) >= 0:
        return {"zmin": 0.0, "zmax": peak, "colorscale": up}
    both = [[0.0, blue.format(0.9)], [0.5, blue.format(0)], [0.5, orange.format(0)], [1.0, orange.format(0.9)]]
    return {"zmin": -peak, "zmax": peak, "colorscale": both}


def overlay_figure(record: Positions, quantity: str, picture: NDArray[np.uint8], dark: bool) -> Figure:
    """One quantity as half-transparent blocks over the image, in the image's pixels."""
    values = getattr(record, quantity) * (100 if quantity == "share" else 1)
    height, width = picture.shape[:2]
    rows, columns = values.shape
    rgb = picture if picture.ndim == 3 else np.repeat(picture[:, :, None], 3, axis=2)
    unit = "%{z:.1f} % of the channels kept" if quantity == "share" else "%{z:.4g}"
    heat = heatmap(
        z=values,
        x0=width / columns / 2 - 0.5,
        dx=width / columns,
        y0=height / rows / 2 - 0.5,
        dy=height / rows,
        xgap=1,
        ygap=1,
        hovertemplate=f"{QUANTITIES[quantity]}: {unit}<extra></extra>",
        colorbar={
            "thickness": 12,
            "len": 0.9,
            "outlinewidth": 0,
            "title": {"text": "%" if quantity == "share" else "sum"},
        },
        **glass(values),
    )
    none = {"visible": False, "showgrid": False, "constrain": "domain"}
    layout = theme.layout(
        dark,
        height=380,
        margin={"l": 4, "r": 4, "t": 8, "b": 8},
        xaxis={**none, "range": [-0.5, width - 0.5]},
        yaxis={**none, "range": [height - 0.5, -0.5], "scaleanchor": "x"},
    )
    return Figure([image(z=rgb, hoverinfo="skip"), heat], layout)


def positions_finding(record: Positions) -> str:
    """Where most is kept, in words."""
    low, high = 100 * float(record.share.min()), 100 * float(record.share.max())
    row, column = np.unravel_index(int(record.share.argmax()), record.share.shape)
    return (
        f"Between {theme.percent(low)} and {theme.percent(high)} of the channels are kept at a position, "
        f"most in row {row + 1}, column {column + 1} of {record.share.shape[0]} x {record.share.shape[1]}."
    )


def positions_table(record: Positions) -> pd.DataFrame:
    """One row a position."""
    rows, columns = np.indices(record.share.shape)
    return pd.DataFrame(
        {
            "row": rows.ravel() + 1,
            "column": columns.ravel() + 1,
            "kept (%)": 100 * record.share.ravel(),
            "sum before": record.before.ravel(),
            "sum after": record.after.ravel(),
        }
    )
