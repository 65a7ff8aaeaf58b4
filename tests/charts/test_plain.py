"""Figures as plain data: what the browser gets is what was put in, and what Plotly does not know is refused."""

import base64
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from app.charts.plain import Figure, scatter

KINDS = [np.float32, np.float64, np.float16, np.uint8, np.int16, np.int64]


@given(st.sampled_from(KINDS).flatmap(lambda kind: arrays(kind, st.sampled_from([3, 300, (20, 30)]))))
def test_arrays_come_back_as_they_are(values: np.ndarray) -> None:
    figure = Figure([{"type": "heatmap", "z": values} if values.ndim > 1 else scatter(y=values)], {})
    figure.checked()
    sent = json.loads(figure.to_json())["data"][0]["z" if values.ndim > 1 else "y"]
    if isinstance(sent, dict):  # as plotly.js takes numbers in bytes
        assert sent.get("shape", str(values.size)) == ", ".join(map(str, values.shape))
        sent = np.frombuffer(base64.b64decode(sent["bdata"]), f"<{sent['dtype']}")
    found = np.asarray(sent, float).reshape(values.shape)
    finite = np.isfinite(values.astype(float))
    assert np.array_equal(found[finite], values.astype(float)[finite])
    assert not np.isfinite(found[~finite]).any()


def test_what_is_not_finite_is_not_drawn_wherever_it_stands() -> None:
    figure = Figure([scatter(y=[1.0, np.nan, np.float32(np.inf)], x=(1, 2, 3))], {"title": {"text": "a"}})
    assert json.loads(figure.to_json())["data"][0]["y"] == [1.0, None, None]


@pytest.mark.parametrize(
    "figure",
    [
        Figure([scatter(y=[1], colour="red")], {}),
        Figure([scatter(y=[1], line_color="red")], {}),
        Figure([scatter(y=[1])], {"xaxis_title": "x"}),
        Figure([scatter(y=[1], mode="dots")], {}),
    ],
)
def test_what_plotly_does_not_know_is_refused(figure: Figure) -> None:
    with pytest.raises(ValueError, match=r"."):
        figure.checked()


def test_what_is_no_part_of_a_figure_is_refused() -> None:
    with pytest.raises(TypeError, match="object is no part of a figure"):
        Figure([scatter(y=object())], {}).to_json()
