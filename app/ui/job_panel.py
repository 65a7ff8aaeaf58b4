"""The jobs of this session: progress, cancel, resume; the page polls only while something runs."""

import math

import streamlit as st

from app.backend import library, library_work
from app.backend.jobs import Job, Report, anyone_at_work, jobs_ended
from app.errors import boundary, plain
from app.theme import count, size
from app.ui.facts import act
from app.ui.work import duration, share

POLL = 1.0  # seconds between two looks at a running job
_SEEN = "library_seen"  # what the last run of the page knew: how many jobs had ended, and whether it polls
ICONS = {"done": "check_circle", "failed": "error", "cancelled": "do_not_disturb_on"}


def panel() -> None:
    """All jobs of this session, in a part of the page that refreshes itself while there is something to see."""
    _announce()
    st.session_state[_SEEN] = _now()
    polls = st.session_state[_SEEN][1]
    with st.container(key="library_jobs", gap="small"):
        st.fragment(_panel, run_every=POLL if polls else None)()


def _now() -> tuple[int, bool]:
    return jobs_ended(), library_work.session_jobs().busy or anyone_at_work()


def _panel() -> None:
    with boundary():
        if _now() != st.session_state.get(_SEEN):
            st.rerun()  # of the whole page: there are new rows, or polling begins or ends
        for job in library_work.session_jobs().all():
            _job(job)


def _job(job: Job) -> None:
    jobs = library_work.session_jobs()
    with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"job_{job.number}"):
        with st.container(gap="xxsmall", width="stretch", key=f"job_words_{job.number}"):
            state = f": {job.state}" if job.ended else ""
            icon = f":material/{ICONS[job.state]}: " if job.ended else ""
            st.markdown(f"{icon}**{plain(job.work.title)}**{state}")
            if job.ended:  # in the place of the bar, so that no old bar is left standing
                st.caption(plain(library.shown(job.note)))
            else:
                stopping = jobs.cancelling(job.number)
                st.progress(share_done(job.report), "Stopping" if stopping else plain(words(job)))
        if not job.ended:
            st.button(
                "Cancel", icon=":material/stop:", key=f"job_cancel_{job.number}", on_click=act,
                args=(jobs.cancel, job.number), disabled=jobs.cancelling(job.number),
            )  # fmt: skip
            return
        if job.state != "done":
            label = "Resume" if job.state == "cancelled" else "Try again"
            st.button(
                label, icon=":material/play_arrow:", key=f"job_resume_{job.number}", on_click=act,
                args=(library_work.resume_job, job.number),
            )  # fmt: skip
        st.button(
            "Dismiss", icon=":material/close:", key=f"job_forget_{job.number}", on_click=act, type="tertiary",
            args=(jobs.forget, job.number),
        )  # fmt: skip


def share_done(report: Report | None) -> float:
    """Between 0 and 1; 0 while nobody knows the whole."""
    return share(report.done, report.total) if report is not None else 0.0


def words(job: Job) -> str:
    """`Downloading dtd.tar.gz: 34 of 170 MB, 2.1 MB a second, 65 s left`."""
    report = job.report
    if report is None:
        return "Waiting for the job before it" if job.state == "waiting" else "Starting"
    done = amount(report.done, report.unit)
    if report.total is None:
        text = f"{report.what}: {done}"
    elif report.unit == "bytes":
        text = f"{report.what}: {done} of {amount(report.total, 'bytes')}"
    else:
        text = f"{report.what}: {count(report.done)} of {amount(report.total, report.unit)}"
    if job.rate > 0:
        text += f", {size(job.rate) if report.unit == 'bytes' else f'{job.rate:,.3g}'} a second"
    if math.isfinite(job.left) and job.left > 0:
        text += f", {duration(job.left)} left"
    return text


def amount(number: int, unit: str) -> str:
    """`26 MB`, `1,000 images`."""
    return size(number) if unit == "bytes" else f"{count(number)} {unit if number != 1 else unit[:-1]}"


def _announce() -> None:
    """Say once of every job that it has ended: its place on the page may be out of sight, or on another page."""
    told: set[int] = st.session_state.setdefault("library_told", set())
    for job in library_work.session_jobs().all():
        if job.ended and job.number not in told:
            told.add(job.number)
            st.toast(f"{plain(job.work.title)}: {job.state}", icon=f":material/{ICONS[job.state]}:")


def badge() -> None:
    """One line for the sidebar of every page while a job runs, and nothing otherwise; the page redraws when it ends."""
    _announce()
    jobs = library_work.session_jobs()
    st.session_state["library_badge"] = jobs.ended
    st.fragment(_badge, run_every=2 * POLL if jobs.busy else None)()


def _badge() -> None:
    with boundary():
        jobs = library_work.session_jobs()
        if jobs.ended != st.session_state.get("library_badge"):
            st.rerun()
        for job in jobs.all():
            if job.state == "running":
                waiting = sum(one.state == "waiting" for one in jobs.all())
                more = f" and {waiting} more" if waiting else ""
                st.caption(f":material/sync: {plain(job.work.title)}: {share_done(job.report):.0%}{more}")
