"""python -m ash data | fetch."""

from pathlib import Path

import click

from ash.data import list_sets
from ash.fetching import fetch_with_bars


@click.command()
@click.option("--root", type=click.Path(file_okay=False, path_type=Path), help="the data root [default: ASH_DATA]")
def data(root: Path | None) -> None:
    """List the data sets: present, missing or incomplete, number of images, size, licence, where, what is in them."""
    for line in list_sets(root):
        click.echo(line)


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME ...")
@click.option("--root", type=click.Path(file_okay=False, path_type=Path), help="the data root [default: ASH_DATA]")
def fetch(names: tuple[str, ...], root: Path | None) -> None:
    """Download data sets and model weights; resumes where an earlier run stopped."""
    for name, path in fetch_with_bars(names, root):
        click.echo(f"{name}: {path}")
