"""Taking turns on the device: whoever has had least of it goes next; and one computation for all who want it.

`semaphore` is held for a step at a time: a batch of an extraction, a chunk of a sweep, one image. After each step the
one rule of `Turns` says who goes on. So two users each have half of the device, however long the steps of the other
are, and wait for no more than the step that is under way and what the others are behind.
"""

import threading
import time
from collections.abc import Callable, Generator, Hashable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")
POLL = 0.2  # seconds between two calls of `meanwhile`


@dataclass(eq=False)
class _User:
    """A thread that uses the device: for how many seconds so far, and what the even share was when it last let go."""

    had: float = 0.0
    left: float = 0.0


@dataclass(eq=False)
class _Asking:
    """A user who waits; `come` is set once it is its turn."""

    user: _User
    come: threading.Event = field(default_factory=threading.Event)


class Turns:
    """A lock that goes to whoever has had it for the least time, and among equals to the first who asked.

    Who comes, or comes back, is level with an even share of those who are there, if it had less: nobody saves up time
    by staying away, nobody is passed for long by others who come, and short work does not wait behind long lists.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock, self._guard = clock, threading.Lock()
        self._users = threading.local()
        self._holder: _User | None = None
        self._since = 0.0  # when the holder's time was last counted
        self._level = 0.0  # what each of those who were there would have had, shared evenly
        self._waiting: list[_Asking] = []

    def acquire(
        self, blocking: bool = True, timeout: float = -1.0, meanwhile: Callable[[], None] | None = None
    ) -> bool:
        """Wait for a turn; False where it did not come within `timeout` seconds (-1: for ever), or at once.

        `meanwhile` is called now and then while waiting; what it raises gives up the place among those who wait.
        """
        user: _User = self._users.__dict__.setdefault("own", _User())
        with self._guard:
            self._count()
            away = self._level - user.left
            user.had = max(user.had, min(self._level, user.had + 2 * away))  # once for not asking, once for being owed
            if self._holder is None:
                self._begin(user)
                return True
            if not blocking:
                return False
            mine = _Asking(user)
            self._waiting.append(mine)
        end = time.monotonic() + timeout if timeout >= 0 else None
        try:
            while not mine.come.wait(_patience(end, meanwhile)):
                if meanwhile is not None:
                    meanwhile()
                if end is not None and time.monotonic() >= end:
                    return not self._gave_up(mine)
        except BaseException:
            if not self._gave_up(mine):
                self.release()
            raise
        return True

    def _gave_up(self, mine: _Asking) -> bool:
        """Wait no longer; False where the turn has come in the meantime."""
        with self._guard:
            if mine.come.is_set():
                return False
            self._count()
            mine.user.left = self._level
            self._waiting.remove(mine)
            return True

    def release(self) -> None:
        """Hand on to whoever has had least."""
        with self._guard:
            if self._holder is None:
                raise RuntimeError("released without being held")
            self._count()
            self._holder.left = self._level
            self._holder = None
            if self._waiting:
                following = min(self._waiting, key=lambda one: one.user.had)
                self._waiting.remove(following)
                self._begin(following.user)
                following.come.set()

    def goes_on(self) -> bool:
        """Between two steps of what holds it: whether others wait who have all had more, so that it is still its turn.

        Whoever lets go here and asks again would find that others have begun.
        """
        return self._compared() < 0

    def let_others(self, *_: object) -> None:
        """Between two steps of what holds it: who waits and has not had more goes first. Takes what a progress callback
        does."""
        if self._compared() >= 0:
            self.release()
            self.acquire()

    def _compared(self) -> float:
        """By how many seconds the holder has had more than the least of those who wait; NaN where nobody does."""
        with self._guard:
            self._count()
            assert self._holder is not None
            return self._holder.had - min((one.user.had for one in self._waiting), default=float("nan"))

    def sleep(self, seconds: float) -> None:
        """Sleep without being held."""
        self.release()
        try:
            time.sleep(seconds)
        finally:
            self.acquire()

    def _begin(self, user: _User) -> None:
        self._holder, self._since = user, self._clock()

    def _count(self) -> None:
        """Bring up to date what the holder has had, and the even share."""
        if self._holder is not None:
            now = self._clock()
            self._holder.had += now - self._since
            self._level += (now - self._since) / (1 + len(self._waiting))
            self._since = now

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


def on_device(steps: Generator[T, None, R], meanwhile: Callable[[], None] | None = None) -> Generator[T, None, R]:
    """The same steps and result, each step taken on the device and handed out when the turn is over.

    Closing this closes them. `meanwhile` as in `Turns.acquire`.
    """
    with closing(steps):
        while True:
            taken = list[T]()
            semaphore.acquire(meanwhile=meanwhile)
            try:
                taken.append(next(steps))
                while semaphore.goes_on():
                    taken.append(next(steps))
            except StopIteration as end:
                result: R = end.value
                break
            finally:
                semaphore.release()
            yield from taken
        yield from taken
        return result


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
