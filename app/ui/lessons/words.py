"""Numbers as words, true for every sign. Pure."""

from app.theme import points

SAME = 0.5  # points: what differs by less is called the same


def difference(one: float, other: float) -> float:
    """Points from the other percentage to the one as texts show both, to a digit, so that a reader's sum adds up."""
    return float(f"{one:.1f}") - float(f"{other:.1f}")


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
