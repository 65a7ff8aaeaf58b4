"""ASH: activation shaping for out-of-distribution detection (Djurisic et al., Extremely Simple Activation Shaping).

    images -> bank (activations on disk) -> shape -> tail -> logits -> score -> metrics -> table

Names are loaded on first use, so that reading a method or a cached result never waits for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ash import data as data
    from ash import methods as methods
    from ash import metrics as metrics
    from ash import models as models
    from ash import scores as scores
    from ash import shaping as shaping
    from ash.bank import Bank as Bank
    from ash.bank import open_bank as open_bank
    from ash.data import get_dataset as get_dataset
    from ash.data import register_dataset as register_dataset
    from ash.detector import Detector as Detector
    from ash.errors import AshError as AshError
    from ash.extraction import extract as extract
    from ash.fitting import Fit as Fit
    from ash.fitting import find_fit as find_fit
    from ash.fitting import fit as fit
    from ash.fitting import load_fit as load_fit
    from ash.fitting import save_fit as save_fit
    from ash.methods import Method as Method
    from ash.methods import baselines as baselines
    from ash.methods import parse_methods as parse_methods
    from ash.methods import register_method as register_method
    from ash.metrics import accuracy as accuracy
    from ash.metrics import aupr as aupr
    from ash.metrics import auroc as auroc
    from ash.metrics import fpr_at_tpr as fpr_at_tpr
    from ash.metrics import intervals as intervals
    from ash.models import Preprocess as Preprocess
    from ash.models import get_model as get_model
    from ash.models import get_models as get_models
    from ash.models import register_model as register_model
    from ash.protocol import choose as choose
    from ash.protocol import is_validation as is_validation
    from ash.protocol import validation_and_test as validation_and_test
    from ash.scores import Parameter as Parameter
    from ash.scores import energy as energy
    from ash.scores import max_logit as max_logit
    from ash.scores import msp as msp
    from ash.scores import odin as odin
    from ash.scores import register_score as register_score
    from ash.shaping import ash_b as ash_b
    from ash.shaping import ash_b_nonzero as ash_b_nonzero
    from ash.shaping import ash_p as ash_p
    from ash.shaping import ash_rand as ash_rand
    from ash.shaping import ash_s as ash_s
    from ash.shaping import react as react
    from ash.splitting import placements as placements
    from ash.splitting import split as split
    from ash.sweeping import Sweep as Sweep
    from ash.sweeping import sweep as sweep
    from ash.tables import over_checkpoints as over_checkpoints
    from ash.traces import Trace as Trace
    from ash.traces import trace as trace

_HOME = {
    **dict.fromkeys(("ash_p", "ash_b", "ash_b_nonzero", "ash_s", "ash_rand", "react"), "shaping"),
    **dict.fromkeys(("energy", "msp", "max_logit", "odin", "register_score", "Parameter"), "scores"),
    **dict.fromkeys(("auroc", "fpr_at_tpr", "aupr", "accuracy", "intervals"), "metrics"),
    **dict.fromkeys(("Method", "parse_methods", "register_method", "baselines"), "methods"),
    **dict.fromkeys(("Fit", "fit", "find_fit", "load_fit", "save_fit"), "fitting"),
    **dict.fromkeys(("placements", "split"), "splitting"),
    **dict.fromkeys(("trace", "Trace"), "traces"),
    **dict.fromkeys(("sweep", "Sweep"), "sweeping"),
    **dict.fromkeys(("choose", "is_validation", "validation_and_test"), "protocol"),
    **dict.fromkeys(("Bank", "open_bank"), "bank"),
    "over_checkpoints": "tables",
    "Detector": "detector",
    "extract": "extraction",
    "AshError": "errors",
    **dict.fromkeys(("get_model", "get_models", "register_model", "Preprocess"), "models"),
    **dict.fromkeys(("get_dataset", "register_dataset"), "data"),
}
_MODULES = {*_HOME.values()}  # `import ash` is enough for `ash.data.FolderImages`
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"ash.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'ash' has no attribute '{name}'")
    return getattr(import_module(f"ash.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
