"""Numbers as words, true for every sign. Pure."""

from collections.abc import Sequence

from app.theme import points

SAME = 0.5  # points: what differs by less is called the same


def gap(difference: float, other: str) -> str:
    """`3.1 points higher than unshaped`, `0.2 points lower than unshaped`, `the same as unshaped`."""
    size = points(abs(difference)).removeprefix("+")
    if not float(size.split()[0]):
        return f"the same as {other}"
    size = size.replace("points", "point") if size.startswith("1.0 ") else size
    return f"{size} {'higher' if difference > 0 else 'lower'} than {other}"


def order(difference: float, same: float = SAME) -> str:
    """`higher`, `lower` or `same`, up to a tolerance in points."""
    return "same" if abs(difference) < same else "higher" if difference > 0 else "lower"


def listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def counted(number: int, noun: str) -> str:
    """`1 set`, `6 sets`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
