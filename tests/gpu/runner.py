"""Runs the checks of the GPU path one after the other, each in a process of its own with a time limit.

A check is a function `check(at) -> figures`: what it measured, by name. It fails by an AssertionError, is skipped by
`Skipped`, and its line is written the moment it ends, so that a run that is cut short has not been for nothing. The
processes are forked from this one, which has imported torch and must never touch the GPU itself.
"""

import argparse
import json
import multiprocessing
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import torch  # noqa: E402

Figures = dict[str, Any]
PACKAGES = ("torch", "torchvision", "numpy", "pandas", "scikit-learn", "triton")


class Skipped(Exception):
    """A check that cannot be made on this machine; the message says why."""


@dataclass(frozen=True)
class Where:
    """Where a check runs: its device, whether in small, a folder that is its own, the folder of reference data."""

    device: torch.device
    small: bool
    work: Path
    data: Path | None

    def pick(self, large: Any, small: Any) -> Any:
        """A size: the real one, or that of a rehearsal."""
        return small if self.small else large

    @property
    def reference(self) -> Path:
        """The folder of reference data; Skipped where none is named."""
        if self.data is None:
            raise Skipped("ASH_TEST_DATA names no folder with reference data")
        return self.data


Check = Callable[[Where], Figures]


def machine(at: Where) -> Figures:
    """The card, its memory, driver and the settings that decide what float32 means."""
    facts: Figures = {"python": platform.python_version(), "cores": os.cpu_count()}
    for name in PACKAGES:
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            facts[name] = "none"
    facts["TF32 in products"] = torch.backends.cuda.matmul.allow_tf32
    if at.device.type == "cuda":
        about = torch.cuda.get_device_properties(at.device)
        facts |= {"card": about.name, "memory GiB": round(about.total_memory / 2**30, 1), "CUDA": torch.version.cuda}
    else:
        facts["card"] = f"none: a rehearsal on {platform.machine()}, {torch.get_num_threads()} threads"
    return facts


def all_checks() -> dict[str, tuple[Check, int]]:
    """Name -> check and its time limit in seconds, in the order in which they are made."""
    from gpu import fast, right, robust

    return {"machine": (machine, 30), **right.CHECKS, **fast.CHECKS, **robust.CHECKS}


def _in_child(check: Check, at: Where, answer: Path) -> None:
    os.setsid()  # its decoding workers and children end with it
    os.environ |= {"ASH_CACHE": str(at.work / "cache"), "ASH_DATA": str(at.work / "data")}
    try:
        result: Figures = {"state": "ok", "figures": check(at)}
    except Skipped as reason:
        result = {"state": "skipped", "why": str(reason)}
    except BaseException as error:
        traceback.print_exc()
        result = {"state": "failed", "why": f"{type(error).__name__}: {error}"}
    answer.write_text(json.dumps(result))


def run(name: str, check: Check, limit: float, at: Where) -> Figures:
    """One check in a process of its own: its state, seconds and figures."""
    at.work.mkdir()
    answer, start = at.work / "answer.json", time.monotonic()
    child = multiprocessing.get_context("fork").Process(target=_in_child, args=(check, at, answer))
    child.start()
    child.join(limit * at.pick(1, 4))  # a rehearsal may share its cores
    late = child.is_alive()
    if late:
        os.killpg(child.pid or 0, signal.SIGKILL)
        child.join()
    if answer.is_file() and not late:
        result = json.loads(answer.read_text())
    else:
        result = {"state": "failed", "why": f"over its limit of {limit} s" if late else f"died ({child.exitcode})"}
    shutil.rmtree(at.work, ignore_errors=True)
    return {"check": name, "seconds": round(time.monotonic() - start, 1), **result}


def line(one: Figures) -> str:
    """What is printed of a check."""
    figures = ", ".join(f"{name} {value}" for name, value in one.get("figures", {}).items())
    return f"{one['check']:<30}{one['state']:<9}{one['seconds']:>6.1f} s  {figures or one.get('why', '')}"


def main() -> None:
    """All checks, or those asked for; exit status 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--out", type=Path, default=Path("gpu-check"))
    parser.add_argument("--only", nargs="*", default=[], help="names of checks, or their beginnings")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    data = os.environ.get("ASH_TEST_DATA")
    made = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "device": asked.device, "checks": []}
    with tempfile.TemporaryDirectory(prefix="ash-gpu-") as work:
        for name, (check, limit) in all_checks().items():
            if name != "machine" and asked.only and not name.startswith(tuple(asked.only)):
                continue
            folder = Path(work) / name.replace(" ", "-")
            at = Where(
                torch.device(asked.device), asked.device == "cpu", folder, Path(data).resolve() if data else None
            )
            made["checks"].append(run(name, check, limit, at))
            print(line(made["checks"][-1]), flush=True)
            (asked.out / "figures.json").write_text(json.dumps(made, indent=1) + "\n")
    from gpu import report

    (asked.out / "table.md").write_text(report.table(made))
    sys.exit(any(one["state"] == "failed" for one in made["checks"]))


if __name__ == "__main__":
    sys.modules["gpu.runner"] = sys.modules["__main__"]  # the checks import this module by its name
    main()
