"""Long work in the background of a session: one job after another in a thread, with progress, cancel and resume.

A job is a generator of reports. It is stopped between two of them, and what it has finished by then stays: starting it
again goes on. Work on the device takes turns with all other users, step by step. The thread ends with the last job, or
when the browser of its session has been gone for a while. A page that is loaded anew is a new session: it takes over
the jobs of one that has just gone.
"""

import itertools
import logging
import math
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias
from weakref import WeakSet

from app.backend.progress import Pace
from app.backend.turns import on_device
from app.link.streamlit_private import session_is_active as session_is_active
from ash.errors import EXPECTED, AshError, sentence

GRACE = 60.0  # seconds that a session may be away, for a reload of the page or a short loss of the network
KEPT = 8  # ended jobs that a session still shows
_LOG = logging.getLogger("ash.app")

State: TypeAlias = Literal["waiting", "running", "done", "cancelled", "failed"]


@dataclass(frozen=True)
class Report:
    """One step of progress: what is being done, how much of it, of how much (None where nobody knows), and in what."""

    what: str
    done: int
    total: int | None
    unit: Literal["bytes", "images", "files", "shards"]


@dataclass(frozen=True)
class Work:
    """What a job does: `steps` yields reports and returns its result in a sentence.

    `subject` is what is worked on, the same for all users (`data cifar10`); `alone`: by one user at a time.
    """

    verb: Literal["fetch", "extract", "verify"]
    subject: str
    title: str
    steps: Callable[[], Generator[Report, None, str]]
    on_device: bool = False
    alone: bool = False


@dataclass(frozen=True)
class Job:
    """A job as it is at one moment: `rate` in units a second, seconds `left`, `note` is its result or why it ended."""

    number: int
    work: Work
    state: State = "waiting"
    report: Report | None = None
    rate: float = 0.0
    left: float = math.inf
    note: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state not in ("waiting", "running")


class _Stopped(Exception):
    """The user cancelled, or the session is gone."""


_claims: dict[str, list["Jobs"]] = {}  # subject -> whose jobs work on it now, over all sessions of this process
_claims_lock = threading.Lock()
_ended = 0  # jobs of all sessions that have ended


def at_work(subject: str, besides: "Jobs | None" = None) -> bool:
    """Whether a job of any session works on a subject now; `besides`: of any other session than this one."""
    with _claims_lock:
        return any(owner is not besides for owner in _claims.get(subject, ()))


def anyone_at_work() -> bool:
    """Whether any session of this server runs a job now."""
    return bool(_claims)


def jobs_ended() -> int:
    """How many jobs of all sessions have ended: a page that has seen fewer is out of date."""
    return _ended


@contextmanager
def _claimed(work: Work, owner: "Jobs") -> Iterator[None]:
    with _claims_lock:
        others = _claims.setdefault(work.subject, [])
        if others and work.alone:
            raise AshError("Another user of this server is doing this right now; wait until that is done.")
        others.append(owner)
    try:
        yield
    finally:
        with _claims_lock:
            others.remove(owner)
            if not others:
                del _claims[work.subject]


_working: WeakSet["Jobs"] = WeakSet()  # those that have had a thread


def adopt(alive: Callable[[], bool]) -> "Jobs | None":
    """Unfinished jobs of a session that has just gone, for a new one to go on with; None when there are none."""
    for jobs in list(_working):
        if jobs.take_over(alive):
            return jobs
    return None


class Jobs:
    """The jobs of one session. Safe to use from any thread; what it hands out are snapshots.

    `alive` says whether the session is still there; `on_end` is called, in the thread, after every job.
    """

    def __init__(self, alive: Callable[[], bool] = lambda: True, on_end: Callable[[], None] = lambda: None) -> None:
        self._sessions, self._on_end = [alive], on_end
        self._lock = threading.Lock()
        self._jobs: dict[int, Job] = {}
        self._cancelled: set[int] = set()
        self._numbers = itertools.count(1)
        self._thread: threading.Thread | None = None
        self._last_seen = time.monotonic()
        self.ended = 0  # how many of them have ended, in all

    def _alive(self) -> bool:
        return any(alive() for alive in self._sessions)

    def all(self) -> tuple[Job, ...]:
        """Every job, in the order in which they were started."""
        with self._lock:
            return tuple(self._jobs.values())

    @property
    def busy(self) -> bool:
        """Whether a job runs or waits."""
        return any(not job.ended for job in self.all())

    def take_over(self, alive: Callable[[], bool]) -> bool:
        """Belong to another session as well, if there is work left and the own one is gone; whether it is so."""
        if not self.busy or self._alive():
            return False
        self._sessions.append(alive)
        return True

    def start(self, work: Work) -> Job:
        """Put work in the queue and see to it that the queue is worked off; the same work twice is one job."""
        with self._lock:
            for job in self._jobs.values():
                if not job.ended and (job.work.verb, job.work.subject) == (work.verb, work.subject):
                    return job
            for job in list(self._jobs.values()):  # it stands in place of earlier tries, and of very old jobs
                same = (job.work.verb, job.work.subject) == (work.verb, work.subject)
                if job.ended and (same or len(self._jobs) > KEPT):
                    del self._jobs[job.number]
            job = Job(next(self._numbers), work)
            self._jobs[job.number] = job
            if self._thread is None:
                self._last_seen = time.monotonic()
                self._thread = threading.Thread(target=self._work_off, name="ash-jobs", daemon=True)
                self._thread.start()
                _working.add(self)
            return job

    def resume(self, number: int) -> None:
        """Start an ended job again; it goes on where it stopped."""
        with self._lock:
            job = self._jobs.get(number)
        if job is not None and job.ended:
            self.start(job.work)

    def cancel(self, number: int) -> None:
        """Stop a job at its next step, or before its first; what it has finished stays."""
        with self._lock:
            job = self._jobs.get(number)
            if job is None or job.ended:
                return
            if job.state == "waiting":
                self._jobs[number] = replace(job, state="cancelled", note="It had not begun.")
            else:
                self._cancelled.add(number)

    def forget(self, number: int) -> None:
        """Take an ended job off the list."""
        with self._lock:
            if number in self._jobs and self._jobs[number].ended:
                del self._jobs[number]

    def cancelling(self, number: int) -> bool:
        """Whether a running job was told to stop and has not done so yet."""
        with self._lock:
            return number in self._cancelled

    # In the thread

    def _work_off(self) -> None:
        global _ended
        while (job := self._next()) is not None:
            state, note = self._outcome(job)
            try:
                self._on_end()  # before the job counts as ended: the page that sees the end sees the result
            except Exception:
                _LOG.exception("after job %s", job.work.subject)
            with self._lock:
                self._jobs[job.number] = replace(self._jobs[job.number], state=state, note=note)
                self._cancelled.discard(job.number)
                self.ended += 1
            with _claims_lock:
                _ended += 1

    def _next(self) -> Job | None:
        """The next waiting job, now running; None, and no thread any more, when there is none."""
        with self._lock:
            for number, job in self._jobs.items():
                if job.state == "waiting":
                    running = self._jobs[number] = replace(job, state="running")
                    return running
            self._thread = None
            return None

    def _outcome(self, job: Job) -> tuple[State, str]:
        """Do a job; how it ended, and in what words."""
        try:
            self._stop_if_asked(job.number)
            with _claimed(job.work, self), closing(self._steps(job)) as steps:
                return "done", self._drive(job, steps)
        except _Stopped as stopped:
            return "cancelled", str(stopped)
        except EXPECTED as error:
            return "failed", sentence(error)
        except Exception:
            number = uuid.uuid4().hex[:8]
            _LOG.exception("error %s", number)
            return "failed", f"An unexpected error (id {number}): the server's log has it under this id."

    def _steps(self, job: Job) -> Generator[Report, None, str]:
        steps = job.work.steps()
        return on_device(steps, lambda: self._stop_if_asked(job.number)) if job.work.on_device else steps

    def _drive(self, job: Job, steps: Generator[Report, None, str]) -> str:
        pace = Pace()
        while True:
            self._stop_if_asked(job.number)
            try:
                report = next(steps)
            except StopIteration as end:
                return str(end.value)
            rate, left = pace.after(report.what, report.done, report.total, time.monotonic())
            with self._lock:
                self._jobs[job.number] = replace(self._jobs[job.number], report=report, rate=rate, left=left)

    def _stop_if_asked(self, number: int) -> None:
        with self._lock:
            if number in self._cancelled:
                raise _Stopped("What was finished is kept; starting it again goes on from there.")
        now = time.monotonic()
        if self._alive():
            self._last_seen = now
        elif now - self._last_seen > GRACE:
            raise _Stopped("The page was closed. What was finished is kept; starting it again goes on from there.")
