"""python -m ash sweep."""

from collections.abc import Iterable
from pathlib import Path

import click

from ash.commands.evaluating import evaluate
from ash.commands.shared import (
    CHECKPOINT_HELP,
    DTYPE,
    IMAGES_HELP,
    MODEL_HELP,
    PENULTIMATE_HELP,
    data_sets,
    output,
)
from ash.methods import parse_methods
from ash.models import get_model


@click.command()
@click.option("--model", required=True, help=MODEL_HELP)
@click.option("--checkpoint", type=click.Path(path_type=Path), help=CHECKPOINT_HELP)
@click.option("--placement", default="penultimate", show_default=True, help=PENULTIMATE_HELP)
@click.option("--id", "id_set", required=True, help="the in-distribution set: a known set, a folder, or NAME=FOLDER")
@click.option("--ood", required=True, multiple=True, help="an OOD set, likewise; repeat")
@click.option("--methods", required=True, help='e.g. "energy,ash_s@5:95:5,ash_b@65:msp"; ranges are inclusive')
@click.option("--images", type=click.IntRange(min=1), help=IMAGES_HELP)
@click.option("--dtype", default="float32", show_default=True, type=DTYPE, help="of banks")
@click.option("--train", default="", help="what methods are fitted on [default: the model's training set]")
@click.option("--epsilon", type=click.FloatRange(min=0), help="how far ODIN moves pixels [default: the model's]")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="the table, CSV")
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
    from ash import fitting

    chosen = parse_methods(methods)
    with output(out) as write:
        entry, fitted = get_model(model, checkpoint), None
        if any(method.needs_fit for method in chosen):
            fitted = fitting.find_fit(entry, placement, train, dtype=dtype)
        sets = data_sets((id_set, *ood), images)
        result, banks = evaluate(entry, placement, sets, chosen, fit=fitted, dtype=dtype, epsilon=epsilon)
        id_name = next(iter(sets))
        table = result.table(model, banks[id_name].identity.placement, id_name)
        means = table[table.ood == "mean"][["method", "auroc", "fpr95", "aupr", "id_accuracy"]]
        click.echo(means.to_string(index=False, float_format=lambda value: f"{value:.2f}"))
        for method in chosen:
            if fitted and fitted.label(method) != method.label:
                click.echo(f"{method}: {fitted.label(method)}")
        write(table.to_csv(index=False, float_format="%.4f", lineterminator="\n"))
    click.echo(f"{len(table)} rows in {out}")
