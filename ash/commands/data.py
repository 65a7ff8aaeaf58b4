"""python -m ash data | fetch."""

from pathlib import Path

import click

from ash.data import DATASETS, dataset_entry, describe_set, get_dataset, list_sets
from ash.datasets.packed_images import ListedImages
from ash.fetching import fetch_with_bars
from ash.labels import read
from ash.models import get_model


@click.command()
@click.argument("name", required=False)
@click.option("--model", help="with a NAME: how a network reads the set's labels")
@click.option("--root", type=click.Path(file_okay=False, path_type=Path), help="the data root [default: ASH_DATA]")
def data(name: str | None, model: str | None, root: Path | None) -> None:
    """List the data sets: present, missing or incomplete, number of images, size, licence, where, what is in them.

    With a NAME, a folder, FILE.csv or NAME=FOLDER: the classes that it states, images in each, what is left out.
    """
    if name is None:
        for line in list_sets(root):
            click.echo(line)
        return
    images = _listed(name, root) or (dataset_entry(name, root).open(root) if root else get_dataset(name))
    for line in describe_set(images):
        click.echo(line)
    if isinstance(images, ListedImages):
        click.echo(f"The activations of these images ship, the images do not. {images.instructions}")
    if model:
        entry = get_model(model)
        reading = read(images, entry.classes, entry.label)
        click.echo(reading.problem or reading.words)


def _listed(name: str, root: Path | None) -> ListedImages | None:
    """The set of this name where its activations ship and its images are not here."""
    entry = DATASETS.get(name)
    return entry.listed() if entry and entry.status(root).state == "listed" else None


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME ...")
@click.option("--root", type=click.Path(file_okay=False, path_type=Path), help="the data root [default: ASH_DATA]")
def fetch(names: tuple[str, ...], root: Path | None) -> None:
    """Download data sets and model weights; resumes where an earlier run stopped."""
    for name, path in fetch_with_bars(names, root):
        click.echo(f"{name}: {path}")
