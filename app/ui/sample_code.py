"""Python for the Activations page: a short program with the `ash` API that prints the numbers of its image."""

from app.backend import registry, setups
from app.link.spec import RunSpec
from app.ui.code import plugins

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

print("k", int(done.k), "of", x.numel())
for name in ("t", "s1", "s2", "factor", "level", "logit_factor"):
    if (value := getattr(done, name)) is not None:  # the method has such a number
        print(name, float(value))
print("zeros before", int((x == 0).sum()))
print("zeros after", int((done.shaped == 0).sum()))
print("score before", float(SCORES["{score}"](before)))
print("score after", float(SCORES["{score}"](after)))
print("class before", entry.classes[int(before.argmax())])
print("class after", entry.classes[int(after.argmax())])
'''

# what there is of a sample: an image, or the row of a bank
_IMAGE = """image = get_dataset("{name}").image({index})""", "stem(entry.preprocess.build()(image)[None])"
_ROW = """bank = extract(entry, "{placement}", get_dataset("{name}"))""", "torch.from_numpy(bank[{index}].copy())[None]"


def program(spec: RunSpec, name: str, index: int) -> str:
    """The program for image `index` of data set `name`: it prints k, sums, scores and classes, before and after."""
    features, placement = setups.is_features(spec.model), setups.setup(spec).placement
    value, activation = (
        one.format(name=name, index=index, placement=placement) for one in (_ROW if features else _IMAGE)
    )
    return _PROGRAM.format(
        value=value,
        activation=activation,
        names="extract, get_dataset, get_model" if features else "get_dataset, get_model",
        label=spec.method.label,
        method=spec.method,
        model=registry.entry(spec.model).name,
        placement=placement,
        name=name,
        index=index,
        score=spec.score,
        plugins=plugins(),
    )
