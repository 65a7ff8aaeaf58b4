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
from ash.commands.shared import MODEL_HELP, PENULTIMATE_HELP, Number, folder_for, of_several
from ash.data import DataError, ImageSet, dataset_entry, evenly
from ash.methods import Method, parse_methods
from ash.models import ModelEntry, cuts_of, get_model
from ash.results import SUBSET_ID, SUBSET_OOD

_COUNT, _USUAL = click.IntRange(min=1), "default: all; elsewhere than penultimate"


class _Numbers(click.ParamType):
    """Numbers with commas between them."""

    name = "numbers"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        try:
            return tuple(Number().convert(part, param, ctx) for part in value.split(","))
        except click.BadParameter:
            self.fail(f"'{value}' is not a list of numbers, such as 0.247,0.243,0.262.", param, ctx)


@click.command()
@click.option("--model", required=True, help=MODEL_HELP)
@click.option("--id", "id_set", help="the in-distribution set [default: the model's]")
@click.option("--ood", multiple=True, help="an OOD set; repeat [default: those of the model's that are here]")
@click.option("--placement", default="penultimate", show_default=True, help=PENULTIMATE_HELP)
@click.option("--methods", help="as for sweep [default: every method; elsewhere than penultimate, the Energy lines]")
@click.option("--id-images", type=_COUNT, help=f"at most so many ID images, evenly spaced [{_USUAL} {SUBSET_ID:,}]")
@click.option("--ood-images", type=_COUNT, help=f"at most so many of each OOD set, likewise [{_USUAL} {SUBSET_OOD}]")
@click.option("--std", type=_Numbers(), help="another scale of the pixels, one number a channel")
@click.option("--out", default=files.FOLDER, type=click.Path(file_okay=False, path_type=Path), help="folder")
def results(
    model: str,
    id_set: str | None,
    ood: tuple[str, ...],
    placement: str,
    methods: str | None,
    id_images: int | None,
    ood_images: int | None,
    std: tuple[float, ...] | None,
    out: Path,
) -> None:
    """Measure every method on a network's images and write the table, with its origin, into assets/results.

    Away from the penultimate layer: what the explorer's page Placements shows, on the images that it takes. What
    needs training activations is left out where there is no training set, and the file says so.
    """
    folder_for(out)
    entry = of_several(get_model(model))
    given = [f"--id {id_set}"] * bool(id_set) + [f"--ood {name}" for name in ood]
    node = entry.node(placement)
    inner = node != entry.penultimate
    given += [f"--placement {node}"] * inner + [f"--methods '{methods}'"] * bool(methods)
    given += [f"--{name} {most}" for name, most in (("id-images", id_images), ("ood-images", ood_images)) if most]
    if std:
        entry = _scaled(entry, std)
        given.append(f"--std {','.join(f'{value:g}' for value in std)}")
    if inner:
        id_images, ood_images = id_images or SUBSET_ID, ood_images or SUBSET_OOD
    here = images_here(id_set or entry.id_set, ood or entry.ood_sets, id_images, ood_images)
    asked = parse_methods(methods) if methods else _every_method(entry, node)
    needs_fit = any(method.needs_fit for method in asked)
    fit, why = fit_here(entry, node) if needs_fit else (None, "")
    ready, missing = measurable(asked, fit, why)
    result, banks = evaluate(entry, node, here.sets, ready, fit=fit)
    id_name, *names = banks
    table = reports.measured(result, model, node, id_name)
    listed = {name: mark for name, data in here.sets.items() if (mark := _listed(name, data))}
    origin = {
        "command": " ".join(["python -m ash results", f"--model {model}", *given]),
        "model": model,
        **weights_words(entry),
        "preprocessing": entry.preprocess,
        **({"variant": f"std {', '.join(f'{value:g}' for value in std)}"} if std else {}),
        "placement": node,
        "id": id_name,
        "ood": ", ".join(names),
        "images": ", ".join(f"{name} {len(bank):,}" for name, bank in banks.items()),
        **({"incomplete": "; ".join(f"{name}: {text}" for name, text in here.partial.items())} if here.partial else {}),
        "files": ", ".join(f"{name} {bank.identity.files[:16]}" for name, bank in banks.items()),
        **({"listed": ", ".join(f"{name} {mark[:16]}" for name, mark in listed.items())} if listed else {}),
        "activations": activations_words(banks.values()),
        "odin_epsilon": entry.odin_epsilon,
        **({"fitted": f"{fit.rows:,} images of {fit.identity.dataset}"} if fit else {}),
        **({"left_out": _left_out(missing)} if missing else {}),
        **circumstances(),
    }
    suffix = f"_{node}" * inner + ("" if id_name == entry.id_set else f"_{id_name}") + ("_std" if std else "")
    path = out / f"{model}{suffix}.csv"
    files.write(path, table, origin)
    click.echo(f"{len(ready)} methods, {len(table)} rows, {path.stat().st_size / 1e3:.0f} kB in {path}")
    for reason, count in _reasons(missing).items():
        click.echo(f"left out: {count} methods: {reason}")


def _every_method(entry: ModelEntry, node: str) -> list[Method]:
    """The methods of a file where none are asked for."""
    if node == entry.penultimate:
        return files.every_method(entry)
    return files.line_methods(next((cut.linear for cut in cuts_of(entry.name) if cut.name == node), False))


def _listed(name: str, data: ImageSet) -> str:
    """The fingerprint of so many images of the list that ships for a set; "" where it lists others, or there is none.

    A folder may be listed from above, so of an image's path what the names here have is compared.
    """
    listed = dataset_entry(name).listed()
    if listed is None or len(listed) < len(data):
        return ""
    same = evenly(listed, len(data))
    return same.fingerprint if all(map(str.endswith, same.names, data.names)) else ""


def _scaled(entry: ModelEntry, std: tuple[float, ...]) -> ModelEntry:
    if len(std) != len(entry.preprocess.std) or min(std) <= 0:
        raise DataError(f"{entry.name} takes {len(entry.preprocess.std)} positive numbers after --std.")
    return replace(entry, preprocess=replace(entry.preprocess, std=std))


def _reasons(missing: dict[str, str]) -> dict[str, int]:
    return {reason: list(missing.values()).count(reason) for reason in dict.fromkeys(missing.values())}


def _left_out(missing: dict[str, str]) -> str:
    """Which kinds of methods are missing from a file and why."""
    texts = []
    for reason in _reasons(missing):
        methods = [Method.parse(text) for text, why in missing.items() if why == reason]
        kinds = dict.fromkeys(method.variant if method.steps else method.score for method in methods)
        texts.append(f"{len(methods)} methods ({', '.join(kinds)}): {reason}")
    return "; ".join(texts)
