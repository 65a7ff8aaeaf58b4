"""The command line: python -m ash models | data | fetch | extract | fit | sweep | demo build | demo check."""

import sys
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from ash.bank import BankError, cache_root
from ash.data import DataError, ImageSet, evenly, get_dataset, list_sets
from ash.fetching import fetch_with_bars
from ash.methods import MethodError, parse_methods
from ash.models import ModelEntry, ModelError, cuts_of, get_model, offered_models

MODEL_HELP = "a name from `python -m ash models`, or a torchvision classifier's"
PENULTIMATE_HELP = "a node name from `python -m ash models NAME`, or `penultimate` for every model"
IMAGES_HELP = "at most so many of every set, evenly spaced [default: all]"
CHECKPOINT_HELP = "a file with the model's weights, instead of the published ones"


def _sentences(command: Callable[..., None]) -> Callable[..., None]:
    """Expected failures end the command with one sentence and exit status 1; an interrupt says how to go on."""

    @wraps(command)
    def run(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except (BankError, DataError, ModelError, MethodError) as error:
            raise click.ClickException(str(error)) from error
        except ValueError as error:
            if type(error).__module__.startswith("ash."):
                raise click.ClickException(str(error)) from error
            raise
        except KeyboardInterrupt:
            click.echo("\nStopped. What is finished is kept; the same command goes on from there.", err=True)
            sys.exit(130)

    return run


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def main() -> None:
    """Activation shaping for out-of-distribution detection, on banks of stored activations."""


@main.command()
@click.argument("name", required=False)
@_sentences
def models(name: str | None) -> None:
    """List the models: weights, placements, data, presets. With a NAME: everywhere that it can be cut."""
    for entry in [get_model(name)] if name else map(get_model, offered_models()):
        click.echo(f"{entry.name}: {entry.label}")
        click.echo(f"  weights     {'present' if entry.present else 'missing; they belong'} at {entry.weights}")
        if entry.note:
            click.echo(f"  note        {entry.note}")
        click.echo("  placements  " + ", ".join(f"{node} ({label})" for node, label in entry.placements.items()))
        click.echo(f"  data        ID {entry.id_set}; OOD {', '.join(entry.ood_sets)}")
        click.echo(f"  training    {entry.train_set or 'no set known; name one with --train'}")
        click.echo("  presets     " + ", ".join(entry.presets.values()))
    if not name:
        click.echo("Every image classifier of torchvision is known by its name, such as resnet18, vit_b_16 or swin_t.")
        return
    click.echo("all placements, in network order:")
    for cut in cuts_of(name):
        kind = "one linear map" if cut.linear else "deep"
        sign = {True: "may be negative", False: "not negative", None: "sign unknown"}[cut.signed]
        size = f"{' x '.join(map(str, cut.shape))} = {cut.size:,}"
        click.echo(f"  {cut.name:<40} {size:<28} {kind:<15} {sign}{', before its ReLU' if cut.before_relu else ''}")


@main.command()
@click.option("--root", type=click.Path(file_okay=False, path_type=Path), help="the data root [default: ASH_DATA]")
@_sentences
def data(root: Path | None) -> None:
    """List the data sets: present, missing or incomplete, number of images, size, licence, where, what is in them."""
    for line in list_sets(root):
        click.echo(line)


@main.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME ...")
@click.option("--root", type=click.Path(file_okay=False, path_type=Path), help="the data root [default: ASH_DATA]")
@_sentences
def fetch(names: tuple[str, ...], root: Path | None) -> None:
    """Download data sets and model weights; resumes where an earlier run stopped."""
    for name, path in fetch_with_bars(names, root):
        click.echo(f"{name}: {path}")


def _bank(entry: ModelEntry, placement: str, images: ImageSet, quiet: bool = False, **options: Any) -> Any:
    """The bank of a data set; what is missing of it is extracted with a progress bar: count, images/s, time left."""
    from tqdm import tqdm

    from ash.extraction import extract

    bars: list[Any] = []

    def show(step: Any) -> None:
        if not bars:  # the first step tells where an earlier run stopped; the rate counts fresh images alone
            bars.append(tqdm(total=step.total, initial=step.done, unit="image", desc=images.name, leave=False))
        bars[0].update(step.done - bars[0].n)

    bank = extract(entry, placement, images, progress=None if quiet else show, **options)
    for bar in bars:
        bar.close()
    for image in [] if quiet else bank.skipped:
        click.echo(f"skipped: {image['reason']}", err=True)
    if bank.skipped and not quiet:
        click.echo(f"{len(bank.skipped)} of {len(images)} images of {images.name} were skipped.", err=True)
    return bank


def _some(text: str, images: int | None) -> ImageSet:
    """A data set, or that many of its images."""
    data = get_dataset(text)
    return evenly(data, images) if images else data


class _Auto(click.IntRange):
    """A number, or `auto`, which is None."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return None if value == "auto" else super().convert(value, param, ctx)


_DTYPE = click.Choice(["float32", "float16"])


def _data_sets(texts: Iterable[str], images: int | None) -> dict[str, ImageSet]:
    """Image sets by name, at most so many images of each; DataError when two have one name."""
    sets: dict[str, ImageSet] = {}
    for text in texts:
        data = get_dataset(text)
        if data.name in sets:
            raise DataError(f"Two of the sets have the name '{data.name}'; give one of them another as NAME=DIR.")
        sets[data.name] = evenly(data, images) if images else data
    return sets


def _show_cost(entry: ModelEntry, placement: str, images: ImageSet, root: Path | None, **options: Any) -> None:
    """Say what a bank that is not there yet takes: bytes, and seconds at the measured rate."""
    from ash.bank import find_bank
    from ash.extraction import cost, identity

    if find_bank(identity(entry, placement, images, options["dtype"], options["precision"], options["epsilon"]), root):
        return
    names = ("dtype", "precision", "device")
    price = cost(entry, placement, len(images), **{name: options[name] for name in names})
    click.echo(
        f"{images.name}: {len(images):,} images, {price.bytes / 1e6:,.1f} MB, about {price.seconds:,.0f} s at "
        f"{price.rate:,.1f} images/s on {price.device}, decoding not counted"
    )


@main.command()
@click.option("--model", required=True, help=MODEL_HELP)
@click.option("--checkpoint", type=click.Path(path_type=Path), help=CHECKPOINT_HELP)
@click.option("--placement", default="penultimate", show_default=True, help=PENULTIMATE_HELP)
@click.option("--data", "data_sets", required=True, multiple=True, help="a known set, a folder, or NAME=FOLDER; repeat")
@click.option("--images", type=click.IntRange(min=1), help=IMAGES_HELP)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="where banks go [default: ASH_CACHE]")
@click.option("--batch-size", default="auto", show_default=True, type=_Auto(min=1), help="auto: found by trying")
@click.option("--workers", default="auto", show_default=True, type=_Auto(min=0), help="decoding processes")
@click.option("--dtype", default="float32", show_default=True, type=click.Choice(["float32", "float16"]), help="stored")
@click.option(
    "--precision", default="float32", show_default=True, type=click.Choice(["float32", "bfloat16", "float16"]),
    help="of the network: autocast below float32, float16 on GPUs only",
)  # fmt: skip
@click.option("--epsilon", default=0.0, type=click.FloatRange(min=0), help="of images as ODIN perturbs them, so far")
@_sentences
def extract(
    model: str,
    checkpoint: Path | None,
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

    entry, sets = get_model(model, checkpoint), [_some(data_set, images) for data_set in data_sets]
    rank = distributed.current_rank()
    options["device"] = rank.device() if rank else None
    if rank:
        about = (options["dtype"], options["precision"], options["epsilon"])
        keys = [identity(entry, placement, data, *about).key for data in sets]
        distributed.agree(rank, options["device"], out or cache_root(), keys)
    quiet = rank is not None and not rank.prints
    for data in sets:
        if not quiet:
            _show_cost(entry, placement, data, out, **options)
        bank = _bank(entry, placement, data, quiet, root=out, **options)
        if not quiet:
            click.echo(f"{data.name}: {' x '.join(map(str, bank.shape))} in {bank.folder}")


@main.command()
@click.option("--model", required=True, help=MODEL_HELP)
@click.option("--checkpoint", type=click.Path(path_type=Path), help=CHECKPOINT_HELP)
@click.option("--placement", default="penultimate", show_default=True, help=PENULTIMATE_HELP)
@click.option("--data", "train", help="a known set, a folder, or NAME=FOLDER [default: the model's training set]")
@click.option("--dtype", default="float32", show_default=True, type=_DTYPE, help="of the bank")
@click.option("--again", is_flag=True, help="also where there is a fit already")
@_sentences
def fit(model: str, checkpoint: Path | None, placement: str, train: str | None, dtype: str, again: bool) -> None:
    """Fit on a training set what react@P%, dice and mahalanobis need; stored beside its activations."""
    from ash import fitting

    entry = get_model(model, checkpoint)
    if not (train or entry.train_set):
        raise DataError(f"No training set is known for {model}: name one with --data, a known set or NAME=FOLDER.")
    bank = _bank(entry, placement, get_dataset(train or entry.train_set), dtype=dtype)
    done = None if again else fitting.load_fit(bank.identity)
    if done is None:
        done = fitting.fit(bank)
        fitting.save_fit(done)
    else:
        click.echo(f"It is there already, of {done.date}; --again fits anew.")
    classes = f"{len(done.classes)} classes, tied covariance" if len(done.classes) else "no covariance"
    quantiles = ", ".join(f"{p:g} % {done.at_percentile(p):.4g}" for p in (50, 90, 95, 99))
    click.echo(f"{done.identity.dataset}: {done.rows:,} samples of {len(done.mean):,} features, {classes}")
    click.echo(f"percentiles of the activations: {quantiles}")
    click.echo(f"in {fitting.fit_path(done.identity)}")


@main.command()
@click.option("--model", required=True, help=MODEL_HELP)
@click.option("--checkpoint", type=click.Path(path_type=Path), help=CHECKPOINT_HELP)
@click.option("--placement", default="penultimate", show_default=True, help=PENULTIMATE_HELP)
@click.option("--id", "id_set", required=True, help="the in-distribution set: a known set, a folder, or NAME=FOLDER")
@click.option("--ood", required=True, multiple=True, help="an OOD set, likewise; repeat")
@click.option("--methods", required=True, help='e.g. "energy,ash_s@5:95:5,ash_b@65:msp"; ranges are inclusive')
@click.option("--images", type=click.IntRange(min=1), help=IMAGES_HELP)
@click.option("--dtype", default="float32", show_default=True, type=_DTYPE, help="of banks")
@click.option("--train", default="", help="what methods are fitted on [default: the model's training set]")
@click.option("--epsilon", type=click.FloatRange(min=0), help="how far ODIN moves pixels [default: the model's]")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="the table, CSV")
@_sentences
def sweep(
    model: str,
    checkpoint: Path | None,
    placement: str,
    id_set: str,
    ood: Iterable[str],
    methods: str,
    images: int | None,
    dtype: str,
    train: str,
    epsilon: float | None,
    out: Path,
) -> None:
    """Evaluate methods on an ID set and OOD sets; writes one row per OOD set and one `mean` row per method.

    Activations that are missing are extracted first, for ODIN those of perturbed images too; a fit must be there.
    """
    from tqdm import tqdm

    from ash import fitting, splitting, sweeping
    from ash.device import evaluation_device

    chosen = parse_methods(methods)
    if not out.parent.is_dir():
        raise DataError(f"There is no folder {out.parent} to write {out.name} into.")
    entry = get_model(model, checkpoint)
    fitted = None
    if any(method.needs_fit for method in chosen):
        fitted = fitting.find_fit(entry, placement, train, dtype=dtype)
    sets = _data_sets((id_set, *ood), images)
    id_name, *names = sets
    bank, *others = (_bank(entry, placement, data, dtype=dtype) for data in sets.values())
    moved = None
    if any(method.score == "odin" for method in chosen):
        step = entry.odin_epsilon if epsilon is None else epsilon
        first, *rest = (_bank(entry, placement, data, dtype=dtype, epsilon=step) for data in sets.values())
        moved = (first, dict(zip(names, rest, strict=True)))
    tail = splitting.split(entry.build(), bank.identity.placement)[1]
    with tqdm(unit="evaluation", unit_scale=True, desc="sweep", leave=False) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        result = sweeping.sweep(
            tail,
            bank,
            dict(zip(names, others, strict=True)),
            chosen,
            device=evaluation_device(),
            fit=fitted,
            perturbed=moved,
            progress=show,
        )
    table = result.table(model, bank.identity.placement, id_name)
    table.to_csv(out, index=False, float_format="%.4f")
    means = table[table.ood == "mean"][["method", "auroc", "fpr95", "aupr", "id_accuracy"]]
    click.echo(means.to_string(index=False, float_format=lambda value: f"{value:.2f}"))
    for method in chosen:
        if fitted and fitted.label(method) != method.label:
            click.echo(f"{method}: {fitted.label(method)}")
    click.echo(f"{len(table)} rows in {out}")


@main.group()
def demo() -> None:
    """The bundled demo: build it from its sources, or check what ships."""


@demo.command()
@click.option("--source", type=click.Path(path_type=Path), help="Fashion-MNIST .gz files [default: Debian's package]")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="[default: assets/demo]")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
@click.option("--epochs", type=click.IntRange(min=1), help="[default: as shipped]")
@_sentences
def build(**options: Any) -> None:
    """Train the demo network and write weights, images and banks; about ten minutes on two cores."""
    from ash import demo as module

    folder = module.build(**{name: value for name, value in options.items() if value is not None})
    click.echo(f"The demo is in {folder}.")


@demo.command()
@_sentences
def check() -> None:
    """Recompute the activations of everything that ships and compare."""
    from ash import demo as module

    report = module.check()
    click.echo(str(report))
    if report.problems:
        sys.exit(1)


if __name__ == "__main__":
    main()
