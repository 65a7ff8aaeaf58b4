"""What the placements still need: its cost, a button for each, and the computing itself, with progress and cancel.

Computing happens in the run of the page, after everything is drawn. A click anywhere interrupts it between two steps;
the next run goes on where it stopped, because the queue is kept and finished steps are on disk.
"""

import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.backend import banks, deep, evaluations, layer_status, library, setups
from app.errors import plain
from app.link import state
from app.link.spec import RunSpec
from app.theme import count, counted, listed, size
from app.ui import pictures, work
from app.ui.prepare import NOT_HERE
from app.ui.work import SLICE, duration

if TYPE_CHECKING:
    from app.backend.layer_status import Cost

JOINT = "\N{NO-BREAK SPACE}"  # a number stays with its unit
MOST, SCROLLED = 4, 360  # boxes that need no scrolling, pixels for more

_QUEUE = work.Task("placements_queue")  # (what it was asked for, names of placements in the order of computing)
_TIMED = "placements_timed"  # this session wants to know how long things take


@dataclass(frozen=True)
class Slot:
    """Where a placement is drawn of which something is missing: its standing, its text, its progress."""

    standing: layer_status.Standing
    text: DeltaGenerator
    bar: DeltaGenerator


def draw(spec: RunSpec, standings: Sequence[layer_status.Standing]) -> list[Slot]:
    """One box for each placement that needs a click, its text still without what only the network's graph tells.

    One that is done stays until the whole queue is: a box less would leave an old one on the page in the meantime.
    """
    _left_out(spec, standings)
    queue = _queue(spec)
    boxes = [one for one in standings if one.computing or one.name in queue]
    if not boxes:
        return []
    empty = any(one.shipped is None for one in boxes)
    st.markdown("##### Not computed yet" if empty else "##### Activations not computed yet")
    with st.container(height=SCROLLED if len(boxes) > MOST else "content", border=False, key="not_computed"):
        slots = [_box(one, one.name in queue) for one in boxes]
    _together(boxes, queue)
    return slots


def _left_out(spec: RunSpec, standings: Sequence[layer_status.Standing]) -> None:
    """A line on the sets that other placements are compared without, as their images do not ship."""
    everywhere = setups.left_out(spec)  # the page says these above
    without: dict[tuple[str, ...], list[str]] = {}
    for one in standings:
        gone = setups.left_out(replace(spec, placement=one.name))
        labels = tuple(plain(label) for name, label in gone.items() if name not in everywhere)
        without.setdefault(labels, []).append(plain(one.label))
    for labels, places in without.items():
        if labels:
            st.caption(f"{listed(places)}: without {listed(labels)}, whose images do not ship.")


def _box(one: layer_status.Standing, queued: bool) -> Slot:
    with st.container(border=True, gap="xxsmall", key=f"missing_{one.name.replace('.', '_')}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            text = st.container().empty()
            _button(one, queued)
        slot = Slot(one, text, st.empty())
    _write(slot, None)
    if queued and one.computing:
        slot.bar.progress(0.0, "Waiting for its turn")
    return slot


def _button(one: layer_status.Standing, queued: bool) -> None:
    start = ("Go on" if len(one.todo) < len(one.wanted) and not one.missing else "Compute", "play_arrow", _join)
    able = one.computing and _may(one)
    work.button(f"compute_{one.name}", queued, start, ("Cancel", "stop", _leave), args=(one.name,), disabled=not able)


def _may(one: layer_status.Standing) -> bool:
    """Whether this browser may start what a placement needs: activations are written to the server's disk."""
    return not one.missing or (library.may_compute() and not _without_images(one))


def _without_images(one: layer_status.Standing) -> list[str]:
    """The sets of a placement that are not computed and whose images do not ship."""
    return [name for name in one.missing if setups.is_listed(name)]


def _together(boxes: Sequence[layer_status.Standing], queue: Sequence[str]) -> None:
    """The buttons that concern all of them: the output, whose tail is the shortest, is computed first."""
    pictures.how_to_get(name for one in boxes for name in _without_images(one))
    boxes = [one for one in boxes if not _without_images(one)]
    if not library.may_compute() and any(one.missing for one in boxes):
        st.caption(f":material/lock: {NOT_HERE}")
    boxes = [one for one in boxes if _may(one)]
    names = tuple(one.name for one in reversed(boxes))
    with st.container(horizontal=True, vertical_alignment="center"):
        if len(boxes) > 1:
            start = (f"Compute all {len(names)}", "playlist_play", _join)
            work.button("compute_all", set(names) <= set(queue), start, ("Cancel all", "stop", _leave), args=names)
        if any(one.missing and _cost(one) is None for one in boxes):
            st.button("How long?", icon=":material/timer:", key="time_all", on_click=_time, disabled=bool(queue))
        state.page_link("library", "All activations: Library")


# What it costs


def price(slots: Sequence[Slot], total: DeltaGenerator) -> None:
    """Complete the texts: bytes from the network's graph and, where that was asked for, seconds on this device."""
    missing = [slot for slot in slots if slot.standing.missing and not _without_images(slot.standing)]
    sizes = [layer_status.bank_bytes(slot.standing.at, _images(slot.standing)) for slot in missing]
    for slot, byte_count in zip(missing, sizes, strict=True):
        _write(slot, byte_count)
    if len(missing) > 1:
        total.caption(f"Together: {together([slot.standing for slot in missing], sum(sizes))}")
    if missing and st.session_state.pop(_TIMED, False):
        for slot in missing:
            with slot.bar, st.spinner(f"Measuring {plain(slot.standing.label)} on this device"):
                layer_status.measured_cost(slot.standing.at, _images(slot.standing))
        st.rerun()


def _write(slot: Slot, byte_count: int | None) -> None:
    one = slot.standing
    slot.text.markdown(f"**{plain(one.label)}**: {facts(one, byte_count)}{_before(one)}")


def _before(one: layer_status.Standing) -> str:
    """What the numbers of a placement without activations are, where some ship."""
    if one.shipped:
        return f" Its numbers here were measured before: {plain(one.shipped.file.name)}."
    names = plain(listed([setups.set_label(name) for name in one.unlike])) if one.unlike else ""
    return f" Numbers that ship of it are not of {names} as chosen here, so they are not shown." if names else ""


def facts(one: layer_status.Standing, byte_count: int | None) -> str:
    """`7 data sets, 5,000 images, 63 MB, about 40 s`, or how many settings a deep tail has."""
    if not one.computing:
        return "computed."
    if absent := _without_images(one):
        labels = listed([plain(setups.set_label(name)) for name in absent])
        return f"needs the images of {labels}, which do not ship."
    if not one.missing:
        done = len(one.wanted) - len(one.todo)
        return f"{done} of {len(one.wanted)} settings, a pass through the network for each."
    parts = [
        counted(len(one.missing), "data set"),
        f"{count(_images(one))} images",
    ]
    if byte_count is not None:
        parts.append(size(byte_count))
    if cost := _cost(one):
        parts.append(f"about {duration(cost.seconds)}")
    return f"{', '.join(part.replace(' ', JOINT) for part in parts)}."


def together(some: Sequence[layer_status.Standing], byte_count: int) -> str:
    """The same for several placements: `10,000 images, 124 MB, about 2 min on CPU (2 threads)`."""
    text = f"{count(sum(_images(one) for one in some))} images, {size(byte_count)}"
    costs = [cost for one in some if (cost := _cost(one))]
    if len(costs) < len(some):
        return f"{text}."
    return f"{text}, about {duration(sum(cost.seconds for cost in costs))} on {plain(costs[0].device)}."


def _images(one: layer_status.Standing) -> int:
    return sum(one.missing.values())


def _cost(one: layer_status.Standing) -> "Cost | None":
    return layer_status.known_cost(one.at, _images(one))


def _time() -> None:
    st.session_state[_TIMED] = True


# The queue


def _about(spec: RunSpec) -> tuple[object, ...]:
    """What a queue is for: with another network or other images it is void."""
    return setups.asked(replace(spec, placement=""))


def _queue(spec: RunSpec) -> tuple[str, ...]:
    about, names = _QUEUE.what or (None, ())
    return names if about == _about(spec) else ()


def _join(*names: str) -> None:
    spec = state.current()
    _QUEUE.start((_about(spec), tuple(dict.fromkeys((*_queue(spec), *names)))))


def _leave(*names: str) -> None:
    spec = state.current()
    _QUEUE.start((_about(spec), tuple(name for name in _queue(spec) if name not in names)))


# Computing


def evaluate(one: layer_status.Standing, score: str) -> None:
    """All settings of a placement that one pass gives."""
    with st.spinner(f"Evaluating every percentile at {plain(one.label)}"):
        evaluations.table(one.at, score)


def go_on(
    spec: RunSpec, slots: Sequence[Slot], standings: Sequence[layer_status.Standing], notice: DeltaGenerator
) -> None:
    """Compute what needs no click, then what is in the queue; draws the page again whenever there is more to show."""
    for one in standings:
        if one.pending:
            with notice:
                evaluate(one, spec.score)
            st.rerun()
    queue = _queue(spec)
    by_name = {slot.standing.name: slot for slot in slots if slot.standing.computing}
    for name in queue:
        if name not in by_name:
            continue
        _banks(by_name[name]) if by_name[name].standing.missing else _settings(by_name[name], spec.score)
        st.rerun()
    if queue:
        _leave(*queue)
        st.rerun()


def _banks(slot: Slot) -> None:
    steps = banks.compute_banks(slot.standing.at)
    work.take(steps, work.shower(slot.bar), lambda: _leave(slot.standing.name))


def _settings(slot: Slot, score: str) -> None:
    """Settings of a deep tail until there are new ones to draw; what is half done is kept as well."""
    one = slot.standing
    steps = deep.deep_steps(one.at, score, one.wanted)
    work.take(_until(steps, one), work.shower(slot.bar, "settings"), lambda: _leave(one.name))


def _until(steps: Generator[banks.Step, None, None], one: layer_status.Standing) -> Generator[banks.Step, None, None]:
    """Steps for a moment, and on until there is something new to draw."""
    begun = time.monotonic()
    with closing(steps):
        for step in steps:
            yield step
            if step.done > len(one.wanted) - len(one.todo) and time.monotonic() - begun > SLICE:
                return
