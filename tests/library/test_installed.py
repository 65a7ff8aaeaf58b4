"""What `pip install .` gives: a wheel with the pages and assets, `ash` and `ash-explorer` from any folder."""

import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from zipfile import ZipFile

import pytest
from features_folder import write_folder

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PATIENCE = 120  # seconds for a server on a machine that others use too


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout without a download."""
    folder = tmp_path_factory.mktemp("wheel")
    words = ["wheel", "--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(folder), str(ROOT)]
    done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of a fresh environment with the wheel; what it depends on is this one's."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=False)
    inside = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
    (inside / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = sysconfig.get_path("scripts", "venv", {"base": str(folder), "platbase": str(folder)}) + "/python"
    words = ["--python", python, "install", "--no-deps", "--no-index", "--quiet", str(wheel)]
    done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Path(python).parent


@pytest.fixture
def elsewhere(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """Another folder to be in, and an environment that knows nothing of the checkout."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("ASH_", "PYTHON"))}
    (tmp_path / "work").mkdir()
    return tmp_path / "work", {**env, "ASH_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}


def run(command: Path, *words: str, place: tuple[Path, dict[str, str]]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([command, *words], cwd=place[0], env=place[1], capture_output=True, text=True, timeout=300)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("localhost", 0))
        port: int = one.getsockname()[1]
        return port


def get(port: int, path: str) -> bytes:
    content: bytes = urllib.request.urlopen(f"http://localhost:{port}{path}", timeout=10).read()
    return content


@contextmanager
def serving(scripts: Path, place: tuple[Path, dict[str, str]], *words: str) -> Iterator[tuple[int, "list[str]"]]:
    """The command at work: its port, and what it has said before it answered. It ends as Ctrl+C ends it."""
    port = free_port()
    command = [scripts / "ash-explorer", "--no-browser", "--port", str(port), *words]
    log = place[0] / "log.txt"
    with log.open("w") as out:
        server = subprocess.Popen(command, cwd=place[0], env=place[1], stdout=out, stderr=out, start_new_session=True)
    try:
        end = time.monotonic() + PATIENCE
        while "ASH explorer:" not in log.read_text():
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.2)
        yield port, log.read_text().splitlines()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGINT)
        server.wait(60)


def test_the_wheel_has_pages_and_assets_and_no_names_of_others(wheel: Path) -> None:
    names = ZipFile(wheel).namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"ash", "ash_explorer"}
    there = {
        "app/main.py",
        "app/ui/chart.js",
        "app/copy/lesson_1.md",
        "app/guide/tour.md",
        "app/.streamlit/config.toml",
    }
    there |= {"README.md", "assets/icon.svg", "assets/demo/manifest.json", "assets/plotly/plotly-cartesian.min.js.gz"}
    assert not {f"ash_explorer/{name}" for name in there} - {*names}
    assert not [name for name in names if "__pycache__" in name or "/tests/" in name]


def test_the_command_line_works_from_any_folder(scripts: Path, elsewhere: tuple[Path, dict[str, str]]) -> None:
    words = ("sweep", "--model", "demo", "--id", "fashion_mnist", "--ood", "digits", "--methods", "energy")
    done = run(scripts / "ash", *words, "--out", "table.csv", place=elsewhere)
    assert done.returncode == 0, done.stderr
    assert "fashion_mnist" in (elsewhere[0] / "table.csv").read_text()
    assert run(scripts / "ash", "demo", "check", "--help", place=elsewhere).returncode == 0


def test_the_explorer_starts_from_any_folder(scripts: Path, elsewhere: tuple[Path, dict[str, str]]) -> None:
    write_folder(elsewhere[0] / "mine")
    plugin = elsewhere[0] / "plugin.py"
    plugin.write_text("raise ValueError('of the plug-in')\n")
    more = ("--features", "mine", "--plugins", str(plugin))
    with serving(scripts, elsewhere, *more) as (port, said):
        assert "mine: 16 features, 5 classes; id 300, train 300, noise 150, shapes 150 rows" in said
        assert any(line.endswith(f"http://localhost:{port}/?model=mine (Ctrl+C stops it)") for line in said)
        assert get(port, "/_stcore/health") == b"ok"
        assert b"<title>" in get(port, "/")
    assert "Traceback" not in "\n".join(said)
    with pytest.raises(OSError, match="refused"):
        get(port, "/_stcore/health")


def test_pages_are_drawn_from_what_is_installed(scripts: Path, elsewhere: tuple[Path, dict[str, str]]) -> None:
    """By AppTest in the fresh environment: the first page with the network that ships, and the guide with its texts."""
    program = f"""
import sys
from pathlib import Path
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash
from ash.shipped import HOME
assert HOME.name == "ash_explorer" and "site-packages" in str(HOME), HOME
for page in ("tradeoff", "guide", "paper"):
    app = AppTest.from_file(str(HOME / "app" / "main.py"), default_timeout={PATIENCE})
    app._page_hash = calc_hash(page)
    app.run()
    assert not app.exception and not app.error, (page, app.exception, app.error)
import app.main, ash
assert Path(app.main.__file__).is_relative_to(HOME) and not Path(ash.__file__).is_relative_to({str(ROOT)!r})
"""
    done = run(scripts / "python", "-c", program, place=elsewhere)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--features", "empty"), "is no folder of features"),
        (("--features", "broken"), "head.npz is missing"),
        (("--features", "gone"), "'gone' does not exist"),
        (("--plugins", "gone.py"), "'gone.py' does not exist"),
        (("--data", "gone"), "'gone' does not exist"),
        (("--port", "70000"), "is not in the range"),
    ],
)
def test_what_cannot_be_opened_ends_it_with_a_sentence(
    scripts: Path, elsewhere: tuple[Path, dict[str, str]], words: tuple[str, ...], said: str
) -> None:
    (elsewhere[0] / "empty").mkdir()
    write_folder(elsewhere[0] / "broken")
    (elsewhere[0] / "broken" / "head.npz").unlink()
    done = run(scripts / "ash-explorer", "--no-browser", *words, place=elsewhere)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
