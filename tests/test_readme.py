"""The README and the guides keep their promises: programs run, results are those of what ships, names exist."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

import ash
from app.backend import evaluations, setups
from app.link.options import GUIDES
from app.link.spec import RunSpec
from app.views.guide import text
from ash.__main__ import main

ROOT = Path(__file__).parents[1]
WRITTEN = {name: text.path_of(name).read_text() for name in GUIDES}
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
pages = pytest.mark.parametrize("name", GUIDES)


def code(name: str) -> list[str]:
    """All that is set as code: blocks, and words within a line; a line that goes on is one."""
    return CODE.findall(WRITTEN[name].replace("\\\n", " "))


@pytest.mark.slow
def test_the_program_runs() -> None:
    program, *_ = re.findall(r"```python\n(.*?)```", WRITTEN["start"], re.DOTALL)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines()[1:4]] == ["energy", "ash_p@60", "ash_b@65"]


ROWS = re.findall(r"^\| (Energy,|ASH-[PBS]|ReAct)(?: @ ([\d.]+))?.*?\| (.*) \|$", WRITTEN["tour"], re.M)


def test_results_are_stated() -> None:
    assert len(ROWS) == 7


@pytest.mark.parametrize("row", ROWS)
def test_the_results_are_those_of_what_ships(row: tuple[str, str, str]) -> None:
    name, parameter, numbers = row
    variant = name.lower().replace("-", "_")
    method = ash.Method.parse("energy" if name == "Energy," else f"{variant}@{parameter}")
    table = evaluations.measure(setups.setup(RunSpec()), str(method))
    mean = table[table["ood"] == "mean"].iloc[0]
    stated = [float(number) for number in numbers.split(" | ")]
    assert [mean.auroc, mean.fpr95, mean.id_accuracy] == pytest.approx(stated, abs=0.05001)


@pages
def test_every_file_it_names_exists(name: str) -> None:
    found = re.findall(r"(?<![\w./])(?:ash|app|assets|tests)/[\w./]*\w", " ".join(code(name)))
    found += re.findall(r'(?:src|srcset)="([^"]+)"', WRITTEN[name])
    assert [path for path in found if not (ROOT / path).exists()] == []


@pages
def test_every_link_leads_to_something(name: str) -> None:
    folder = text.path_of(name).parent
    for target in text.links(WRITTEN[name]):
        if "://" in target:
            continue
        file, _, place = target.partition("#")
        path = (folder / file).resolve() if file else text.path_of(name)
        assert path.is_file(), target
        headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
        assert not place or place in map(text.anchor, headings), target


@pages
def test_every_command_it_names_exists(name: str) -> None:
    for line in "\n".join(code(name)).splitlines():
        words = re.sub(r"#.*", "", line).strip("` ").split()
        if "ash" not in words or words[: words.index("ash")][-1:] != ["-m"]:
            continue
        command: click.Command = main
        rest = words[words.index("ash") + 1 :]
        while isinstance(command, click.Group):
            assert rest, line
            assert rest[0] in command.commands, line
            command = command.commands[rest.pop(0)]
        options = {option for one in command.params for option in one.opts}
        assert {word for word in rest if word.startswith("--")} <= options, line


@pages
def test_every_variable_it_names_is_read(name: str) -> None:
    sources = " ".join(path.read_text() for folder in ("app", "ash") for path in (ROOT / folder).rglob("*.py"))
    assert [one for one in set(re.findall(r"\bASH_[A-Z_]+", WRITTEN[name])) if f'"{one}"' not in sources] == []
