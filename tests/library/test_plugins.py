"""A user's method, registered by a decorated function: parsed, swept on any tail, drawn; the guide's for example."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from test_sweep import Deep, Pooled, linear
from torch import fx, nn
from training import ArrayBank, relu_like

from app import theme
from app.charts.front import Setting
from app.charts.pareto import Pareto
from ash.fitting import fit
from ash.methods import STEPS, VARIANTS, Method, MethodError, parse_methods, register_method
from ash.plugins import PluginError
from ash.scores import SCORES, energy, register_score
from ash.sweeping import sweep
from ash.variants import forget_method

ROOT = Path(__file__).parents[2]
(STRETCH,) = (
    block
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "app/guide/methods.md").read_text(), re.DOTALL)
    if "register_method" in block
)


@pytest.fixture
def stretch() -> Iterator[None]:
    """The guide's method, for one test."""
    exec(STRETCH, {})
    yield
    forget_method("stretch")
    assert "stretch" not in STEPS
    assert "stretch" not in VARIANTS


def test_it_takes_ten_lines_at_most() -> None:
    assert len([line for line in STRETCH.splitlines() if line.strip()]) <= 10


@pytest.mark.usefixtures("stretch")
def test_it_is_parsed_as_any_other() -> None:
    texts = ["stretch@85", "stretch@85:msp", "react@1.0+stretch@85", "stretch@85+dice@10"]
    assert [str(method) for method in parse_methods(",".join(texts))] == texts
    assert len(parse_methods("stretch@5:95:5")) == 19
    assert Method.parse("stretch@85").label == "Stretch @ 85"
    assert Method.parse("stretch@85").pruned == 85
    with pytest.raises(MethodError, match="did you mean stretch@85"):
        Method.parse("stretc@85")


@pytest.mark.usefixtures("stretch")
@pytest.mark.parametrize("kind", ["linear", "pooled", "deep"])
def test_it_is_swept_on_any_tail(kind: str) -> None:
    tail: nn.Module = {"linear": linear(48, 5), "pooled": Pooled(linear(3, 5)), "deep": Deep()}[kind]
    x = relu_like(20, (48,) if kind == "linear" else (3, 4, 4)) + np.float32(0.01)
    before = x.copy()
    methods = parse_methods("energy,stretch@65,stretch@90,react@1.0+stretch@90,ash_s@90")
    result = sweep(fx.symbolic_trace(tail) if kind == "pooled" else tail, x, {"o": x}, methods)
    np.testing.assert_array_equal(x, before)
    for row, (p, c) in enumerate([(65, 99), (90, 99), (90, 1.0)], start=1):
        clipped = torch.from_numpy(x).clamp(max=c)
        flat = clipped.view(20, -1)
        ratio = flat.sum(1) / flat.topk(48 - round(0.48 * p), dim=1).values.sum(1)
        shaped = clipped * ratio.view(-1, *[1] * (x.ndim - 1))
        np.testing.assert_allclose(result.id_scores[row], energy(tail(shaped)), rtol=1e-4)


@pytest.mark.usefixtures("stretch")
def test_it_is_drawn_with_a_mark_of_its_own() -> None:
    assert theme.MARKS["stretch"].symbol not in {mark.symbol for mark in theme.MARKS.values()}
    assert theme.variant_label("stretch") == "★ Stretch"
    for dark in (False, True):
        assert theme.colours(dark)["stretch"] == theme.colours(dark)["ink"]
    ones = [Setting(Method("stretch", p), 90 + p / 9, 90, 30, 90) for p in (10, 50)]
    shown = Pareto("id_accuracy", "auroc", tuple(ones), (ones[1],), ones[0], ones[1], (), None, ((80, 99), (80, 99)))
    assert list(shown.lines) == ["stretch"]
    with pytest.raises(KeyError):
        theme.colours(False)["no_such_variant"]


def with_plugins(files: str, code: str) -> "subprocess.CompletedProcess[str]":
    """Run a program in a process of its own that knows these plug-ins."""
    env = {"ASH_PLUGINS": files, "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_a_file_of_methods_is_loaded_at_the_start_and_a_broken_one_is_left_out(tmp_path: Path) -> None:
    good, bad = tmp_path / "mine.py", tmp_path / "bad.py"
    good.write_text(STRETCH)
    bad.write_text("import ash\n\nash.register_method('half', 'Half')(lambda x, p: x / 2)\n1 / 0\n")
    code = (
        "import app.link.spec; from ash.methods import STEPS, Method; "
        "linked = app.link.spec.from_query({'variant': 'stretch'})[0]; "
        "print(Method.parse('stretch@85'), linked.variant, 'half' in STEPS)"
    )
    done = with_plugins(f"{bad}:{good}", code)
    assert done.stdout.split() == ["stretch@85", "stretch", "False"], done.stderr
    assert done.stderr.strip() == "Plug-in bad.py, line 4: ZeroDivisionError: division by zero."


(SCORES_OF_ONES_OWN,) = (
    block
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "app/guide/methods.md").read_text(), re.DOTALL)
    if "register_score" in block
)


@pytest.mark.slow
def test_scores_of_a_file_go_everywhere_and_those_of_a_broken_one_nowhere(tmp_path: Path) -> None:
    good, bad = tmp_path / "mine.py", tmp_path / "bad.py"
    good.write_text(SCORES_OF_ONES_OWN)
    bad.write_text("import ash\n\nash.register_score('half', 'Half')(lambda logits: logits[:, 0])\n1 / 0\n")
    code = (
        "import app.link.spec; from ash.methods import Method; from ash.scores import SCORES, SCORE_LABELS; "
        "print(Method.parse('ash_s@85:margin@2'), app.link.spec.from_query({'score': 'margin'})[0].score, "
        "Method.parse('ash_b@9:from_mean').needs_fit, 'margin' in SCORE_LABELS, 'half' in SCORES)"
    )
    done = with_plugins(f"{bad}:{good}", code)
    assert done.stdout.split() == ["ash_s@85:margin@2", "margin", "True", "True", "False"], done.stderr
    assert done.stderr.strip() == "Plug-in bad.py, line 4: ZeroDivisionError: division by zero."


def test_a_score_of_ones_own_is_swept_like_the_librarys() -> None:
    exec(SCORES_OF_ONES_OWN, {})
    try:
        x, train, layer = relu_like(20, (8,)), relu_like(30, (8,), 1), linear(8, 6)
        methods = parse_methods("margin,ash_s@50:margin@1:3:1,ash_s@50:from_mean")
        assert [str(method) for method in methods] == [
            *("margin", "ash_s@50:margin", "ash_s@50:margin@2", "ash_s@50:margin@3", "ash_s@50:from_mean")
        ]
        assert methods[2].label == "ASH-S @ 50, Margin @ 2"
        result = sweep(layer, x, {}, methods, fit=fit(ArrayBank(train))).id_scores  # type: ignore[arg-type]
        shaped = Method.parse("ash_s@50").shape(torch.from_numpy(x))
        ranked = np.sort(layer(shaped).numpy(), 1)
        np.testing.assert_allclose(result[2], ranked[:, -1] - ranked[:, -3], rtol=1e-4)
        far = np.linalg.norm(shaped.numpy() - train.mean(0), axis=1)
        np.testing.assert_allclose(result[4], -far, rtol=1e-5)
    finally:
        for name in ("margin", "from_mean"):
            SCORES.pop(name, None)


def test_what_no_score_can_be_says_why() -> None:
    for arguments, reads, sentence in (
        (("energy", "Mine"), ("logits",), "There is a score 'energy' already"),
        (("ash_s", "Mine"), ("logits",), "'ash_s' cannot name a score"),
        (("My-Score", "Mine"), ("logits",), "cannot name a score"),
        (("mine", "Mine"), ("images",), r"reads logits, .*, not \['images'\]"),
        (("mine", "Mine"), (), "reads logits, .*, not nothing"),
    ):
        with pytest.raises((MethodError, PluginError), match=sentence):
            register_score(*arguments, reads=reads)(lambda logits: logits)  # type: ignore[arg-type]


def test_what_cannot_be_registered_says_why() -> None:
    for arguments, sentence in (
        (("ash_s", "Mine"), "There is a method 'ash_s' already"),
        (("energy", "Mine"), "cannot name a method"),
        (("My-Method", "Mine"), "cannot name a method"),
        (("mine", "Mine", "number"), "is a percentile or a threshold, not 'number'"),
        (("scale", "Mine"), "There is a method 'scale' already"),
        (("mine", "Mine", None), "'mine' has no parameter, so it must be fitted"),
    ):
        with pytest.raises((MethodError, PluginError), match=sentence):
            register_method(*arguments)(lambda x, p: x)  # type: ignore[arg-type]


def test_a_method_may_narrow_its_range_work_in_place_and_must_keep_the_shape() -> None:
    try:
        register_method("cap", "Cap", "threshold", low=0.5, high=2)(lambda x, c: x.clamp_(max=c))
        register_method("cut", "Cut")(lambda x, p: x[:, :1])
        assert Method.parse("cap@0.5").parameter == 0.5
        with pytest.raises(MethodError, match=r"Cap takes 0.5 to 2, got 3; write for example cap@1"):
            Method.parse("cap@3")
        x = relu_like(5, (6,))
        before = x.copy()
        result = sweep(linear(6, 3), x, {}, parse_methods("energy,cap@1,react@1.0"))
        np.testing.assert_array_equal(x, before)
        np.testing.assert_allclose(result.id_scores[1], result.id_scores[2], rtol=1e-6)
        with pytest.raises(MethodError, match=r"cut made \(5, 1\) of activations \(5, 6\)"):
            sweep(linear(6, 3), x, {}, parse_methods("cut@50"))
    finally:
        forget_method("cap")
        forget_method("cut")
