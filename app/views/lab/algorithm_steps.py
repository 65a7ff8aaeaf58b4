"""Algorithms 1-3 of the paper on a handful of values, line by line: what a line touches, computes and leaves behind.

Pure: numbers in, a small record out. Maths is LaTeX between dollar signs, as Streamlit's markdown reads it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.link.fields import write_number
from app.theme import counted, number
from app.views.lab.algorithm_facts import VARIANTS, Facts, Vector, facts

_LINES = (
    ("input", "cut", "prune", "out"),
    ("input", "total", "cut", "prune", "count", "level", "out"),
    ("input", "total", "cut", "prune", "rest", "scale", "out"),
)  # of Algorithms 1, 2 and 3, numbered as in the paper
LINES = dict(zip(VARIANTS, _LINES, strict=True))
TEXTS = {
    "input": "Take the $n$ values $x$ of one sample, and $p$, the percentage to remove.",
    "total": "Add up all values: $s_1 = \\sum x_i$.",
    "cut": "Find the cut $t$, the paper's threshold: the smallest of the $k$ largest values, with "
    "$k = n - \\mathrm{round}(n\\,p / 100)$.",
    "prune": "Set everything below $t$ to 0.",
    "count": "Count what is left: $k$ values.",
    "level": "Set each value that is left to $s_1 / k$.",
    "rest": "Add up what is left: $s_2 = \\sum x_i$.",
    "scale": "Multiply every kept value by $e^{s_1 / s_2}$.",
    "out": "Pass $x$ on to the rest of the network.",
}


@dataclass(frozen=True)
class Number:
    """A named number of a line: LaTeX symbol, how it comes about (LaTeX; "" where it is given), and its value."""

    symbol: str
    working: str
    value: float

    @property
    def result(self) -> str:
        """`k = 4`, as LaTeX."""
        return f"{self.symbol} = {tex(self.value)}"

    @property
    def equation(self) -> str:
        """The number with its arithmetic, as LaTeX. The values in it are rounded, hence the wavy sign."""
        if not self.working:
            return self.result
        sign = "=" if float(self.value).is_integer() else "\\approx"
        return f"{self.symbol} = {self.working} {sign} {tex(self.value)}"


@dataclass(frozen=True)
class Step:
    """One line: number in the paper, what it does, positions it touches, numbers it computes, the vector after it.

    `says` is one sentence with this vector's numbers, `note` another for a special case, or "".
    """

    line: int
    kind: str
    touched: tuple[int, ...]
    numbers: tuple[Number, ...]
    after: tuple[float, ...]
    says: str
    note: str = ""


def trace(values: Sequence[float] | NDArray[np.floating], variant: str, p: float) -> tuple[Step, ...]:
    """The lines of a variant's algorithm on n values at percentile p, numbered as in the paper.

    The last vector equals the variant of `ash.shaping` on these values as one sample, in float32.
    """
    one = facts(values, variant, p)
    return tuple(_STEPS[kind](one, line, kind) for line, kind in enumerate(LINES[variant], start=1))


def shown(value: float) -> str:
    """A value for a bar's label: about three digits, at most three decimals."""
    size = abs(value)
    if size == 0:
        return "0"
    if size < 0.0005:
        return "\N{ALMOST EQUAL TO}0"
    if size >= 1000:
        return number(value)
    text = f"{value:.{3 if size < 1 else 2 if size < 10 else 1 if size < 100 else 0}f}"
    return text.replace("-", "\N{MINUS SIGN}")


def tex(value: float) -> str:
    """A number as LaTeX: four significant digits, powers of ten written out."""
    mantissa, _, power = f"{value:.4g}".partition("e")
    return f"{mantissa} \\times 10^{{{int(power)}}}" if power else mantissa


def _terms(values: Vector) -> str:
    """`0.418 + 1.92 + (-0.2)`: a sum written out, as LaTeX."""
    texts = [shown(float(value)) for value in values]
    terms = " + ".join(f"({text})" if value < 0 else text for text, value in zip(texts, values, strict=True)) or "0"
    return terms.replace("\N{MINUS SIGN}", "-").replace("\N{ALMOST EQUAL TO}", "")


def _input(one: Facts, line: int, kind: str) -> Step:
    numbers = Number("n", "", one.n), Number("p", "", one.p)
    says = f"{one.n} values of one sample go in, with p = {write_number(one.p)}."
    return Step(line, kind, tuple(range(one.n)), numbers, _tuple(one.x), says)


def _total(one: Facts, line: int, kind: str) -> Step:
    says = f"All {one.n} values together make s1 = {number(one.s1)}."
    numbers = (Number("s_1", _terms(one.x), one.s1),)
    return Step(line, kind, tuple(range(one.n)), numbers, _tuple(one.x), says)


def _cut(one: Facts, line: int, kind: str) -> Step:
    share = one.n * one.p / 100
    working = (
        f"{one.n} - \\mathrm{{round}}({one.n} \\cdot {write_number(one.p)} / 100) = "
        f"{one.n} - \\mathrm{{round}}({tex(share)}) = {one.n} - {one.n - one.k}"
    )
    numbers = [Number("k", working, one.k)]
    says = f"{counted(one.n, 'value')} are to go, so none is to stay: the cut t lies above all of them."
    if one.t is not None:
        numbers.append(Number("t", "", one.t))
        some = f"the {one.k} largest values" if one.k > 1 else "1 largest value"
        says = f"The cut t = {number(one.t)} is the smallest of {some}."
        if one.k == 1:
            says = f"One value is to stay, so the cut t = {number(one.t)} is the largest value."
    half = "Halves are rounded to the even number." if share % 1 == 0.5 else ""
    return Step(line, kind, () if one.at is None else (one.at,), tuple(numbers), _tuple(one.x), says, half)


def _prune(one: Facts, line: int, kind: str) -> Step:
    zeros = int(np.count_nonzero(one.x[list(one.pruned)] == 0))
    were = f" ({zeros} of them {'was' if zeros == 1 else 'were'} 0 before)" if zeros else ""
    stay = f"{counted(one.k, 'value')} {'stays' if one.k == 1 else 'stay'}"
    says = f"{counted(len(one.pruned), 'value')} become{'s' if len(one.pruned) == 1 else ''} 0{were}, {stay}."
    if not one.pruned:
        says = f"No value lies below the cut: all {one.n} stay."
    tied = 0 if one.t is None else int(np.count_nonzero(one.x[list(one.pruned)] == one.t))
    note = (
        f"More values equal t than may stay: so that exactly k = {one.k} do, the first ones from the left stay."
        if tied
        else ""
    )
    return Step(line, kind, one.pruned, (), _tuple(one.left), says, note)


def _count(one: Facts, line: int, kind: str) -> Step:
    says = f"{counted(one.k, 'value')} {'is' if one.k == 1 else 'are'} left."
    return Step(line, kind, one.kept, (Number("k", "", one.k),), _tuple(one.left), says)


def _level(one: Facts, line: int, kind: str) -> Step:
    if one.level is None:
        return Step(line, kind, (), (), _tuple(one.shaped), "No value is left, so nothing is filled.")
    numbers = (Number("s_1 / k", f"{tex(one.s1)} / {one.k}", one.level),)
    who = "The one that is left becomes" if one.k == 1 else f"Each of the {one.k} that are left becomes"
    says = f"{who} s1/k = {number(one.level)}; together they make s1 again."
    zeros = int(np.count_nonzero(one.x[list(one.kept)] == 0))
    note = (
        f"{counted(zeros, 'value')} among them {'was' if zeros == 1 else 'were'} 0 and {'is' if zeros == 1 else 'are'} "
        "filled too, as in the authors' code; read to the letter, the paper's line spares zeros."
        if zeros
        else ""
    )
    return Step(line, kind, one.kept, numbers, _tuple(one.shaped), says, note)


def _rest(one: Facts, line: int, kind: str) -> Step:
    share = f", {100 * one.s2 / one.s1:.0f} % of s1" if one.s1 > 0 and one.s2 > 0 else ""
    says = f"What is left makes s2 = {number(one.s2)}{share}."
    numbers = (Number("s_2", _terms(one.x[list(one.kept)]), one.s2),)
    return Step(line, kind, one.kept, numbers, _tuple(one.left), says)


def _scale(one: Facts, line: int, kind: str) -> Step:
    if one.exponent is None or one.factor is None:
        return Step(line, kind, (), (), _tuple(one.shaped), "No value is left, so nothing is multiplied.")
    numbers = (
        Number("s_1 / s_2", f"{tex(one.s1)} / {tex(one.s2)}", one.exponent),
        Number("e^{s_1 / s_2}", f"e^{{{tex(one.exponent)}}}", one.factor),
    )
    who = "The value that is left" if one.k == 1 else f"Each of the {one.k} values that are left"
    says = f"{who} is multiplied by {number(one.factor)}."
    return Step(line, kind, one.kept, numbers, _tuple(one.shaped), says, _limited(one))


def _limited(one: Facts) -> str:
    if one.s1 == 0 == one.s2:
        return "0/0 counts as 1, the ratio at p = 0."
    if one.s2 == 0 or (one.exponent is not None and one.exponent != one.s1 / one.s2):
        return "The ratio is limited, so that the result is a finite number of 32 bits."
    return ""


def _out(one: Facts, line: int, kind: str) -> Step:
    zeros = int(np.count_nonzero(one.shaped == 0))
    rest = one.n - zeros
    what = f"{counted(rest, 'value')} as {'it was' if rest == 1 else 'they were'}"
    if one.does == "fill":
        what = f"{rest} times {number(one.level or 0)}"
    if one.does == "scale":
        what = f"{counted(rest, 'value')}, {number(1 if one.factor is None else one.factor)} times as large as before,"
    start = f"At p = {write_number(one.p)}, {VARIANTS[one.variant]} passes on"
    says = f"{start} {what} and {zeros or 'no'} zero{'' if zeros == 1 else 's'}." if rest else f"{start} zeros alone."
    return Step(line, kind, (), (), _tuple(one.shaped), says)


def _tuple(x: Vector) -> tuple[float, ...]:
    return tuple(x.tolist())


_STEPS: dict[str, Callable[[Facts, int, str], Step]] = {
    "input": _input,
    "total": _total,
    "cut": _cut,
    "prune": _prune,
    "count": _count,
    "level": _level,
    "rest": _rest,
    "scale": _scale,
    "out": _out,
}
