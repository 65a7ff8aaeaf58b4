"""Python for the Activations page: a short program with the `ash` API that prints the numbers of its image."""

from app import backend
from app.code import plugins
from app.spec import RunSpec
from ash.methods import Method

_PROGRAM = '''"""{label} on image {index} of {name}, {model} at {placement}: for where `import ash` works{plugins}."""

import torch

from ash import Method, get_dataset, get_model, split
from ash.scores import SCORES
from ash.shaping import kept_mask

entry, method = get_model("{model}"), Method.parse("{method}")
stem, tail = split(entry.build(), "{placement}")
image = get_dataset("{name}").image({index})

with torch.inference_mode():
    x = stem(entry.preprocess.build()(image)[None])
    shaped = method.shape(x, first_index={index})
    before, after = tail(x), tail(shaped)

kept = kept_mask(x, method.percentile or 0)
print("k", int(kept.sum()), "of", x.numel())
print("s1", float(x.double().sum()))
print("s2", float(x[kept].double().sum()))
print("score before", float(SCORES["{score}"](before)))
print("score after", float(SCORES["{score}"](after)))
print("class before", entry.classes[int(before.argmax())])
print("class after", entry.classes[int(after.argmax())])
'''


def program(spec: RunSpec, name: str, index: int) -> str:
    """The program for image `index` of data set `name`: it prints k, s1, s2, scores and classes, before and after."""
    method = spec.method if spec.variant != "none" else Method(score=spec.score)
    return _PROGRAM.format(
        label=method.label,
        method=method,
        model=backend.entry(spec.model).name,
        placement=backend.setup(spec).placement,
        name=name,
        index=index,
        score=spec.score,
        plugins=plugins(),
    )
