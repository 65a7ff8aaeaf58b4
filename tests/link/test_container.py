"""The container's recipe: what it copies is there, what it starts is what the README starts, and it answers."""

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

sys.path.append(str(Path(__file__).parents[1] / "browser"))
pytest.importorskip("playwright")
websockets = pytest.importorskip("websockets")
from driver import ROOT, free_port, serve, wait_until_healthy  # noqa: E402
from test_door import answer, in_a_loop  # noqa: E402

RECIPE = ROOT / "assets" / "container" / "Dockerfile"
OFF = "fetching, extracting and deleting from the browser is off"
NAME = "explorer.example.org"  # that a proxy or hub has given it


def steps(recipe: str) -> list[tuple[str, str]]:
    """Its instructions in their order: (word, rest), without comments, a line that goes on as one."""
    lines = re.sub(r"^\s*#.*\n", "", recipe, flags=re.M).replace("\\\n", " ").splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1].strip()) for line in lines if line.strip()]


STEPS = steps(RECIPE.read_text())


def the(word: str) -> str:
    """The rest of the one instruction with this word."""
    (found,) = [rest for one, rest in STEPS if one == word]
    return found


COPIED = {shlex.split(rest)[0]: shlex.split(rest)[1] for word, rest in STEPS if word == "COPY"}
START: list[str] = json.loads(the("CMD"))
HEALTH: list[str] = json.loads(the("HEALTHCHECK").partition("CMD ")[2])
SETTINGS = dict(word.split("=", 1) for word in shlex.split(the("ENV")))


def test_all_that_it_copies_is_in_a_checkout_and_all_that_ships_is_copied() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is no checkout of git")
    kept = {name.split("/")[0] for name in listed.stdout.splitlines()}
    assert {*COPIED} <= kept
    assert kept - {*COPIED} == {".ci", ".gitignore", "pyproject.toml", "tests"}, "neither copied nor known to stay out"
    assert all(place == ("./" if (ROOT / name).is_file() else name) for name, place in COPIED.items())


def test_it_installs_and_starts_what_the_readme_does() -> None:
    readme = (ROOT / "README.md").read_text()
    assert " ".join(START[:3]) == "streamlit run app/main.py"
    assert f"`{' '.join(START[:3])}`" in readme
    assert "pip install -r requirements.txt" in readme
    (installs,) = [rest for word, rest in STEPS if word == "RUN" and "pip install" in rest]
    assert installs.endswith("-r requirements.txt")
    wheels = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line.startswith("torch")]
    assert [re.split("[^a-z]", line)[0] for line in wheels] == ["torch", "torchvision"], "taken from the CPU's place"
    least = re.findall(r'requires-python = ">=3\.(\d+)"', (ROOT / "pyproject.toml").read_text())
    assert int(re.findall(r"^python:3\.(\d+)-slim$", the("FROM"))[0]) >= int(least[0])


def test_it_lends_out_nothing_and_keeps_data_in_its_volume() -> None:
    assert SETTINGS["ASH_LIBRARY"] == SETTINGS["ASH_COMPUTE"] == "off"
    assert the("EXPOSE") == SETTINGS["STREAMLIT_SERVER_PORT"] == "8501"
    volume = the("VOLUME")
    assert all(SETTINGS[name].startswith(f"{volume}/") for name in ("ASH_DATA", "ASH_CACHE"))
    made = next(
        rest for word, rest in STEPS if word == "RUN" and f"useradd --create-home --uid 1000 {the('USER')}" in rest
    )
    assert {volume, SETTINGS["ASH_DATA"], SETTINGS["ASH_CACHE"]} <= {*made.split()}
    words = [word for word, _ in STEPS]
    assert words.index("USER") > max(at for at, word in enumerate(words) if word == "RUN"), "nothing later is root's"


def test_the_guide_names_what_it_is() -> None:
    guide = (ROOT / "app" / "guide" / "serving.md").read_text()
    for word in ("assets/container/Dockerfile", SETTINGS["ASH_DATA"], "STREAMLIT_SERVER_ALLOWED_HOSTS", "TORCH_INDEX"):
        assert word in guide, word
    assert f"app_port: {the('EXPOSE')}" in guide


# At work


def engine() -> bool:
    """Whether a container engine answers."""
    if not shutil.which("docker"):
        return False
    asked = subprocess.run(["docker", "info", "--format", "{{.ServerVersion}}"], capture_output=True, text=True)
    return asked.returncode == 0 and bool(asked.stdout.strip())


@contextmanager
def contained(log: Path, hosts: str) -> Iterator[str]:
    """Built and started by the engine: its address. The container is gone then."""
    build = ["docker", "build", "--quiet", "-f", str(RECIPE), str(ROOT)]
    built = subprocess.run(build, capture_output=True, text=True, env={**os.environ, "DOCKER_BUILDKIT": "1"})
    assert built.returncode == 0, built.stderr[-3000:]
    port, image = free_port(), built.stdout.strip()
    publish = ["-p", f"127.0.0.1:{port}:8501", "-e", f"STREAMLIT_SERVER_ALLOWED_HOSTS={hosts}"]
    process = subprocess.Popen(
        ["docker", "run", "--rm", *publish, image], stdout=log.open("w"), stderr=subprocess.STDOUT
    )
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def beside(folder: Path, log: Path, hosts: str) -> Iterator[str]:
    """Its start command in this environment, in a folder with what it copies and no more: its address."""
    place = folder / "explorer"
    place.mkdir()
    for name, to in COPIED.items():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, place / to, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, place / to)
    own = {name: value for name, value in SETTINGS.items() if name != "STREAMLIT_SERVER_PORT"}
    own |= {
        name: str(folder / value.strip("/")) for name, value in own.items() if value.startswith(f"{the('VOLUME')}/")
    }
    own |= {"STREAMLIT_SERVER_ALLOWED_HOSTS": hosts}
    command = ["env", *(f"{name}={value}" for name, value in own.items()), sys.executable, "-m", *START]
    with serve(command, place, log) as address:
        yield address


async def _shown(address: str, page: str) -> bytes:
    """All that the server sends for one run of a page."""
    ask, came, sent = BackMsg(), ForwardMsg(), b""
    ask.rerun_script.page_name = page
    where = f"{address.replace('http', 'ws')}/_stcore/stream"
    async with websockets.connect(where, origin=address, subprotocols=["streamlit"], max_size=None) as ws:
        await ws.send(ask.SerializeToString())
        while came.WhichOneof("type") != "script_finished":
            part = await asyncio.wait_for(ws.recv(), 120)
            came.ParseFromString(part)
            sent += part
    return sent


@pytest.mark.slow
def test_it_answers_with_the_library_off_and_to_its_names_alone(tmp_path: Path) -> None:
    """In a container where an engine answers, otherwise in this environment."""
    log = tmp_path / "log.txt"
    hosts = f"localhost 127.0.0.1 {NAME}"
    with contained(log, hosts) if engine() else beside(tmp_path, log, hosts) as address:
        asked = {**os.environ, "STREAMLIT_SERVER_PORT": address.rpartition(":")[2]}
        assert subprocess.run([sys.executable, *HEALTH[1:]], env=asked).returncode == 0, "its own health check"
        assert answer(address, Host=NAME).status == 200
        assert answer(address, Host="evil.example").status == 421
        assert OFF.encode() in in_a_loop(_shown(address, "library"))
    assert "Traceback" not in log.read_text()
