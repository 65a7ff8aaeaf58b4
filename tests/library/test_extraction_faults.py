"""Extraction by processes that die, meet each other, or run out of room: the bank is the same to the byte."""

import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from extraction_children import SHARD_ROWS, agree, content, images, only_bank, random_demo, start

pytestmark = pytest.mark.slow

COUNT, BROKEN = 1000, 517
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "weights.pt"
    random_demo(path)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thousand images, one of them broken."""
    return images(tmp_path_factory.mktemp("images"), COUNT, broken=[BROKEN]).path


@pytest.fixture(scope="module")
def whole(checkpoint: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of the bank that one process makes without being disturbed."""
    root = tmp_path_factory.mktemp("whole")
    child = start(checkpoint, data, root, root / "log", batch_size=16)
    child.join()
    assert child.exitcode == 0
    return content(only_bank(root).folder)


def numbers(log: Path, word: str) -> list[int]:
    """The numbers of a log's lines of one kind."""
    return [int(number) for number in re.findall(rf"^{word} (\d+)$", log.read_text(), re.MULTILINE)]


def wait_for_step(log: Path) -> None:
    end = time.monotonic() + 60
    while not (log.exists() and "done" in log.read_text()):
        assert time.monotonic() < end, "the child does not start"
        time.sleep(0.005)


def test_one_broken_image_in_a_thousand_is_skipped_and_named(whole: dict[str, bytes]) -> None:
    assert len(whole["samples.csv"].splitlines()) == COUNT  # a header and 999 rows
    assert f"dog/{BROKEN:04}.png is not a readable image" in whole["manifest.json"].decode()


def test_twenty_kills_lose_no_shard_and_no_byte(
    checkpoint: Path, data: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    chance, root, kills, before = random.Random(7), tmp_path / "0", 0, 0
    written = list[int]()
    while kills < 20:
        log = tmp_path / f"log{kills}"
        child = start(checkpoint, data, root, log, batch_size=16, workers=chance.choice([0, 0, 1]))
        wait_for_step(log)
        child.join(chance.uniform(0, 0.1))
        child.kill()
        child.join()
        steps = numbers(log, "done")
        assert steps[0] > before - SHARD_ROWS, "at most one shard is computed again"
        before, written = steps[-1], written + numbers(log, "shard")
        assert len(set(written)) == len(written), "no finished shard is computed again"
        kills += child.exitcode == -signal.SIGKILL
        if list(root.rglob("manifest.json")):  # it was done before it could be killed twenty times: another one
            assert content(only_bank(root).folder) == whole
            root, before, written = tmp_path / str(kills), 0, []
        log.unlink()
    last = start(checkpoint, data, root, tmp_path / "last", batch_size=16)
    last.join()
    assert content(only_bank(root).folder) == whole


def test_two_processes_share_the_shards_of_one_bank(
    checkpoint: Path, data: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    logs = [tmp_path / "log0", tmp_path / "log1"]
    children = [start(checkpoint, data, tmp_path / "bank", log, batch_size=16) for log in logs]
    for child in children:
        child.join()
        assert child.exitcode == 0
    mine, others = (numbers(log, "shard") for log in logs)
    assert sorted(mine + others) == list(range(COUNT // SHARD_ROWS)), "every shard is computed once"
    assert mine
    assert others
    assert content(only_bank(tmp_path / "bank").folder) == whole
    for log in logs:
        assert numbers(log, "done")[-1] == COUNT, "progress counts what both did"


def test_a_killed_process_is_replaced_by_the_one_beside_it(
    checkpoint: Path, data: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    one, two = (start(checkpoint, data, tmp_path / "bank", tmp_path / f"log{i}", batch_size=16) for i in (0, 1))
    wait_for_step(tmp_path / "log0")
    one.join(0.1)
    one.kill()
    two.join()
    assert two.exitcode == 0
    assert content(only_bank(tmp_path / "bank").folder) == whole


def test_processes_that_find_a_batch_size_find_one(checkpoint: Path, data: Path, tmp_path: Path) -> None:
    children = [start(checkpoint, data, tmp_path / "bank", tmp_path / f"log{i}") for i in (0, 1)]
    for child in children:
        child.join()
        assert child.exitcode == 0
    assert not list(tmp_path.rglob("*.lock"))
    assert only_bank(tmp_path / "bank").damaged() == []


def test_a_full_disk_is_one_sentence_and_the_next_run_goes_on(
    checkpoint: Path, data: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    child = start(checkpoint, data, tmp_path / "bank", log, batch_size=16, file_limit=8000)  # a shard has 15 KB
    child.join()
    assert child.exitcode == 1
    last = log.read_text().splitlines()[-1]
    assert re.fullmatch(
        r"BankError: .* cannot be written: File too large\. Set ASH_CACHE to a folder with room\.", last
    )
    assert not list((tmp_path / "bank").rglob("*.npy*")), "nothing half written stays"
    again = start(checkpoint, data, tmp_path / "bank", log, batch_size=16)
    again.join()
    assert content(only_bank(tmp_path / "bank").folder) == whole


class TestRanks:
    """torchrun: the ranks agree at the start, and share the work."""

    def test_ranks_that_see_one_folder_agree(self, tmp_path: Path) -> None:
        assert self.agreement(tmp_path, ["bank", "bank"], ["key", "key"]) == ["agreed", "agreed"]
        assert not list((tmp_path / "bank").iterdir())

    def test_ranks_of_different_banks_or_folders_say_so(self, tmp_path: Path) -> None:
        for said in self.agreement(tmp_path, ["bank", "bank"], ["key", "other"]):
            assert said.startswith("BankError: The ranks were started for different banks")
        for said in self.agreement(tmp_path, ["here", "there"], ["key", "key"]):
            assert re.search(r"Rank 1 sees another .*: put ASH_CACHE on a file system that all nodes share", said)

    def test_a_folder_that_cannot_be_written_is_one_sentence_on_every_rank(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        for said in self.agreement(tmp_path, ["file/bank", "file/bank"], ["key", "key"]):
            assert re.search(r"BankError: .* cannot be written: Not a directory\.", said)

    def agreement(self, folder: Path, roots: list[str], keys: list[str]) -> list[str]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        logs = [folder / "said0", folder / "said1"]
        ranks = [agree(i, port, folder / roots[i], logs[i], keys[i]) for i in (0, 1)]
        for rank in ranks:
            rank.join(60)
        return [log.read_text() for log in logs]

    def test_torchrun_with_a_killed_rank_makes_the_same_bank(self, checkpoint: Path, tmp_path: Path) -> None:
        data = images(tmp_path / "images", 300, side=500)
        command = ["-m", "ash", "extract", "--model", "demo", "--checkpoint", str(checkpoint)]
        command += ["--data", f"pets={data.path}", "--batch-size", "16"]
        ranks = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        root = tmp_path / "ranks"
        with self.launched([*ranks, *command], root) as run:
            self.kill_one(run.pid, root)
            run.communicate(timeout=120)
        assert run.returncode != 0, "torchrun ends all ranks when one dies"
        before = len(list(root.rglob("shard-*.json")))
        with self.launched([*ranks, *command], root) as run:
            out, err = run.communicate(timeout=120)
        assert run.returncode == 0, err
        assert out.count(" in ") == 1, "one rank prints"
        assert before, "the next run went on"
        with self.launched(command, tmp_path / "alone") as alone:
            alone.communicate(timeout=120)
        assert content(only_bank(root).folder) == content(only_bank(tmp_path / "alone").folder)

    def launched(self, arguments: list[str], root: Path) -> "subprocess.Popen[str]":
        settings = {**os.environ, "ASH_CACHE": str(root), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, env=settings, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip

    def kill_one(self, agent: int, root: Path) -> None:
        """SIGKILL for one of torchrun's ranks, once a shard is there and before the last one is."""
        end = time.monotonic() + 60
        while not list(root.rglob("shard-*.json")):
            assert time.monotonic() < end, "no rank has written a shard"
            time.sleep(0.01)
        children = Path(f"/proc/{agent}/task/{agent}/children").read_text().split()
        os.kill(int(children[-1]), signal.SIGKILL)
        assert not list(root.rglob("manifest.json")), "killed too late for this test"
