"""What a percentile step costs the server: CPU of the script run by page, and where it goes. By hand: see README.md.

python tests/benchmarks/script_run.py [--moves 12] [--model mobilenet_v2_photos] [--top 15] [PAGE ...]
"""

import contextlib
import cProfile
import pstats
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from app_pages import at_link, ran  # noqa: E402

from app.link import state  # noqa: E402

PAGES = ("tradeoff", "scores", "activations", "placements", "samples", "lab", "paper")
ROOT = str(TESTS.parent)
_taken: list[float] = []
_profile: list[cProfile.Profile] = []


@contextlib.contextmanager
def _measured(before: contextlib.AbstractContextManager[None]) -> Iterator[None]:
    """Round a run of the script: CPU seconds of its thread."""
    with before:
        profile = cProfile.Profile() if _profile else None
        begun = time.thread_time()
        if profile:
            profile.enable()
        try:
            yield
        finally:
            if profile:
                profile.disable()
                _profile.append(profile)
            _taken.append(time.thread_time() - begun)


def _where(profiles: list[cProfile.Profile], top: int) -> Iterator[str]:
    """Lines: own time by module, then the functions of the app with the most time in and below them."""
    stats = pstats.Stats(profiles[0])
    for one in profiles[1:]:
        stats.add(one)
    modules, functions, runs = Counter[str](), Counter[str](), len(profiles)
    for (file, line, name), (_, _, own, below, _) in stats.stats.items():  # type: ignore[attr-defined]
        short = file.partition("site-packages/")[2] or file.removeprefix(ROOT + "/")
        modules["/".join(short.split("/")[:2])] += own
        if file.startswith(ROOT):
            functions[f"{short}:{line} {name}"] += below
    for title, table in (("own time by module", modules), ("with what is below", functions)):
        yield f"  {title}, ms a run under the profiler"
        yield from (f"    {1000 * seconds / runs:7.1f}  {name}" for name, seconds in table.most_common(top))


@click.command()
@click.argument("pages", nargs=-1)
@click.option("--moves", default=12, show_default=True)
@click.option("--model", default="", help="[default: the demo]")
@click.option("--top", default=0, show_default=True, help="Profile as well, and print so many lines.")
def main(pages: tuple[str, ...], moves: int, model: str, top: int) -> None:
    """Move the percentile on every page, and print the CPU of the runs."""
    meeting = state.first_meeting
    state.first_meeting = lambda: _measured(meeting())  # type: ignore[assignment]
    for page in pages or PAGES:
        app = ran(at_link(page, **({"model": model} if model else {}), variant="ash_s", p=40))
        for p in range(41, 44):
            app.slider(key="spec_p").set_value(p).run()
        for profiled in (False, True) if top else (False,):
            _taken.clear()
            _profile[:] = [cProfile.Profile()] if profiled else []
            for p in range(44, 44 + moves):
                app.slider(key="spec_p").set_value(p).run()
            if not profiled:
                median = 1000 * statistics.median(_taken)
                print(f"{page:<12} median {median:6.0f} ms   worst {1000 * max(_taken):6.0f} ms", flush=True)
            else:
                print("\n".join(_where(_profile[1:], top)), flush=True)


if __name__ == "__main__":
    main()
