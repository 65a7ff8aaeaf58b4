"""Whatever goes through a network on a page or in a job does so within a turn on the device, in short steps."""

import io
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import fx
from torch.nn.modules.module import register_module_forward_pre_hook

from app.backend import (
    banks,
    decisions,
    deep,
    engine,
    evaluations,
    lessons,
    library_work,
    sample_rows,
    samples,
    setups,
    uploads,
)
from app.backend.jobs import Jobs, Work
from app.backend.turns import semaphore
from app.link.spec import RunSpec
from ash.extracting.stems import Stem, best_batch
from ash.models import get_model

PLACES = ("layer3.0.relu2", "layer4.0.relu2", "penultimate")
NEW, METHOD = 26, "ash_s@77"


def held() -> bool:
    """Whether this thread has the turn."""
    own = semaphore._users.__dict__.get("own")
    return own is not None and semaphore._holder is own


@pytest.fixture
def passes() -> Iterator[list[bool]]:
    """For each pass of a batch through a network from now on, whether it has the turn."""
    found = list[bool]()

    def note(module: torch.nn.Module, inputs: tuple[object, ...]) -> None:
        real = [one for one in inputs if isinstance(one, torch.Tensor) and one.device.type != "meta"]
        if isinstance(module, fx.GraphModule) and real:
            found.append(held())

    hook = register_module_forward_pre_hook(note)
    yield found
    hook.remove()


def placed(placement: str, images: int) -> setups.Setup:
    return setups.setup(RunSpec(placement=placement, images=images, ood=("digits",)))


def ready(placement: str, methods: tuple[str, ...] = ()) -> setups.Setup:
    at = placed(placement, NEW)
    list(banks.compute_banks(at))
    if not engine.is_linear(at):
        list(deep.deep_steps(at, "energy", methods))
    return at


def own_image(at: setups.Setup) -> None:
    buffer, mine = io.BytesIO(), uploads.Uploads()
    Image.fromarray(np.arange(3072, dtype=np.uint8).reshape(32, 32, 3)).save(buffer, "PNG")
    mine.add("mine.png", buffer.getvalue())
    list(mine.work(at, "energy", METHOD))
    assert mine.scored


WORK: dict[str, Callable[[setups.Setup], object]] = {
    "one setting": lambda at: evaluations.measure(at, METHOD),
    "a threshold for all": lambda at: evaluations.measure(at, "ash_b_global@66"),
    "every sample": lambda at: sample_rows.every_sample(at, METHOD, ("digits",), 0.95),
    "one sample": lambda at: samples.sample(at, METHOD, "digits", 3),
    "its decision": lambda at: decisions.decision(at, METHOD, "digits", 4),
    "its units": lambda at: decisions.scores_without(at, METHOD, "digits", 4, (1, 2)),
    "its percentiles": lambda at: decisions.percentile_path(at, "ash_s", "energy", "digits", 4, 77),
    "a lesson": lambda at: lessons.linear_curve(at, ("digits",)),
    "an image of one's own": own_image,
    "its cost": lambda at: banks.cost(at, 10),
}


@pytest.mark.parametrize("placement", PLACES)
def test_what_a_page_computes_is_computed_within_turns(placement: str, passes: list[bool]) -> None:
    at = ready(placement, ("energy", METHOD))
    outside, without = {"its bank and settings": passes.count(False)}, list[str]()
    for what, work in WORK.items():
        passes.clear()
        work(at)
        outside[what] = passes.count(False)
        without += [] if passes else [what]
    assert not any(outside.values()), outside
    assert len(without) <= 3, "what needs no pass through a network does not show anything"


def test_a_job_of_the_library_computes_within_turns(passes: list[bool]) -> None:
    at = placed("layer3.0.relu2", NEW + 1)
    jobs = Jobs()
    work = partial(library_work._extract, get_model(at.model), setups.images(at, "noise"), setups.identity(at, "noise"))
    job = jobs.start(Work("extract", "bank noise", "Extract noise", work, on_device=True))
    end = time.monotonic() + 60
    while not (last := next(one for one in jobs.all() if one.number == job.number)).ended:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert last.state == "done", last.note
    assert passes
    assert all(passes)


def test_images_are_read_before_the_device_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    reads, real = list[bool](), setups.identity_of

    def noted(*asked: Any, **more: Any) -> Any:
        reads.append(held())
        return real(*asked, **more)

    for module in (setups, banks):
        monkeypatch.setattr(module, "identity_of", noted)
    list(banks.compute_banks(placed("layer3.0.relu2", NEW + 2)))
    assert reads
    assert not any(reads)


def test_others_have_a_turn_between_two_trials_of_a_batch_size() -> None:
    sizes, pauses = list[int](), list[int]()

    class Timed(Stem):
        limit, pixels = None, (2, 2, 1)

        def __init__(self) -> None: ...

        def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
            return pixels

        def seconds(self, size: int) -> float:
            sizes.append(size)
            return 1.0

    assert best_batch(Timed(), 64, lambda: pauses.append(len(sizes))) == 64
    assert sizes == [8, 16, 32, 64]
    assert pauses == [0, 1, 2, 3]
