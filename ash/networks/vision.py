"""torchvision, loaded without torch's compiler: a second and 150 MB less in every process.

torchvision asks the compiler one question, in an operation of networks that detect objects, and loads all of it for
that. What other modules want of torchvision comes from here, so that it is loaded in one way.
"""

import sys
from types import ModuleType
from typing import Any

_COMPILER = "torch._dynamo.utils"


class _Asked(ModuleType):
    """In the compiler's place while torchvision is loaded; what else it may ask one day is answered by the compiler."""

    @staticmethod
    def is_compile_supported(device: str) -> bool:
        """What torchvision asks, when one of its operations is used."""
        from torch._dynamo.utils import is_compile_supported

        return is_compile_supported(device)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(_COMPILER) is self:
            del sys.modules[_COMPILER]
        from torch._dynamo import utils

        return getattr(utils, name)


def _load() -> None:
    if "torchvision" in sys.modules or _COMPILER in sys.modules:
        return
    import torch  # noqa: F401  the whole of it, before something stands in for a part

    sys.modules[_COMPILER] = stand_in = _Asked(_COMPILER)
    try:
        import torchvision  # noqa: F401
    finally:
        if sys.modules.get(_COMPILER) is stand_in:
            del sys.modules[_COMPILER]


_load()

import torchvision  # noqa: E402
from torchvision import transforms  # noqa: E402
from torchvision.models import ResNet50_Weights, get_model, get_model_weights  # noqa: E402
from torchvision.models.feature_extraction import NodePathTracer  # noqa: E402

__all__ = ["NodePathTracer", "ResNet50_Weights", "get_model", "get_model_weights", "torchvision", "transforms"]
