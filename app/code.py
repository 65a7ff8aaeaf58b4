"""Python for a view: a short program with the `ash` API that prints the numbers on the page."""

from app import backend
from app.spec import RunSpec
from ash.methods import Method

_HEAD = '''"""{method} on {model} at {placement}: run it where `import ash` works."""

from ash import extract, get_dataset, get_model, open_bank, parse_methods, split, sweep
from ash.bank import BankError
{more_imports}from ash.extraction import identity

entry, placement = get_model("{model}"), "{placement}"
stem, tail = split(entry.build(), placement)


def bank(name{count_argument}):
    data = {data}
    try:
        return open_bank(identity(entry, placement, data))
    except BankError:  # not computed yet
        return extract(entry, placement, data)


'''
_BODY = """names = {sets}
result = sweep(tail, {id_bank}, {{name: {ood_bank} for name in names}}, parse_methods("{methods}"))
table = result.table(entry.name, placement, "{id_set}")
print(table[["ood", "method", "auroc", "fpr95", "aupr", "id_accuracy"]].round(2).to_csv(index=False))
"""


def program(spec: RunSpec) -> str:
    """It prints, as CSV in percent, the unshaped score and the method of the spec on the chosen OOD sets."""
    id_set, _ = backend.datasets(spec.model)
    methods = dict.fromkeys((str(Method(score=spec.score)), str(spec.method)))
    penultimate = spec.placement == list(backend.placements(spec.model))[-1]
    head = _HEAD.format(
        method=spec.method.label,
        model=spec.model,
        placement=spec.placement,
        more_imports="" if penultimate else "from ash.data import Subset\n",
        count_argument="" if penultimate else ", count",
        data="get_dataset(name)" if penultimate else "Subset(get_dataset(name), count)",
    )
    body = _BODY.format(
        sets=repr(list(backend.chosen_sets(spec))).replace("'", '"'),
        id_bank=f'bank("{id_set}"{"" if penultimate else f", {backend.SUBSET_ID}"})',
        ood_bank=f"bank(name{'' if penultimate else f', {backend.SUBSET_OOD}'})",
        methods=",".join(methods),
        id_set=id_set,
    )
    return head + body
