"""The README and the guides keep their promises: programs run, results are those of what ships, names exist."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import click
import pandas as pd
import pytest

import ash
from app.backend import evaluations, setups
from app.link.options import GUIDES
from app.link.spec import OPENING, RunSpec
from app.views.guide import text
from ash import demo
from ash.__main__ import main
from ash.data import get_dataset
from ash.demo import pictures

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


SHIPS = (ROOT / "assets" / "README.md").read_text()
ROW = re.compile(r"^\| (Energy,|ASH-[PBS]|ReAct)(?: @ ([\d.]+))?.*?\| (.*) \|$", re.M)
SECTIONS = {
    "What the opening network shows": OPENING.model,
    "What the paper's DenseNet shows": "densenet101_cifar10",
    "What the small network shows": "demo",
}
ROWS = [
    (model, *row)
    for title, model in SECTIONS.items()
    for row in ROW.findall(WRITTEN["tour"].partition(f"## {title}\n")[2].partition("\n## ")[0])
]


def measured(model: str, method: str) -> pd.DataFrame:
    """The metrics of a method from what ships, by OOD set."""
    return evaluations.measure(setups.setup(RunSpec(model=model)), str(ash.Method.parse(method))).set_index("ood")


def test_results_are_stated() -> None:
    assert Counter(row[0] for row in ROWS) == {OPENING.model: 6, "densenet101_cifar10": 5, "demo": 7}
    name = f"{OPENING.method.label}, where the app opens"
    assert name in WRITTEN["tour"]


@pytest.mark.parametrize("row", ROWS)
def test_the_results_are_those_of_what_ships(row: tuple[str, str, str, str]) -> None:
    model, name, parameter, numbers = row
    variant = name.lower().replace("-", "_")
    mean = measured(model, "energy" if name == "Energy," else f"{variant}@{parameter}").loc["mean"]
    stated = [float(number) for number in numbers.split(" | ")]
    assert [mean.auroc, mean.fpr95, mean.id_accuracy] == pytest.approx(stated, abs=0.05001)


TABLES = re.findall(r"^\| method \| accuracy \| (.*) \|\n.*\n((?:\| `.*\n)+)", SHIPS, re.M)
BY_SET = [
    (model, tuple(sets.split(" | ")), line)
    for model, (sets, lines) in zip((OPENING.model, "demo"), TABLES, strict=True)
    for line in lines.splitlines()
]


@pytest.mark.parametrize(("model", "sets", "line"), BY_SET)
def test_the_results_by_set_are_those_of_what_ships(model: str, sets: tuple[str, ...], line: str) -> None:
    method, accuracy, *cells = line.strip("| ").replace("`", "").split(" | ")
    found = measured(model, method)
    assert {*sets} == {*found.index}
    assert found.id_accuracy["mean"] == pytest.approx(float(accuracy), abs=0.05001)
    for name, cell in zip(sets, cells, strict=True):
        stated = [float(number) for number in cell.split(" / ")]
        assert [found.auroc[name], found.fpr95[name]] == pytest.approx(stated, abs=0.05001)


def test_what_ships_is_as_large_as_it_says() -> None:
    sizes: Counter[str] = Counter()
    for path in (ROOT / "assets" / "demo").rglob("*"):
        if path.is_file():
            sizes[path.relative_to(ROOT / "assets" / "demo").parts[0].partition(".")[0]] += path.stat().st_size
    measured = [sizes.total(), sizes["images"], sizes["banks"], sizes["weights"]]
    (stated,) = re.findall(r"takes ([\d.]+) MB: .* ([\d.]+), activations ([\d.]+), weights ([\d.]+)\.", SHIPS)
    assert [size / 1e6 for size in measured] == pytest.approx([float(number) for number in stated], abs=0.05001)


def test_the_sets_are_as_large_as_it_says() -> None:
    stated = dict(re.findall(r"^\| `(\w+)` \| ([\d,]+)(?:, not shipped)? \|", SHIPS, re.M))
    sets = {name for part in demo.PARTS.values() for name in part.sets}
    assert {name: int(number.replace(",", "")) for name, number in stated.items()} == {
        name: len(demo.images_in(demo.FOLDER, name)) for name in sets
    }
    rows = get_dataset("photos").rows
    classes, authors = (len({row[column] for row in rows}) for column in ("label", "author"))
    assert f"photographs of {classes} of ImageNet's classes, by {authors} authors" in SHIPS


def test_how_pictures_were_changed_is_as_it_says() -> None:
    text = " ".join(SHIPS.split())
    assert f"shorter side was scaled to {pictures.SHORTER}, the middle square of {pictures.SIDE} x" in text
    assert f"saved as WebP of quality {pictures.FINE}. **To the drawings**" in text
    assert f"square of {pictures.SIDE} x {pictures.SIDE}, and saved as WebP of quality {pictures.QUALITY}." in text


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
