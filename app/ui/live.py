"""Charts that move with the percentile in the browser, while a key is held or the slider is dragged.

The page draws one percentile; where all are known, it also says how it would draw the others. The browser fetches these
as one block when somebody comes near the slider (`app/ui/live.js`), and the server hears of the value where the
movement ends.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from functools import partial

import streamlit as st

from app.backend import engine, setups
from app.charts import film
from app.charts.plain import Figure
from app.link.spec import RunSpec
from app.serving import films
from app.ui import plot
from ash.methods import VARIANTS

Figures = Callable[..., Iterable[Figure]]


def steps(key: str, spec: RunSpec, figures: Figures, *about: Hashable) -> plot.Live | None:
    """How the chart with this key moves; None where it does not, for nothing is shaped by p or not all of it is known.

    `figures(spec, dark, *about)`: the figures at `film.PERCENTILES`, as the page would draw them. It is called outside
    of a run of the script, so all that it depends on, but for the percentile, is in its arguments, which are hashable.
    """
    if spec.other or VARIANTS[spec.variant].parameter != "percentile" or not engine.is_linear(setups.setup(spec)):
        return None
    drawn = partial(figures, replace(spec, p=0.0), plot.dark(), *about)
    known, address = st.session_state.get(f"{key}_film", (None, ""))
    if known != (drawn.func, drawn.args):
        address = films.offer(partial(_block, drawn))
        st.session_state[f"{key}_film"] = ((drawn.func, drawn.args), address)
    return plot.Live(address, min(round(spec.p), film.PERCENTILES[-1]))


def _block(drawn: Callable[[], Iterable[Figure]]) -> bytes:
    with setups.one_run():
        return film.film(list(drawn()))
