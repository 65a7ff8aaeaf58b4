"""Ranks of `torchrun`: each extracts like any other process, after all have agreed that they work in one folder.

The process group lives for that agreement alone. Afterwards ranks meet in the bank's folder only, so that a rank that
dies cannot hang the others.
"""

import contextlib
import os
import time
import uuid
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ash.files import BankError

if TYPE_CHECKING:
    import torch

PATIENCE = timedelta(minutes=5)  # for ranks that start late
VISIBLE_SECONDS = 10.0  # until a file of another machine must be seen, on network file systems


@dataclass(frozen=True)
class Rank:
    """Which of torchrun's processes this is: of all, and on its machine."""

    number: int
    world: int
    local: int

    @property
    def prints(self) -> bool:
        """Whether this is the one of its machine that shows progress."""
        return self.local == 0

    def device(self) -> "torch.device":
        """The GPU of the local rank; without CUDA the best device there is. BankError when there are fewer GPUs."""
        import torch

        from ash.device import best_device

        if not torch.cuda.is_available():
            return best_device()
        if self.local >= torch.cuda.device_count():
            raise BankError(
                f"Local rank {self.local} has no GPU, this machine has {torch.cuda.device_count()}: start as many "
                "processes a machine as it has GPUs (--nproc-per-node)."
            )
        torch.cuda.set_device(self.local)
        return torch.device("cuda", self.local)


def current_rank() -> Rank | None:
    """The rank that torchrun gave this process; None when it was started otherwise."""
    if "MASTER_ADDR" not in os.environ:
        return None
    try:
        return Rank(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))
    except (KeyError, ValueError):
        return None


def agree(rank: Rank, device: "torch.device", root: Path, keys: list[str]) -> None:
    """Check that all ranks are about to extract the same banks into the same folder; BankError on every rank if not."""
    import torch.distributed as dist

    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
        try:
            _check(rank, root, keys)
        finally:
            dist.destroy_process_group()
    except BankError:
        raise
    except (RuntimeError, ValueError) as error:  # torch's own: connections that fail, ranks that are missing
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BankError(f"The {rank.world} ranks did not all meet at the start: {reason}") from error


def _check(rank: Rank, root: Path, keys: list[str]) -> None:
    name = f".ranks-{uuid.uuid4().hex}"
    error = ""
    if rank.number == 0:
        try:
            root.mkdir(parents=True, exist_ok=True)
            (root / name).touch()
        except OSError as problem:
            error = f"{root} cannot be written: {problem.strerror}. Set ASH_CACHE to a folder with room."
    told = _gathered(rank, (keys, name, error))
    try:
        first_keys, first_name, first_error = told[0]
        if first_error:
            raise BankError(first_error)
        if any(others != first_keys for others, _, _ in told):
            raise BankError("The ranks were started for different banks: give all the same command, data and weights.")
        seen = _gathered(rank, _appears(root / first_name))
        if not all(seen):
            blind = ", ".join(str(number) for number, sees in enumerate(seen) if not sees)
            raise BankError(f"Rank {blind} sees another {root}: put ASH_CACHE on a file system that all nodes share.")
    finally:
        if rank.number == 0:
            with contextlib.suppress(OSError):
                (root / name).unlink()


def _gathered(rank: Rank, value: Any) -> list[Any]:
    """What every rank has, in the order of ranks."""
    import torch.distributed as dist

    values = [value] * rank.world
    dist.all_gather_object(values, value)
    return values


def _appears(path: Path) -> bool:
    end = time.monotonic() + VISIBLE_SECONDS
    while not path.exists():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True
