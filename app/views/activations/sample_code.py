"""Python for the Activations page: a short program with the `ash` API that prints the numbers of its image."""

from app.backend import registry, setups
from app.link.spec import RunSpec
from app.ui.code import plugins

_PROGRAM = '''"""{label} on image {index} of {name}, {model} at {placement}: for where `import ash` works{plugins}."""

import torch

from ash import Method, get_dataset, get_model, split, trace
from ash.scores import SCORES

entry, method = get_model("{model}"), Method.parse("{method}")
stem, tail = split(entry.build(), "{placement}")
image = get_dataset("{name}").image({index})

with torch.inference_mode():
    x = stem(entry.preprocess.build()(image)[None])
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


def program(spec: RunSpec, name: str, index: int) -> str:
    """The program for image `index` of data set `name`: it prints k, sums, scores and classes, before and after."""
    return _PROGRAM.format(
        label=spec.method.label,
        method=spec.method,
        model=registry.entry(spec.model).name,
        placement=setups.setup(spec).placement,
        name=name,
        index=index,
        score=spec.score,
        plugins=plugins(),
    )
