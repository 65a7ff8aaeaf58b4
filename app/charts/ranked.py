"""How the values of a whole bank are distributed before and after shaping, from one sort that serves every percentile.

What a row keeps are its k largest values: with sorted rows they are the last k columns, and only those are counted
again when the percentile moves. A method that is not known to do so is done, and counted. Pure: no streamlit.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ash.errors import AshError
from ash.methods import Method
from ash.variants import PRUNES, SCALING

ROWS = 256  # rows that are sorted or shaped at once
TINY = float(np.nextafter(np.float32(0), np.float32(1)))  # the smallest float32 above 0
WIDTHS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # of a bin, in decades
BINS = 64
MOST_LOGS = 2**23  # logarithms that are kept of a bank: 32 MiB

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Ranked:
    """A bank with every row sorted: `values` (n, D) float32, ascending; `s1` (n,) float64 sums."""

    values: NDArray[np.float32]
    s1: NDArray[np.float64]

    @cached_property
    def logs(self) -> NDArray[np.float32] | None:
        """(n, D) log10 of the values, for every percentile; None where that would be much to hold."""
        return _log10(self.values) if self.values.size <= MOST_LOGS else None


@dataclass(frozen=True)
class Bins:
    """`count` equal bins from `low` in steps of `step`, in decades when `log` (values > 0); the outer two are open."""

    low: float
    step: float
    count: int
    log: bool

    @property
    def edges(self) -> NDArray[np.float64]:
        """(count + 1,) edges on the axis: values, or their log10."""
        return np.asarray(self.low + self.step * np.arange(self.count + 1), np.float64)


@dataclass(frozen=True)
class Counts:
    """Values per bin (count,) over `rows` images with `total` values; exact zeros are in no bin."""

    bars: NDArray[np.int64]
    zeros: int
    negative: int
    rows: int
    total: int

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.bars + other.bars,
            self.zeros + other.zeros,
            self.negative + other.negative,
            self.rows + other.rows,
            self.total + other.total,
        )


def rank(activations: Floats) -> Ranked:
    """Sort every row of a bank (n, ...), a few rows at a time."""
    n = len(activations)
    out = np.empty((n, int(np.prod(activations.shape[1:]))), np.float32)
    for start in range(0, n, ROWS):
        out[start : start + ROWS] = np.sort(activations[start : start + ROWS].reshape(-1, out.shape[1]), axis=1)
    out.flags.writeable = False
    return Ranked(out, out.sum(1, dtype=np.float64))


@dataclass(frozen=True)
class Kept:
    """What a method makes of every row: values from `low` to `high`, and what it keeps where it is known to prune.

    `k` values are kept, with the (n,) sums `s2`; `exponent` (n,) is ASH-S's and SCALE's, of LTS it is s1/s2. None where
    the method has no such number.
    """

    method: Method
    low: float
    high: float
    k: int | None = None
    s2: NDArray[np.float64] | None = None
    exponent: NDArray[np.float64] | None = None


def keep(ranked: Ranked, method: Method, activations: Floats) -> Kept:
    """What `ash.shaping` keeps of every row. `activations`: the bank that was ranked, for methods that are unknown."""
    from ash.shapes.scale import top_count
    from ash.shaping import RANDOM_HIGH, kept_count

    size, does = ranked.values.shape[1], method.does
    low, high = float(ranked.values[:, 0].min()), float(ranked.values[:, -1].max())
    if not method.steps or does == "clip":
        return Kept(method, low, high)
    if does in ("multiply", "logits") and method.variant in SCALING and method.percentile is not None:
        return _scaled(ranked, method, top_count(size, method.percentile))
    if does not in PRUNES or method.percentile is None:
        return Kept(method, *_ends(activations, method))
    k = kept_count(size, method.percentile)
    s2 = ranked.values[:, size - k :].sum(1, dtype=np.float64)
    exponent = _exponents(ranked, k, s2) if does == "scale" else None
    made = ranked.values[:, -1:].astype(np.float64)  # the largest values that are made
    if exponent is not None:
        made = ranked.values[:, [-k, -1] if k else [-1]].astype(np.float64) * np.exp(exponent)[:, None]
    if does == "fill":
        made = ranked.s1 / max(k, 1)
    most = RANDOM_HIGH if does == "random" else float(made.max())
    return Kept(method, min(0.0, float(made.min())), most, k, s2, exponent)


def _scaled(ranked: Ranked, method: Method, k: int) -> Kept:
    """What SCALE and LTS make of every row, of which they prune nothing; `k` values are summed to s2."""
    ends = ranked.values[:, [0, -1]].astype(np.float64)
    top = ranked.values[:, -k:]
    if method.does == "logits":
        s1, s2 = (np.maximum(some, 0).sum(1, dtype=np.float64) for some in (ranked.values, top))
        ratio = np.divide(s1, s2, out=np.ones_like(s1), where=s2 != 0)
        return Kept(method, float(ends.min()), float(ends.max()), exponent=ratio)
    exponent = _exponents(ranked, len(ranked.values[0]), top.sum(1, dtype=np.float64))
    made = ends * np.exp(exponent)[:, None]
    return Kept(method, float(made.min()), float(made.max()), exponent=exponent)


def _exponents(ranked: Ranked, k: int, s2: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) s1/s2 as it is clamped where the k largest values are multiplied."""
    import torch

    from ash.shaping import scale_exponent

    peak = np.abs(ranked.values[:, [-1, -k]]).max(1) if k else np.zeros(len(s2))
    s1, two = torch.from_numpy(np.array(ranked.s1)), torch.from_numpy(s2)
    exponent: NDArray[np.float64] = scale_exponent(s1, two, torch.from_numpy(peak), torch.float32).numpy()
    return exponent


def _shaped(activations: Floats, method: Method) -> Iterator[NDArray[np.float32]]:
    """The bank as the method makes it, ROWS rows (r, D) at a time: the way for what is not known."""
    import torch

    for start in range(0, len(activations), ROWS):
        x = torch.from_numpy(np.array(activations[start : start + ROWS], np.float32))
        yield method.shape(x, first_index=start).flatten(1).numpy()


def _ends(activations: Floats, method: Method) -> tuple[float, float]:
    """The smallest and the largest value that the method makes; AshError where one is not a number."""
    parts = [(float(part.min()), float(part.max())) for part in _shaped(activations, method)]
    low, high = min(one for one, _ in parts), max(one for _, one in parts)
    if not np.isfinite([*map(sum, parts), low, high]).all():
        raise AshError(f"{method.label} makes values of these activations that are no finite numbers.")
    return low, high


def bins(pairs: list[tuple[Ranked, Kept]], log: bool) -> Bins:
    """Bins that hold the values of all banks before and after; logarithmic only when asked and nothing is negative."""
    banks = [bank for bank, _ in pairs]
    low = min(min(float(bank.values[:, 0].min()), kept.low) for bank, kept in pairs)
    high = max(max(float(bank.values[:, -1].max()), kept.high) for bank, kept in pairs)
    if not log or low < 0:
        low = min(low, 0.0)
        return Bins(low, (max(high, 0.0) - low or 1.0) / BINS, BINS, False)
    sample = np.concatenate([bank.values[:: max(1, len(bank.values) // 100)].ravel() for bank in banks])
    positive = sample[sample > 0]
    first = int(np.floor(np.log10(np.quantile(positive, 0.01)))) if len(positive) else -1
    last = max(int(np.ceil(np.log10(high))) if high > 0 else 0, first + 1)
    width = next((width for width in WIDTHS if (last - first) / width <= BINS), WIDTHS[-1])
    return Bins(float(first), width, int(np.ceil((last - first) / width)), True)


def before(ranked: Ranked, within: Bins) -> Counts:
    """All values of a bank, not shaped."""
    return _count(ranked.values, within, logs=ranked.logs if within.log else None)


def after(ranked: Ranked, kept: Kept, activations: Floats, within: Bins) -> Counts:
    """All values of a bank, shaped. `activations`: the bank that was ranked, for what depends on a value's place."""
    rows, size = ranked.values.shape
    method, k, logs = kept.method, kept.k, ranked.logs if within.log else None
    if not method.steps or method.does == "logits":
        return _count(ranked.values, within, logs=logs)
    if method.does == "multiply" and kept.exponent is not None:
        return _count(ranked.values, within, np.exp(kept.exponent), logs=logs)
    if method.does == "clip":
        return _count(ranked.values, within, ceiling=method.parameter)
    if k is None:  # one chunk after the other, as it really is
        return reduce(add, (_count(part, within) for part in _shaped(activations, method)))
    if method.does == "random":
        return _count_random(activations, method.parameter or 0.0, within)
    if method.does == "fill":
        one = _count((ranked.s1 / max(k, 1)).astype(np.float32)[:, None], within)
        found = Counts(one.bars * k, one.zeros * k, one.negative * k, rows, rows * k)
    else:
        factor = None if kept.exponent is None else np.exp(kept.exponent)
        top = slice(size - k, None)
        found = _count(ranked.values[:, top], within, factor, logs=None if logs is None else logs[:, top])
    return Counts(found.bars, found.zeros + rows * (size - k), found.negative, rows, rows * size)


def _log10(values: Floats) -> NDArray[np.float32]:
    """Twice as fast as numpy's; of 0 that of the smallest value there is."""
    logs: NDArray[np.float32] = np.log(np.maximum(values, TINY), dtype=np.float32)
    logs *= np.float32(1 / np.log(10))
    return logs


def _count(
    values: Floats, within: Bins, factor: Floats | None = None, ceiling: float | None = None, logs: Floats | None = None
) -> Counts:
    """Count (n, D) values, times the row's factor (n,), cut at a ceiling; some rows at a time to stay small.

    `logs`: log10 of the values, where they are known.
    """
    bars = np.zeros(within.count, np.int64)
    zeros = negative = 0
    for start in range(0, len(values), ROWS):
        rows = slice(start, start + ROWS)
        chunk = values[rows]
        if within.log and logs is not None and ceiling is None:
            place = logs[rows] if factor is None else logs[rows] + np.log10(factor[rows, None]).astype(np.float32)
        else:
            if factor is not None:
                chunk = (chunk * factor[rows, None]).astype(np.float32)
            if ceiling is not None:
                chunk = np.minimum(chunk, np.float32(ceiling))
            place = _log10(chunk) if within.log else chunk
        none = int(np.count_nonzero(chunk == 0))
        index = np.floor((place - np.float32(within.low)) / np.float32(within.step)).clip(0, within.count - 1)
        bars += np.bincount(index.astype(np.intp).ravel(), minlength=within.count)
        if none:  # zeros were counted where they lie on the axis
            home = 0 if within.log else int(np.clip(np.floor(-within.low / within.step), 0, within.count - 1))
            bars[home] -= none
        zeros += none
        negative += int(np.count_nonzero(chunk < 0))
    return Counts(bars, zeros, negative, len(values), values.size)


@lru_cache(maxsize=2)
def _noise(rows: int, size: int) -> NDArray[np.float32]:
    """(rows, size) what ASH-RAND writes into a bank: it depends on a value's place alone, so it is drawn once."""
    from ash.shaping import uniform_noise

    return uniform_noise(np.arange(rows), size, seed=0)


def _count_random(activations: Floats, p: float, within: Bins) -> Counts:
    """Count the random values that ASH-RAND writes into the kept places of a bank (n, ...)."""
    import torch

    from ash.shaping import kept_mask

    rows = len(activations)
    noise = _noise(rows, int(np.prod(activations.shape[1:])))
    shaped = [
        noise[start : start + ROWS][kept_mask(torch.from_numpy(chunk), p).flatten(1).numpy()]
        for start in range(0, rows, ROWS)
        for chunk in (np.array(activations[start : start + ROWS]),)
    ]
    found = _count(np.concatenate(shaped)[None], within)
    gone = noise.size - found.total
    return Counts(found.bars, found.zeros + gone, 0, rows, noise.size)
