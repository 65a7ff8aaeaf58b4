"""The README keeps its promises: its program runs, its results are those of what ships, its files exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import ash
from app.backend import evaluations, setups
from app.link.spec import RunSpec

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()


@pytest.mark.slow
def test_the_program_runs() -> None:
    program, *_ = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert [line.split()[1] for line in done.stdout.splitlines()[1:4]] == ["energy", "ash_p@60", "ash_b@65"]


@pytest.mark.parametrize("row", re.findall(r"^\| (Energy,|ASH-[PBS]|ReAct)(?: @ ([\d.]+))?.*?\| (.*) \|$", TEXT, re.M))
def test_the_results_are_those_of_what_ships(row: tuple[str, str, str]) -> None:
    name, parameter, numbers = row
    variant = name.lower().replace("-", "_")
    method = ash.Method.parse("energy" if name == "Energy," else f"{variant}@{parameter}")
    table = evaluations.measure(setups.setup(RunSpec()), str(method))
    mean = table[table["ood"] == "mean"].iloc[0]
    stated = [float(number) for number in numbers.split(" | ")]
    assert [mean.auroc, mean.fpr95, mean.id_accuracy] == pytest.approx(stated, abs=0.05001)


def test_every_file_it_names_exists() -> None:
    for path in set(re.findall(r"`((?:ash|app|assets|tests)/[\w./]*\w)`", TEXT)) | set(
        re.findall(r"\]\((assets/[^)]*)\)", TEXT)
    ):
        assert (ROOT / path).exists(), path
