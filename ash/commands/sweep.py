"""python -m ash sweep."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pandas as pd

from ash.commands.evaluating import evaluate
from ash.commands.shared import (
    CHECKPOINT_HELP,
    DTYPE,
    IMAGES_HELP,
    MODEL_HELP,
    PENULTIMATE_HELP,
    data_sets,
    output,
    whole_names,
)
from ash.data import near_and_far
from ash.methods import Method, parse_methods
from ash.models import get_model
from ash.protocol import GOALS, ProtocolError, is_validation, validation_and_test
from ash.protocol import choose as choose_from
from ash.tables import doubts_in_words, idle_in_words

if TYPE_CHECKING:
    from ash.fitting import Fit


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
@click.option("--choose", is_flag=True, help="choose the best method on validation images, measure all on the others")
@click.option("--budget", type=click.FloatRange(0, 100), help="with --choose: points of ID accuracy that may be lost")
@click.option("--goal", default="auroc", show_default=True, type=click.Choice(list(GOALS)), help="with --choose")
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
    choose: bool,
    budget: float | None,
    goal: str,
    out: Path,
) -> None:
    """Evaluate methods on an ID set and OOD sets; writes one row per OOD set and one `mean` row per method.

    Where some of the sets are known to be near the ID set and some far, the rows `near` and `far` are their means.
    Activations that are missing are extracted first, for ODIN and AdaSCALE those of perturbed images too; a fit must be
    there.
    With --choose the table is of the test images, and which method is best there was chosen on the validation images.
    """
    from ash import fitting

    if budget is not None and not choose:
        raise click.UsageError("--budget limits what --choose may choose; add --choose.")
    chosen = parse_methods(methods)
    with output(out) as write:
        entry, fitted = get_model(model, checkpoint), None
        if any(method.needs_fit for method in chosen):
            fitted = fitting.find_fit(entry, placement, train, dtype=dtype)
        sets = data_sets((id_set, *ood), images)
        plain = [Method(score=method.score) for method in chosen if method.steps]  # tells whether a step does anything
        wanted = list(dict.fromkeys((*chosen, *plain)))
        whole, banks = evaluate(entry, placement, sets, wanted, fit=fitted, dtype=dtype, epsilon=epsilon)
        id_name = next(iter(sets))
        head = (model, banks[id_name].identity.placement, id_name)
        groups = near_and_far(id_name, list(sets)[1:])
        shown, said = whole, ""
        if choose:
            held = {name: is_validation(bank.names, whole_names(sets[name])) for name, bank in banks.items()}
            validation, shown = validation_and_test(whole, held[id_name], held)
            said = _chosen(validation.table(*head), shown.table(*head), budget, goal)
        table = shown.part(range(len(chosen))).table(*head, groups)
        _say(table, chosen, fitted)
        if said:
            click.echo(said)
        for method in whole.without_effect():
            click.echo(idle_in_words(method))
        write(table.to_csv(index=False, float_format="%.4f", lineterminator="\n"))
    click.echo(f"{len(table)} rows in {out}")


def _chosen(validation: pd.DataFrame, test: pd.DataFrame, budget: float | None, goal: str) -> str:
    """Which method is chosen on validation, and what it gives on test; AshError where none keeps the accuracy."""
    found = choose_from(validation, budget, goal)
    limit = "with any accuracy"
    if budget is not None:
        limit = f"at most {budget:g} point{'' if budget == 1 else 's'} of accuracy below the unshaped network"
    if found is None:
        unknown = "label of the ID set" if validation.id_accuracy.isna().all() else goal
        raise ProtocolError(f"No method is left {limit}: no {unknown} is known.")
    on, other = (f"{rows.n_id.iloc[0]:,} ID + {rows.n_ood.iloc[0]:,} OOD" for rows in map(_means, (validation, test)))
    best = _means(test).set_index("method").loc[found]
    numbers = (
        f"AUROC {best.auroc:.2f}, FPR95 {best.fpr95:.2f}, AUPR {best.aupr:.2f}, ID accuracy {best.id_accuracy:.2f}"
    )
    return f"Chosen on {on} validation images, {limit}: {found}\nOn the other {other} images: {numbers}"


def _means(table: pd.DataFrame) -> pd.DataFrame:
    return table[table.ood == "mean"]


def _say(table: pd.DataFrame, chosen: Sequence[Method], fitted: "Fit | None") -> None:
    """The means over the OOD sets, what fitted methods stand for, and which numbers are in doubt."""
    every = _means(table)
    doubts = [name for name in ("tied", "beyond_range") if (every[name] > 0).any()]
    means = every[["method", "auroc", "fpr95", "aupr", "id_accuracy", *doubts]]
    click.echo(means.to_string(index=False, float_format=lambda value: f"{value:.2f}"))
    for method in chosen:
        if fitted and fitted.label(method) != method.label:
            click.echo(f"{method}: {fitted.label(method)}")
    for name in doubts:
        worst = every.loc[every[name].idxmax()]
        about = {"tied": worst.tied, "beyond_range": worst.beyond_range}
        shares = (value if key == name else 0.0 for key, value in about.items())
        click.echo(f"{name}, in % of samples. {' '.join(doubts_in_words(Method.parse(worst.method), *shares))}")
