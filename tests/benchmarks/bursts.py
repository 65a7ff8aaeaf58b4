"""How many of many random bursts of keys, clicks and Back end with an address that says something else than the page.

python tests/benchmarks/bursts.py --bursts 300 [--root FOLDER_OF_ANOTHER_VERSION]
"""

import random
import sys
import tempfile
from pathlib import Path

import click

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "browser")]

from bursts import START, burst  # noqa: E402
from driver import Visitor, serve  # noqa: E402
from playwright.sync_api import Browser, TimeoutError, sync_playwright  # noqa: E402

FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]


def _fresh(browser: Browser, address: str) -> Visitor:
    """A new user at the first page; tried twice, since a cold server on a busy machine may take minutes."""
    for _ in range(2):
        one = Visitor(browser.new_context().new_page(), address)
        try:
            return one.open(START)
        except (TimeoutError, AssertionError):
            one.page.context.close()
    raise SystemExit("the page does not open")


@click.command()
@click.option("--bursts", default=300, show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("--root", default=ROOT, type=click.Path(exists=True, path_type=Path), help="The version to measure.")
@click.option("--chromium", default="/usr/bin/chromium", show_default=True)
def main(bursts: int, seed: int, root: Path, chromium: str) -> None:
    """Print every burst that failed, then how many of how many."""
    rng, failed, fault = random.Random(seed), 0, ""
    command = [str(Path(sys.executable).with_name("streamlit")), "run", "app/main.py"]
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(command, root, Path(folder) / "log.txt") as address,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for number in range(bursts):
            if number % 10 == 0 or fault:
                one = _fresh(browser, address)
            found = burst(one, rng)
            fault = found.fault
            if fault:
                failed += 1
                print(f"burst {number}, {found.actions}: {fault}", flush=True)
            if number % 10 == 9 or fault:
                one.page.context.close()
                print(f"{failed} of {number + 1} failed", flush=True)
        browser.close()


if __name__ == "__main__":
    main()
