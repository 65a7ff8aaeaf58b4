"""The grammar of names: of data sets, in the data root, in NAME=DIR, the registry and links; and of timm's networks."""

import re

MOST = 61  # characters
_NAME = re.compile(rf"\w[\w.-]{{0,{MOST - 1}}}")
TIMM, HUB = "timm/", "hf-hub:"  # before the name of a network of timm, or of the model hub through timm
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}"
OF_TIMM = re.compile(rf"{TIMM}{_PART}|{HUB}{_PART}/{_PART}(@{_PART})?")  # @: a tag, branch or commit of the hub
HFDS = "hfds"  # the folder of the data root, and the beginning of names, of sets of Hugging Face's `datasets`
_OF_HFDS = re.compile(rf"{HFDS}/{_NAME.pattern}(/{_NAME.pattern})?")
CHECKPOINTS = "checkpoints"  # the folder of the data root that holds weights
RESERVED = (
    "id",
    "mean",
    "near",
    "far",
    "all",
    "none",
    CHECKPOINTS,
)  # they mean something else in links, tables or the data root


def why_no_name(name: str) -> str:
    """Why a text cannot name a data set, as the end of a sentence; "" where it can."""
    if name.casefold() in RESERVED:
        return f"means something else here, as {', '.join(word for word in RESERVED if word != name.casefold())} do"
    if not _NAME.fullmatch(name) and not (_OF_HFDS.fullmatch(name) and len(name) <= MOST):
        return f"is no name for a data set: 1 to {MOST} letters, digits, '_', '.' and '-', the first a letter or digit"
    return ""
