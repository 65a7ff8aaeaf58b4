"""Python for a view: a short program with the `ash` API that prints the numbers on the page."""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby, pairwise
from pathlib import PurePath

import streamlit as st

from app.backend import evaluations, library, protocol, registry, setups
from app.link.fields import OFF
from app.link.spec import RunSpec
from ash.methods import ADASCALE, Method, perturbations

_PROGRAM = '''"""{method} on {model} at {placement}: run it where `import ash` works{plugins}."""

from ash import {names}
{more_imports}
entry, placement = get_model("{model}"), "{placement}"
stem, tail = split(entry.build(), placement)
sets = {{name: get_dataset(name) for name in {sets}}}
{listed}# computed once, then read
banks = {{name: extract(entry, placement, {data}{options}) for name, data in sets.items()}}
id_bank, ood_banks = banks["{id_set}"], {{name: banks[name] for name in {ood}}}
{more}result = sweep(tail, id_bank, ood_banks, parse_methods("{methods}"){more_arguments})
{part}table = {of}.table(entry.name, placement, "{id_set}"{groups})
{choice}columns = ["ood", "method", "auroc", "fpr95", "aupr", "id_accuracy"]
print(table[columns].to_csv(index=False, float_format="%.2f"))
'''


_LISTED = """sets["{name}"] = dataset_entry("{name}").listed()  # its activations ship, its images do not
"""
_FIT = """training = extract(entry, placement, get_dataset(entry.train_set){options})
"""
_PERTURBED = """way = {{"epsilon": {way}}}  # the same images, perturbed
{what} = {{name: extract(entry, placement, {data}{options}, **way) for name, data in sets.items()}}
"""
_PARTS = """held = {{name: is_validation(bank.names, sets[name].names) for name, bank in banks.items()}}
validation, test = validation_and_test(result, held["{id_set}"], held)
"""
_CHOICE = """rows = {of}.table()
best = choose({rows}, budget={budget}, goal="{goal}", sets={on})
print("# the best setting, chosen on {where} images:", best)
table = table[table["method"].isin([*{shown}, best])]
"""


def show(key: str, make: Callable[[], str]) -> None:
    """A program in an expander, closed at first; it is made once that is open."""
    with st.expander("Python for this view", icon=":material/code:", key=key, on_change="rerun") as more:
        if more.open:
            st.code(make(), language="python")


def program(spec: RunSpec, candidates: Sequence[str] = (), goal: str = "auroc") -> str:
    """It prints, as CSV in percent, the unshaped score and the method of the spec on the chosen OOD sets.

    With `candidates`, among which the page chooses on this metric, also which of them is best within the budget, and
    its numbers.
    """
    at = setups.setup(spec)
    shown = list(dict.fromkeys((str(evaluations.unshaped(spec).method), str(spec.method))))
    methods = [Method.parse(text) for text in dict.fromkeys((*candidates, *shown))]
    ood = list(setups.chosen_sets(spec))
    listed = [name for name in (at.id_set, *ood) if setups.is_listed(name)]
    tested = protocol.usable(at, spec.split) != protocol.ALL
    options = "" if at.dtype == "float32" else f', dtype="{at.dtype}"'
    names = ["extract", "get_dataset", "get_model", "parse_methods", "split", "sweep"]
    limits, more, arguments = _limits(spec, at), "", ""
    data = f"evenly(data, {limits})" if limits else "data"
    kinds = setups.near_and_far(at.id_set, ood)
    used = {"dataset_entry": listed, "evenly": limits, "near_and_far": kinds}
    extra = ", ".join(name for name, needed in used.items() if needed)
    imports = f"from ash.data import {extra}\n" if extra else ""
    if any(method.needs_fit for method in methods):
        imports, more = f"{imports}from ash.fitting import fit\n", _FIT.format(options=options)
        arguments = ", fit=fit(training)"
    for what in perturbations(registry.entry(at.model), methods):
        way = "entry.odin_epsilon" if what == "perturbed" else f'"{ADASCALE}"'
        more += _PERTURBED.format(what=what, way=way, data=data, options=options)
        arguments += f', {what}=({what}["{at.id_set}"], {{name: {what}[name] for name in ood_banks}})'
    part, choice = "", ""
    if tested:
        names += ["is_validation", "validation_and_test"]
        part = _PARTS.format(id_set=at.id_set)
    if candidates:
        names.append("choose")
        out = [one for one in shown if one not in candidates]
        choice = _CHOICE.format(
            of="validation" if tested else "result",
            rows=f'rows[~rows["method"].isin({_quoted(out)})]' if out else "rows",
            budget=None if spec.budget == OFF else f"{spec.budget:g}",
            goal=goal,
            on=_quoted(setups.sets_on(spec)),
            where="validation" if tested else "all",
            shown=_quoted(shown),
        )
    return _PROGRAM.format(
        method=spec.method.label,
        plugins=plugins(),
        model=spec.model,
        placement=at.placement,
        names=", ".join(sorted(names)),
        more_imports=imports,
        sets=_quoted([name for name in (at.id_set, *ood) if name not in listed]),
        listed="".join(_LISTED.format(name=name) for name in listed),
        data=data,
        options=options,
        id_set=at.id_set,
        ood=_quoted(ood),
        methods=in_ranges(methods),
        more=more,
        more_arguments=arguments,
        part=part,
        of="test" if tested else "result",
        groups=f', near_and_far("{at.id_set}", ood_banks)' if kinds else "",
        choice=choice,
    )


def _quoted(names: Iterable[str]) -> str:
    return repr(list(names)).replace("'", '"')


def _limits(spec: RunSpec, at: setups.Setup) -> str:
    """How many images of each set are taken, as an expression; "" for all."""
    if spec.images:
        return str(spec.images)
    return "" if at.penultimate else f'{setups.SUBSET_ID} if name == "{at.id_set}" else {setups.SUBSET_OOD}'


def in_ranges(methods: Iterable[Method]) -> str:
    """Methods as `parse_methods` reads them, the equally spaced percentiles of a variant as one range."""
    found: list[str] = []
    for (variant, score), group in groupby(methods, lambda one: (one.variant, one.score)):
        same = list(group)
        at = [one.percentile for one in same]
        steps = {b - a for a, b in pairwise(at) if a is not None and b is not None}
        if None in at or len(at) < 3 or len(steps) != 1 or min(steps) <= 0:
            found += map(str, same)
            continue
        suffix = "" if score == "energy" else f":{score}"
        found.append(f"{variant}@{at[0]:g}:{at[-1]:g}:{steps.pop():g}{suffix}")
    return ",".join(found)


def plugins() -> str:
    """What a program needs besides `ash` to know what this server knows."""
    names = [str(PurePath(file).name) for file in library.plugin_contents()]
    return f" and ASH_PLUGINS names {', '.join(names)}" if names else ""
