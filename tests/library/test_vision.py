"""torchvision without torch's compiler: not loaded by what is done with networks, there for who asks for it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
USED = """
import sys, ash, torch
from ash.extracting import stems
for name in ("demo", "mobilenet_v2_photos"):
    stem, tail = ash.split(ash.get_model(name).build(), "penultimate")
print(sorted(name for name in sys.modules if name.startswith(("torch._dynamo", "sympy"))))
"""
ASKED = """
import sys, torch
from ash.networks import vision
from torchvision.ops import roi_align
boxes = torch.tensor([[0.0, 0.0, 0.0, 4.0, 4.0]])
stand_in = vision._Asked(vision._COMPILER)
print(roi_align(torch.ones(1, 1, 8, 8), boxes, 2).sum().item(), stand_in.is_compile_supported("cpu"))
print(stand_in.counters is sys.modules["torch._dynamo.utils"].counters, torch.compiler.is_compiling())
"""


SAID = [(USED, ["[]"]), (ASKED, ["4.0 True", "True False"])]


@pytest.mark.parametrize(("program", "said"), SAID, ids=["used", "asked"])
def test_the_compiler_is_loaded_when_it_is_asked_for(program: str, said: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines() == said, done.stderr
