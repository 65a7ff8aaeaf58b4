"""What the engine does to the process that it runs in."""

import subprocess
import sys

SEARCHED = """
import gc
from app.backend import engine
engine.load()
print(len(gc.get_objects()))
frozen, kept = gc.get_freeze_count(), [[] for _ in range(1000)]
engine.load()
print(gc.get_freeze_count() - frozen)
"""


def test_a_search_for_garbage_after_a_run_leaves_out_the_libraries_and_nothing_that_came_later() -> None:
    out = subprocess.run([sys.executable, "-c", SEARCHED], capture_output=True, text=True, check=True)
    searched, more = map(int, out.stdout.split())
    assert searched < 10_000  # with torch about 400,000
    assert more <= 0
