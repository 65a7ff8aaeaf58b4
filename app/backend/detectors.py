"""A view's detector as a file: the command that writes it, and the same command run beside this process.

Beside it, because torch's export changes how the whole process computes while it is at work.
"""

import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from urllib.parse import urlencode

import ash
from app.backend.banks import Step
from app.backend.library import require_compute
from app.backend.setups import most_images, setup
from app.link.spec import RunSpec
from ash.errors import AshError

POLL = 0.2  # seconds between two looks at the process
FAULT = 70  # its exit status for a bug


def arguments(spec: RunSpec) -> tuple[str, ...]:
    """`python -m ash export` for a view, without where it is written to."""
    at = setup(spec)
    network = [urlencode({"model": at.model, "checkpoint": at.checkpoint})] if at.checkpoint else ["--model", at.model]
    told = ["export", *network, "--placement", at.placement, "--method", str(spec.method)]
    told += ["--id", at.id_set, "--accept", f"{spec.tpr:g}"]
    if count := most_images(at, at.id_set):
        told += ["--images", str(count)]
    if at.dtype != "float32":
        told += ["--dtype", at.dtype]
    return tuple(told)


def refusal(spec: RunSpec) -> str:
    """Why the command refuses a view's method, in its words; "" where it takes it."""
    from ash.detector import DetectorError, check

    try:
        check(spec.method)
    except DetectorError as error:
        return str(error)
    return ""


def command(spec: RunSpec, file: str) -> str:
    """The command line that writes a view's detector."""
    return shlex.join(["python", "-m", "ash", *arguments(spec), "--out", file])


def write(told: tuple[str, ...]) -> Generator[Step, None, bytes]:
    """Run the command and return the file; close this to stop. AshError where the command refuses, in its words."""
    require_compute()
    with tempfile.TemporaryDirectory(prefix="ash-") as folder:
        file, log = Path(folder) / "detector.pt2", Path(folder) / "log"
        with log.open("w") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "ash", *told, "--out", str(file)],
                cwd=Path(str(ash.__file__)).parents[1], stdout=out, stderr=out, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            begun = time.monotonic()
            try:
                while process.poll() is None:
                    yield Step("Exporting", int(time.monotonic() - begun), 0, 0.0, float("inf"))
                    time.sleep(POLL)
            finally:
                process.kill()
                process.wait()
        if process.returncode:
            said = log.read_text(errors="replace").strip()
            if process.returncode == FAULT:
                raise RuntimeError(said)
            raise AshError(said.rpartition("Error: ")[2] or "The export was ended from outside.")
        return file.read_bytes()
