"""Two users at once, against one alone: seconds, steps, and the ratio of the slower one. By hand: see README.md.

    python tests/benchmarks/two_users.py [--images 200] [--rounds 3]

At a deep placement: the same methods, other methods, one method beside a long list. Then a bank that both want, and an
evaluation beside an extraction: how long it waits for its turn.
"""

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ["ASH_CACHE"] = tempfile.mkdtemp()
os.environ["ASH_DATA"] = tempfile.mkdtemp()

from app.backend import banks, deep, setups
from app.backend.turns import semaphore
from app.link.spec import RunSpec

DEEP = "layer3.0.relu2"
_parameters = count(1)  # every try takes settings that nothing has evaluated yet


def methods(number: int) -> tuple[str, ...]:
    """So many settings that are new."""
    return tuple(f"ash_s@{next(_parameters) / 100 + 40:g}" for _ in range(number))


def seconds(*users: Callable[[], object]) -> list[float]:
    """How long each user takes when all begin at once."""
    gate, took = threading.Barrier(len(users)), [0.0] * len(users)

    def one(number: int) -> None:
        gate.wait()
        begun = time.perf_counter()
        users[number]()
        took[number] = time.perf_counter() - begun

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(users))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took


def evaluate(at: setups.Setup, some: tuple[str, ...]) -> Callable[[], object]:
    """A user who wants some settings."""
    return lambda: list(deep.deep_steps(at, "energy", some))


def extract(at: setups.Setup) -> Callable[[], object]:
    """A user who wants the banks of a setup."""
    return lambda: list(banks.compute_banks(at))


def placed(images: int) -> setups.Setup:
    """A deep placement with so many images a set."""
    return setups.setup(RunSpec(placement=DEEP, images=images, ood=("digits",)))


def compare(what: str, rounds: int, alone: Callable[[], list[float]], both: Callable[[], list[float]]) -> None:
    """Print how much longer each of two users takes than alone, in turns; medians."""
    pairs = [(alone(), both()) for _ in range(rounds)]
    one = [statistics.median(times) for times in zip(*(pair[0] for pair in pairs), strict=True)]
    two = [statistics.median(times) for times in zip(*(pair[1] for pair in pairs), strict=True)]
    for number, (before, now) in enumerate(zip(one, two, strict=True), start=1):
        print(f"{what}, user {number}: alone {before:6.2f} s, beside the other {now:6.2f} s, ratio {now / before:.2f}")


def main() -> None:
    """Print all comparisons."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    at = placed(asked.images)
    extract(at)()
    evaluate(at, methods(1))()  # the first one loads things
    for what, sizes in (("other methods", (3, 3)), ("one beside ten", (1, 10))):
        compare(
            what,
            asked.rounds,
            lambda sizes=sizes: [seconds(evaluate(at, methods(size)))[0] for size in sizes],  # type: ignore[misc]
            lambda sizes=sizes: seconds(*(evaluate(at, methods(size)) for size in sizes)),  # type: ignore[misc]
        )

    def same() -> list[float]:
        some = methods(3)
        return seconds(evaluate(at, some), evaluate(at, some))

    compare("same methods", asked.rounds, lambda: [seconds(evaluate(at, methods(3)))[0] for _ in range(2)], same)
    sizes = count(asked.images + 1)

    def one_bank() -> list[float]:
        wanted = placed(next(sizes))
        return seconds(extract(wanted), extract(wanted))

    compare("one bank", asked.rounds, lambda: [seconds(extract(placed(next(sizes))))[0] for _ in range(2)], one_bank)
    waits = list[float]()
    worker = threading.Thread(target=extract(placed(next(sizes))))
    worker.start()
    while worker.is_alive():
        begun = time.perf_counter()
        with semaphore:
            waits.append(time.perf_counter() - begun)
        time.sleep(0.01)
    print(
        f"an evaluation beside an extraction waits {1e3 * statistics.median(waits):.0f} ms, at most {max(waits):.2f} s"
    )


if __name__ == "__main__":
    main()
