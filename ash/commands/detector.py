"""python -m ash export | score | calibrate."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import pandas as pd

from ash.commands.evaluating import evaluate
from ash.commands.shared import CHECKPOINT_HELP, DTYPE, IMAGES_HELP, MODEL_HELP, PENULTIMATE_HELP, data_sets, output
from ash.data import ImageSet
from ash.errors import AshError
from ash.files import read_bytes
from ash.images import left_out_words
from ash.methods import Method
from ash.models import get_model

if TYPE_CHECKING:
    from ash.detector import About, DetectorFile

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
OUT = click.Path(dir_okay=False, path_type=Path)
SHARE = click.FloatRange(0.001, 100)


@click.command()
@click.option("--model", required=True, help=MODEL_HELP)
@click.option("--checkpoint", type=click.Path(path_type=Path), help=CHECKPOINT_HELP)
@click.option("--placement", default="penultimate", show_default=True, help=PENULTIMATE_HELP)
@click.option("--method", required=True, help="for example ash_s@90, react@1+ash_s@80:msp")
@click.option("--id", "id_set", default="", help="what it is calibrated on: a known set or a folder [default: model's]")
@click.option("--accept", default=95.0, show_default=True, type=SHARE, help="percent of the ID images to accept")
@click.option("--images", type=click.IntRange(min=1), help=IMAGES_HELP)
@click.option("--dtype", default="float32", show_default=True, type=DTYPE, help="of banks")
@click.option("--train", default="", help="what react@P% and dice are fitted on [default: the model's training set]")
@click.option("--out", required=True, type=OUT, help="the detector, for example detector.pt2")
def export(
    model: str,
    checkpoint: Path | None,
    placement: str,
    method: str,
    id_set: str,
    accept: float,
    images: int | None,
    dtype: str,
    train: str,
    out: Path,
) -> None:
    """Write a network with a method and a threshold as one file, which runs wherever torch does.

    It is an exported program, images in, class, score and accepted out, and is checked against the network before it is
    written. Activations of the ID set that are missing are extracted first; a fit must be there.
    """
    from ash import detector, fitting

    chosen, entry = Method.parse(method), get_model(model, checkpoint)
    detector.check(chosen)
    with output(out) as write:
        fitted = fitting.find_fit(entry, placement, train, dtype=dtype) if chosen.needs_fit else None
        sets = data_sets((id_set or entry.id_set,), images)
        (name,) = sets
        done, banks = evaluate(entry, placement, sets, [chosen], fit=fitted, dtype=dtype)
        made = detector.detector(
            entry, placement, chosen, done.id_scores[0], name, share=accept / 100, id_bank=banks[name], fit=fitted
        )
        ready = detector.exported(made)
        write(ready.to_bytes())
    click.echo(f"{out}: {_what(ready.about)}\n{_threshold(ready.about)}")


@click.command()
@click.argument("file", type=FILE)
@click.argument("folder")
@click.option("--images", type=click.IntRange(min=1), help=IMAGES_HELP)
@click.option("--out", required=True, type=OUT, help="a row for every image, CSV")
def score(file: Path, folder: str, images: int | None, out: Path) -> None:
    """Run a detector on a folder: class, score and whether it is accepted for every image.

    FILE is what `export` has written, FOLDER a folder of images or a known set. It also says how these images lie
    against those that the detector was calibrated on.
    """
    from ash.watching import drift

    detector, (data,) = _read(file), data_sets((folder,), images).values()
    with output(out) as write:
        table, skipped = _scored(detector, data)
        write(table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    about = detector.about
    click.echo(f"{len(table):,} images in {out}{f', {skipped:,} could not be read' if skipped else ''}.")
    found = drift(about, table.score)
    low, high = (100 * share for share in found.usual)
    click.echo(
        f"Accepted: {100 * found.accepted:.1f} %. Of as many images like those of {about.calibrated_on}, {low:.1f} to "
        f"{high:.1f} % are.\nScores: median {found.median:.4g}, of {about.calibrated_on} {found.median_before:.4g}; "
        f"largest distance between both distributions {found.distance:.2f} of 1."
    )
    if found.changed:
        click.echo("These are other images than the detector was calibrated on.")


@click.command()
@click.argument("file", type=FILE)
@click.argument("folder")
@click.option("--accept", type=SHARE, help="percent of these images to accept [default: as before]")
@click.option("--images", type=click.IntRange(min=1), help=IMAGES_HELP)
@click.option("--out", required=True, type=OUT, help="the calibrated detector")
def calibrate(file: Path, folder: str, accept: float | None, images: int | None, out: Path) -> None:
    """Set a detector's threshold on ID images of your own, 100 or more; the network stays as it is."""
    detector, (data,) = _read(file), data_sets((folder,), images).values()
    share = detector.about.share if accept is None else accept / 100
    with output(out) as write:
        table, _ = _scored(detector, data)
        ready = detector.calibrated(table.score.to_numpy(), data.name, share)
        write(ready.to_bytes())
    click.echo(f"{out}: {_what(ready.about)}\n{_threshold(ready.about)}")


def _read(file: Path) -> "DetectorFile":
    from ash.detector import read

    return read(read_bytes(file), file.name)


def _what(about: "About") -> str:
    size = " x ".join(map(str, about.transform.shape))
    return f"{about.method} on {about.model} at {about.placement}, input N x {size}, {len(about.classes):,} classes"


def _threshold(about: "About") -> str:
    low, high = (100 * share for share in about.interval())
    return (
        f"Accepted are scores from {about.threshold:.6g}: {100 * about.share:g} % of {about.count:,} images of "
        f"{about.calibrated_on}; of further ones {low:.1f} to {high:.1f} % (95 % interval)."
    )


def _scored(detector: "DetectorFile", data: ImageSet) -> tuple[pd.DataFrame, int]:
    """A row for every readable image of a set, and how many are not, each of which is named."""
    from tqdm import tqdm

    from ash.watching import score as scores_of

    if left_out := left_out_words(getattr(data, "left_out", {})):
        click.echo(f"{data.name}: {left_out}", err=True)
    names, classes, parts, skipped = data.names, detector.about.classes, list[pd.DataFrame](), 0
    with tqdm(total=len(data), unit="image", desc=data.name, leave=False) as bar:
        for batch in scores_of(detector, data):
            for one in batch.skipped:
                bar.write(f"skipped: {one['reason']}")
            skipped += len(batch.skipped)
            columns: dict[str, Any] = {
                "image": [names[row] for row in batch.rows],
                "class": batch.classes,
                "class_name": [classes[number] for number in batch.classes],
                "score": batch.scores,
                "accepted": batch.accepted.astype(np.int8),
            }
            parts.append(pd.DataFrame(columns))
            bar.update(len(batch.rows) + len(batch.skipped))
    table = pd.concat(parts, ignore_index=True)
    if table.empty:
        raise AshError(f"None of the {len(data):,} images of {data.name} can be read.")
    return table, skipped
