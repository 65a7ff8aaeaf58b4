"""Taking turns: one user at a time on the device, first come, first served, and one computation for all who want it.

`semaphore` is held for one step at a time: a batch of an extraction, a chunk of a sweep, one image. Between two steps
whoever waits has its turn.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Hashable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
POLL = 0.2  # seconds between two calls of `meanwhile`


class Turns:
    """A lock that is handed on in the order in which it was asked for; whoever lets go and asks again is the last."""

    def __init__(self) -> None:
        self._guard, self._held = threading.Lock(), False
        self._waiting: deque[threading.Event] = deque()

    def acquire(
        self, blocking: bool = True, timeout: float = -1.0, meanwhile: Callable[[], None] | None = None
    ) -> bool:
        """Wait for a turn; False where it did not come within `timeout` seconds (-1: for ever), or at once.

        `meanwhile` is called now and then while waiting; what it raises gives up the place in the queue.
        """
        with self._guard:
            if not self._held:
                self._held = True
                return True
            if not blocking:
                return False
            mine = threading.Event()
            self._waiting.append(mine)
        end = time.monotonic() + timeout if timeout >= 0 else None
        try:
            while not mine.wait(_patience(end, meanwhile)):
                if meanwhile is not None:
                    meanwhile()
                if end is not None and time.monotonic() >= end:
                    return not self._gave_up(mine)
        except BaseException:
            if not self._gave_up(mine):
                self.release()
            raise
        return True

    def _gave_up(self, mine: threading.Event) -> bool:
        """Leave the queue; False where the turn has come in the meantime."""
        with self._guard:
            if mine.is_set():
                return False
            self._waiting.remove(mine)
            return True

    def release(self) -> None:
        """Hand on to whoever has waited longest."""
        with self._guard:
            if not self._held:
                raise RuntimeError("released without being held")
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._held = False

    def let_others(self, *_: object) -> None:
        """Between two steps of what holds it: whoever waits has its turn first. Takes what a progress callback does."""
        if self._waiting:
            self.release()
            self.acquire()

    def sleep(self, seconds: float) -> None:
        """Sleep without being held."""
        self.release()
        try:
            time.sleep(seconds)
        finally:
            self.acquire()

    def __enter__(self) -> "Turns":
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _patience(end: float | None, meanwhile: Callable[[], None] | None) -> float | None:
    """Seconds to wait before looking around again, None for as long as it takes."""
    left = [] if end is None else [max(0.0, end - time.monotonic())]
    return min([*left, *([] if meanwhile is None else [POLL])], default=None)


semaphore = Turns()


def on_device(steps: Generator[T, None, Any]) -> Generator[T, None, None]:
    """The same steps, each taken in a turn of its own on the device. Closing this closes them."""
    with closing(steps):
        while True:
            with semaphore:
                step = next(steps, _END)
            if step is _END:
                return
            yield step  # type: ignore[misc]


_END: Any = object()


@dataclass
class _UnderWay:
    """A computation that is under way: who follows it, its latest step, and what ended it, if anything did."""

    steps: Generator[Any, None, Any]
    followers: int = 0
    latest: Any = None
    running: bool = False  # somebody is in a step that let go of the device, to wait for another process
    over: bool = False
    error: Exception | None = None

    def advance(self) -> bool:
        """Take one step; False where there is none left. Raises what the computation raises, to everybody."""
        if not self.over:
            self.running = True
            try:
                self.latest = next(self.steps)
            except StopIteration:
                self.over = True
            except BaseException as error:
                self.over = True
                self.error = error if isinstance(error, Exception) else None
                raise
            finally:
                self.running = False
        elif self.error is not None:
            raise self.error
        return not self.over


_under_way: dict[Hashable, _UnderWay] = {}
_guard = threading.Lock()


def shared(key: Hashable, start: Callable[[], Generator[T, None, Any]]) -> Generator[T, None, None]:
    """The steps of one computation for all who ask for the same `key` while it is under way.

    Take them on the device: whoever has the turn takes the next step for all, so all see the same progress, and who
    leaves is not missed. The last to leave closes the computation. What it raises ends it, and everybody is told.
    """
    with _guard:
        one = _under_way.get(key)
        if one is None or one.over:
            one = _under_way[key] = _UnderWay(start())
        one.followers += 1
    try:
        while True:
            if one.running:
                semaphore.sleep(POLL)
            elif not one.advance():
                return
            if one.latest is not None:
                yield one.latest
    finally:
        with _guard:
            one.followers -= 1
            last = not one.followers
            if last and _under_way.get(key) is one:
                del _under_way[key]
        if last:
            one.steps.close()
