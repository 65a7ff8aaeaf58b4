"""One image under a method: its sorted activation with threshold and factor, and the algorithm in its numbers."""

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app import theme
from app.charts.axes import round_top
from app.charts.plain import Figure
from app.charts.score_words import shorts
from ash.methods import Effect, Method

if TYPE_CHECKING:
    from torch import Tensor

    from ash.traces import Change, Trace

Floats = NDArray[np.floating]
MOST_POINTS = 1500  # ranks drawn
NARROW = 40  # letters of a line above a panel on a phone
ALGORITHMS: dict[Effect, str] = {
    "prune": "Algorithm 1, {}",
    "fill": "Algorithm 2, {}",
    "scale": "Algorithm 3, {}",
    "random": "{}, section 4",
    "clip": "{}",
    "multiply": "{}",
    "logits": "{}",
}


@dataclass(frozen=True)
class Curve:
    """A sample's n values, largest first (equal values: lowest index first), and what shaping made of the same units.

    The numbers are those of `ash.trace`, None where the method has none: `k` values are `kept`, `t` is the smallest of
    them or ReAct's constant, `s1` the sum of all, `s2` of the kept ones, `factor` ASH-S's and `level` ASH-B's.
    `change` is what the values themselves show. Of SCALE and LTS `s2` is the sum of the `top` largest, and
    `logit_factor` what LTS multiplies the logits by.
    """

    method: Method
    does: Effect
    before: Floats
    after: Floats
    kept: NDArray[np.bool_]
    k: int
    t: float | None
    s1: float
    s2: float | None
    factor: float | None
    level: float | None
    change: "Change"
    top: int | None = None
    logit_factor: float | None = None

    @property
    def n(self) -> int:
        """Number of values: units, or C * H * W."""
        return len(self.before)

    @property
    def prunes(self) -> bool:
        """Whether the method states that it keeps k values and sets the others to 0."""
        return self.s2 is not None and self.top is None

    @property
    def exponent(self) -> float | None:
        """The s1/s2 of ASH-S and SCALE, as it was limited."""
        return None if self.factor is None else float(np.log(self.factor))

    @property
    def kept_zeros(self) -> int:
        """Kept entries that are exactly 0."""
        return int(np.count_nonzero(self.before[self.kept] == 0))


def curve(trace: "Trace") -> Curve:
    """The first sample of a trace, sorted."""

    def value(numbers: "Tensor | None") -> float | None:
        one = None if numbers is None else float(numbers[0])
        return None if one is None or np.isnan(one) else one

    x, shaped, kept = (some[0].flatten().numpy() for some in (trace.x, trace.shaped, trace.kept))
    order = np.argsort(-x, kind="stable")
    return Curve(
        trace.method,
        trace.does,
        before=x[order],
        after=shaped[order],
        kept=kept[order],
        k=int(trace.k[0]),
        t=value(trace.t),
        s1=float(trace.s1[0]),
        s2=value(trace.s2),
        factor=value(trace.factor),
        level=value(trace.level),
        change=trace.change(),
        top=None if trace.top is None else int(trace.top[0].sum()),
        logit_factor=value(trace.logit_factor),
    )


def did(change: "Change", things: str) -> str:
    """What the values show, as a predicate: `sets 20 of 192 units to 0 and multiplies the other 172 by 2.31`."""
    n, said = theme.count(change.n), []
    if change.removed:
        said.append(f"sets {theme.count(change.removed)} of {n} {things} to 0")
    some = f"{theme.count(change.changed)} {'others' if said else f'of {n} {things}'}"
    if change.factor is not None:
        if change.multiplied + change.removed == change.n:
            some = f"the other {theme.count(change.multiplied)}" if said else f"all {n} {things}"
        said.append(f"multiplies {some} by {theme.number(change.factor)}")
    elif change.above is not None:
        said.append(f"clips {some} from above at {theme.number(change.above)}")
    elif change.below is not None:
        said.append(f"raises {some} to {theme.number(change.below)}")
    elif change.level is not None:
        said.append(f"sets {some} to {theme.number(change.level)}")
    elif change.changed:
        said.append(f"changes {some}")
    return " and ".join(said) or f"leaves all {n} {things} as they are"


def done_to(record: Curve, things: str) -> str:
    """What the values and the logits show, as a predicate."""
    more = "" if record.logit_factor is None else f" and multiplies the logits by {theme.number(record.logit_factor)}"
    return did(record.change, things) + more


def steps(record: Curve) -> list[str]:
    """The variant's algorithm, one sentence a step, with this sample's numbers (markdown)."""
    number, n, k = theme.number, theme.count(record.n), theme.count(record.k)
    total = f"The sum goes from {number(record.s1)} to **{number(float(record.after.sum(dtype=np.float64)))}**."
    if not record.method.steps:
        return ["Nothing is shaped: the activation goes on as it is."]
    if record.does == "clip":
        return [
            f"Compare every value with the constant c = **{number(record.t or 0)}**.",
            f"Set the **{theme.count(record.change.changed)}** of {n} values above c to c.",
            total,
        ]
    if record.top is not None:
        return _scaling_steps(record)
    if not record.prunes or record.s2 is None:
        before, after = map(theme.count, record.change.zeros)
        return [
            f"It {done_to(record, 'values')}.",
            f"Of {n} values, **{before}** are exactly 0 before and **{after}** after.",
            total,
        ]
    start = [f"Sum all {n} values: s1 = **{number(record.s1)}**."] if record.does in ("fill", "scale") else []
    if record.t is None:
        start.append(f"The threshold lies above every value: **k = 0** of {n} stay.")
    else:
        start.append(f"Find the threshold that the k = **{k}** largest values reach: t = **{number(record.t)}**.")
    start.append(f"Set the other **{theme.count(record.n - record.k)}** values to 0.")
    share = f", {theme.percent(100 * record.s2 / record.s1)} of the whole" if record.s1 > 0 else ""
    return [*start, *_last_steps(record, k, share)]


def _scaling_steps(record: Curve) -> list[str]:
    """SCALE and LTS: what the largest values have of the sum decides a factor for everything."""
    number, n = theme.number, theme.count(record.n)
    rectified = ", negative ones as 0" if record.does == "logits" and (record.before < 0).any() else ""
    share = f", {theme.percent(100 * (record.s2 or 0) / record.s1)} of the whole" if record.s1 > 0 else ""
    last = "All values are 0, so there is nothing to multiply."
    if record.logit_factor is not None:
        last = f"Leave all values as they are and multiply every logit by (s1/s2)² = **{number(record.logit_factor)}**."
    elif record.factor is not None and record.exponent is not None:
        last = (
            f"Multiply all {n} values by exp(s1/s2) = exp({number(record.exponent)}) = **{number(record.factor)}**. "
            "None is set to 0."
        )
    return [
        f"Sum all {n} values{rectified}: s1 = **{number(record.s1)}**.",
        f"Sum the k = **{theme.count(record.top or 0)}** largest of them: s2 = **{number(record.s2 or 0)}**{share}.",
        last,
    ]


def _last_steps(record: Curve, k: str, share: str) -> list[str]:
    """What is done to the kept values."""
    number, s2 = theme.number, theme.number(record.s2 or 0)
    if record.does == "fill":
        if record.level is None:
            return ["No value is kept, so nothing is filled."]
        zeros = f" ({theme.count(record.kept_zeros)} of them were 0)" if record.kept_zeros else ""
        return [f"Set each of the {k} kept entries{zeros} to s1/k = **{number(record.level)}**. The sum stays s1."]
    if record.does == "scale":
        last = "Nothing but zeros is left, so there is nothing to multiply."
        if record.factor is not None and record.exponent is not None:
            exponent, factor = number(record.exponent), number(record.factor)
            last = f"Multiply every kept value by exp(s1/s2) = exp({exponent}) = **{factor}**."
        return [f"Sum what is left: s2 = **{s2}**.", last]
    if record.does == "random":
        return [f"Replace the {k} kept values by random numbers from 0 to 10 (seed 0, keyed by the sample's number)."]
    return [f"Leave the rest as it is: its sum is s2 = **{s2}**{share}."]


def algorithm(method: Method) -> str:
    """Where the steps come from."""
    if not method.steps:
        return "No shaping"
    label = " + ".join(step.variant.label for step in method.steps)
    return ALGORITHMS.get(method.does, "{}, seen from outside").format(label)


def curve_finding(record: Curve) -> str:
    """One sentence for the figure."""
    if not record.method.steps:
        return f"The {theme.count(record.n)} values of this sample, sorted; their sum is {theme.number(record.s1)}."
    if not record.prunes or record.s2 is None:
        return f"{record.method.label} {done_to(record, 'values')}."
    share = f", which carry {theme.percent(100 * record.s2 / record.s1)} of the sum" if record.s1 > 0 else ""
    return f"{record.method.label} keeps the {theme.count(record.k)} largest of {theme.count(record.n)} values{share}."


def reading(record: Curve) -> str:
    """How to read the figure."""
    text = "How to read it: all values of this image, largest first."
    if not record.method.steps:
        return text
    where = " Every unit has one place in both panels;" if record.t is None else " The dashed line is c;"
    if record.prunes:
        where = " What lies right of the dashed line k is set to 0;"
    return f"{text}{where} the lower panel shows the same units after shaping, on its own scale."


def _ranks(record: Curve) -> NDArray[np.intp]:
    """Positions to draw: all, or evenly spaced ones with the first, the last and both sides of k."""
    if record.n <= MOST_POINTS:
        return np.arange(record.n)
    spaced = np.linspace(0, record.n - 1, MOST_POINTS).round().astype(np.intp)
    marks = np.array([record.k - 1, record.k]).clip(0, record.n - 1)
    return np.unique(np.concatenate([spaced, marks]))


def curve_figure(record: Curve, dark: bool) -> Figure:
    """Before above after, each on its own scale: value against rank, the kept part filled, threshold and k marked."""
    colour, at = theme.colours(dark), _ranks(record)
    tint = colour[record.method.variant]
    shaped, prunes = bool(record.method.steps), record.prunes
    inside = at < record.k
    traces = [_line(at, record.before, colour["muted"], "y", "before", fill=not prunes and shaped)]
    if prunes:
        traces.append(_line(at[inside], record.before, tint, "y", "before, kept", fill=True))
    if shaped:
        traces.append(_line(at, record.after, tint, "y2", "after", fill=True))
    layout = theme.layout(
        dark,
        height=448 if shaped else 338,
        margin={"l": 60, "r": 14, "t": 46, "b": 48},
        showlegend=False,
        hovermode="x",
        xaxis={
            "title": {"text": "rank (1 = largest)"},
            "range": [0.5, record.n + 0.5],
            "anchor": "y2" if shaped else "y",
        },
        yaxis={
            "title": {"text": "value before"},
            "domain": [0.56, 1.0] if shaped else [0.0, 1.0],
            "range": _span(record.before),
        },
        shapes=_lines(record, colour),
        annotations=_notes(record, colour),
    )
    if shaped:
        layout["yaxis2"] = {"title": {"text": "value after"}, "domain": [0.0, 0.44], "range": _span(record.after)}
    return Figure(traces, layout)


def _span(values: Floats) -> list[float]:
    """The range of an axis: 0 and all values, with a little room, up to a round number."""
    low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    return [-round_top(-1.05 * low) if low < 0 else 0.0, round_top(1.05 * high) if high > 0 or low == 0 else 0.0]


def _line(at: NDArray[np.intp], values: Floats, tint: str, axis: str, name: str, fill: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": (at + 1).tolist(),
        "y": shorts(values[at]),
        "yaxis": axis,
        "line": {"shape": "hvh", "color": tint, "width": 2},
        "hovertemplate": "%{y:.4g}",
    }
    return {**found, "fill": "tozeroy"} if fill else found


def _lines(record: Curve, colour: dict[str, str]) -> list[dict[str, Any]]:
    """Threshold and rank k as lines over the panels."""
    thin = {"color": colour["ink"], "width": 1.2, "dash": "dash"}
    found = []
    if record.t is not None:
        level = {"yref": "y", "y0": record.t, "y1": record.t}
        found.append({"type": "line", "xref": "paper", "x0": 0, "x1": 1, **level, "line": thin})
    if record.prunes:
        place = record.k + 0.5
        found.append(
            {"type": "line", "xref": "x", "x0": place, "x1": place, "yref": "paper", "y0": 0, "y1": 1, "line": thin}
        )
    return found


def _notes(record: Curve, colour: dict[str, str]) -> list[dict[str, Any]]:
    """The numbers of the algorithm where they are seen."""
    number = theme.number
    plain = {"showarrow": False, "font": {"size": 13, "color": colour["ink"]}, "xref": "paper", "yref": "paper"}
    right = {**plain, "x": 1, "xanchor": "right"}
    top, below = f"n = {theme.count(record.n)} values,  s1 = {number(record.s1)} (sum)", []
    if record.s2 is not None:
        some = "kept" if record.top is None else f"the {theme.count(record.top)} largest"
        below.append(f"s2 = {number(record.s2)} (sum of {some})")
    if record.t is not None and not record.prunes:
        below.append(f"c = {number(record.t)}")
    text = "<br>".join(filter(None, (top, ",  ".join(below))))  # two lines: a narrow picture has no room for one
    found = [{**right, "text": text, "align": "right", "y": 1.0, "yanchor": "bottom", "yshift": 4}]
    if record.t is not None and record.prunes:
        found.append({**right, "text": f"t = {number(record.t)}", "yref": "y", "y": record.t, "yanchor": "bottom"})
    if record.prunes:
        late = record.k > 0.7 * record.n  # the label stays inside the picture
        side = {"x": record.k + 0.5, "xref": "x", "xanchor": "right" if late else "left", "xshift": -4 if late else 4}
        found.append({**plain, **side, "text": f"k = {theme.count(record.k)} kept", "y": 0.93, "yanchor": "top"})
    if record.method.steps:
        after = "<br>".join(textwrap.wrap(_after(record), NARROW))
        found.append({**right, "text": after, "align": "right", "y": 0.44, "yanchor": "bottom"})
    return found


def _after(record: Curve) -> str:
    """What the lower panel shows."""
    if record.does == "clip":
        return f"values cut at c, {theme.count(record.change.changed)} of them"
    if not record.prunes:
        return done_to(record, "values")
    if record.factor is not None:
        return f"kept values × exp(s1/s2) = × {theme.number(record.factor)}"
    if record.level is not None:
        return f"kept entries = s1/k = {theme.number(record.level)}"
    return "kept values random in [0, 10)" if record.does == "random" else "kept values unchanged"


def curve_table(record: Curve, limit: int = 2000) -> pd.DataFrame:
    """The largest values: rank, before, kept or not, after."""
    shown = slice(0, limit)
    ranks = np.arange(1, record.n + 1)[shown]
    columns = {"rank": ranks, "before": record.before[shown], "kept": record.kept[shown], "after": record.after[shown]}
    return pd.DataFrame(columns)
