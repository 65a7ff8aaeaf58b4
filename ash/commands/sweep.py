"""python -m ash sweep."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pandas as pd

from ash.commands.evaluating import evaluate
from ash.commands.shared import (
    CHECKPOINTS,
    CHECKPOINTS_HELP,
    DTYPE,
    IMAGES_HELP,
    MODEL_HELP,
    PENULTIMATE_HELP,
    Number,
    data_sets,
    networks,
    output,
    whole_names,
)
from ash.data import ImageSet, near_and_far
from ash.identity import MOST_EPSILON
from ash.labels import read
from ash.methods import Method, parse_methods
from ash.protocol import (
    GOALS,
    ProtocolError,
    is_validation,
    lacking,
    loss_in_words,
    losses,
    validation_and_test,
)
from ash.protocol import choose as choose_from
from ash.tables import METRICS, Sweep, doubts_in_words, idle_in_words, over_checkpoints

if TYPE_CHECKING:
    from ash.bank import Bank
    from ash.fitting import Fit
    from ash.models import ModelEntry


@click.command()
@click.option("--model", required=True, help=MODEL_HELP)
@click.option("--checkpoint", "checkpoints", multiple=True, type=CHECKPOINTS, help=CHECKPOINTS_HELP)
@click.option("--placement", default="penultimate", show_default=True, help=PENULTIMATE_HELP)
@click.option("--id", "id_set", required=True, help="the in-distribution set: a known set, a folder, or NAME=FOLDER")
@click.option("--ood", required=True, multiple=True, help="an OOD set, likewise; repeat")
@click.option("--methods", required=True, help='e.g. "energy,ash_s@5:95:5,ash_b@65:msp"; ranges are inclusive')
@click.option("--images", type=click.IntRange(min=1), help=IMAGES_HELP)
@click.option("--dtype", default="float32", show_default=True, type=DTYPE, help="of banks")
@click.option("--train", default="", help="what methods are fitted on [default: the model's training set]")
@click.option("--epsilon", type=Number(0, MOST_EPSILON), help="how far ODIN moves pixels [default: the model's]")
@click.option("--choose", is_flag=True, help="choose the best method on validation images, measure all on the others")
@click.option("--budget", type=Number(0, 100), help="with --choose: points of ID accuracy that may be lost")
@click.option("--goal", default="auroc", show_default=True, type=click.Choice(list(GOALS)), help="with --choose")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="the table, CSV")
def sweep(
    model: str,
    checkpoints: Sequence[Path],
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
    With --choose the table is of the test images, and which method is best there was chosen on the validation images,
    from the methods and their scores without shaping.
    Of several checkpoints there are the rows of each and those of their mean, with the sample standard deviation
    (n - 1) over them; --choose takes one method for all, the best by the mean on the validation images.
    """
    from ash import fitting

    if budget is not None and not choose:
        raise click.UsageError("--budget limits what --choose may choose; add --choose.")
    chosen = parse_methods(methods)
    candidates = list(dict.fromkeys((*chosen, *(Method(score=method.score) for method in chosen if method.steps))))
    wanted = candidates if budget is None or Method() in candidates else [*candidates, Method()]  # what it is beside
    with output(out) as write:
        entries, fits = networks(model, checkpoints), {}
        for name, entry in entries.items():
            needs_fit = any(method.needs_fit for method in chosen)
            fits[name] = fitting.find_fit(entry, placement, train, dtype=dtype) if needs_fit else None
        sets = data_sets((id_set, *ood), images)
        if choose:
            _check_choice(next(iter(entries.values())), sets, budget)
        found: dict[str, _Tables] = {}
        for name, entry in entries.items():
            whole, banks = evaluate(entry, placement, sets, wanted, fit=fits[name], dtype=dtype, epsilon=epsilon)
            found[name] = _tables(whole, banks, sets, len(chosen), model, choose)
            _say(found[name].rows, chosen, fits[name], name)
        table = over_checkpoints({name: one.rows for name, one in found.items()})
        if len(found) > 1:
            click.echo(
                f"\nMean and sample standard deviation (n - 1) over {len(found)} checkpoints: {', '.join(found)}"
            )
            click.echo(_with_deviations(_means(table)).to_string(index=False))
            each = [one.rows.assign(checkpoint=name) for name, one in found.items()]
            table = pd.concat([table.assign(checkpoint="mean"), *each], ignore_index=True).astype(
                {"checkpoints": "Int64"}
            )
        elif next(iter(entries.values())).checkpoints:
            click.echo("This is one checkpoint: there is no deviation over several.")
        if choose:
            parts = zip(*(one.choice for one in found.values()), strict=True)
            validation, test = (over_checkpoints(dict(zip(found, tables, strict=True))) for tables in parts)
            click.echo(_chosen(validation, test, budget, goal, list(map(str, chosen)), list(map(str, candidates))))
        for sentence in dict.fromkeys(sentence for one in found.values() for sentence in one.idle):
            click.echo(sentence)
        write(table.to_csv(index=False, float_format="%.4f", lineterminator="\n"))
    click.echo(f"{len(table)} rows in {out}")


@dataclass(frozen=True)
class _Tables:
    """Of one checkpoint: the rows of the methods that were asked for, and with --choose those of all methods on the
    validation and on the test images; what is to be said of methods without effect."""

    rows: pd.DataFrame
    choice: tuple[pd.DataFrame, ...]
    idle: list[str]


def _tables(
    whole: Sweep, banks: "dict[str, Bank]", sets: dict[str, ImageSet], asked: int, model: str, choose: bool
) -> _Tables:
    """The tables of a sweep whose first `asked` methods were asked for."""
    id_name, *names = sets
    head, shown = (model, banks[id_name].identity.placement, id_name), whole
    choice: tuple[pd.DataFrame, ...] = ()
    if choose:
        held = {name: is_validation(bank.names, whole_names(sets[name])) for name, bank in banks.items()}
        validation, shown = validation_and_test(whole, held[id_name], held)
        choice = validation.table(*head), shown.table(*head)
    rows = shown.part(range(asked)).table(*head, near_and_far(id_name, names))
    return _Tables(rows, choice, [idle_in_words(one) for one in whole.without_effect()])


def _with_deviations(rows: pd.DataFrame) -> pd.DataFrame:
    """Method and metrics of rows over several checkpoints, as text: `94.12 ± 0.31`."""
    texts = {name: [_words(row, name) for _, row in rows.iterrows()] for name in METRICS}
    return pd.DataFrame({"method": list(rows.method), **texts})


def _words(row: pd.Series, name: str) -> str:
    """A metric of a row, with its deviation where it has one."""
    deviation = f" ± {row[f'{name}_std']:.2f}" if f"{name}_std" in row else ""
    return "not known" if pd.isna(row[name]) else f"{row[name]:.2f}{deviation}"


def _check_choice(entry: "ModelEntry", sets: dict[str, ImageSet], budget: float | None) -> None:
    """AshError, before anything is measured, where these sets allow no choice on validation images."""
    held = {name: is_validation(data.names, whole_names(data)) for name, data in sets.items()}
    if why := lacking({sets[name].label: one for name, one in held.items()}):
        raise ProtocolError(why)
    id_name = next(iter(sets))
    known = read(sets[id_name], entry.classes, entry.label).checked()[held[id_name]] >= 0
    if budget is not None and not known.any():
        raise ProtocolError(
            f"--budget needs labels: none of the {len(known):,} validation images of {sets[id_name].label} has one; "
            "leave --budget out, or name an ID set with labels."
        )


def _chosen(
    validation: pd.DataFrame,
    test: pd.DataFrame,
    budget: float | None,
    goal: str,
    asked: Sequence[str],
    candidates: Sequence[str],
) -> str:
    """Which of the candidates is chosen on validation, why it is none that was `asked` for, what it gives on test."""
    limit = "with any accuracy"
    if budget is not None:
        limit = f"at most {budget:g} point{'' if budget == 1 else 's'} of accuracy below the unshaped network"
    found = choose_from(validation, budget, goal, among=candidates)
    if found is None:
        return f"No method is chosen {limit}. {_nearest(validation, budget, candidates)}".strip()
    on, other = (f"{rows.n_id.iloc[0]:,} ID + {rows.n_ood.iloc[0]:,} OOD" for rows in map(_means, (validation, test)))
    best = _means(test).set_index("method").loc[found]
    labels = {"auroc": "AUROC", "fpr95": "FPR95", "aupr": "AUPR", "id_accuracy": "ID accuracy"}
    numbers = ", ".join(f"{label} {_words(best, name)}" for name, label in labels.items())
    over = f", by the mean over {best.checkpoints} checkpoints" if "checkpoints" in best else ""
    instead = ""
    if found not in asked:
        kept = choose_from(validation, budget, goal, among=asked)
        why = f"has a better {labels[goal]} on them than {found}" if kept else f"is {limit}"
        nearest = "" if kept else f" {_nearest(validation, budget, asked)}"
        instead = f", without shaping\nNone of the methods asked for {why}.{nearest}"
    return f"Chosen on {on} validation images{over}, {limit}: {found}{instead}\nOn the other {other} images: {numbers}"


def _nearest(validation: pd.DataFrame, budget: float | None, among: Sequence[str]) -> str:
    """Which method misses a budget by least, in a sentence; "" where there is none, or no accuracy."""
    if budget is None or (lost := losses(validation)[list(among)].dropna()).empty:
        return ""
    return f"The nearest, {lost.idxmin()}, loses {loss_in_words(lost.min(), budget)}."


def _means(table: pd.DataFrame) -> pd.DataFrame:
    return table[table.ood == "mean"]


def _say(table: pd.DataFrame, chosen: Sequence[Method], fitted: "Fit | None", checkpoint: str) -> None:
    """The means over the OOD sets, what fitted methods stand for, and which numbers are in doubt."""
    if checkpoint:
        click.echo(f"\nCheckpoint {checkpoint}")
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
