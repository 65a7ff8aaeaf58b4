"""Python for one sample: a short program with the `ash` API that prints the numbers of its image, or of some values."""

import textwrap
from collections.abc import Iterable

from app.backend import setups
from app.link.spec import RunSpec
from app.ui.code import getter, network, plugins
from ash.methods import Method

_PROGRAM = '''"""{label} on image {index} of {name}, {model} at {placement}: for where `import ash` works{plugins}."""

import torch

from ash import Method, {names}, split, trace{more}
from ash.scores import SCORES

entry, method = {network}, Method.parse("{method}")
stem, tail = split(entry.build(), "{placement}")
data = {data}

with torch.inference_mode():
    x = {activation}
    done = trace(x, method, first_index={index})
    before, after = tail(x), done.logits(tail)

{numbers}print("zeros before", int((x == 0).sum()))
print("zeros after", int((done.shaped == 0).sum()))
print("score before", float(SCORES["{score}"](before)))
print("score after", float(SCORES["{score}"](after)))
{shares}print("class before", entry.classes[int(before.argmax())])
print("class after", entry.classes[int(after.argmax())])
'''

_PAIR = '''"""{label} as a modified ReLU, {model} at {placement}: for where `import ash` works{plugins}."""

import torch

from ash import Method, {names}, split, trace{more}

entry, method = {network}, Method.parse("{method}")
stem, tail = split(entry.build(), "{placement}")
activations = {{}}
with torch.inference_mode():
{ones}
for (name, index), x in activations.items():
    done = trace(x, method, first_index=index)
    print("image", index, "of", name)
{numbers}'''

_ONE = """    data = {data}
    activations["{name}", {index}] = {activation}
"""

_NUMBERS = """print("k", int(done.k), "of", x.numel())
for name in ("t", "s1", "s2", "factor", "level", "logit_factor"):
    if (value := getattr(done, name)) is not None:  # the method has such a number
        print(name, float(value))
"""

_SHARES = """print("share before", float(before.softmax(1).max()))  # of which the score is the log-odds
print("share after", float(after.softmax(1).max()))
"""

_VALUES = '''"""{label} on {n} values: run it where `import ash` works{plugins}."""

import torch

from ash import Method, trace

x = torch.tensor([{values}])
done = trace(x[None], Method.parse("{method}"))
{numbers}print("before", x.tolist())
print("after", done.shaped[0].tolist())
'''


def program(spec: RunSpec, name: str, index: int) -> str:
    """The program for image `index` of data set `name`: it prints k, sums, scores and classes, before and after."""
    return _PROGRAM.format(
        **_common(spec, spec.method, [name]),
        **_one(spec, name, index),
        numbers=_NUMBERS,
        score=spec.score,
        shares=_SHARES if spec.score == "msp" else "",
    )


def pair_program(spec: RunSpec, method: Method, pair: Iterable[tuple[str, int]]) -> str:
    """The program for some images, (data set, number) each: it prints k and t of each, its sums, factor and level."""
    ones = list(pair)
    return _PAIR.format(
        **_common(spec, method, [name for name, _ in ones]),
        ones="".join(_ONE.format(**_one(spec, name, index)) for name, index in ones),
        numbers=textwrap.indent(_NUMBERS, "    "),
    )


def _common(spec: RunSpec, method: Method, sets: Iterable[str]) -> dict[str, object]:
    """What programs on images of some data sets begin with."""
    at, listed = setups.setup(spec), [setups.is_listed(name) for name in sets]
    names = {
        getter(at): True,
        "get_dataset": not all(listed),
        "extract": setups.is_features(spec.model) or any(listed),
    }
    return {
        "names": ", ".join(sorted(name for name, used in names.items() if used)),
        "more": "\nfrom ash.data import dataset_entry" if any(listed) else "",
        "label": method.label,
        "method": method,
        "model": at.model,
        "network": network(at),
        "placement": at.placement,
        "plugins": plugins(),
    }


def _one(spec: RunSpec, name: str, index: int) -> dict[str, object]:
    """How a program comes to the activation of one image; of a set whose images do not ship, activations do."""
    data = f'dataset_entry("{name}").listed()' if setups.is_listed(name) else f'get_dataset("{name}")'
    if setups.is_listed(name) or setups.is_features(spec.model):
        bank = f'extract(entry, "{setups.setup(spec).placement}", data)'
        activation = f"torch.from_numpy({bank}[{index}].copy())[None]"
    else:
        activation = f"stem(entry.preprocess.build()(data.image({index}))[None])"
    return {"name": name, "index": index, "data": data, "activation": activation}


def values_program(method: Method, values: Iterable[float]) -> str:
    """The program for some values of a sample: it prints k, sums, and the values before and after."""
    numbers = [float(value) for value in values]
    shown = ", ".join(map(repr, numbers))
    return _VALUES.format(
        label=method.label, n=len(numbers), values=shown, method=method, numbers=_NUMBERS, plugins=plugins()
    )
