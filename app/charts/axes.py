"""The ends of axes: round numbers, so that an axis stays while a percentile moves what is drawn on it a little."""

import math

_STEPS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


def round_top(highest: float) -> float:
    """The next round number from a value up, above 0: 1, 1.5, 2, 3, 4, 5, 6 or 8 times a power of ten."""
    if not highest > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(highest))
    return next(step * power for step in _STEPS if step * power >= highest * (1 - 1e-12))
