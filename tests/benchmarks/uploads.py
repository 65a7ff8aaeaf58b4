"""Uploads into a running server, through Chromium: time to the verdict, hostile files, memory. By hand: see README.md.

    python tests/benchmarks/uploads.py [--times 12]

Drop to verdict for a garment, a photograph, the largest images allowed and 50 photographs; then every kind of
`tests/hostile_uploads.py` through the real endpoint, several times over, and 50 large files at once: tracebacks in the
log, the server's health, and its memory before, at most and after "Remove all".
"""

import argparse
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "browser"), str(TESTS), str(TESTS.parent)]

import numpy as np  # noqa: E402
from browser import memory, row  # noqa: E402
from conftest import FLAGS  # noqa: E402
from driver import ROOT, Visitor, serve, streamlit_command  # noqa: E402
from hostile_uploads import KINDS, saved  # noqa: E402
from PIL import Image  # noqa: E402
from playwright.sync_api import Browser, FilePayload, sync_playwright  # noqa: E402

MOST = 50
SENTENCES = "() => document.querySelector('.st-key-own_refused')?.innerText ?? ''"
VERDICTS = "() => document.querySelectorAll('.st-key-own_cards h5').length"


def payload(name: str, data: bytes) -> FilePayload:
    """A file as the browser would offer it."""
    return {"name": name, "mimeType": "image/png", "buffer": data}


def photograph(width: int, height: int, seed: int, quality: int = 85) -> bytes:
    """A JPEG with detail at every scale, as a camera's."""
    rng, whole = np.random.default_rng(seed), np.zeros((height, width, 3), np.float32)
    for size in (4, 16, 64, 256):
        grain = Image.fromarray(rng.integers(0, 256, (size, size, 3), np.uint8)).resize((width, height))
        whole += np.asarray(grain, np.float32) / 4
    return saved(Image.fromarray(whole.astype(np.uint8)), "JPEG", quality=quality)


def large_webp() -> bytes:
    """49 megapixels, which libwebp decodes in memory of its own."""
    return saved(Image.fromarray(np.zeros((7000, 7000, 3), np.uint8)), "WEBP")


def drop(one: Visitor, files: Sequence[FilePayload]) -> None:
    """Give files to the drop zone."""
    one.page.set_input_files("input[type=file]", list(files))


def clear(one: Visitor) -> None:
    """Remove all, and wait until they are gone."""
    one.ready().page.get_by_role("button", name="Remove all").click()
    one.page.wait_for_function(f"() => !({VERDICTS})() && !({SENTENCES})()", polling="raf")
    one.ready()


def to_verdict(one: Visitor, files: Sequence[FilePayload]) -> float:
    """Milliseconds from the drop until all verdicts stand on the page."""
    start = time.perf_counter()
    drop(one, files)
    wanted = f"wanted => ({VERDICTS})() === wanted"
    one.page.wait_for_function(wanted, arg=len(files), polling="raf", timeout=120_000)
    taken = 1000 * (time.perf_counter() - start)
    clear(one)
    return taken


@contextmanager
def highest(address: str) -> Iterator[list[float]]:
    """The most MB that the server has in memory while the block runs, looked at every 5 ms."""
    found, stop = [0.0], threading.Event()

    def look() -> None:
        while not stop.wait(0.005):
            found[0] = max(found[0], memory(address))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()


def speed(one: Visitor, times: int) -> None:
    """Drop to verdict."""
    garment = saved(Image.fromarray(np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)), "PNG")
    camera, large = photograph(4000, 3000, 1), photograph(8000, 6000, 2, 60)
    print(f"camera: {len(camera) / 1e6:.1f} MB; large: {len(large) / 1e6:.1f} MB")
    for turn in range(2):  # torch, the network and the chart are loaded once
        to_verdict(one, [payload(f"{turn}.png", garment)])
    row("28 x 28 PNG, drop to verdict", [to_verdict(one, [payload("a.png", garment)]) for _ in range(times)])
    row("640 x 480 JPEG", [to_verdict(one, [payload("a.jpg", photograph(640, 480, i))]) for i in range(times)])
    row("12 megapixel JPEG", [to_verdict(one, [payload("a.jpg", camera)]) for _ in range(times)])
    row("48 megapixel JPEG", [to_verdict(one, [payload("a.jpg", large)]) for _ in range(4)])
    row("49 megapixel WebP", [to_verdict(one, [payload("a.webp", large_webp())]) for _ in range(3)])
    many = [payload(f"{i}.jpg", photograph(640, 480, i)) for i in range(MOST)]
    row("50 JPEGs of 640 x 480, until the last verdict", [to_verdict(one, many) for _ in range(3)])


def hostile(one: Visitor) -> tuple[int, int]:
    """Every kind once, in drops of at most MOST: files refused with a sentence, files scored."""
    cases = [make() for make in KINDS.values()]
    refused = scored = 0
    for first in range(0, len(cases), MOST):
        some = cases[first : first + MOST]
        drop(one, [payload(case.name, case.data) for case in some if len(case.data) <= 5_000_000])
        one.page.wait_for_function(f"() => ({SENTENCES})() || ({VERDICTS})()", polling="raf", timeout=120_000)
        one.ready()
        refused += len([line for line in one.page.evaluate(SENTENCES).splitlines() if line.strip()])
        scored += one.page.evaluate(VERDICTS)
        clear(one)
    return refused, scored


def safety(one: Visitor, address: str, log: Path, rounds: int) -> None:
    """All kinds, over and over."""
    print("hostile kinds:", len(KINDS))
    found = hostile(one)
    level = memory(address)
    with highest(address) as most:
        for turn in range(rounds):
            assert hostile(one) == found
            print(
                f"round {turn + 1}: {found[0]} refused, {found[1]} scored, memory {memory(address):.0f} MB", flush=True
            )
    one.open("/samples?look=story")
    text = log.read_text()
    print(
        f"memory: {level:.0f} MB after the first round, {most[0]:.0f} MB at most, {memory(address):.0f} MB at the end"
    )
    print(f"tracebacks in the log: {text.count('Traceback')}; the server answers: {one.page.title()}")


def heavy(one: Visitor, address: str, folder: Path) -> None:
    """Fifty 12 megapixel photographs of 5 MB, twice."""
    camera, rng, paths = photograph(4000, 3000, 1), np.random.default_rng(0), []
    for i in range(MOST):
        paths.append(folder / f"heavy{i}.jpg")
        paths[-1].write_bytes(camera + rng.bytes(4_990_000 - len(camera)))  # after the end of the image: not read
    before = memory(address)
    for _ in range(2):
        with highest(address) as most:
            one.page.set_input_files("input[type=file]", paths)
            one.page.wait_for_function(f"() => ({VERDICTS})() === {MOST}", polling="raf", timeout=180_000)
        held = memory(address)
        clear(one)
        print(
            f"50 photographs of 5 MB: {before:.0f} MB before, {most[0]:.0f} at most, {held:.0f} with their verdicts, "
            f"{memory(address):.0f} after 'Remove all'",
            flush=True,
        )


def main() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        os.environ["ASH_CACHE"] = str(Path(scratch) / "cache")
        log = Path(scratch) / "server.log"
        browser: Browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        with serve(streamlit_command(), ROOT, log) as address:
            page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
            one = Visitor(page, address).open("/samples?look=own")
            speed(one, options.times)
            heavy(one, address, Path(scratch))
            safety(one, address, log, options.rounds)
        browser.close()


if __name__ == "__main__":
    main()
