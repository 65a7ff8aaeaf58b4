"""The command line: python -m ash models | data | extract | sweep | demo build | demo check."""

import sys
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from ash.bank import BankError
from ash.data import DATASETS, DataError, get_dataset
from ash.methods import MethodError, parse_methods
from ash.models import MODELS, ModelError, get_model

PENULTIMATE_HELP = "a node name, or `penultimate` for every model"


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
@_sentences
def models() -> None:
    """List the models: placements, data, presets."""
    for entry in MODELS.values():
        state = "present" if entry.weights.is_file() else f"weights missing: {entry.weights}"
        click.echo(f"{entry.name}: {entry.label} ({len(entry.classes)} classes, {state})")
        click.echo("  placements  " + ", ".join(f"{node} ({label})" for node, label in entry.placements.items()))
        click.echo(f"  data        ID {entry.id_set}; OOD {', '.join(entry.ood_sets)}")
        click.echo("  presets     " + ", ".join(entry.presets.values()))


@main.command()
@_sentences
def data() -> None:
    """List the data sets that are known by name: role, number of images, what is in them."""
    for entry in DATASETS.values():
        count = f"{len(entry.open()):,} images" if entry.path.is_file() else f"missing: {entry.path}"
        click.echo(f"{entry.name:<16} {entry.role:<4} {count:<15} {entry.note}")


def _bank(model: str, placement: str, data_set: str, **options: Any) -> Any:
    """The bank of a data set; what is missing of it is extracted with a progress bar: count, images/s, time left."""
    from tqdm import tqdm

    from ash.extraction import extract

    images = get_dataset(data_set)
    bars: list[Any] = []

    def show(step: Any) -> None:
        if not bars:  # the first step tells where an earlier run stopped; the rate counts fresh images alone
            bars.append(tqdm(total=step.total, initial=step.done, unit="image", desc=images.name, leave=False))
        bars[0].update(step.done - bars[0].n)

    bank = extract(get_model(model), placement, images, progress=show, **options)
    for bar in bars:
        bar.close()
    for image in bank.skipped:
        click.echo(f"skipped: {image['reason']}", err=True)
    if bank.skipped:
        click.echo(f"{len(bank.skipped)} of {len(images)} images of {images.name} were skipped.", err=True)
    return bank


@main.command()
@click.option("--model", required=True, help="a name from `python -m ash models`")
@click.option("--placement", default="penultimate", show_default=True, help=PENULTIMATE_HELP)
@click.option("--data", "data_sets", required=True, multiple=True, help="a known set, a folder, or NAME=FOLDER; repeat")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="where banks go [default: ASH_CACHE]")
@click.option("--batch-size", default=128, show_default=True, type=click.IntRange(min=1))
@click.option("--workers", default=0, show_default=True, type=click.IntRange(min=0), help="decoding processes")
@click.option("--dtype", default="float32", show_default=True, type=click.Choice(["float32", "float16"]))
@_sentences
def extract(model: str, placement: str, data_sets: Iterable[str], out: Path | None, **options: Any) -> None:
    """Run a model's stem over data sets once and keep the activations; resumes where an earlier run stopped."""
    for data_set in data_sets:
        bank = _bank(model, placement, data_set, root=out, **options)
        click.echo(f"{data_set}: {' x '.join(map(str, bank.shape))} in {bank.folder}")


@main.command()
@click.option("--model", required=True, help="a name from `python -m ash models`")
@click.option("--placement", default="penultimate", show_default=True, help=PENULTIMATE_HELP)
@click.option("--id", "id_set", required=True, help="the in-distribution set: a known set, a folder, or NAME=FOLDER")
@click.option("--ood", required=True, multiple=True, help="an OOD set, likewise; repeat")
@click.option("--methods", required=True, help='e.g. "energy,ash_s@5:95:5,ash_b@65:msp"; ranges are inclusive')
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="the table, CSV")
@_sentences
def sweep(model: str, placement: str, id_set: str, ood: Iterable[str], methods: str, out: Path) -> None:
    """Evaluate methods on an ID set and OOD sets; writes one row per OOD set and one `mean` row per method."""
    from ash import splitting, sweeping

    chosen = parse_methods(methods)
    if not out.parent.is_dir():
        raise DataError(f"There is no folder {out.parent} to write {out.name} into.")
    bank = _bank(model, placement, id_set)
    others = {}
    for name in ood:
        other = _bank(model, placement, name)
        others[other.identity.dataset] = other.read()
    tail = splitting.split(get_model(model).build(), bank.identity.placement)[1]
    result = sweeping.sweep(tail, bank.read(), others, chosen, id_labels=bank.labels)
    table = result.table(model, bank.identity.placement, bank.identity.dataset)
    table.to_csv(out, index=False, float_format="%.4f")
    means = table[table.ood == "mean"][["method", "auroc", "fpr95", "aupr", "id_accuracy"]]
    click.echo(means.to_string(index=False, float_format=lambda value: f"{value:.2f}"))
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
