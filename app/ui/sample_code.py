"""Python for one sample: a short program with the `ash` API that prints the numbers of its image, or of some values."""

from collections.abc import Iterable

from app.backend import registry, setups
from app.link.spec import RunSpec
from app.ui.code import plugins
from ash.methods import Method

_PROGRAM = '''"""{label} on image {index} of {name}, {model} at {placement}: for where `import ash` works{plugins}."""

import torch

from ash import Method, {names}, split, trace
from ash.scores import SCORES

entry, method = get_model("{model}"), Method.parse("{method}")
stem, tail = split(entry.build(), "{placement}")
{value}

with torch.inference_mode():
    x = {activation}
    done = trace(x, method, first_index={index})
    before, after = tail(x), done.logits(tail)

{numbers}print("zeros before", int((x == 0).sum()))
print("zeros after", int((done.shaped == 0).sum()))
print("score before", float(SCORES["{score}"](before)))
print("score after", float(SCORES["{score}"](after)))
print("class before", entry.classes[int(before.argmax())])
print("class after", entry.classes[int(after.argmax())])
'''

_NUMBERS = """print("k", int(done.k), "of", x.numel())
for name in ("t", "s1", "s2", "factor", "level", "logit_factor"):
    if (value := getattr(done, name)) is not None:  # the method has such a number
        print(name, float(value))
"""

_VALUES = '''"""{label} on {n} values: run it where `import ash` works{plugins}."""

import torch

from ash import Method, trace

x = torch.tensor([{values}])
done = trace(x[None], Method.parse("{method}"))
{numbers}print("before", x.tolist())
print("after", done.shaped[0].tolist())
'''

# what there is of a sample: an image, or the row of a bank
_IMAGE = """image = get_dataset("{name}").image({index})""", "stem(entry.preprocess.build()(image)[None])"
_LISTED = (  # its activations ship, its images do not
    """from ash.data import dataset_entry

bank = extract(entry, "{placement}", dataset_entry("{name}").listed())""",
    "torch.from_numpy(bank[{index}].copy())[None]",
)
_ROW = """bank = extract(entry, "{placement}", get_dataset("{name}"))""", "torch.from_numpy(bank[{index}].copy())[None]"


def program(spec: RunSpec, name: str, index: int) -> str:
    """The program for image `index` of data set `name`: it prints k, sums, scores and classes, before and after."""
    placement, listed = setups.setup(spec).placement, setups.is_listed(name)
    row = listed or setups.is_features(spec.model)
    value, activation = (
        one.format(name=name, index=index, placement=placement)
        for one in (_LISTED if listed else _ROW if row else _IMAGE)
    )
    return _PROGRAM.format(
        numbers=_NUMBERS,
        value=value,
        activation=activation,
        names=("extract, get_model" if listed else "extract, get_dataset, get_model")
        if row
        else "get_dataset, get_model",
        label=spec.method.label,
        method=spec.method,
        model=registry.entry(spec.model).name,
        placement=placement,
        name=name,
        index=index,
        score=spec.score,
        plugins=plugins(),
    )


def values_program(method: Method, values: Iterable[float]) -> str:
    """The program for some values of a sample: it prints k, sums, and the values before and after."""
    numbers = [float(value) for value in values]
    shown = ", ".join(map(repr, numbers))
    return _VALUES.format(
        label=method.label, n=len(numbers), values=shown, method=method, numbers=_NUMBERS, plugins=plugins()
    )
