"""python -m ash export | score | calibrate."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import pandas as pd

from ash import links
from ash.commands.evaluating import evaluate
from ash.commands.shared import (
    CHECKPOINT_HELP,
    DTYPE,
    IMAGES_HELP,
    MODEL_HELP,
    PENULTIMATE_HELP,
    Number,
    data_sets,
    of_several,
    output,
)
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
SHARE = Number(0.001, 100)
ONNX = ".onnx"
_NOTHING_ELSE = "model=demo"  # a link that leaves all but the model to the defaults


@click.command()
@click.argument("link", required=False)
@click.option("--model", help=f"{MODEL_HELP} [default: the link's]")
@click.option("--checkpoint", type=click.Path(path_type=Path), help=CHECKPOINT_HELP)
@click.option("--placement", help=f"{PENULTIMATE_HELP} [default: the link's, or penultimate]")
@click.option("--method", help="for example ash_s@90, react@1+ash_s@80:msp [default: the link's]")
@click.option("--id", "id_set", help="what it is calibrated on: a known set or a folder [default: link's, or model's]")
@click.option("--accept", type=SHARE, help="percent of the ID images to accept [default: the link's, or 95]")
@click.option("--images", type=click.IntRange(min=1), help=IMAGES_HELP)
@click.option("--dtype", type=DTYPE, help="of banks [default: the link's, or float32]")
@click.option("--train", default="", help="what react@P% and dice are fitted on [default: the model's training set]")
@click.option("--out", required=True, type=OUT, help="the detector, for example detector.pt2, or detector.onnx")
def export(
    link: str | None,
    model: str | None,
    checkpoint: Path | None,
    placement: str | None,
    method: str | None,
    id_set: str | None,
    accept: float | None,
    images: int | None,
    dtype: str | None,
    train: str,
    out: Path,
) -> None:
    """Write a network with a method and a threshold as one file, which runs wherever torch does.

    LINK is a view of the explorer, as Share copies it, or its query alone; options take the place of what it says.
    Without one --model and --method are needed.

    The file is an exported program, images in, class, score and accepted out, and is checked against the network before
    it is written. Activations of the ID set that are missing are extracted first; a fit must be there. With --out
    NAME.onnx it is a program for other runtimes, where the onnx exporter is installed.
    """
    from ash import detector, detector_onnx, fitting

    if link is None and (model is None or method is None):
        raise click.UsageError("Give a LINK, or --model and --method.")
    seen = links.read(link or _NOTHING_ELSE)
    view = replace(
        seen,
        model=model or seen.model,
        placement=placement or seen.placement,
        method=Method.parse(method) if method else seen.method,
        id_set=seen.id_set if id_set is None else id_set,
        dtype=dtype or seen.dtype,
        accept=accept or seen.accept,
    )
    chosen, entry = view.method, get_model(view.model, checkpoint)
    entry = of_several(entry, view.checkpoint_of(entry))
    detector.check(chosen)
    as_onnx = out.suffix.lower() == ONNX
    if as_onnx:
        detector_onnx.check_installed()
    most = images or (view.images_of(entry) if link else None)
    with output(out) as write:
        fitted = fitting.find_fit(entry, view.placement, train, dtype=view.dtype) if chosen.needs_fit else None
        sets = data_sets((view.id_set or entry.id_set,), most)
        (name,) = sets
        done, banks = evaluate(entry, view.placement, sets, [chosen], fit=fitted, dtype=view.dtype)
        made = detector.detector(
            entry, view.placement, chosen, done.id_scores[0], name,
            share=view.accept / 100, id_bank=banks[name], fit=fitted,
        )  # fmt: skip
        about, said = made.about, ""
        if as_onnx:
            content, checked = detector_onnx.exported(made)
            said = f"\n{detector_onnx.CHECKED if checked else detector_onnx.UNCHECKED}"
        else:
            content = detector.exported(made).to_bytes()
        write(content)
    click.echo(f"{out}: {_what(about)}\n{_threshold(about)}{said}")


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
    from ash.drift import words
    from ash.watching import drift

    detector, (data,) = _read(file), data_sets((folder,), images).values()
    with output(out) as write:
        table, skipped = _scored(detector, data)
        write(table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    about = detector.about
    click.echo(f"{len(table):,} images in {out}{f', {skipped:,} could not be read' if skipped else ''}.")
    for sentence in words(drift(about, table.score), about.calibrated_on):
        click.echo(sentence)


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

    if file.suffix.lower() == ONNX:
        raise AshError(f"{file.name} is for other runtimes; export a .pt2 beside it to score or calibrate with.")
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
