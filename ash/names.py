"""The one grammar of a data set's name: in the data root, in NAME=DIR, in the registry, in a link."""

import re

MOST = 61  # characters
_NAME = re.compile(rf"\w[\w.-]{{0,{MOST - 1}}}")
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
    if not _NAME.fullmatch(name):
        return f"is no name for a data set: 1 to {MOST} letters, digits, '_', '.' and '-', the first a letter or digit"
    return ""
