"""python -m ash paper: a table of the paper, measured as far as its networks and images are here."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import pandas as pd

from ash import paper as tables
from ash import report_files, reports
from ash.commands.evaluating import circumstances, evaluate, fit_here, images_here, measurable, weights_words
from ash.commands.shared import folder_for, of_several
from ash.data import DataError
from ash.files import write_atomically
from ash.methods import Method
from ash.models import get_model
from ash.reports import Found


@dataclass(frozen=True)
class _Measured:
    """What was measured on one network, and what a report says of it."""

    found: Found
    origin: dict[str, str]


@click.command()
@click.option("--table", "number", required=True, type=click.IntRange(min(tables.TABLES), max(tables.TABLES)))
@click.option("--model", help="[default: the paper's networks that are here, the bundled one for the others]")
@click.option("--images", type=click.IntRange(min=1), help="at most so many of every set, evenly spaced [default: all]")
@click.option("--rules", default="ours", show_default=True, type=click.Choice(reports.RULES), help="whose metrics")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="folder of the report")
def paper(number: int, model: str | None, images: int | None, rules: str, out: Path) -> None:
    """Measure a table of the paper and write it as CSV and HTML, published beside measured on the same network.

    A difference stands only where network and data are the paper's; another network has columns of its own.
    Activations and fits that are missing are computed first, and kept: a second run uses them.
    """

    folder_for(out)

    beside = {name: _beside(name, model, number) for name in tables.TABLES[number].ood}
    here = {one: _measure(one, number, images) for one in dict.fromkeys(one for one, _ in beside.values() if one)}
    own = [Found(name, "", reason=why, network=name) for name, (_, why) in beside.items() if why]
    own += [one.found for one in here.values()]
    other = next((here[one].found for one, why in beside.values() if one and why), None)
    compared = reports.compare(number, own, rules, other)
    words = ["python -m ash paper", f"--table {number}"]
    words += [f"--{name} {shlex.quote(str(value))}" for name, value in (("model", model), ("images", images)) if value]
    words += [f"--rules {rules}"] * (rules != "ours")
    origin = {"table": f"Table {number} of the paper", "made by": " ".join(words), "metrics": f"rules: {rules}"}
    origin |= {name: text for one in here.values() for name, text in one.origin.items()}
    origin |= {f"{name}, not measured": why for name, (one, why) in beside.items() if not one}
    origin |= {f"{name}, beside it": f"{one}, because {why}" for name, (one, why) in beside.items() if one and why}
    _write(number, compared, {**origin, **circumstances()}, out)


def _beside(name: str, model: str | None, number: int) -> tuple[str, str]:
    """Which network is measured for the lines of one of the paper's, "" for none; and why it is not that one itself."""
    if model is None:
        reason = _absent(name)
        return (reports.BUNDLED_MODEL, reason) if reason else (name, "")
    network = get_model(model).paper_name
    if network in tables.TABLES[number].ood:
        return (model, "") if network == name else ("", f"only {model} was asked for")
    return model, f"{get_model(model).name} was asked for"


def _absent(name: str) -> str:
    """What is missing of a network and the paper's images, "" where it can be measured."""
    entry = get_model(name)
    if not entry.present:
        return f"the weights of {entry.label} are missing"
    try:
        images_here(entry.id_set, entry.ood_sets)
    except DataError as error:
        return str(error)
    return ""


def _measure(name: str, number: int, images: int | None) -> _Measured:
    """The methods of a table that can be measured on a network, on its usual images: its own lines', if any are."""
    entry, rows = of_several(get_model(name)), tables.load(number)
    lines = rows[rows["model"] == entry.paper_name]
    methods = dict.fromkeys((lines if len(lines) else rows)["method"])
    here = images_here(entry.id_set, entry.ood_sets, images)
    parsed = [Method.parse(method) for method in methods]
    fit, why = fit_here(entry, entry.penultimate) if any(method.needs_fit for method in parsed) else (None, "")
    ready, missing = measurable(parsed, fit, why)
    result, banks = evaluate(entry, entry.penultimate, here.sets, ready, fit=fit)
    facts = circumstances()
    table = reports.measured(result, name, entry.penultimate, entry.id_set)
    table = table.assign(device=facts["device"], date=facts["date"])
    sizes = ", ".join(f"{data} {len(bank):,}" for data, bank in banks.items())
    origin = {f"{name}, images": sizes, **{f"{name}, {what}": text for what, text in weights_words(entry).items()}}
    if fit is not None:
        origin[f"{name}, fitted on"] = f"{fit.rows:,} images of {fit.identity.dataset}"
    if here.partial:
        origin[f"{name}, incomplete"] = "; ".join(f"{data}: {text}" for data, text in here.partial.items())
    apart = (reports.WEIGHTS,) if entry.paper_name and not entry.has_published_weights() else ()
    found = Found(
        name, entry.id_set, table, missing=missing, partial=here.partial, network=entry.paper_name, apart=apart
    )
    return _Measured(found, origin)


def _write(number: int, compared: pd.DataFrame, origin: Mapping[str, str], out: Path) -> None:
    texts = {
        "csv": report_files.csv_text(compared, origin),
        "html": report_files.html_text(number, compared, origin),
    }
    for suffix, text in texts.items():
        write_atomically(out / f"table{number}.{suffix}", text.encode())
    click.echo(report_files.standing(reports.counted(compared)))
    for name, why in origin.items():
        if name.endswith(("not measured", "beside it")):
            click.echo(f"{name}: {why}")
    click.echo(f"table{number}.csv and table{number}.html are in {out}")
