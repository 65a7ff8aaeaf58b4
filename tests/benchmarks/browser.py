"""What a user waits for, measured in Chromium. By hand: see README.md here.

    python tests/benchmarks/browser.py [--moves 12]

Server start to first chart (empty cache, then warm), a percentile step (new numbers, new chart), a click on a mark
until controls, cards and address agree, a page change, a step of a held key and of the scrub, and the server's memory
after 5 and 50 percentile steps.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "browser"), str(TESTS.parent)]

from conftest import FLAGS  # noqa: E402
from driver import ROOT, Visitor, serve, streamlit_command  # noqa: E402
from playwright.sync_api import Browser, sync_playwright  # noqa: E402
from test_picks import LONELY_MARK  # noqa: E402

CHART = ".js-plotly-plot .points path, .js-plotly-plot .bars path"

# From the next event on: milliseconds until the words of the page change, and until a chart's data does.
STEP = """kind => new Promise(done => {
  const words = () => [...document.querySelectorAll('[data-testid=stMain] :is(h4, p, td)')]
    .map(e => e.textContent).join('|');
  const marks = () => [...document.querySelectorAll('.js-plotly-plot')]
    .map(p => (p._fullData ?? []).map(d => [d.x, d.y].flat().join()).join(';'));
  const all = marks().length;  // a chart that is being rebuilt is missing for a moment
  const chart = () => {
    const now = marks();
    return now.length === all && now.every(one => one.length) ? now.join('|') : '';
  };
  const before = [words(), chart()];
  window.addEventListener(kind, () => {
    const start = performance.now(), took = [null, null];
    const look = () => {
      [words(), chart()].forEach((now, i) => {
        if (took[i] === null && now && now !== before[i]) took[i] = performance.now() - start;
      });
      if (took[0] !== null && took[1] !== null) done(took); else requestAnimationFrame(look);
    };
    look();
  }, {once: true, capture: true});
})"""

# Milliseconds from each step of a held arrow key until every chart that moves has painted it, and the runs asked for.
HELD = """async moves => {
  const input = document.querySelector('.st-key-spec_p input[type=range]'), times = [], asked = runs.asked;
  const said = () => [...document.querySelectorAll('.ash-readout')].map(one => one.textContent);
  for (let i = 0; i < moves; i++) {
    const way = Number(input.value) < 99 ? 'ArrowRight' : 'ArrowLeft', start = performance.now();
    input.dispatchEvent(new KeyboardEvent('keydown', {key: way, bubbles: true, cancelable: true}));
    const wanted = `p = ${input.value} %`;
    while (said().some(one => one && one !== wanted) || !said().some(Boolean)) await new Promise(requestAnimationFrame);
    times.push(performance.now() - start);
    await new Promise(requestAnimationFrame);
  }
  const during = runs.asked - asked;
  input.dispatchEvent(new KeyboardEvent('keyup', {key: 'ArrowRight', bubbles: true}));
  return {times, during};
}"""

SCRUB = """async moves => {
  const plot = [...document.querySelectorAll('.js-plotly-plot')].find(p => p._fullLayout?.sliders?.length);
  const rail = plot.querySelector('.slider-rail-touch-rect').getBoundingClientRect();
  const y = rail.top + rail.height / 2, at = i => rail.left + rail.width * (i + 0.5) / (moves + 1), times = [];
  const send = (kind, x, target) => target.dispatchEvent(new MouseEvent(kind, {clientX: x, clientY: y, bubbles: true}));
  send('mousedown', at(0), plot.querySelector('.slider-rail-touch-rect'));
  for (let i = 1; i <= moves; i++) {
    const bars = () => [...plot.querySelectorAll('.bars path')].map(e => e.getAttribute('d')).join();
    const before = bars(), start = performance.now();
    send('mousemove', at(i), plot);
    while (bars() === before && performance.now() - start < 1000) await new Promise(requestAnimationFrame);
    times.push(performance.now() - start);
  }
  send('mouseup', at(moves), plot);
  return times;
}"""


def row(name: str, values: list[float], unit: str = "ms") -> None:
    """One line: median and worst."""
    print(f"{name:<58} median {statistics.median(values):7.0f} {unit}   worst {max(values):7.0f} {unit}", flush=True)


def first_chart(browser: Browser, name: str, log: Path) -> None:
    """From the start of the server's process to the first mark in the browser."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    start = time.perf_counter()
    with serve(streamlit_command(), ROOT, log) as address:
        page.goto(address)
        page.wait_for_selector(CHART, timeout=60_000, state="attached")
        row(f"server start to first chart, {name}", [1000 * (time.perf_counter() - start)])
    page.context.close()


def steps(one: Visitor, moves: int) -> list[tuple[float, float]]:
    """(numbers, chart) in milliseconds from the release of an arrow key on the percentile, for each press."""
    taken = []
    for _ in range(moves):
        one.ready().slider.focus()
        waiting = one.page.evaluate_handle(f"() => {{ window.__took = ({STEP})('keyup'); return 1 }}")
        one.page.keyboard.press("ArrowRight")
        numbers, chart = one.page.evaluate("() => window.__took")
        waiting.dispose()
        taken.append((numbers, chart))
    return taken


def clicks(one: Visitor, moves: int) -> list[float]:
    """Milliseconds from a click on a mark until slider, address and cards say its method."""
    taken = []
    for _ in range(moves):
        one.ready().page.evaluate("document.querySelector('.js-plotly-plot').scrollIntoView({block: 'center'})")
        now = one.slider.input_value()
        mark = one.page.evaluate(LONELY_MARK, now)
        p = mark["id"].split("@")[1]
        one.page.mouse.move(mark["x"], mark["y"])
        one.page.wait_for_selector(".hoverlayer .hovertext")
        start = time.perf_counter()
        one.page.mouse.click(mark["x"], mark["y"])
        one.page.wait_for_function(
            "p => document.querySelector('[role=slider]')?.getAttribute('aria-valuenow') === p"
            " || document.querySelector('input[type=range]')?.value === p",
            arg=p,
            polling="raf",
        )
        one.page.wait_for_function(
            "p => document.querySelector('[data-testid=stMain]').textContent.includes('p = ' + p)", arg=p, polling="raf"
        )
        taken.append(1000 * (time.perf_counter() - start))
    return taken


def held(one: Visitor, moves: int) -> list[float]:
    """Milliseconds for each step of a held key, once the films of the page are there."""
    one.ready().slider.focus()
    one.page.wait_for_function(
        "() => performance.getEntriesByType('resource').some(one => one.name.includes('/charts/films/'))", polling="raf"
    )
    one.ready()
    found = one.page.evaluate(HELD, moves)
    assert found["during"] == 0, "the server was asked while the key was held"
    return list(found["times"])


def page_changes(one: Visitor, titles: list[str]) -> list[float]:
    """Milliseconds from a click on a page's link until its first chart stands."""
    taken = []
    for title in titles:
        one.ready()
        start = time.perf_counter()
        one.link(title)
        one.page.wait_for_function(
            f"title => document.querySelector('h1')?.innerText === title && !!document.querySelector('{CHART}')",
            arg=title,
            polling="raf",
        )
        taken.append(1000 * (time.perf_counter() - start))
    return taken


def memory(address: str) -> float:
    """Resident MB of the server that listens at this address."""
    port = address.rsplit(":", 1)[1]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if port in (process / "cmdline").read_text().split("\0"):
                pages = int((process / "statm").read_text().split()[1])
                return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
        except OSError:
            continue
    raise RuntimeError(f"no process listens on {port}")


def measure(browser: Browser, address: str, moves: int) -> None:
    """Everything that needs one running server with warm caches."""

    def visit(path: str) -> Visitor:
        one = Visitor(browser.new_context(viewport={"width": 1440, "height": 900}).new_page(), address).open(path)
        one.page.wait_for_selector(CHART, state="attached")
        return one.ready()

    visit("/activations")
    for path in ("/", "/scores", "/activations"):
        one = visit(f"{path}?variant=ash_s&p=41")
        steps(one, 2)
        taken = steps(one, moves)
        row(f"percentile step on {path}, new numbers", [numbers for numbers, _ in taken])
        row(f"percentile step on {path}, new chart", [chart for _, chart in taken])
        row(f"step of a held key on {path}", held(one, 3 * moves))
        one.page.context.close()
    one = visit("/?variant=ash_p&p=33")
    row("click on a mark until controls, cards and address agree", clicks(one, moves))
    row("page change until its chart stands", page_changes(one, ["Scores", "Activations", "Trade-off"] * (moves // 3)))
    one = visit("/scores?variant=ash_s&p=41&curve=scrub")
    one.page.wait_for_selector(".slider-rail-touch-rect", timeout=60_000)
    row("one step of the scrub", one.page.evaluate(SCRUB, 3 * moves))
    one = visit("/?variant=ash_s&p=31")
    steps(one, 5)
    early = memory(address)
    steps(one, 45)
    late = memory(address)
    print(
        f"memory of the server: {early:.0f} MB after 5 percentile steps, {late:.0f} MB after 50: {late / early:.3f} x"
    )


def main() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moves", type=int, default=12)
    moves = parser.parse_args().moves
    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        os.environ["ASH_CACHE"] = str(Path(scratch) / "cache")
        log: Callable[[str], Path] = lambda name: Path(scratch) / f"{name}.log"  # noqa: E731
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        first_chart(browser, "empty cache", log("cold"))
        for turn in range(3):
            first_chart(browser, "warm cache", log(f"warm{turn}"))
        with serve(streamlit_command(), ROOT, log("server")) as address:
            measure(browser, address, moves)
        browser.close()


if __name__ == "__main__":
    main()
