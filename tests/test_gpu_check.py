"""The check of the GPU path, rehearsed: its ways are run, a check that fails or hangs is said, the report is honest."""

import json
import subprocess
import time
from pathlib import Path

import pytest
import torch
from gpu import report, runner

from ash.device import memory
from ash.errors import AshError

ROOT = Path(__file__).parents[1]
CHECKS = ["right: functions", "right: linear", "right: pooled", "fast: 20,000"]


@pytest.mark.slow
def test_a_rehearsal_runs_and_leaves_its_figures(tmp_path: Path) -> None:
    command = ["bash", "tests/gpu/check.sh", "--device", "cpu", "--out", str(tmp_path), "--only", *CHECKS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    made = json.loads((tmp_path / "figures.json").read_text())
    assert [one["state"] for one in made["checks"]] == ["ok"] * (1 + len(CHECKS))
    assert all(one["check"] in (tmp_path / "table.md").read_text() for one in made["checks"][1:])


def where(work: Path) -> runner.Where:
    return runner.Where(torch.device("cpu"), True, work, None)


def fails(at: runner.Where) -> runner.Figures:
    raise AssertionError("scores differ by 0.5")


def hangs(at: runner.Where) -> runner.Figures:
    time.sleep(600)
    return {}


def needs_data(at: runner.Where) -> runner.Figures:
    return {"folder": str(at.reference)}


@pytest.mark.parametrize(
    ("check", "limit", "state", "why"),
    [
        (fails, 20, "failed", "scores differ by 0.5"),
        (hangs, 0.2, "failed", "over its limit"),
        (needs_data, 20, "skipped", "ASH_TEST_DATA"),
    ],
)
def test_what_goes_wrong_is_said(check: runner.Check, limit: float, state: str, why: str, tmp_path: Path) -> None:
    one = runner.run("one", check, limit, where(tmp_path / "work"))
    assert one["state"] == state
    assert why in one["why"]
    assert why in runner.line(one)
    assert list(tmp_path.iterdir()) == []


def made(device: str) -> dict[str, object]:
    checks = [
        {"check": "machine", "state": "ok", "seconds": 1, "figures": {"card": "a card", "torch": "2.11"}},
        {"check": "fast: one", "state": "ok", "seconds": 1, "figures": {"ratio": 7.5}},
        {"check": "right: two", "state": "failed", "seconds": 1, "why": "scores differ"},
    ]
    return {"date": "2026-01-02T03:04:05+00:00", "device": device, "checks": checks}


def test_the_guide_takes_the_table_of_a_gpu_and_no_rehearsal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    guide, figures = tmp_path / "speed.md", tmp_path / "figures.json"
    guide.write_text((ROOT / "app/guide/speed.md").read_text())
    figures.write_text(json.dumps(made("cuda")))
    report.main([str(figures), "--into", str(guide)])
    text = guide.read_text()
    assert "a card, 2026-01-02" in text
    assert "| fast: one | ok | ratio 7.5 |" in text
    assert "| right: two | failed | scores differ |" in text
    figures.write_text(json.dumps(made("cpu")))
    with pytest.raises(SystemExit):
        report.main([str(figures), "--into", str(guide)])
    assert "rehearsal" in capsys.readouterr().err


def test_a_device_without_memory_is_a_sentence() -> None:
    with pytest.raises(AshError, match="memory of CPU"), memory(torch.device("cpu")):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
