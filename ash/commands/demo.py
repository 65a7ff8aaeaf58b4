"""python -m ash demo build | evaluate | check."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click


@click.group()
def demo() -> None:
    """The bundled demo: build it from its sources, evaluate it again, or check what ships."""


@demo.command()
@click.option("--source", type=click.Path(path_type=Path), help="Fashion-MNIST .gz files [default: Debian's package]")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="[default: assets/demo]")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
@click.option("--epochs", type=click.IntRange(min=1), help="[default: as shipped]")
@click.option("--data", type=click.Path(path_type=Path), help="Sources of the networks named by --model.")
@click.option("--model", "models", multiple=True, help="Build this network from --data in place of the small one.")
def build(data: Path | None, models: Sequence[str], **options: Any) -> None:
    """Train the small network, or take a larger one's weights, and write weights, images and banks.

    About ten minutes on two cores each.
    """
    from ash import demo as module

    given = {name: value for name, value in options.items() if value is not None}
    unknown = [model for model in models if model not in module.PARTS or model == module.MODEL]
    if unknown or bool(models) != (data is not None):
        larger = ", ".join(model for model in module.PARTS if model != module.MODEL)
        raise click.UsageError(f"--data DIR and --model go together; models built from sources: {larger}.")
    for model in models:
        assert data is not None
        shared = {name: given[name] for name in ("out", "seed") if name in given}
        folder = module.build_part(model, data, **shared)
    if not models:
        folder = module.build(**given)
    click.echo(f"The demo is in {folder}.")


@demo.command()
def evaluate() -> None:
    """Make the first chart's sweep again from the banks that ship, after a change of its methods."""
    from ash import demo as module

    click.echo(f"The demo is in {module.evaluate()}.")


@demo.command()
def check() -> None:
    """Recompute the activations and sweeps of everything that ships and compare."""
    from ash import demo as module

    report = module.check()
    click.echo(str(report))
    if report.problems:
        sys.exit(1)
