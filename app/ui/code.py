"""Python for a view: a short program with the `ash` API that prints the numbers on the page."""

from pathlib import PurePath

from app.backend import library, setups
from app.link.spec import RunSpec
from ash.methods import Method

_PROGRAM = '''"""{method} on {model} at {placement}: run it where `import ash` works{plugins}."""

from ash import extract, get_dataset, get_model, parse_methods, split, sweep
{more_imports}
entry, placement = get_model("{model}"), "{placement}"
stem, tail = split(entry.build(), placement)
id_bank = extract(entry, placement, {id_data}{options})  # computed once, then read
ood_banks = {{
    name: extract(entry, placement, {ood_data}{options})
    for name in {sets}
}}
{more}result = sweep(tail, id_bank, ood_banks, parse_methods("{methods}"){more_arguments})
table = result.table(entry.name, placement, "{id_set}")
print(table[["ood", "method", "auroc", "fpr95", "aupr", "id_accuracy"]].round(2).to_csv(index=False))
'''


_FIT = """training = extract(entry, placement, get_dataset(entry.train_set){options})
"""
_PERTURBED = """odin = {{"epsilon": entry.odin_epsilon}}  # the same images, perturbed
moved_id = extract(entry, placement, {id_data}{options}, **odin)
moved_ood = {{name: extract(entry, placement, {ood_data}{options}, **odin) for name in ood_banks}}
"""


def program(spec: RunSpec) -> str:
    """It prints, as CSV in percent, the unshaped score and the method of the spec on the chosen OOD sets."""
    at = setups.setup(spec)
    methods = dict.fromkeys((str(Method(score=spec.score)), str(spec.method)))
    id_data, ood_data = f'get_dataset("{at.id_set}")', "get_dataset(name)"
    limits = [spec.images] * 2 if spec.images else [setups.SUBSET_ID, setups.SUBSET_OOD]
    subsets = bool(spec.images) or not at.penultimate
    if subsets:
        id_data, ood_data = (
            f"evenly({data}, {limit})" for data, limit in zip((id_data, ood_data), limits, strict=True)
        )
    options = "" if at.dtype == "float32" else f', dtype="{at.dtype}"'
    texts = {"id_data": id_data, "ood_data": ood_data, "options": options}
    imports, more, arguments = "from ash.data import evenly\n" if subsets else "", "", ""
    if spec.method.needs_fit:
        imports, more = f"{imports}from ash.fitting import fit\n", _FIT.format(**texts)
        arguments = ", fit=fit(training)"
    if spec.method.score == "odin":
        more, arguments = more + _PERTURBED.format(**texts), f"{arguments}, perturbed=(moved_id, moved_ood)"
    return _PROGRAM.format(
        method=spec.method.label,
        plugins=plugins(),
        model=spec.model,
        placement=at.placement,
        more_imports=imports,
        sets=repr(list(setups.chosen_sets(spec))).replace("'", '"'),
        methods=",".join(methods),
        id_set=at.id_set,
        more=more,
        more_arguments=arguments,
        **texts,
    )


def plugins() -> str:
    """What a program needs besides `ash` to know what this server knows."""
    names = [str(PurePath(file).name) for file in library.plugin_contents()]
    return f" and ASH_PLUGINS names {', '.join(names)}" if names else ""
