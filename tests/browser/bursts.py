"""Random bursts of what a user does, without waiting in between; afterwards address, controls and page must agree."""

import random
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from driver import Visitor
from playwright.sync_api import Error

from app.link.fields import write_number
from app.link.spec import from_query

PAGES = ("Trade-off", "Scores", "Activations", "Samples")
START = "/scores?p=50&variant=ash_p"
MOST_ACTIONS = 7
# Asked of the page in one go: what the server drew last is in its links to the other pages.
LOOK = """() => ({
    address: location.href,
    slider: document.querySelector('[data-testid="stSidebar"] input[type=range]')?.value ?? '',
    variant: document.querySelector('input[aria-label*="Variant"]')?.value ?? '',
    drawn: document.querySelector('[data-testid="stSidebar"] [data-testid="stPageLink"] a')?.href ?? '',
    title: document.querySelector('h1')?.innerText ?? '',
    broken: [...document.images].filter(one => one.complete && !one.naturalWidth).map(one => one.src).join(' '),
})"""
CLICK = """title => [...document.querySelectorAll('[data-testid="stSidebar"] [data-testid="stPageLink"] a')]
    .find(one => one.innerText.trim() === title)?.click()"""


@dataclass(frozen=True)
class Outcome:
    """What was done, and what did not agree afterwards; "" where all did."""

    actions: tuple[str, ...]
    fault: str


def burst(one: Visitor, rng: random.Random) -> Outcome:
    """Do some random things as fast as the browser takes them, wait until it is quiet, and compare."""
    actions = tuple(_action(rng) for _ in range(rng.randint(2, MOST_ACTIONS)))
    for action in actions:
        _do(one, action)
        if rng.random() < 0.3:
            one.page.wait_for_timeout(rng.choice((10, 50, 150, 400)))
    return Outcome(actions, _fault(one))


def _action(rng: random.Random) -> str:
    kind = rng.choices(("key", "page", "back", "forward", "reset"), (10, 3, 3, 1, 0.5))[0]
    if kind == "key":
        return f"{rng.choice(('ArrowLeft', 'ArrowRight'))} {rng.randint(1, 6)}"
    return f"page {rng.choice(PAGES)}" if kind == "page" else kind


def _do(one: Visitor, action: str) -> None:
    kind, _, what = action.partition(" ")
    if kind == "page":
        one.page.evaluate(CLICK, what)
    elif kind in ("back", "forward"):
        # Not out of the app: before its first entry the history has a blank page.
        one.page.evaluate("kind => navigation[kind === 'back' ? 'canGoBack' : 'canGoForward'] && history[kind]()", kind)
    elif kind == "reset":
        one.page.evaluate(
            "[...document.querySelectorAll('[data-testid=\"stSidebar\"] button')]"
            ".find(one => one.innerText.includes('Reset'))?.click()"
        )
    else:
        one.page.evaluate("document.querySelector('[data-testid=\"stSidebar\"] input[type=range]')?.focus()")
        for _ in range(int(what)):
            one.page.keyboard.press(kind)


def _fault(one: Visitor) -> str:
    """What does not agree once nothing moves any more; "" where all does."""
    said = ""
    for _ in range(3):  # three looks: a run may begin between two of them
        try:
            said = agreement(one.ready())
        except (AssertionError, Error) as error:
            said = f"never quiet: {error}"
        if not said:
            return ""
        one.page.wait_for_timeout(700)
    return said


def agreement(one: Visitor) -> str:
    """What address, controls and page say differently; "" where they agree."""
    seen: dict[str, str] = one.page.evaluate(LOOK)
    if seen["broken"]:
        return f"pictures that are not there: {seen['broken']}"
    if not seen["title"]:
        return f"no page: {seen}"
    address, drawn = (_values(seen[name]) for name in ("address", "drawn"))
    if address != drawn or address[0] != seen["slider"]:
        return f"address {address}, slider {seen['slider']}, page {drawn}"
    return ""


def _values(link: str) -> tuple[str, str]:
    spec, _ = from_query(dict(parse_qsl(urlsplit(link).query)))
    return write_number(spec.p), spec.variant
