"""How fast something goes, and how long it will still take."""

import math
from collections import deque

WINDOW = 20.0  # seconds over which a rate is taken
APART = 0.2  # least seconds between two marks


class Pace:
    """The rate of the latest stage of some work, over the last seconds."""

    def __init__(self) -> None:
        self._stage: tuple[str, int | None] | None = None
        self._marks: deque[tuple[float, int]] = deque()

    def after(self, stage: str, done: int, total: int | None, now: float) -> tuple[float, float]:
        """Units a second and seconds left, at the time `now`; 0 and infinity while nobody can know."""
        if self._stage != (stage, total) or done < self._marks[-1][1]:
            self._stage = (stage, total)
            self._marks = deque([(now, done)])
        if now - self._marks[-1][0] > APART:
            self._marks.append((now, done))
        while len(self._marks) > 2 and now - self._marks[1][0] > WINDOW:
            self._marks.popleft()
        start, before = self._marks[0]
        rate = (done - before) / (now - start) if now > start else 0.0
        left = (total - done) / rate if rate > 0 and total is not None else math.inf
        return rate, left
