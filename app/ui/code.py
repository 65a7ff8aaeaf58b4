"""Python for a view: a short program with the `ash` API that prints the numbers on the page.

Every program begins alike, with the sweep of the page's methods (`_measured`), and ends with what the page makes of it.
"""

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby, pairwise
from pathlib import PurePath
from types import MappingProxyType

import streamlit as st

from app.backend import evaluations, library, protocol, registry, setups
from app.charts.sample_table import NO_CLASS, NOT_ID, Filters
from app.link.fields import OFF
from app.link.spec import RunSpec
from ash.methods import ADASCALE, Method, perturbations

_TITLE = '''"""{methods} on {model} at {where}: run it where `import ash` works{plugins}."""
'''
_SETS = """sets = {{name: get_dataset(name) for name in {sets}}}
"""
_LISTED = """sets["{name}"] = dataset_entry("{name}").listed()  # its activations ship, its images do not
"""
_SWEEP = """stem, tail = split(entry.build(), placement)
# computed once, then read
banks = {{name: extract(entry, placement, {data}{options}) for name, data in sets.items()}}
id_bank, ood_banks = banks["{id_set}"], {{name: banks[name] for name in {ood}}}
{more}result = sweep(tail, id_bank, ood_banks, parse_methods("{methods}"){arguments})
"""
_FIT = """fitted = fit(extract(entry, placement, get_dataset(entry.train_set){options}))
"""
_PERTURBED = """way = {{"epsilon": {way}}}  # the same images, perturbed
{what} = {{name: extract(entry, placement, {data}{options}, **way) for name, data in sets.items()}}
"""
_PARTS = """held = {{name: is_validation(bank.names, sets[name].names) for name, bank in banks.items()}}
validation, test = validation_and_test(result, held["{id_set}"], held)
"""
_TABLE = """table = {of}.table(entry.name, placement, "{id_set}"{groups})
"""
_CHOICE = """rows = {of}.table()
best = choose({rows}, budget={budget}, goal="{goal}", sets={on})
print("# the best setting, chosen on {where} images:", best)
table = table[table["method"].isin([*{shown}, best])]
"""
_PRINT = """columns = [{first}"ood", "method", "auroc", "fpr95", "aupr", "id_accuracy"]
print(table[columns].to_csv(index=False, float_format="%.2f"))
"""
_COUNTS = """print("method,set,accepted,rejected,accepted in %")
for method, known, *unknown in zip({of}.methods, {of}.id_scores, *{of}.ood_scores.values()):
    line = threshold_at_tpr(known, {tpr})
    for name, scores in zip(["{id_set}", *{of}.ood_scores], [known, *unknown]):
        accepted = accepts(scores, line)
        print(f"{{method}},{{name}},{{accepted.sum()}},{{(~accepted).sum()}},{{100 * accepted.mean():.1f}}")
"""
_SAMPLES = """frames = []
lines = [threshold_at_tpr(scores, {tpr}) for scores in result.id_scores]  # of the score alone, and of the method
for name, scores in {{"{id_set}": result.id_scores, **result.ood_scores}}.items():
    columns = {{"set": name, "file": banks[name].names, "in_distribution": name == "{id_set}"}}
    for when, row in (("before", 0), ("after", -1)):
        columns |= {{f"score_{{when}}": scores[row], f"accepted_{{when}}": accepts(scores[row], lines[row])}}
    frames.append(pd.DataFrame(columns))
samples = pd.concat(frames, ignore_index=True)
was, now = (samples[f"accepted_{{when}}"] == samples["in_distribution"] for when in ("before", "after"))
samples["rescued"], samples["broken"] = now & ~was, was & ~now
{chosen}print(f"# of {{len(samples)}}: {{(~now[samples.index]).sum()}} wrong, {{samples['rescued'].sum()}} rescued, "
      f"{{samples['broken'].sum()}} broken")
print(samples.to_csv(index=False))
"""
_JUDGED = {"accepts": "ash.metrics", "threshold_at_tpr": "ash.metrics"}  # what verdicts take
_OWN_SET = "own=FOLDER"  # NAME=DIR, as the library names a folder
_OWN = """own = "{own}"  # write the folder of your images there
classes = sweep(tail, banks[own], {{}}, result.methods{fitted}).id_predictions
frame = {{"file": banks[own].names}}
for when, row in (("before", 0), ("after", -1)):
    line, scores = threshold_at_tpr(result.id_scores[row], {tpr}), result.ood_scores[own][row]
    frame |= {{f"predicted_{{when}}": [entry.classes[one] for one in classes[row]], f"score_{{when}}": scores}}
    frame |= {{f"threshold_{{when}}": line, f"accepted_{{when}}": accepts(scores, line)}}
print(pd.DataFrame(frame).to_csv(index=False))
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
    at, shown = setups.setup(spec), _pair(spec)
    ood = tuple(setups.chosen_sets(spec))
    tested = protocol.usable(at, spec.split) != protocol.ALL
    kinds = setups.near_and_far(at.id_set, ood)
    end = _TABLE.format(
        of="test" if tested else "result",
        id_set=at.id_set,
        groups=f', near_and_far("{at.id_set}", ood_banks)' if kinds else "",
    )
    if candidates:
        out = [one for one in shown if one not in candidates]
        end += _CHOICE.format(
            of="validation" if tested else "result",
            rows=f'rows[~rows["method"].isin({_quoted(out)})]' if out else "rows",
            budget=None if spec.budget == OFF else f"{spec.budget:g}",
            goal=goal,
            on=_quoted(setups.sets_on(spec)),
            where="validation" if tested else "all",
            shown=_quoted(shown),
        )
    used = {"choose": "ash"} if candidates else {}
    used |= {"near_and_far": "ash.data"} if kinds else {}
    start = _measured(spec, dict.fromkeys((*candidates, *shown)), ood, used, tested)
    return start + end + _PRINT.format(first="")


def counts_program(spec: RunSpec, sets: Sequence[str]) -> str:
    """It prints what the threshold of the spec does to the ID set and some OOD sets, by score alone and by method."""
    at = setups.setup(spec)
    tested = protocol.usable(at, spec.split) != protocol.ALL
    start = _measured(spec, _pair(spec), sets, _JUDGED, tested)
    return start + _COUNTS.format(of="test" if tested else "result", tpr=spec.tpr / 100, id_set=at.id_set)


def samples_program(spec: RunSpec, chosen: Filters) -> str:
    """It prints how many samples are on the wrong side, and those that pass the filters, as the page's CSV has them."""
    at = setups.setup(spec)
    methods = (spec.method.score, str(spec.method))
    start = _measured(
        spec, dict.fromkeys(methods), tuple(setups.chosen_sets(spec)), _JUDGED, False, packages=["pandas as pd"]
    )
    return start + _SAMPLES.format(tpr=spec.tpr / 100, id_set=at.id_set, chosen=_conditions(chosen))


def own_program(spec: RunSpec) -> str:
    """It prints class, score, threshold and verdict of the images of a folder, by the score alone and by the method."""
    start = _measured(spec, _pair(spec), (_OWN_SET,), _JUDGED, False, packages=["pandas as pd"])
    fitted = ", fit=fitted" if spec.method.needs_fit else ""
    return start + _OWN.format(own=_OWN_SET, tpr=spec.tpr / 100, fitted=fitted)


def curves_program(
    spec: RunSpec, methods: Iterable[str], title: str, end: str = "", used: Mapping[str, str] = MappingProxyType({})
) -> str:
    """It prints methods on all images as CSV in percent, or what `end` makes of `result`, with NumPy and torch.

    `used`: names that `end` takes -> the module they are in.
    """
    at = setups.setup(spec)
    packages = ("numpy as np", "torch") if end else ()
    start = _measured(spec, methods, tuple(setups.chosen_sets(spec)), used, False, packages=packages, title=title)
    table = _TABLE.format(of="result", id_set=at.id_set, groups="") + _PRINT.format(first="")
    return start + (end.format(id_set=at.id_set) or table)


def _conditions(chosen: Filters) -> str:
    """Lines that keep the rows of `samples` that pass the filters."""
    among = {"id": 'samples["in_distribution"]', NOT_ID: '~samples["in_distribution"]'}
    tests = {
        "among": among.get(chosen.among, f'samples["set"] == "{chosen.among}"'),
        "verdict": f'{"" if chosen.verdict == "accepted" else "~"}samples["accepted_after"]',
        "change": f'samples["{chosen.change}"]',
        "scores": f'samples["score_after"].between({", ".join(map(repr, chosen.scores))})',
        "find": f'samples["file"].str.casefold().str.contains({chosen.find.casefold()!r}, regex=False)',
    }
    if chosen.true == NO_CLASS:
        tests["true"] = '~samples["in_distribution"]'
    lines = [f"samples = samples[{tests[name]}]\n" for name in chosen.used if name in tests]
    if left := [name for name in chosen.used if name not in tests]:
        lines.append(f"# the page's filters by class ({', '.join(left)}) are not taken here\n")
    return "".join(lines)


def placements_program(
    spec: RunSpec, places: Sequence[str], methods: Iterable[str], most: Mapping[str, int], tested: bool
) -> str:
    """It prints methods at several placements (node names), on so many images of each set, as CSV in percent."""
    at = setups.setup(spec)
    end = _TABLE.format(of="test" if tested else "result", id_set=at.id_set, groups="")
    start = _measured(spec, dict.fromkeys(methods), tuple(most)[1:], {}, tested, places=places, most=most)
    return start + textwrap.indent(end + _PRINT.format(first='"placement", '), "    ")


def _pair(spec: RunSpec) -> list[str]:
    """The unshaped score of a spec and its method."""
    return list(dict.fromkeys((str(evaluations.unshaped(spec).method), str(spec.method))))


def _measured(
    spec: RunSpec,
    texts: Iterable[str],
    ood: Sequence[str],
    used: Mapping[str, str],
    tested: bool,
    *,
    packages: Sequence[str] = (),
    places: Sequence[str] = (),
    most: Mapping[str, int] | None = None,
    title: str = "",
) -> str:
    """The program as far as the sweep of some methods, `result`; if `tested`, its `validation` and `test` images too.

    `used`: names that the rest of it takes -> the module they are in; `packages`: what it imports besides. With
    `places` it is a loop over placements, whose body goes on behind it. `most`: data set -> images, None as the spec
    says. `title`: what it is about, if not the spec's method.
    """
    at, methods = setups.setup(spec), [Method.parse(text) for text in texts]
    listed = [name for name in (at.id_set, *ood) if name != _OWN_SET and setups.is_listed(name)]
    options = "" if at.dtype == "float32" else f', dtype="{at.dtype}"'
    limits = "most[name]" if most else _limits(spec, at)
    data = f"evenly(data, {limits})" if limits else "data"
    if limits and _OWN_SET in ood:
        data += f' if name == "{at.id_set}" else data'
    names = dict.fromkeys(("extract", "get_dataset", getter(at), "parse_methods", "split", "sweep"), "ash") | {**used}
    if listed:
        names["dataset_entry"] = "ash.data"
    if limits:
        names["evenly"] = "ash.data"
    if tested:
        names |= {"is_validation": "ash", "validation_and_test": "ash"}
    more, arguments = "", ""
    if any(method.needs_fit for method in methods):
        names["fit"] = "ash.fitting"
        more, arguments = _FIT.format(options=options), ", fit=fitted"
    for what in perturbations(registry.entry(at.model), methods):
        way = "entry.odin_epsilon" if what == "perturbed" else f'"{ADASCALE}"'
        more += _PERTURBED.format(what=what, way=way, data=data, options=options)
        arguments += f', {what}=({what}["{at.id_set}"], {{name: {what}[name] for name in ood_banks}})'
    body = _SWEEP.format(
        data=data,
        options=options,
        id_set=at.id_set,
        ood=_quoted(ood),
        methods=in_ranges(methods),
        more=more,
        arguments=arguments,
    ) + (_PARTS.format(id_set=at.id_set) if tested else "")
    if places:
        first = f"entry = {network(at)}\n"
        body = f"for placement in {_quoted(places)}:\n{textwrap.indent(body, '    ')}"
    else:
        first = f'entry, placement = {network(at)}, "{at.placement}"\n'
    return "".join(
        (
            _TITLE.format(
                methods=title or spec.method.label,
                model=spec.model,
                where="several placements" if places else at.placement,
                plugins=plugins(),
            ),
            _imports(names, packages),
            first,
            _SETS.format(sets=_quoted(name for name in (at.id_set, *ood) if name not in listed)),
            *(_LISTED.format(name=name) for name in listed),
            f"most = {_quoted(most)}  # evenly spaced, the same at every placement\n" if most else "",
            body,
        )
    )


def _imports(names: Mapping[str, str], packages: Sequence[str]) -> str:
    """Import lines for packages and for names -> modules, as `ruff` would sort them."""
    lines = [
        f"from {module} import {', '.join(sorted(name for name, of in names.items() if of == module))}\n"
        for module in sorted(set(names.values()))
    ]
    whole = "".join(f"import {name}\n" for name in packages) + "\n" if packages else ""
    return "\n" + whole + "".join(lines) + "\n"


def _quoted(names: Iterable[str] | Mapping[str, int]) -> str:
    return repr(dict(names) if isinstance(names, Mapping) else list(names)).replace("'", '"')


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


def getter(at: setups.Setup) -> str:
    """The name in `ash` of what gives a program the network of a setup."""
    return "get_models" if at.checkpoint else "get_model"


def network(at: setups.Setup) -> str:
    """The network of a setup, with its checkpoint where it has several, as an expression."""
    return f'{getter(at)}("{at.model}")' + (f"[{_quoted([at.checkpoint])[1:-1]}]" if at.checkpoint else "")


def plugins() -> str:
    """What a program needs besides `ash` to know what this server knows."""
    names = [str(PurePath(file).name) for file in library.plugin_contents()]
    return f" and ASH_PLUGINS names {', '.join(names)}" if names else ""
