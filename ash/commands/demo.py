"""python -m ash demo build | check."""

import sys
from pathlib import Path
from typing import Any

import click


@click.group()
def demo() -> None:
    """The bundled demo: build it from its sources, or check what ships."""


@demo.command()
@click.option("--source", type=click.Path(path_type=Path), help="Fashion-MNIST .gz files [default: Debian's package]")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="[default: assets/demo]")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
@click.option("--epochs", type=click.IntRange(min=1), help="[default: as shipped]")
def build(**options: Any) -> None:
    """Train the demo network and write weights, images and banks; about ten minutes on two cores."""
    from ash import demo as module

    folder = module.build(**{name: value for name, value in options.items() if value is not None})
    click.echo(f"The demo is in {folder}.")


@demo.command()
def check() -> None:
    """Recompute the activations of everything that ships and compare."""
    from ash import demo as module

    report = module.check()
    click.echo(str(report))
    if report.problems:
        sys.exit(1)
