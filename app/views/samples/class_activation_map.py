"""Where in the image a decision comes from: what is kept, and the class evidence before and after shaping, over it.

The evidence at a position is the sum over the channels of what they add there to the winning logit, in the manner of a
class activation map.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app import theme
from app.charts.mosaic import glass
from app.charts.plain import Figure, Part, heatmap, image

Floats = NDArray[np.floating]
SIZE = 230  # pixels of the height of a panel


@dataclass(frozen=True)
class Evidence:
    """By position (H, W): the share of the channels kept, and the evidence for the winner before and after shaping."""

    share: Floats
    before: Floats
    after: Floats
    winners: tuple[str, str]


def concentration(values: Floats) -> float:
    """The smallest share of the positions, in percent, that holds half of the positive evidence."""
    positive = np.sort(np.maximum(values, 0).ravel().astype(np.float64))[::-1]
    if not positive.any():
        return 0.0
    enough = np.searchsorted(np.cumsum(positive), positive.sum() / 2 * (1 - 1e-9)) + 1
    return 100 * float(enough) / positive.size


def finding(record: Evidence) -> str:
    """Where most of the evidence lies and how concentrated it is."""
    row, column = np.unravel_index(int(record.after.argmax()), record.after.shape)
    height, width = record.after.shape
    before, after = (theme.percent(concentration(values), 0) for values in (record.before, record.after))
    return (
        f"Half of what speaks for {record.winners[1]} lies in {after} of the positions after shaping, most in row "
        f"{row + 1}, column {column + 1} of {height} x {width}; before, half of what spoke for {record.winners[0]} lay "
        f"in {before}."
    )


def figure(record: Evidence, picture: NDArray[np.uint8], dark: bool) -> Figure:
    """The image three times: under the share kept, under the evidence before and under the evidence after."""
    panels = (
        (100 * record.share, "kept (%)", "%{z:.1f} % of the channels kept"),
        (record.before, "before", "adds %{z:.4g}"),
        (record.after, "after", "adds %{z:.4g}"),
    )
    rgb = picture if picture.ndim == 3 else np.repeat(picture[:, :, None], 3, axis=2)
    traces: list[Any] = []
    layout = theme.layout(dark, height=SIZE + 64, margin={"l": 4, "r": 4, "t": 30, "b": 34}, annotations=[])
    for number, (values, title, hover) in enumerate(panels):
        tail = "" if number == 0 else str(number + 1)
        axes = {"xaxis": f"x{tail}", "yaxis": f"y{tail}"}
        traces += [image(z=rgb, hoverinfo="skip", **axes), _heat(values, picture, hover, axes)]
        left, right = number / 3 + 0.005, (number + 1) / 3 - 0.005
        none = {"visible": False, "showgrid": False, "constrain": "domain", "fixedrange": True}
        layout[f"xaxis{tail}"] = {**none, "range": [-0.5, picture.shape[1] - 0.5], "domain": [left, right]}
        layout[f"yaxis{tail}"] = {**none, "range": [picture.shape[0] - 0.5, -0.5], "scaleanchor": f"x{tail}"}
        layout["annotations"] += _texts(tail, title, values, picture.shape[:2], theme.colours(dark)["ink"])
    return Figure(traces, layout)


def _heat(values: Floats, picture: NDArray[np.uint8], hover: str, axes: dict[str, str]) -> Part:
    """Half-transparent blocks in the image's pixels: orange speaks for the class, blue against it."""
    rows, columns = values.shape
    height, width = picture.shape[:2]
    return heatmap(
        z=values,
        x0=width / columns / 2 - 0.5,
        dx=width / columns,
        y0=height / rows / 2 - 0.5,
        dy=height / rows,
        hovertemplate=hover + "<extra></extra>",
        showscale=False,
        **glass(values),
        **axes,
    )


def _texts(tail: str, title: str, values: Floats, size: tuple[int, ...], ink: str) -> list[dict[str, Any]]:
    """What a panel shows above its image, the range of its values below."""
    height, width = size
    plain = {"x": width / 2 - 0.5, "xref": f"x{tail}", "yref": f"y{tail}", "xanchor": "center", "showarrow": False}
    low, high = theme.number(float(values.min())), theme.number(float(values.max()))
    return [
        {**plain, "y": -0.5, "yanchor": "bottom", "text": f"<b>{title}</b>", "font": {"size": 13, "color": ink}},
        {**plain, "y": height - 0.5, "yanchor": "top", "text": f"{low} to {high}", "font": {"size": 12, "color": ink}},
    ]


def table(record: Evidence) -> pd.DataFrame:
    """One row a position."""
    rows, columns = np.indices(record.share.shape)
    return pd.DataFrame(
        {
            "row": rows.ravel() + 1,
            "column": columns.ravel() + 1,
            "kept (%)": 100 * record.share.ravel(),
            f"for {record.winners[0]}, before": record.before.ravel(),
            f"for {record.winners[1]}, after": record.after.ravel(),
        }
    )
