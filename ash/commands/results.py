"""python -m ash results: everything that can be measured on a network, as a table that ships without activations."""

from dataclasses import replace
from pathlib import Path

import click

from ash import reports
from ash import results as files
from ash.commands.evaluating import (
    activations_words,
    circumstances,
    evaluate,
    fit_here,
    images_here,
    measurable,
    weights_words,
)
from ash.commands.shared import MODEL_HELP, folder_for
from ash.data import DataError
from ash.methods import parse_methods
from ash.models import ModelEntry, get_model


class _Numbers(click.ParamType):
    """Numbers with commas between them."""

    name = "numbers"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        try:
            return tuple(float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"'{value}' is not a list of numbers, such as 0.247,0.243,0.262.")


@click.command()
@click.option("--model", required=True, help=MODEL_HELP)
@click.option("--id", "id_set", help="the in-distribution set [default: the model's]")
@click.option("--ood", multiple=True, help="an OOD set; repeat [default: those of the model's that are here]")
@click.option("--methods", help="as for sweep [default: every method there is]")
@click.option("--std", type=_Numbers(), help="another scale of the pixels, one number a channel")
@click.option("--out", default=files.FOLDER, type=click.Path(file_okay=False, path_type=Path), help="folder")
def results(
    model: str,
    id_set: str | None,
    ood: tuple[str, ...],
    methods: str | None,
    std: tuple[float, ...] | None,
    out: Path,
) -> None:
    """Measure every method on a network's images and write the table, with its origin, into assets/results.

    What needs training activations is left out where there is no training set, and the file says so.
    """
    folder_for(out)
    entry = get_model(model)
    given = [f"--id {id_set}"] * bool(id_set) + [f"--ood {name}" for name in ood]
    given += [f"--methods '{methods}'"] * bool(methods)
    if std:
        entry = _scaled(entry, std)
        given.append(f"--std {','.join(f'{value:g}' for value in std)}")
    here = images_here(id_set or entry.id_set, ood or entry.ood_sets)
    fit, why = fit_here(entry, entry.penultimate)
    asked = parse_methods(methods) if methods else files.every_method(entry)
    ready, missing = measurable(asked, fit, why)
    result, banks = evaluate(entry, entry.penultimate, here.sets, ready, fit=fit)
    id_name, *names = banks
    table = reports.measured(result, model, entry.penultimate, id_name)
    origin = {
        "command": " ".join(["python -m ash results", f"--model {model}", *given]),
        "model": model,
        **weights_words(entry),
        "preprocessing": entry.preprocess,
        **({"variant": f"std {', '.join(f'{value:g}' for value in std)}"} if std else {}),
        "placement": entry.penultimate,
        "id": id_name,
        "ood": ", ".join(names),
        "images": ", ".join(f"{name} {len(bank):,}" for name, bank in banks.items()),
        **({"incomplete": "; ".join(f"{name}: {text}" for name, text in here.partial.items())} if here.partial else {}),
        "files": ", ".join(f"{name} {bank.identity.files[:16]}" for name, bank in banks.items()),
        "activations": activations_words(banks.values()),
        "odin_epsilon": entry.odin_epsilon,
        **({"fitted": f"{fit.rows:,} images of {fit.identity.dataset}"} if fit else {}),
        **({"left_out": _left_out(missing)} if missing else {}),
        **circumstances(),
    }
    suffix = ("" if id_name == entry.id_set else f"_{id_name}") + ("_std" if std else "")
    path = out / f"{model}{suffix}.csv"
    files.write(path, table, origin)
    click.echo(f"{len(ready)} methods, {len(table)} rows, {path.stat().st_size / 1e3:.0f} kB in {path}")
    for reason, count in _reasons(missing).items():
        click.echo(f"left out: {count} methods: {reason}")


def _scaled(entry: ModelEntry, std: tuple[float, ...]) -> ModelEntry:
    if len(std) != len(entry.preprocess.std) or min(std) <= 0:
        raise DataError(f"{entry.name} takes {len(entry.preprocess.std)} positive numbers after --std.")
    return replace(entry, preprocess=replace(entry.preprocess, std=std))


def _reasons(missing: dict[str, str]) -> dict[str, int]:
    return {reason: list(missing.values()).count(reason) for reason in dict.fromkeys(missing.values())}


def _left_out(missing: dict[str, str]) -> str:
    """Which kinds of methods are missing from a file and why."""
    from ash.methods import Method

    texts = []
    for reason in _reasons(missing):
        methods = [Method.parse(text) for text, why in missing.items() if why == reason]
        kinds = dict.fromkeys(method.variant if method.steps else method.score for method in methods)
        texts.append(f"{len(methods)} methods ({', '.join(kinds)}): {reason}")
    return "; ".join(texts)
