"""Python for a question: a program with the `ash` API that measures anew by what its prediction was judged."""

from collections.abc import Iterable

from app.backend import layer_status, lessons
from app.ui import code, placement_values
from app.ui.lessons.facts import Here
from app.ui.lessons.facts_choice import grid, tried_on
from app.ui.placement_values import FIGURE
from app.ui.texts import Question

_CURVES = {  # question -> the variants whose curves it is about
    "pruned": ("ash_p",),
    "zero": ("ash_b", "ash_p"),
    "scaled": ("ash_p", "ash_s"),
    "random": ("ash_rand", "ash_p"),
    "threshold": ("ash_b", "ash_b_global"),
}
_SURE = """ood = np.concatenate([scores[0] for scores in result.ood_scores.values()])
for name, scores in (("ID", result.id_scores[0]), ("OOD", ood)):  # the logit of the largest softmax share
    print(name, "images: the median largest share is", round(100 / (1 + np.exp(-float(np.median(scores)))), 2), "%")
"""
_EXPONENT = """

@torch.inference_mode()
def plain_factor(bank, p):
    x = torch.from_numpy(np.stack([bank[row] for row in range(len(bank))]).astype(np.float32))
    kept = ash_p(x, p)
    s1, s2 = (one.flatten(1).sum(1, dtype=torch.float64).view(-1, *[1] * (x.ndim - 1)) for one in (x, kept))
    return energy(tail(torch.where(s2 == 0, kept, kept * (s1 / s2)).float())).numpy()


means = result.table(entry.name, placement, "{id_set}").query("ood == 'mean'").set_index("method")["auroc"]
print("p,exp(s1/s2),s1/s2: AUROC in %")
for p in range(0, 100, 5):
    known = plain_factor(id_bank, p)
    areas = [auroc(known, plain_factor(bank, p)) for bank in ood_banks.values()]
    print(f"{{p}},{{means[f'ash_s@{{p}}']:.2f}},{{100 * sum(areas) / len(areas):.2f}}")
"""


def program(here: Here, question: Question) -> str:
    """The program of a question on this network; it prints what its picture shows."""
    title = f'For "{question.title}":'
    if question.id == "sure":
        return code.curves_program(here.spec, ["msp"], title, _SURE)
    if question.id == "exponent":
        used = {"ash_p": "ash", "auroc": "ash", "energy": "ash"}
        return code.curves_program(here.spec, _lines(["ash_s"]), title, _EXPONENT, used)
    if question.id == "earlier":
        spec = here.spec
        found = placement_values.standings(spec, layer_status.compared(spec)[0], FIGURE)
        return placement_values.program(spec, found, placement_values.record(spec, found, FIGURE))
    if question.id == "chosen":
        return code.curves_program(here.spec, [str(one.method) for one in grid(here)], title)
    variants = [tried_on(here).variant] if question.id == "harmed" else _CURVES[question.id]
    return code.curves_program(here.spec, ["energy", *_lines(variants)], title)


def _lines(variants: Iterable[str]) -> list[str]:
    return [f"{variant}@{p}" for variant in variants for p in lessons.PERCENTILES]
