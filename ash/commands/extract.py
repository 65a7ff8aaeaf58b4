"""python -m ash extract | fit."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ash.bank import cache_root
from ash.commands.shared import (
    CHECKPOINTS,
    CHECKPOINTS_HELP,
    DTYPE,
    IMAGES_HELP,
    MODEL_HELP,
    PENULTIMATE_HELP,
    PRECISION,
    PRECISION_HELP,
    Number,
    bank,
    folder_for,
    networks,
    show_cost,
    some,
)
from ash.data import DataError, get_dataset
from ash.identity import MOST_EPSILON
from ash.labels import read
from ash.methods import ADASCALE

if TYPE_CHECKING:
    from ash.bank import Bank


class _Auto(click.IntRange):
    """A number, or `auto`, which is None."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return None if value == "auto" else super().convert(value, param, ctx)


class _Perturbing(Number):
    """How images are perturbed: ODIN's step, a number of a range, or `adascale`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == ADASCALE:
            return ADASCALE
        with suppress(click.BadParameter):
            return super().convert(value, param, ctx)
        step = f"ODIN's step, a number from 0 to {self.max:g}"
        return self.fail(f"'{value}' is neither {step}, nor the word {ADASCALE}.", param, ctx)


@click.command()
@click.option("--model", required=True, help=MODEL_HELP)
@click.option("--checkpoint", "checkpoints", multiple=True, type=CHECKPOINTS, help=CHECKPOINTS_HELP)
@click.option("--placement", default="penultimate", show_default=True, help=PENULTIMATE_HELP)
@click.option("--data", "data_sets", required=True, multiple=True, help="a known set, a folder, or NAME=FOLDER; repeat")
@click.option("--images", type=click.IntRange(min=1), help=IMAGES_HELP)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="where banks go [default: ASH_CACHE]")
@click.option("--batch-size", default="auto", show_default=True, type=_Auto(min=1), help="auto: found by trying")
@click.option("--workers", default="auto", show_default=True, type=_Auto(min=0), help="decoding processes")
@click.option("--dtype", default="float32", show_default=True, type=DTYPE, help="stored")
@click.option("--precision", default="float32", show_default=True, type=PRECISION, help=PRECISION_HELP)
@click.option("--epsilon", default=0.0, type=_Perturbing(0, MOST_EPSILON), help="ODIN's step, or adascale; 0: none")
def extract(
    model: str,
    checkpoints: Sequence[Path],
    placement: str,
    data_sets: Iterable[str],
    images: int | None,
    out: Path | None,
    **options: Any,
) -> None:
    """Run a model's stem over data sets once and keep the activations; resumes where an earlier run stopped.

    Several processes may extract at once, also under torchrun, on one machine or on many that share the folder.
    """
    from ash.extracting import distributed
    from ash.extraction import identity

    entries, sets = networks(model, checkpoints), [some(get_dataset(data_set), images) for data_set in data_sets]
    rank = distributed.current_rank()
    options["device"] = rank.device() if rank else None
    if rank:
        about = (options["dtype"], options["precision"], options["epsilon"])
        keys = [identity(entry, placement, data, *about).key for entry in entries.values() for data in sets]
        distributed.agree(rank, options["device"], out or cache_root(), keys)
    quiet = rank is not None and not rank.prints
    for name, entry in entries.items():
        for data in sets:
            if not quiet:
                click.echo(read(data, entry.classes, entry.label).words)
                show_cost(entry, placement, data, out, **options)
            done = bank(entry, placement, data, quiet, root=out, **options)
            if not quiet:
                what = f"{name}, {data.name}" if name else data.name
                click.echo(f"{what}: {' x '.join(map(str, done.shape))} in {done.folder}")


@click.command()
@click.option("--model", required=True, help=MODEL_HELP)
@click.option("--checkpoint", "checkpoints", multiple=True, type=CHECKPOINTS, help=CHECKPOINTS_HELP)
@click.option("--placement", default="penultimate", show_default=True, help=PENULTIMATE_HELP)
@click.option("--data", "train", help="a known set, a folder, or NAME=FOLDER [default: the model's training set]")
@click.option("--dtype", default="float32", show_default=True, type=DTYPE, help="of the bank")
@click.option("--again", is_flag=True, help="also where there is a fit already")
def fit(model: str, checkpoints: Sequence[Path], placement: str, train: str | None, dtype: str, again: bool) -> None:
    """Fit on a training set what react@P%, dice and fitted scores (knn, ...) need; stored beside its activations."""
    for name, entry in networks(model, checkpoints).items():
        if not (train or entry.train_set):
            raise DataError(f"No training set is known for {model}: name one with --data, a known set or NAME=FOLDER.")
        if name:
            click.echo(f"Checkpoint {name}")
        _fit(bank(entry, placement, get_dataset(train or entry.train_set), dtype=dtype), again)


def _fit(activations: "Bank", again: bool) -> None:
    """Fit on a bank, where there is no fit of it yet or it is to be made `again`, and say what it is."""
    from ash import fitting

    done = None if again else fitting.load_fit(activations.identity)
    if done is None:
        folder_for(fitting.fit_path(activations.identity).parent)
        done = fitting.fit(activations)
        fitting.save_fit(done)
    else:
        click.echo(f"It is there already, of {done.date}; --again fits anew.")
    classes = f"{len(done.classes)} classes, tied covariance" if len(done.classes) else "no covariance"
    quantiles = ", ".join(f"{p:g} % {done.at_percentile(p):.4g}" for p in (50, 90, 95, 99))
    click.echo(f"{done.identity.dataset}: {done.rows:,} samples of {len(done.mean):,} features, {classes}")
    click.echo(f"percentiles of the activations: {quantiles}")
    click.echo(f"in {fitting.fit_path(done.identity)}")
