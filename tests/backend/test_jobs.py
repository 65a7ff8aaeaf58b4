"""Jobs in the background: order, progress, cancel, resume, failure, a session that is gone, two users, the device."""

import threading
import time
from collections.abc import Callable, Generator, Iterator
from itertools import count

import pytest

from app.backend import jobs as module
from app.backend.banks import semaphore
from app.backend.jobs import Job, Jobs, Report, Work, at_work
from app.backend.progress import Pace
from ash.errors import AshError

Steps = Callable[[], Generator[Report, None, str]]
PATIENCE = 20.0  # seconds after which a test gives up


def report(done: int, total: int | None = 4, what: str = "Reading") -> Report:
    return Report(what, done, total, "images")


def steps(number: int = 4, result: str = "4 images.") -> Steps:
    def run() -> Generator[Report, None, str]:
        for done in range(1, number + 1):
            yield report(done, number)
        return result

    return run


def work(run: Steps | None = None, subject: str = "data one", **more: bool) -> Work:
    return Work("fetch", subject, f"Fetch {subject}", run or steps(), **more)


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.002)


def ended(jobs: Jobs, number: int = 1) -> Job:
    until(lambda: jobs.all() and next(job for job in jobs.all() if job.number == number).ended)
    return next(job for job in jobs.all() if job.number == number)


class Gate:
    """Steps that go on one at a time, when the test says so."""

    def __init__(self, number: int = 1000) -> None:
        self.number, self.allowed, self.closed = number, threading.Semaphore(0), threading.Event()
        self.threads: set[threading.Thread] = set()
        self.done = 0

    def __call__(self) -> Generator[Report, None, str]:
        try:
            while self.done < self.number:
                assert self.allowed.acquire(timeout=PATIENCE)
                self.threads.add(threading.current_thread())
                self.done += 1
                yield report(self.done, self.number)
            return "all"
        finally:
            self.closed.set()


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    yield
    until(lambda: not module.anyone_at_work())


def test_a_job_reports_and_ends_with_its_result() -> None:
    jobs = Jobs()
    started = jobs.start(work())
    assert (started.number, started.ended) == (1, False)
    job = ended(jobs)
    assert (job.state, job.note, job.report) == ("done", "4 images.", report(4))
    until(lambda: not jobs.busy)
    assert jobs.ended == 1


def test_jobs_run_one_after_another_in_the_order_of_their_start() -> None:
    jobs, first, order = Jobs(), Gate(2), []

    def second() -> Generator[Report, None, str]:
        order.append("second")
        yield report(1)
        return ""

    jobs.start(work(first, "data one"))
    jobs.start(work(second, "data two"))
    first.allowed.release()
    until(lambda: first.done == 1)
    assert [job.state for job in jobs.all()] == ["running", "waiting"]
    assert order == []
    first.allowed.release()
    assert ended(jobs, 2).state == "done"
    assert order == ["second"]


def test_the_same_work_twice_is_one_job_and_a_later_try_replaces_the_earlier() -> None:
    jobs, gate = Jobs(), Gate(1)
    assert jobs.start(work(gate)).number == jobs.start(work(gate)).number == 1
    gate.allowed.release()
    ended(jobs)
    jobs.start(work())
    assert [job.number for job in jobs.all()] == [2]
    ended(jobs, 2)


def test_cancel_stops_at_the_next_step_and_resume_goes_on() -> None:
    jobs, gate = Jobs(), Gate(5)
    jobs.start(work(gate))
    gate.allowed.release()
    until(lambda: jobs.all()[0].report)
    jobs.cancel(1)
    assert jobs.cancelling(1)
    gate.allowed.release()  # the step that is under way
    job = ended(jobs)
    assert (job.state, gate.done) == ("cancelled", 2)
    assert "goes on from there" in job.note
    assert gate.closed.is_set(), "the generator's own clean-up has run"
    for _ in range(3):
        gate.allowed.release()
    jobs.resume(1)
    assert ended(jobs, 2).state == "done"
    assert gate.done == 5


def test_a_waiting_job_is_cancelled_without_having_begun() -> None:
    jobs, gate = Jobs(), Gate(1)
    jobs.start(work(gate))
    jobs.start(work(subject="data two"))
    jobs.cancel(2)
    assert jobs.all()[1].state == "cancelled"
    gate.allowed.release()
    ended(jobs)
    until(lambda: not jobs.busy)
    assert jobs.all()[1].report is None


def test_unknown_numbers_and_ended_jobs_are_left_alone() -> None:
    jobs = Jobs()
    for act in (jobs.cancel, jobs.resume, jobs.forget):
        act(99)
    jobs.start(work())
    ended(jobs)
    jobs.cancel(1)
    assert jobs.all()[0].state == "done"
    jobs.forget(1)
    assert jobs.all() == ()


def test_a_running_job_is_not_forgotten() -> None:
    jobs, gate = Jobs(), Gate(1)
    jobs.start(work(gate))
    jobs.forget(1)
    jobs.resume(1)
    assert len(jobs.all()) == 1
    gate.allowed.release()
    ended(jobs)


@pytest.mark.parametrize("error", [AshError("The disk is full."), OSError(28, "The disk is full")])
def test_an_expected_failure_is_one_sentence_and_the_queue_goes_on(error: Exception) -> None:
    def run() -> Generator[Report, None, str]:
        yield report(1)
        raise error

    jobs = Jobs()
    jobs.start(work(run))
    jobs.start(work(subject="data two"))
    assert ended(jobs).state == "failed"
    assert "The disk is full." in jobs.all()[0].note
    assert ended(jobs, 2).state == "done"


@pytest.mark.parametrize("bug", [KeyError("/secret/path"), ValueError("/secret/path")])
def test_an_unexpected_failure_is_in_the_log_and_not_on_the_page(
    bug: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def run() -> Generator[Report, None, str]:
        yield report(1)
        raise bug

    jobs = Jobs()
    jobs.start(work(run))
    job = ended(jobs)
    assert job.state == "failed"
    assert "secret" not in job.note
    number = job.note.split("id ")[1][:8]
    assert any(number in record.getMessage() and record.exc_info for record in caplog.records)


def test_a_failure_of_what_follows_a_job_does_not_stop_the_queue() -> None:
    def broken() -> None:
        raise OSError("no")

    jobs = Jobs(on_end=broken)
    jobs.start(work())
    jobs.start(work(subject="data two"))
    assert ended(jobs).state == "done"
    assert ended(jobs, 2).state == "done"


def test_what_follows_a_job_has_happened_when_it_counts_as_ended() -> None:
    seen: list[bool] = []
    jobs = Jobs(on_end=lambda: seen.append(jobs.busy))
    jobs.start(work())
    ended(jobs)
    assert seen == [True]


def test_a_session_that_is_gone_ends_its_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    alive = [True]
    jobs, gate = Jobs(alive=lambda: alive[0]), Gate()
    jobs.start(work(gate))
    jobs.start(work(subject="data two"))
    gate.allowed.release()
    until(lambda: gate.done == 1)
    alive[0] = False
    gate.allowed.release()
    until(lambda: gate.done == 2)
    assert jobs.busy, "a reload of the page is not the end of a session"
    monkeypatch.setattr(module, "GRACE", 0.0)
    for _ in range(3):
        gate.allowed.release()
    assert ended(jobs).state == "cancelled"
    assert "page was closed" in jobs.all()[0].note
    assert ended(jobs, 2).state == "cancelled"
    until(lambda: not any(thread.is_alive() for thread in gate.threads))


def test_a_page_that_is_loaded_anew_takes_over_the_jobs_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = [True], [True]
    jobs, gate = Jobs(alive=lambda: before[0]), Gate()
    jobs.start(work(gate))
    assert module.adopt(lambda: after[0]) is None, "they belong to a session that is there"
    before[0] = False
    assert module.adopt(lambda: after[0]) is jobs
    assert module.adopt(lambda: True) is None, "nor to a third"
    monkeypatch.setattr(module, "GRACE", 0.0)
    for _ in range(3):
        gate.allowed.release()
    until(lambda: gate.done == 3)
    assert jobs.busy
    after[0] = False
    gate.allowed.release()
    gate.allowed.release()
    assert ended(jobs).state == "cancelled"
    assert module.adopt(lambda: True) is None, "what has ended is nobody's"


def test_no_thread_is_left_when_nothing_is_to_be_done_and_the_next_job_gets_one() -> None:
    jobs = Jobs()
    for number in (1, 2):
        gate = Gate(1)
        jobs.start(work(gate))
        gate.allowed.release()
        ended(jobs, number)
        until(lambda: not any(thread.is_alive() for thread in gate.threads))  # noqa: B023


def test_only_one_user_at_a_time_where_work_is_for_one_alone() -> None:
    mine, other, gate = Jobs(), Jobs(), Gate(1)
    mine.start(work(gate, alone=True))
    until(lambda: at_work("data one", besides=other))
    assert not at_work("data one", besides=mine)
    other.start(work(alone=True))
    job = ended(other)
    assert job.state == "failed"
    assert job.note.startswith("Another user")
    gate.allowed.release()
    ended(mine)
    until(lambda: not at_work("data one"))
    other.resume(1)
    assert ended(other, 2).state == "done"


def test_work_that_can_be_shared_is_done_by_two_at_once() -> None:
    mine, other, gate = Jobs(), Jobs(), Gate(1)
    mine.start(work(gate))
    until(lambda: at_work("data one"))
    other.start(work())
    assert ended(other).state == "done"
    assert at_work("data one")
    gate.allowed.release()
    ended(mine)


def test_a_job_on_the_device_lets_an_evaluation_in_between_its_steps() -> None:
    stop, inside = threading.Event(), []

    def run() -> Generator[Report, None, str]:
        for done in count(1):
            inside.append(semaphore.acquire(blocking=False))  # held by the job itself
            time.sleep(0.02)
            if stop.is_set():
                return "stopped"
            yield report(done, None)
        raise AssertionError

    jobs = Jobs()
    jobs.start(work(run, on_device=True))
    until(lambda: len(inside) > 1)
    for _ in range(10):  # ten evaluations of another user; each would wait for ever if the job kept the device
        assert semaphore.acquire(timeout=PATIENCE)
        semaphore.release()
    stop.set()
    assert ended(jobs).state == "done"
    assert not any(inside)


def test_a_job_that_waits_for_the_device_can_be_cancelled() -> None:
    jobs = Jobs()
    with semaphore:
        jobs.start(work(on_device=True))
        until(lambda: jobs.all()[0].state == "running")
        jobs.cancel(1)
        job = ended(jobs)
    assert (job.state, job.report) == ("cancelled", None)


def test_a_job_off_the_device_does_not_wait_for_it() -> None:
    jobs = Jobs()
    with semaphore:
        jobs.start(work())
        assert ended(jobs).state == "done"


def test_many_threads_on_one_queue() -> None:
    jobs, done = Jobs(), []

    def use(name: int) -> None:
        for number in range(20):
            jobs.start(work(steps(3), f"data {name}-{number}"))
            jobs.cancel(number)
            done.append(len(jobs.all()))

    threads = [threading.Thread(target=use, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    until(lambda: not jobs.busy)
    assert len(done) == 80
    assert {job.state for job in jobs.all()} <= {"done", "cancelled"}
    assert jobs.start(work(subject="last")).state in ("waiting", "running")
    until(lambda: not jobs.busy)
    assert len(jobs.all()) <= module.KEPT + 1


def test_rate_and_time_left_are_those_of_the_latest_stage() -> None:
    pace = Pace()
    assert pace.after("Reading", 0, 100, 10.0) == (0.0, float("inf"))
    assert pace.after("Reading", 10, 100, 11.0) == (10.0, 9.0)
    assert pace.after("Reading", 30, 100, 12.0) == (15.0, pytest.approx(70 / 15))
    assert pace.after("Unpacking", 1, 50, 13.0) == (0.0, float("inf"))
    assert pace.after("Unpacking", 11, 50, 15.0) == (5.0, pytest.approx(39 / 5))
    assert pace.after("Counting", 21, None, 16.0)[1] == float("inf")


def test_an_old_rate_is_forgotten() -> None:
    pace = Pace()
    for second in range(100):
        pace.after("Reading", second * 100, 10**6, float(second))
    for second in range(100, 130):
        rate, _ = pace.after("Reading", 9900 + (second - 99), 10**6, float(second))
    assert rate == pytest.approx(1.0)


def test_without_a_server_every_session_is_there() -> None:
    assert module.session_is_active("any")
