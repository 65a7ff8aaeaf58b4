"""Page Samples with 100,000 samples: filter, sort, page of thumbnails. By hand: see README.md here.

    python tests/benchmarks/samples.py [--only table|thumbnails|browser] [--rounds 12]

`table`: numpy alone. `thumbnails`: 24 made-up photographs of 500 x 375 pixels, decoded and from memory. `browser`: the
app with a made-up table of 100,000 rows, half of them photographs and half the demo's images, in Chromium, from the
click to the new grid with all of its pictures; with one block of HTML a card, as the app does it, and with an image and
two texts a card.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "browser"), str(TESTS.parent)]

from app.charts.sample_table import Filters, Images, SampleTable, judge, select  # noqa: E402

ROWS = 100_000
PHOTOGRAPHS = 480  # files; the app keeps small versions of those that it has shown
FILTERS = {
    "no filter": Filters(),
    "verdict": Filters(verdict="accepted"),
    "text": Filters(find="42"),
    "all filters": Filters("id", "accepted", "rescued", "class 1", "class 2", (0.0, 2.0), "1"),
}


def synthetic(sets: tuple[str, ...], classes: tuple[str, ...]) -> SampleTable:
    """ROWS rows, half of them ID."""
    random = np.random.default_rng(0)
    parts = [ROWS // 2, *np.diff(np.linspace(0, ROWS // 2, len(sets)).astype(int))]
    codes = np.repeat(np.arange(len(sets), dtype=np.int16), parts)
    number = np.concatenate([np.arange(part) for part in parts])
    true = np.where(codes == 0, random.integers(0, len(classes), ROWS), -1)
    names = [f"val/n{row % 1000:08d}/ILSVRC2012_val_{row:08d}.JPEG" for row in range(ROWS)]
    images = Images(sets, classes, codes, number, names, true)

    def judged(gap: float) -> list[list[np.ndarray]]:
        scores = [random.normal(0 if i else gap, 1, part).astype(np.float32) for i, part in enumerate(parts)]
        return [scores, [random.integers(0, len(classes), part) for part in parts]]

    return SampleTable(images, judge(*judged(1.0), 0.95), judge(*judged(2.0), 0.95))


def took(action: Callable[[], object], rounds: int) -> str:
    """Median and worst of some rounds, in milliseconds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        action()
        times.append(1000 * (time.perf_counter() - start))
    return f"median {statistics.median(times):7.1f} ms, worst {max(times):7.1f} ms"


def table(rounds: int) -> None:
    """Filters, counts of every option, order."""
    found = synthetic(tuple("abcde"), tuple(f"class {i}" for i in range(1000)))
    print("first look at names and changes:", took(lambda: (found.images.rank, found.images.folded, found.change), 1))
    for title, filters in FILTERS.items():
        for order in ("score", "margin", "change", "name"):
            text = took(lambda filters=filters, order=order: select(found, filters, order, True), rounds)
            print(f"{title:12} by {order:7}: {text}")


def photographs(folder: Path, count: int) -> None:
    """JPEG files of a usual size with noise, which is the slowest to decode."""
    from PIL import Image

    random = np.random.default_rng(0)
    for i in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (94, 125, 3), dtype=np.uint8))
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(folder / f"{i:04}.jpg", quality=92)


def thumbnails(rounds: int) -> None:
    """Pages of 24, each new, then the same again."""
    with tempfile.TemporaryDirectory() as root:
        (Path(root) / "photographs_own").mkdir()
        photographs(Path(root) / "photographs_own", 24 * rounds)
        os.environ["ASH_DATA"] = root
        from app.backend import setups
        from app.backend import thumbnails as thumbnails_

        pages = [[("photographs_own", i + 24 * k) for i in range(24)] for k in range(rounds)]
        setups.whole_set("photographs_own")
        waiting = iter(pages)
        print(f"24 photographs, decoded:     {took(lambda: thumbnails_.small_pictures(next(waiting)), rounds)}")
        print(f"24 photographs, from memory: {took(lambda: thumbnails_.small_pictures(pages[0]), rounds)}")


ENTRY = """
import runpy, sys
sys.path[:0] = [{root!r}, {here!r}]
import streamlit as st
from app.backend import registry, setups
from app.backend.thumbnails import small_pictures
from app.views.samples import cards as samples_cards
import samples

@st.cache_resource
def big():
    sets = ("photographs_own", "digits", "textures", "photographs")
    return samples.synthetic(sets, registry.entry("demo").classes)

def wrapped(asked):
    return small_pictures([(name, number % len(setups.whole_set(name))) for name, number in asked])

backend.small_pictures = wrapped
backend.every_sample = lambda *_: big()
if {separate}:
    samples_cards.small = samples.separate
runpy.run_path({main!r}, run_name="__main__")
"""


def separate(spec: object, found: SampleTable, row: int, picture: object) -> None:
    """The other way to draw a card, for comparison: an image and two texts, whose picture is fetched on its own."""
    import base64
    import html

    import streamlit as st

    from app.views.samples import cards

    with st.container(width=150, gap="xxsmall"):
        st.image(base64.b64decode(picture.uri.partition(",")[2]), width=150)  # type: ignore[attr-defined]
        st.markdown(html.unescape(cards._verdict(spec, found, row)), unsafe_allow_html=True)  # type: ignore[arg-type]
        st.caption(cards._is(found, row))
        cards._button(found, row)


# From the click on an element to the next grid: other words under the pictures, and all pictures there.
NEXT = """element => new Promise(done => {
  const grid = () => document.querySelector('.st-key-sample_grid');
  const words = () => [...grid()?.querySelectorAll('button') ?? []].map(e => e.textContent).join('|');
  const whole = () => { const all = [...grid().querySelectorAll('img')];
    return all.length === 24 && all.every(e => e.complete && e.naturalWidth > 0) };
  const before = words(), start = performance.now();
  const look = () => words() && words() !== before && whole() ? done(performance.now() - start)
    : performance.now() - start < 20000 ? requestAnimationFrame(look) : done(NaN);
  element.click();
  requestAnimationFrame(look);
})"""


def browser(rounds: int) -> None:
    """What a user waits for."""
    from conftest import FLAGS
    from driver import Visitor, serve
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        os.environ |= {"ASH_CACHE": f"{folder}/cache", "ASH_DATA": f"{folder}/data"}
        (Path(folder) / "data" / "photographs_own").mkdir(parents=True)
        photographs(Path(folder) / "data" / "photographs_own", PHOTOGRAPHS)
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        for separately in (False, True):
            entry = Path(folder) / f"entry_{int(separately)}.py"
            root, here, main = str(TESTS.parent), str(TESTS / "benchmarks"), str(TESTS.parent / "app" / "main.py")
            entry.write_text(ENTRY.format(root=root, here=here, main=main, separate=separately))
            command = [sys.executable, "-m", "streamlit", "run", str(entry)]
            with serve(command, TESTS.parent, Path(folder) / "log") as server:
                page = chromium.new_page(viewport={"width": 1440, "height": 900})
                user = Visitor(page, server).open("/samples?look=grid")
                print("an image and texts a card:" if separately else "one block of HTML a card:")
                for title, names in STEPS.items():
                    user.ready()
                    times = [_step(user, names[i % len(names)]) for i in range(rounds)]
                    print(f"  {title:22} median {statistics.median(times):6.0f} ms, worst {max(times):6.0f} ms")
                page.close()
        chromium.close()


STEPS = {
    "filter (verdict)": ("Accepted", "Rejected"),
    "filter (change)": ("Rescued", "Broken"),
    "order": ("Largest first",),
    "next page": ("Next",),
}


def _step(user: object, name: str) -> float:
    page = user.ready().page  # type: ignore[attr-defined]
    if name == "Largest first":
        found = page.locator("label", has_text=name).locator("input")
    else:
        found = page.locator(".stMain button, [data-testid=stMain] button", has_text=name).first
    return float(found.evaluate(NEXT))


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=("table", "thumbnails", "browser"))
    parser.add_argument("--rounds", type=int, default=12)
    options = parser.parse_args()
    for part in (table, thumbnails, browser):
        if options.only in (None, part.__name__):
            part(options.rounds)


if __name__ == "__main__":
    main()
