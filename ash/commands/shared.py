"""What the commands share: options, failures as one sentence, data sets by name, banks with a progress bar."""

import math
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from ash.data import DataError, ImageSet, Subset, evenly, set_or_list
from ash.errors import EXPECTED, AshError, sentence
from ash.files import write_atomically
from ash.identity import DTYPES, PRECISIONS
from ash.images import left_out_words
from ash.models import ModelEntry, get_models
from ash.networks.several import without_ending

MODEL_HELP = "a name from `python -m ash models`, or a classifier's of torchvision or timm (timm/NAME)"
PENULTIMATE_HELP = "a node name from `python -m ash models NAME`, or `penultimate` for every model"
IMAGES_HELP = "at most so many of every set, evenly spaced [default: all]"
CHECKPOINT_HELP = "a file with the model's weights, instead of the published ones"
CHECKPOINTS_HELP = f"{CHECKPOINT_HELP}; several of one network: repeat, or name a folder or a quoted pattern"
PRECISION_HELP = "of the network: autocast below float32, float16 on GPUs only"
CHECKPOINTS = click.Path(path_type=Path)
DTYPE, PRECISION = click.Choice(DTYPES), click.Choice(PRECISIONS)


class Number(click.FloatRange):
    """A finite number in a range: click lets NaN pass every range, and infinity one without an end."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Also what click says of other texts."""
        number = super().convert(value, param, ctx)
        return number if math.isfinite(number) else self.fail(f"{value} is not a finite number.", param, ctx)


class Command(click.Command):
    """A command that ends an expected failure with one sentence and status 1, and calls a bug a bug."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command of a context; an interrupt says how to go on."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click's own words, and a reader such as `head` that has seen enough
        except EXPECTED as error:
            raise click.ClickException(sentence(error)) from error
        except KeyboardInterrupt:
            click.echo("\nStopped. What is finished is kept; the same command goes on from there.", err=True)
            sys.exit(130)
        except Exception:
            traceback.print_exc()
            click.echo(
                "This is unexpected: a fault of the program, not of what you asked for. What is finished is kept. "
                "Please report the lines above with the command.",
                err=True,
            )
            sys.exit(70)  # EX_SOFTWARE of sysexits.h


class Commands(Command, click.Group):
    """A group whose commands end as a `Command` does."""


def networks(model: str, checkpoints: Sequence[Path]) -> dict[str, ModelEntry]:
    """`ash.get_models`, each of several read once: a file of another network is refused before any work.

    Which file is which is said where a name is not its file's.
    """
    found = get_models(model, checkpoints)
    for name, entry in found.items() if len(found) > 1 else ():
        entry.build()
        if name != without_ending(entry.weights.name):
            click.echo(f"Checkpoint {name} is {entry.weights}", err=True)
    return found


def of_several(entry: ModelEntry, which: str = "") -> ModelEntry:
    """A network with one of its checkpoints, the first where none is named, and said which; itself if it has one."""
    names = entry.checkpoint_names
    if not names:
        return entry
    which = which or names[0]
    click.echo(f"Of the checkpoints {', '.join(names)} this is {which}.", err=True)
    return entry.each[which]


@contextmanager
def output(path: Path) -> Iterator[Callable[[str | bytes], None]]:
    """A function that writes text or bytes to a file; whether it can is tried before the work of the block, not after.

    The file appears whole or not at all. Where it cannot be written in the end, it goes to the system's temporary
    folder, and AshError says so.
    """
    if not path.parent.is_dir():
        raise AshError(f"There is no folder {path.parent} to write {path.name} into.")
    special = path.exists() and not path.is_file()  # /dev/stdout, a pipe
    try:
        if not special:
            tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise AshError(f"{path} cannot be written: {error.strerror}. Nothing was begun.") from error

    def write(found: str | bytes) -> None:
        content = found.encode() if isinstance(found, str) else found
        try:
            path.write_bytes(content) if special else write_atomically(path, content)
        except OSError as error:
            with tempfile.NamedTemporaryFile(prefix="ash-", suffix=path.suffix, delete=False) as kept:
                kept.write(content)
            raise AshError(f"{path} cannot be written: {error.strerror}. It is kept as {kept.name}.") from error

    yield write


def folder_for(path: Path) -> Path:
    """A folder that a command will write into, made if need be; AshError now where that will not work."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise AshError(f"Nothing can be written into {path}: {error.strerror}. Nothing was begun.") from error
    return path


def some(data: ImageSet, images: int | None) -> ImageSet:
    """A data set, or that many of its images."""
    return evenly(data, images) if images else data


def data_sets(texts: Iterable[str], images: int | None) -> dict[str, ImageSet]:
    """Image sets by the name of the whole, at most so many images of each; DataError when two have one name.

    Of a set whose images are not here, but whose activations ship, the list.
    """
    sets: dict[str, ImageSet] = {}
    for text in texts:
        data = set_or_list(text)
        if data.name in sets:
            raise DataError(f"Two of the sets have the name '{data.name}'; give one of them another as NAME=DIR.")
        sets[data.name] = some(data, images)
    return sets


def whole_names(data: ImageSet) -> Sequence[str]:
    """The names of all images of the set that these are of: what its split is made from."""
    return data.whole.names if isinstance(data, Subset) else data.names


def bank(entry: ModelEntry, placement: str, images: ImageSet, quiet: bool = False, **options: Any) -> Any:
    """The bank of a data set; what is missing of it is extracted with a progress bar: count, images/s, time left."""
    from tqdm import tqdm

    from ash.extraction import extract

    left_out = left_out_words(getattr(images, "left_out", {}))
    if left_out and not quiet:
        click.echo(f"{images.name}: {left_out}", err=True)
    bars: list[Any] = []

    def show(step: Any) -> None:
        if step.note:
            click.echo(step.note, err=True)
            return
        if not bars:  # the first step tells where an earlier run stopped; the rate counts fresh images alone
            bars.append(tqdm(total=step.total, initial=step.done, unit="image", desc=images.name, leave=False))
        bars[0].update(step.done - bars[0].n)

    found = extract(entry, placement, images, progress=None if quiet else show, **options)
    for bar in bars:
        bar.close()
    for image in [] if quiet else found.skipped:
        click.echo(f"skipped: {image['reason']}", err=True)
    if found.skipped and not quiet:
        click.echo(f"{len(found.skipped)} of {len(images)} images of {images.name} were skipped.", err=True)
    return found


def show_cost(entry: ModelEntry, placement: str, images: ImageSet, root: Path | None, **options: Any) -> None:
    """Say what a bank that is not there yet takes: bytes, and seconds at the measured rate."""
    from ash.bank import find_bank
    from ash.extracting.takeover import take_over
    from ash.extraction import cost, identity

    who = identity(entry, placement, images, options["dtype"], options["precision"], options["epsilon"])
    if find_bank(who, root) or take_over(entry, images, who, options["epsilon"], root, options["device"]):
        return
    names = ("dtype", "precision", "device")
    price = cost(entry, placement, len(images), **{name: options[name] for name in names})
    more = "decoding and perturbing" if options["epsilon"] else "decoding"
    click.echo(
        f"{images.name}: {len(images):,} images, {price.bytes / 1e6:,.1f} MB, about {price.seconds:,.0f} s at "
        f"{price.rate:,.1f} images/s on {price.device}, {more} not counted"
    )
