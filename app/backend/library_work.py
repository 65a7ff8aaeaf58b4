"""What the page Library does: fetch, extract, verify, finish, delete. Every action takes names and checks them here.

A name is looked up in the registries and among the banks on the disk. Paths and addresses never come from the browser.
"""

import sys
from collections.abc import Generator
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from app.backend import banks
from app.backend.caches import cache_resource
from app.backend.jobs import Job, Jobs, Report, Work, adopt, at_work, session_is_active
from app.backend.library import LASTING, BankRow, bank_row, bank_rows, library_on, refresh, require_library
from app.backend.registry import entry as model_entry
from app.backend.setups import Setup, identity, images, is_present, set_label
from app.link.streamlit_private import session_id
from ash.bank import BankIdentity, delete_bank, takeover, verify_steps
from ash.data import DATASETS, ImageSet, MadeEntry, Subset, get_dataset
from ash.errors import AshError
from ash.fetching import fetch_steps
from ash.fitting import perturbation
from ash.identity import changes, known_identity
from ash.models import MODELS, ModelEntry, get_model
from ash.networks.known_codes import code_of
from ash.networks.timm_models import package_of

if TYPE_CHECKING:
    from ash.extracting.cost import Cost

_JOBS = "library_jobs"
_STAGES = {"download": "Downloading", "unpack": "Unpacking", "verify": "Checking"}


def session_jobs() -> Jobs:
    """The jobs of this session, which may be those of a page that was just loaded anew."""
    if _JOBS not in st.session_state:
        alive = partial(session_is_active, session_id())
        inherited = adopt(alive) if library_on() else None
        st.session_state[_JOBS] = inherited or Jobs(alive, on_end=refresh)
    found: Jobs = st.session_state[_JOBS]
    return found


# Fetch


def resume_job(number: int) -> None:
    """Start an ended job of this session again; it goes on where it stopped."""
    require_library()
    session_jobs().resume(number)


def fetched_by_another(name: str) -> bool:
    """Whether another session of this server fetches a model or a data set now."""
    return at_work(f"fetch {name}", besides=session_jobs())


def fetch(name: str) -> Job:
    """Download the weights of a model, or a data set, in the background."""
    require_library()
    if name in DATASETS:
        label = DATASETS[name].label
        if not DATASETS[name].files:
            whose = "is made by a plug-in" if isinstance(DATASETS[name], MadeEntry) else "comes with the explorer"
            raise AshError(f"{label} {whose}; there is nothing to fetch.")
    else:
        model = model_entry(name)
        label = f"the weights of {model.label}"
        if not model.url:
            raise AshError(f"There is no public address of {label}: put them at {model.weights}.")
    return session_jobs().start(Work("fetch", f"fetch {name}", f"Fetch {label}", partial(_fetch, name), alone=True))


def _fetch(name: str) -> Generator[Report, None, str]:
    with closing(fetch_steps(name)) as steps:
        for step in steps:
            counted = "files" if step.stage == "unpack" and step.total is None else "bytes"
            unit = "images" if step.file == name else counted  # the last step counts the whole set
            yield Report(f"{_STAGES[step.stage]} {step.file}", step.done, step.total, unit)  # type: ignore[arg-type]
    return "It is here now."


# Extract


def extracting(at: Setup, name: str) -> bool:
    """Whether a job of any session computes the activations of a data set under a setup now."""
    return at_work(_subjects().get((at, name), ""))


@cache_resource(max_entries=1)
def _subjects() -> dict[tuple[Setup, str], str]:
    """Data set under a setup -> what the last job of this server that computed its activations worked on."""
    return {}


def extract(at: Setup, name: str) -> Job:
    """Compute the activations of a data set under a setup, in the background."""
    require_library()
    if not is_present(name):
        raise AshError(f"The images of {set_label(name)} are not here: fetch them first.")
    entry, data = at.entry, images(at, name)
    job = _extraction(entry, data, identity(at, name))
    _subjects()[at, name] = job.work.subject
    return job


def _extraction(entry: ModelEntry, data: ImageSet, who: BankIdentity) -> Job:
    place = entry.placements.get(who.placement, who.placement)
    title = f"Extract {data.label} at {place} of {entry.label}"
    steps = partial(_extract, entry, data, who)
    return session_jobs().start(Work("extract", f"bank {who.folder.as_posix()}", title, steps, on_device=True))


def _extract(entry: ModelEntry, data: ImageSet, who: BankIdentity) -> Generator[Report, None, str]:
    skipped, note = 0, ""
    with closing(banks.extraction(entry, who, data)) as steps:
        for step in steps:
            skipped, note = step.skipped, note or step.note
            yield Report(f"Computed by {step.by}" if step.by else "Computing", step.done, step.total, "images")
    done = f"{len(data):,} images" + (f", of which {skipped:,} could not be read." if skipped else ".")
    return f"{done} {note}".strip()


# Banks


def verify(name: str) -> Job:
    """Compare every shard of a bank with its checksum, in the background."""
    require_library()
    row = bank_row(name)
    if not row.info.complete:
        raise AshError("Only complete activations can be verified: finish them first.")
    title = f"Verify {row.dataset} at {row.placement} of {row.model}"
    return session_jobs().start(Work("verify", f"bank {name}", title, partial(_verify, row)))


def _verify(row: BankRow) -> Generator[Report, None, str]:
    steps = verify_steps(row.info.folder)
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            damaged: list[str] = end.value
            break
        yield Report("Checking", step.done, step.total, "shards")
    _verdicts()[row.name] = len(damaged)
    if damaged:
        some = ", ".join(damaged[:3]) + (f" and {len(damaged) - 3} more" if len(damaged) > 3 else "")
        raise AshError(f"Damaged: {some}. Rebuild computes these parts again.")
    return "Every checksum matches."


@cache_resource(max_entries=1)
def _verdicts() -> dict[str, int]:
    """Bank -> damaged shards when it was last verified by this server."""
    return {}


def damaged_shards(name: str) -> int | None:
    """How many shards of a bank were damaged when it was last verified here; None when it was not."""
    return _verdicts().get(name)


def _origin_of(row: BankRow) -> tuple[ModelEntry, ImageSet, BankIdentity] | None:
    """Model, images and identity to compute a bank again from; None where they are not here or not the same now."""
    who = row.info.identity
    if who is None or perturbation(who.transform) or outdated(row.name):
        return None
    try:
        found = _made_from(who)
    except AshError:
        return None
    return (*found, who) if found else None


def _made_from(who: BankIdentity) -> tuple[ModelEntry, ImageSet] | None:
    """The model and the images of a bank as they are now; None where they are not here."""
    name, _, number = who.dataset.partition("=")
    model = get_model(who.model)
    model = next((one for key, one in model.each.items() if key and one.weights_hash() == who.weights), model)
    if not is_present(name) or not model.present:
        return None
    whole = get_dataset(name)
    return model, Subset(whole, int(number)) if number else whole


@cache_resource(ttl=LASTING, max_entries=512)
def outdated(name: str) -> str:
    """What has changed since a bank was made, in words; "" for nothing that can be told without reading images.

    A network of torchvision's or timm's, whose entry would load either, is looked at only when that is loaded already.
    """
    row = bank_row(name)
    who = row.info.identity
    if who is None or (who.model not in MODELS and package_of(who.model) not in sys.modules):
        return ""
    try:
        found = _made_from(who)
        if found is None:
            return ""
        if found[0].source is not None:  # it was traced for its placements, so torch is there
            code_of(found[0])
        now = known_identity(who, *found)
    except AshError:
        return ""
    earlier = takeover(row.info.folder, now) if who == now.earlier != now else ""
    return changes(who, now) or earlier or ""


def cost_again(name: str) -> "Cost | None":
    """What computing the rows of a bank again would take on this device; None where it cannot be done."""
    row = bank_row(name)
    found = _origin_of(row)
    if found is None:
        return None
    from ash.extracting.cost import cost

    model, _, who = found
    with banks.semaphore:
        return cost(model, who.placement, row.rows, who.dtype, precision=who.precision)


def finish(name: str) -> Job:
    """Compute what a bank lacks: the shards that are missing or damaged."""
    require_library()
    row = bank_row(name)
    found = None if row.info.bundled else _origin_of(row)
    if found is None:
        raise AshError("The weights or images of these activations are not here any more, or have changed.")
    _verdicts().pop(name, None)
    return _extraction(*found)


def bank_at_work(name: str) -> bool:
    """Whether a job of any session computes or verifies a bank now."""
    return at_work(f"bank {name}")


def delete(name: str) -> None:
    """Delete a bank of the cache; AshError for a bundled one and for one that is at work."""
    require_library()
    row = bank_row(name)
    if row.info.bundled:
        raise AshError("These activations come with the explorer and are not deleted.")
    if bank_at_work(name):
        raise AshError("A job works on these activations: cancel it, or wait until it is done.")
    delete_bank(row.info.folder)
    banks.forget()
    _verdicts().pop(name, None)
    bank_rows.clear()


def bank_commands(name: str) -> tuple[str, ...]:
    """What does the same as the buttons of a bank, typed where the server runs."""
    who = bank_row(name).info.identity
    if who is None or "=" in who.dataset:  # a subset is made by the pages alone
        return ()
    return (_command(who.model, who.placement, who.dataset, who.dtype, who.precision),)


def extract_command(at: Setup, name: str) -> tuple[str, ...]:
    """The command that computes the activations of a data set under a setup; none for a subset of it."""
    data = images(at, name)
    return () if "=" in data.name else (_command(at.model, at.placement, data.name, at.dtype),)


def _command(model: str, placement: str, data: str, dtype: str, precision: str = "float32") -> str:
    command = f"python -m ash extract --model {model} --placement {placement} --data {data}"
    more = {"--dtype": dtype, "--precision": precision}
    return command + "".join(f" {option} {value}" for option, value in more.items() if value != "float32")
