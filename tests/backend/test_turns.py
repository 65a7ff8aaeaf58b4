"""Two users at once: turns on the device, one computation for all who want it, works that are not thrown away."""

import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.runtime.scriptrunner_utils.exceptions import RerunException, StopException
from streamlit.runtime.scriptrunner_utils.script_requests import RerunData

from app.backend import banks, deep, engine, turns
from app.backend import setups as setups_
from app.backend.turns import Turns, on_device, semaphore, shared
from app.link.spec import RunSpec
from ash import extraction
from ash.bank import cache_root, find_bank
from ash.errors import AshError
from ash.extracting import claims
from ash.models import get_model

PATIENCE = 60.0  # seconds after which a test gives up
DEEP = "layer3.0.relu2"


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.002)


def together(*work: Callable[[], object]) -> list[Any]:
    """What some users get who begin at the same moment, each in a thread; what one raises is handed out as well."""
    found: list[Any] = [None] * len(work)
    gate = threading.Barrier(len(work))

    def one(number: int) -> None:
        gate.wait(PATIENCE)
        try:
            found[number] = work[number]()
        except Exception as error:
            found[number] = error

    threads = [threading.Thread(target=one, args=(number,), daemon=True) for number in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "a user waits for ever"
    return found


def free() -> bool:
    """Whether nobody holds the device."""
    if not semaphore.acquire(blocking=False):
        return False
    semaphore.release()
    return True


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    assert free()
    assert not turns._under_way


# Turns


def test_turns_come_in_the_order_of_asking() -> None:
    lock, order = Turns(), list[int]()

    def user(number: int) -> None:
        with lock:
            order.append(number)

    lock.acquire()
    threads = [threading.Thread(target=user, args=(number,)) for number in range(6)]
    for number, thread in enumerate(threads):
        thread.start()
        until(lambda number=number: len(lock._waiting) == number + 1)  # type: ignore[misc]
    lock.release()
    for thread in threads:
        thread.join(PATIENCE)
    assert order == list(range(6))


def test_between_two_steps_whoever_waits_has_its_turn() -> None:
    steps, seen = count(), list[object]()
    lock = Turns(lambda: float(repr(steps)[6:-1]))  # nothing but a step takes time
    stop = threading.Event()

    def long_work() -> None:
        with lock:
            while not stop.is_set():
                seen.extend(lock._waiting[:1])
                next(steps)
                lock.let_others(1, 2)

    thread = threading.Thread(target=long_work)
    thread.start()
    for _ in range(50):
        with lock:
            pass
    stop.set()
    thread.join(PATIENCE)
    assert len(seen) == len({id(one) for one in seen}), "who waits before a step has its turn after it"
    assert lock.acquire(blocking=False)


def test_giving_up_does_not_lose_the_turn_for_those_behind() -> None:
    lock = Turns()
    lock.acquire()
    assert not lock.acquire(blocking=False)
    assert not lock.acquire(timeout=0.01)

    def give_up() -> None:
        raise AshError("cancelled")

    with pytest.raises(AshError):
        lock.acquire(meanwhile=give_up)
    behind = threading.Thread(target=lock.acquire)
    behind.start()
    until(lambda: lock._waiting)
    lock.release()
    behind.join(PATIENCE)
    assert not behind.is_alive()
    lock.release()
    assert lock.acquire(blocking=False)


def numbers(stop: int = 1000) -> Generator[int, None, None]:
    yield from range(1, stop)


def failing() -> Generator[int, None, None]:
    yield 1
    raise AshError("The disk is full.")


@pytest.mark.parametrize("thrown", [StopException(), RerunException(RerunData()), KeyboardInterrupt(), MemoryError()])
def test_the_device_is_free_after_whatever_ends_a_computation(thrown: BaseException) -> None:
    steps = on_device(shared("key", numbers))
    next(steps)
    with pytest.raises(type(thrown)):
        steps.throw(thrown)
    assert free()
    broken = on_device(failing())
    with pytest.raises(AshError):
        list(broken)
    assert free()


@pytest.mark.parametrize("thrown", [StopException, KeyboardInterrupt, MemoryError])
def test_the_device_is_free_after_whatever_a_step_raises(thrown: type[BaseException]) -> None:
    def raising() -> Generator[int, None, None]:
        yield 1
        raise thrown

    with pytest.raises(thrown):
        list(on_device(shared("key", raising)))
    assert free()


# One computation for all


def test_all_who_ask_for_the_same_follow_one_computation() -> None:
    begun, seen = list[int](), threading.Barrier(3)

    def start() -> Generator[int, None, None]:
        begun.append(1)
        for number in range(1, 301):
            time.sleep(0.0005)
            yield number

    def user() -> list[int]:
        steps = on_device(shared("key", start))
        first = next(steps)
        seen.wait(PATIENCE)
        return [first, *steps]

    for found in together(user, user, user):
        assert found == sorted(found)
    assert len(begun) == 1


def test_who_stops_is_replaced_and_nothing_is_done_twice() -> None:
    begun, closed = list[int](), list[int]()

    def start() -> Generator[int, None, None]:
        begun.append(1)
        try:
            yield from numbers(11)
        finally:
            closed.append(1)

    one, two = (on_device(shared("key", start)) for _ in range(2))
    assert [next(one), next(two), next(one)] == [1, 2, 3]
    one.close()
    assert not closed
    assert next(two) == 4
    three = on_device(shared("key", start))
    assert next(three) == 5, "who comes later joins"
    assert list(two) == [6, 7, 8, 9, 10]
    assert list(three) == []
    assert (len(begun), len(closed)) == (1, 1)


def test_the_last_to_leave_closes_it() -> None:
    closed = list[int]()

    def start() -> Generator[int, None, None]:
        try:
            yield from numbers()
        finally:
            closed.append(1)

    one, two = (on_device(shared("key", start)) for _ in range(2))
    next(one), next(two)
    one.close()
    assert closed == []
    two.close()
    assert closed == [1]
    again = on_device(shared("key", start))
    assert next(again) == 1
    again.close()


def test_a_failure_is_told_to_all_who_follow_and_who_comes_later_tries_again() -> None:
    begun = list[int]()

    def start() -> Generator[int, None, None]:
        begun.append(1)
        yield 1
        yield 2
        raise AshError("The disk is full.")

    one, two = (on_device(shared("key", start)) for _ in range(2))
    assert [next(one), next(two)] == [1, 2]
    for steps in (one, two):
        with pytest.raises(AshError):
            next(steps)
    assert len(begun) == 1
    with pytest.raises(AshError):
        list(on_device(shared("key", start)))
    assert len(begun) == 2


# Banks


def placed(images: int, **more: Any) -> setups_.Setup:
    return setups_.setup(RunSpec(placement=DEEP, images=images, ood=("digits",), **more))


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The data sets of the extractions that begin from now on."""
    names, real = list[str](), extraction.extract_steps

    def counted(entry: Any, placement: str, data: Any, **more: Any) -> Any:
        names.append(data.name)
        return real(entry, placement, data, **more)

    monkeypatch.setattr(extraction, "extract_steps", counted)
    return names


def test_two_sessions_that_want_one_bank_compute_it_once_and_see_the_same(begun: list[str]) -> None:
    at = placed(103)
    one, two = banks.compute_banks(at), banks.compute_banks(at)
    seen = [next(one), next(two), next(one), next(two)]
    assert [step.done for step in seen] == sorted({step.done for step in seen}), "each step is taken once"
    assert {step.total for step in seen} == {206}
    one.close()  # its tab is closed
    assert list(two)[-1].done == 206
    assert len(begun) == len(at.sets), "what one had done the other goes on with"
    assert not banks.missing_sets(at)


def test_sessions_with_other_sets_share_the_banks_they_have_in_common(begun: list[str]) -> None:
    few, more = placed(105), setups_.setup(RunSpec(placement=DEEP, images=105, ood=("digits", "noise")))
    together(lambda: list(banks.compute_banks(few)), lambda: list(banks.compute_banks(more)))
    assert not banks.missing_sets(more)
    assert len(set(begun)) == 3
    assert len(begun) <= 4, "one that is done within a step may be looked at again"


def test_ten_sessions_with_ten_banks_all_finish() -> None:
    setups = [placed(40 + number) for number in range(10)]
    found = together(*(lambda at=at: list(banks.compute_banks(at))[-1] for at in setups))  # type: ignore[misc]
    assert [(step.done, step.total) for step in found] == [(2 * (40 + n), 2 * (40 + n)) for n in range(10)]
    assert not any(banks.missing_sets(at) for at in setups)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_closed_tab_leaves_no_thread_and_no_claim(steps: int) -> None:
    at = placed(110 + steps)
    list(banks.compute_banks(placed(51)))  # threads of torch are there
    before = set(threading.enumerate())
    work = banks.compute_banks(at)
    for _ in range(steps):
        next(work)
    with pytest.raises(StopException):
        work.throw(StopException())
    assert set(threading.enumerate()) <= before
    folder = claims_of(at)
    assert not list(folder.rglob("*.lock"))
    assert list(banks.compute_banks(at))[-1].done == 2 * (110 + steps)


def claims_of(at: setups_.Setup) -> Path:
    return cache_root() / banks.identity(at, at.id_set).folder.parent


def test_who_is_waited_for_is_said_and_replaced_when_it_dies() -> None:
    at = placed(61)
    who = banks.identity(at, at.id_set)
    lock = cache_root() / who.folder / "shard-00000.lock"
    told, tell = os.pipe()
    child = os.fork()
    if not child:  # another server that works on the first shard
        held = claims.claim(lock)
        os.write(tell, b"1" if held else b"0")
        signal.pause()
    try:
        assert os.read(told, 1) == b"1"
        work = banks.compute_banks(at)
        steps = [next(work) for _ in range(4)]
        assert steps[-1].by == f"process {child}"
        assert free(), "waiting for another process does not keep the device"
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        last = list(work)[-1]
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    assert (last.done, last.by) == (122, "")
    assert find_bank(who)


def test_a_waiting_session_lets_others_on_the_device() -> None:
    at, pauses = placed(62), list[float]()

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            held.release()

    folder = claims_of(at)
    who = banks.identity(at, at.id_set)
    plan = folder.parents[0] / who.folder.relative_to(who.folder.parents[1]) / "plan.lock"
    held = claims.wait(plan)
    data = setups_.images(at, at.id_set)
    with closing(extraction.extract_steps(get_model("demo"), DEEP, data, sleep=sleep)) as steps:
        first = next(steps)
        assert first.by == f"process {os.getpid()}", "who finds the batch size is named too"
        list(steps)
    assert len(pauses) == 3


# Deep placements


def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The methods of every step that a sweep takes from now on."""
    taken, real = list[tuple[str, ...]](), engine.start

    def start(at: setups_.Setup, methods: tuple[str, ...]) -> Iterator[Any]:
        for step in real(at, methods):
            taken.append(methods)
            yield step

    monkeypatch.setattr(deep, "start", start)
    return taken


@pytest.fixture(scope="module")
def block() -> setups_.Setup:
    at = placed(70)
    list(banks.compute_banks(at))
    return at


@pytest.mark.parametrize(
    ("mine", "yours"),
    [
        (("ash_s@11", "ash_s@12"), ("ash_p@11", "ash_b@12")),
        (("ash_s@13", "ash_s@14", "ash_p@13"), ("ash_p@13",)),
        (("ash_s@15", "ash_s@16"), ("ash_s@15", "ash_s@16")),
        (("ash_s@17", "ash_s@18"), ("ash_s@18", "ash_s@17")),
    ],
)
def test_users_with_other_methods_at_one_deep_placement_both_finish(
    block: setups_.Setup, monkeypatch: pytest.MonkeyPatch, mine: tuple[str, ...], yours: tuple[str, ...]
) -> None:
    taken, users = counted(monkeypatch), (mine, yours)
    found = together(*(lambda one=one: list(deep.deep_steps(block, "energy", one)) for one in users))  # type: ignore[misc]
    assert [(steps[-1].done, steps[-1].total) for steps in found] == [(len(one), len(one)) for one in users]
    alone = sum(len(list(engine.start(block, one))) for one in users)
    assert len(taken) <= alone + 2, "nobody's half-done work is thrown away"
    table = deep.deep_table(block, "energy")
    assert table is not None
    for method in {*mine, *yours}:
        fresh = engine.fresh(block, (method,)).table("demo", DEEP, block.id_set)
        np.testing.assert_array_equal(
            table[table["method"] == method][["auroc", "fpr95", "id_accuracy"]],
            fresh[["auroc", "fpr95", "id_accuracy"]],
        )


def test_who_wants_one_setting_does_not_wait_for_a_long_list(
    block: setups_.Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = counted(monkeypatch)
    many = deep.deep_steps(block, "energy", tuple(f"ash_s@{p}" for p in range(30, 50)))
    next(many)
    alone = len(list(engine.start(block, ("ash_s@49",))))
    taken.clear()
    assert list(deep.deep_steps(block, "energy", ("ash_s@49",)))[-1].done == 1
    assert len(taken) <= alone
    many.close()


def test_a_half_done_setting_is_gone_on_with_by_whoever_comes(
    block: setups_.Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, methods = counted(monkeypatch), ("ash_s@51", "ash_s@52")
    alone = len(list(engine.start(block, methods)))
    for _ in range(200):  # every run of a page takes one step and is interrupted
        with closing(deep.deep_steps(block, "energy", methods)) as steps:
            if next(steps, None) is None:
                break
    assert len(taken) == alone


def test_idle_works_are_let_go_and_used_ones_are_not(block: setups_.Setup) -> None:
    known = deep._known(block, "energy")
    used = deep.deep_steps(block, "energy", ("ash_p@51", "ash_p@52"))
    next(used)
    for p in range(60, 80):  # a slider that is moved on before anything is done
        with closing(deep.deep_steps(block, "energy", (f"ash_p@{p}", "ash_p@53"))) as steps:
            next(steps)
    assert len(known.works) <= deep.MOST_IDLE + 2
    (mine,) = [work for work in known.works if work.users]
    assert mine.methods == ("ash_p@51", "ash_p@52")
    list(used)
    assert not any(work.users for work in known.works)


def test_a_broken_step_is_told_and_the_next_try_begins_anew(
    block: setups_.Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(at: setups_.Setup, methods: tuple[str, ...]) -> Iterator[Any]:
        raise AshError("The disk is full.")
        yield

    with monkeypatch.context() as patch:
        patch.setattr(deep, "start", broken)
        with pytest.raises(AshError):
            list(deep.deep_steps(block, "energy", ("ash_b@33",)))
    assert list(deep.deep_steps(block, "energy", ("ash_b@33",)))[-1].done == 1


# What is asked for


def test_a_bank_that_somebody_finishes_changes_nobodys_setup() -> None:
    spec = RunSpec(placement=DEEP, images=71, ood=("digits",))
    before, asked = setups_.setup(spec), setups_.asked(spec)
    list(banks.compute_banks(setups_.setup(RunSpec(placement=DEEP, images=71, ood=("noise",)))))
    setups_.look_again()
    assert setups_.setup(spec) == before
    assert setups_.asked(spec) == asked


def test_a_sweep_over_more_sets_is_narrowed_and_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = setups_.setup(RunSpec(placement=DEEP, images=20))
    list(banks.compute_banks(usual))
    whole, _ = engine.run(usual, ("ash_s@90",))
    few = setups_.setup(RunSpec(placement=DEEP, images=20, ood=("digits", "noise")))
    fresh = engine.fresh(few, ("ash_s@90",))
    monkeypatch.setattr(engine, "fresh", lambda *_: pytest.fail("it is on disk"))
    found, _ = engine.run(few, ("ash_s@90",))
    assert list(found.ood_scores) == list(few.ood)
    for name, scores in fresh.ood_scores.items():
        np.testing.assert_array_equal(found.ood_scores[name], scores)
    np.testing.assert_array_equal(found.id_scores, whole.id_scores)
