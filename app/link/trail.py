"""Whose link is this? What a session knows of the links of its browser, and how it decides. Pure, without Streamlit.

The browser sends its query with every run. Nearly always that is an echo: the link that this session sent last, or one
of those before, if the run was asked for while the last was on its way. An echo must not undo what was chosen since.
The other links are brought: opened, reached by Back or Forward, or followed from a page to another spec.
"""

from dataclasses import dataclass, replace

MOST_LINKS, MOST_OFFERS = 200, 50  # that are remembered: many more than can be on their way


@dataclass(frozen=True)
class Arrival:
    """What a run comes with: the query of the browser, the page, and whether Back or Forward asked for it."""

    link: str
    page: str
    history: bool = False


@dataclass(frozen=True)
class Trail:
    """`links` that this session has sent or read, newest last; `offers`: links to another spec that it has drawn.

    `page` is that of the last run, None before the first.
    """

    links: tuple[str, ...] = ()
    offers: tuple[str, ...] = ()
    page: str | None = None

    def brings(self, arrival: Arrival) -> bool:
        """Whether the link of this run is the browser's own, and not an echo."""
        if self.page is None or arrival.history:
            return True
        if arrival.page != self.page and arrival.link in self.offers:
            return True
        # A page change through Streamlit's own commands drops the query: the session's spec goes on.
        return arrival.link != "" and arrival.link not in self.links

    def after(self, arrival: Arrival) -> "Trail":
        """The trail once a run has begun."""
        return replace(self.with_link(arrival.link), page=arrival.page)

    def with_link(self, link: str) -> "Trail":
        """The trail with a link that is about to be sent: known before it can come back."""
        others = tuple(one for one in self.links if one != link)
        return replace(self, links=(*others, link)[-MOST_LINKS:])

    def with_offer(self, link: str) -> "Trail":
        """The trail with a link on a page that leads to another page and another spec."""
        others = tuple(one for one in self.offers if one != link)
        return replace(self, offers=(*others, link)[-MOST_OFFERS:])
