"""Whose link is it: a browser, a server and the messages between them, in hundreds of random orders.

The browser below does what Streamlit's does with its address (1.67): a run carries the query that the browser knows;
a link from the server replaces the address while Back is being answered, and is one more step of the history otherwise.
What a newer run has superseded is not sent any more, and stops at any moment.
"""

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.link.picks import Pick, reduce
from app.link.spec import RunSpec, from_query, to_query
from app.link.trail import MOST_LINKS, MOST_OFFERS, Arrival, Trail

PAGES = ("tradeoff", "scores", "lab")
OFFERED = RunSpec(p=10.0, variant="ash_s")  # where a lesson leads
OPENED = "p=50&variant=ash_p"
ACTIONS = ("up", "up", "down", "down", "variant", "page", "offer", "back", "forward", "look")
STEPS = ("run", "run", "deliver", "deliver", "drop")
moves = st.lists(st.sampled_from(ACTIONS + STEPS), max_size=40)


@dataclass
class World:
    """One browser at one session. `runs` are asked for and not begun, `mail` is sent and not arrived."""

    query: str
    history: list[tuple[str, str]]
    offered: RunSpec = OFFERED
    spec: RunSpec | None = None
    trail: Trail = field(default_factory=Trail)
    at: int = 0
    slider: float = 50.0
    answering_back: bool = False
    runs: list[tuple[Arrival, Pick | None]] = field(default_factory=list)
    mail: list[tuple[str, str, RunSpec]] = field(default_factory=list)
    shown: RunSpec | None = None

    def act(self, what: str) -> None:
        """A user does something: the browser asks for a run, or a step of the history."""
        page = self.history[self.at][0]
        if what in ("back", "forward"):
            to = self.at + (1 if what == "forward" else -1)
            if 0 <= to < len(self.history):
                self.at, self.answering_back = to, True
                self.query = self.history[to][1]
                self.runs.append((Arrival(self.query, self.history[to][0], history=True), None))
            return
        self.answering_back = False
        pick: Pick | None = None
        if what in ("up", "down"):
            self.slider = min(max(self.slider + (1 if what == "up" else -1), 1.0), 99.0)
            pick = Pick.field("p", self.slider)
        elif what == "variant":
            pick = Pick.field("variant", "ash_s" if self.shown and self.shown.variant == "ash_p" else "ash_p")
        elif what in ("page", "offer"):
            page = PAGES[(PAGES.index(page) + 1) % len(PAGES)]
            spec = self.offered if what == "offer" or self.shown is None else self.shown
            if what == "offer":
                self.trail = self.trail.with_offer(urlencode(to_query(spec)))
            self.query = urlencode(to_query(spec))
        self.runs.append((Arrival(self.query, page), pick))

    def step(self, what: str) -> None:
        """The server begins the next run, or its oldest message arrives, or its newest is lost to the next run."""
        if what == "run" and self.runs:
            self._run(*self.runs.pop(0))
        elif what == "drop" and self.mail and self.runs:
            self.mail.pop()
        elif what == "deliver" and self.mail:
            self._deliver(*self.mail.pop(0))

    def _run(self, arrival: Arrival, pick: Pick | None) -> None:
        if pick is not None and self.spec is not None:
            self.spec = reduce(self.spec, pick)
        query = dict(parse_qsl(arrival.link))
        if self.spec is None or self.trail.brings(arrival):
            self.spec = from_query(query)[0]
        self.trail = self.trail.after(arrival)
        link = arrival.link if from_query(query)[0] == self.spec else urlencode(to_query(self.spec))
        self.trail = self.trail.with_link(link)
        self.mail.append((arrival.page, link, self.spec))

    def _deliver(self, page: str, link: str, spec: RunSpec) -> None:
        here = self.history[self.at]
        if page != here[0]:
            here = (page, self.query)
            self._go(here)
        if link != here[1]:
            (self._replace if self.answering_back else self._go)((page, link))
        self.query, self.shown, self.slider = link, spec, spec.p

    def _go(self, entry: tuple[str, str]) -> None:
        self.history[self.at + 1 :] = [entry]
        self.at += 1

    def _replace(self, entry: tuple[str, str]) -> None:
        self.history[self.at] = entry

    def rest(self) -> None:
        """Until nothing is on its way."""
        while self.runs or self.mail:
            self.step("run" if self.runs else "deliver")

    @property
    def address(self) -> RunSpec:
        """What the address means."""
        return from_query(dict(parse_qsl(self.history[self.at][1])))[0]


def opened(link: str = OPENED) -> World:
    world = World(link, [(PAGES[0], link)])
    world.runs.append((Arrival(link, PAGES[0]), None))
    world.rest()
    return world


def played(world: World, some: list[str]) -> World:
    for what in some:
        (world.act if what in ACTIONS else world.step)(what)
    world.rest()
    return world


@settings(max_examples=500)
@given(moves)
def test_whatever_is_done_in_whatever_order_address_controls_and_page_agree(some: list[str]) -> None:
    world = played(opened(), some)
    assert world.address == world.shown == world.spec
    assert world.spec is not None
    assert world.slider == world.spec.p


@given(st.lists(st.sampled_from(("up", "down", "look", "run", "deliver")), max_size=40))
def test_no_key_is_lost(some: list[str]) -> None:
    world = opened()
    keys = 0
    for what in some:
        before = world.slider
        (world.act if what in ACTIONS else world.step)(what)
        keys += what in ("up", "down")
        if what == "deliver" and world.slider != before:  # the browser keeps a slider that is being moved
            world.slider = before
    wanted = world.slider
    while world.runs or world.mail:
        world.step("run" if world.runs else "deliver")
    assert world.spec == RunSpec(p=wanted, variant="ash_p")


@settings(max_examples=200)
@given(st.lists(st.sampled_from(ACTIONS), max_size=30))
def test_back_after_a_quiet_moment_brings_the_view_before(some: list[str]) -> None:
    world = opened()
    for what in some:
        world.act(what)
        world.rest()
    if world.at == 0:
        return
    wanted = world.history[world.at - 1]
    world.act("back")
    world.rest()
    assert world.history[world.at] == wanted
    assert world.spec == from_query(dict(parse_qsl(wanted[1])))[0]


@pytest.mark.parametrize(
    ("arrival", "brought"),
    [
        (Arrival("p=2", "scores"), False),  # where it is
        (Arrival("p=1", "scores"), False),  # where it was, when the run was asked for
        (Arrival("p=1", "scores", history=True), True),
        (Arrival("p=2", "scores", history=True), True),
        (Arrival("", "scores"), False),  # a page change without a query
        (Arrival("", "scores", history=True), True),  # Back to the bare address
        (Arrival("p=9", "scores"), True),  # never sent from here
        (Arrival("p=7", "scores"), True),
        (Arrival("p=1", "lab"), False),  # a page link drawn before the last change
        (Arrival("p=7", "lab"), True),  # a link to another spec
    ],
)
def test_what_counts_as_brought(arrival: Arrival, brought: bool) -> None:
    trail = Trail(links=("p=1", "p=2"), offers=("p=7",), page="scores")
    assert trail.brings(arrival) is brought


def test_an_offered_link_is_followed_even_where_the_session_has_been_there() -> None:
    trail = Trail(links=("p=1", "p=2"), page="scores").with_offer("p=1").with_offer("")
    assert trail.brings(Arrival("p=1", "samples"))
    assert trail.brings(Arrival("", "samples"))
    assert not trail.brings(Arrival("p=1", "scores"))


def test_a_trail_is_bounded() -> None:
    trail = Trail()
    for number in range(3 * MOST_LINKS):
        trail = trail.with_link(f"p={number}").with_offer(f"p={number}")
    assert len(trail.links) == MOST_LINKS
    assert len(trail.offers) == MOST_OFFERS
    assert trail.links[-1] == trail.offers[-1] == f"p={3 * MOST_LINKS - 1}"
