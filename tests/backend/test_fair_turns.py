"""Turns by time: who has had least goes next, whatever the length of the steps, on a clock that only steps move."""

import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.backend import turns
from app.backend.turns import Turns, on_device, shared
from ash.errors import AshError

PATIENCE = 60.0
ROUNDING = 1e-9


@dataclass
class User:
    """Somebody with steps of some seconds, who comes once the device has worked for `comes` seconds."""

    steps: Sequence[float]
    comes: float = 0.0
    done: bool = False
    ready: float = 0.0  # when it last asked
    ended: float = 0.0  # when its last step was done
    waits: list[float] = field(default_factory=list)  # before each of its steps

    @property
    def alone(self) -> float:
        return sum(self.steps)

    @property
    def longest(self) -> float:
        return max(self.steps)


class Play:
    """Users on one device, whose clock stands still but in steps; they need no time between two turns of their own."""

    def __init__(self, users: Sequence[User]) -> None:
        self.now, self.users = 0.0, list(users)
        self.lock = Turns(lambda: self.now)
        self.there = set[int]()

    def pass_time(self, seconds: float) -> None:
        """A step on the device. Whoever is there has asked before it begins, and others come while it is under way."""
        end = self.now + seconds
        for moment in sorted({self.now, end, *(user.comes for user in self.users if self.now < user.comes < end)}):
            self.now = moment
            self.there |= {number for number, user in enumerate(self.users) if not user.done and user.comes <= moment}
            until(lambda: len(self.lock._waiting) == len(self.there) - 1)

    def steps(self, number: int) -> Generator[float, None, None]:
        """The steps of a user; that it is over it learns in a turn of its own, as computations do."""
        user = self.users[number]
        for seconds in user.steps:
            user.waits.append(self.now - user.ready)
            self.pass_time(seconds)
            user.ready = user.ended = self.now
            yield seconds
        user.done = True
        self.there.discard(number)

    def use(self, number: int) -> None:
        """All that a user does, in a thread."""
        user = self.users[number]
        until(lambda: user.comes <= self.now)
        user.ready = self.now
        for _ in on_device(self.steps(number)):
            pass

    def run(self) -> None:
        """Play it to the end."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(turns, "semaphore", self.lock)
            self.lock.acquire()
            threads = [threading.Thread(target=self.use, args=(n,), daemon=True) for n in range(len(self.users))]
            for number, thread in enumerate(threads):
                thread.start()
                if not self.users[number].comes:
                    until(lambda number=number: len(self.lock._waiting) == number + 1)  # type: ignore[misc]
            self.lock.release()
            for thread in threads:
                thread.join(PATIENCE)
                assert not thread.is_alive(), "a user waits for ever"
        assert self.lock.acquire(blocking=False), "the device is held when all are done"


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0)


def others(users: Sequence[User], one: User) -> float:
    """The longest steps of all others together."""
    return sum(user.longest for user in users if user is not one)


lengths = st.lists(st.sampled_from([0.001, 0.02, 0.1, 0.35, 3.0]), min_size=1, max_size=10)


@given(st.lists(lengths, min_size=2, max_size=4))
@example(
    [[0.02] * 3, [0.001, 3, 0.35, 0.02, 0.001, 0.02], [0.02, 0.001], [0.35, 0.001, 0.35, 0.1, 3, 3]]
)  # who is owed much keeps that while it hands over
def test_who_begins_together_finishes_within_its_share_and_a_step_of_each(steps: list[list[float]]) -> None:
    users = [User(one) for one in steps]
    Play(users).run()
    for user in users:
        assert user.ended <= len(users) * user.alone + others(users, user) + ROUNDING
        assert max(user.waits) <= (len(users) - 1) * user.longest + others(users, user) + ROUNDING


@given(st.lists(lengths, min_size=2, max_size=4), st.lists(st.floats(0, 0.99), min_size=3, max_size=3))
def test_who_comes_while_others_work_is_neither_starved_nor_starves(
    steps: list[list[float]], when: list[float]
) -> None:
    users = [User(one) for one in steps]
    for user, share in zip(users[1:], when, strict=False):
        user.comes = share * users[0].alone  # the device is not idle before
    Play(users).run()
    for user in users:
        assert user.ended - user.comes <= len(users) * user.alone + others(users, user) + ROUNDING
        assert max(user.waits) <= (len(users) - 1) * user.longest + others(users, user) + ROUNDING


@pytest.mark.parametrize(("short", "long"), [([0.01] * 20, [0.05] * 200), ([0.05] * 20, [0.01] * 200)])
@pytest.mark.parametrize("comes", [0.0, 0.5])
def test_two_users_take_at_most_twice_as_long_as_alone(short: list[float], long: list[float], comes: float) -> None:
    users = [User(long), User(short, comes)]
    Play(users).run()
    for user in users:
        assert user.ended - user.comes <= 2 * user.alone + others(users, user) + ROUNDING


def test_short_work_does_not_wait_behind_long_lists() -> None:
    users = [*(User([0.1] * 100) for _ in range(3)), User([0.01], comes=7.03)]
    Play(users).run()
    assert max(users[-1].waits) <= 0.3


def test_a_stream_of_newcomers_does_not_keep_anybody_from_the_device() -> None:
    users = [User([0.1] * 4), *(User([0.1], comes=0.05 + 0.1 * number) for number in range(100))]
    Play(users).run()
    assert users[0].ended <= 5.0, "and not after all of them, who take ten seconds"


class Person:
    """A thread of its own that holds a lock when it is told to."""

    def __init__(self, lock: Turns) -> None:
        self.lock, self.pool = lock, ThreadPoolExecutor(1)

    def takes(self) -> None:
        """Take the lock, which is free."""
        assert self.pool.submit(self.lock.acquire, blocking=False).result(PATIENCE)

    def asks(self) -> None:
        """Begin to wait for it."""
        before = len(self.lock._waiting)
        self.asked = self.pool.submit(self.lock.acquire)
        until(lambda: len(self.lock._waiting) == before + 1)

    def lets_go(self) -> None:
        """Release it."""
        self.pool.submit(self.lock.release).result(PATIENCE)


def test_nobody_saves_up_time_by_staying_away() -> None:
    now = [0.0]
    lock = Turns(lambda: now[0])
    ann, bob = Person(lock), Person(lock)
    ann.takes()
    now[0] += 1
    ann.lets_go()
    bob.takes()
    now[0] += 100  # Ann is away
    ann.asks()
    bob.lets_go()
    ann.asked.result(PATIENCE)
    bob.asks()
    assert lock.goes_on() is False
    now[0] += 0.1
    ann.lets_go()
    assert bob.asked.result(PATIENCE), "one step, and not what Bob has had in the meantime"
    bob.lets_go()


def test_who_holds_it_goes_on_until_it_has_had_as_much_as_those_who_wait() -> None:
    now = [0.0]
    lock = Turns(lambda: now[0])
    ann, bob = Person(lock), Person(lock)
    ann.takes()
    assert not lock.goes_on(), "nobody waits: each step is a turn of its own"
    bob.asks()
    now[0] += 1
    assert not lock.goes_on()
    ann.lets_go()
    ann.asks()
    for _ in range(3):
        now[0] += 0.3
        assert lock.goes_on()
    now[0] += 0.3
    assert not lock.goes_on()
    bob.lets_go()
    ann.asked.result(PATIENCE)
    ann.lets_go()


def test_steps_that_are_taken_in_one_turn_are_all_handed_out() -> None:
    seen = list[list[float]]([[], []])
    users = [User([0.01] * 30), User([0.2] * 3)]
    play = Play(users)
    use = play.steps

    def noted(number: int) -> Generator[float, None, None]:
        for seconds in use(number):
            seen[number].append(seconds)
            yield seconds

    play.steps = noted  # type: ignore[method-assign]
    play.run()
    assert seen == [user.steps for user in users]


def test_the_result_of_steps_is_handed_on_and_cancelling_while_waiting_closes_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lock, closed = Turns(), list[int]()
    monkeypatch.setattr(turns, "semaphore", lock)

    def steps() -> Generator[int, None, str]:
        try:
            yield 1
            return "done"
        finally:
            closed.append(1)

    def result() -> Generator[int, None, str]:
        found = yield from on_device(steps())
        return found

    once = result()
    assert next(once) == 1
    with pytest.raises(StopIteration) as end:
        next(once)
    assert end.value.value == "done"

    def give_up() -> None:
        raise AshError("cancelled")

    waiting = on_device(steps(), give_up)
    assert next(waiting) == 1
    with lock, pytest.raises(AshError):
        next(waiting)
    assert len(closed) == 2
    assert lock.acquire(blocking=False)


def test_a_step_that_raises_in_the_middle_of_a_turn_lets_go_of_the_device() -> None:
    class Broken(Play):
        def steps(self, number: int) -> Generator[float, None, None]:
            for taken, seconds in enumerate(super().steps(number)):
                if number == 1 and taken == 3:
                    self.there.discard(number)
                    self.users[number].done = True
                    raise AshError("The disk is full.")
                yield seconds

        def use(self, number: int) -> None:
            try:
                super().use(number)
            except AshError:
                assert number == 1

    users = [User([0.5] * 4), User([0.01] * 90)]
    play = Broken(users)
    play.run()
    assert users[0].ended == pytest.approx(2.04)


def test_one_computation_for_two_beside_that_of_a_third_is_done_once_and_keeps_nobody() -> None:
    begun = list[int]()

    class Shared(Play):
        def steps(self, number: int) -> Generator[float, None, None]:
            if number == 2:
                yield from super().steps(2)
                return
            yield from shared("one", self.common)
            self.users[number].done = True
            self.there.discard(number)

        def common(self) -> Generator[float, None, None]:
            begun.append(1)
            for seconds in self.users[0].steps:
                self.pass_time(seconds)
                self.users[0].ended = self.now
                yield seconds

    users = [User([0.1] * 20), User([0.1] * 20), User([0.03] * 20)]
    Shared(users).run()
    assert len(begun) == 1
    assert users[0].ended <= 2 * users[0].alone + 0.1
    assert users[2].ended <= 3 * users[2].alone + 0.2
