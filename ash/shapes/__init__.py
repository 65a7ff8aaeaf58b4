"""Shapes of the activation beside ASH, one a file, declared as a plug-in declares its own."""

from ash.shapes import scale, lts, vra, bfact, ras  # noqa: I001, F401 - in the order in which the explorer offers them
from ash.variants import STEPS, VARIANTS

STEPS.seal()
VARIANTS.seal()
