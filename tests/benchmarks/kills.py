"""Kill a Library job, a build of the demo and the app's store before every step on the disk. By hand: see README.md.

    python tests/benchmarks/kills.py [library] [demo] [store] [--every 1]

Prints what was lost, stray or other after the next run, for each kill; exits 1 if anything was. The demo has about 500
steps and takes the longest: some 3 s of computing for a kill and the run after it.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import click

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "library"), str(TESTS), str(TESTS.parent)]

from test_kills import WORKS, kill_and_go_on, undisturbed  # noqa: E402


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(WORKS)))
@click.option("--every", default=1, show_default=True, help="Take every n-th step only.")
def main(names: tuple[str, ...], every: int) -> None:
    """Try all kills of some works."""
    bad = 0
    for name in names or WORKS:
        with tempfile.TemporaryDirectory() as folder:
            steps, whole, data = undisturbed(name, Path(folder))
            kills = range(1, steps + 1, every)
            wrong = 0
            for done, number in enumerate(kills, start=1):
                what = kill_and_go_on(name, Path(folder), number, whole, data)
                shutil.rmtree(Path(folder) / f"{number}")
                wrong += bool(what)
                print(f"{name}: {done}/{len(kills)} before step {number} of {steps}: {what or 'nothing'}", flush=True)
        print(f"{name}: {len(kills)} kills before {steps} steps, {wrong} with a fault", flush=True)
        bad += wrong
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
